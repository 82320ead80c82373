{#- I5. Two vendor rows that share a key which may link are one entity. -#}
select
  k.key_type,
  min(k.record) as one_record,
  min(e.entity) as one_entity,
  max(e.entity) as another_entity
from {{ ref('int_match_keys') }} as k
left join {{ ref('int_entities') }} as e on k.record = e.record
where
  k.side = 'enriched'
  and k.key_number is not null
  and not (coalesce(e.level, k.tier) < k.tier)
group by k.key_type, k.key_number
having min(e.entity) <> max(e.entity) or count(e.entity) < count(*)
