{{ config(materialized='in_parts', over='entities', in_files=true, finer='disputes') }}
{%- set plan = merge_plan() %}
-- the candidates for columns in which the texts of an entity's rows differ
with differing as (
  select
    r._merge_entity,
    r._merge_ord,
    r._merge_vendor
    {%- for v in plan.vendor %}
    {%- set value = 'r.' ~ sql_name(v.column) %},
    case when g._merge_differs_{{ v.index }} then {{ value }} end as value_{{ v.index }},
    {{ 'r.' ~ sql_name('_merge_form_' ~ v.column) if v.key_type else landed_form(v, 's') }} as form_{{ v.index }},
    cast({{ 'null' if own_fold(v) else 'r.' ~ rank_column(v) }} as decimal(38, 0)) as rank_{{ v.index }},
    coalesce(g.{{ sql_name('_merge_ord_' ~ v.column) }} = r._merge_ord, false) as won_{{ v.index }}
    {%- endfor %}
  from {{ ref('int_ranked') }} as r
  inner join {{ ref('int_golden') }} as g on r._merge_entity = g._merge_entity
  inner join {{ ref('int_linked') }} as l on r._merge_entity = l.entity and l.is_first_of_entity
  {{ with_landed_forms('s', 'r._merge_ord') }}
  where
    {{ part_of('r._merge_entity') }} and {{ part_of('g._merge_entity') }} and {{ part_of('l.entity') }}
    and ({% for v in plan.vendor %}{{ 'or ' if not loop.first }}g._merge_differs_{{ v.index }} {% else %}1 = 0{% endfor %})
),

candidates as (
  select
    _merge_entity as entity,
    cast(substr(place, 2) as int) as column_number,
    _merge_ord as record,
    _merge_vendor as vendor_number,
    {{ form_or_landed('form', 'value') }} as form,
    value,
    candidate_rank,
    is_winner
  from differing unpivot include nulls (
    (form, candidate_rank, value, is_winner) for place in (
      {%- for v in plan.vendor %}
      (form_{{ v.index }}, rank_{{ v.index }}, value_{{ v.index }}, won_{{ v.index }}) as c{{ v.index }}{{ ',' if not loop.last }}
      {%- else %}(_merge_ord, _merge_ord, _merge_ord, _merge_ord) as c0
      {%- endfor %}
    )
  )
  where value is not null
),

-- what differs may still say the same
disputed as (
  select
    entity,
    column_number
  from candidates
  group by entity, column_number
  having min(form) <> max(form)
)

select c.*
from candidates as c
inner join disputed as d on c.entity = d.entity and c.column_number = d.column_number
