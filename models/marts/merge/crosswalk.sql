{{ config(materialized='view') }}
select
  f.source,
  {{ row_of('l.record') }} as source_row,
  l.original_row,
  l.entity_id,
  l.match_tier,
  l.matched_on
from {{ ref('int_links') }} as l
inner join {{ ref('stg_files') }} as f on {{ file_of('l.record') }} = f.file_order
