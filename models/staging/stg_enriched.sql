-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
{%- set compared = forms_for_strategies(plan) %}
{%- for shape in plan.shapes if shape.number > 0 %}
{%- set places = {} %}
{%- for h in shape.headers %}{% do places.update({h.column: h.position}) %}{% endfor %}
select
  {{ file_of('r._merge_ord') if shape.keeps_record else shape.number }} as _merge_file,
  {{ shape.vendor_number }} as _merge_vendor,
  {{ row_of('r._merge_ord') }} as _merge_row,
  r._merge_ord
  {%- for v in plan.vendor %},
  {{ 'r.c' ~ places[v.column] if v.column in places else 'cast(null as string)' }} as {{ sql_name(v.column) }}
  {%- if v.column in compared and not v.key_type %},
  {{ 'r.form_' ~ places[v.column] if v.column in places else 'cast(null as bigint)' }} as {{ sql_name('_merge_form_' ~ v.column) }}
  {%- endif %}
  {%- endfor %},
  r._merge_fingerprint
  {%- if weak_tiers(plan) %},
  r._merge_surname,
  r._merge_given
  {%- endif %}
from (select *, {{ landed_record(shape, plan) }} as _merge_ord from {{ rows_of_shape(shape, plan) }}) as r
{{ 'union all' if not loop.last }}
{%- else %}
select 1 as _merge_file from {{ ref('stg_files') }}
{%- endfor %}
