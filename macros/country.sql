{#- The region of a row's phone numbers, from its country cell. Lookups in constants: a join, or a long IN list, would
    not keep the rows of a file in order. A constant map is searched from its start, so there is one map per first
    letter. -#}

{% macro region_stages(cells, default) %}
  {#- A list of {column: expression}: the region of a row by its country cells, else the default, which is SQL, and at last
      _merge_phone_rules, what stages_phone wants to know of it. -#}
  {%- set words = {} -%}
  {%- set found = [] -%}
  {%- for cell in cells -%}
    {%- do words.update({('_merge_country_' ~ loop.index): country_word(cell)}) -%}
    {%- do found.append(region_of_word('_merge_country_' ~ loop.index)) -%}
  {%- endfor -%}
  {%- do found.append(default or 'null') -%}
  {%- do return([
    words,
    {'_merge_region': 'coalesce(' ~ found | join(', ') ~ ')'},
    {'_merge_phone_rules': phone_rules('_merge_region', phone_regions())},
  ]) -%}
{% endmacro %}


{% macro region_of_country(cell) -%}
  {#- SQL: the region code of a country cell (US, usa, U.S., Deutschland, …), or null. -#}
  {{ region_of_word('(' ~ country_word(cell) ~ ')') }}
{%- endmacro %}


{% macro country_word(cell) -%}
  {#- What is compared of a country's name: letters without case, accents, white space and punctuation. -#}
  case when regexp_full_match({{ cell }}, '[A-Za-z]+') then lower({{ cell }})
    else regexp_replace(lower(strip_accents(nfc_normalize({{ cell }}))), '[{{ invisible() }}.,''’´`()&_\[\]–-]+', '', 'g') end
{%- endmacro %}


{% macro region_of_word(word) -%}
  {#- The region of a country_word; the word should be a column, since it is asked for again and again. NA is blank
      before it is Namibia. -#}
  {%- if not execute -%}{%- do return('cast(null as varchar)') -%}{%- endif -%}
  {%- set wanted = rules_known('countries') -%}
  {%- set regions = {} -%}
  {%- for word, region in regions_by_word().items() if wanted is none or word in wanted -%}{%- do regions.update({word: region}) -%}{%- endfor -%}
  {{ looked_up(word, regions, 'sql_text') if regions else 'cast(null as varchar)' }}
{%- endmacro %}


{% macro regions_by_word() %}
  {#- {country_word of a country: its region}. -#}
  {%- do return(fromjson(query_value(
    'select to_json(map_from_entries(list((word, region)))) from (select ' ~ country_word('country') ~ ' as word, min(region) as region from '
    ~ reference_file('countries') ~ ' where lower(country) not in (select sentinel from ' ~ reference_file('blank_sentinels') ~ ') group by word)'
  ))) -%}
{% endmacro %}


{% macro looked_up(text, values, literal) -%}
  {#- The value of a text in {text: value}, null if it is not there; literal is the macro that writes a value as SQL. -#}
  {%- set letters = {} -%}
  {%- for key in values -%}{%- do letters.setdefault(key[0], []).append(key) -%}{%- endfor -%}
  case {{ text }}[1]
    {%- for letter, keys in letters.items() %}
    {%- set found = [] %}
    {%- for key in keys %}{% do found.append(context[literal](values[key])) %}{% endfor %} when {{ sql_text(letter) }} then map({{ sql_list(keys) }}, [{{ found | join(', ') }}])[{{ text }}]
    {%- endfor %} end
{%- endmacro %}
