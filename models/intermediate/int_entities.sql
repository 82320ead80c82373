with sizes as (
  select
    component,
    count(*) as n_records
  from {{ ref('int_components') }}
  group by component
)

select
  c.node as record,
  c.component as entity,
  s.n_records,
  c.level,
  c.is_quarantined
from {{ ref('int_components') }} as c
inner join sizes as s on c.component = s.component
order by c.node
