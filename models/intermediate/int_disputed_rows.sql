-- depends_on: {{ ref('int_conflicts') }}
{{ config(materialized='in_parts', over='disputes', in_files=true) }}
{%- set plan = merge_plan() %}
{%- set collected = [] %}
{%- for v in plan.vendor if own_fold(v) and v.strategy.name == 'collect' %}{% do collected.append(v.index) %}{% endfor %}
{%- if collected %}
-- what is collected agrees with each of its values
with collected as (
  select
    entity,
    column_number,
    array_sort(array_agg(distinct form)) as forms
  from {{ ref('int_conflicts') }}
  where column_number in ({{ collected | join(', ') }}) and {{ part_of('entity', 'disputes') }}
  group by entity, column_number
)

{% endif -%}
select
  m.original_row,
  m.entity_rank,
  g._merge_entity_id as entity_id,
  d.column_number,
  d.n_candidates,
  d.n_values,
  d.candidates,
  d.winner_record,
  d.winner_form,
  d.winner,
  d.runner_up_record,
  d.runner_up,
  case d.column_number
    when 0 then cast(null as bigint)
    {%- for v in plan.vendor if v.header %}
    when {{ v.index }} then m.form_{{ v.index }}
    {%- endfor %}
  end as original_form
  {%- if collected %},
  h.forms as collected_forms
  {%- endif %}
from {{ ref('int_disputes') }} as d
inner join {{ ref('int_linked') }} as m on d.entity = m.entity
inner join {{ ref('int_golden') }} as g on d.entity = g._merge_entity
{%- if collected %}
left join collected as h on d.entity = h.entity and d.column_number = h.column_number
{%- endif %}
where {{ part_of('d.entity', 'disputes') }} and {{ part_of('m.entity', 'disputes') }} and {{ part_of('g._merge_entity', 'disputes') }}
-- merge_conflicts is made slice by slice, and each slice skips what it does not need
order by m.original_row
