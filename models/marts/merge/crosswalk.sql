-- the slices of the originals are settled here or in int_enrichment
-- depends_on: {{ ref('int_matches') }}
-- depends_on: {{ ref('int_enriched_consolidated') }}
{{ config(materialized='in_parts', over='originals', in_files=true) }}
select
  f.source,
  {{ row_of('l.record') }} as source_row,
  l.original_row,
  l.entity_id,
  l.match_tier,
  l.matched_on
from {{ ref('int_links') }} as l
inner join {{ ref('stg_files') }} as f on {{ file_of('l.record') }} = f.file_order
where {{ within('originals', 'l.original_row') }}
order by l.original_row, l.record
