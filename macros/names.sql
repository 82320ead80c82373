{#- Who a row speaks of, for the guards: a surname and a first name, folded so that spellings meet. A name is
    never a match key; it only keeps strangers who share a phone or a domain apart. -#}

{% macro name_columns_of(shape) %}
  {#- {last, first, full: [cells]}: the cells of a shape that hold names, c1, c2, …, the first of `full` that is filled counts. -#}
  {%- set cells = {} -%}
  {%- for h in shape.headers if h.column in ['last_name', 'first_name', 'full_name', 'name'] -%}
    {%- do cells.update({h.column: 'c' ~ h.position}) -%}
  {%- endfor -%}
  {%- set full = [] -%}
  {%- for column in ['full_name', 'name'] if column in cells -%}{%- do full.append(cells[column]) -%}{%- endfor -%}
  {%- do return({'last': cells.get('last_name'), 'first': cells.get('first_name'), 'full': full}) -%}
{% endmacro %}


{% macro name_stages(shape) %}
  {#- The queries over queries that compute a row's name, as key_stages: the last gives _merge_surname, null without
      a name, and _merge_given, '' without a first name. -#}
  {%- set cells = name_columns_of(shape) -%}
  {%- set whole = 'cast(null as varchar)' -%}
  {%- if cells.full -%}
    {%- set filled = [] -%}
    {%- for cell in cells.full -%}{%- do filled.append('case when not ' ~ is_blank(cell, true) ~ ' then ' ~ cell ~ ' end') -%}{%- endfor -%}
    {%- set whole = one_line('coalesce(' ~ filled | join(', ') ~ ')') if filled | length > 1 else one_line(filled[0]) -%}
  {%- endif -%}
  {%- set last = 'case when not ' ~ is_blank(cells.last, true) ~ ' then ' ~ cells.last ~ ' end' if cells.last else 'cast(null as varchar)' -%}
  {%- set given = 'case when not ' ~ is_blank(cells.first, true) ~ ' then ' ~ one_line(cells.first) ~ ' end' if cells.first else "''" -%}
  {%- set after_comma = "trim(split_part(_merge_whole, ',', 2))" -%}
  {%- do return([
    {'_merge_last': last, '_merge_first': given, '_merge_whole': whole},
    {
      '_merge_surname_text': "case when _merge_last is not null then _merge_last when contains(_merge_whole, ',') then split_part(_merge_whole, ',', 1) else split_part(_merge_whole, ' ', -1) end",
      '_merge_given_text': "case when _merge_last is not null then split_part(_merge_first, ' ', 1) when contains(_merge_whole, ',') then split_part(" ~ after_comma ~ ", ' ', 1) when contains(_merge_whole, ' ') then split_part(_merge_whole, ' ', 1) else '' end",
    },
    {'_merge_surname': "nullif(" ~ name_form('_merge_surname_text') ~ ", '')"},
    {'_merge_given': "case when _merge_surname is not null then coalesce(" ~ name_form('_merge_given_text') ~ ", '') end"},
  ]) -%}
{% endmacro %}


{% macro one_line(text) -%}
  {#- Trimmed, every run of white space one blank. -#}
  trim(regexp_replace(regexp_replace({{ text }}, '[{{ zero_width() }}]+', '', 'g'), '[{{ white_space() }}]+', ' ', 'g'))
{%- endmacro %}


{% macro name_form(text) -%}
  {#- Lower-case letters and digits without accents: O'Neil and ONEIL are one surname. -#}
  regexp_replace(lower(strip_accents(nfc_normalize({{ text }}))), '[^\p{L}\p{N}]+', '', 'g')
{%- endmacro %}


{% macro name_either_way(row) -%}
  {#- A row's name, the same for Ann Lee and Lee Ann; null without a first name. -#}
  {%- set given, surname = row ~ '.given', row ~ '.surname' -%}
  case when {{ given }} <> '' then concat(least({{ given }}, {{ surname }}), ' ', greatest({{ given }}, {{ surname }})) end
{%- endmacro %}
