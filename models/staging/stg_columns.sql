-- depends_on: {{ ref('stg_files') }}
{{ config(materialized='table') }}
{%- set plan = merge_plan() %}
select
  file_order,
  position,
  header,
  canonical_name,
  key_type,
  column_number,
  column_name,
  result_position,
  strategy,
  policy,
  is_new_column,
  is_record_id
from {{ parquet_rows(landed_table(plan.directory, 'columns')) }}
