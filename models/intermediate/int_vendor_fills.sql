-- depends_on: {{ ref('int_enriched_consolidated') }}
{{ config(materialized='in_parts', over='originals') }}
{%- set plan = merge_plan() %}
-- which vendors a CRM row has a value from, where it is not only one
with reach as (
  select
    original_row
    {%- for v in plan.vendor %},
    min(first_vendor_{{ v.index }}) as first_vendor_{{ v.index }},
    max(last_vendor_{{ v.index }}) as last_vendor_{{ v.index }}
    {%- endfor %}
  from {{ ref('int_reach') }}
  where {{ within('originals', 'original_row') }}
  group by original_row
)

select
  f.vendor_number,
  p.column_number,
  count(*) as cells_given,
  count_if(not coalesce(case p.column_number
    when 0 then false
    {%- for v in plan.vendor %}
    when {{ v.index }} then r.first_vendor_{{ v.index }} <> r.last_vendor_{{ v.index }}
    {%- endfor %}
  end, false)) as exclusive_fills
from {{ ref('int_cells') }} as p
inner join {{ ref('stg_files') }} as f on {{ file_of('p.record') }} = f.file_order
left join reach as r on p.original_row = r.original_row
where {{ within('originals', 'p.original_row') }}
group by f.vendor_number, p.column_number
