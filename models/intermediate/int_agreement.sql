{{ config(materialized='in_parts', over='entities', in_files=true) }}
{%- set plan = merge_plan() %}
select
  s.entity
  {%- for v in plan.vendor %}
  {%- set form = 's.form_' ~ v.index %},
  min({{ form }}) as least_{{ v.index }},
  max({{ form }}) as greatest_{{ v.index }},
  min(case when {{ form }} is not null then s.vendor_number end) as first_vendor_{{ v.index }},
  max(case when {{ form }} is not null then s.vendor_number end) as last_vendor_{{ v.index }}
  {%- endfor %}
from {{ ref('int_compared') }} as s
where {{ part_of('s.entity') }}
group by s.entity
