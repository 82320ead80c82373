-- depends_on: {{ ref('int_enriched_consolidated') }}
{{ config(materialized='in_parts', over='originals', in_files=true) }}
{%- set plan = merge_plan() %}
{%- set by_header = {} %}
{%- for v in plan.vendor if v.header %}{% do by_header.update({v.header: v}) %}{% endfor %}
with has_key as (
  select distinct record
  from {{ ref('int_keys') }}
  where side = 'original' and blocked_as is null and tier <= {{ plan.tiers | length }} and {{ within('originals', 'record') }}
),

-- no link, and yet a valid key in common with a vendor row: a guard or a person refused it
related as (
  select distinct record
  from {{ ref('int_refused_keys') }}
  where side = 'original' and {{ within('originals', 'record') }}
)

select
  {%- for h in plan.crm %}
  {%- set v = by_header.get(h.header) %}
  {%- set original = 'o.' ~ sql_name(h.header) %}
  {% if v -%}
  {{ context['policy_' ~ v.policy](original, 'e.' ~ sql_name(v.column), may_fill(v, plan)) }} as {{ sql_name(h.header) }},
  {%- else -%}
  {{ original }},
  {%- endif %}
  {%- endfor %}
  {%- for v in plan.vendor if v.output %}
  case when {{ takes_enriched(v, plan) }} then e.{{ sql_name(v.column) }} end as {{ sql_name(v.output) }},
  {%- endfor %}
  case when e._merge_row is not null then 'matched' else 'unmatched' end as match_quality,
  case
    when e._merge_n_entities > 1 then 'ambiguous'
    when e._merge_is_direct then 'matched_direct'
    when e._merge_row is not null then 'matched_transitive'
    when r.record is not null then 'possibly_related'
    when k.record is null then 'no_valid_key'
    else 'unmatched'
  end as match_status,
  e._merge_match_tier as match_tier,
  e._merge_matched_on as matched_on,
  e._merge_entity_id as entity_id,
  cast(coalesce(e._merge_n_enriched_rows, 0) as bigint) as n_enriched_rows,
  coalesce(e._merge_is_shared, false) as duplicate_in_original,
  x.match_explanation,
  o._merge_row as _merge_original_row,
  {{ record_id(plan, 'o') }} as _merge_record_id
  {%- for v in plan.vendor %},
  case when {{ takes_enriched(v, plan) }} then e.{{ sql_name('_merge_ord_' ~ v.column) }} end as _merge_record_{{ v.index }},
  {%- if not v.output %}
  case when {{ takes_enriched(v, plan) }} then o.{{ sql_name(v.header) }} end as _merge_old_{{ v.index }},
  {%- endif %}
  case when {{ takes_enriched(v, plan) }} then e._merge_only_{{ v.index }} = 0 end as _merge_is_shared_{{ v.index }}
  {%- endfor %}
from {{ ref('stg_original') }} as o
left join {{ ref('int_enrichment') }} as e on o._merge_row = e._merge_row
left join {{ ref('int_explanations') }} as x on o._merge_row = x.original_row
left join has_key as k on o._merge_row = k.record
left join related as r on o._merge_row = r.record
where {{ within('originals', 'o._merge_row') }}
order by o._merge_row
