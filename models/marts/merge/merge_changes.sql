{{ config(materialized='in_parts', over='originals', in_files=true, while_rows_are_small='view') }}
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
where coalesce(old_value, '') <> new_value{% if rows_are_large(merge_plan()) %} and {{ within('originals', 'original_row') }}{% endif %}
order by original_row, result_position
