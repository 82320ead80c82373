{#- I8. Provenance closes: the cells of the result that are not the CRM's own are those of cell_provenance, with the value that stands in
    the result. Numbers stand for the values, and the beginnings of texts are shown: all of them whole would have to fit in memory. -#}
{%- set plan = merge_plan() %}
with originals as (
  select *
  from {{ ref('stg_original') }}
  where {{ within('originals', '_merge_row') }}
),

results as (
  select
    {{ position_of_stored('originals') }} as _merge_result_position,
    stored.*
  from {{ in_stored_order(ref('merged_result')) }} as stored
),

compared as (
  select
    o._merge_row
    {%- for v in plan.vendor %},
    r.{{ sql_name(v.name) }} as value_{{ v.index }},
    case
      when {{ 'r.' ~ sql_name(v.name) ~ ' is not null' if v.output else 'r.' ~ sql_name(v.name) ~ ' is distinct from o.' ~ sql_name(v.header) }}
        {#- under replace a matched row takes a blank as well, which comes from nowhere #}
        {%- if v.policy == 'replace' and not v.output %}
        and not (coalesce(r.{{ sql_name(v.name) }}, '') = '' and r.match_quality = 'matched')
        {%- endif %}
        then 1
    end as changed_{{ v.index }}
    {%- endfor %}
  from results as r
  inner join originals as o on r._merge_result_position = o._merge_position
),

numbered as (
  select
    _merge_row
    {%- for v in plan.vendor %},
    changed_{{ v.index }},
    case when changed_{{ v.index }} = 1 then {{ hash_number('value_' ~ v.index) }} end as number_{{ v.index }},
    case when changed_{{ v.index }} = 1 then substr(value_{{ v.index }}, 1, 200) end as begins_{{ v.index }}
    {%- endfor %}
  from compared
),

changed as (
  select
    _merge_row as original_row,
    cast(substr(place, 2) as int) as column_number,
    found_number,
    found
  from numbered unpivot include nulls (
    (found_number, found, is_changed) for place in (
      {%- for v in plan.vendor %}
      (number_{{ v.index }}, begins_{{ v.index }}, changed_{{ v.index }}) as c{{ v.index }}{{ ',' if not loop.last }}
      {%- else %}(_merge_row, _merge_row, _merge_row) as c0
      {%- endfor %}
    )
  )
  where is_changed = 1
),

told as (
  select
    original_row,
    column_number,
    record,
    {{ hash_number('new_value') }} as value_number
  from {{ ref('int_cells') }}
  where new_value is distinct from old_value
),

failures as (
  select
    coalesce(c.original_row, t.original_row) as original_row,
    coalesce(c.column_number, t.column_number) as column_number,
    t.record,
    c.found as result_value,
    case
      when t.original_row is null then 'a cell that is not the CRM''s and has no source'
      when c.original_row is null then 'a source of a cell that is the CRM''s own'
      else 'the source says another value'
    end as failure
  from changed as c
  full outer join told as t on c.original_row = t.original_row and c.column_number = t.column_number
  where c.original_row is null or t.original_row is null or c.found_number is distinct from t.value_number
),

columns as (
  select distinct
    column_number,
    column_name
  from {{ ref('stg_columns') }}
  where file_order > 0
)

select
  f.failure,
  f.original_row,
  c.column_name,
  s.source,
  {{ row_of('f.record') }} as source_row,
  f.result_value
from failures as f
left join columns as c on f.column_number = c.column_number
left join {{ ref('stg_files') }} as s on {{ file_of('f.record') }} = s.file_order
