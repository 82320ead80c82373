with named as (
  select
    c.component as entity,
    md5(min(k.key_type || ':' || k.key_value)) as entity_id
  from {{ ref('int_components') }} as c
  inner join {{ ref('int_match_keys') }} as k on c.node = k.record and k.side = 'enriched'
  group by c.component
),

sizes as (
  select
    component as entity,
    count(*) as n_records
  from {{ ref('int_components') }}
  group by component
)

select
  c.node as record,
  c.component as entity,
  n.entity_id,
  s.n_records
from {{ ref('int_components') }} as c
inner join named as n on c.component = n.entity
inner join sizes as s on c.component = s.entity
