{{ config(materialized='in_parts', over='records', into='entities', into_key='_merge_entity', finer='disputes', lazy=true) }}
-- depends_on: {{ ref('int_matches') }}
{%- set plan = merge_plan() %}
{%- set compared = forms_for_strategies(plan) %}
-- numbers first: texts go through one join, since a row may hold megabytes
with records as (
  select
    e.record,
    e.entity,
    e.n_records
    {%- for v in plan.vendor if v.key_type %},
    k_{{ v.key_type }}.form_{{ v.index }}
    {%- endfor %}
  from {{ ref('int_entities') }} as e
  {{ with_key_forms(plan.vendor, plan, 'records', 'e.record') }}
  where {{ within('records', 'e.record') }} and not e.is_quarantined
)

select
  e.entity as _merge_entity,
  e.n_records as _merge_n_records,
  s._merge_file,
  s._merge_vendor,
  s._merge_ord
  {%- for v in plan.vendor %},
  s.{{ sql_name(v.column) }}
  {%- if v.key_type %},
  e.form_{{ v.index }} as {{ sql_name('_merge_form_' ~ v.column) }}
  {%- elif v.column in compared %},
  s.{{ sql_name('_merge_form_' ~ v.column) }}
  {%- endif %}
  {%- endfor %}
from {{ ref('stg_enriched') }} as s
inner join records as e on s._merge_ord = e.record
where {{ within('records', 's._merge_ord') }}
