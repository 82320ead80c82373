-- depends_on: {{ ref('int_entities') }}
{{ config(materialized='in_parts', over='entities', into='newcomers', into_key='_merge_entity', in_files=true) }}
{%- set plan = merge_plan() %}
with linked as (
  select entity
  from {{ ref('int_matches') }}
  where is_first_of_entity and {{ part_of('entity') }}
),

newcomers as (
  select
    r._merge_entity,
    max(r._merge_n_records) as _merge_n_records,
    min(r._merge_vendor) as _merge_first_vendor,
    max(r._merge_vendor) as _merge_last_vendor
    {%- for v in plan.vendor %},
    {{ survivor(v).value }} as {{ sql_name(v.column) }}
    {%- endfor %}
  from {{ ref('int_ranked') }} as r
  left join linked as l on r._merge_entity = l.entity
  where {{ part_of('r._merge_entity') }} and l.entity is null
  group by r._merge_entity
)

select
  n.*,
  i.entity_id as _merge_entity_id
from newcomers as n
inner join {{ ref('int_entity_ids') }} as i on n._merge_entity = i.entity
where {{ part_of('i.entity') }}
