{%- set plan = merge_plan() %}
{%- set folded = [] %}
{%- set ranked = [] %}
{%- for v in plan.vendor %}
{%- if may_lack_a_value(v) %}{% do folded.append(v) %}{% else %}{% do ranked.append(v.index) %}{% endif %}
{%- endfor %}
with vendor_files as (
  select
    f.vendor_number,
    min(f.vendor) as vendor,
    sum(f.parsed_rows) as n_rows,
    sum(s.rows_with_key) as rows_with_key,
    sum(s.rows_matched) as rows_matched
  from {{ ref('stg_files') }} as f
  inner join {{ ref('file_summary') }} as s on f.file_order = s.file_order
  where f.role = 'enriched'
  group by f.vendor_number
),

vendor_columns as (
  select distinct
    f.vendor_number,
    c.column_number,
    c.column_name,
    c.result_position,
    c.key_type is not null as is_key
  from {{ ref('stg_columns') }} as c
  inner join {{ ref('stg_files') }} as f on c.file_order = f.file_order
  where f.role = 'enriched'
),

-- what the vendors' rows hold
counted as (
  select
    _merge_vendor as vendor_number
    {%- for v in plan.vendor %},
    count({{ sql_name(v.column) }}) as filled_{{ v.index }}
    {%- endfor %},
    cast(0 as bigint) as filled_0
  from {{ ref('stg_enriched') }}
  group by _merge_vendor
),

held as (
  select
    vendor_number,
    cast(substr(place, 8) as int) as column_number,
    filled_cells
  from counted unpivot (filled_cells for place in ({% for v in plan.vendor %}filled_{{ v.index }}, {% endfor %}filled_0))
),

valid as (
  select
    f.vendor_number,
    k.column_number,
    sum(k.valid_keys) as valid_keys
  from (
    {%- for cells in plan.cells %}
    select
      {{ file_of('record') }} as file_order,
      column_number,
      count(*) as valid_keys
    from {{ rows_of_keys(plan, cells.name) }}
    where has_key and column_number is not null
    group by {{ file_of('record') }}, column_number
    {{ 'union all' if not loop.last }}
    {%- else %}
    select 0 as file_order, 0 as column_number, 0 as valid_keys
    {%- endfor %}
  ) as k
  inner join {{ ref('stg_files') }} as f on k.file_order = f.file_order
  group by f.vendor_number, k.column_number
),

compared as (
  select
    vendor_number,
    column_number,
    sum(compared_with_vendors) as compared_with_vendors,
    sum(compared_with_original) as compared_with_original,
    sum(agreed_with_original) as agreed_with_original
  from {{ ref('int_vendor_agreement') }}
  group by vendor_number, column_number
),

disputes as (
  select
    vendor_number,
    column_number,
    sum(conflicts) as conflicts,
    sum(conflicts_won) as conflicts_won,
    sum(conflicts_lost) as conflicts_lost,
    sum(disputed) as disputed,
    sum(agreed) as agreed
  from {{ ref('int_vendor_disputes') }}
  group by vendor_number, column_number
),

given as (
  select
    f.vendor_number,
    g.column_number,
    sum(g.cells_given) as cells_given,
    sum(g.exclusive_fills) as exclusive_fills
  from {{ ref('int_vendor_fills') }} as g
  inner join {{ ref('stg_files') }} as f on g.file_order = f.file_order
  group by f.vendor_number, g.column_number
),

missed as (
  select
    vendor_number
    {%- for v in folded %},
    sum(lost_{{ v.index }}) as lost_{{ v.index }}
    {%- endfor %},
    cast(0 as bigint) as lost_0
  from {{ ref('int_without_vendor') }}
  group by vendor_number
),

lifted as (
  select
    vendor_number,
    cast(substr(place, 6) as int) as column_number,
    lift_cells
  from missed unpivot (lift_cells for place in ({% for v in folded %}lost_{{ v.index }}, {% endfor %}lost_0))
),

original_rows as (
  select count(*) as n_original
  from {{ ref('stg_original') }}
),

prices as (
  {%- for vendor in plan.vendors %}
  select
    {{ loop.index }} as vendor_number,
    cast({{ vendor.price if 'price' in vendor else 'null' }} as double) as price
  {{ 'union all' if not loop.last }}
  {%- else %}
  select
    0 as vendor_number,
    cast(null as double) as price
  {%- endfor %}
),

