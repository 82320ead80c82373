{{ config(materialized='in_parts', over='originals', in_files=true) }}
select
  record_id,
  original_row,
  column_name,
  old_value,
  new_value,
  source,
  source_row,
  is_new_column
from {{ ref('cell_provenance') }}
where coalesce(old_value, '') <> new_value and {{ within('originals', 'original_row') }}
order by original_row, result_position
