{{ config(materialized='in_parts', over='records', in_files=true) }}
{%- set plan = merge_plan() %}
select
  s._merge_ord as record,
  f.first_record,
  {{ digest_of_cells('s', plan.vendor) }} as digest
from {{ ref('stg_enriched') }} as s
inner join {{ ref('int_repeated_rows') }} as f on s._merge_file = f._merge_file and s._merge_fingerprint = f._merge_fingerprint
where {{ within('records', 's._merge_ord') }}
order by s._merge_ord
