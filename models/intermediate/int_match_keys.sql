{{ config(materialized='view') }}
{%- set plan = merge_plan() %}
{%- set by_surname = [] %}
{%- for tier, mode in plan.guards.contradiction.items() if mode == 'surname' %}{% do by_surname.append(tier) %}{% endfor %}
{%- set given = 'case when k.tier not in (' ~ by_surname | join(', ') ~ ') then k.given end' if by_surname else 'k.given' %}
{%- set of_one_email %}concat_ws(' ', k.key_value, e.key_value){% endset %}
{%- set narrowed %}concat_ws(' ', k.key_value, k.surname, {{ given }}){% endset %}
select
  k.side,
  k.record,
  k.tier,
  k.key_type,
  {%- if weak_tiers(plan) %}
  -- under a contradiction a key links only rows of one name
  case
    when g.guard is null then k.key_number
    when g.guard = 'contradiction' and k.surname is not null then {{ key_number('k.tier', narrowed) }}
  end as key_number,
  case
    when g.guard is null then k.key_value
    when g.guard = 'contradiction' and k.surname is not null then {{ narrowed }}
  end as key_value,
  {%- else %}
  case when g.guard is null then k.key_number end as key_number,
  case when g.guard is null then k.key_value end as key_value,
  {%- endif %}
  case when g.guard is not null then k.key_value end as refused_value
from {{ ref('int_keys') }} as k
left join {{ ref('int_key_guards') }} as g on k.tier = g.tier and k.key_number = g.key_number
where k.blocked_as is null and k.tier <= {{ plan.tiers | length }}
{%- if plan.evidence %}
-- … or of one e-mail, which links them itself where it is in match_on
union all
select
  k.side,
  k.record,
  k.tier,
  k.key_type,
  {{ key_number('k.tier', of_one_email) }} as key_number,
  concat_ws(' ', k.key_value, e.key_value) as key_value,
  k.key_value as refused_value
from {{ ref('int_keys') }} as k
inner join {{ ref('int_key_guards') }} as g on k.tier = g.tier and k.key_number = g.key_number and g.guard = 'contradiction'
inner join {{ ref('int_keys') }} as e on k.record = e.record and e.tier = {{ plan.evidence[0].tier }} and e.blocked_as is null
where k.blocked_as is null and k.tier <= {{ plan.tiers | length }}
{%- endif %}
