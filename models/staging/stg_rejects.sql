-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
{%- for file in plan.files %}
select
  {{ file.k }} as file_order,
  {{ sql_text(file.name) }} as source,
  {{ sql_text(file.shown) }} as path,
  source_row,
  line,
  byte_position,
  reason,
  raw_text
from {{ parquet_rows(landed_path(plan, file, 'rejects')) }}
{{ 'union all' if not loop.last }}
{%- else %}
select 0 as file_order from {{ ref('stg_files') }}
{%- endfor %}
