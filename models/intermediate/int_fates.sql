{{ config(materialized='in_parts', over='entities', in_files=true) }}
with linked as (
  select entity
  from {{ ref('int_linked') }}
  where is_first_of_entity and {{ part_of('entity') }}
)

select
  c._merge_ord as record,
  false as is_quarantined,
  l.entity is not null as is_linked,
  g._merge_entity_id as entity_id
from {{ ref('int_candidates') }} as c
inner join {{ ref('int_golden') }} as g on c._merge_entity = g._merge_entity
left join linked as l on c._merge_entity = l.entity
where {{ part_of('c._merge_entity') }} and {{ part_of('g._merge_entity') }}
union all
select
  record,
  is_quarantined,
  false as is_linked,
  cast(null as string) as entity_id
from {{ ref('int_entities') }}
where is_quarantined and {{ part_of('entity') }}
-- row_ledger is made stretch by stretch, and each stretch skips what it does not need
order by record
