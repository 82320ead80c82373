{#- Building this model lands the files; its rows say what was landed. -#}
{{ config(pre_hook="{{ land_files() }}") }}
{%- set plan = merge_plan() %}
-- reads {{ source('files', 'original') }} and {{ source('files', 'enriched') }}
{%- if plan.shapes %}
with counted as (
  {%- for shape in plan.shapes %}
  select
    file_order,
    count(*) as n
  from (select {{ landed_file(plan.files[shape.number], shape) }} as file_order from {{ rows_of_shape(shape, plan) }}) as rows_of_file
  group by file_order
  {{ 'union all' if not loop.last }}
  {%- endfor %}
),

rejected as (
  select
    file_order,
    count(*) as n
  from {{ landed_rejects(plan) }}
  group by file_order
)

select
  f.file_order,
  f.source,
  f.vendor,
  f.vendor_number,
  f.role,
  f.path,
  f.format,
  f.compression,
  f.encoding,
  f.delimiter,
  f.quote,
  f.escape,
  f.line_ends,
  f.header_line,
  f.header,
  f.columns,
  f.physical_rows,
  coalesce(c.n, 0) as parsed_rows,
  coalesce(r.n, 0) as rejected_rows,
  f.bytes,
  f.largest_row_bytes,
  f.long_row_bytes,
  f.sha256,
  f.notes
from {{ parquet_rows(landed_table(plan.directory, 'files')) }} as f
left join counted as c on f.file_order = c.file_order
left join rejected as r on f.file_order = r.file_order
order by f.file_order
{%- else %}
select 0 as file_order
{%- endif %}
