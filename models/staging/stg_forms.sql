{#- A whole merge of DuckDB's asks these rows only for what it compares. Whoever builds this model without a merge has them landed: Spark reads them. -#}
{{ config(pre_hook="{{ land_forms() }}") }}
-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
{%- for shape in plan.shapes %}
{%- set columns = shape.headers | rejectattr('key_type') | map(attribute='column') | list %}
select
  record,
  {{ shape.vendor_number }} as vendor_number,
  {%- for v in plan.vendor if not v.key_type %}
  {{ 'form_' ~ v.index if v.column in columns else 'cast(null as bigint) as form_' ~ v.index }},
  {%- endfor %}
  _merge_surname as surname,
  _merge_given as given
from {{ forms_of_shape(shape, plan) }}
{{ 'union all' if not loop.last }}
{%- else %}
select 0 as record from {{ ref('stg_files') }}
{%- endfor %}
