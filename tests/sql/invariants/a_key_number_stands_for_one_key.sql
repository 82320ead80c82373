{#- Keys are grouped and joined by a number of 63 bits. Another hash of the values tells two that have the same. -#}
select
  tier,
  key_number,
  min(record) as one_record,
  max(record) as another_record
from {{ ref('int_keys') }}
group by tier, key_number
having min({{ quick_number("key_value") }}) <> max({{ quick_number("key_value") }})
