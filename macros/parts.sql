{#- Memory is bounded by doing a part of the entities at a time. A model that asks for the materialization `in_parts` stays one
    plain SELECT, which says with part_of(entity) which rows a part is; it is run once per part, and its relation is all of them
    together. Aggregates of texts can not spill, so their size has to follow from the limit. -#}

{% materialization in_parts, adapter='duckdb' %}
  {%- set target = this.incorporate(type='table') -%}
  {%- set old = load_cached_relation(this) -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {%- if old is not none and old.type != 'table' -%}{%- do adapter.drop_relation(old) -%}{%- endif -%}
  {#- a model that names no part for this merge is run once #}
  {%- set parts = n_parts(merge_plan(), ref(config.get('sized_by'))) if "getvariable('part')" in compiled_code else 1 -%}
  {%- for part in range(parts) -%}
    {%- do run_query('set variable parts = ' ~ parts) -%}
    {%- do run_query('set variable part = ' ~ part) -%}
    {%- call statement('main' if loop.last else 'part', auto_begin=false) -%}
      {{ 'create or replace table ' ~ target ~ ' as' if part == 0 else 'insert into ' ~ target }}
      {{ compiled_code }}
    {%- endcall -%}
  {%- endfor -%}
  {%- do run_query('reset variable part') -%}
  {%- do run_query('reset variable parts') -%}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {%- do persist_docs(target, model) -%}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}


{% macro n_parts(plan, rows) %}
  {#- How many parts keep the aggregates of one within half of the memory limit. A row of `rows` is a vendor row, about 80 bytes per
      column and 500 where values are joined in order; or a candidate in dispute, about 300. -#}
  {%- set width = namespace(bytes=300) -%}
  {%- if rows.identifier == 'int_entities' -%}
    {%- for v in plan.vendor -%}
      {%- set width.bytes = width.bytes + (500 if fold_of(v) and v.strategy.name == 'collect' else 80) -%}
    {%- endfor -%}
  {%- endif -%}
  {%- do return([1, query_value(
    'select cast(ceil(count(*) * ' ~ width.bytes ~ " / (parse_formatted_bytes(current_setting('memory_limit')) * 0.5)) as int) from " ~ rows
  ) | int] | max) -%}
{% endmacro %}
