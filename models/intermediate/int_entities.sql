-- the keys that link: those of a tier that its splitting left to the record; whole ones before those that a name narrows
with linking as (
  select
    c.component,
    min(concat(case when k.refused_value is null then '0' else '1' end, k.key_type, ':', k.key_value)) as smallest_key
  from {{ ref('int_components') }} as c
  inner join {{ ref('int_match_keys') }} as k on c.node = k.record and k.side = 'enriched'
  where k.tier <= c.level and k.key_value is not null
  group by c.component
),

sizes as (
  select
    component,
    count(*) as n_records
  from {{ ref('int_components') }}
  group by component
)

select
  c.node as record,
  c.component as entity,
  md5(coalesce(substr(l.smallest_key, 2), concat('record:', cast(c.component as string)))) as entity_id,
  s.n_records,
  c.level,
  c.is_quarantined
from {{ ref('int_components') }} as c
inner join sizes as s on c.component = s.component
left join linking as l on c.component = l.component
