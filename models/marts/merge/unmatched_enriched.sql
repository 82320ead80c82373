-- depends_on: {{ ref('int_matches') }}
{{ config(materialized='in_parts', over='newcomers', in_files=true) }}
{%- set plan = merge_plan() %}
with names as (
  select distinct
    vendor_number,
    vendor
  from {{ ref('stg_files') }}
),

-- texts are joined only where there are several: an aggregate of texts can not spill
several as (
  select distinct
    c._merge_entity as entity,
    f.vendor_number
  from {{ ref('int_newcomers') }} as c
  inner join {{ ref('int_entities') }} as e on c._merge_entity = e.entity
  inner join {{ ref('stg_files') }} as f on {{ file_of('e.record') }} = f.file_order
  where c._merge_first_vendor <> c._merge_last_vendor and {{ within('newcomers', 'c._merge_entity') }} and {{ within('newcomers', 'e.entity') }}
),

together as (
  select
    s.entity,
    {{ join_in_order('v.vendor', sql_text('+'), 's.vendor_number') }} as enriched_by
  from several as s
  inner join names as v on s.vendor_number = v.vendor_number
  group by s.entity
),

-- no link, and yet a key in common with a CRM row: a guard or a person refused it
refused_values as (
  select distinct
    tier,
    key_value
  from {{ ref('int_refused_keys') }}
  where side = 'original'
),

related as (
  select distinct e.entity
  from {{ ref('int_refused_keys') }} as r
  inner join refused_values as o on r.tier = o.tier and r.key_value = o.key_value
  inner join {{ ref('int_entities') }} as e on r.record = e.record
  where r.side = 'enriched' and {{ within('newcomers', 'e.entity') }}
)

select
  c._merge_entity_id as entity_id,
  coalesce(t.enriched_by, v.vendor) as enriched_by,
  c._merge_n_records as n_enriched_rows,
  case when r.entity is not null then 'possibly_related' else 'unmatched' end as match_status
  {%- for h in plan.crm %}
  {%- for v in plan.vendor if v.header == h.header %},
  c.{{ sql_name(v.column) }} as {{ sql_name(h.header) }}
  {%- endfor %}
  {%- endfor %}
  {%- for v in plan.vendor if not v.header %},
  c.{{ sql_name(v.column) }}
  {%- endfor %}
from {{ ref('int_newcomers') }} as c
inner join names as v on c._merge_first_vendor = v.vendor_number
left join together as t on c._merge_entity = t.entity
left join related as r on c._merge_entity = r.entity
where {{ within('newcomers', 'c._merge_entity') }}
order by c._merge_entity
