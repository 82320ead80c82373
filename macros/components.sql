{#- Connected components as a materialization: the model's SELECT gives edges (node_a, node_b), a node alone
    as an edge to itself; the relation is (node, component), component being the smallest node of each.

    Randomised contraction, as in Bögeholz, Brand, Todor: In-database connected component analysis
    (ICDE 2020): in each round every node moves to its neighbour, or stays, whichever hashes smallest with
    the round's number; edges are rewritten and made distinct, until none is left; then the rounds are
    composed backwards. A round leaves on average less than three quarters of the nodes, so a chain of a
    million needs about twenty. The result does not depend on the hash. -#}

{% materialization components, adapter='duckdb' %}
  {%- set target = this.incorporate(type='table') -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {#- The rounds run outside a transaction: DuckDB knows no row counts of uncommitted tables, and joined the
      representatives with each other first (a million people took hours instead of a second). -#}
  {%- set name = 'merge_contraction' -%}
  {%- call statement('edges', auto_begin=false) -%}
    create or replace temp table {{ name }}_edges_0 as
    with given as (
    {{ compiled_code }}
    )
    select node_a, node_b from given where node_a <> node_b
    union all
    select node_b, node_a from given where node_a <> node_b
  {%- endcall -%}
  {%- call statement('nodes', auto_begin=false) -%}
    create or replace temp table {{ name }}_nodes as
    with given as (
    {{ compiled_code }}
    )
    select node_a as node from given union select node_b from given
  {%- endcall -%}
  {%- set state = namespace(round=0, left=query_value('select count(*) from ' ~ name ~ '_edges_0') | int) -%}
  {%- for _ in range(200) if state.left > 0 -%}
    {%- set edges = name ~ '_edges_' ~ state.round -%}
    {%- set next = name ~ '_edges_' ~ (state.round + 1) -%}
    {%- set chosen = name ~ '_chosen_' ~ state.round -%}
    {%- call statement('choose', auto_begin=false) -%}
      create or replace temp table {{ chosen }} as
      select
        node,
        min_by(neighbour, {{ contraction_order('neighbour', state.round) }}) as representative
      from (
        select node_a as node, node_b as neighbour from {{ edges }}
        union all
        select distinct node_a, node_a from {{ edges }}
      ) as neighbourhoods
      group by node
    {%- endcall -%}
    {%- call statement('contract', auto_begin=false) -%}
      create or replace temp table {{ next }} as
      select distinct a.representative as node_a, b.representative as node_b
      from {{ edges }} as e
      inner join {{ chosen }} as a on e.node_a = a.node
      inner join {{ chosen }} as b on e.node_b = b.node
      where a.representative <> b.representative
    {%- endcall -%}
    {%- do run_query('drop table ' ~ edges) -%}
    {%- set state.round = state.round + 1 -%}
    {%- set state.left = query_value('select count(*) from ' ~ next) | int -%}
  {%- endfor -%}
  {%- if state.left > 0 -%}
    {%- do exceptions.raise_compiler_error('connected components did not settle in 200 rounds; please report this') -%}
  {%- endif -%}

  {#- Backwards: a node's end is the end of what it moved to. -#}
  {%- for round in range(state.round - 2, -1, -1) -%}
    {%- set chosen = name ~ '_chosen_' ~ round -%}
    {%- set later = name ~ '_chosen_' ~ (round + 1) -%}
    {%- call statement('compose', auto_begin=false) -%}
      create or replace temp table {{ chosen }}_ends as
      select c.node, coalesce(l.representative, c.representative) as representative
      from {{ chosen }} as c
      left join {{ later }} as l on c.representative = l.node
    {%- endcall -%}
    {%- do run_query('drop table ' ~ chosen ~ '; drop table ' ~ later ~ '; alter table ' ~ chosen ~ '_ends rename to ' ~ chosen) -%}
  {%- endfor -%}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- do drop_relation_if_exists(load_cached_relation(this)) -%}
  {%- call statement('main') -%}
    create table {{ target }} as
    with ends as (
      {% if state.round > 0 -%}
      select n.node, coalesce(c.representative, n.node) as representative
      from {{ name }}_nodes as n
      left join {{ name }}_chosen_0 as c on n.node = c.node
      {%- else -%}
      select node, node as representative from {{ name }}_nodes
      {%- endif %}
    ),
    smallest as (
      select representative, min(node) as component from ends group by representative
    )
    select e.node, s.component
    from ends as e
    inner join smallest as s on e.representative = s.representative
  {%- endcall -%}
  {%- do run_query('drop table ' ~ name ~ '_nodes; drop table ' ~ name ~ '_edges_' ~ state.round ~ (('; drop table ' ~ name ~ '_chosen_0') if state.round > 0 else '')) -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {%- do persist_docs(target, model) -%}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}


{% macro contraction_order(node, round) -%}
  {#- A random order of nodes, another in each round. Which node wins decides the number of rounds, never the result. -#}
  {{ hash_number("cast(" ~ node ~ " as string) || '/" ~ round ~ "'") }}
{%- endmacro %}
