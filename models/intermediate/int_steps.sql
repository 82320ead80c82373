-- transitive: some rows of the entity share no key with the original; one of those is reached through a row that does
with transitive as (
  select
    original_row,
    entity
  from {{ ref('int_matches') }}
  where entity_rank = 1 and not is_direct and n_records <= 1000
),

crm_keys as (
  select
    t.original_row,
    k.key_number
  from transitive as t
  inner join {{ ref('int_match_keys') }} as k on t.original_row = k.record and k.side = 'original'
),

-- distinct, though they are: so these few are found before the keys are read, and not all rows joined with all keys first
their_rows as (
  select distinct
    t.original_row,
    e.record,
    e.level
  from transitive as t
  inner join {{ ref('int_entities') }} as e on t.entity = e.entity
),

entity_keys as (
  select
    t.original_row,
    t.record,
    k.tier,
    k.key_number,
    o.original_row is not null as is_shared
  from their_rows as t
  inner join {{ ref('int_match_keys') }} as k
    on t.record = k.record and t.level >= k.tier and k.side = 'enriched' and k.key_number is not null
  left join crm_keys as o on t.original_row = o.original_row and k.key_number = o.key_number
),

reached as (
  select
    original_row,
    record
  from entity_keys
  where is_shared
  union
  select
    t.original_row,
    x.record
  from transitive as t
  inner join {{ ref('int_assertion_ends') }} as o
    on t.original_row = o.record and o.decision = 'must_link' and o.side = 'original'
  inner join {{ ref('int_assertion_ends') }} as x
    on o.file = x.file and o.source_row = x.source_row and x.side = 'enriched'
),

steps as (
  select
    k.original_row,
    k.tier,
    k.key_number,
    min(case when r.record is not null then k.record end) as from_record,
    min(case when r.record is null then k.record end) as to_record
  from entity_keys as k
  left join reached as r on k.original_row = r.original_row and k.record = r.record
  group by k.original_row, k.tier, k.key_number
),

numbered as (
  select
    original_row,
    to_record,
    tier,
    from_record,
    row_number() over (partition by original_row order by to_record, tier, from_record) as place
  from steps
  where from_record is not null and to_record is not null
)

select
  original_row,
  to_record,
  tier,
  from_record
from numbered
where place = 1
order by original_row
