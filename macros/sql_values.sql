{#- Values from outside (paths, headers, names) become SQL only through these words. -#}

{% macro sql_text(value) %}
  {#- 'it''s': a text literal. -#}
  {%- do return("'" ~ (value | string).replace("'", "''") ~ "'") -%}
{% endmacro %}


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


{% macro sql_name(name) %}
  {#- "First ""Name""": an identifier, whatever a header holds. -#}
  {%- do return(adapter.quote(name.replace('"', '""'))) -%}
{% endmacro %}


{% macro query_value(sql) %}
  {#- The one value that a query gives, as it is (run_query would guess types). -#}
  {%- call statement('query_value', fetch_result=true, auto_begin=false) -%}{{ sql }}{%- endcall -%}
  {%- set rows = load_result('query_value')['data'] -%}
  {%- do return(rows[0][0] if rows else none) -%}
{% endmacro %}


{% macro reference(seed, column, where='true') %}
  {#- One column of a reference seed, read from its file: the spec is checked before seeds are loaded. -#}
  {%- do return(fromjson(query_value(
    'select to_json(list(' ~ adapter.quote(column) ~ ' order by all)) from ' ~ reference_file(seed) ~ ' where ' ~ where
  )) if execute else []) -%}
{% endmacro %}


{% macro reference_file(seed) %}
  {#- Small buffers: each is memory of the engine's, and a query may read five seeds. -#}
  {%- do return(
    'read_csv(' ~ sql_text('seeds/reference/' ~ seed ~ '.csv')
    ~ ", delim = ',', quote = '" ~ '"' ~ "', escape = '" ~ '"' ~ "', header = true, all_varchar = true, maximum_line_size = 262144, buffer_size = 1048576)"
  ) -%}
{% endmacro %}
