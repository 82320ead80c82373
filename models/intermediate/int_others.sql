-- depends_on: {{ ref('int_ranked') }}
-- depends_on: {{ ref('int_entities') }}
{{ config(materialized='in_parts', over='entities', in_files=true) }}
{%- set plan = merge_plan() %}
{%- set columns = [] %}
{%- for v in plan.vendor if may_lack_a_value(v) %}{% do columns.append(v) %}{% endfor %}
{%- if columns %}
with linked as (
  select entity
  from {{ ref('int_matches') }}
  where is_first_of_entity and {{ part_of('entity') }}
),

vendors as (
  select distinct
    r._merge_entity as entity,
    r._merge_vendor as vendor_number
  from {{ ref('int_ranked') }} as r
  inner join linked as l on r._merge_entity = l.entity
  where {{ part_of('r._merge_entity') }}
),

others as (
  select
    v.entity,
    v.vendor_number
    {%- for v in columns %},
    {{ survivor(v).is_there }} as has_{{ v.index }}
    {%- endfor %}
  from vendors as v
  inner join {{ ref('int_ranked') }} as r on v.entity = r._merge_entity and v.vendor_number <> r._merge_vendor
  where {{ part_of('r._merge_entity') }}
  group by v.entity, v.vendor_number
)

select
  m.original_row,
  m.entity,
  v.vendor_number
  {%- for v in columns %},
  case when o.has_{{ v.index }} then 1 else 0 end as has_{{ v.index }}
  {%- endfor %}
from {{ ref('int_matches') }} as m
inner join vendors as v on m.entity = v.entity
left join others as o on v.entity = o.entity and v.vendor_number = o.vendor_number
where {{ part_of('m.entity') }}
-- int_without_vendor is made slice by slice, and each slice skips what it does not need
order by m.original_row
{%- else %}
-- no column of this merge is of that kind
select
  original_row,
  entity,
  cast(0 as int) as vendor_number
from {{ ref('int_matches') }}
where 1 = 0
{%- endif %}
