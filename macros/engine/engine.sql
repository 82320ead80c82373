{#- The few words that differ per engine, and no others. A model never asks which engine it is on. What Spark does instead of
    landing files and building in parts stands in spark.sql. -#}

{% macro matches(text, pattern) %}{{ return(adapter.dispatch('matches', 'crm_merge')(text, pattern)) }}{% endmacro %}
{% macro duckdb__matches(text, pattern) %}regexp_full_match({{ text }}, {{ pattern }}){% endmacro %}
{% macro spark__matches(text, pattern) %}({{ text }} rlike concat('\\A(?:', {{ pattern }}, ')\\z')){% endmacro %}

{% macro replace_all(text, pattern, replacement) %}{{ return(adapter.dispatch('replace_all', 'crm_merge')(text, pattern, replacement)) }}{% endmacro %}
{% macro duckdb__replace_all(text, pattern, replacement) %}regexp_replace({{ text }}, {{ pattern }}, {{ replacement }}, 'g'){% endmacro %}
{% macro spark__replace_all(text, pattern, replacement) %}regexp_replace({{ text }}, {{ pattern }}, {{ replacement }}){% endmacro %}

{% macro join_in_order(text, separator, order) %}{{ return(adapter.dispatch('join_in_order', 'crm_merge')(text, separator, order)) }}{% endmacro %}
{% macro duckdb__join_in_order(text, separator, order) %}string_agg({{ text }}, {{ separator }} order by {{ order }}){% endmacro %}
{% macro spark__join_in_order(text, separator, order) %}listagg({{ text }}, {{ separator }}) within group (order by {{ order }}){% endmacro %}

{% macro epoch_microseconds(timestamp) %}{{ return(adapter.dispatch('epoch_microseconds', 'crm_merge')(timestamp)) }}{% endmacro %}
{% macro duckdb__epoch_microseconds(timestamp) %}epoch_us({{ timestamp }}){% endmacro %}
{% macro spark__epoch_microseconds(timestamp) %}unix_micros({{ timestamp }}){% endmacro %}

{% macro exploded(list) %}{{ return(adapter.dispatch('exploded', 'crm_merge')(list)) }}{% endmacro %}
{% macro duckdb__exploded(list) %}unnest({{ list }}){% endmacro %}
{% macro spark__exploded(list) %}explode({{ list }}){% endmacro %}

{#- 63 bits of the MD5 of a text, as a bigint, the same on every engine; null for null. DuckDB's own hash of texts is not good enough:
    of three million e-mails that look alike, 200 share theirs with another. -#}
{% macro hash_number(text) %}{{ return(adapter.dispatch('hash_number', 'crm_merge')(text)) }}{% endmacro %}
{#- The last eight bytes, the last one first, without its lowest bit; md5_number_lower says the same in three times the time. -#}
{% macro duckdb__hash_number(text) %}cast(md5_number({{ text }}) >> 65 as bigint){% endmacro %}
{% macro spark__hash_number(text) -%}
  {#- the last eight bytes, the last one first -#}
  {%- set digits = [] -%}
  {%- for place in range(31, 15, -2) -%}{%- do digits.append('substr(md5(' ~ text ~ '), ' ~ place ~ ', 2)') -%}{%- endfor -%}
  (cast(conv(concat({{ digits[:4] | join(', ') }}), 16, 10) as bigint) * 2147483648 + shiftright(cast(conv(concat({{ digits[4:] | join(', ') }}), 16, 10) as bigint), 1))
{%- endmacro %}

{#- A number of a text, 64 bits, of this engine alone and not null for null: two texts that differ have another, so that they are seen to differ. DuckDB's hash
    of a text cancels what differs eight letters apart, so the text is looked at twice, the second time at another offset. -#}
{% macro quick_number(text) %}{{ return(adapter.dispatch('quick_number', 'crm_merge')(text)) }}{% endmacro %}
{% macro duckdb__quick_number(text) %}xor(hash({{ text }}), hash(concat('1234', {{ text }}))){% endmacro %}
{% macro spark__quick_number(text) %}xxhash64({{ text }}){% endmacro %}

{#- The form of a vendor's cell that holds no keys: as it was landed, null where it was not; and what was landed, or else what the cell says. Engines write small letters each in its
    way, so DuckDB lands the forms that Spark reads. -#}
{% macro landed_form(v, forms) %}{{ return(adapter.dispatch('landed_form', 'crm_merge')(v, forms)) }}{% endmacro %}
{% macro duckdb__landed_form(v, forms) %}cast(null as bigint){% endmacro %}
{% macro spark__landed_form(v, forms) %}{{ forms }}.form_{{ v.index }}{% endmacro %}

{% macro form_or_landed(landed, cell) %}{{ return(adapter.dispatch('form_or_landed', 'crm_merge')(landed, cell)) }}{% endmacro %}
{% macro duckdb__form_or_landed(landed, cell) %}coalesce({{ landed }}, {{ hash_number(comparison_form(cell)) }}){% endmacro %}
{% macro spark__form_or_landed(landed, cell) %}{{ landed }}{% endmacro %}

{#- A join with the forms that were landed, where landed_form reads them. -#}
{% macro with_landed_forms(forms, record) %}{{ return(adapter.dispatch('with_landed_forms', 'crm_merge')(forms, record)) }}{% endmacro %}
{% macro duckdb__with_landed_forms(forms, record) %}{% endmacro %}
{% macro spark__with_landed_forms(forms, record) %}inner join {{ landed_forms(merge_plan()) }} as {{ forms }} on {{ record }} = {{ forms }}.record{% endmacro %}

{#- The form of the CRM's own cell that holds no keys, of the column that vendors call so: of its text in `original`, or as it was landed. -#}
{% macro original_form(v, header, original, forms) %}{{ return(adapter.dispatch('original_form', 'crm_merge')(v, header, original, forms)) }}{% endmacro %}
{% macro duckdb__original_form(v, header, original, forms) %}
  {%- set cell = original ~ '.' ~ sql_name(header.header) -%}
  {{ form_of(cell, 'not ' ~ is_blank(cell, header.is_name)) }}
{%- endmacro %}
{% macro spark__original_form(v, header, original, forms) %}{{ forms }}.form_{{ v.index }}{% endmacro %}

{#- The rows of a table that was written in an order, with the place of each in it, _merge_position: 1, 2, 3 … -#}
{% macro in_stored_order(relation) %}{{ return(adapter.dispatch('in_stored_order', 'crm_merge')(relation)) }}{% endmacro %}
{% macro duckdb__in_stored_order(relation) %}(select row_number() over () as _merge_position, * from {{ relation }}){% endmacro %}
{% macro spark__in_stored_order(relation) -%}
  {#- by the file and the place in it: numbering all rows would be the work of one machine -#}
  (
    select f._merge_before + r._merge_place + 1 as _merge_position, r.*
    from (select _metadata.file_name as _merge_name, _metadata.row_index as _merge_place, * from {{ relation }}) as r
    inner join (
      select _merge_name, coalesce(sum(count(*)) over (order by _merge_name rows between unbounded preceding and 1 preceding), 0) as _merge_before
      from (select _metadata.file_name as _merge_name from {{ relation }}) as names
      group by _merge_name
    ) as f on r._merge_name = f._merge_name
  )
{%- endmacro %}

{#- The place in the CRM's file of a row of the result, by its place in what is read of the result: the slice that is looked at, whose originals are the query
    of this name, or all. -#}
{% macro position_of_stored(originals) %}_merge_position + (select coalesce(min(_merge_position), 1) - 1 from {{ originals }}){% endmacro %}

{% macro list_of_strings() %}{{ return(adapter.dispatch('list_of_strings', 'crm_merge')()) }}{% endmacro %}
{% macro duckdb__list_of_strings() %}varchar[]{% endmacro %}
{% macro spark__list_of_strings() %}array<string>{% endmacro %}

{#- The rows of a Parquet file, and the place of each in it: 0, 1, 2 … -#}
{% macro parquet_rows(path) %}{{ return(adapter.dispatch('parquet_rows', 'crm_merge')(path)) }}{% endmacro %}
{% macro duckdb__parquet_rows(path) %}read_parquet({{ sql_path(path) }}, file_row_number = true){% endmacro %}
{% macro spark__parquet_rows(path) %}parquet.{{ sql_name(path) }}{% endmacro %}

{#- The rows of all Parquet files whose paths begin so. -#}
{% macro parquet_files(beginning) %}{{ return(adapter.dispatch('parquet_files', 'crm_merge')(beginning)) }}{% endmacro %}
{% macro duckdb__parquet_files(beginning) %}read_parquet({{ sql_path(beginning) }} || '*.parquet', file_row_number = true){% endmacro %}
{% macro spark__parquet_files(beginning) %}parquet.{{ sql_name(beginning ~ '*.parquet') }}{% endmacro %}

{#- The rows of all Parquet files in the folders of a folder. -#}
{% macro parquet_folders(folder) %}{{ return(adapter.dispatch('parquet_folders', 'crm_merge')(folder)) }}{% endmacro %}
{% macro duckdb__parquet_folders(folder) %}read_parquet({{ sql_path(folder) }} || '/*/*.parquet', hive_partitioning = false){% endmacro %}
{% macro spark__parquet_folders(folder) %}parquet.{{ sql_name(folder ~ '/*/*.parquet') }}{% endmacro %}

{#- The end of a query over rows that are stored in this order: a table that is made of them is written in it, too. -#}
{% macro written_in_order_of(column) %}{{ return(adapter.dispatch('written_in_order_of', 'crm_merge')(column)) }}{% endmacro %}
{% macro duckdb__written_in_order_of(column) %}{% endmacro %}
{% macro spark__written_in_order_of(column) %}order by {{ column }}{% endmacro %}

{#- Of a query that is asked for twice: read what it reads again, and do not keep its rows meanwhile. -#}
{% macro read_again() %}{{ return(adapter.dispatch('read_again', 'crm_merge')()) }}{% endmacro %}
{% macro duckdb__read_again() %}not materialized{% endmacro %}
{% macro spark__read_again() %}{% endmacro %}

{#- Is a number in a list? -#}
{% macro list_holds(list, number) %}{{ return(adapter.dispatch('list_holds', 'crm_merge')(list, number)) }}{% endmacro %}
{% macro duckdb__list_holds(list, number) %}list_contains({{ list }}, {{ number }}){% endmacro %}
{% macro spark__list_holds(list, number) %}array_contains({{ list }}, {{ number }}){% endmacro %}

{% macro place_in_file() %}{{ return(adapter.dispatch('place_in_file', 'crm_merge')()) }}{% endmacro %}
{% macro duckdb__place_in_file() %}file_row_number{% endmacro %}
{% macro spark__place_in_file() %}_metadata.row_index{% endmacro %}

{#- 'it''s': a text literal, whatever it holds. -#}
{% macro sql_text(value) %}{{ return(adapter.dispatch('sql_text', 'crm_merge')(value)) }}{% endmacro %}
{% macro duckdb__sql_text(value) %}{% do return("'" ~ (value | string).replace("'", "''") ~ "'") %}{% endmacro %}
{% macro spark__sql_text(value) %}{% do return("'" ~ (value | string).replace('\\', '\\\\').replace("'", "\\'") ~ "'") %}{% endmacro %}

{#- "First ""Name""": an identifier, whatever a header holds. -#}
{% macro sql_name(name) %}{{ return(adapter.dispatch('sql_name', 'crm_merge')(name)) }}{% endmacro %}
{% macro duckdb__sql_name(name) %}{% do return(adapter.quote(name.replace('"', '""'))) %}{% endmacro %}
{% macro spark__sql_name(name) %}{% do return(adapter.quote(name.replace('`', '``'))) %}{% endmacro %}

{#- A table that only a materialization knows, put in place at once. -#}
{% macro scratch(name, sql) %}{{ return(adapter.dispatch('scratch', 'crm_merge')(name, sql)) }}{% endmacro %}
{% macro duckdb__scratch(name, sql) %}
  {%- call statement('scratch', auto_begin=false) -%}create or replace temp table {{ name }} as {{ sql }}{%- endcall -%}
{% endmacro %}
{% macro spark__scratch(name, sql) %}
  {%- do run_statement('drop table if exists ' ~ name) -%}
  {%- do run_statement('create table ' ~ name ~ ' using parquet as ' ~ sql) -%}
{% endmacro %}

{#- Is the entity, or the row, in the part that is being built? All are, where nobody asked for parts. -#}
{% macro part_of(entity, kind='entities') %}{{ return(adapter.dispatch('part_of', 'crm_merge')(entity, kind)) }}{% endmacro %}
{% macro duckdb__part_of(entity, kind) %}coalesce({{ shuffled(entity) }} % getvariable('{{ kind }}_parts') = getvariable('{{ kind }}_part'), true){% endmacro %}
{% macro spark__part_of(entity, kind) %}1 = 1{% endmacro %}

{#- The first and the last number of the part that is looked at; of all, where nobody asked for parts. -#}
{% macro first_of(kind) %}{{ return(adapter.dispatch('first_of', 'crm_merge')(kind)) }}{% endmacro %}
{% macro duckdb__first_of(kind) %}coalesce(getvariable('{{ kind }}_first'), 0){% endmacro %}
{% macro spark__first_of(kind) %}cast(0 as bigint){% endmacro %}

{% macro last_of(kind) %}{{ return(adapter.dispatch('last_of', 'crm_merge')(kind)) }}{% endmacro %}
{% macro duckdb__last_of(kind) %}coalesce(getvariable('{{ kind }}_last'), 9223372036854775807){% endmacro %}
{% macro spark__last_of(kind) %}cast(9223372036854775807 as bigint){% endmacro %}

{% macro within(kind, row) %}{{ return(adapter.dispatch('within', 'crm_merge')(kind, row)) }}{% endmacro %}
{% macro duckdb__within(kind, row) %}{{ row }} between {{ duckdb__first_of(kind) }} and {{ duckdb__last_of(kind) }}{% endmacro %}
{% macro spark__within(kind, row) %}1 = 1{% endmacro %}

{#- How many rows a check of merge_checks_to_ask complains of: {failures, settings}. -#}
{% macro failures_of_check(name) %}{{ return(adapter.dispatch('failures_of_check', 'crm_merge')(name)) }}{% endmacro %}
{% macro duckdb__failures_of_check(name) %}
  {#- How many rows a check complains of, and the statements that name the first part in which it does. The query is not written a second time. -#}
  {%- set asked = "set variable merge_check = (select query from merge_checks_to_ask where name = " ~ sql_text(name) ~ "); " -%}
  {#- a small merge has one part of everything #}
  {%- if parts_of('originals').n == 1 and parts_of('rows').n == 1 -%}
    {%- do return({'failures': query_value(asked ~ "select count(*) from query(getvariable('merge_check')) as failing_rows") | int, 'settings': ''}) -%}
  {%- endif -%}
  {%- set over = parts_named_in(query_value(asked ~ "select getvariable('merge_check')")) -%}
  {%- do return(failures_in_parts("query(getvariable('merge_check'))", over, 'count(*)')) -%}
{% endmacro %}
