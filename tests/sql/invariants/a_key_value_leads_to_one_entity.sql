{#- I5. Two vendor rows that share a key which may link are one entity. -#}
{%- set plan = merge_plan() %}
with keys as (
  select
    k.tier,
    k.key_number,
    min(k.record) as one_record,
    min(e.entity) as one_entity,
    max(e.entity) as another_entity,
    count(e.entity) < count(*) as lacks_an_entity
  from {{ ref('int_match_keys') }} as k
  left join {{ ref('int_entities') }} as e on k.record = e.record
  where
    k.side = 'enriched'
    and k.key_number is not null
    and not (coalesce(e.level, k.tier) < k.tier)
  group by k.tier, k.key_number
)

select
  case tier{% for tier in plan.tiers %} when {{ tier.tier }} then {{ sql_text(tier.label) }}{% endfor %} else '' end as key_type,
  one_record,
  one_entity,
  another_entity
from keys
where one_entity <> another_entity or lacks_an_entity
