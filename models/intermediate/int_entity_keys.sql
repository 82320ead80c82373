-- a key value leads to one entity, unless guards took a weaker key's entity apart: its records were joined by it
select
  k.key_number,
  k.tier,
  e.entity,
  max(e.n_records) as n_records,
  max(case when e.is_quarantined then 1 else 0 end) = 1 as is_quarantined,
  max(case when k.refused_value is null then 0 else 1 end) = 1 as is_narrowed,
  count(*) as n_sharing,
  min(k.record) as first_record
from {{ ref('int_match_keys') }} as k
inner join {{ ref('int_entities') }} as e on k.record = e.record
where k.side = 'enriched' and k.key_number is not null and k.tier <= e.level
group by k.key_number, k.tier, e.entity
