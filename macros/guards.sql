{#- What keeps strangers apart. Guards of values (blocked, hub, contradiction) decide what a key may link, in
    int_key_guards and int_match_keys; guards of entities (max_entity_size, cannot_link) which components are taken
    apart again, in the materialization `components`. -#}

{% macro hub_limits(plan, tier) -%}
  {#- The limit of a row's tier; null where the guard is off. -#}
  case {{ tier }}
  {%- for n, limit in plan.guards.hub.items() if limit %} when {{ n }} then {{ limit }}{% endfor %}
  {%- if not plan.guards.hub.values() | select | list %} when 0 then 0{% endif %} end
{%- endmacro %}


{% macro weak_tiers(plan) %}
  {#- The tiers whose contradiction guard is on. -#}
  {%- set tiers = [] -%}
  {%- for n, mode in plan.guards.contradiction.items() if mode != 'off' -%}{%- do tiers.append(n) -%}{%- endfor -%}
  {%- do return(tiers) -%}
{% endmacro %}


{% macro may_be_shared(plan, tier) -%}
  {#- Condition: which values of a weak tier strangers share. Of LinkedIn a company's page; of a domain what a vendor sells
      with people's names, not the rows about companies. -#}
  {%- if tier == tier_of(plan, 'linkedin') -%} s.is_company = 1
  {%- elif tier == tier_of(plan, 'domain') -%} s.vendors_name is not null
  {%- else -%} 1 = 1
  {%- endif -%}
{%- endmacro %}


{% macro tier_of(plan, label) %}
  {%- for tier in plan.tiers + plan.evidence if tier.label == label -%}{%- do return(tier.tier) -%}{%- endfor -%}
  {%- do return(0) -%}
{% endmacro %}


{% macro bad_components(components, plan) -%}
  {#- SELECT of the components (component, guard) that can not stay as they are. -#}
  {%- set limit = plan.guards.max_entity_size -%}
  with large as (
    select c.component
    from {{ components }} as c
    {%- if plan.assertions %}
    left join merge_decided as d on c.node = d.node
    {%- endif %}
    group by c.component
    having count(*) > {{ limit or 0 }} and {{ 'true' if limit else 'false' }}
    {%- if plan.assertions %} {#- what people joined is as large as they say #}
    and not (count(d.component) = count(*) and min(d.component) = max(d.component))
    {%- endif %}
  ),

  {#- rows with the very same keys are one row repeated: they count once. The sum of their numbers stands for them, since texts of
      a million rows would have to fit in memory. -#}
  keyed as (
    select
      c.component,
      c.node,
      sum(cast(k.key_number as decimal(38, 0))) as all_keys
    from {{ components }} as c
    inner join large as l on c.component = l.component
    left join {{ ref('int_keys') }} as k on c.node = k.record and k.blocked_as is null and k.tier <= {{ plan.tiers | length }}
    group by c.component, c.node
  ),

  too_large as (
    select component
    from keyed
    group by component
    having count(distinct coalesce(all_keys, 0)) > {{ limit or 0 }}
  ),

  must_not_meet as (
    select distinct a.component
    from {{ ends_in_components('a', components) }} as a
    inner join {{ ends_in_components('b', components) }} as b on a.file = b.file and a.source_row = b.source_row and a.component = b.component
  )

  select
    component,
    max(guard) as guard
  from (
    select component, 'max_entity_size' as guard from too_large
    union all
    select component, 'cannot_link' as guard from must_not_meet
  ) as bad
  group by component
{%- endmacro %}


{% macro refuse_contradictory_assertions() %}
  {#- Ends the run when must-links alone join two rows that a cannot-link keeps apart. -#}
  {%- do contract(
    "select e.record as node_a, s.centre as node_b from " ~ ref('int_assertion_ends') ~ " as e inner join (select file, source_row, min(record) as centre from "
    ~ ref('int_assertion_ends') ~ " where decision = 'must_link' group by file, source_row) as s on e.file = s.file and e.source_row = s.source_row"
    ~ " where e.decision = 'must_link'", 'merge_asserted') -%}
  {%- set joined -%}
    select distinct a.file, a.source_row, m.file as other_file, m.source_row as other_row
    from {{ ends_in_components('a', 'merge_asserted') }} as a
    inner join {{ ends_in_components('b', 'merge_asserted') }} as b on a.file = b.file and a.source_row = b.source_row and a.component = b.component
    inner join merge_asserted as c on a.component = c.component
    inner join {{ ref('int_assertion_ends') }} as m on c.node = m.record and m.decision = 'must_link'
    order by 1, 2, 3, 4
    limit 1000
  {%- endset -%}
  {%- set rows = {} -%}
  {%- for file, row, other_file, other_row in query_rows(joined) -%}
    {%- do rows.setdefault('assertions: ' ~ file ~ ' row ' ~ row ~ ' says cannot_link, but must_link rows join the two: ', []).append(('' if other_file == file else other_file ~ ' ') ~ 'row ' ~ other_row) -%}
  {%- endfor -%}
  {%- set problems = [] -%}
  {%- for problem, joining in rows.items() -%}{%- do problems.append(problem ~ joining | join(', ')) -%}{%- endfor -%}
  {%- do drop_scratch(['merge_asserted']) -%}
  {%- if problems -%}{%- do refuse('Assertions contradict each other.', problems) -%}{%- endif -%}
{% endmacro %}


{% macro ends_in_components(end_name, components) -%}
  {#- Subquery of the components that stand at one end of a cannot-link. -#}
  (select distinct x.file, x.source_row, c.component from {{ ref('int_assertion_ends') }} as x inner join {{ components }} as c on x.record = c.node
  where x.decision = 'cannot_link' and x.end_name = '{{ end_name }}')
{%- endmacro %}
