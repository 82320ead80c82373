-- depends_on: {{ ref('int_entities') }}
-- depends_on: {{ ref('int_matches') }}
{{ config(materialized='in_parts', over='originals', in_files=true, while_rows_are_small='view') }}
{%- set plan = merge_plan() %}
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
  _merge_first_vendor_{{ v.index }},
  _merge_last_vendor_{{ v.index }}
  {%- endfor %}
from {{ ref('int_enriched_consolidated') }}
where _merge_n_entities = 1 and {{ within('originals', '_merge_original_row') }}
union all
-- an original of several entities: what its first entity lacks comes from the next that has it (not by `filter`, which holds every
-- column once more for each column on DuckDB)
select
  c._merge_original_row as _merge_row,
  min_by(c._merge_entity, c._merge_entity_rank) as _merge_entity,
  min_by(c._merge_entity_id, c._merge_entity_rank) as _merge_entity_id,
  min_by(c._merge_match_tier, c._merge_entity_rank) as _merge_match_tier,
  min_by(c._merge_matched_on, c._merge_entity_rank) as _merge_matched_on,
  max(c._merge_n_entities) as _merge_n_entities,
  min_by(c._merge_is_direct, c._merge_entity_rank) as _merge_is_direct,
  max(case when c._merge_is_shared then 1 else 0 end) = 1 as _merge_is_shared,
  cast(sum(c._merge_n_records) as bigint) as _merge_n_enriched_rows
  {%- for v in plan.vendor %},
  nullif(min_by(coalesce(c.{{ sql_name(v.column) }}, ''), case when {{ has_value(v, 'c', plan) }} then c._merge_entity_rank end), '') as {{ sql_name(v.column) }},
  min_by(c.{{ sql_name('_merge_ord_' ~ v.column) }}, case when {{ has_value(v, 'c', plan) }} then c._merge_entity_rank end) as {{ sql_name('_merge_ord_' ~ v.column) }},
  min(c._merge_first_vendor_{{ v.index }}) as _merge_first_vendor_{{ v.index }},
  max(c._merge_last_vendor_{{ v.index }}) as _merge_last_vendor_{{ v.index }}
  {%- endfor %}
from {{ ref('int_enriched_consolidated') }} as c
where c._merge_n_entities > 1 and {{ within('originals', 'c._merge_original_row') }}
group by c._merge_original_row
