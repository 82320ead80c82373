{%- set plan = merge_plan() %}
{%- set columns = plan.vendor %}
-- records: the rows of entities, blank cells null
with records as (
  select
    e.entity as _merge_entity,
    s._merge_file,
    s._merge_ord
    {%- for v in columns %},
    case when not {{ is_blank('s.' ~ sql_name(v.column), v.is_name) }} then s.{{ sql_name(v.column) }} end as {{ sql_name(v.column) }}
    {%- if v.key_type %},
    s.{{ sql_name('_merge_form_' ~ v.column) }}
    {%- endif %}
    {%- endfor %}
  from {{ ref('stg_enriched') }} as s
  inner join {{ ref('int_entities') }} as e on s._merge_ord = e.record
),

-- measured: what strategies compare
measured as (
  select
    r.*,
    {{ filled('r', columns) }} as _merge_filled,
    case r._merge_file{% for file in plan.files %} when {{ file.k }} then {{ sql_text(file.vendor) }}{% endfor %} end as _merge_vendor
    {%- for v in columns if not v.group and v.strategy.name in needs_forms() %},
    case when r.{{ sql_name(v.column) }} is not null then {{ comparison_form({'value': 'r.' ~ sql_name(v.column), 'key_type': v.key_type, 'form': 'r.' ~ sql_name('_merge_form_' ~ v.column)}) }} end as _merge_text_{{ v.index }}
    {%- endfor %}
  from records as r
),
{% for v in columns if not v.group and v.strategy.name in needs_forms() %}
forms_{{ v.index }} as (
  select
    _merge_entity,
    _merge_text_{{ v.index }} as form,
    count(distinct _merge_vendor) as votes,
    min(_merge_ord) as first_ord
  from measured
  where _merge_text_{{ v.index }} is not null
  group by _merge_entity, _merge_text_{{ v.index }}
),
{% endfor %}
{%- for v in columns if not v.group and v.strategy.name in needs_extremes() %}
extremes_{{ v.index }} as (
  select
    _merge_entity,
    min({{ sql_name(v.column) }}) as least,
    max({{ sql_name(v.column) }}) as greatest
  from measured
  group by _merge_entity
),
{% endfor %}
survivors as (
  select
    r._merge_entity
    {%- for v in columns %}
    {%- set winner = group_survivor(v, columns) if v.group else survivor(v) %},
    {{ winner.value }} as {{ sql_name(v.column) }},
    {{ winner.ord }} as {{ sql_name('_merge_ord_' ~ v.column) }}
    {%- endfor %}
  from measured as r
  {%- for v in columns if not v.group and v.strategy.name in needs_forms() %}
  left join forms_{{ v.index }} as f_{{ v.index }} on r._merge_entity = f_{{ v.index }}._merge_entity and r._merge_text_{{ v.index }} = f_{{ v.index }}.form
  {%- endfor %}
  {%- for v in columns if not v.group and v.strategy.name in needs_extremes() %}
  left join extremes_{{ v.index }} as x_{{ v.index }} on r._merge_entity = x_{{ v.index }}._merge_entity
  {%- endfor %}
  group by r._merge_entity
)

select * from survivors
