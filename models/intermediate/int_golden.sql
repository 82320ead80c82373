{{ config(materialized='in_parts', over='entities', in_files=true, finer='disputes') }}
{%- set plan = merge_plan() %}
-- an entity of one row is that row: there is nothing to choose
with single as (
  select
    r._merge_entity,
    r._merge_n_records,
    r._merge_vendor as _merge_first_vendor,
    r._merge_vendor as _merge_last_vendor
    {%- for v in plan.vendor %}
    {%- set has_value = 'r.' ~ sql_name(v.column) ~ ' is not null' %},
    r.{{ sql_name(v.column) }},
    case when {{ has_value }}{{ ' or r.' ~ rank_column(v) ~ ' is not null' if survives_whole(v) }} then r._merge_ord end as {{ sql_name('_merge_ord_' ~ v.column) }},
    case when {{ has_value }} then r._merge_vendor end as _merge_first_vendor_{{ v.index }},
    case when {{ has_value }} then r._merge_vendor end as _merge_last_vendor_{{ v.index }},
    false as _merge_differs_{{ v.index }}
    {%- endfor %}
  from {{ ref('int_ranked') }} as r
  where {{ part_of('r._merge_entity') }} and r._merge_n_records = 1
),

chosen as (
  select
    r._merge_entity,
    max(r._merge_n_records) as _merge_n_records,
    min(r._merge_vendor) as _merge_first_vendor,
    max(r._merge_vendor) as _merge_last_vendor
    {%- for v in plan.vendor %}
    {%- set winner = survivor(v) %}
    {%- set vendor = 'case when r.' ~ sql_name(v.column) ~ ' is not null then r._merge_vendor end' %},
    {{ winner.value }} as {{ sql_name(v.column) }},
    {{ winner.ord }} as {{ sql_name('_merge_ord_' ~ v.column) }},
    min({{ vendor }}) as _merge_first_vendor_{{ v.index }},
    max({{ vendor }}) as _merge_last_vendor_{{ v.index }},
    {{ cells_differ(v) }} as _merge_differs_{{ v.index }}
    {%- endfor %}
  from {{ ref('int_ranked') }} as r
  where {{ part_of('r._merge_entity') }} and r._merge_n_records > 1
  group by r._merge_entity
),

golden as (
  select * from single
  union all
  select * from chosen
)

select
  i.entity_id as _merge_entity_id,
  g.*
from golden as g
inner join {{ ref('int_entity_ids') }} as i on g._merge_entity = i.entity
where {{ part_of('i.entity') }}
