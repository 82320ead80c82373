-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
select
  r.file_order,
  f.source,
  f.path,
  r.source_row,
  r.line,
  r.byte_position,
  r.reason,
  r.raw_text
from {{ landed_rejects(plan) }} as r
inner join {{ parquet_rows(landed_table(plan.directory, 'files')) }} as f on r.file_order = f.file_order
