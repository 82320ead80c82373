{#- Building this model lands the files; its rows say what was landed. -#}
{{ config(pre_hook="{{ land_files() }}") }}
{%- set plan = merge_plan() %}
-- reads {{ source('files', 'original') }} and {{ source('files', 'enriched') }}
with files as (
  {%- for file in plan.files %}
  {%- set dialect = file.dialect or {} %}
  select
    {{ file.k }} as file_order,
    {{ sql_text(file.name) }} as source,
    {{ sql_text(file.vendor) }} as vendor,
    {{ file.vendor_number }} as vendor_number,
    {{ sql_text(file.role) }} as role,
    {{ sql_text(file.shown) }} as path,
    {{ sql_text(file.format) }} as format,
    {{ sql_text(file.compression) }} as compression,
    {{ sql_text(file.encoding) }} as encoding,
    {{ sql_text(dialect.delimiter) if dialect else 'cast(null as string)' }} as delimiter,
    {{ sql_text(dialect.quote) if dialect else 'cast(null as string)' }} as quote,
    {{ sql_text(dialect.escape) if dialect else 'cast(null as string)' }} as escape,
    {{ sql_text(file.line_ends) if file.line_ends else 'cast(null as string)' }} as line_ends,
    cast({{ dialect.header_line if dialect else 'null' }} as int) as header_line,
    {{ sql_text(tojson(file.header)) }} as header,
    {{ file.header | length }} as columns,
    cast({{ file.physical_rows }} as bigint) as physical_rows,
    (select count(*) from {{ parquet_rows(landed_path(plan, file)) }}) as parsed_rows,
    (select count(*) from {{ parquet_rows(landed_path(plan, file, 'rejects')) }}) as rejected_rows,
    cast({{ file.bytes }} as bigint) as bytes,
    cast({{ file.densest }} as bigint) as largest_row_bytes,
    cast({{ file.long_bytes }} as bigint) as long_row_bytes,
    {{ sql_text(file.sha256) }} as sha256,
    {{ sql_text(file.notes | join('; ')) if file.notes else 'cast(null as string)' }} as notes
  {{- '\n  union all' if not loop.last }}
  {%- else %}
  select 0 as file_order
  {%- endfor %}
)

select * from files
