{{ config(materialized='in_parts', over='records', in_files=true) }}
{%- set plan = merge_plan() %}
with repeated as (
  select
    s._merge_ord as record,
    f.first_record,
    {{ cells_in_one('s', plan.vendor) }} as cells
  from {{ ref('stg_enriched') }} as s
  inner join {{ ref('int_repeated_rows') }} as f on s._merge_file = f._merge_file and s._merge_fingerprint = f._merge_fingerprint
  where {{ within('records', 's._merge_ord') }}
)

select
  record,
  first_record,
  {{ hash_number('cells') }} as digest
from repeated
order by record
