{#- Phone numbers as E.164, by libphonenumber's metadata in seeds/reference/phone_regions.csv (made from the
    package by make_phone_regions.py there). A number is computed in stages, each a query over the one before:
    DuckDB shares nothing inside a CASE, and a regular expression inside a lambda is compiled again and again.

    cell → digits → readings of them (a foreign number, a national one with or without its trunk prefix, …)
    → the first reading that is a valid number → unless it is a fake such as 1234567890.
-#}

{% macro phone_stages(cell, region) %}
  {#- A list of {column: expression}; the last column is the list of keys in the cell. -#}
  {%- if not execute -%}{%- do return([]) -%}{%- endif -%}
  {%- set regions = phone_regions() -%}
  {%- set u = cell ~ '_digits' -%}
  {%- set readings = phone_readings(u, region, regions) -%}
  {%- set stage = {} -%}
  {%- set tests = [] -%}
  {%- for reading in readings -%}
    {%- set name = cell ~ '_reading_' ~ loop.index -%}
    {%- do stage.update({name: reading.sql}) -%}
    {%- do tests.append('when ' ~ (phone_valid_in(reading.code, name, regions) if reading.code else phone_valid(name, regions)) ~ ' then ' ~ name) -%}
  {%- endfor -%}
  {%- set number = cell ~ '_number' -%}
  {%- do return([
    {u: phone_digits(cell)},
    stage,
    {number: 'case ' ~ tests | join(' ') ~ ' end'},
    {(cell ~ '_phone'): 'case when ' ~ number ~ " is null or " ~ phone_fake(number, regions) ~ " then [] else ['+' || " ~ number ~ '] end'},
  ]) -%}
{% endmacro %}


{% macro phone_regions() %}
  {#- The seed's rows, and them by country code. -#}
  {%- set rows = fromjson(query_value('select to_json(list(r)) from (from ' ~ reference_file('phone_regions') ~ ') as r')) -%}
  {%- set codes = {} -%}
  {%- for row in rows -%}{%- do codes.setdefault(row.country_code, []).append(row) -%}{%- endfor -%}
  {%- do return({'rows': rows, 'codes': codes}) -%}
{% endmacro %}


{% macro phone_digits(text) -%}
  {#- The digits of a cell with a leading + if it has one; '' when it holds anything else (letters, two
      numbers, 6.12E+11). Extensions, labels such as "Tel:" and punctuation are left out. -#}
  {%- set digits = '０１２３４５６７８９٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹＋' -%}
  {%- set noise = ' ().-/\t[]\'"`´‘’‚=_·•\u00a0\u00ad\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2010\u2011\u2012\u2013\u2014\u2015\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2066\u2067\u2068\u2069\u2212\u3000\ufe63\ufeff\uff08\uff09\uff0d\uff0e' -%}
  {%- set label = '(?:(?:tel|telefon|telephone|tél|téléphone|teléfono|telefono|phone|ph|mobile|mobil|mob|cell|handy|portable|callto|sms|whatsapp|[tmphwodc]):?/*)?' -%}
  {%- set extension = '(?:[;,]?(?:ext|extn|extension|extensión|xtn?|x{1,2}|poste|durchwahl|dw|anexo|ramal|int|interno|доб|nebenstelle|toestel)[:;]*[0-9]{1,9}#?|[#~][0-9]{1,6}#?|,{1,2}[0-9]{1,6}#?)?' -%}
  {%- set kept -%}
    translate(
      regexp_replace(lower(trim({{ text }}, ' ' || chr(9) || chr(10) || chr(13))), '^([+]?[0-9]{6,})[.]0$', '\1'),
      {{ sql_text(digits ~ noise) }}, '012345678901234567890123456789+'
    )
  {%- endset -%}
  case
    when regexp_full_match({{ text }}, '[+]?[0-9 ().\-/]+') and {{ text }} not like '%.0' then translate({{ text }}, ' ().-/', '')
    else regexp_extract({{ kept }}, {{ sql_text('^' ~ label ~ '([+]*[0-9]+)' ~ extension ~ '$') }}, 1)
  end
{%- endmacro %}


{% macro phone_readings(u, region, regions) %}
  {#- What the digits may mean, the likeliest first: {sql: E.164 digits without +, code: the country code
      whose numbers it must be one of, none = any country's}. -#}
  {%- if not region -%}
    {#- without a region only a + says what a number is -#}
    {%- set abroad = "regexp_extract(" ~ u ~ ", '^[+]+(.*)', 1)" -%}
    {%- do return([{'sql': abroad, 'code': none}, {'sql': phone_without_trunk(abroad, regions), 'code': none}]) -%}
  {%- endif -%}
  {%- set r = (regions.rows | selectattr('region', 'equalto', region) | list)[0] -%}
  {%- set code = r.country_code -%}
  {%- set idd = r.international_prefix -%}
  {%- set abroad = "regexp_extract(" ~ u ~ ", " ~ sql_text('^(?:[+]+' ~ ('|' ~ idd if idd else '') ~ ')([1-9].*)') ~ ", 1)" -%}
  {%- set readings = [{'sql': abroad, 'code': none}] -%}
  {#- 4930123456 in Germany is +49 30 123456 before it is +49 4930 123456 -#}
  {%- do readings.append({'sql': "regexp_extract(" ~ u ~ ", '^" ~ code ~ ".*')", 'code': code}) -%}
  {%- if r.national_prefix_for_parsing -%}
    {%- do readings.append({'sql': "'" ~ code ~ "' || " ~ phone_without_prefix(u, r), 'code': code}) -%}
  {%- endif -%}
  {%- do readings.append({'sql': "'" ~ code ~ "' || " ~ u, 'code': code}) -%}
  {%- if r.national_prefix_for_parsing -%}
    {%- set rest = "regexp_extract(" ~ u ~ ", '^" ~ ('[+]*' if r.is_main == 'true' else '') ~ code ~ "(.*)', 1)" -%}
    {%- do readings.append({'sql': "'" ~ code ~ "' || " ~ phone_without_prefix(rest, r), 'code': code}) -%}
  {%- endif -%}
  {%- set last = phone_without_trunk(abroad, regions) -%}
  {%- set foreign = [] -%}
  {%- for prefix in ['00', '011'] if not modules.re.fullmatch(idd or 'x', prefix) -%}{%- do foreign.append(prefix) -%}{%- endfor -%}
  {%- if foreign -%}
    {%- set last = "coalesce(nullif(regexp_extract(" ~ u ~ ", '^(?:" ~ foreign | join('|') ~ ")([1-9].*)', 1), ''), " ~ last ~ ')' -%}
  {%- endif -%}
  {%- do readings.append({'sql': last, 'code': none}) -%}
  {%- do return(readings) -%}
{% endmacro %}


{% macro phone_without_prefix(number, r) -%}
  {#- A national number without what may precede it (a trunk prefix, a carrier code), by the region's rule. -#}
  {%- set prefix = r.national_prefix_for_parsing -%}
  {%- set pattern = sql_text('^(?:' ~ prefix ~ ')') -%}
  {%- set last_group = prefix.count('(') - prefix.count('(?') -%}
  {%- if r.national_prefix_transform_rule -%}
    case when regexp_extract({{ number }}, {{ pattern }}, {{ last_group }}) <> ''
      then regexp_replace({{ number }}, {{ pattern }}, {{ sql_text(r.national_prefix_transform_rule) }})
      else regexp_replace({{ number }}, {{ pattern }}, '') end
  {%- else -%}
    regexp_replace({{ number }}, {{ pattern }}, '')
  {%- endif -%}
{%- endmacro %}


{% macro phone_without_trunk(digits, regions) -%}
  {#- 4402079460958 → 442079460958: the (0) that people leave in, whatever the country. -#}
  {%- set codes = {} -%}
  {%- for r in regions.rows if r.is_main == 'true' and r.national_prefix -%}{%- do codes.setdefault(r.national_prefix | string, []).append(r.country_code) -%}{%- endfor -%}
  {%- set alternatives = [] -%}
  {%- set groups = [] -%}
  {%- for prefix, list in codes.items() | sort -%}
    {%- do alternatives.append('(' ~ list | sort | join('|') ~ ')' ~ prefix) -%}
    {%- do groups.append('\\' ~ loop.index) -%}
  {%- endfor -%}
  regexp_replace({{ digits }}, '^(?:{{ alternatives | join('|') }})', '{{ groups | join }}')
{%- endmacro %}


{% macro phone_valid_in(code, number, regions) -%}
  {#- Is it a valid number of this country code, in any of its regions? -#}
  regexp_full_match({{ number }}, {{ sql_text(code ~ '(?:' ~ phone_patterns(code, 'national_pattern', regions) ~ ')') }})
  {%- set frame = phone_patterns(code, 'national_frame', regions) -%}
  {%- if frame %} and regexp_full_match({{ number }}, {{ sql_text(code ~ '(?:' ~ frame ~ ')') }}){%- endif -%}
{%- endmacro %}


{% macro phone_valid(number, regions) -%}
  {#- Is it a valid number of any country? One expression per first digit: all in one would outgrow the
      automaton of RE2, which then is 15 times slower. -#}
  case {{ number }}[1]
  {%- for digit in '123456789' %}
    {%- set patterns = [] -%}
    {%- set frames = [] -%}
    {%- for code in regions.codes.keys() | sort if code[0] == digit -%}
      {%- do patterns.append(code ~ '(?:' ~ phone_patterns(code, 'national_pattern', regions) ~ ')') -%}
      {%- set frame = phone_patterns(code, 'national_frame', regions) -%}
      {%- if frame -%}
        {%- do frames.append(" and (not starts_with(" ~ number ~ ", '" ~ code ~ "') or regexp_full_match(" ~ number ~ ", " ~ sql_text(code ~ '(?:' ~ frame ~ ')') ~ "))") -%}
      {%- endif -%}
    {%- endfor %} when '{{ digit }}' then regexp_full_match({{ number }}, {{ sql_text(patterns | join('|')) }}){{ frames | join }}
  {%- endfor %} end
{%- endmacro %}


{% macro phone_patterns(code, column, regions) -%}
  {%- set found = [] -%}
  {%- for r in regions.codes[code] if r[column] and r[column] not in found -%}{%- do found.append(r[column]) -%}{%- endfor -%}
  {{ found | join('|') }}
{%- endmacro %}


{% macro phone_fake(number, regions) -%}
  {#- All one digit, or seven and more that count up or down: typed to fill a field, shared by strangers. -#}
  {%- set bodies = [] -%}
  {%- for digit in range(10) -%}{%- do bodies.append(digit ~ '+') -%}{%- endfor -%}
  {%- for step in [1, 9] -%}
    {%- for start in range(10) -%}
      {%- set run = [] -%}
      {%- for i in range(15) -%}{%- do run.append(((start + step * i) % 10) | string) -%}{%- endfor -%}
      {%- set tail = namespace(text='') -%}
      {%- for digit in run[7:] | reverse -%}{%- set tail.text = '(?:' ~ digit ~ tail.text ~ ')?' -%}{%- endfor -%}
      {%- do bodies.append(run[:7] | join ~ tail.text) -%}
    {%- endfor -%}
  {%- endfor -%}
  regexp_full_match({{ number }}, '(?:{{ regions.codes.keys() | sort | join('|') }})(?:{{ bodies | join('|') }})')
{%- endmacro %}
