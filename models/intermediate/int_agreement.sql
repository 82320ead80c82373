{{ config(materialized='in_parts', over='entities', in_files=true) }}
{%- set plan = merge_plan() %}
with linked as (
  select
    entity,
    max(n_records) as n_records,
    max(n_entities) as n_entities
  from {{ ref('int_matches') }}
  group by entity
)

select
  e.entity
  {%- for v in plan.vendor %}
  {%- set form = 's.form_' ~ v.index %},
  min({{ form }}) as least_{{ v.index }},
  max({{ form }}) as greatest_{{ v.index }},
  min(case when {{ form }} is not null then s.vendor_number end) as first_vendor_{{ v.index }},
  max(case when {{ form }} is not null then s.vendor_number end) as last_vendor_{{ v.index }}
  {%- endfor %}
from linked as l
inner join {{ ref('int_entities') }} as e on l.entity = e.entity
inner join {{ ref('stg_forms') }} as s on e.record = s.record
where (l.n_records > 1 or l.n_entities > 1)
{%- if audit_is_in_parts(plan) %} and {{ part_of('e.entity') }}{% endif %}
group by e.entity
