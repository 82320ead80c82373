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
