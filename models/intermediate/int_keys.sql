{{ config(materialized='in_parts', in_files=true) }}
{%- set plan = merge_plan() %}
{%- for tier in plan.tiers + plan.evidence %}
{%- set last_tier = loop.last %}
{%- for side, record, relation in [('original', '_merge_row', ref('stg_original')), ('enriched', '_merge_ord', ref('stg_enriched'))] if side == 'enriched' or 0 in tier.columns %}
select
  side,
  record,
  {{ tier.tier }} as tier,
  {{ sql_text(tier.label) }} as key_type,
  {{ key_number(tier.tier, 'key_value') }} as key_number,
  key_value,
  surname,
  given,
  {{ blocked_as(tier_kind(tier), 'key_value', plan.guards, tier.label) }} as blocked_as
from (
  select
    '{{ side }}' as side,
    {{ record }} as record,
    {%- if weak_tiers(plan) %}
    _merge_surname as surname,
    _merge_given as given,
    {%- else %}
    cast(null as string) as surname,
    cast(null as string) as given,
    {%- endif %}
    {{ exploded('_merge_keys_' ~ tier.tier) }} as key_value
  from {{ relation }}
) as keys
{{ 'union all' if not (last_tier and loop.last) }}
{%- endfor %}
{%- else %}
select 'original' as side from {{ ref('stg_original') }} cross join {{ ref('stg_enriched') }}
{%- endfor %}
