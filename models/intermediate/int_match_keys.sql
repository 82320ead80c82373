{%- set plan = merge_plan() %}
{%- for tier in plan.tiers %}
{%- if 0 in tier.columns %}
select
  'original' as side,
  _merge_row as record,
  {{ tier.tier }} as tier,
  {{ sql_text(tier.label) }} as key_type,
  {{ exploded('_merge_keys_' ~ tier.tier) }} as key_value
from {{ ref('stg_original') }}
union all
{%- endif %}
select
  'enriched' as side,
  _merge_ord as record,
  {{ tier.tier }} as tier,
  {{ sql_text(tier.label) }} as key_type,
  {{ exploded('_merge_keys_' ~ tier.tier) }} as key_value
from {{ ref('stg_enriched') }}
{{ 'union all' if not loop.last }}
{%- else %}
select 'original' as side from {{ ref('stg_original') }} cross join {{ ref('stg_enriched') }}
{%- endfor %}
