{{ config(materialized='in_parts', over='entities') }}
{%- set plan = merge_plan() %}
-- each vendor row of an entity beside the other vendors', once, and beside each CRM row that the entity is linked to
with counted as (
  select
    r._merge_vendor as vendor_number
    {%- for v in plan.vendor %}
    {%- set value = 'r.' ~ sql_name(v.column) %}
    {%- set form = 'r.' ~ sql_name('_merge_form_' ~ v.column) if v.key_type else form_or_landed(landed_form(v, 's'), value) %},
    count_if(l.is_first_of_entity and {{ value }} is not null and coalesce(g._merge_only_{{ v.index }} = 0, false)) as beside_vendors_{{ v.index }},
    {%- if v.header %}
    count_if({{ value }} is not null and l.form_{{ v.index }} is not null) as beside_original_{{ v.index }},
    count_if(case when {{ value }} is not null and l.form_{{ v.index }} is not null then {{ form }} = l.form_{{ v.index }} else false end) as as_original_{{ v.index }}
    {%- else %}
    cast(0 as bigint) as beside_original_{{ v.index }},
    cast(0 as bigint) as as_original_{{ v.index }}
    {%- endif %}
    {%- endfor %}
  from {{ ref('int_candidates') }} as r
  inner join {{ ref('int_linked') }} as l on r._merge_entity = l.entity
  inner join {{ ref('int_golden') }} as g on r._merge_entity = g._merge_entity
  {{ with_landed_forms('s', 'r._merge_ord') }}
  where {{ part_of('r._merge_entity') }} and {{ part_of('l.entity') }} and {{ part_of('g._merge_entity') }}
  group by r._merge_vendor
)

select
  vendor_number,
  cast(substr(place, 2) as int) as column_number,
  compared_with_vendors,
  compared_with_original,
  agreed_with_original
from counted unpivot include nulls (
  (compared_with_vendors, compared_with_original, agreed_with_original) for place in (
    {%- for v in plan.vendor %}
    (beside_vendors_{{ v.index }}, beside_original_{{ v.index }}, as_original_{{ v.index }}) as c{{ v.index }}{{ ',' if not loop.last }}
    {%- else %}(vendor_number, vendor_number, vendor_number) as c0
    {%- endfor %}
  )
)
