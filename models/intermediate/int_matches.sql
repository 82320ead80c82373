{%- set plan = merge_plan() %}
-- a key value leads to one entity: its records were joined by it
with entity_keys as (
  select
    k.key_type,
    k.key_value,
    e.entity,
    max(e.n_records) as n_records,
    count(*) as n_sharing
  from {{ ref('int_match_keys') }} as k
  inner join {{ ref('int_entities') }} as e on k.record = e.record
  where k.side = 'enriched'
  group by k.key_type, k.key_value, e.entity
),

shared as (
  select
    o.record as original_row,
    o.tier,
    k.key_type,
    k.key_value,
    k.entity,
    k.n_records,
    k.n_sharing
  from {{ ref('int_match_keys') }} as o
  inner join entity_keys as k on o.key_type = k.key_type and o.key_value = k.key_value
  where o.side = 'original'
),

links as (
  select
    original_row,
    entity,
    min(tier) as match_tier,
    concat_ws('+'
      {%- for tier in plan.tiers %},
      case when count_if(tier = {{ tier.tier }}) > 0 then {{ sql_text(tier.label) }} end
      {%- endfor %}
    ) as matched_on,
    max(n_records) as n_records,
    max(n_sharing) as most_sharing,
    sum(n_sharing) as all_sharing
  from shared
  group by original_row, entity
),

-- Does every record of the entity share a key with the original? The counts answer unless several keys
-- each reach some of the records; only then are the records looked at one by one.
uncertain as (
  select
    original_row,
    entity
  from links
  where most_sharing < n_records and all_sharing >= n_records
),

reached as (
  select
    s.original_row,
    s.entity,
    count(distinct k.record) as n_reached
  from shared as s
  inner join uncertain as u on s.original_row = u.original_row and s.entity = u.entity
  inner join {{ ref('int_match_keys') }} as k
    on s.key_type = k.key_type and s.key_value = k.key_value and k.side = 'enriched'
  group by s.original_row, s.entity
)

select
  l.original_row,
  l.entity,
  row_number() over (partition by l.original_row order by l.match_tier, l.entity) as entity_rank,
  count(*) over (partition by l.original_row) as n_entities,
  l.match_tier,
  l.matched_on,
  l.n_records,
  coalesce(r.n_reached, l.most_sharing) = l.n_records as is_direct
from links as l
left join reached as r on l.original_row = r.original_row and l.entity = r.entity
