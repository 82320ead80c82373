{% test each_row_is_identified_by(model, columns, texts=[]) %}
{#- No two rows are the same in these columns, and none of them is null. Long texts go under `texts`: only their
    hashes are compared, and only where the columns repeat, since grouping millions of long texts takes long. -#}
{%- set names = [] -%}
{%- set hashes = [] -%}
{%- set nulls = [] -%}
{%- for column in columns %}{% do names.append(sql_name(column)) %}{% endfor -%}
{%- for text in texts %}{% do hashes.append(hash_number('k.' ~ sql_name(text)) | trim) %}{% endfor -%}
{%- for column in columns + texts %}{% do nulls.append(sql_name(column) ~ ' is null') %}{% endfor -%}
{%- set key = names | join(', ') -%}
{%- if not texts -%}
select
  {{ key }},
  count(*) as n_rows
from {{ model }}
group by {{ key }}
having count(*) > 1 or {{ nulls | join(' or ') }}
{%- else -%}
select
  k.{{ names | join(', k.') }},
  count(*) as n_rows
from (select * from {{ model }}) as k
inner join (select {{ key }} from {{ model }} group by {{ key }} having count(*) > 1) as repeated
  on {% for name in names %}k.{{ name }} = repeated.{{ name }}{{ ' and ' if not loop.last }}{% endfor %}
group by k.{{ names | join(', k.') }}, {{ hashes | join(', ') }}
having count(*) > 1
union all
select
  {{ key }},
  1 as n_rows
from {{ model }}
where {{ nulls | join(' or ') }}
{%- endif %}
{% endtest %}
