{% test first_columns_are(model, columns) %}
{#- A contract for the columns that a model of its own adds to those of the files: name and type, in order. -#}
{%- set found = adapter.get_columns_in_relation(model) if execute else [] -%}
{%- set problems = [] -%}
{%- for name, type in columns.items() -%}
  {%- set column = found[loop.index0] if found | length > loop.index0 else none -%}
  {%- if column is none or column.name != name or not ((column.is_string() or column.dtype | lower == 'string') if type == 'string' else column.dtype | lower == type) -%}
    {%- do problems.append('column ' ~ loop.index ~ ' is not ' ~ name ~ ' ' ~ type) -%}
  {%- endif -%}
{%- endfor -%}
{%- for problem in problems %}
select {{ sql_text(problem) }} as problem
{{ 'union all' if not loop.last }}
{%- else %}
select 'none' as problem where 1 = 0
{%- endfor %}
{% endtest %}
