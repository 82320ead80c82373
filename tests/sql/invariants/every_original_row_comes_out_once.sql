{#- I1. A fan-out or a lost row shows here; that each is in its place is held by the test on cells. -#}
with originals as (
  select count(*) as n
  from {{ ref('stg_original') }}
),

results as (
  select count(*) as n
  from {{ ref('merged_result') }}
),

expected as (
  select physical_rows - rejected_rows as n
  from {{ ref('stg_files') }}
  where role = 'original'
)

select
  o.n as original_rows,
  r.n as result_rows,
  e.n as expected_rows
from originals as o
cross join results as r
cross join expected as e
where o.n <> r.n or o.n <> e.n
