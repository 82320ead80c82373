{#- A record's number is file * 2^32 + row (the original's file is 0), unique in a merge; these words take it apart. -#}

{% macro file_of(record) -%} cast(floor({{ record }} / 4294967296) as int) {%- endmacro %}

{% macro row_of(record) -%} ({{ record }} % 4294967296) {%- endmacro %}


{% macro key_in_words(label) %}
  {%- do return({'email': 'e-mail', 'linkedin': 'LinkedIn', 'external_id': 'external id'}.get(label, label)) -%}
{% endmacro %}


{% macro equals_in_words(tier) %}
  {#- 'e-mail equals ', the beginning of a clause. -#}
  {%- do return('asserted to be ' if tier.label == 'assertion' else key_in_words(tier.label) ~ ' equals ') -%}
{% endmacro %}


{% macro record_id(plan, relation) -%}
  {#- The CRM's own id of a row of the original, null where it is blank or there is none. -#}
  {%- if plan.record_id -%}
    {%- set id = relation ~ '.' ~ sql_name(plan.record_id) -%}
    case when not {{ is_empty(id) }} then {{ id }} end
  {%- else -%}
    cast(null as string)
  {%- endif -%}
{%- endmacro %}
