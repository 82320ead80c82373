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

{% macro hash_number(text) %}{{ return(adapter.dispatch('hash_number', 'crm_merge')(text)) }}{% endmacro %}
{% macro duckdb__hash_number(text) %}hash({{ text }}){% endmacro %}

{#- The stored position of a row in a table that was written in an order: 1, 2, 3 … -#}
{% macro stored_position() %}{{ return(adapter.dispatch('stored_position', 'crm_merge')()) }}{% endmacro %}
{% macro duckdb__stored_position() %}row_number() over (){% endmacro %}

{% macro list_of_strings() %}{{ return(adapter.dispatch('list_of_strings', 'crm_merge')()) }}{% endmacro %}
{% macro duckdb__list_of_strings() %}varchar[]{% endmacro %}

{#- Is the entity in the part that is being built? All are, where nobody asked for parts. -#}
{% macro part_of(entity) %}{{ return(adapter.dispatch('part_of', 'crm_merge')(entity)) }}{% endmacro %}
{% macro duckdb__part_of(entity) %}coalesce({{ entity }} % getvariable('parts'), 0) = coalesce(getvariable('part'), 0){% endmacro %}
