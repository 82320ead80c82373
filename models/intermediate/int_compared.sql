{{ config(materialized='in_parts', over='records', into='entities', into_key='entity', lazy=true) }}
-- depends_on: {{ ref('int_matches') }}
{%- set plan = merge_plan() %}
with linked as (
  select distinct entity
  from {{ ref('int_matches') }}
  where n_records > 1 or n_entities > 1
)

select
  e.entity,
  s.record,
  s.vendor_number
  {%- for v in plan.vendor %},
  s.form_{{ v.index }}
  {%- endfor %}
from {{ ref('stg_forms') }} as s
inner join {{ ref('int_entities') }} as e on s.record = e.record
inner join linked as l on e.entity = l.entity
where {{ within('records', 's.record') }} and {{ within('records', 'e.record') }}
