{#- How the strategies' words become SQL: ranks in int_ranked, winners in int_golden. -#}

{% macro strategy_column(v) %}
  {#- The `column` that a strategy macro sees: SQL for the cell and for what int_ranked knows of it. -#}
  {%- do return({
    'value': 'r.' ~ sql_name(v.column),
    'length': 'length(' ~ trimmed('r.' ~ sql_name(v.column)) ~ ')',
    'form': 'r.' ~ sql_name('_merge_form_' ~ v.column),
    'votes': 'r._merge_votes_' ~ v.index,
    'is_first': 'r._merge_first_ord_' ~ v.index ~ ' = r._merge_ord',
    'least': 'r._merge_least_' ~ v.index,
    'greatest': 'r._merge_greatest_' ~ v.index,
    'argument': strategy_argument(v.strategy),
    'file_ranks': v.strategy.file_ranks,
  }) -%}
{% endmacro %}


{% macro strategy_group(v, columns) %}
  {#- The `column` that a strategy macro sees for the field group of a column. A row has no one value there: asking for it fails. -#}
  {%- set none_of_a_group = 'r.a_field_group_has_no_value' -%}
  {%- set lengths = [] -%}
  {%- for member in columns if member.column in v.group.columns -%}
    {%- do lengths.append("coalesce(length(" ~ trimmed('r.' ~ sql_name(member.column)) ~ "), 0)") -%}
  {%- endfor -%}
  {%- do return({
    'value': none_of_a_group,
    'length': lengths | join(' + '),
    'form': none_of_a_group,
    'votes': none_of_a_group,
    'is_first': none_of_a_group,
    'least': none_of_a_group,
    'greatest': none_of_a_group,
    'argument': strategy_argument(v.group.strategy),
    'file_ranks': v.group.strategy.file_ranks,
  }) -%}
{% endmacro %}


{% macro strategy_argument(strategy) %}
  {#- SQL of the column that the spec gives a strategy, or none. -#}
  {%- do return('r.' ~ sql_name(strategy.argument) if strategy.argument else none) -%}
{% endmacro %}


{% macro own_fold(v) %}
  {#- The fold of a column's strategy, or none if it is a ranking. -#}
  {%- do return(none if v.group else context.get('fold_' ~ v.strategy.name)) -%}
{% endmacro %}


{% macro rank_column(v) %}
  {#- The column of int_ranked by which candidates for a column are ranked: its own, or its field group's. -#}
  {%- do return('_merge_rank_group_' ~ v.group.index if v.group else '_merge_rank_' ~ v.index) -%}
{% endmacro %}


{% macro rank_of(v) -%}
  {#- SQL of a candidate's rank: the largest wins. -#}
  {{ context['prefer_' ~ v.strategy.name](strategy_column(v)) | trim }}
{%- endmacro %}


{% macro group_rank(v, columns) -%}
  {#- SQL of the rank of a row for the field group of a column, null where the row has none of the group's cells. -#}
  {%- set present = [] -%}
  {%- for member in columns if member.column in v.group.columns -%}
    {%- do present.append('r.' ~ sql_name(member.column) ~ ' is not null') -%}
  {%- endfor -%}
  case when {{ present | join(' or ') }} then {{ context['prefer_' ~ v.group.strategy.name](strategy_group(v, columns)) | trim }} end
{%- endmacro %}


{% macro survives_whole(v) %}
  {#- Is the column of a field group of which one row wins with its blanks? -#}
  {%- do return(v.group is not none and not v.group.allow_fill) -%}
{% endmacro %}


{% macro may_lack_a_value(v) %}
  {#- May an entity with candidates have no value in the column? A group's row may be blank there, and unanimous may refuse;
      under rankings and `collect` any candidate will do. -#}
  {%- do return(survives_whole(v) or (own_fold(v) is not none and v.strategy.name != 'collect')) -%}
{% endmacro %}


{% macro rank_of_value(v) -%}
  {#- SQL over int_ranked: the rank of a cell that may win, null of one that is blank. -#}
  case when r.{{ sql_name(v.column) }} is not null then r.{{ rank_column(v) }} end
{%- endmacro %}


{% macro survivor(v, rank_of_value=none) %}
  {#- {value, ord, is_there}: the aggregates over int_ranked that give a column's winning cell, the record it came from, and whether there is one. rank_of_value is the column that
      has what that macro says, if there is one. -#}
  {%- set column = strategy_column(v) -%}
  {%- set fold = own_fold(v) -%}
  {%- if fold -%}
    {%- set folded = fold(column) -%}
    {%- do return({'value': folded.value, 'ord': folded.ord, 'is_there': folded.get('is_there', folded.value ~ ' is not null')}) -%}
  {%- endif -%}
  {%- set rank = 'r.' ~ rank_column(v) -%}
  {%- if survives_whole(v) -%}
    {#- max_by may skip a null value on one engine and return it on another: an empty text stands for it. A null rank is skipped by all. -#}
    {%- do return({
      'value': "nullif(max_by(coalesce(" ~ column.value ~ ", ''), " ~ rank ~ "), '')",
      'ord': ord_of('max(' ~ rank ~ ')', v),
      'is_there': 'max_by(case when ' ~ column.value ~ ' is not null then 1 else 0 end, ' ~ rank ~ ') = 1',
    }) -%}
  {%- endif -%}
  {%- set rank_of_value = rank_of_value or context['rank_of_value'](v) -%}
  {%- do return({
    'value': 'max_by(' ~ column.value ~ ', ' ~ rank_of_value ~ ')',
    'ord': ord_of('max(' ~ rank_of_value ~ ')', v),
    'is_there': 'count(' ~ column.value ~ ') > 0',
  }) -%}
{% endmacro %}


{% macro ord_of(rank, v) -%}
  {#- The record that a rank belongs to: it is packed into the rank, or is the rank. -#}
  {%- set strategy = v.group.strategy if v.group else v.strategy -%}
  {%- if strategy.name == 'last' -%} {{ rank }}
  {%- else -%} cast((8796093022208 - {{ rank }} % 8796093022208) % 8796093022208 as bigint)
  {%- endif -%}
{%- endmacro %}


{% macro number_of_cell(v) -%}
  {#- SQL over int_ranked: a number that tells a cell that is filled from those that differ. Keys differ where they are other keys, whatever their spelling; two texts that
      differ may still say the same. -#}
  {%- set text = 'r.' ~ sql_name(v.column) -%}
  {%- if v.key_type -%} r.{{ sql_name('_merge_form_' ~ v.column) }}
  {%- else -%} case when {{ text }} is not null then {{ quick_number(text) }} end
  {%- endif -%}
{%- endmacro %}


{% macro only_one(vendor) -%}
  {#- SQL aggregate: the vendor that it is about, if that is one; 0 for several, null for none. -#}
  case when min({{ vendor }}) = max({{ vendor }}) then min({{ vendor }}) else min({{ vendor }}) * 0 end
{%- endmacro %}


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
