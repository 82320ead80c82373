-- depends_on: {{ ref('int_entities') }}
-- depends_on: {{ ref('int_matches') }}
{{ config(materialized='in_parts', over='originals', in_files=true, while_rows_are_small='view') }}
{%- set plan = merge_plan() %}
-- an original of several entities: what its first entity lacks comes from the next that has it (not by `filter`, which holds every
-- column once more for each column on DuckDB)
with offers as (
  select
    c.*
    {%- for v in plan.vendor %},
    case when {{ has_value(v, 'c', plan) }} then c._merge_entity_rank end as _merge_at_{{ v.index }}
    {%- endfor %}
  from {{ ref('int_enriched_consolidated') }} as c
  where c._merge_n_entities > 1 and {{ within('originals', 'c._merge_original_row') }}
)

select
  _merge_original_row as _merge_row,
  _merge_entity,
  _merge_entity_id,
  _merge_match_tier,
  _merge_matched_on,
  _merge_n_entities,
  _merge_is_direct,
  _merge_is_shared,
  _merge_n_records as _merge_n_enriched_rows
  {%- for v in plan.vendor %},
  {{ sql_name(v.column) }},
  {{ sql_name('_merge_ord_' ~ v.column) }},
  _merge_only_{{ v.index }}
  {%- endfor %}
from {{ ref('int_enriched_consolidated') }}
where _merge_n_entities = 1 and {{ within('originals', '_merge_original_row') }}
union all
select
  _merge_original_row as _merge_row,
  min_by(_merge_entity, _merge_entity_rank) as _merge_entity,
  min_by(_merge_entity_id, _merge_entity_rank) as _merge_entity_id,
  min_by(_merge_match_tier, _merge_entity_rank) as _merge_match_tier,
  min_by(_merge_matched_on, _merge_entity_rank) as _merge_matched_on,
  max(_merge_n_entities) as _merge_n_entities,
  min_by(_merge_is_direct, _merge_entity_rank) as _merge_is_direct,
  max(case when _merge_is_shared then 1 else 0 end) = 1 as _merge_is_shared,
  cast(sum(_merge_n_records) as bigint) as _merge_n_enriched_rows
  {%- for v in plan.vendor %},
  nullif(min_by(coalesce({{ sql_name(v.column) }}, ''), _merge_at_{{ v.index }}), '') as {{ sql_name(v.column) }},
  min_by({{ sql_name('_merge_ord_' ~ v.column) }}, _merge_at_{{ v.index }}) as {{ sql_name('_merge_ord_' ~ v.column) }},
  {{ only_one('_merge_only_' ~ v.index) }} as _merge_only_{{ v.index }}
  {%- endfor %}
from offers
group by _merge_original_row
