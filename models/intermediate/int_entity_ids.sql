{{ config(materialized='in_parts', into='entities', into_key='entity') }}
{%- set plan = merge_plan() %}
{%- set kinds = [] %}
{%- for narrowed in ([0, 1] if weak_tiers(plan) else [0]) %}
{%- for tier in plan.tiers %}{% do kinds.append({'tier': tier.tier, 'narrowed': narrowed, 'letters': narrowed ~ tier.label ~ ':'}) %}{% endfor %}
{%- endfor %}
{%- set kinds = kinds | sort(attribute='letters', case_sensitive=true) %}
-- per kind of key, in the order of the letters that a typed key begins with: how many the entity has, and one of them
with held as (
  select
    entity
    {%- for kind in kinds %}
    {%- set is_kind = 'tier = ' ~ kind.tier ~ (' and is_narrowed' if kind.narrowed else ' and not is_narrowed') %},
    count_if({{ is_kind }}) as n_{{ loop.index }},
    min(case when {{ is_kind }} then key_number end) as key_{{ loop.index }},
    min(case when {{ is_kind }} then first_record end) as record_{{ loop.index }}
    {%- endfor %}
  from {{ ref('int_entity_keys') }}
  group by entity
),

first_kinds as (
  select
    entity,
    case{% for kind in kinds %} when n_{{ loop.index }} > 0 then {{ loop.index }}{% endfor %} end as kind,
    case{% for kind in kinds %} when n_{{ loop.index }} > 0 then n_{{ loop.index }}{% endfor %} end as n_keys,
    case{% for kind in kinds %} when n_{{ loop.index }} > 0 then key_{{ loop.index }}{% endfor %} end as key_number,
    case{% for kind in kinds %} when n_{{ loop.index }} > 0 then record_{{ loop.index }}{% endfor %} end as record
  from held
),

-- texts are compared only where an entity has several keys of its first kind: those of all would not fit in memory. Distinct, though they are: so
-- these few are found before the texts are read
several_keys as (
  select distinct
    e.entity,
    e.first_record,
    e.key_number
  from first_kinds as f
  inner join {{ ref('int_entity_keys') }} as e on f.entity = e.entity
  where
    f.n_keys > 1
    and case f.kind
      {%- for kind in kinds %}
      when {{ loop.index }} then e.tier = {{ kind.tier }} and {{ 'e.is_narrowed' if kind.narrowed else 'not e.is_narrowed' }}
      {%- endfor %}
    end
),

several as (
  select
    e.entity,
    min(concat(k.key_type, ':', k.key_value)) as typed_key
  from several_keys as e
  inner join {{ ref('int_match_keys') }} as k on e.first_record = k.record and e.key_number = k.key_number
  group by e.entity
),

names as (
  select
    f.entity,
    concat(k.key_type, ':', k.key_value) as typed_key
  from first_kinds as f
  inner join {{ ref('int_match_keys') }} as k on f.record = k.record and f.key_number = k.key_number and k.side = 'enriched'
  where f.n_keys = 1
  union all
  select
    entity,
    typed_key
  from several
  -- rows that only people linked, or whose keys were all refused
  union all
  select
    e.entity,
    concat('record:', cast(e.entity as string)) as typed_key
  from {{ ref('int_entities') }} as e
  where
    e.record = e.entity
    and not exists (
      select 1
      from {{ ref('int_entity_keys') }} as k
      where e.entity = k.entity
    )
)

select
  entity,
  md5(typed_key) as entity_id
from names
