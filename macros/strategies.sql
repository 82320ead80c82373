{#- Survivorship. The candidates of (entity, column) are its non-blank cells; a strategy says which one wins.

    prefer_<name>(column)  a ranking: the candidate with the largest value wins
    fold_<name>(column)    a value made of all candidates: {value: an aggregate, ord: where it came from}, and if that is cheaper
                           than the value, is_there: whether there is one

    A new strategy is one macro here; the spec finds it by its name. What a macro may use of `column`:
      column.value     the cell, null when blank
      column.length    how many characters it has without spaces around it
      column.form      a number, the same for cells that say the same; null when blank
      column.votes     how many vendors agree with it            (after `needs_forms`)
      column.is_first  is it the first candidate of its form?    (after `needs_forms`)
      column.least, column.greatest  of the candidates' values   (after `needs_extremes`)
      column.argument  what the spec gives the strategy; column.file_ranks, ranks of files, for source_priority
    and of the row: _merge_ord (unique: file order, then row), _merge_filled (its non-blank cells).

    A field group survives as a row. A ranking in group_strategies gets of it: length (of all its cells), argument, file_ranks,
    and what the row has. Asking for another word ends the merge with "a_field_group_has_no_value".

    `packed` makes one BIGINT of a rank and of ord, so that ties end with the first row:
    sign 1 bit | rank 20 bits | ord 43 bits = file 11 bits + row 32 bits.
    A rank beyond 1,048,575 or below -1,048,575 counts as that. A null rank is the lowest.
    A ranking that is not made by `packed` or `packed_wide` is to be known to ord_of in survivorship.sql.
-#}

{% macro prefer_first(column) -%} {{ packed('0') }} {%- endmacro %}
{% macro prefer_last(column) -%} _merge_ord {%- endmacro %}
{% macro prefer_longest(column) -%} {{ packed(column.length) }} {%- endmacro %}
{% macro prefer_most_complete(column) -%} {{ packed('_merge_filled') }} {%- endmacro %}
{% macro prefer_source_priority(column) -%} {{ packed(by_file(column.file_ranks)) }} {%- endmacro %}
{% macro prefer_most_recent(column) -%} {{ packed_wide(recency(column.argument)) }} {%- endmacro %}
{% macro prefer_most_frequent(column) -%} {{ packed(column.votes) }} {%- endmacro %}
{% macro prefer_min(column) -%} {{ packed('case when ' ~ column.value ~ ' = ' ~ column.least ~ ' then 1 else 0 end') }} {%- endmacro %}
{% macro prefer_max(column) -%} {{ packed('case when ' ~ column.value ~ ' = ' ~ column.greatest ~ ' then 1 else 0 end') }} {%- endmacro %}

{#- The cells agree in comparison form only: which one is written must not depend on the order of rows. -#}
{% macro fold_unanimous(column) %}
  {%- set agree = 'min(' ~ column.form ~ ') = max(' ~ column.form ~ ')' -%}
  {%- do return({
    'value': 'case when ' ~ agree ~ ' then min(' ~ column.value ~ ') end',
    'ord': 'case when ' ~ agree ~ ' then min(case when ' ~ column.value ~ ' = ' ~ column.least ~ ' then _merge_ord end) end',
    'is_there': 'coalesce(' ~ agree ~ ', false)',
  }) -%}
{% endmacro %}

{% macro fold_collect(column) %}
  {%- do return({
    'value': join_in_order('case when ' ~ column.is_first ~ ' then ' ~ column.value ~ ' end', "'; '", '_merge_ord'),
    'ord': 'min(case when ' ~ column.value ~ ' is not null then _merge_ord end)',
  }) -%}
{% endmacro %}


{#- What a strategy needs beside the row itself, and the strategies that choose a whole row (field groups). -#}
{% macro needs_forms() %}{% do return(['most_frequent', 'unanimous', 'collect']) %}{% endmacro %}
{% macro needs_extremes() %}{% do return(['min', 'max', 'unanimous']) %}{% endmacro %}
{% macro group_strategies() %}{% do return(['first', 'last', 'longest', 'most_complete', 'source_priority', 'most_recent']) %}{% endmacro %}


{#- The words that rankings are made of. -#}

{% macro packed(rank) -%}
  {#- least and greatest skip nulls, so a null rank is said to be the lowest -#}
  least(greatest(coalesce(cast({{ rank }} as bigint), -1048575), -1048575), 1048575) * 8796093022208 - _merge_ord
{%- endmacro %}

{% macro packed_wide(rank) -%}
  cast({{ rank }} as decimal(38, 0)) * 8796093022208 - _merge_ord
{%- endmacro %}

{% macro by_file(ranks) -%}
  case {% for first, last, rank in ranks %}when _merge_file between {{ first }} and {{ last }} then {{ rank }} {% endfor %}else 0 end
{%- endmacro %}

{% macro moment(text) -%}
  {#- Microseconds since 1970 of an ISO 8601 date or time, in UTC where it names no offset; null for any other text. Engines
      take offsets, words such as infinity and formats of their own each in its way, so nothing of that is left to them. -#}
  {%- set t = trimmed(text) -%}
  {%- set seconds = replace_all("substr(" ~ t ~ ", 17)", "'(Z|[+-].*)$'", "''") -%}
  {%- set offset = "replace(" ~ replace_all("substr(" ~ t ~ ", 17)", "'^:[0-9]{2}([.][0-9]+)?'", "''") ~ ", ':', '')" -%}
  {%- set minutes = "cast(substr(" ~ offset ~ ", 2, 2) as int) * 60 + cast(coalesce(nullif(substr(" ~ offset ~ ", 4, 2), ''), '0') as int)" -%}
  case
    when {{ matches(t, "'[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?)?'") }} then
      {{ epoch_microseconds("try_cast(concat(substr(" ~ t ~ ", 1, 10), ' ', coalesce(nullif(substr(" ~ t ~ ", 12, 5), ''), '00:00'), coalesce(nullif(substr(" ~ seconds ~ ", 1, 10), ''), ':00')) as timestamp)") }}
      - case substr({{ offset }}, 1, 1) when '+' then {{ minutes }} when '-' then -({{ minutes }}) else 0 end * cast(60000000 as bigint)
  end
{%- endmacro %}


{% macro recency(text) -%}
  {#- A moment as a rank: what is none ranks below all others. -#}
  coalesce({{ moment(text) }}, -1000000000000000000)
{%- endmacro %}
