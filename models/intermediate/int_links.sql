{{ config(materialized='in_parts', over='entities', in_files=true) }}
select
  m.original_row,
  e.record,
  i.entity_id,
  m.match_tier,
  m.matched_on
from {{ ref('int_matches') }} as m
inner join {{ ref('int_entities') }} as e on m.entity = e.entity
inner join {{ ref('int_entity_ids') }} as i on m.entity = i.entity
where {{ part_of('m.entity') }} and {{ part_of('e.entity') }} and {{ part_of('i.entity') }}
-- crosswalk is made slice by slice, and each slice skips what it does not need
order by m.original_row
