{{ config(materialized='view') }}
{%- set plan = merge_plan() %}
with firsts as (
  select *
  from {{ ref('int_matches') }}
  where entity_rank = 1 and {{ within('originals', 'original_row') }}
),

consolidated as (
  select *
  from {{ ref('int_enriched_consolidated') }}
  where {{ within('originals', '_merge_original_row') }}
),

-- an original of several entities: what its first entity lacks comes from the next that has it
several as (
  select
    m.original_row as _merge_row,
    sum(m.n_records) as n_enriched_rows
    {%- for v in plan.vendor %},
    nullif(min_by(coalesce(c.{{ sql_name(v.column) }}, ''), m.entity_rank) filter (where {{ has_value(v, 'c', plan) }}), '') as {{ sql_name(v.column) }},
    min_by(c.{{ sql_name('_merge_ord_' ~ v.column) }}, m.entity_rank) filter (where {{ has_value(v, 'c', plan) }}) as {{ sql_name('_merge_ord_' ~ v.column) }}
    {%- endfor %}
  from {{ ref('int_matches') }} as m
  inner join consolidated as c on m.original_row = c._merge_original_row and m.entity = c._merge_entity
  where m.n_entities > 1 and {{ within('originals', 'm.original_row') }}
  group by m.original_row
)

select
  f.original_row as _merge_row,
  f.entity as _merge_entity,
  c._merge_entity_id,
  f.match_tier,
  f.matched_on,
  f.n_entities as _merge_n_entities,
  f.is_direct as _merge_is_direct,
  f.is_shared as _merge_is_shared,
  coalesce(s.n_enriched_rows, f.n_records) as n_enriched_rows
  {%- for v in plan.vendor %},
  case when f.n_entities > 1 then s.{{ sql_name(v.column) }} else c.{{ sql_name(v.column) }} end as {{ sql_name(v.column) }},
  case when f.n_entities > 1 then s.{{ sql_name('_merge_ord_' ~ v.column) }} else c.{{ sql_name('_merge_ord_' ~ v.column) }} end as {{ sql_name('_merge_ord_' ~ v.column) }}
  {%- endfor %}
from firsts as f
inner join consolidated as c on f.original_row = c._merge_original_row and c._merge_entity_rank = 1
left join several as s on f.original_row = s._merge_row
