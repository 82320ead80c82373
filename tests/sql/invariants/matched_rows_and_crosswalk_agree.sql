{#- The result's count of enriched rows is the number of the crosswalk's rows, for every original row. -#}
with originals as (
  select
    _merge_position,
    _merge_row
  from {{ ref('stg_original') }}
  where {{ within('originals', '_merge_row') }}
),

results as (
  select
    {{ position_of_stored('originals') }} as _merge_result_position,
    match_quality,
    n_enriched_rows
  from {{ in_stored_order(ref('merged_result')) }} as stored
),

matched as (
  select
    o._merge_row,
    r.match_quality,
    r.n_enriched_rows
  from originals as o
  inner join results as r on o._merge_position = r._merge_result_position
),

links as (
  select
    original_row,
    count(*) as n_links
  from {{ ref('crosswalk') }}
  where {{ within('originals', 'original_row') }}
  group by original_row
)

select
  coalesce(m._merge_row, l.original_row) as original_row,
  m.n_enriched_rows,
  coalesce(l.n_links, 0) as n_links
from matched as m
full outer join links as l on m._merge_row = l.original_row
where
  coalesce(m.n_enriched_rows, 0) <> coalesce(l.n_links, 0)
  or (coalesce(m.match_quality, '') = 'matched') <> (l.n_links is not null)
