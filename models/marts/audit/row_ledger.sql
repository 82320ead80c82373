{{ config(materialized='in_parts', over='rows', in_files=true) }}
with duplicates as (
  select
    d.record,
    d.first_record
  from {{ ref('int_row_digests') }} as d
  inner join {{ ref('int_row_digests') }} as o on d.first_record = o.record
  where {{ within('rows', 'd.record') }} and d.record > d.first_record and d.digest = o.digest
),

fates as (
  select *
  from {{ ref('int_fates') }}
  where {{ within('rows', 'record') }}
),

vendor_rows as (
  select
    {{ file_of('e.record') }} as file_order,
    {{ row_of('e.record') }} as source_row,
    case
      when e.is_quarantined then 'quarantined'
      when d.record is not null then 'duplicate'
      when e.is_linked then 'used'
      else 'unmatched'
    end as bucket,
    case when not e.is_quarantined then e.entity_id end as entity_id,
    case
      when not e.is_quarantined and d.record is not null
        then concat('the same as row ', cast({{ row_of('d.first_record') }} as string))
    end as detail
  from fates as e
  left join duplicates as d on e.record = d.record
  union all
  select
    s._merge_file as file_order,
    s._merge_row as source_row,
    'no_valid_key' as bucket,
    cast(null as string) as entity_id,
    cast(null as string) as detail
  from {{ ref('stg_enriched') }} as s
  left join fates as e on s._merge_ord = e.record
  where {{ within('rows', 's._merge_ord') }} and e.record is null
),

has_key as (
  select distinct record
  from {{ ref('int_match_keys') }}
  where side = 'original' and {{ within('rows', 'record') }}
),

original_rows as (
  select
    _merge_original_row as source_row,
    'matched' as bucket,
    _merge_entity_id as entity_id
  from {{ ref('int_enriched_consolidated') }}
  where _merge_entity_rank = 1 and {{ within('rows', '_merge_original_row') }}
  union all
  select
    o._merge_row as source_row,
    case when k.record is null then 'no_valid_key' else 'unmatched' end as bucket,
    cast(null as string) as entity_id
  from {{ ref('stg_original') }} as o
  left join {{ ref('int_matches') }} as m on o._merge_row = m.original_row and m.entity_rank = 1 and {{ within('rows', 'm.original_row') }}
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
