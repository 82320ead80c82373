{{ config(materialized='view') }}
{%- set plan = merge_plan() %}
select
  {%- for h in plan.crm %}
  {{ sql_name(h.header) }},
  {%- endfor %}
  {%- for v in plan.vendor if v.output %}
  {{ sql_name(v.output) }},
  {%- endfor %}
  match_quality,
  match_status,
  match_tier,
  matched_on,
  entity_id,
  n_enriched_rows,
  duplicate_in_original,
  match_explanation
from {{ ref('int_result') }}
{{ written_in_order_of('_merge_original_row') }}
