-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
{%- set compared = forms_for_strategies(plan) %}
{%- for shape in plan.shapes if shape.number > 0 %}
{%- set places, by_key = {}, [] %}
{%- for h in shape.headers %}{% do places.update({h.column: h.position}) %}{% endfor %}
select
  {{ file_of('r._merge_ord') if shape.keeps_record else shape.number }} as _merge_file,
  {{ shape.vendor_number }} as _merge_vendor,
  {{ row_of('r._merge_ord') }} as _merge_row,
  r._merge_ord
  {%- for v in plan.vendor %},
  {{ 'r.c' ~ places[v.column] if v.column in places else 'cast(null as string)' }} as {{ sql_name(v.column) }}
  {%- if v.column in compared %},
  {%- if v.column in places and v.key_type %}{% do by_key.append(v) %}
  k_{{ v.index }}.form as {{ sql_name('_merge_form_' ~ v.column) }}
  {%- else %}
  {{ 'r.form_' ~ places[v.column] if v.column in places else 'cast(null as bigint)' }} as {{ sql_name('_merge_form_' ~ v.column) }}
  {%- endif %}
  {%- endif %}
  {%- endfor %},
  r._merge_fingerprint
  {%- if weak_tiers(plan) %},
  r._merge_surname,
  r._merge_given
  {%- endif %}
from (select *, {{ landed_record(shape, plan) }} as _merge_ord from {{ rows_of_shape(shape, plan) }}) as r
{%- for v in by_key %}
left join ({{ landed_key_forms(v, plan) }}) as k_{{ v.index }} on r._merge_ord = k_{{ v.index }}.record
{%- endfor %}
{{ 'union all' if not loop.last }}
{%- else %}
select 1 as _merge_file from {{ ref('stg_files') }}
{%- endfor %}
