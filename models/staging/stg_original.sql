-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
{%- if plan.files %}
select
  {{ landed_row(plan.files[0]) }} as _merge_row,
  {{ place_in_file() }} + 1 as _merge_position
  {%- for h in plan.crm %},
  c{{ h.position }} as {{ sql_name(h.header) }}
  {%- endfor %}
  {%- if weak_tiers(plan) %},
  _merge_surname,
  _merge_given
  {%- endif %}
  {%- for tier in plan.tiers + plan.evidence if 0 in tier.columns %},
  _merge_keys_{{ tier.tier }}
  {%- endfor %}
from {{ parquet_rows(landed_path(plan, plan.files[0])) }}
{%- else %}
select 1 as _merge_row, 1 as _merge_position from {{ ref('stg_files') }}
{%- endif %}
