{#- phone_stages, for a US file, a French one and one without a region; fake and mangled numbers are no keys. -#}
{%- for region, cases in {
  'US': [
    ('(212) 555-0142', '+12125550142'), ('212.555.0142 x12', '+12125550142'), ('1-212-555-0142', '+12125550142'),
    ('+1 212 555 0142', '+12125550142'), ('001-212-555-0142', '+12125550142'), ('011 33 6 12 34 56 78', '+33612345678'),
    ('tel:+1-212-555-0142', '+12125550142'), ('+44 (0)20 7946 0958', '+442079460958'), ('212 555 0142 ext. 9', '+12125550142'),
    ('2125550142.0', '+12125550142'), ('6.12E+11', ''), ('000-000-0000', ''), ('222-222-2222', ''), ('1234567890', ''),
    ('555-0142', ''), ('112-555-0142', ''), ('call me', ''), ('n/a', ''), ('', ''),
  ],
  'FR': [
    ('06 12 34 56 78', '+33612345678'), ('0033 6 12 34 56 78', '+33612345678'), ('+33 (0)6 12 34 56 78', '+33612345678'),
    ('+33 6.12.34.56.78', '+33612345678'), ('00 1 212 555 0142', '+12125550142'), ('0123456789', ''), ('06 12 34', ''),
  ],
  'IT': [('06 698 12345', '+390669812345'), ('+39 06 698 12345', '+390669812345')],
  none: [('+33612345678', '+33612345678'), ('06 12 34 56 78', ''), ('0033612345678', '')],
}.items() %}
{%- set cases_name = 'cases_' ~ loop.index %}
select * from (
  select
    {{ sql_text(region) }} as region,
    cell,
    expected,
    array_to_string(cell_phone, ' ') as found
  from {% for stage in phone_stages('cell', region) | reverse %}(select *{% for name, expression in stage.items() %}, {{ expression }} as {{ name }}{% endfor %} from {% endfor -%}
    (values {% for cell, expected in cases %}({{ sql_text(cell) }}, {{ sql_text(expected) }}){{ ', ' if not loop.last }}{% endfor %}) as {{ cases_name }} (cell, expected)
  {%- for stage in phone_stages('cell', region) %}) as stage_{{ loop.index }}{% endfor %}
) as compared
where found is distinct from expected
{{ 'union all' if not loop.last }}
{%- endfor %}
