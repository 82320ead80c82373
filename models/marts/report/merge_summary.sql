with files as (
  select
    sum(case when role = 'original' then parsed_rows else 0 end) as original_rows,
    sum(case when role = 'enriched' then parsed_rows else 0 end) as enriched_rows,
    sum(rejected_rows) as rejected_rows
  from {{ ref('stg_files') }}
),

matches as (
  select
    count(distinct original_row) as matched_rows,
    count(distinct case when n_entities > 1 then original_row end) as ambiguous_rows,
    count(distinct entity) as matched_entities
  from {{ ref('int_matches') }}
),

entities as (
  select count(distinct entity) as entities
  from {{ ref('int_entities') }}
),

conflicts as (
  select count(*) as conflicts
  from {{ ref('int_conflicts') }}
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
  c.conflicts
from files as f
cross join matches as m
cross join entities as e
cross join conflicts as c
