-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
{%- for shape in plan.shapes %}
select
  record,
  _merge_surname as surname,
  _merge_given as given
from {{ names_of_shape(shape, plan) }} as named
where _merge_surname is not null
{{ 'union all' if not loop.last }}
{%- else %}
select 0 as record from {{ ref('stg_files') }}
{%- endfor %}
