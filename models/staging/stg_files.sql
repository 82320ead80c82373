{#- Building this model lands the files; its rows say what was landed. -#}
{{ config(pre_hook="{{ land_files() }}") }}
{%- set plan = merge_plan() %}
-- reads {{ source('files', 'original') }} and {{ source('files', 'enriched') }}
with files as (
  {%- for file in plan.files %}
  select
    {{ file.k }} as file_order,
    {{ sql_text(file.name) }} as source,
    {{ sql_text(file.vendor) }} as vendor,
    {{ sql_text(file.role) }} as role,
    {{ sql_text(file.path) }} as path,
    {{ sql_text(file.encoding) }} as encoding,
    {{ sql_text(file.delimiter) }} as delimiter,
    {{ file.header | length }} as columns,
    cast({{ file.physical_rows }} as bigint) as physical_rows,
    (select count(*) from read_parquet({{ sql_path(landed_path(plan, file)) }})) as parsed_rows,
    (select count(*) from read_parquet({{ sql_path(landed_path(plan, file, 'rejects')) }})) as rejected_rows,
    cast({{ file.bytes }} as bigint) as bytes,
    {{ sql_text(file.sha256) }} as sha256
  {{- '\n  union all' if not loop.last }}
  {%- else %}
  select 0 as file_order
  {%- endfor %}
)

select * from files
