{{ config(materialized='in_parts', over='rows', in_files=true) }}
{%- set plan = merge_plan() %}
with duplicates as (
  select
    s._merge_ord as record,
    f.first_record
  from {{ ref('stg_enriched') }} as s
  inner join {{ ref('int_repeated_rows') }} as f on s._merge_file = f._merge_file and s._merge_fingerprint = f._merge_fingerprint
  inner join {{ ref('stg_enriched') }} as o on f.first_record = o._merge_ord
  where
    {{ within('rows', 's._merge_ord') }}
    and s._merge_ord > f.first_record
    {%- for v in plan.vendor %}
    and s.{{ sql_name(v.column) }} is not distinct from o.{{ sql_name(v.column) }}
    {%- endfor %}
),

linked as (
  select distinct entity
  from {{ ref('int_matches') }}
),

vendor_rows as (
  select
    {{ file_of('e.record') }} as file_order,
    {{ row_of('e.record') }} as source_row,
    case
      when e.is_quarantined then 'quarantined'
      when d.record is not null then 'duplicate'
      when l.entity is not null then 'used'
      else 'unmatched'
    end as bucket,
    case when not e.is_quarantined then i.entity_id end as entity_id,
    case
      when not e.is_quarantined and d.record is not null
        then concat('the same as row ', cast({{ row_of('d.first_record') }} as string))
    end as detail
  from {{ ref('int_entities') }} as e
  inner join {{ ref('int_entity_ids') }} as i on e.entity = i.entity
  left join duplicates as d on e.record = d.record
  left join linked as l on e.entity = l.entity
  where {{ within('rows', 'e.record') }}
  union all
  select
    s._merge_file as file_order,
    s._merge_row as source_row,
    'no_valid_key' as bucket,
    cast(null as string) as entity_id,
    cast(null as string) as detail
  from {{ ref('stg_enriched') }} as s
  left join {{ ref('int_entities') }} as e on s._merge_ord = e.record and {{ within('rows', 'e.record') }}
  where {{ within('rows', 's._merge_ord') }} and e.record is null
),

has_key as (
  select distinct record
  from {{ ref('int_match_keys') }}
  where side = 'original' and {{ within('rows', 'record') }}
),

original_rows as (
  select
    m.original_row as source_row,
    'matched' as bucket,
    e.entity_id
  from {{ ref('int_matches') }} as m
  inner join {{ ref('int_entity_ids') }} as e on m.entity = e.entity
  where m.entity_rank = 1 and {{ within('rows', 'm.original_row') }}
  union all
  select
    o._merge_row as source_row,
    case when k.record is null then 'no_valid_key' else 'unmatched' end as bucket,
    cast(null as string) as entity_id
  from {{ ref('stg_original') }} as o
  left join {{ ref('int_matches') }} as m on o._merge_row = m.original_row and m.entity_rank = 1
  left join has_key as k on o._merge_row = k.record
  where {{ within('rows', 'o._merge_row') }} and m.original_row is null
),

every_row as (
  select
    0 as file_order,
    source_row,
    bucket,
    entity_id,
    cast(null as string) as detail
  from original_rows
  union all
  select
    file_order,
    source_row,
    bucket,
    entity_id,
    detail
  from vendor_rows
  union all
  select
    file_order,
    source_row,
    'rejected' as bucket,
    cast(null as string) as entity_id,
    reason as detail
  from {{ ref('stg_rejects') }}
  where {{ within('rows', '(file_order * 4294967296 + source_row)') }}
)

select
  f.source,
  r.source_row,
  r.bucket,
  r.entity_id,
  r.detail
from every_row as r
inner join {{ ref('stg_files') }} as f on r.file_order = f.file_order
