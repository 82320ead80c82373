{%- set plan = merge_plan() %}
-- entities of several records that enrich an original; the others have nothing to disagree about
with records as (
  select
    s.*,
    e.entity as _merge_entity
  from {{ ref('stg_enriched') }} as s
  inner join {{ ref('int_entities') }} as e on s._merge_ord = e.record
  where
    e.n_records > 1
    and e.entity in (select m.entity from {{ ref('int_matches') }} as m)
),

forms as (
  {%- for v in plan.vendor %}
  {%- set cell = 'r.' ~ sql_name(v.column) %}
  select
    _merge_entity as entity,
    {{ sql_text(v.column) }} as column_name,
    {{ hash_number(comparison_form({'value': cell, 'key_type': v.key_type, 'form': 'r.' ~ sql_name('_merge_form_' ~ v.column)})) }} as form
  from records as r
  where not {{ is_blank(cell, v.is_name) }}
  {{ 'union all' if not loop.last }}
  {%- else %}
  select _merge_entity as entity, '' as column_name, 0 as form from records where 1 = 0
  {%- endfor %}
)

select
  entity,
  column_name,
  count(*) as n_candidates
from forms
group by entity, column_name
having min(form) <> max(form)
