{{ config(materialized='in_parts', over='rows', in_files=true) }}
-- depends_on: {{ ref('stg_original') }}
-- depends_on: {{ ref('stg_enriched') }}
{%- set plan = merge_plan() %}
{%- for tier in plan.tiers + plan.evidence %}
select
  case when record < 4294967296 then 'original' else 'enriched' end as side,
  record,
  {{ tier.tier }} as tier,
  {{ sql_text(tier.label) }} as key_type,
  {{ key_number(tier.tier, 'key_value') }} as key_number,
  key_value,
  surname,
  given,
  {{ blocked_as(tier_kind(tier), 'key_value', plan.guards, tier.label) }} as blocked_as
from ({{ landed_keys(plan, tier) }}) as keys_of_tier
{{ 'union all' if not loop.last }}
{%- else %}
select 'original' as side from {{ ref('stg_original') }} cross join {{ ref('stg_enriched') }}
{%- endfor %}
