{%- set plan = merge_plan() %}
-- an end given by its key means every row that has it; one given by file and row, that row
with keyed as (
  {%- for end_name in ['a', 'b'] %}
  select
    file,
    source_row,
    decision,
    '{{ end_name }}' as end_name,
    {{ end_name }}_key_type as key_type,
    {{ exploded(end_name ~ '_key_values') }} as key_value
  from {{ ref('stg_assertions') }}
  where {{ end_name }}_key_type is not null
  {{ 'union all' if not loop.last }}
  {%- endfor %}
),

by_row as (
  {%- for end_name in ['a', 'b'] %}
  select
    s.file,
    s.source_row,
    s.decision,
    '{{ end_name }}' as end_name,
    case when f.file_order = 0 then 'original' else 'enriched' end as side,
    f.file_order * 4294967296 + s.{{ end_name }}_row as record
  from {{ ref('stg_assertions') }} as s
  inner join {{ ref('stg_files') }} as f on s.{{ end_name }}_source = f.source
  where s.{{ end_name }}_key_type is null
  {{ 'union all' if not loop.last }}
  {%- endfor %}
),

all_rows as (
  select _merge_row as record from {{ ref('stg_original') }}
  union all
  select _merge_ord as record from {{ ref('stg_enriched') }}
),

ends as (
  select
    r.file,
    r.source_row,
    r.decision,
    r.end_name,
    r.side,
    r.record,
    0 as by_key
  from by_row as r
  inner join all_rows as a on r.record = a.record
  union all
  select distinct
    a.file,
    a.source_row,
    a.decision,
    a.end_name,
    k.side,
    k.record,
    1 as by_key
  from keyed as a
  inner join {{ ref('int_keys') }} as k on a.key_type = k.key_type and a.key_value = k.key_value and k.blocked_as is null
),

counted as (
  select
    *,
    min(end_name) over (partition by file, source_row) <> max(end_name) over (partition by file, source_row) as has_both_ends,
    sum(by_key) over (partition by file, source_row, record) as n_keys
  from ends
)

-- A row of the original that has the keys of both ends takes both entities: the decision is about those two.
select
  file,
  source_row,
  case when has_both_ends then decision else 'without_rows' end as decision,
  end_name,
  side,
  record
from counted
where not (decision = 'cannot_link' and side = 'original' and n_keys = 2)
