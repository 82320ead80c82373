{%- set plan = merge_plan() %}
{%- set weak = weak_tiers(plan) %}
{%- set email = tier_of(plan, 'email') %}
{%- set domain = tier_of(plan, 'domain') %}
-- numbers stand for the values: millions of texts would have to fit in memory
with shared as (
  select
    tier,
    key_number,
    count(*) as n_records,
    {{ hub_limits(plan, 'tier') }} as hub_limit
  from {{ ref('int_keys') }}
  where blocked_as is null and tier <= {{ plan.tiers | length }}
  group by tier, key_number
  having count(*) > 1
),

crowded as (
  select *
  from shared
  where n_records > hub_limit
),

-- Of one person there may be several phones, but not a dozen people's e-mails under one phone. A company's domain is
-- shared by its people in the CRM, so there only vendors' rows count.
companions as (
  select
    s.tier,
    s.key_number,
    o.tier as other_tier,
    count(distinct o.key_number) as n_values
  from crowded as s
  inner join {{ ref('int_keys') }} as c on s.tier = c.tier and s.key_number = c.key_number and c.blocked_as is null
  inner join {{ ref('int_keys') }} as o on c.record = o.record and c.tier <> o.tier and o.blocked_as is null
  {%- if domain %}
  where not (s.tier = {{ domain }} and c.side = 'original')
  {%- endif %}
  group by s.tier, s.key_number, o.tier
),

hubs as (
  select
    s.tier,
    s.key_number,
    max(c.n_values) as counted,
    max(s.hub_limit) as accepted
  from crowded as s
  inner join companions as c on s.tier = c.tier and s.key_number = c.key_number
  group by s.tier, s.key_number
  having max(c.n_values) > max(s.hub_limit)
),
{% if weak %}
-- the values of weak keys under which different names meet
named as (
  select
    k.tier,
    k.key_number,
    max(case when k.side = 'enriched' then {{ hash_number('k.surname') }} end) as vendors_name,
    max(case when k.key_value like 'company/%' then 1 else 0 end) as is_company,
    coalesce(min({{ hash_number('k.surname') }}) <> max({{ hash_number('k.surname') }}), false) as surnames_differ,
    coalesce(min(case when k.given <> '' then {{ hash_number('k.given') }} end) <> max(case when k.given <> '' then {{ hash_number('k.given') }} end), false) as givens_differ
  from {{ ref('int_keys') }} as k
  where k.blocked_as is null and k.tier in ({{ weak | join(', ') }}) and k.surname is not null
  group by k.tier, k.key_number
  having count(*) > 1
),

suspects as (
  select
    s.tier,
    s.key_number
  from named as s
  left join hubs as h on s.tier = h.tier and s.key_number = h.key_number
  where
    h.tier is null
    and (
      {%- for tier in weak %}
      (s.tier = {{ tier }} and {{ may_be_shared(plan, tier) }} and (s.surnames_differ{% if plan.guards.contradiction[tier] == 'name' %} or s.givens_differ{% endif %}))
      {{ 'or' if not loop.last }}
      {%- endfor %}
    )
),

-- The names that meet are people's, not spellings of one, if there are different e-mails, or if the names are far
-- apart: Ann and Ben, Maria Garcia and Mohamed Ali, but neither Jenny and Jennifer Null nor Ann Lee and Lee Ann.
contradictions as (
  select
    s.tier,
    s.key_number,
    count(distinct case
      when c.surname is null then null
      {%- for tier in weak if plan.guards.contradiction[tier] == 'surname' %}
      when s.tier = {{ tier }} then c.surname
      {%- endfor %}
      else concat(c.surname, ' ', c.given)
    end) as counted
  from suspects as s
  inner join {{ ref('int_keys') }} as c on s.tier = c.tier and s.key_number = c.key_number and c.blocked_as is null
  left join {{ ref('int_keys') }} as e on c.record = e.record and e.tier = {{ email }} and e.blocked_as is null
  group by s.tier, s.key_number
  having
    min(e.key_value) <> max(e.key_value)
    {%- for tier in weak if plan.guards.contradiction[tier] == 'name' %}
    or (
      s.tier = {{ tier }}
      and min(nullif(c.given, '')) <> max(nullif(c.given, ''))
      and (
        min(substr(nullif(c.given, ''), 1, 1)) <> max(substr(nullif(c.given, ''), 1, 1))
        or min(case when c.given <> '' then c.surname end) <> max(case when c.given <> '' then c.surname end)
      )
      and min({{ name_either_way('c') }}) <> max({{ name_either_way('c') }})
    )
    {%- endfor %}
),
{% endif %}
found as (
  select
    'hub' as guard,
    tier,
    key_number,
    counted,
    cast(accepted as bigint) as accepted
  from hubs
  {%- if weak %}
  union all
  select
    'contradiction' as guard,
    tier,
    key_number,
    counted,
    cast(1 as bigint) as accepted
  from contradictions
  {%- endif %}
)

select
  f.guard,
  f.tier,
  f.key_number,
  min(k.key_value) as key_value,
  max(f.counted) as counted,
  max(f.accepted) as accepted
from found as f
inner join {{ ref('int_keys') }} as k on f.tier = k.tier and f.key_number = k.key_number
group by f.guard, f.tier, f.key_number
