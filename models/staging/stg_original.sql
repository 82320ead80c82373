-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
{%- if plan.shapes %}
select
  {{ landed_record(plan.shapes[0], plan) }} as _merge_row,
  {{ place_in_file() }} + 1 as _merge_position
  {%- for h in plan.crm %},
  c{{ h.position }} as {{ sql_name(h.header) }}
  {%- endfor %}
  {%- if weak_tiers(plan) %},
  _merge_surname,
  _merge_given
  {%- endif %}
from {{ rows_of_shape(plan.shapes[0], plan) }}
{%- else %}
select 1 as _merge_row, 1 as _merge_position from {{ ref('stg_files') }}
{%- endif %}
