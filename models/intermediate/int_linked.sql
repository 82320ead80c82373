-- depends_on: {{ ref('int_entities') }}
{{ config(materialized='in_parts', over='rows', into='entities', into_key='entity', finer='disputes') }}
{%- set plan = merge_plan() %}
{%- set headers = {} %}
{%- for h in plan.crm %}{% do headers.update({h.header: h}) %}{% endfor %}
-- numbers first: texts go through one join, since a row may hold megabytes
with keyed as (
  select
    m.original_row,
    m.entity,
    m.entity_rank,
    m.n_entities,
    m.match_tier,
    m.matched_on,
    m.n_records,
    m.is_direct,
    m.is_shared,
    m.is_first_of_entity
    {%- for v in plan.vendor if v.header and v.key_type %},
    k_{{ v.key_type }}.form_{{ v.index }}
    {%- endfor %}
  from {{ ref('int_matches') }} as m
  {{ with_key_forms(plan.vendor | selectattr('header') | list, plan, 'rows', 'm.original_row') }}
  where {{ within('rows', 'm.original_row') }}
)

select
  m.*
  {%- for v in plan.vendor if v.header and not v.key_type %},
  {{ original_form(v, headers[v.header], 'o', 'f') }} as form_{{ v.index }}
  {%- endfor %}
from keyed as m
inner join {{ ref('stg_original') }} as o on m.original_row = o._merge_row
{{ with_landed_forms('f', 'm.original_row') }}
where {{ within('rows', 'o._merge_row') }}
