{#- What of a merge is finished, kept in the merge's own database, so that a run which was killed can be gone on with. An entry counts
    for one content of spec and files only, and for the SQL that made it. -#}

{% macro begin_journal() %}
  {#- Forgets what an earlier run finished, unless this one resumes it and spec and files are the same. -#}
  {%- do run_query('create table if not exists ' ~ journal() ~ ' (entry varchar, content varchar)') -%}
  {%- set same = recall('merge') == content_number() -%}
  {%- if resumes() -%}
    {%- set finished = query_value('select count(*) from ' ~ journal() ~ " where entry like 'finished %'") | int -%}
    {%- do log('crm-merge resumes: ' ~ (finished ~ ' finished steps are kept' if same
      else 'from the start, since ' ~ ('there is no earlier run' if recall('merge') is none else 'the spec or a file is not what it was')), info=true) -%}
  {%- endif -%}
  {%- if not same -%}
    {%- do run_query('delete from ' ~ journal()) -%}
    {%- do remember('merge', content_number()) -%}
  {%- elif not resumes() -%}
    {%- do forget('finished') -%}
  {%- endif -%}
{% endmacro %}


{% macro journal() %}{% do return(adapter.quote(target.schema) ~ '._merge_journal') %}{% endmacro %}


{% macro content_number() %}
  {#- A hash of what a merge is made from: the spec, the content of its files, and this version. -#}
  {%- set plan = merge_plan() -%}
  {%- set hashes = [] -%}
  {%- for file in plan.files + plan.assertions -%}{%- do hashes.append(file.sha256) -%}{%- endfor -%}
  {%- do return(local_md5(tojson(var('merge')) ~ ' ' ~ hashes | join(' '))) -%}
{% endmacro %}


{% macro remember(entry, content) %}
  {%- do run_query('insert into ' ~ journal() ~ ' values (' ~ sql_text(entry) ~ ', ' ~ sql_text(content) ~ ')') if has_journal() -%}
{% endmacro %}


{% macro forget(kind) %}
  {%- do run_query('delete from ' ~ journal() ~ ' where entry like ' ~ sql_text(kind ~ ' %')) if has_journal() -%}
{% endmacro %}


{% macro recall(entry) %}
  {%- do return(query_value('select min(content) from ' ~ journal() ~ ' where entry = ' ~ sql_text(entry)) if has_journal() else none) -%}
{% endmacro %}


{% macro has_journal() %}
  {#- Tests of single models have none. -#}
  {%- do return(query_value("select count(*) from duckdb_tables() where table_name = '_merge_journal'") | int > 0) -%}
{% endmacro %}


{% macro is_finished(part=0, parts=1) %}
  {#- Did the run that this one resumes build the part of this model, from the same SQL? -#}
  {%- do return(resumes() and recall(journal_entry(part, parts)) == local_md5(model.compiled_code)) -%}
{% endmacro %}


{% macro finish(part=0, parts=1) %}
  {%- do remember(journal_entry(part, parts), local_md5(model.compiled_code)) if flags.WHICH in ('run', 'build') -%}
{% endmacro %}


{% macro journal_entry(part, parts) %}{% do return('finished ' ~ this.identifier ~ ' ' ~ (part + 1) ~ ' of ' ~ parts) %}{% endmacro %}


{% macro resumes() %}
  {#- From the environment: another var would make dbt parse the project anew. -#}
  {%- do return(env_var('CRM_MERGE_RESUME', '') == '1' and flags.WHICH in ('run', 'build')) -%}
{% endmacro %}
