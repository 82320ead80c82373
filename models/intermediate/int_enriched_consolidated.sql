{{ config(materialized='in_parts', sized_by='int_entities') }}
-- depends_on: {{ ref('int_entities') }}
{%- set plan = merge_plan() %}
select
  r._merge_entity
  {%- for v in plan.vendor %}
  {%- set winner = survivor(v) %},
  {{ winner.value }} as {{ sql_name(v.column) }},
  {{ winner.ord }} as {{ sql_name('_merge_ord_' ~ v.column) }}
  {%- endfor %}
from {{ ref('int_ranked') }} as r
where {{ part_of('r._merge_entity') }}
group by r._merge_entity
