{#- Phone numbers as E.164, by libphonenumber's metadata in seeds/reference/phone_regions.csv (made from the
    package by make_phone_regions.py there). A number is computed in stages, each a query over the one before:
    DuckDB shares nothing inside a CASE, and a regular expression inside a lambda is compiled again and again.

    cell → digits → readings of them (a foreign number, a national one with or without its trunk prefix, …)
    → the first reading that is a valid number. Whether it is a fake such as 1234567890, blocked.sql says.
-#}

{% macro stages_phone(cell, region, row_region=none) %}
  {#- A list of {column: expression}; the last column is the list of keys in the cell. -#}
  {%- if not execute -%}{%- do return([]) -%}{%- endif -%}
  {%- set regions = phone_regions() -%}
  {%- set u = cell ~ '_digits' -%}
  {%- set own, rest = cell ~ '_own', cell ~ '_rest' -%}
  {%- set readings = phone_readings_of_row(own, rest, row_region, regions) if row_region else phone_readings(u, region, regions) -%}
  {#- Most numbers are the first or second reading. The others are made only where no number was found yet: the last looks for the trunk prefixes of the whole world.
      A stage has the number that one reading gives, and the reading after it. -#}
  {%- set stages = [{}] -%}
  {%- set found = namespace(before=none, number=none) -%}
  {%- for reading in readings -%}
    {%- set name, number = cell ~ '_reading_' ~ loop.index, cell ~ '_number_' ~ loop.index -%}
    {%- set valid = 'case when ' ~ (phone_valid_in(reading.code, name, regions) if reading.code else phone_valid(name, regions)) ~ ' then ' ~ name ~ ' end' -%}
    {%- do stages[-1].update({name: 'case when ' ~ found.before ~ ' is null then ' ~ reading.sql ~ ' end' if found.before else reading.sql}) -%}
    {%- do stages.append({number: 'coalesce(' ~ found.number ~ ', ' ~ valid ~ ')' if found.number else valid}) -%}
    {%- set found.before, found.number = found.number, number -%}
  {%- endfor -%}
  {%- do return([{u: phone_digits(cell)}] + ([{own: phone_own_digits(u, row_region)}, {rest: phone_rest(own, row_region)}] if row_region else []) + stages + [
    {(cell ~ '_phone'): 'case when ' ~ found.number ~ " is not null then ['+' || " ~ found.number ~ '] when ' ~ is_mangled_number(cell) ~ ' then [lower(' ~ trimmed(cell) ~ ')] else [] end'},
  ]) -%}
{% endmacro %}


{% macro is_mangled_number(text) -%}
  {#- 6.12E+11: what a spreadsheet made of a phone number; most of its digits are lost. -#}
  coalesce({{ matches(trimmed(text), "'[0-9](?:[.,][0-9]+)?[eE][+][0-9][0-9]?'") }}, false)
{%- endmacro %}


{% macro phone_regions() %}
  {#- The seed's rows, and them by country code: all, or where there are few numbers those of the codes that they can have. -#}
  {%- set wanted = rules_known('codes') -%}
  {%- set rows = [] -%}
  {%- set codes = {} -%}
  {%- for row in fromjson(query_value('select to_json(list(r)) from (from ' ~ reference_file('phone_regions') ~ ') as r')) if wanted is none or row.country_code in wanted -%}
    {%- do rows.append(row) -%}
    {%- do codes.setdefault(row.country_code, []).append(row) -%}
  {%- endfor -%}
  {%- do return({'rows': rows, 'codes': codes}) -%}
{% endmacro %}


{% macro phone_digits(text) -%}
  {#- The digits of a cell with a leading + if it has one; '' when it holds anything else (other letters, two
      numbers, 6.12E+11). Extensions, labels such as "Tel:" and punctuation are left out. -#}
  {%- set digits = '０１２３４５６７８９٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹＋' -%}
  {%- set noise = ' ().-/\t[]\'"`´‘’‚=_·•\u00a0\u00ad\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2010\u2011\u2012\u2013\u2014\u2015\u202a\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2066\u2067\u2068\u2069\u2212\u3000\ufe63\ufeff\uff08\uff09\uff0d\uff0e' -%}
  {%- set label = '(?:(?:tel|telefon|telephone|tél|téléphone|teléfono|telefono|phone|ph|mobile|mobil|mob|cell|handy|portable|callto|sms|whatsapp|[tmphwodc]):?/*)?' -%}
  {%- set extension = '(?:[;,]?(?:ext|extn|extension|extensión|xtn?|x{1,2}|poste|durchwahl|dw|anexo|ramal|int|interno|доб|nebenstelle|toestel)[:;]*[0-9]{1,9}#?|[#~][0-9]{1,6}#?|,{1,2}[0-9]{1,6}#?)?' -%}
  {%- set kept -%}
    translate(
      regexp_replace(lower(trim({{ text }}, ' ' || chr(9) || chr(10) || chr(13))), '^([+]?[0-9]{6,})[.]0$', '\1'),
      {{ said_once('noise', digits ~ noise) }}, '012345678901234567890123456789+'
    )
  {%- endset -%}
  {#- Letters stand for the digits of a keypad in numbers of North America alone: they have ten digits, no more and no
      less, so that other text ("10115 Strasse") makes no number. A ~ says that the country code is not written. -#}
  {%- set spelled -%}
    translate(
      regexp_extract({{ kept }}, {{ said_once('spelled', '^' ~ label ~ '((?:[+]+1|1)?[2-9][0-9][0-9][0-9]*[a-z]{3,}?)' ~ extension ~ '$') }}, 1),
      'abcdefghijklmnopqrstuvwxyz', '22233344455566677778889999'
    )
  {%- endset -%}
  case
    when regexp_full_match({{ text }}, '[+]?[0-9 ().\-/]+') and {{ text }} not like '%.0' then translate({{ text }}, ' ().-/', '')
    when regexp_matches({{ text }}, '[0-9].*[A-Za-z][^0-9]*[A-Za-z][^0-9]*[A-Za-z]') and regexp_full_match({{ spelled }}, '(?:[+]*1)?[2-9][0-9]{9}')
      then case when starts_with({{ spelled }}, '+') then '' else '~' end || {{ spelled }}
    else regexp_extract({{ kept }}, {{ said_once('digits', '^' ~ label ~ '([+]*[0-9]+)' ~ extension ~ '$') }}, 1)
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
  {%- if code == '1' -%}{%- set u = "ltrim(" ~ u ~ ", '~')" -%}{%- endif -%}
  {%- set abroad = phone_abroad(u, idd) -%}
  {%- set readings = [{'sql': abroad, 'code': none}] -%}
  {#- 4930123456 in Germany is +49 30 123456 before it is +49 4930 123456 -#}
  {%- do readings.append({'sql': "case when starts_with(" ~ u ~ ", '" ~ code ~ "') then " ~ u ~ " end", 'code': code}) -%}
  {%- if r.national_prefix_for_parsing -%}
    {%- do readings.append({'sql': "'" ~ code ~ "' || " ~ phone_without_prefix(u, r), 'code': code}) -%}
  {%- endif -%}
  {%- do readings.append({'sql': "'" ~ code ~ "' || " ~ u, 'code': code}) -%}
  {%- if r.national_prefix_for_parsing -%}
    {%- set rest = "regexp_extract(" ~ u ~ ", '^" ~ ('[+]*' if r.is_main == 'true' else '') ~ code ~ "(.*)', 1)" -%}
    {%- do readings.append({'sql': "'" ~ code ~ "' || " ~ phone_without_prefix(rest, r), 'code': code}) -%}
  {%- endif -%}
  {%- do readings.append({'sql': phone_last_reading(u, abroad, idd, regions), 'code': none}) -%}
  {%- do return(readings) -%}
{% endmacro %}


{% macro phone_abroad(u, international_prefix) -%}
  {#- The digits after + or what is dialled for abroad; null for a number without. Finding what a pattern encloses takes five times as long as seeing whether it is there. -#}
  {%- set pattern = '^(?:[+]+' ~ ('|' ~ international_prefix if international_prefix else '') ~ ')([1-9].*)' -%}
  case when regexp_matches({{ u }}, {{ sql_text(pattern) }}) then regexp_extract({{ u }}, {{ sql_text(pattern) }}, 1) end
{%- endmacro %}


{% macro phone_last_reading(u, abroad, international_prefix, regions) -%}
  {#- A foreign number after another region's 00 or 011, else one with the (0) left in. -#}
  {%- set foreign = [] -%}
  {%- for prefix in ['00', '011'] if not modules.re.fullmatch(international_prefix or 'x', prefix) -%}{%- do foreign.append(prefix) -%}{%- endfor -%}
  {%- set last = phone_without_trunk(abroad, regions) -%}
  {%- if foreign -%} coalesce(nullif(regexp_extract({{ u }}, '^(?:{{ foreign | join('|') }})([1-9].*)', 1), ''), {{ last }})
  {%- else -%} {{ last }}
  {%- endif -%}
{%- endmacro %}


{% macro phone_own_digits(u, rules) -%}
  {#- The digits of a cell without the sign that its country code is not written, where the row is of North America. -#}
  case when {{ rules }}.country_code = '1' then ltrim({{ u }}, '~') else {{ u }} end
{%- endmacro %}


{% macro phone_rest(own, rules) -%}
  {#- What follows the row's own country code, null where it is not written. -#}
  {%- set after_plus = 'case when ' ~ rules ~ '.is_main then ltrim(' ~ own ~ ", '+') else " ~ own ~ ' end' -%}
  case when starts_with({{ after_plus }}, {{ rules }}.country_code) then substr({{ after_plus }}, length({{ rules }}.country_code) + 1) end
{%- endmacro %}


{% macro phone_readings_of_row(own, rest, rules, regions) %}
  {#- The same where each row has a region of its own. rules is the column that phone_rules gives. A pattern must be a
      constant, so there is a branch for each different rule; those of a number's own country code need no test of the
      code, since a number that begins with it is valid there or nowhere. -#}
  {%- set code = rules ~ '.country_code' -%}
  {%- set abroad = [] -%}
  {%- set last = [] -%}
  {%- for idd in phone_rule_texts(regions).abroad -%}
    {%- set expression = phone_abroad(own, idd) -%}
    {%- do abroad.append('when ' ~ loop.index0 ~ ' then ' ~ expression) -%}
    {%- do last.append('when ' ~ loop.index0 ~ ' then ' ~ phone_last_reading(own, expression, idd, regions)) -%}
  {%- endfor -%}
  {%- set national = [] -%}
  {%- set left_in = [] -%}
  {%- for r in phone_rule_texts(regions).national if r.national_prefix_for_parsing -%}
    {%- do national.append('when ' ~ r.rule ~ ' then ' ~ phone_without_prefix(own, r)) -%}
    {%- do left_in.append('when ' ~ r.rule ~ ' then ' ~ phone_without_prefix(rest, r)) -%}
  {%- endfor -%}
  {%- set unknown = "regexp_extract(" ~ own ~ ", '^[+]+(.*)', 1)" -%}
  {%- do return([
    {'sql': 'case ' ~ rules ~ '.abroad ' ~ branches(abroad) ~ ' else ' ~ unknown ~ ' end', 'code': none},
    {'sql': 'case when starts_with(' ~ own ~ ', ' ~ code ~ ') then ' ~ own ~ ' end', 'code': none},
    {'sql': code ~ ' || case ' ~ rules ~ '.national ' ~ branches(national) ~ ' end', 'code': none},
    {'sql': code ~ ' || ' ~ own, 'code': none},
    {'sql': code ~ ' || case ' ~ rules ~ '.national ' ~ branches(left_in) ~ ' end', 'code': none},
    {'sql': 'case ' ~ rules ~ '.abroad ' ~ branches(last) ~ ' else ' ~ phone_without_trunk(unknown, regions) ~ ' end', 'code': none},
  ]) -%}
{% endmacro %}


{% macro branches(found) %}
  {#- The branches of a CASE, of which there must be one. -#}
  {%- do return(found | join(' ') or 'when -1 then null') -%}
{% endmacro %}


{% macro phone_rule_texts(regions) %}
  {#- The different rules of the world: abroad, the international prefixes; national, regions that differ in what may
      precede a national number, each with its number as `rule`. -#}
  {%- set abroad = [] -%}
  {%- set national = {} -%}
  {%- for r in regions.rows if r.region != '001' -%}
    {%- if r.international_prefix not in abroad -%}{%- do abroad.append(r.international_prefix) -%}{%- endif -%}
    {%- set id = r.national_prefix_for_parsing ~ ' → ' ~ r.national_prefix_transform_rule -%}
    {%- if id not in national -%}{%- do national.update({id: dict(r, rule=national | length)}) -%}{%- endif -%}
  {%- endfor -%}
  {%- do return({'abroad': abroad, 'national': national.values() | list, 'ids': national}) -%}
{% endmacro %}


{% macro phone_rules(region, regions) -%}
  {#- SQL: {country_code, is_main, abroad, national}, the rules of a region by their numbers in phone_rule_texts. -#}
  {%- set rules = phone_rule_texts(regions) -%}
  {%- set found = {} -%}
  {%- for r in regions.rows if r.region != '001' -%}
    {%- set id = r.national_prefix_for_parsing ~ ' → ' ~ r.national_prefix_transform_rule -%}
    {%- do found.update({r.region: {
      'country_code': r.country_code, 'is_main': r.is_main,
      'abroad': rules.abroad.index(r.international_prefix), 'national': rules.ids[id].rule,
    }}) -%}
  {%- endfor -%}
  {%- if found -%} {{ looked_up(region, found, 'phone_rule') }}
  {%- else -%} cast(null as struct(country_code varchar, is_main boolean, abroad int, national int))
  {%- endif -%}
{%- endmacro %}


{% macro phone_rule(rule) -%}
  {'country_code': {{ sql_text(rule.country_code) }}, 'is_main': {{ rule.is_main }}, 'abroad': {{ rule.abroad }}, 'national': {{ rule.national }}}
{%- endmacro %}


{% macro phone_without_prefix(number, r) -%}
  {#- A national number without what may precede it (a trunk prefix, a carrier code), by the region's rule. -#}
  {%- set prefix = r.national_prefix_for_parsing -%}
  {%- set pattern = said_once('prefixes', '^(?:' ~ prefix ~ ')') -%}
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
  regexp_replace({{ digits }}, {{ said_once('trunks', '^(?:' ~ alternatives | join('|') ~ ')') }}, '{{ groups | join }}')
{%- endmacro %}


{% macro phone_valid_in(code, number, regions) -%}
  {#- Is it a valid number of this country code, in any of its regions? -#}
  regexp_full_match({{ number }}, {{ said_once('phones', code ~ '(?:' ~ phone_patterns(code, 'national_pattern', regions) ~ ')') }})
  {%- set frame = phone_patterns(code, 'national_frame', regions) -%}
  {%- if frame %} and regexp_full_match({{ number }}, {{ said_once('phones', code ~ '(?:' ~ frame ~ ')') }}){%- endif -%}
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
        {%- do frames.append(" and (not starts_with(" ~ number ~ ", '" ~ code ~ "') or regexp_full_match(" ~ number ~ ", " ~ said_once('phones', code ~ '(?:' ~ frame ~ ')') ~ "))") -%}
      {%- endif -%}
    {%- endfor %} when '{{ digit }}' then regexp_full_match({{ number }}, {{ said_once('phones', patterns | join('|')) }}){{ frames | join }}
  {%- endfor %} end
{%- endmacro %}


{% macro phone_patterns(code, column, regions) -%}
  {%- set found = [] -%}
  {%- for r in regions.codes[code] if r[column] and r[column] not in found -%}{%- do found.append(r[column]) -%}{%- endfor -%}
  {{ found | join('|') }}
{%- endmacro %}
