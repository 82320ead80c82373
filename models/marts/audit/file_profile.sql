{%- set plan = merge_plan() %}
-- keyed: the rows of each file with a valid key, per key that the file has a column for
with keyed as (
  select
    case when side = 'original' then 0 else cast(floor(record / 4294967296) as int) end as file_order,
    tier,
    count(distinct record) as rows_with_key
  from {{ ref('int_match_keys') }}
  group by case when side = 'original' then 0 else cast(floor(record / 4294967296) as int) end, tier
),

labels as (
  {%- for tier in plan.tiers %}
  select {{ tier.tier }} as tier, {{ sql_text(tojson(tier.label)) }} as label
  {{ 'union all' if not loop.last }}
  {%- else %}
  select 0 as tier, '' as label from keyed where 1 = 0
  {%- endfor %}
),

usable as (
  select
    f.file_order,
    l.tier,
    l.label
  from (select file_order, {{ exploded('tiers') }} as tier from {{ parquet_rows(landed_table(plan.directory, 'files')) }}) as f
  inner join labels as l on f.tier = l.tier
),

-- in ten-thousandths, as a whole number: engines round and write fractions each in its way
measured as (
  select
    u.file_order,
    u.tier,
    u.label,
    cast(floor(coalesce(cast(coalesce(k.rows_with_key, 0) as double) * 10000 / nullif(f.parsed_rows, 0), 0) + 0.5) as bigint) as share
  from usable as u
  inner join {{ ref('stg_files') }} as f on u.file_order = f.file_order
  left join keyed as k on u.file_order = k.file_order and u.tier = k.tier
),

shares as (
  select
    file_order,
    tier,
    concat(label, ': ', cast(cast(floor(share / 10000) as bigint) as string), '.', lpad(cast(share % 10000 as string), 4, '0')) as share
  from measured
),

valid_keys as (
  select
    file_order,
    concat('{', {{ join_in_order('share', sql_text(', '), 'tier') }}, '}') as valid_keys
  from shares
  group by file_order
),

column_maps as (
  select
    file_order,
    column_map
  from {{ parquet_rows(landed_table(plan.directory, 'files')) }}
)

select
  f.file_order,
  f.source,
  f.role,
  f.path,
  f.format,
  f.compression,
  f.encoding,
  f.delimiter,
  f.quote,
  f.escape,
  f.line_ends,
  f.header_line,
  f.header,
  m.column_map,
  coalesce(v.valid_keys, '{}') as valid_keys,
  f.physical_rows,
  f.parsed_rows,
  f.rejected_rows,
  f.bytes,
  f.sha256,
  f.notes
from {{ ref('stg_files') }} as f
inner join column_maps as m on f.file_order = m.file_order
left join valid_keys as v on f.file_order = v.file_order
order by f.file_order
