{{ config(materialized='in_parts', over='newcomers', in_files=true) }}
{%- set plan = merge_plan() %}
with linked as (
  select distinct entity
  from {{ ref('int_matches') }}
),

newcomers as (
  select
    e.record,
    e.entity,
    f.vendor_number
  from {{ ref('int_entities') }} as e
  inner join {{ ref('stg_files') }} as f on {{ file_of('e.record') }} = f.file_order
  left join linked as l on e.entity = l.entity
  where l.entity is null and not e.is_quarantined
),

spans as (
  select
    entity,
    min(vendor_number) as first_vendor,
    max(vendor_number) as last_vendor
  from newcomers
  group by entity
),

names as (
  select distinct
    vendor_number,
    vendor
  from {{ ref('stg_files') }}
),

-- texts are joined only where there are several: an aggregate of texts can not spill
several as (
  select distinct
    n.entity,
    n.vendor_number
  from newcomers as n
  inner join spans as s on n.entity = s.entity and s.first_vendor <> s.last_vendor
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
  select distinct n.entity
  from newcomers as n
  inner join {{ ref('int_refused_keys') }} as r on n.record = r.record and r.side = 'enriched'
  inner join refused_values as o on r.tier = o.tier and r.key_value = o.key_value
)

select
  i.entity_id,
  coalesce(t.enriched_by, v.vendor) as enriched_by,
  e.n_records as n_enriched_rows,
  case when r.entity is not null then 'possibly_related' else 'unmatched' end as match_status
  {%- for h in plan.crm %}
  {%- for v in plan.vendor if v.header == h.header %},
  c.{{ sql_name(v.column) }} as {{ sql_name(h.header) }}
  {%- endfor %}
  {%- endfor %}
  {%- for v in plan.vendor if not v.header %},
  c.{{ sql_name(v.column) }}
  {%- endfor %}
from spans as s
inner join names as v on s.first_vendor = v.vendor_number
inner join {{ ref('int_entities') }} as e on s.entity = e.record
inner join {{ ref('int_entity_ids') }} as i on s.entity = i.entity
inner join {{ ref('int_newcomers') }} as c on s.entity = c._merge_entity
left join together as t on s.entity = t.entity
left join related as r on s.entity = r.entity
{%- if rows_are_large(plan) %}
where {{ within('newcomers', 's.entity') }} and {{ within('newcomers', 'c._merge_entity') }}
{%- endif %}
order by s.entity
