{{ config(materialized='components') }}
-- each key value is a star: its records point to the first of them
with stars as (
  select
    key_type,
    key_value,
    min(record) as centre
  from {{ ref('int_match_keys') }}
  where side = 'enriched'
  group by key_type, key_value
)

select distinct
  k.record as node_a,
  s.centre as node_b
from {{ ref('int_match_keys') }} as k
inner join stars as s on k.key_type = s.key_type and k.key_value = s.key_value
where k.side = 'enriched'
