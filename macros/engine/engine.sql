{#- The few words that differ per engine, and no others. A model never asks which engine it is on. -#}

{% macro matches(text, pattern) %}{{ return(adapter.dispatch('matches', 'crm_merge')(text, pattern)) }}{% endmacro %}
{% macro duckdb__matches(text, pattern) %}regexp_full_match({{ text }}, {{ pattern }}){% endmacro %}

{% macro replace_all(text, pattern, replacement) %}{{ return(adapter.dispatch('replace_all', 'crm_merge')(text, pattern, replacement)) }}{% endmacro %}
{% macro duckdb__replace_all(text, pattern, replacement) %}regexp_replace({{ text }}, {{ pattern }}, {{ replacement }}, 'g'){% endmacro %}

{% macro join_in_order(text, separator, order) %}{{ return(adapter.dispatch('join_in_order', 'crm_merge')(text, separator, order)) }}{% endmacro %}
{% macro duckdb__join_in_order(text, separator, order) %}string_agg({{ text }}, {{ separator }} order by {{ order }}){% endmacro %}

{% macro epoch_microseconds(timestamp) %}{{ return(adapter.dispatch('epoch_microseconds', 'crm_merge')(timestamp)) }}{% endmacro %}
{% macro duckdb__epoch_microseconds(timestamp) %}epoch_us({{ timestamp }}){% endmacro %}

{% macro exploded(list) %}{{ return(adapter.dispatch('exploded', 'crm_merge')(list)) }}{% endmacro %}
{% macro duckdb__exploded(list) %}unnest({{ list }}){% endmacro %}

{#- 63 bits of a hash of a text, as a bigint; a null may have a number as well. DuckDB's own hash of texts is not good enough: of
    three million e-mails that look alike, 200 share theirs with another. -#}
{% macro hash_number(text) %}{{ return(adapter.dispatch('hash_number', 'crm_merge')(text)) }}{% endmacro %}
{% macro duckdb__hash_number(text) %}cast(hash(md5_number({{ text }})) >> 1 as bigint){% endmacro %}

{#- The stored position of a row in a table that was written in an order: 1, 2, 3 … -#}
{% macro stored_position() %}{{ return(adapter.dispatch('stored_position', 'crm_merge')()) }}{% endmacro %}
{% macro duckdb__stored_position() %}row_number() over (){% endmacro %}

{% macro list_of_strings() %}{{ return(adapter.dispatch('list_of_strings', 'crm_merge')()) }}{% endmacro %}
{% macro duckdb__list_of_strings() %}varchar[]{% endmacro %}

{#- Is the entity, or the row, in the part that is being built? All are, where nobody asked for parts. -#}
{% macro part_of(entity, kind='entities') %}{{ return(adapter.dispatch('part_of', 'crm_merge')(entity, kind)) }}{% endmacro %}
{% macro duckdb__part_of(entity, kind) %}coalesce({{ entity }} % getvariable('{{ kind }}_parts') = getvariable('{{ kind }}_part'), true){% endmacro %}

{% macro within(kind, row) %}{{ return(adapter.dispatch('within', 'crm_merge')(kind, row)) }}{% endmacro %}
{% macro duckdb__within(kind, row) %}{{ row }} between coalesce(getvariable('{{ kind }}_first'), 0) and coalesce(getvariable('{{ kind }}_last'), 9223372036854775807){% endmacro %}
