{{ config(materialized='in_parts', over='entities', in_files=true) }}
{%- set plan = merge_plan() %}
select
  m.original_row as _merge_original_row,
  m.entity_rank as _merge_entity_rank,
  m.is_first_of_entity as _merge_is_first_of_entity,
  m.n_entities as _merge_n_entities,
  m.match_tier as _merge_match_tier,
  m.matched_on as _merge_matched_on,
  m.is_direct as _merge_is_direct,
  m.is_shared as _merge_is_shared,
  g._merge_entity,
  g._merge_entity_id,
  g._merge_n_records
  {%- for v in plan.vendor %},
  g.{{ sql_name(v.column) }},
  g.{{ sql_name('_merge_ord_' ~ v.column) }},
  g._merge_only_{{ v.index }}
  {%- endfor %}
from {{ ref('int_linked') }} as m
inner join {{ ref('int_golden') }} as g on m.entity = g._merge_entity
where {{ part_of('m.entity') }} and {{ part_of('g._merge_entity') }}
-- the result is made slice by slice, and each slice skips what it does not need
order by m.original_row
