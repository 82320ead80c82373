-- depends_on: {{ ref('int_entities') }}
{{ config(materialized='in_parts', over='rows', into='entities', into_key='entity', finer='disputes', lazy=true) }}
{%- set plan = merge_plan() %}
select
  m.original_row,
  m.entity,
  m.entity_rank,
  m.n_entities,
  m.match_tier,
  m.matched_on,
  m.n_records,
  m.is_direct,
  m.is_shared,
  m.is_first_of_entity
  {%- for v in plan.vendor if v.header %},
  {{ 'k_' ~ v.index ~ '.form' if v.key_type else 'o.form_' ~ v.index }} as form_{{ v.index }}
  {%- endfor %}
from {{ ref('int_matches') }} as m
inner join {{ ref('stg_forms') }} as o on m.original_row = o.record and o.vendor_number = 0
{%- for v in plan.vendor if v.header and v.key_type %}
left join ({{ landed_key_forms(v, plan, 'rows') }}) as k_{{ v.index }} on m.original_row = k_{{ v.index }}.record
{%- endfor %}
where {{ within('rows', 'm.original_row') }} and {{ within('rows', 'o.record') }}
