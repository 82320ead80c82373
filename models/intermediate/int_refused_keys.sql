-- keys of vendors' rows that were kept from linking: as a value, or because of what their entity became
with undone as (
  select
    c.node,
    c.level,
    c.is_quarantined,
    c.split_by as guard
  from {{ ref('int_components') }} as c
  where c.split_by is not null
  union all
  select
    c.node,
    c.level,
    c.is_quarantined,
    'cannot_link' as guard
  from {{ ref('int_components') }} as c
  where c.component in (
    select n.component
    from {{ ref('int_assertion_ends') }} as x
    inner join {{ ref('int_components') }} as n on x.record = n.node
    where x.decision = 'cannot_link'
  )
),

of_vendors as (
  select
    k.record,
    k.tier,
    k.key_type,
    k.refused_value as key_value,
    g.guard
  from {{ ref('int_match_keys') }} as k
  inner join {{ ref('int_key_guards') }} as g on k.tier = g.tier and k.refused_value = g.key_value
  where k.side = 'enriched' and k.refused_value is not null
  union all
  select
    k.record,
    k.tier,
    k.key_type,
    k.key_value,
    u.guard
  from {{ ref('int_match_keys') }} as k
  inner join undone as u on k.record = u.node
  where
    k.side = 'enriched'
    and k.refused_value is null
    and (u.guard = 'cannot_link' or u.is_quarantined or k.tier > u.level)
),

refused_values as (
  select
    tier,
    key_value,
    min(guard) as guard
  from of_vendors
  group by tier, key_value
)

select distinct
  'enriched' as side,
  record,
  tier,
  key_type,
  key_value,
  guard
from of_vendors
union all
select distinct
  'original' as side,
  k.record,
  k.tier,
  k.key_type,
  r.key_value,
  r.guard
from {{ ref('int_match_keys') }} as k
inner join refused_values as r on k.tier = r.tier and coalesce(k.refused_value, k.key_value) = r.key_value
where k.side = 'original'
