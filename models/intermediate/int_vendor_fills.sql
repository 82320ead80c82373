{{ config(materialized='in_parts', over='originals') }}
{%- set plan = merge_plan() %}
with cells as (
  select
    _merge_original_row
    {%- for v in plan.vendor %},
    {{ file_of('_merge_record_' ~ v.index) }} as file_{{ v.index }},
    coalesce(_merge_is_shared_{{ v.index }}, false) as is_shared_{{ v.index }},
    coalesce({{ sql_name(v.name) }} <> {% if v.output %}''{% else %}coalesce(_merge_old_{{ v.index }}, ''){% endif %}, false) as is_changed_{{ v.index }}
    {%- endfor %}
  from {{ ref('int_result') }}
  where {{ within('originals', '_merge_original_row') }}
)

select
  file_order,
  cast(substr(place, 2) as int) as column_number,
  count(*) as cells_given,
  count_if(is_changed) as cells_changed,
  count_if(not is_shared) as exclusive_fills
from cells unpivot include nulls (
  (file_order, is_shared, is_changed) for place in (
    {%- for v in plan.vendor %}
    (file_{{ v.index }}, is_shared_{{ v.index }}, is_changed_{{ v.index }}) as c{{ v.index }}{{ ',' if not loop.last }}
    {%- else %}(_merge_original_row, _merge_original_row, _merge_original_row) as c0
    {%- endfor %}
  )
)
where file_order is not null
group by file_order, place
