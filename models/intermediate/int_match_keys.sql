{%- set plan = merge_plan() %}
{%- set by_surname = [] %}
{%- for tier, mode in plan.guards.contradiction.items() if mode == 'surname' %}{% do by_surname.append(tier) %}{% endfor %}
with guarded as (
  select
    k.side,
    k.record,
    k.tier,
    k.key_type,
    k.key_value,
    k.surname,
    {{ 'case when k.tier not in (' ~ by_surname | join(', ') ~ ') then k.given end' if by_surname else 'k.given' }} as given,
    g.guard
  from {{ ref('int_keys') }} as k
  left join {{ ref('int_key_guards') }} as g on k.tier = g.tier and k.key_value = g.key_value
  where k.blocked_as is null and k.tier <= {{ plan.tiers | length }}
)

select
  side,
  record,
  tier,
  key_type,
  -- under a contradiction a key links only rows of one name
  case
    when guard is null then key_value
    when guard = 'contradiction' and surname is not null then concat_ws(' ', key_value, surname, given)
  end as key_value,
  case when guard is not null then key_value end as refused_value
from guarded
{%- if plan.evidence %}
-- … or of one e-mail, which links them itself where it is in match_on
union all
select
  g.side,
  g.record,
  g.tier,
  g.key_type,
  concat_ws(' ', g.key_value, e.key_value) as key_value,
  g.key_value as refused_value
from guarded as g
inner join {{ ref('int_keys') }} as e on g.record = e.record and e.tier = {{ plan.evidence[0].tier }} and e.blocked_as is null
where g.guard = 'contradiction'
{%- endif %}
