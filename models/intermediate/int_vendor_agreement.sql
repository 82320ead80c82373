{{ config(materialized='in_parts', over='entities') }}
{%- set plan = merge_plan() %}
with beside as (
  select
    s.vendor_number
    {%- for v in plan.vendor %}
    {%- set comparable = 's.form_' ~ v.index ~ ' is not null and a.first_vendor_' ~ v.index ~ ' <> a.last_vendor_' ~ v.index %},
    count_if({{ comparable }}) as compared_{{ v.index }},
    count_if({{ comparable }} and a.least_{{ v.index }} = a.greatest_{{ v.index }}) as agreed_{{ v.index }}
    {%- endfor %}
  from {{ ref('int_agreement') }} as a
  inner join {{ ref('int_compared') }} as s on a.entity = s.entity
  where {{ part_of('a.entity') }} and {{ part_of('s.entity') }}
  group by s.vendor_number
)

select
  vendor_number,
  cast(substr(place, 2) as int) as column_number,
  compared,
  agreed
from beside unpivot include nulls (
  (compared, agreed) for place in (
    {%- for v in plan.vendor %}
    (compared_{{ v.index }}, agreed_{{ v.index }}) as c{{ v.index }}{{ ',' if not loop.last }}
    {%- else %}(vendor_number, vendor_number) as c0
    {%- endfor %}
  )
)
