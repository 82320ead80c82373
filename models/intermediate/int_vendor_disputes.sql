{{ config(materialized='in_parts', over='disputes') }}
{%- set plan = merge_plan() %}
{%- set folded = [] %}
{%- set collected = [] %}
{%- for v in plan.vendor %}
{%- if may_lack_a_value(v) %}{% do folded.append(v) %}{% endif %}
{%- if own_fold(v) and v.strategy.name == 'collect' %}{% do collected.append(v.index) %}{% endif %}
{%- endfor %}
with candidates as (
  select
    entity,
    column_number,
    record,
    vendor_number,
    form
  from {{ ref('int_conflicts') }}
  where {{ part_of('entity', 'disputes') }}
),

-- where vendors of an entity disagree, some of them may still agree
several_vendors as (
  select
    entity,
    column_number
  from candidates
  group by entity, column_number
  having min(vendor_number) <> max(vendor_number)
),

shared_forms as (
  select
    entity,
    column_number,
    form
  from candidates
  group by entity, column_number, form
  having min(vendor_number) <> max(vendor_number)
),

beside_vendors as (
  select
    c.vendor_number,
    c.column_number,
    count(*) as disputed,
    count(f.form) as agreed
  from candidates as c
  inner join several_vendors as s on c.entity = s.entity and c.column_number = s.column_number
  left join shared_forms as f on c.entity = f.entity and c.column_number = f.column_number and c.form = f.form
  group by c.vendor_number, c.column_number
),

-- each dispute once per vendor that takes part
parties as (
  select
    c.entity,
    c.column_number,
    c.vendor_number,
    max(case when w.winner_form is null then null when c.form = w.winner_form{{ ' or c.column_number in (' ~ collected | join(', ') ~ ')' if collected }} then 1 else 0 end) as has_won
  from candidates as c
  inner join {{ ref('int_disputes') }} as w on c.entity = w.entity and c.column_number = w.column_number
  where {{ part_of('w.entity', 'disputes') }}
  group by c.entity, c.column_number, c.vendor_number
),

-- of a field group that survives whole the winner may be blank here: then all have lost
outcomes as (
  select
    vendor_number,
    column_number,
    count(*) as conflicts,
    count_if(has_won = 1) as conflicts_won,
    count_if(has_won = 0{% if folded %} or (has_won is null and column_number in ({% for v in folded if v.group %}{{ v.index }}, {% endfor %}0)){% endif %}) as conflicts_lost
  from parties
  group by vendor_number, column_number
)

select
  o.vendor_number,
  o.column_number,
  o.conflicts,
  o.conflicts_won,
  o.conflicts_lost,
  coalesce(b.disputed, 0) as disputed,
  coalesce(b.agreed, 0) as agreed
from outcomes as o
left join beside_vendors as b on o.vendor_number = b.vendor_number and o.column_number = b.column_number
