{{ config(materialized='in_parts', over='entities', in_files=true) }}
select
  m.original_row,
  c._merge_ord as record,
  g._merge_entity_id as entity_id,
  m.match_tier,
  m.matched_on
from {{ ref('int_linked') }} as m
inner join {{ ref('int_candidates') }} as c on m.entity = c._merge_entity
inner join {{ ref('int_golden') }} as g on m.entity = g._merge_entity
where {{ part_of('m.entity') }} and {{ part_of('c._merge_entity') }} and {{ part_of('g._merge_entity') }}
-- who looks at a slice of crosswalk skips what is not in it
order by m.original_row, c._merge_ord
