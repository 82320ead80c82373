-- the slices of the originals are settled here or in int_enrichment
-- depends_on: {{ ref('int_matches') }}
{{ config(materialized='in_parts', over='originals', in_files=true) }}
select
  f.source,
  {{ row_of('e.record') }} as source_row,
  c._merge_original_row as original_row,
  c._merge_entity_id as entity_id,
  c._merge_match_tier as match_tier,
  c._merge_matched_on as matched_on
from {{ ref('int_enriched_consolidated') }} as c
inner join {{ ref('int_entities') }} as e on c._merge_entity = e.entity
inner join {{ ref('stg_files') }} as f on {{ file_of('e.record') }} = f.file_order
where {{ within('originals', 'c._merge_original_row') }}
order by c._merge_original_row, e.record
