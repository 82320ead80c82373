{#- Building this model computes what the landed rows say; the merge itself needs only part of it, which is landed with them. -#}
{{ config(pre_hook="{{ land_forms() }}") }}
-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
{%- for file in plan.files %}
{%- set columns = [] %}
{%- for h in plan.headers if h.k == file.k %}{% do columns.append(h.column) %}{% endfor %}
select
  record,
  {{ file.vendor_number }} as vendor_number,
  {%- for v in plan.vendor %}
  {{ 'form_' ~ v.index if v.column in columns else 'cast(null as bigint) as form_' ~ v.index }},
  {%- if v.key_type %}
  {{ 'has_key_' ~ v.index if v.column in columns else 'false as has_key_' ~ v.index }},
  {%- endif %}
  {%- endfor %}
  _merge_surname as surname,
  _merge_given as given
from {{ parquet_rows(landed_path(plan, file, 'forms')) }}
{{ 'union all' if not loop.last }}
{%- else %}
select 0 as record from {{ ref('stg_files') }}
{%- endfor %}
