{#- Values from outside (paths, headers, names) become SQL only through these words. -#}

{% macro sql_path(path) %}
  {#- The path of one file as read_csv and read_parquet take it: they would read * ? [ as a glob again. -#}
  {%- do return(sql_text(modules.re.sub('([*?[])', '[\\1]', path))) -%}
{% endmacro %}


{% macro sql_list(values) %}
  {#- ['a', 'b']: a list literal of DuckDB. -#}
  {%- set texts = [] -%}
  {%- for value in values -%}{%- do texts.append(sql_text(value)) -%}{%- endfor -%}
  {%- do return('[' ~ texts | join(', ') ~ ']') -%}
{% endmacro %}


{% macro said_once(name, text) %}
  {#- A text literal of landing, which is DuckDB's, that stands in many places: a macro of the session gives it, and a query has it as a constant when it is planned, so
      that a pattern is compiled once. The name ends with a hash, since other texts have the same name; each node has a session of its own, and one
      that lacks the macro fails. -#}
  {%- set known = graph.setdefault('merge_plan', {}) if execute else {} -%}
  {%- if not execute or known.in_full or text | length < 60 -%}{%- do return(sql_text(text)) -%}{%- endif -%}
  {%- set word = 'text_' ~ name ~ '_' ~ local_md5(text)[:12] -%}
  {%- set node = invocation_id ~ ' ' ~ model.unique_id -%}
  {%- if known.setdefault('said_once', {}).get(word) != node -%}
    {%- do run_statement('create or replace temp macro ' ~ word ~ '() as ' ~ sql_text(text)) -%}
    {%- do known.said_once.update({word: node}) -%}
  {%- endif -%}
  {%- do return(word ~ '()') -%}
{% endmacro %}


{% macro query_value(sql) %}
  {#- The one value that a query gives, none if it gives no row. -#}
  {%- set rows = query_rows(sql) -%}
  {%- do return(rows[0][0] if rows else none) -%}
{% endmacro %}


{% macro run_statement(sql) %}
  {#- Runs what gives no rows. dbt's run_query would ask for some and guess their types. -#}
  {%- do adapter.execute(sql, auto_begin=false, fetch=false) -%}
{% endmacro %}


{% macro query_rows(sql) %}
  {#- The rows that a query gives, their values as they are. -#}
  {%- call statement('query_rows', fetch_result=true, auto_begin=false) -%}{{ sql }}{%- endcall -%}
  {%- do return(load_result('query_rows')['data']) -%}
{% endmacro %}


{% macro reference(seed, column, where='true') %}
  {#- One column of a reference seed, read from its file: a merge loads no seeds. Each is read once per run of dbt,
      and landed with the plan for an engine that does not read the project's files. -#}
  {%- if not execute -%}{%- do return([]) -%}{%- endif -%}
  {%- set known = graph.setdefault('merge_plan', {}).setdefault('references', {}) -%}
  {%- set name = seed ~ '.' ~ column ~ ' where ' ~ where -%}
  {%- if name not in known -%}{%- do known.update({name: adapter.dispatch('read_reference', 'crm_merge')(seed, column, where)}) -%}{%- endif -%}
  {%- do return(known[name]) -%}
{% endmacro %}


{% macro duckdb__read_reference(seed, column, where) %}
  {%- do return(fromjson(query_value(
    'select to_json(list(' ~ adapter.quote(column) ~ ' order by all)) from ' ~ reference_file(seed) ~ ' where ' ~ where
  ))) -%}
{% endmacro %}


{% macro reference_file(seed) %}
  {#- Small buffers: each is memory of the engine's, and a query may read five seeds. -#}
  {%- do return(
    'read_csv(' ~ sql_text('seeds/reference/' ~ seed ~ '.csv')
    ~ ", delim = ',', quote = '" ~ '"' ~ "', escape = '" ~ '"' ~ "', header = true, all_varchar = true, maximum_line_size = 262144, buffer_size = 1048576)"
  ) -%}
{% endmacro %}
