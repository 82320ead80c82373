{#- I8. The file, row and column that cell_provenance tells of hold the value that it says they gave; `collect` begins with it. Numbers
    stand for the values, as in every_vendor_cell_has_one_source; what was collected is compared as text. -#}
{%- set plan = merge_plan() %}
{%- set collected = [] %}
{%- for v in plan.vendor if own_fold(v) and v.strategy.name == 'collect' %}{% do collected.append(v) %}{% endfor %}
{%- set lengths %}{% for v in collected %} when {{ v.index }} then h.length_{{ v.index }}{% endfor %}{% endset %}
with held as (
  select
    _merge_ord
    {%- for v in plan.vendor %}
    {%- set cell = sql_name(v.column) %},
    case when {{ cell }} is not null then {{ quick_number(cell) }} end as value_{{ v.index }}
    {%- if v in collected %},
    length({{ cell }}) as length_{{ v.index }}
    {%- endif %}
    {%- endfor %}
  from {{ ref('stg_enriched') }}
),

given as (
  select
    original_row,
    column_number,
    record,
    substr(new_value, 1, 200) as begins,
    {%- if collected %}
    case when column_number in ({{ collected | map(attribute='index') | join(', ') }}) then new_value end as collected,
    {%- endif %}
    {{ quick_number('new_value') }} as given_number
  from {{ ref('int_cells') }}
),

compared as (
  select
    p.original_row,
    p.column_number,
    p.record,
    p.begins as new_value,
    case p.column_number
      when 0 then cast(null as bigint)
      {%- for v in plan.vendor %}
      when {{ v.index }} then h.value_{{ v.index }}
      {%- endfor %}
    end as held_number,
    {%- if collected %}
    case
      when p.collected is null then p.given_number
      else {{ quick_number('substr(p.collected, 1, case p.column_number' ~ lengths ~ ' end)') }}
    end as given_number
    {%- else %}
    p.given_number
    {%- endif %}
  from given as p
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
