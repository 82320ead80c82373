{{ config(materialized='view') }}
{%- set plan = merge_plan() %}
with cells as (
  select
    _merge_original_row,
    _merge_record_id
    {%- for v in plan.vendor %},
    _merge_record_{{ v.index }} as record_{{ v.index }},
    {{ 'cast(null as string)' if v.output else '_merge_old_' ~ v.index }} as old_{{ v.index }},
    case when _merge_record_{{ v.index }} is not null then {{ sql_name(v.name) }} end as new_{{ v.index }}
    {%- endfor %}
  from {{ ref('int_result') }}
  where {{ within('originals', '_merge_original_row') }}
)

select
  _merge_original_row as original_row,
  _merge_record_id as record_id,
  cast(substr(place, 2) as int) as column_number,
  record,
  old_value,
  new_value
from cells unpivot include nulls (
  (record, old_value, new_value) for place in (
    {%- for v in plan.vendor %}
    (record_{{ v.index }}, old_{{ v.index }}, new_{{ v.index }}) as c{{ v.index }}{{ ',' if not loop.last }}
    {%- else %}(_merge_original_row, _merge_record_id, _merge_record_id) as c0
    {%- endfor %}
  )
)
where record is not null
