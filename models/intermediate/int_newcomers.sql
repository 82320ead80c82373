-- depends_on: {{ ref('int_matches') }}
-- depends_on: {{ ref('int_entities') }}
{{ config(materialized='in_parts', over='entities', into='newcomers', into_key='_merge_entity', in_files=true) }}
{%- set plan = merge_plan() %}
with linked as (
  select entity
  from {{ ref('int_linked') }}
  where is_first_of_entity and {{ part_of('entity') }}
)

select
  g._merge_entity,
  g._merge_entity_id,
  g._merge_n_records,
  g._merge_first_vendor,
  g._merge_last_vendor
  {%- for v in plan.vendor %},
  g.{{ sql_name(v.column) }}
  {%- endfor %}
from {{ ref('int_golden') }} as g
left join linked as l on g._merge_entity = l.entity
where {{ part_of('g._merge_entity') }} and l.entity is null
