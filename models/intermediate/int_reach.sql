{{ config(materialized='in_parts', over='entities', in_files=true) }}
{%- set plan = merge_plan() %}
select
  m.original_row
  {%- for v in plan.vendor %},
  a.first_vendor_{{ v.index }},
  a.last_vendor_{{ v.index }}
  {%- endfor %}
from {{ ref('int_matches') }} as m
inner join {{ ref('int_agreement') }} as a on m.entity = a.entity
where {{ part_of('m.entity') }} and {{ part_of('a.entity') }}
-- int_vendor_fills is made slice by slice, and each slice skips what it does not need
order by m.original_row
