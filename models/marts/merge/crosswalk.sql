select
  f.source,
  s._merge_row as source_row,
  m.original_row,
  i.entity_id,
  m.match_tier,
  m.matched_on
from {{ ref('int_matches') }} as m
inner join {{ ref('int_entities') }} as e on m.entity = e.entity
inner join {{ ref('int_entity_ids') }} as i on m.entity = i.entity
inner join {{ ref('stg_enriched') }} as s on e.record = s._merge_ord
inner join {{ ref('stg_files') }} as f on s._merge_file = f.file_order
order by m.original_row, s._merge_ord
