{#- Building this model computes what the landed rows say; the merge itself needs only part of it, which is landed with them. -#}
{{ config(pre_hook="{{ land_forms() }}") }}
-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
{%- for shape in plan.shapes %}
{%- set columns = shape.headers | map(attribute='column') | list %}
select
  record,
  {{ shape.vendor_number }} as vendor_number,
  {%- for v in plan.vendor %}
  {{ 'form_' ~ v.index if v.column in columns else 'cast(null as bigint) as form_' ~ v.index }},
  {%- if v.key_type %}
  {{ 'has_key_' ~ v.index if v.column in columns else 'false as has_key_' ~ v.index }},
  {%- endif %}
  {%- endfor %}
  _merge_surname as surname,
  _merge_given as given
from {{ rows_of_shape(shape, plan, 'forms') }}
{{ 'union all' if not loop.last }}
{%- else %}
select 0 as record from {{ ref('stg_files') }}
{%- endfor %}
