{#- Match keys: key_stages(type, cell, region) gives the list of normalised keys in one cell, empty when none
    is valid, as the column <cell>_<type>. They run in DuckDB, once, while a file is landed; which of them join nobody,
    blocked.sql says later. A new key type is
    one macro keys_<type>(text, is_name) here, or stages_<type>(cell, region, row_region) where it takes several queries, and its columns in
    seeds/reference/key_columns.csv; the spec finds it by its name. -#}

{% macro key_stages(type, cell, region, is_name, row_region=none) %}
  {#- The queries over queries that compute a cell's keys, each {column: expression}: most types need one.
      region is the file's; row_region, if there is one, the column that holds the row's own. -#}
  {%- if ('stages_' ~ type) in context -%}{%- do return(context['stages_' ~ type](cell, region, row_region)) -%}{%- endif -%}
  {%- do return([{(cell ~ '_' ~ type): context['keys_' ~ type](cell, is_name)}]) -%}
{% endmacro %}


{% macro form_of_keys(keys) -%}
  {#- The comparison form of a cell's keys: one text, null when it holds none. -#}
  case len({{ keys }}) when 0 then null when 1 then {{ keys }}[1] else array_to_string(list_sort({{ keys }}), ' ') end
{%- endmacro %}


{% macro key_number(tier, value) -%}
  {#- The number by which a key value is grouped and joined: of 28 million values two meet by chance in one merge of 25,000, and a
      test of every build looks for such a pair. -#}
  {{ hash_number("concat(cast(" ~ tier ~ " as string), ':', " ~ value ~ ')') }}
{%- endmacro %}


{% macro keys_email(text, is_name=false) -%}
  {#- The addresses of a cell: <a@b> parts and what stands beside them, split at ; , | and line ends; without white
      space, mailto:, quotes; lower-case; then the mailbox that an address reaches. The usual spelling is answered by
      the first pattern alone. The other stands outside the lambdas: inside one it would be compiled again for every
      chunk. Lists are asked by list_contains: a long IN becomes a join, and a join does not keep the rows in order. -#}
  {#- Small character ranges: \\p{L} and counted repeats make the automaton so large that it is 50 times slower. -#}
  {%- set ws = '[' ~ white_space() ~ ']' -%}
  {%- set atom = "[a-z0-9!#$%&''*+/=?^_`{}~\\x{80}-\\x{10ffff}-]+" -%}
  {%- set letter = 'a-z0-9\\x{80}-\\x{10ffff}' -%}
  {%- set label = '[' ~ letter ~ '](?:[' ~ letter ~ '-]*[' ~ letter ~ '])?' -%}
  {%- set address = "(?:^|;)[\"''(<]*(?:mailto:)?[\"''(<]*(" ~ atom ~ '(?:[.]' ~ atom ~ ')*@' ~ label ~ '(?:[.]' ~ label ~ ")+)[.]?(?:[?][^;]*)?[\"'').>]*(?:;|$)" -%}
  {%- set plain = '[A-Za-z0-9_%-]+(?:[.][A-Za-z0-9_%-]+)*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?[.])+[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z])? *' -%}
  {#- what stands before <…> up to a separator is a name -#}
  {%- set unnamed = "case when contains(" ~ text ~ ", '<') then regexp_replace(" ~ text ~ ", '[^;,|\\r\\n<>]*<([^<>]*)>', ';;\\1;;', 'g') else " ~ text ~ " end" -%}
  {#- two addresses with no separator but white space -#}
  {%- set split -%}
    case when regexp_matches({{ text }}, '@[^@;,|\r\n]*{{ ws }}[^@;,|\r\n]*@')
      then regexp_replace({{ unnamed }}, '{{ ws }}*[/&]?{{ ws }}+([^@;,|{{ white_space() }}]+@)', ';;\1', 'g')
      else {{ unnamed }} end
  {%- endset -%}
  {%- set prepared -%}
    lower(nfc_normalize(regexp_replace(regexp_replace({{ split }}, '[;,|\r\n]+', ';;', 'g'), '[{{ invisible() }}]', '', 'g')))
  {%- endset -%}
  case
    when {{ text }} is null or not contains({{ text }}, '@') then []
    when regexp_full_match({{ text }}, '{{ plain }}') and length({{ text }}) <= 64
      and not contains({{ text }}, '--') and not contains(lower({{ text }}), '@gmail.com') and not contains(lower({{ text }}), '@googlemail.com')
      then [lower(case when ends_with({{ text }}, ' ') then rtrim({{ text }}) else {{ text }} end)]
    else list_distinct(list_filter(
      list_transform(
        list_filter(
          list_transform(regexp_extract_all({{ prepared }}, '{{ address }}', 1), lambda address: {{ checked_address('address') }}),
          lambda address: address <> ''
        ),
        lambda address: {{ canonical_mailbox("split_part(address, '@', 1)", "split_part(address, '@', 2)") }}
      ),
      lambda mailbox: not starts_with(mailbox, '@') and not contains(mailbox, '.@')
    ))
  end
{%- endmacro %}


{% macro checked_address(address) -%}
  {#- An address of the right shape if it may exist, its domain in ASCII, else ''. Only what is not plain ASCII goes
      through Python, which knows IDNA: rows like that are few. -#}
  case
    when strlen({{ address }}) > length({{ address }}) or contains(split_part({{ address }}, '@', 2), '--')
      then crm_address({{ address }})
    when length({{ address }}) > 64 and (
      length(split_part({{ address }}, '@', 1)) > 64
      or length({{ address }}) > 254
      or list_max(list_transform(string_split(split_part({{ address }}, '@', 2), '.'), lambda label: length(label))) > 63
    ) then ''
    when {{ address }}[-1] between 'a' and 'z' then {{ address }}
    else ''
  end
{%- endmacro %}


{% macro canonical_mailbox(local, domain) -%}
  {#- The mailbox that an address reaches; local part and domain are lower-case. -#}
  case
    when {{ domain }} in ('gmail.com', 'googlemail.com')
      then replace(split_part({{ local }}, '+', 1), '.', '') || '@gmail.com'
    when list_contains({{ sql_list(reference('tag_providers', 'domain')) }}, {{ domain }})
      then split_part({{ local }}, '+', 1) || '@' || {{ domain }}
    else {{ local }} || '@' || {{ domain }}
  end
{%- endmacro %}


{% macro keys_linkedin(text, is_name=false) -%}
  {#- in/<slug> or company/<slug>, without scheme, host, query, locale; member ids keep their case. The first branch is
      the usual spelling, answered without the costly captures of the others. -#}
  {%- set place = '(?:https?://)?(?:[a-z0-9-]+[.])*linkedin[.]com/(?:(?:mwlite|comm|m)/)*(?:profile/)?' -%}
  {%- set path = '((?:in|company)/[^/?#;,|"<>()' ~ white_space() ~ ']+)' -%}
  {%- set slug = "split_part(split_part(split_part(" ~ text ~ ", '/in/', 2), '/', 1), '?', 1)" -%}
  {%- set clean = "regexp_replace(" ~ text ~ ", '[" ~ zero_width() ~ "]', '', 'g')" -%}
  {%- set found -%}
    case when regexp_matches({{ text }}, '(?i)linkedin[.]com/[^?#]*[;,|{{ white_space() }}].*linkedin[.]com/')
      then regexp_extract_all({{ clean }}, '(?i)(?:^|[;,|"<({{ white_space() }}]){{ place }}{{ path }}', 1)
      else [regexp_extract(regexp_replace({{ clean }}, '[{{ white_space() }}]', '', 'g'), '(?i)^["<(]*{{ place }}{{ path }}', 1)] end
  {%- endset -%}
  case
    when {{ text }} is null or not contains({{ text }}, '/') then []
    when regexp_full_match({{ text }}, '(?:https?://)?(?:www[.])?linkedin[.]com/in/[A-Za-z0-9-]+(?:/?|/?[?][^; ]*)') then
      ['in/' || case when regexp_matches({{ slug }}, '^AC[ow]AA') then {{ slug }} else lower({{ slug }}) end]
    when not contains(lower({{ clean }}), 'linkedin.com/') then []
    else list_distinct(list_filter(
      list_transform({{ found }}, lambda path: {{ canonical_profile("split_part(path, '/', 1)", "split_part(path, '/', 2)") }}),
      lambda profile: not ends_with(profile, '/')
    ))
  end
{%- endmacro %}


{% macro canonical_profile(kind, slug) -%}
  {#- The key of a profile's or a company's path; in a slug, %C3%A9 is é. -#}
  lower({{ kind }}) || '/' || case
    when lower({{ kind }}) = 'in' and {{ slug }}[1:5] in ('ACoAA', 'ACwAA') then {{ slug }}
    when contains({{ slug }}, '%') then split_part(lower(nfc_normalize(coalesce(try(url_decode({{ slug }})), {{ slug }}))), '/', 1)
    else lower(nfc_normalize({{ slug }}))
  end
{%- endmacro %}


{% macro keys_exact(text, is_name=false) -%}
  {#- The cell, NFC, without zero-width characters and outer white space; case and zeros are kept. -#}
  {%- set value = "regexp_replace(nfc_normalize(" ~ text ~ "), '[" ~ zero_width() ~ "]|^[" ~ invisible() ~ "]+|[" ~ invisible() ~ "]+$', '', 'g')" -%}
  case when {{ is_blank(text, is_name) }} then [] else [{{ value }}] end
{%- endmacro %}


{% macro keys_normalized(text, is_name=false) -%}
  {#- Like exact, but white space collapsed and case ignored. -#}
  {%- set value = "lower(regexp_replace(regexp_replace(nfc_normalize(" ~ text ~ "), '[" ~ zero_width() ~ "]|^[" ~ invisible() ~ "]+|[" ~ invisible() ~ "]+$', '', 'g'), '[" ~ white_space() ~ "]+', ' ', 'g'))" -%}
  case when {{ is_blank(text, is_name) }} then [] else [{{ value }}] end
{%- endmacro %}
