{{ config(materialized='in_parts', sized_by='int_entities') }}
{%- set plan = merge_plan() %}
{%- set columns = plan.vendor %}
{%- set with_forms = [] %}
{%- set with_extremes = [] %}
{%- for v in columns if not v.group %}
{%- if v.strategy.name in needs_forms() %}{% do with_forms.append(v) %}{% endif %}
{%- if v.strategy.name in needs_extremes() %}{% do with_extremes.append(v) %}{% endif %}
{%- endfor %}
-- records: the rows of entities, blank cells null
with records as (
  select
    e.entity as _merge_entity,
    s._merge_file,
    s._merge_vendor,
    s._merge_ord
    {%- for v in columns %},
    case when s.{{ sql_name('_merge_form_' ~ v.column) }} is not null then s.{{ sql_name(v.column) }} end as {{ sql_name(v.column) }},
    s.{{ sql_name('_merge_form_' ~ v.column) }}
    {%- endfor %}
  from {{ ref('stg_enriched') }} as s
  inner join {{ ref('int_entities') }} as e on s._merge_ord = e.record
  {%- if with_forms or with_extremes %}
  where {{ part_of('e.entity') }}
  {%- endif %}
),
{% for v in with_forms %}
forms_{{ v.index }} as (
  select
    _merge_entity,
    {{ sql_name('_merge_form_' ~ v.column) }} as form,
    count(distinct _merge_vendor) as votes,
    min(_merge_ord) as first_ord
  from records
  where {{ sql_name('_merge_form_' ~ v.column) }} is not null
  group by _merge_entity, {{ sql_name('_merge_form_' ~ v.column) }}
),
{% endfor %}
{%- for v in with_extremes %}
extremes_{{ v.index }} as (
  select
    _merge_entity,
    min({{ sql_name(v.column) }}) as least,
    max({{ sql_name(v.column) }}) as greatest
  from records
  group by _merge_entity
),
{% endfor %}
-- measured: what strategies compare
measured as (
  select
    r.*,
    {{ filled('r', columns) }} as _merge_filled
    {%- for v in with_forms %},
    f_{{ v.index }}.votes as _merge_votes_{{ v.index }},
    f_{{ v.index }}.first_ord as _merge_first_ord_{{ v.index }}
    {%- endfor %}
    {%- for v in with_extremes %},
    x_{{ v.index }}.least as _merge_least_{{ v.index }},
    x_{{ v.index }}.greatest as _merge_greatest_{{ v.index }}
    {%- endfor %}
  from records as r
  {%- for v in with_forms %}
  left join forms_{{ v.index }} as f_{{ v.index }} on r._merge_entity = f_{{ v.index }}._merge_entity and r.{{ sql_name('_merge_form_' ~ v.column) }} = f_{{ v.index }}.form
  {%- endfor %}
  {%- for v in with_extremes %}
  left join extremes_{{ v.index }} as x_{{ v.index }} on r._merge_entity = x_{{ v.index }}._merge_entity
  {%- endfor %}
)

select
  r.*
  {%- for v in columns if not v.group and not fold_of(v) %},
  {{ rank_of(v) }} as {{ rank_column(v) }}
  {%- endfor %}
  {%- for v in columns if v.group and v.is_first_of_group %},
  {{ group_rank(v, columns) }} as {{ rank_column(v) }}
  {%- endfor %}
from measured as r
