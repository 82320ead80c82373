{%- set plan = merge_plan() %}
{%- set folded = [] %}
{%- set collected = [] %}
{%- set ranked = [] %}
{%- for v in plan.vendor %}
{%- if may_lack_a_value(v) %}{% do folded.append(v) %}{% else %}{% do ranked.append(v.index) %}{% endif %}
{%- if own_fold(v) and v.strategy.name == 'collect' %}{% do collected.append(v.index) %}{% endif %}
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
    vendor_number
    {%- for v in plan.vendor %},
    count(form_{{ v.index }}) as filled_{{ v.index }},
    {{ 'count_if(has_key_' ~ v.index ~ ')' if v.key_type else 'cast(0 as bigint)' }} as keys_{{ v.index }}
    {%- endfor %}
  from {{ ref('stg_forms') }}
  where vendor_number > 0
  group by vendor_number
),

held as (
  select
    vendor_number,
    cast(substr(place, 2) as int) as column_number,
    filled_cells,
    valid_keys
  from counted unpivot include nulls (
    (filled_cells, valid_keys) for place in (
      {%- for v in plan.vendor %}
      (filled_{{ v.index }}, keys_{{ v.index }}) as c{{ v.index }}{{ ',' if not loop.last }}
      {%- else %}(vendor_number, vendor_number) as c0
      {%- endfor %}
    )
  )
),

beside_vendors as (
  select
    vendor_number,
    column_number,
    sum(compared) as compared,
    sum(agreed) as agreed
  from {{ ref('int_vendor_agreement') }}
  group by vendor_number, column_number
),

-- where vendors of an entity disagree, some of them may still agree
shared_forms as (
  select
    entity,
    column_number,
    form
  from {{ ref('int_conflicts') }}
  group by entity, column_number, form
  having min(vendor_number) <> max(vendor_number)
),

partly_agreed as (
  select
    c.vendor_number,
    c.column_number,
    count(*) as agreed
  from {{ ref('int_conflicts') }} as c
  inner join shared_forms as f on c.entity = f.entity and c.column_number = f.column_number and c.form = f.form
  group by c.vendor_number, c.column_number
),

beside_crm as (
  select
    s.vendor_number
    {%- for v in plan.vendor if v.header %}
    {%- set form = 'form_' ~ v.index %},
    count_if(s.{{ form }} is not null and o.{{ form }} is not null) as compared_{{ v.index }},
    count_if(s.{{ form }} = o.{{ form }}) as agreed_{{ v.index }}
    {%- endfor %},
    count_if(1 = 0) as nothing
  from {{ ref('int_matches') }} as m
  inner join {{ ref('int_entities') }} as e on m.entity = e.entity
  inner join {{ ref('stg_forms') }} as s on e.record = s.record
  inner join {{ ref('stg_forms') }} as o on m.original_row = o.record
  group by s.vendor_number
),

beside_original as (
  select
    vendor_number,
    cast(substr(place, 2) as int) as column_number,
    compared,
    agreed
  from beside_crm unpivot include nulls (
    (compared, agreed) for place in (
      {%- for v in plan.vendor if v.header %}
      (compared_{{ v.index }}, agreed_{{ v.index }}) as c{{ v.index }},
      {%- endfor %}
      (nothing, nothing) as c0
    )
  )
),

-- disputes, each counted once per vendor that takes part
parties as (
  select
    c.entity,
    c.column_number,
    c.vendor_number,
    max(case when w.winner_form is null then null when c.form = w.winner_form{{ ' or c.column_number in (' ~ collected | join(', ') ~ ')' if collected }} then 1 else 0 end) as has_won
  from {{ ref('int_conflicts') }} as c
  inner join {{ ref('int_disputes') }} as w on c.entity = w.entity and c.column_number = w.column_number
  group by c.entity, c.column_number, c.vendor_number
),

-- of a field group that survives whole the winner may be blank here: then all have lost
disputes as (
  select
    vendor_number,
    column_number,
    count(*) as conflicts,
    count_if(has_won = 1) as conflicts_won,
    count_if(has_won = 0{% if folded %} or (has_won is null and column_number in ({% for v in folded if v.group %}{{ v.index }}, {% endfor %}0)){% endif %}) as conflicts_lost
  from parties
  group by vendor_number, column_number
),

given as (
  select
    vendor_number,
    column_number,
    sum(cells_given) as cells_given,
    sum(exclusive_fills) as exclusive_fills
  from {{ ref('int_vendor_fills') }}
  group by vendor_number, column_number
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
    case when c.is_key then coalesce(h.valid_keys, 0) end as valid_keys,
    coalesce(h.filled_cells, 0) as filled_cells,
    coalesce(g.cells_given, 0) as cells_given,
    coalesce(g.exclusive_fills, 0) as exclusive_fills,
    coalesce(v.compared, 0) as compared_with_vendors,
    coalesce(v.agreed, 0) + coalesce(p.agreed, 0) as agreed_with_vendors,
    coalesce(o.compared, 0) as compared_with_original,
    coalesce(o.agreed, 0) as agreed_with_original,
    coalesce(d.conflicts, 0) as conflicts,
    coalesce(d.conflicts_won, 0) as conflicts_won,
    coalesce(d.conflicts_lost, 0) as conflicts_lost,
    coalesce(case when c.column_number in ({{ (ranked or [0]) | join(', ') }}) then g.exclusive_fills else l.lift_cells end, 0) as lift_cells
  from vendor_columns as c
  left join held as h on c.vendor_number = h.vendor_number and c.column_number = h.column_number
  left join given as g on c.vendor_number = g.vendor_number and c.column_number = g.column_number
  left join beside_vendors as v on c.vendor_number = v.vendor_number and c.column_number = v.column_number
  left join partly_agreed as p on c.vendor_number = p.vendor_number and c.column_number = p.column_number
  left join beside_original as o on c.vendor_number = o.vendor_number and c.column_number = o.column_number
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
