{{ config(materialized='view') }}
select
  p.original_row,
  p.record_id,
  c.column_name,
  f.source,
  {{ row_of('p.record') }} as source_row,
  c.header as source_column,
  c.strategy,
  c.policy,
  p.old_value,
  p.new_value,
  c.is_new_column,
  c.result_position
from {{ ref('int_cells') }} as p
inner join {{ ref('stg_columns') }} as c on {{ file_of('p.record') }} = c.file_order and p.column_number = c.column_number
inner join {{ ref('stg_files') }} as f on c.file_order = f.file_order
