{{ config(materialized='checks') }}
{#- After everything that a check looks at, and everything that is shown: a merge that fails here is whole, but not published. -#}
{%- for relation in [
  'stg_assertions', 'stg_columns', 'stg_enriched', 'stg_files', 'stg_original', 'stg_rejects',
  'int_assertion_ends', 'int_cells', 'int_components', 'int_disputes', 'int_enriched_consolidated', 'int_entities', 'int_entity_ids',
  'int_entity_keys', 'int_fates', 'int_golden', 'int_key_guards', 'int_keys', 'int_match_keys', 'int_matches', 'int_newcomers', 'int_refused_keys', 'int_result', 'int_steps', 'int_without_vendor',
  'crosswalk', 'file_profile', 'file_summary', 'guard_events', 'merge_changes', 'merge_conflicts', 'merge_summary', 'merged_result', 'rejected_rows',
  'review_queue', 'row_ledger', 'unmatched_enriched', 'vendor_scorecard',
] -%}
  {%- do ref(relation) -%}
{%- endfor -%}
{%- for check in checks_of_merge() %}
select
  {{ sql_text(check.name) }} as name,
  {{ sql_text(check.relation) }} as relation,
  {{ sql_text(check.severity) }} as severity,
  {{ sql_text(check.query) }} as query
{{ 'union all' if not loop.last }}
{%- else %}
select 'none' as name, 'none' as relation, 'error' as severity, 'none' as query where 1 = 0
{%- endfor %}
