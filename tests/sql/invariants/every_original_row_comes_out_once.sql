{#- I1. A fan-out or a lost row shows here; that each is in its place is held by the test on cells. The totals of what other tests look at in parts
    are held here as well: a part that they do not look at would show. -#}
with results as (
  select
    count(*) as n,
    cast(coalesce(sum(n_enriched_rows), 0) as bigint) as n_links
  from {{ ref('merged_result') }}
),

files as (
  select
    cast(sum(case when role = 'original' then physical_rows - rejected_rows end) as bigint) as n_originals,
    cast(sum(physical_rows) as bigint) as n_rows
  from {{ ref('stg_files') }}
),

counted as (
  select
    'stg_original' as relation,
    (select count(*) from {{ ref('stg_original') }}) as n_rows,
    (select n_originals from files) as expected_rows
  union all
  select
    'merged_result' as relation,
    (select n from results) as n_rows,
    (select n_originals from files) as expected_rows
  union all
  select
    'crosswalk' as relation,
    (select count(*) from {{ ref('crosswalk') }}) as n_rows,
    (select n_links from results) as expected_rows
  union all
  select
    'int_fates' as relation,
    (select count(*) from {{ ref('int_fates') }}) as n_rows,
    (select count(*) from {{ ref('int_entities') }}) as expected_rows
  union all
  select
    'row_ledger' as relation,
    (select count(*) from {{ ref('row_ledger') }}) as n_rows,
    (select n_rows from files) as expected_rows
)

select
  relation,
  n_rows,
  expected_rows
from counted
where n_rows <> expected_rows
