{#- How the strategies' words become the SQL of int_enriched_consolidated. -#}

{% macro strategy_column(v, strategy) %}
  {#- The `column` that a strategy macro sees: SQL for the cell and for what is known of it. -#}
  {%- do return({
    'value': 'r.' ~ sql_name(v.column),
    'key_type': v.key_type,
    'form': 'r._merge_text_' ~ v.index,
    'votes': 'f_' ~ v.index ~ '.votes',
    'is_first': 'f_' ~ v.index ~ '.first_ord = r._merge_ord',
    'least': 'x_' ~ v.index ~ '.least',
    'greatest': 'x_' ~ v.index ~ '.greatest',
    'argument': 'r.' ~ sql_name(strategy.argument) if strategy.argument else none,
    'file_ranks': strategy.file_ranks,
  }) -%}
{% endmacro %}


{% macro survivor(v) %}
  {#- {value, ord}: the aggregates that give a column's winning cell and the record it came from. -#}
  {%- set strategy = v.strategy -%}
  {%- set column = strategy_column(v, strategy) -%}
  {%- set fold = context.get('fold_' ~ strategy.name) -%}
  {%- if fold -%}{%- do return(fold(column)) -%}{%- endif -%}
  {%- set rank = context['prefer_' ~ strategy.name](column) | trim -%}
  {%- set among = ' filter (where ' ~ column.value ~ ' is not null)' -%}
  {%- do return({
    'value': 'max_by(' ~ column.value ~ ', ' ~ rank ~ ')' ~ among,
    'ord': 'max_by(r._merge_ord, ' ~ rank ~ ')' ~ among,
  }) -%}
{% endmacro %}


{% macro group_survivor(v, columns) %}
  {#- The same for a column of a field group: one row wins for all columns, its blanks with it, unless
      the group allows each blank to be filled from the next best row. -#}
  {%- set group = v.group -%}
  {%- set present = [] -%}
  {%- set lengths = [] -%}
  {%- for member in columns if member.column in group.columns -%}
    {%- do present.append('r.' ~ sql_name(member.column) ~ ' is not null') -%}
    {%- do lengths.append("coalesce(length(" ~ trimmed('r.' ~ sql_name(member.column)) ~ "), 0)") -%}
  {%- endfor -%}
  {%- set column = strategy_column(v, group.strategy) -%}
  {%- if group.strategy.name == 'longest' -%}
    {%- set rank = packed(lengths | join(' + ')) | trim -%}
  {%- else -%}
    {%- set rank = context['prefer_' ~ group.strategy.name](column) | trim -%}
  {%- endif -%}
  {%- if group.allow_fill -%}
    {%- set among = ' filter (where ' ~ column.value ~ ' is not null)' -%}
    {%- do return({'value': 'max_by(' ~ column.value ~ ', ' ~ rank ~ ')' ~ among, 'ord': 'max_by(r._merge_ord, ' ~ rank ~ ')' ~ among}) -%}
  {%- endif -%}
  {#- max_by may skip a null on one engine and return it on another: an empty text stands for it. -#}
  {%- set among = ' filter (where ' ~ present | join(' or ') ~ ')' -%}
  {%- do return({
    'value': "nullif(max_by(coalesce(" ~ column.value ~ ", ''), " ~ rank ~ ')' ~ among ~ ", '')",
    'ord': 'max_by(r._merge_ord, ' ~ rank ~ ')' ~ among,
  }) -%}
{% endmacro %}


{% macro has_value(v, alias, plan) -%}
  {#- Has an entity a value for the column? A field group that survives together counts as a whole. -#}
  {%- set cells = [] -%}
  {%- for m in plan.vendor if m.column == v.column or (v.group and not v.group.allow_fill and m.column in v.group.columns) -%}
    {%- do cells.append(alias ~ '.' ~ sql_name(m.column) ~ ' is not null') -%}
  {%- endfor -%}
  ({{ cells | join(' or ') }})
{%- endmacro %}


{% macro filled(relation, columns) -%}
  {#- How many cells of a row are not null. A sum of sums: engines take only so many terms in a row. -#}
  {%- set parts = [] -%}
  {%- for some in columns | batch(100) -%}
    {%- set terms = [] -%}
    {%- for v in some -%}{%- do terms.append('case when ' ~ relation ~ '.' ~ sql_name(v.column) ~ ' is not null then 1 else 0 end') -%}{%- endfor -%}
    {%- do parts.append('(' ~ terms | join(' + ') ~ ')') -%}
  {%- endfor -%}
  {{ parts | join(' + ') or '0' }}
{%- endmacro %}
