{{ config(materialized='in_parts', over='originals', in_files=true) }}
{%- set plan = merge_plan() %}
with cells as (
  select
    o._merge_row
    {%- for v in plan.vendor %},
    case when {{ takes_enriched(v, plan) }} then e.{{ sql_name('_merge_ord_' ~ v.column) }} end as record_{{ v.index }},
    {{ 'cast(null as string)' if v.output else 'o.' ~ sql_name(v.header) }} as old_{{ v.index }},
    e.{{ sql_name(v.column) }} as new_{{ v.index }}
    {%- endfor %}
  from {{ ref('stg_original') }} as o
  inner join {{ ref('int_enrichment') }} as e on o._merge_row = e._merge_row
  where {{ within('originals', 'o._merge_row') }}
)

select
  _merge_row as original_row,
  cast(substr(place, 2) as int) as column_number,
  record,
  old_value,
  new_value
from cells unpivot include nulls (
  (record, old_value, new_value) for place in (
    {%- for v in plan.vendor %}
    (record_{{ v.index }}, old_{{ v.index }}, new_{{ v.index }}) as c{{ v.index }}{{ ',' if not loop.last }}
    {%- else %}(_merge_row, _merge_row, _merge_row) as c0
    {%- endfor %}
  )
)
where record is not null
