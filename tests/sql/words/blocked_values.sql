{#- blocked_as: why a key value joins nobody, with what a spec may say, or null.
    Domains, whose SQL is too long for sqlfluff, are in tests/test_keys.py. -#}
{%- set guards = {
  'blocked': {'email': ['x@y.com'], 'phone': ['+12125550100'], 'tax_no': ['7']},
  'blocked_domains': ['rival.com'], 'allow_test_addresses': true
} %}
{%- for kind, label, cases in [
  ('email', 'email', [
    ('ada@corp.com', none, none), ('info@corp.com', 'role mailbox', 'role mailbox'), ('infos.ada@corp.com', none, none),
    ('noreply@corp.com', 'test address', none), ('test@test.com', 'test address', none), ('ada@test.com', 'test address', none),
    ('ada@example.com', 'test address', none), ('ada@mail.example.org', 'test address', none), ('ada@corp.test', 'test address', none),
    ('ada@myexample.com', none, none), ('ada@corp.com.de', none, none),
    ('x@y.com', none, 'listed in guards.blocked'), ('ada@rival.com', none, 'listed in guards.blocked'), ('ada@eu.rival.com', none, none)
  ]),
  ('phone', 'phone', [
    ('+12125550142', none, none), ('+12125550100', none, 'listed in guards.blocked'),
    ('+12222222222', 'the same digit throughout', 'the same digit throughout'), ('+33111111111', 'the same digit throughout', 'the same digit throughout'),
    ('+4412345678', 'digits that count', 'digits that count'), ('+33123456789', 'digits that count', 'digits that count'),
    ('+12345678901', 'digits that count', 'digits that count'), ('+19876543210', 'digits that count', 'digits that count'),
    ('+12345678902', none, none), ('+49123456', none, none), ('6.12e+11', 'mangled by a spreadsheet', 'mangled by a spreadsheet')
  ]),
  ('linkedin', 'linkedin', [('in/ada', none, none)]),
  ('exact', 'tax_no', [('7', none, 'listed in guards.blocked'), ('8', none, none)])
] %}
{%- set rows = [] %}
{%- for value, usual, guarded in cases %}
{%- do rows.append('(' ~ sql_text(value) ~ ', ' ~ ('null' if usual is none else sql_text(usual)) ~ ', ' ~ ('null' if guarded is none else sql_text(guarded)) ~ ')') %}
{%- endfor %}
select * from (
  select
    {{ sql_text(kind) }} as kind,
    *,
    {{ blocked_as(kind, 'value', {}, label) }} as found_usual,
    {{ blocked_as(kind, 'value', guards, label) }} as found_guarded
  from (values {{ rows | join(', ') }}) as {{ kind }}_cases (value, usual, guarded)
) as compared
where found_usual is distinct from usual or found_guarded is distinct from guarded
{{ 'union all' if not loop.last }}
{%- endfor %}
