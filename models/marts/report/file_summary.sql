-- depends_on: {{ ref('stg_enriched') }}
{%- set plan = merge_plan() %}
{%- set timestamps = [] %}
{%- for v in plan.vendor if not v.group and v.strategy.argument %}{% do timestamps.append(v.strategy.argument) %}{% endfor %}
{%- for group in plan.groups if group.strategy.argument %}{% do timestamps.append(group.strategy.argument) %}{% endfor %}
with given_by_file as (
  select
    file_order,
    cast(sum(cells_given) as bigint) as cells_given
  from {{ ref('int_vendor_fills') }}
  group by file_order
),

keyed as (
  select
    cast(floor(record / 4294967296) as int) as file_order,
    count(distinct record) as rows_with_key
  from {{ ref('int_match_keys') }}
  where side = 'enriched'
  group by cast(floor(record / 4294967296) as int)
  union all
  select
    0 as file_order,
    count(distinct record) as rows_with_key
  from {{ ref('int_match_keys') }}
  where side = 'original'
),

matched as (
  select
    cast(floor(e.record / 4294967296) as int) as file_order,
    count(*) as rows_matched
  from {{ ref('int_entities') }} as e
  where e.entity in (select m.entity from {{ ref('int_matches') }} as m)
  group by cast(floor(e.record / 4294967296) as int)
  union all
  select
    0 as file_order,
    count(distinct original_row) as rows_matched
  from {{ ref('int_matches') }}
),

unparsed as (
  {%- for column in timestamps | unique %}
  select
    _merge_file as file_order,
    count(*) as unparsed_timestamps
  from {{ ref('stg_enriched') }}
  where {{ sql_name(column) }} is not null and ({{ moment(sql_name(column)) }}) is null
  group by _merge_file
  {{ 'union all' if not loop.last }}
  {%- else %}
  select 0 as file_order, 0 as unparsed_timestamps from {{ ref('stg_files') }} where 1 = 0
  {%- endfor %}
),

unparsed_by_file as (
  select
    file_order,
    sum(unparsed_timestamps) as unparsed_timestamps
  from unparsed
  group by file_order
)

select
  f.file_order,
  f.source,
  f.role,
  f.physical_rows,
  f.rejected_rows,
  coalesce(k.rows_with_key, 0) as rows_with_key,
  coalesce(m.rows_matched, 0) as rows_matched,
  coalesce(m.rows_matched, 0) / nullif(f.parsed_rows, 0) as match_rate,
  coalesce(g.cells_given, 0) as cells_given,
  coalesce(u.unparsed_timestamps, 0) as unparsed_timestamps
from {{ ref('stg_files') }} as f
left join keyed as k on f.file_order = k.file_order
left join matched as m on f.file_order = m.file_order
left join given_by_file as g on f.file_order = g.file_order
left join unparsed_by_file as u on f.file_order = u.file_order
order by f.file_order
