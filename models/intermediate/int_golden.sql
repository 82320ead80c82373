{{ config(materialized='in_parts', over='entities', in_files=true, finer='disputes') }}
{%- set plan = merge_plan() %}
with rows_of_entities as {{ read_again() }} (
  select
    r.*
    {%- for v in plan.vendor %},
    case when r.{{ sql_name(v.column) }} is not null then r._merge_vendor end as _merge_who_{{ v.index }},
    {{ number_of_cell(v) }} as _merge_num_{{ v.index }}
    {%- if not own_fold(v) and not survives_whole(v) %},
    {{ rank_of_value(v) }} as _merge_pos_{{ v.index }}
    {%- endif %}
    {%- endfor %}
  from {{ ref('int_ranked') }} as r
  where {{ part_of('r._merge_entity') }}
),

-- an entity of one row is that row: there is nothing to choose
single as (
  select
    _merge_entity,
    _merge_n_records,
    _merge_vendor as _merge_first_vendor,
    _merge_vendor as _merge_last_vendor
    {%- for v in plan.vendor %},
    {{ sql_name(v.column) }},
    case when _merge_who_{{ v.index }} is not null{{ ' or ' ~ rank_column(v) ~ ' is not null' if survives_whole(v) }} then _merge_ord end as {{ sql_name('_merge_ord_' ~ v.column) }},
    _merge_who_{{ v.index }} as _merge_only_{{ v.index }},
    false as _merge_differs_{{ v.index }}
    {%- endfor %}
  from rows_of_entities
  where _merge_n_records = 1
),

chosen as (
  select
    r._merge_entity,
    max(r._merge_n_records) as _merge_n_records,
    min(r._merge_vendor) as _merge_first_vendor,
    max(r._merge_vendor) as _merge_last_vendor
    {%- for v in plan.vendor %}
    {%- set winner = survivor(v, 'r._merge_pos_' ~ v.index) %},
    {{ winner.value }} as {{ sql_name(v.column) }},
    {{ winner.ord }} as {{ sql_name('_merge_ord_' ~ v.column) }},
    {{ only_one('r._merge_who_' ~ v.index) }} as _merge_only_{{ v.index }},
    coalesce(min(r._merge_num_{{ v.index }}) <> max(r._merge_num_{{ v.index }}), false) as _merge_differs_{{ v.index }}
    {%- endfor %}
  from rows_of_entities as r
  where r._merge_n_records > 1
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
