{{ config(materialized='in_parts', over='entities', in_files=true, finer='disputes') }}
{%- set plan = merge_plan() %}
with linked as (
  select entity
  from {{ ref('int_matches') }}
  where {{ part_of('entity') }} and is_first_of_entity
),

-- an entity of one row is that row: there is nothing to choose
single as (
  select
    r._merge_entity
    {%- for v in plan.vendor %},
    r.{{ sql_name(v.column) }},
    case when r.{{ sql_name(v.column) }} is not null{{ ' or r.' ~ rank_column(v) ~ ' is not null' if survives_whole(v) }} then r._merge_ord end as {{ sql_name('_merge_ord_' ~ v.column) }}
    {%- endfor %}
  from {{ ref('int_ranked') }} as r
  inner join linked as l on r._merge_entity = l.entity
  where {{ part_of('r._merge_entity') }} and r._merge_n_records = 1
),

chosen as (
  select
    r._merge_entity
    {%- for v in plan.vendor %}
    {%- set winner = survivor(v) %},
    {{ winner.value }} as {{ sql_name(v.column) }},
    {{ winner.ord }} as {{ sql_name('_merge_ord_' ~ v.column) }}
    {%- endfor %}
  from {{ ref('int_ranked') }} as r
  inner join linked as l on r._merge_entity = l.entity
  where {{ part_of('r._merge_entity') }} and r._merge_n_records > 1
  group by r._merge_entity
),

consolidated as (
  select * from single
  union all
  select * from chosen
)

select
  m.original_row as _merge_original_row,
  m.entity_rank as _merge_entity_rank,
  m.is_first_of_entity as _merge_is_first_of_entity,
  m.n_entities as _merge_n_entities,
  m.match_tier as _merge_match_tier,
  m.matched_on as _merge_matched_on,
  m.n_records as _merge_n_records,
  m.is_direct as _merge_is_direct,
  m.is_shared as _merge_is_shared,
  i.entity_id as _merge_entity_id,
  c.*
from {{ ref('int_matches') }} as m
inner join consolidated as c on m.entity = c._merge_entity
inner join {{ ref('int_entity_ids') }} as i on m.entity = i.entity
where {{ part_of('m.entity') }} and {{ part_of('i.entity') }}
-- the result is made slice by slice, and each slice skips what it does not need
order by m.original_row
