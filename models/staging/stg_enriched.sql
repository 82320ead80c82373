-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
{%- set compared = forms_for_strategies(plan) %}
{%- for file in plan.files if file.k > 0 %}
{%- set places = {} %}
{%- for h in plan.headers if h.k == file.k %}{% do places.update({h.column: h.position}) %}{% endfor %}
select
  {{ file.k }} as _merge_file,
  {{ file.vendor_number }} as _merge_vendor,
  {{ landed_row(file) }} as _merge_row,
  {{ file.k }} * 4294967296 + {{ landed_row(file) }} as _merge_ord
  {%- for v in plan.vendor %},
  {{ 'c' ~ places[v.column] if v.column in places else 'cast(null as string)' }} as {{ sql_name(v.column) }}
  {%- if v.column in compared %},
  {{ 'form_' ~ places[v.column] if v.column in places else 'cast(null as bigint)' }} as {{ sql_name('_merge_form_' ~ v.column) }}
  {%- endif %}
  {%- endfor %},
  _merge_fingerprint
  {%- if weak_tiers(plan) %},
  _merge_surname,
  _merge_given
  {%- endif %}
  {%- for tier in plan.tiers + plan.evidence %},
  {{ '_merge_keys_' ~ tier.tier if file.k in tier.columns else no_strings() ~ ' as _merge_keys_' ~ tier.tier }}
  {%- endfor %}
from {{ parquet_rows(landed_path(plan, file)) }}
{{ 'union all' if not loop.last }}
{%- else %}
select 1 as _merge_file from {{ ref('stg_files') }}
{%- endfor %}
