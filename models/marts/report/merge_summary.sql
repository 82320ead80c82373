{%- set plan = merge_plan() %}
with files as (
  select
    cast(sum(case when role = 'original' then parsed_rows else 0 end) as bigint) as original_rows,
    cast(sum(case when role = 'enriched' then parsed_rows else 0 end) as bigint) as enriched_rows,
    cast(sum(rejected_rows) as bigint) as rejected_rows
  from {{ ref('stg_files') }}
),

matches as (
  select
    count(case when entity_rank = 1 then 1 end) as matched_rows,
    count(case when entity_rank = 1 and n_entities > 1 then 1 end) as ambiguous_rows,
    count(case when is_first_of_entity then 1 end) as matched_entities
  from {{ ref('int_matches') }}
),

entities as (
  select count(case when record = entity then 1 end) as entities
  from {{ ref('int_entities') }}
),

conflicts as (
  select count(*) as conflicts
  from {{ ref('int_disputes') }}
),

changes as (
  select cast(coalesce(sum(cells_changed), 0) as bigint) as changed_cells
  from {{ ref('int_vendor_fills') }}
),

net_new as (
  select count(*) as net_new_people
  from {{ ref('unmatched_enriched') }}
),

-- numbers stand for the ids: texts of millions of groups would have to fit in memory
ids as (
  select {{ hash_number('record_id') }} as id
  from (
    select {{ record_id(plan, 'o') }} as record_id
    from {{ ref('stg_original') }} as o
  ) as original_ids
  where record_id is not null
),

id_counts as (
  select count(*) as n
  from ids
  group by id
),

known as (
  select
    cast(coalesce(sum(n), 0) as bigint) as rows_with_id,
    cast(coalesce(sum(case when n > 1 then n else 0 end), 0) as bigint) as rows_with_repeated_id
  from id_counts
)

select
  f.original_rows,
  m.matched_rows,
  m.matched_rows / nullif(f.original_rows, 0) as match_rate,
  m.ambiguous_rows,
  f.enriched_rows,
  f.rejected_rows,
  e.entities,
  m.matched_entities,
  c.conflicts,
  g.changed_cells,
  n.net_new_people,
  f.original_rows - k.rows_with_id as rows_without_record_id,
  k.rows_with_repeated_id as rows_with_repeated_record_id
from files as f
cross join matches as m
cross join entities as e
cross join conflicts as c
cross join changes as g
cross join net_new as n
cross join known as k
