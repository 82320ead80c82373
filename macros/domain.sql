{#- Company domains: what is registered under a public suffix, as public_suffixes.csv lists them (made from the package
    by make_domains.py there): acme.co.uk of https://www.acme.co.uk/about. Computed in stages, as phone.sql does:

    cell → host in ASCII → the public suffix that it ends with → the suffix and one label more.

    The host is turned round, so that the suffix stands first and an automaton finds it on its way; by the first letter
    of that, since RE2 has no memory for all ten thousand rules in one. -#}

{% macro stages_domain(cell, region=none, row_region=none) %}
  {#- A list of {column: expression}; the last column is the list of keys in the cell. -#}
  {%- if not execute -%}{%- do return([]) -%}{%- endif -%}
  {%- set host = cell ~ '_host' -%}
  {%- set backwards = cell ~ '_backwards' -%}
  {%- set suffix = cell ~ '_suffix' -%}
  {%- set label = "split_part(substr(" ~ backwards ~ ", length(" ~ suffix ~ ") + 1), '.', 1)" -%}
  {%- do return([
    {host: domain_host(cell)},
    {backwards: 'reverse(' ~ domain_in_ascii(host) ~ ')'},
    {suffix: public_suffix(backwards)},
    {(cell ~ '_domain'): "case when ends_with(" ~ suffix ~ ", '.') and regexp_full_match(" ~ label ~ ", '[a-z0-9](?:[a-z0-9-]*[a-z0-9])?')"
      ~ ' and length(' ~ label ~ ') <= 63 and length(' ~ backwards ~ ') <= 253 then [reverse(' ~ suffix ~ ' || ' ~ label ~ ')] else [] end'},
  ]) -%}
{% endmacro %}


{% macro domain_host(text) -%}
  {#- The host of a URL, of an e-mail address or of what is one already, in lower case; '' for other text. Of several
      it is the first. -#}
  {%- set host = '([^' ~ white_space() ~ '/?#:@;,|<>()"]+[.][^' ~ white_space() ~ '/?#:@;,|<>()"]+?)' -%}
  {%- set other = '^[<("' ~ white_space() ~ ']*(?:[a-z][a-z0-9+.-]*:)?/*(?:[^@/?#;,|<' ~ white_space() ~ ']*@)?' ~ host ~ '[.]?(?:[:/?#;,|>)"' ~ white_space() ~ '].*)?$' -%}
  case
    when regexp_full_match({{ text }}, '(?:https?://)?(?:[A-Za-z0-9][A-Za-z0-9-]*[.])+[A-Za-z][A-Za-z]+(?:[/?#].*)?')
      then lower(regexp_extract({{ text }}, '^(?:https?://)?[A-Za-z0-9.-]+')[case when starts_with({{ text }}, 'https://') then 9 when starts_with({{ text }}, 'http://') then 8 else 1 end:])
    when {{ text }} is null or not contains({{ text }}, '.') then ''
    else regexp_extract(lower(nfc_normalize(regexp_replace({{ text }}, '[{{ zero_width() }}]', '', 'g'))), {{ sql_text('(?s)' ~ other) }}, 1)
  end
{%- endmacro %}


{% macro domain_in_ascii(host) -%}
  {#- Only what is not plain ASCII goes through Python, which knows IDNA. -#}
  case when strlen({{ host }}) > length({{ host }}) or contains({{ host }}, 'xn--') then crm_domain({{ host }}) else {{ host }} end
{%- endmacro %}


{% macro public_suffix(backwards) -%}
  {#- The public suffix of a host that is turned round, with the dot that follows it; without, the host is all suffix.
      '' if the list has none: a name that nobody can register is no company's. -#}
  case
    {%- for rule in reference('public_suffixes', 'rule', "rule like '!%'") %}
      {#- an exception is a name below its suffix -#}
      {%- set turned = (rule[1:] | list | reverse | join) %} when starts_with({{ backwards }} || '.', {{ sql_text(turned ~ '.') }}) then {{ sql_text(turned.rsplit('.', 1)[0] ~ '.') }}
    {%- endfor %}
    else case {{ backwards }}[1] when '' then ''
    {%- for letter, rules in public_suffixes().items() %} when {{ sql_text(letter) }} then regexp_extract({{ backwards }}, {{ sql_text('^(?:' ~ rules ~ ')(?:[.]|$)') }})
    {%- endfor %} else '' end
  end
{%- endmacro %}


{% macro public_suffixes() %}
  {#- {letter: pattern}: the rules turned round, by their first letter; longer ones first, since the first that fits is taken. Of few cells only rules
      with the endings that occur. -#}
  {%- set endings = rules_known('endings') -%}
  {%- set wanted = ' and list_contains(' ~ sql_list(endings) ~ ", split_part(rule, '.', -1))" if endings is not none else '' -%}
  {%- do return(fromjson(query_value(
    "select coalesce(to_json(map_from_entries(list((letter, rules) order by letter))), '{}') from (select turned[1] as letter,"
    ~ " string_agg(replace(replace(turned, '.', '[.]'), '*', '[^.]+'), '|' order by turned desc) as rules"
    ~ " from (select reverse(rule) as turned from " ~ reference_file('public_suffixes') ~ " where rule not like '!%'" ~ wanted ~ ') group by letter)'
  ))) -%}
{% endmacro %}
