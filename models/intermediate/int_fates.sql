{{ config(materialized='in_parts', over='entities', in_files=true) }}
with linked as (
  select entity
  from {{ ref('int_matches') }}
  where is_first_of_entity and {{ part_of('entity') }}
)

select
  e.record,
  e.is_quarantined,
  l.entity is not null as is_linked,
  i.entity_id
from {{ ref('int_entities') }} as e
inner join {{ ref('int_entity_ids') }} as i on e.entity = i.entity
left join linked as l on e.entity = l.entity
where {{ part_of('e.entity') }} and {{ part_of('i.entity') }}
-- row_ledger is made stretch by stretch, and each stretch skips what it does not need
order by e.record
