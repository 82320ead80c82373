{{ config(materialized='view') }}
{%- set plan = merge_plan() %}
select
  p.original_row,
  {{ record_id(plan, 'o') }} as record_id,
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
inner join {{ ref('stg_original') }} as o on p.original_row = o._merge_row
