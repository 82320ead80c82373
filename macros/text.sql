{#- What counts as blank, and when two texts are the same: one macro decides each. -#}

{% macro white_space() %}
  {#- Unicode's white space, as the inside of a regular expression's [class]. -#}
  {%- do return(' \t\n\x0b\x0c\r\x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000') -%}
{% endmacro %}


{% macro invisible() %}
  {#- White space and the zero-width characters: what a blank cell may hold, and a key never does. -#}
  {%- do return(white_space() ~ zero_width()) -%}
{% endmacro %}


{% macro zero_width() %}{% do return('\u200b\u200c\u200d\u2060\ufeff') %}{% endmacro %}


{% macro is_empty(text) -%}
  {#- A blank cell of the original: null, empty or white space. A word such as n/a is the CRM's own, and stays. -#}
  ({{ text }} is null or {{ matches(text, "'[" ~ invisible() ~ "]*'") }})
{%- endmacro %}


{% macro digest_of_long(text) -%}
  {#- A text to compare by: itself, or a digest of one that is long. What is blank stays blank. -#}
  case when length({{ text }}) > 200 and not {{ is_empty(text) }} then concat('md5 ', md5({{ text }})) else {{ text }} end
{%- endmacro %}


{% macro cells_in_one(row, columns) -%}
  {#- One text of what the cells of a row hold, in these columns of the plan: each cell with its length before it, so that none runs into the next. -#}
  {%- set cells = [] -%}
  {%- for v in columns -%}
    {%- set cell = row ~ '.' ~ sql_name(v.column) -%}
    {%- do cells.append("case when " ~ cell ~ " is null then '-' else concat(cast(length(" ~ cell ~ ") as string), ':', " ~ cell ~ ") end") -%}
  {%- endfor -%}
  concat('', {{ cells | join(', ') or "''" }})
{%- endmacro %}


{% macro is_blank(text, is_name=false) -%}
  {#- A blank key or candidate value: also the sentinels of seeds/reference/blank_sentinels.csv; in a name
      column those that are names as well (Null, Na) are not blank. -#}
  {%- set words = [] -%}
  {%- for word in reference('blank_sentinels', 'sentinel', "kept_in_names <> 'true'" if is_name else 'true') -%}
    {%- do words.append(modules.re.sub('([.?*+()|[{$/#-])', '[\\1]', word)) -%}
  {%- endfor -%}
  {%- set edge = '[' ~ invisible() ~ ']*' -%}
  ({{ text }} is null or {{ matches(text, said_once('blanks', '(?i)' ~ edge ~ '(?:' ~ words | join('|') ~ ')?' ~ edge)) }})
{%- endmacro %}


{% macro trimmed(text) -%}
  {#- Without white space at both ends. -#}
  {{ replace_all(text, "'^[" ~ white_space() ~ "]+|[" ~ white_space() ~ "]+$'", "''") }}
{%- endmacro %}


{% macro comparison_form(text) -%}
  {#- Two cells say the same when these are equal: without outer white space, inner runs as one space, lower-case.
      The text is NFC; keys are compared by their normaliser instead (landing). -#}
  lower(trim(both ' ' from {{ replace_all(text, "'[" ~ white_space() ~ "]+'", "' '") }}))
{%- endmacro %}
