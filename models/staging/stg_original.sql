-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
select
  coalesce(_merge_row, file_row_number + 1) as _merge_row
  {%- for h in plan.crm %},
  c{{ h.position }} as {{ sql_name(h.header) }}
  {%- if h.column in plan.vendor | map(attribute='column') %},
  form_{{ h.position }} as {{ sql_name('_merge_form_' ~ h.column) }}
  {%- endif %}
  {%- endfor %},
  _merge_surname,
  _merge_given
  {%- for tier in plan.tiers + plan.evidence if 0 in tier.columns %},
  _merge_keys_{{ tier.tier }}
  {%- endfor %}
from {% if plan.files %}read_parquet({{ sql_path(landed_path(plan, plan.files[0])) }}, file_row_number = true){% else %}{{ ref('stg_files') }}{% endif %}
