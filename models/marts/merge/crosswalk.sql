{{ config(materialized='in_parts', over='originals', in_files=true) }}
select
  f.source,
  {{ row_of('e.record') }} as source_row,
  m.original_row,
  c._merge_entity_id as entity_id,
  m.match_tier,
  m.matched_on
from {{ ref('int_matches') }} as m
inner join {{ ref('int_enriched_consolidated') }} as c on m.original_row = c._merge_original_row and m.entity = c._merge_entity
inner join {{ ref('int_entities') }} as e on m.entity = e.entity
inner join {{ ref('stg_files') }} as f on {{ file_of('e.record') }} = f.file_order
where {{ within('originals', 'm.original_row') }} and {{ within('originals', 'c._merge_original_row') }}
order by m.original_row, e.record
