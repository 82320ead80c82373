{#- Building this model lands what people decided, or refuses what can not be followed. -#}
{{ config(materialized='table', pre_hook="{{ land_assertions() }}") }}
{%- set plan = merge_plan() %}
-- depends_on: {{ ref('stg_files') }}
{%- for file in plan.assertions %}
select
  {{ sql_text(file.shown) }} as file,
  coalesce(_merge_row, {{ place_in_file() }} + 1) as source_row,
  decision,
  a_source,
  cast(a_row as bigint) as a_row,
  a_key_type,
  a_key_values,
  b_source,
  cast(b_row as bigint) as b_row,
  b_key_type,
  b_key_values
from {{ parquet_rows(landed_table(plan.directory, file.k)) }}
where decision is not null
{{ 'union all' if not loop.last }}
{%- else %}
select
  cast(null as string) as file,
  cast(null as bigint) as source_row,
  cast(null as string) as decision,
  cast(null as string) as a_source,
  cast(null as bigint) as a_row,
  cast(null as string) as a_key_type,
  cast(null as {{ list_of_strings() }}) as a_key_values,
  cast(null as string) as b_source,
  cast(null as bigint) as b_row,
  cast(null as string) as b_key_type,
  cast(null as {{ list_of_strings() }}) as b_key_values
from {{ ref('stg_files') }}
where 1 = 0
{%- endfor %}
