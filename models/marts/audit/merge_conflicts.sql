-- depends_on: {{ ref('int_conflicts') }}
{{ config(materialized='in_parts', over='originals', in_files=true) }}
{%- set plan = merge_plan() %}
{%- set collected = [] %}
{%- for v in plan.vendor if own_fold(v) and v.strategy.name == 'collect' %}{% do collected.append(v.index) %}{% endfor %}
with columns as (
  select distinct
    column_number,
    column_name,
    strategy,
    result_position
  from {{ ref('stg_columns') }}
  where file_order > 0
),

by_row as (
  select
    d.*,
    {{ record_id(plan, 'o') }} as record_id,
    case d.column_number
      when 0 then cast(null as string)
      {%- for v in plan.vendor if v.header %}
      when {{ v.index }} then o.{{ sql_name(v.header) }}
      {%- endfor %}
    end as original_value,
    case d.column_number
      when 0 then cast(null as bigint)
      {%- for v in plan.vendor %}
      when {{ v.index }} then t._merge_record_{{ v.index }}
      {%- endfor %}
    end as taken_record
  from {{ ref('int_disputed_rows') }} as d
  inner join {{ ref('stg_original') }} as o on d.original_row = o._merge_row
  inner join {{ ref('int_result') }} as t on d.original_row = t._merge_original_row
  where {{ within('originals', 'd.original_row') }} and {{ within('originals', 'o._merge_row') }} and {{ within('originals', 't._merge_original_row') }}
)

select
  r.original_row,
  r.record_id,
  r.entity_id,
  c.column_name,
  r.n_candidates,
  r.n_values,
  r.candidates,
  c.strategy,
  r.winner,
  fw.source as winner_source,
  {{ row_of('r.winner_record') }} as winner_row,
  r.runner_up,
  fr.source as runner_up_source,
  {{ row_of('r.runner_up_record') }} as runner_up_row,
  r.original_value,
  {%- if collected %}
  case
    when r.winner_form is null or r.original_form is null then null
    when r.column_number in ({{ collected | join(', ') }}) then not array_contains(r.collected_forms, r.original_form)
    else r.original_form <> r.winner_form
  end as original_disagrees,
  {%- else %}
  case when r.winner_form is not null then r.original_form <> r.winner_form end as original_disagrees,
  {%- endif %}
  coalesce(r.taken_record = r.winner_record, false) as is_used
from by_row as r
inner join columns as c on r.column_number = c.column_number
left join {{ ref('stg_files') }} as fw on {{ file_of('r.winner_record') }} = fw.file_order
left join {{ ref('stg_files') }} as fr on {{ file_of('r.runner_up_record') }} = fr.file_order
order by r.original_row, r.entity_rank, c.result_position
