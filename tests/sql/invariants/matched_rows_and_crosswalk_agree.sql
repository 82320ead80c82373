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
    {{ position_of_stored('originals') }} as _merge_position,
    match_quality,
    n_enriched_rows
  from {{ in_stored_order(ref('merged_result')) }} as stored
),

links as (
  select
    original_row,
    count(*) as n_links
  from {{ ref('crosswalk') }}
  group by original_row
)

select
  o._merge_row as original_row,
  r.n_enriched_rows,
  coalesce(l.n_links, 0) as n_links
from originals as o
inner join results as r on o._merge_position = r._merge_position
left join links as l on o._merge_row = l.original_row
where
  r.n_enriched_rows <> coalesce(l.n_links, 0)
  or (r.match_quality = 'matched') <> (l.n_links is not null)
