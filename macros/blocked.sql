{#- Blocked values: match keys that are valid but that strangers share, so that they may join nobody. Keys are blocked
    after landing, one value a row, so that a report can say what was blocked and why. Runs on every engine. -#}

{% macro blocked_as(kind, value, guards, label=none) -%}
  {#- SQL: why a key value is blocked, as a short text, or null if it is not. -#}
  {%- set reasons = [] -%}
  {%- set listed = ((guards.get('blocked') or {}).get(kind) or []) + ((guards.get('blocked') or {}).get(label) or [] if label and label != kind else []) -%}
  {%- set domain = "split_part(" ~ value ~ ", '@', 2)" -%}
  {%- if listed -%}{%- do reasons.append([one_of(value, listed), 'listed in guards.blocked']) -%}{%- endif -%}
  {%- if kind == 'email' and guards.get('blocked_domains') -%}
    {%- do reasons.append([one_of(domain, guards.blocked_domains), 'listed in guards.blocked']) -%}
  {%- endif -%}
  {%- if kind == 'email' -%}
    {%- do reasons.append([one_of("split_part(" ~ value ~ ", '@', 1)", reference('role_mailboxes', 'local_part')), 'role mailbox']) -%}
    {%- if not guards.get('allow_test_addresses') -%}
      {%- do reasons.append([one_of("split_part(" ~ value ~ ", '@', 1)", test_addresses('local part')), 'test address']) -%}
      {%- do reasons.append([one_of(value, test_addresses('address')), 'test address']) -%}
      {%- do reasons.append([is_test_domain(domain), 'test address']) -%}
    {%- endif -%}
  {%- elif kind == 'domain' -%}
    {%- if not guards.get('allow_test_addresses') -%}{%- do reasons.append([is_test_domain(value), 'test address']) -%}{%- endif -%}
    {%- for why in ['free-mail domain', 'disposable domain'] -%}
      {%- do reasons.append([one_of(value, reference('mail_domains', 'domain', 'kind = ' ~ sql_text(why.split(' ')[0]))), why]) -%}
    {%- endfor -%}
  {%- elif kind == 'phone' -%}
    {%- do reasons.append([value ~ " not like '+%'", 'mangled by a spreadsheet']) -%}
    {%- do reasons.append([is_national_number(value, same_digits()), 'the same digit throughout']) -%}
    {%- do reasons.append([is_national_number(value, counting_digits()), 'digits that count']) -%}
  {%- endif -%}
  {%- if reasons -%}
  case{% for condition, reason in reasons %} when {{ condition }} then {{ sql_text(reason) }}{% endfor %} end
  {%- else -%} cast(null as string)
  {%- endif -%}
{%- endmacro %}


{% macro one_of(value, texts) -%}
  {#- Is a value one of the texts? False for no text at all. -#}
  {%- set literals = [] -%}
  {%- for text in texts -%}{%- do literals.append(sql_text(text)) -%}{%- endfor -%}
  {%- if literals -%} {{ value }} in ({{ literals | join(', ') }}) {%- else -%} 1 = 0 {%- endif -%}
{%- endmacro %}


{% macro test_addresses(part) %}
  {#- The entries of the seed that block an address by this part of it. -#}
  {%- do return(reference('test_addresses', 'value', 'part = ' ~ sql_text(part))) -%}
{% endmacro %}


{% macro is_test_domain(domain) -%}
  {#- A domain of the seed, or one below it: mail.example.com, corp.test. -#}
  {%- set escaped = [] -%}
  {%- for name in test_addresses('domain') -%}{%- do escaped.append(name.replace('.', '[.]')) -%}{%- endfor -%}
  {{ matches(domain, sql_text('(?:.*[.])?(?:' ~ escaped | join('|') ~ ')')) }}
{%- endmacro %}


{% macro is_national_number(number, pattern) -%}
  {#- Does the part of an E.164 number after its country code fit a pattern? -#}
  {{ matches(number, sql_text('[+](?:' ~ reference('phone_regions', 'country_code') | unique | sort | join('|') ~ ')(?:' ~ pattern ~ ')')) }}
{%- endmacro %}


{% macro same_digits() %}
  {#- 000…, 111…, as a pattern: typed to fill a field. -#}
  {%- set runs = [] -%}
  {%- for digit in range(10) -%}{%- do runs.append(digit ~ '+') -%}{%- endfor -%}
  {%- do return(runs | join('|')) -%}
{% endmacro %}


{% macro counting_digits() %}
  {#- Seven digits and more that count up or down, 9 and 0 being neighbours, as a pattern. -#}
  {%- set runs = [] -%}
  {%- for step in [1, 9] -%}
    {%- for start in range(10) -%}
      {%- set run = [] -%}
      {%- for i in range(15) -%}{%- do run.append(((start + step * i) % 10) | string) -%}{%- endfor -%}
      {%- set tail = namespace(text='') -%}
      {%- for digit in run[7:] | reverse -%}{%- set tail.text = '(?:' ~ digit ~ tail.text ~ ')?' -%}{%- endfor -%}
      {%- do runs.append(run[:7] | join ~ tail.text) -%}
    {%- endfor -%}
  {%- endfor -%}
  {%- do return(runs | join('|')) -%}
{% endmacro %}
