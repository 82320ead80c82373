{% test each_row_is_identified_by(model, columns, texts=[]) %}
{#- No two rows are the same in these columns, and none of them is null. A long text goes under `texts`: it is
    compared only where the columns repeat, since grouping millions of long texts takes long. -#}
{%- set names = [] -%}
{%- for column in columns %}{% do names.append(sql_name(column)) %}{% endfor -%}
{%- set long_names = [] -%}
{%- for text in texts %}{% do long_names.append(sql_name(text)) %}{% endfor -%}
{%- set all_names = names + long_names -%}
{%- if not texts -%}
select
  {{ names | join(', ') }},
  count(*) as n_rows
from {{ model }}
group by {{ names | join(', ') }}
having count(*) > 1 or {{ names | join(' is null or ') }} is null
{%- else -%}
select
  k.{{ all_names | join(', k.') }},
  count(*) as n_rows
from (select {{ all_names | join(', ') }} from {{ model }}) as k
inner join (
  select {{ names | join(', ') }}
  from {{ model }}
  group by {{ names | join(', ') }}
  having count(*) > 1
) as repeated
  on {% for name in names %}k.{{ name }} = repeated.{{ name }}{{ ' and ' if not loop.last }}{% endfor %}
group by k.{{ all_names | join(', k.') }}
having count(*) > 1
union all
select
  {{ all_names | join(', ') }},
  1 as n_rows
from {{ model }}
where {{ all_names | join(' is null or ') }} is null
{%- endif %}
{% endtest %}
