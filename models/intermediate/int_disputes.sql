{{ config(materialized='in_parts', over='disputes', in_files=true) }}
-- depends_on: {{ ref('int_golden') }}
{%- set plan = merge_plan() %}
{%- set smallest = [] %}
{%- set largest = [] %}
{%- for v in plan.vendor if not v.group %}
{%- if v.strategy.name == 'min' %}{% do smallest.append(v.index) %}{% elif v.strategy.name == 'max' %}{% do largest.append(v.index) %}{% endif %}
{%- endfor %}
{%- set shown = 5 %}
{%- set folded = [] %}
{%- for v in plan.vendor if own_fold(v) %}{% do folded.append(v) %}{% endfor %}
with candidates as (
  select *
  from {{ ref('int_conflicts') }}
  where {{ part_of('entity', 'disputes') }}
),

winners as (
  select
    entity,
    column_number,
    max(case when is_winner then record end) as record,
    max(case when is_winner then form end) as form
  from candidates
  group by entity, column_number
),

-- the candidates that say the same, by the best of them
forms as (
  select
    entity,
    column_number,
    form,
    count(*) as n_candidates,
    max(candidate_rank) as best_rank
  from candidates
  group by entity, column_number, form
),

measured as (
  select
    f.entity,
    f.column_number,
    cast(sum(f.n_candidates) as bigint) as n_candidates,
    count(*) as n_values,
    max(case when w.form is null or f.form <> w.form then f.best_rank end) as next_rank
  from forms as f
  inner join winners as w on f.entity = w.entity and f.column_number = w.column_number
  group by f.entity, f.column_number
),
{% if smallest or largest %}
-- under min and max it is the next value, not the next row
others as (
  select
    c.entity,
    c.column_number,
    c.value,
    c.record
  from candidates as c
  inner join winners as w on c.entity = w.entity and c.column_number = w.column_number
  where c.form <> w.form and c.column_number in ({{ (smallest + largest) | join(', ') }})
),

next_values as (
  select
    entity,
    column_number,
    case when column_number in ({{ smallest | join(', ') or '0' }}) then min(value) else max(value) end as value
  from others
  group by entity, column_number
),
{% endif %}
runners_up as (
  select
    c.entity,
    c.column_number,
    c.record
  from candidates as c
  inner join measured as m on c.entity = m.entity and c.column_number = m.column_number and c.candidate_rank = m.next_rank
  {%- if smallest or largest %}
  where c.column_number not in ({{ (smallest + largest) | join(', ') }})
  union all
  select
    o.entity,
    o.column_number,
    min(o.record) as record
  from others as o
  inner join next_values as n on o.entity = n.entity and o.column_number = n.column_number and o.value = n.value
  group by o.entity, o.column_number
  {%- endif %}
),

-- the values in dispute, each as its first candidate spells it
firsts as (
  select
    entity,
    column_number,
    form,
    min(record) as record
  from candidates
  group by entity, column_number, form
),

-- side by side by window, not by an aggregate of texts, which would have to fit in memory
spelt as (
  select
    v.entity,
    v.column_number,
    v.record,
    concat(v.value, ' (', f.source, ' row ', cast({{ row_of('v.record') }} as string), ')') as spelling
  from firsts as p
  inner join candidates as v on p.entity = v.entity and p.column_number = v.column_number and p.record = v.record
  inner join {{ ref('stg_files') }} as f on {{ file_of('v.record') }} = f.file_order
),

listed as (
  select
    entity,
    column_number,
    row_number() over (partition by entity, column_number order by record) as place,
    concat_ws(
      '; ',
      spelling
      {%- for next in range(1, shown) %},
      lead(spelling, {{ next }}) over (partition by entity, column_number order by record)
      {%- endfor %}
    ) as candidates
  from spelt
)

select
  m.entity,
  m.column_number,
  m.n_candidates,
  m.n_values,
  concat(l.candidates, case when m.n_values > {{ shown }} then concat('; and ', cast(m.n_values - {{ shown }} as string), ' more') else '' end) as candidates,
  w.record as winner_record,
  w.form as winner_form,
  {%- if folded %}
  case m.column_number
    {%- for v in folded %}
    when {{ v.index }} then g.{{ sql_name(v.column) }}
    {%- endfor %}
    else a.value
  end as winner,
  {%- else %}
  a.value as winner,
  {%- endif %}
  r.record as runner_up_record,
  b.value as runner_up
from measured as m
inner join winners as w on m.entity = w.entity and m.column_number = w.column_number
inner join listed as l on m.entity = l.entity and m.column_number = l.column_number and l.place = 1
{%- if folded %}
inner join {{ ref('int_golden') }} as g on m.entity = g._merge_entity
{%- endif %}
left join runners_up as r on m.entity = r.entity and m.column_number = r.column_number
left join candidates as a on w.entity = a.entity and w.column_number = a.column_number and w.record = a.record
left join candidates as b on r.entity = b.entity and r.column_number = b.column_number and r.record = b.record
