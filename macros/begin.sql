{#- The beginning of a run: a bad spec, a bad file or a full disk ends it here, before any work. -#}

{% macro begin_merge() %}
  {#- The hook on-run-start. -#}
  {{ return(adapter.dispatch('begin_merge', 'crm_merge')()) }}
{% endmacro %}


{% macro duckdb__begin_merge() %}
  {%- if execute and flags.WHICH in ('run', 'build') -%}
    {%- set plan = merge_plan() -%}
    {%- set problems = plan.files | map(attribute='reject_problem') | select | list -%}
    {%- if problems -%}{%- do refuse('A file has rows that can not be read.', problems) -%}{%- endif -%}
    {%- do log('crm-merge needs: ' ~ tojson({'disk': plan.needs.disk.merge + plan.needs.disk.spill + plan.needs.disk.result, 'memory': plan.needs.memory}), info=true) -%}
    {%- do clear_former_models() -%}
    {%- set problems = fromjson(query_value('select crm_disk_problems(' ~ sql_text(tojson(plan.needs.disk)) ~ ')')) -%}
    {%- if problems -%}{%- do refuse('There is too little room on a disk.', problems) -%}{%- endif -%}
    {#- The buffers of large rows stay with the allocator, slice after slice, unless they are given back; of small ones that takes a fifth of the time for little. -#}
    {%- if plan.widths.rows_are_large -%}{%- do run_statement("set allocator_bulk_deallocation_flush_threshold = '1MB'") -%}{%- endif -%}
    {%- do begin_journal() -%}
  {%- endif -%}
{% endmacro %}


{% macro clear_former_models() %}
  {#- What older versions made under names that no model has now. -#}
  {%- set former = ['int_agreement', 'int_compared', 'int_reach', 'stg_forms'] -%}
  {%- set names = "'" ~ former | join("', '") ~ "'" -%}
  {%- for type, name in query_rows("select 'view', view_name from duckdb_views() where not internal and view_name in (" ~ names ~ ") union all select 'table', table_name from duckdb_tables() where table_name in (" ~ names ~ ')') -%}
    {%- do query_value('select crm_parts_cleared(' ~ sql_text(name) ~ ')') -%}
    {%- do run_statement('drop ' ~ type ~ ' ' ~ name) -%}
  {%- endfor -%}
{% endmacro %}
