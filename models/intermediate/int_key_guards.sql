{%- set plan = merge_plan() %}
{%- set weak = weak_tiers(plan) %}
{%- set email = tier_of(plan, 'email') %}
{%- set domain = tier_of(plan, 'domain') %}
-- carriers: who holds a key
with carriers as (
  select
    side,
    record,
    tier,
    key_value,
    {%- for name in ['surname', 'given'] %}
    {%- if weak %}
    case when tier in ({{ weak | join(', ') }}) then {{ name }} end as {{ name }}{{ ',' if not loop.last }}
    {%- else %}
    cast(null as string) as {{ name }}{{ ',' if not loop.last }}
    {%- endif %}
    {%- endfor %}
  from {{ ref('int_keys') }}
  where blocked_as is null
),

shared as (
  select
    tier,
    key_value,
    count(*) as n_records,
    {{ hub_limits(plan, 'tier') }} as hub_limit,
    max(case when side = 'enriched' then surname end) as vendors_name,
    coalesce(min(surname) <> max(surname), false) as surnames_differ,
    coalesce(min(nullif(given, '')) <> max(nullif(given, '')), false) as givens_differ
  from carriers
  where tier <= {{ plan.tiers | length }}
  group by tier, key_value
  having count(*) > 1
),

-- Of one person there may be several phones, but not a dozen people's e-mails under one phone. A company's domain is
-- shared by its people in the CRM, so there only vendors' rows count.
companions as (
  select
    s.tier,
    s.key_value,
    o.tier as other_tier,
    count(distinct o.key_value) as n_values
  from shared as s
  inner join carriers as c on s.tier = c.tier and s.key_value = c.key_value
  inner join {{ ref('int_keys') }} as o on c.record = o.record and c.tier <> o.tier and o.blocked_as is null
  where s.n_records > s.hub_limit{% if domain %} and not (s.tier = {{ domain }} and c.side = 'original'){% endif %}
  group by s.tier, s.key_value, o.tier
),

hubs as (
  select
    s.tier,
    s.key_value,
    max(c.n_values) as counted,
    max(s.hub_limit) as accepted
  from shared as s
  inner join companions as c on s.tier = c.tier and s.key_value = c.key_value
  group by s.tier, s.key_value
  having max(c.n_values) > max(s.hub_limit)
),

suspects as (
  select
    s.tier,
    s.key_value
  from shared as s
  left join hubs as h on s.tier = h.tier and s.key_value = h.key_value
  where
    h.tier is null
    and (
      {%- for tier in weak %}
      (s.tier = {{ tier }} and {{ may_be_shared(plan, tier) }} and (s.surnames_differ{% if plan.guards.contradiction[tier] == 'name' %} or s.givens_differ{% endif %}))
      {{ 'or' if not loop.last }}
      {%- else %}
      1 = 0
      {%- endfor %}
    )
),

-- The names that meet are people's, not spellings of one, if there are different e-mails, or if the names are far
-- apart: Ann and Ben, Maria Garcia and Mohamed Ali, but neither Jenny and Jennifer Null nor Ann Lee and Lee Ann.
contradictions as (
  select
    s.tier,
    s.key_value,
    count(distinct case
      when c.surname is null then null
      {%- for tier in weak if plan.guards.contradiction[tier] == 'surname' %}
      when s.tier = {{ tier }} then c.surname
      {%- endfor %}
      else concat(c.surname, ' ', c.given)
    end) as counted
  from suspects as s
  inner join carriers as c on s.tier = c.tier and s.key_value = c.key_value
  left join {{ ref('int_keys') }} as e on c.record = e.record and e.tier = {{ email }} and e.blocked_as is null
  group by s.tier, s.key_value
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
)

select
  'hub' as guard,
  tier,
  key_value,
  counted,
  cast(accepted as bigint) as accepted
from hubs
union all
select
  'contradiction' as guard,
  tier,
  key_value,
  counted,
  cast(1 as bigint) as accepted
from contradictions
