-- noqa: disable=AM04
{{ config(materialized='in_parts', over='entities', into='entities', into_key='_merge_entity', lazy=true) }}
{%- set plan = merge_plan() %}
{%- set columns = plan.vendor %}
{%- set with_forms = [] %}
{%- set with_extremes = [] %}
{%- for v in columns if not v.group %}
{%- if v.strategy.name in needs_forms() %}{% do with_forms.append(v) %}{% endif %}
{%- if v.strategy.name in needs_extremes() %}{% do with_extremes.append(v) %}{% endif %}
{%- endfor %}
{%- if with_forms or with_extremes -%}
with records as (
  select *
  from {{ ref('int_candidates') }}
  where {{ part_of('_merge_entity') }}
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
{%- endif -%}
{%- if with_forms or with_extremes %}
-- measured: what strategies compare
measured as (
  select
    r.*
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
),

filled as (
  select
    r.*,
    {{ filled('r', columns) }} as _merge_filled
  from measured as r
)
{%- else %}
with filled as (
  select
    r.*,
    {{ filled('r', columns) }} as _merge_filled
  from {{ ref('int_candidates') }} as r
)
{%- endif %}

select
  r.*
  {%- for v in columns if not v.group and not own_fold(v) %},
  {{ rank_of(v) }} as {{ rank_column(v) }}
  {%- endfor %}
  {%- for v in columns if v.group and v.is_first_of_group %},
  {{ group_rank(v, columns) }} as {{ rank_column(v) }}
  {%- endfor %}
from filled as r
