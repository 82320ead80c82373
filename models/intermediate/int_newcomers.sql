-- depends_on: {{ ref('int_entities') }}
{{ config(materialized='in_parts', over='entities', into='newcomers', into_key='_merge_entity', in_files=true) }}
{%- set plan = merge_plan() %}
with linked as (
  select distinct entity
  from {{ ref('int_matches') }}
  where {{ part_of('entity') }}
)

select
  r._merge_entity
  {%- for v in plan.vendor %},
  {{ survivor(v).value }} as {{ sql_name(v.column) }}
  {%- endfor %}
from {{ ref('int_ranked') }} as r
left join linked as l on r._merge_entity = l.entity
where {{ part_of('r._merge_entity') }} and l.entity is null
group by r._merge_entity
