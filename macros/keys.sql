{#- Match keys: key_stages(type, cell, region) gives the list of normalised keys in one cell, empty when none
    is valid, as the column <cell>_<type>. They run in DuckDB, once, while a file is landed. A new key type is
    one macro keys_<type>(text, is_name) here, its name in key_types() (spec.sql) and its columns in
    seeds/reference/key_columns.csv. -#}

{% macro key_stages(type, cell, region, is_name) %}
  {#- The queries over queries that compute a cell's keys, each {column: expression}: most types need one. -#}
  {%- if type == 'phone' -%}{%- do return(phone_stages(cell, region)) -%}{%- endif -%}
  {%- do return([{(cell ~ '_' ~ type): context['keys_' ~ type](cell, is_name)}]) -%}
{% endmacro %}


{% macro keys_form(keys) -%}
  {#- The comparison form of a cell's keys: one text, null when it holds none. -#}
  case len({{ keys }}) when 0 then null when 1 then {{ keys }}[1] else array_to_string(list_sort({{ keys }}), ' ') end
{%- endmacro %}


{% macro keys_email(text, is_name=false) -%}
  {#- <a@b> parts if there are any, else the cell split at ; , | and newlines; then no white space, mailto:,
      quotes; lower-case; Gmail's dots and known providers' +tags dropped; role mailboxes are no keys.
      The one pattern stands outside the lambdas: inside one it would be compiled again for every row. Lists are
      asked by list_contains: a long IN becomes a join, and a join does not keep the rows in file order. -#}
  {%- set parts -%}
    case when contains({{ text }}, '<')
      then array_to_string(regexp_extract_all({{ text }}, '<([^<>]*@[^<>]*)>', 1), ';;')
      else {{ text }} end
  {%- endset -%}
  {%- set prepared -%}
    lower(nfc_normalize(regexp_replace(
      regexp_replace(case when {{ parts }} = '' then {{ text }} else {{ parts }} end, '[;,|\r\n]+', ';;', 'g'),
      '[{{ invisible() }}]', '', 'g'
    )))
  {%- endset -%}
  {#- Small character ranges: \\p{L} and counted repeats make the automaton so large that it is 50 times slower. -#}
  {%- set atom = '[^@"(),:;<>.\\[\\]\\\\\\x00-\\x1f]+' -%}
  {%- set letter = 'a-z0-9\\x{80}-\\x{10ffff}' -%}
  {%- set label = '[' ~ letter ~ '](?:[' ~ letter ~ '-]*[' ~ letter ~ '])?' -%}
  {%- set address = "(?:^|;)[\"''(<]*(?:mailto:)?[\"''(<]*(" ~ atom ~ '(?:[.]' ~ atom ~ ')*@(?:' ~ label ~ "[.])+[a-z\\x{80}-\\x{10ffff}][" ~ letter ~ '-]*[' ~ letter ~ "])[.]?(?:[?][^;]*)?[\"'').>]*(?:;|$)" -%}
  {%- set plain = '[A-Za-z0-9_%+-]+(?:[.][A-Za-z0-9_%+-]+)*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?[.])+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9] *' -%}
  {%- set roles = sql_list(reference('role_mailboxes', 'local_part')) -%}
  {%- set one = 'lower(rtrim(' ~ text ~ '))' -%}
  case
    when {{ text }} is null or not contains({{ text }}, '@') then []
    when regexp_full_match({{ text }}, '{{ plain }}') and not regexp_matches({{ text }}, '[+]|(?i:@g(?:oogle)?mail[.]com)') then
      case when list_contains({{ roles }}, split_part({{ one }}, '@', 1)) then [] else [{{ one }}] end
    else list_distinct(list_filter(
      list_transform(
        regexp_extract_all({{ prepared }}, '{{ address }}', 1),
        lambda address: {{ canonical_mailbox("split_part(address, '@', 1)", "split_part(address, '@', 2)") }}
      ),
      lambda mailbox: length(split_part(mailbox, '@', 1)) between 1 and 64
        and not list_contains({{ roles }}, split_part(mailbox, '@', 1))
    ))
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
  {#- in/<slug> or company/<slug>, without scheme, host, query, locale; member ids keep their case. The
      first branch is the usual spelling, answered without the costly capture of the last. -#}
  {%- set path = "regexp_extract(regexp_replace(" ~ text ~ ", '[" ~ invisible() ~ "]', '', 'g'), '(?i)^(?:https?://)?(?:[a-z0-9-]+[.])*linkedin[.]com/(?:mwlite/)?((?:in|company)/[^/?#]+)', 1)" -%}
  {%- set slug = "split_part(split_part(split_part(" ~ text ~ ", '/in/', 2), '/', 1), '?', 1)" -%}
  case
    when {{ text }} is null then []
    when regexp_full_match({{ text }}, '(?:https?://)?(?:www[.])?linkedin[.]com/in/[A-Za-z0-9-]+(?:/?|/?[?].*)') then
      ['in/' || case when regexp_matches({{ slug }}, '^AC[ow]AA') then {{ slug }} else lower({{ slug }}) end]
    when {{ path }} = '' then []
    when regexp_matches({{ path }}, '^(?i:in/)AC[ow]AA') then ['in/' || substr({{ path }}, 4)]
    when contains({{ path }}, '%') then [lower(nfc_normalize(coalesce(try(url_decode({{ path }})), {{ path }})))]
    else [lower(nfc_normalize({{ path }}))]
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
