{{ config(materialized='in_parts', over='disputes', in_files=true) }}
select
  m.original_row,
  m.entity_rank,
  i.entity_id,
  d.*
from {{ ref('int_disputes') }} as d
inner join {{ ref('int_matches') }} as m on d.entity = m.entity
inner join {{ ref('int_entity_ids') }} as i on d.entity = i.entity
where {{ part_of('d.entity', 'disputes') }} and {{ part_of('m.entity', 'disputes') }} and {{ part_of('i.entity', 'disputes') }}
-- merge_conflicts is made slice by slice, and each slice skips what it does not need
order by m.original_row