by_column as (
  select
    c.vendor_number,
    c.column_name,
    c.result_position,
    1 as n_columns,
    case when c.is_key then coalesce(k.valid_keys, 0) end as valid_keys,
    coalesce(h.filled_cells, 0) as filled_cells,
    coalesce(g.cells_given, 0) as cells_given,
    coalesce(g.exclusive_fills, 0) as exclusive_fills,
    coalesce(v.compared_with_vendors, 0) as compared_with_vendors,
    -- what is beside another vendor's and not in dispute is agreed on, and of a dispute what another vendor says as well
    coalesce(v.compared_with_vendors, 0) - coalesce(d.disputed, 0) + coalesce(d.agreed, 0) as agreed_with_vendors,
    coalesce(v.compared_with_original, 0) as compared_with_original,
    coalesce(v.agreed_with_original, 0) as agreed_with_original,
    coalesce(d.conflicts, 0) as conflicts,
    coalesce(d.conflicts_won, 0) as conflicts_won,
    coalesce(d.conflicts_lost, 0) as conflicts_lost,
    coalesce(case when c.column_number in ({{ (ranked or [0]) | join(', ') }}) then g.exclusive_fills else l.lift_cells end, 0) as lift_cells
  from vendor_columns as c
  left join held as h on c.vendor_number = h.vendor_number and c.column_number = h.column_number
  left join given as g on c.vendor_number = g.vendor_number and c.column_number = g.column_number
  left join valid as k on c.vendor_number = k.vendor_number and c.column_number = k.column_number
  left join compared as v on c.vendor_number = v.vendor_number and c.column_number = v.column_number
  left join disputes as d on c.vendor_number = d.vendor_number and c.column_number = d.column_number
  left join lifted as l on c.vendor_number = l.vendor_number and c.column_number = l.column_number
),

with_totals as (
  select
    *,
    false as is_total
  from by_column
  union all
  select
    vendor_number,
    '(all)' as column_name,
    0 as result_position,
    count(*) as n_columns,
    cast(null as bigint) as valid_keys,
    {%- for figure in ['filled_cells', 'cells_given', 'exclusive_fills', 'compared_with_vendors', 'agreed_with_vendors', 'compared_with_original', 'agreed_with_original', 'conflicts', 'conflicts_won', 'conflicts_lost', 'lift_cells'] %}
    sum({{ figure }}) as {{ figure }},
    {%- endfor %}
    true as is_total
  from by_column
  group by vendor_number
)

select
  f.vendor,
  t.column_name,
  cast(f.n_rows as bigint) as n_rows,
  cast(f.rows_with_key as bigint) as rows_with_key,
  cast(f.rows_matched as bigint) as rows_matched,
  f.rows_matched / nullif(f.n_rows, 0) as match_rate,
  cast(t.valid_keys as bigint) as valid_keys,
  cast(t.filled_cells as bigint) as filled_cells,
  t.filled_cells / nullif(f.n_rows * t.n_columns, 0) as fill_rate,
  {%- for figure in ['cells_given', 'exclusive_fills', 'compared_with_vendors', 'agreed_with_vendors'] %}
  cast(t.{{ figure }} as bigint) as {{ figure }},
  {%- endfor %}
  t.agreed_with_vendors / nullif(t.compared_with_vendors, 0) as agreement_with_vendors,
  cast(t.compared_with_original as bigint) as compared_with_original,
  cast(t.agreed_with_original as bigint) as agreed_with_original,
  t.agreed_with_original / nullif(t.compared_with_original, 0) as agreement_with_original,
  {%- for figure in ['conflicts', 'conflicts_won', 'conflicts_lost', 'lift_cells'] %}
  cast(t.{{ figure }} as bigint) as {{ figure }},
  {%- endfor %}
  t.lift_cells / nullif(n.n_original * t.n_columns, 0) as lift,
  case when t.is_total then p.price end as price,
  case when t.is_total then p.price / nullif(t.exclusive_fills, 0) end as cost_per_exclusive_fill
from with_totals as t
inner join vendor_files as f on t.vendor_number = f.vendor_number
inner join prices as p on t.vendor_number = p.vendor_number
cross join original_rows as n
order by t.vendor_number, t.result_position
