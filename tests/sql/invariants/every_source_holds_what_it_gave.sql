{#- I8. The file, row and column that cell_provenance tells of hold the value that it says they gave; `collect` begins with it. Numbers
    stand for the values of the files, as in every_vendor_cell_has_one_source. -#}
{%- set plan = merge_plan() %}
{%- set collected = [] %}
{%- for v in plan.vendor if own_fold(v) and v.strategy.name == 'collect' %}{% do collected.append(v) %}{% endfor %}
with held as (
  select
    _merge_ord
    {%- for v in plan.vendor %}
    {%- set cell = sql_name(v.column) %},
    case when {{ cell }} is not null then {{ hash_number(cell) }} end as value_{{ v.index }}
    {%- if v in collected %},
    length({{ cell }}) as length_{{ v.index }}
    {%- endif %}
    {%- endfor %}
  from {{ ref('stg_enriched') }}
),

compared as (
  select
    p.original_row,
    p.column_number,
    p.record,
    p.new_value,
    case p.column_number
      when 0 then cast(null as bigint)
      {%- for v in plan.vendor %}
      when {{ v.index }} then h.value_{{ v.index }}
      {%- endfor %}
    end as held_number,
    {%- set begins %}substr(p.new_value, 1, case p.column_number{% for v in collected %} when {{ v.index }} then h.length_{{ v.index }}{% endfor %} else length(p.new_value) end){% endset %}
    {{ hash_number(begins if collected else 'p.new_value') }} as given_number
  from {{ ref('int_cells') }} as p
  left join held as h on p.record = h._merge_ord
),

columns as (
  select distinct
    column_number,
    column_name
  from {{ ref('stg_columns') }}
  where file_order > 0
)

select
  c.original_row,
  n.column_name,
  f.source,
  {{ row_of('c.record') }} as source_row,
  c.new_value
from compared as c
left join columns as n on c.column_number = n.column_number
left join {{ ref('stg_files') }} as f on {{ file_of('c.record') }} = f.file_order
where c.held_number is null or c.held_number is distinct from c.given_number
