{{ config(materialized='in_parts', over='entities', in_files=true, finer='disputes') }}
{%- set plan = merge_plan() %}
with disputed as (
  select
    r._merge_entity,
    r._merge_ord,
    r._merge_vendor
    {%- for v in plan.vendor %},
    case when a.least_{{ v.index }} <> a.greatest_{{ v.index }} then s.form_{{ v.index }} end as form_{{ v.index }},
    cast({{ 'null' if own_fold(v) else 'r.' ~ rank_column(v) }} as decimal(38, 0)) as rank_{{ v.index }},
    r.{{ sql_name(v.column) }} as value_{{ v.index }},
    coalesce(c.{{ sql_name('_merge_ord_' ~ v.column) }} = r._merge_ord, false) as won_{{ v.index }}
    {%- endfor %}
  from {{ ref('int_ranked') }} as r
  inner join {{ ref('int_compared') }} as s on r._merge_ord = s.record
  inner join {{ ref('int_agreement') }} as a on r._merge_entity = a.entity
  inner join {{ ref('int_enriched_consolidated') }} as c on r._merge_entity = c._merge_entity and c._merge_is_first_of_entity
  where {{ part_of('r._merge_entity') }} and {{ part_of('s.entity') }} and {{ part_of('a.entity') }} and {{ part_of('c._merge_entity') }}
)

select
  _merge_entity as entity,
  cast(substr(place, 2) as int) as column_number,
  _merge_ord as record,
  _merge_vendor as vendor_number,
  form,
  value,
  candidate_rank,
  is_winner
from disputed unpivot include nulls (
  (form, candidate_rank, value, is_winner) for place in (
    {%- for v in plan.vendor %}
    (form_{{ v.index }}, rank_{{ v.index }}, value_{{ v.index }}, won_{{ v.index }}) as c{{ v.index }}{{ ',' if not loop.last }}
    {%- else %}(_merge_ord, _merge_ord, _merge_ord, _merge_ord) as c0
    {%- endfor %}
  )
)
where form is not null
