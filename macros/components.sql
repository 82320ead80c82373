{#- Entities as a materialization: the model's SELECT gives edges (node_a, node_b, tier), a node alone as an edge to itself;
    the relation is (node, component, level, is_quarantined, split_from, split_by), component being the smallest node of each.

    All edges together first. A component that is too large, or holds two rows that must not meet, is resolved again without
    its weakest tier, and so on up to the strongest (level 1); what is still bad then is quarantined. Level is the weakest
    tier that its edges were taken from; tier 0 (a person's must-link) is always among them. -#}

{% materialization components, adapter='duckdb' %}
  {%- set target = this.incorporate(type='table') -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {%- if is_finished() and load_cached_relation(this) is not none -%}
    {%- call statement('main', auto_begin=false) -%}select 1{%- endcall -%}
    {{ return({'relations': [target]}) }}
  {%- endif -%}
  {#- All of it runs outside a transaction: DuckDB knows no row counts of uncommitted tables, and joined the
      representatives with each other first (a million people took hours instead of a second). -#}
  {%- set leftovers = resolve_components(compiled_code) -%}
  {%- do drop_other_type(target) -%}
  {%- call statement('main', auto_begin=false) -%}
    create or replace table {{ target }} as
    select * from merge_settled
  {%- endcall -%}
  {%- do drop_scratch(leftovers) -%}
  {%- do finish() -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {%- do persist_docs(target, model) -%}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}


{% macro resolve_components(sql) %}
  {#- From a query of edges the scratch table merge_settled, of the columns above; returns the names of all scratch tables that are left. -#}
  {%- set plan = merge_plan() -%}
  {%- set weakest = plan.tiers | length -%}
  {%- do scratch('merge_edges', sql) -%}
  {%- do contract('select node_a, node_b from merge_edges', 'merge_level') -%}
  {%- if plan.assertions -%}
    {%- do refuse_contradictory_assertions() -%}
    {%- do contract('select node_a, node_b from merge_edges where tier = 0', 'merge_decided') -%}
  {%- endif -%}
  {%- do scratch('merge_split', bad_components('merge_level', plan)) -%}
  {%- set left = namespace(bad=query_value('select count(*) from merge_split') | int) -%}
  {%- if left.bad == 0 -%}
    {%- set settled -%}
      select
        node,
        component,
        {{ weakest }} as level,
        false as is_quarantined,
        cast(null as bigint) as split_from,
        cast(null as string) as split_by
      from merge_level
    {%- endset -%}
    {%- do scratch('merge_settled', settled) -%}
  {%- else -%}
    {%- set settled -%}
      select
        l.node,
        l.component,
        {{ weakest }} as level,
        s.guard is not null as is_quarantined,
        case when s.guard is not null then l.component end as split_from,
        s.guard as split_by
      from merge_level as l
      left join merge_split as s on l.component = s.component
    {%- endset -%}
    {%- do scratch('merge_settled', settled) -%}
  {%- endif -%}
  {%- for level in range(weakest - 1, 0, -1) if left.bad > 0 -%}
    {%- set left.bad = resolve_again(level, plan) -%}
  {%- endfor -%}
  {%- do return(['merge_edges', 'merge_level', 'merge_split', 'merge_settled'] + (['merge_decided'] if plan.assertions else [])) -%}
{% endmacro %}


{% macro resolve_again(level, plan) %}
  {#- Takes the components that are bad apart without tiers weaker than a level; returns how many are bad still. -#}
  {%- set part -%}
    select e.node_a, e.node_b
    from merge_edges as e
    inner join merge_settled as a on e.node_a = a.node
    inner join merge_settled as b on e.node_b = b.node
    where a.is_quarantined and b.is_quarantined and a.component = b.component and e.tier <= {{ level }}
    union all
    select node as node_a, node as node_b from merge_settled where is_quarantined
  {%- endset -%}
  {%- do scratch('merge_part', part) -%}
  {%- do contract('select node_a, node_b from merge_part', 'merge_level') -%}
  {%- do scratch('merge_bad', bad_components('merge_level', plan)) -%}
  {%- set next -%}
    select
      s.node,
      coalesce(l.component, s.component) as component,
      case when l.node is null then s.level else {{ level }} end as level,
      b.component is not null as is_quarantined,
      s.split_from,
      s.split_by
    from merge_settled as s
    left join merge_level as l on s.node = l.node
    left join merge_bad as b on l.component = b.component
  {%- endset -%}
  {%- do scratch('merge_next', next) -%}
  {%- do drop_scratch(['merge_settled']) -%}
  {%- do run_statement('alter table merge_next rename to merge_settled') -%}
  {%- set bad = query_value('select count(*) from merge_bad') | int -%}
  {%- do drop_scratch(['merge_part', 'merge_bad']) -%}
  {%- do return(bad) -%}
{% endmacro %}


{% macro drop_scratch(names) %}{% for name in names %}{% do run_statement('drop table ' ~ name) %}{% endfor %}{% endmacro %}


{% macro contract(edges, name) %}
  {#- Connected components of a query of edges (node_a, node_b) into the scratch table `name` (node, component). Edges form stars: each
      points to a node that is no larger, its centre, and a centre points to itself.

      Most nodes belong to one star, or to several of one centre: they take part no further. What is left are edges between
      centres, which randomised contraction resolves, as in Bögeholz, Brand, Todor: In-database connected component analysis
      (ICDE 2020): in each round every node moves to its neighbour, or stays, whichever hashes smallest with
      the round's number; edges are rewritten and made distinct, until none is left; then the rounds are
      composed backwards. A round leaves on average less than three quarters of the nodes, so a chain of a
      million needs about twenty. The result does not depend on the hash. -#}
  {%- set nodes -%}
    with given as (
      {{ edges }}
    )
    select node_a as node, min(node_b) as centre, max(node_b) as other_centre from given group by node_a
  {%- endset -%}
  {%- do scratch(name ~ '_nodes', nodes) -%}
  {%- set both_ways -%}
    with given as (
      {{ edges }}
    ),
    crossing as (
      select n.centre as node_a, e.node_b
      from given as e
      inner join {{ name }}_nodes as n on e.node_a = n.node
      where n.centre <> n.other_centre and e.node_b <> n.centre
    )
    select node_a, node_b from crossing
    union
    select node_b, node_a from crossing
  {%- endset -%}
  {%- do scratch(name ~ '_edges_0', both_ways) -%}
  {%- set rounds = contraction_rounds(name) -%}
  {%- do compose_rounds(name, rounds) -%}
  {%- set named -%}
    {% if rounds > 0 -%}
    with smallest as (
      select representative, min(node) as component from {{ name }}_chosen_0 group by representative
    ),
    centres as (
      select c.node, s.component
      from {{ name }}_chosen_0 as c
      inner join smallest as s on c.representative = s.representative
    )
    select n.node, coalesce(c.component, n.centre) as component
    from {{ name }}_nodes as n
    left join centres as c on n.centre = c.node
    {%- else -%}
    select node, centre as component from {{ name }}_nodes
    {%- endif %}
  {%- endset -%}
  {%- do scratch(name, named) -%}
  {%- do drop_scratch([name ~ '_nodes', name ~ '_edges_' ~ rounds] + ([name ~ '_chosen_0'] if rounds > 0 else [])) -%}
{% endmacro %}


{% macro contraction_rounds(name) %}
  {#- Moves nodes to their representatives until no edge is left: <name>_chosen_<round> says where each went; returns the number of rounds. -#}
  {%- set state = namespace(round=0, left=query_value('select count(*) from ' ~ name ~ '_edges_0') | int) -%}
  {%- for _ in range(200) if state.left > 0 -%}
    {%- set edges_now = name ~ '_edges_' ~ state.round -%}
    {%- set next = name ~ '_edges_' ~ (state.round + 1) -%}
    {%- set chosen = name ~ '_chosen_' ~ state.round -%}
    {%- set choose -%}
      select
        node,
        min_by(neighbour, {{ contraction_order('neighbour', state.round) }}) as representative
      from (
        select node_a as node, node_b as neighbour from {{ edges_now }}
        union all
        select distinct node_a, node_a from {{ edges_now }}
      ) as neighbourhoods
      group by node
    {%- endset -%}
    {%- do scratch(chosen, choose) -%}
    {%- set move -%}
      select distinct a.representative as node_a, b.representative as node_b
      from {{ edges_now }} as e
      inner join {{ chosen }} as a on e.node_a = a.node
      inner join {{ chosen }} as b on e.node_b = b.node
      where a.representative <> b.representative
    {%- endset -%}
    {%- do scratch(next, move) -%}
    {%- do drop_scratch([edges_now]) -%}
    {%- set state.round = state.round + 1 -%}
    {%- set state.left = query_value('select count(*) from ' ~ next) | int -%}
  {%- endfor -%}
  {%- if state.left > 0 -%}
    {%- do exceptions.raise_compiler_error('connected components did not settle in 200 rounds; please report this') -%}
  {%- endif -%}
  {%- do return(state.round) -%}
{% endmacro %}


{% macro compose_rounds(name, rounds) %}
  {#- Backwards: a node's end is the end of what it moved to. -#}
  {%- for round in range(rounds - 2, -1, -1) -%}
    {%- set chosen = name ~ '_chosen_' ~ round -%}
    {%- set later = name ~ '_chosen_' ~ (round + 1) -%}
    {%- set compose -%}
      select c.node, coalesce(l.representative, c.representative) as representative
      from {{ chosen }} as c
      left join {{ later }} as l on c.representative = l.node
    {%- endset -%}
    {%- do scratch(chosen ~ '_ends', compose) -%}
    {%- do drop_scratch([chosen, later]) -%}
    {%- do run_statement('alter table ' ~ chosen ~ '_ends rename to ' ~ chosen) -%}
  {%- endfor -%}
{% endmacro %}


{% macro contraction_order(node, round) -%}
  {#- A random order of nodes, another in each round. Which node wins decides the number of rounds, never the result. -#}
  {{ hash_number("cast(" ~ node ~ " as string) || '/" ~ round ~ "'") }}
{%- endmacro %}
