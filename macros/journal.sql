{#- What of a merge is finished, kept in the merge's own database, so that a run which was killed can be gone on with. An entry counts
    for one content of spec and files only, and for the SQL that made it. -#}

{% macro begin_journal() %}
  {#- Forgets what an earlier run finished, unless this one resumes it and spec and files are the same. -#}
  {%- set plan = merge_plan() -%}
  {%- do run_statement('create table if not exists ' ~ journal() ~ ' (entry varchar, content varchar)') -%}
  {%- do plan.update({'journal': plan.journal or {}}) -%}
  {%- set number = content_number() -%}
  {%- set same = recall('merge') == number -%}
  {%- if resumes() -%}
    {%- set finished = [] -%}
    {%- for entry in plan.journal if entry.startswith('finished ') -%}{%- do finished.append(entry) -%}{%- endfor -%}
    {%- do log('crm-merge resumes: ' ~ (finished | length ~ ' finished steps are kept' if same
      else 'from the start, since ' ~ ('there is no earlier run' if recall('merge') is none else 'the spec, a file or the project is not what it was')), info=true) -%}
  {%- endif -%}
  {%- if not same -%}
    {%- do forget('') -%}
    {%- do remember('merge', number) -%}
  {%- elif not resumes() -%}
    {%- do forget('finished ') -%}
  {%- endif -%}
{% endmacro %}


{% macro duckdb__recall_journal(plan) %}
  {#- {entry: content}, read once per run of dbt and then kept up with the table; none where there is no journal: tests of single models
      have none. A file that was read row by row in the end was landed with its rows' numbers: a later run that only reads it has to know. -#}
  {%- do plan.update({'journal': none}) -%}
  {%- if query_value("select count(*) from duckdb_tables() where table_name = '_merge_journal'") | int -%}
    {%- do plan.update({'journal': fromjson(query_value("select coalesce(json_group_object(entry, content), '{}') from " ~ journal()))}) -%}
    {%- for file in plan.files if recall('way ' ~ file.k ~ ' ' ~ file.sha256) == 'rewrite' -%}{%- do fall_back(file, plan) -%}{%- endfor -%}
  {%- endif -%}
{% endmacro %}


{% macro journal() %}{% do return(adapter.quote(target.schema) ~ '._merge_journal') %}{% endmacro %}


{% macro content_number() %}
  {#- A hash of what a merge is made from: the spec but for when it runs and where the result goes, the names and content of its
      files, and this project. -#}
  {%- set plan = merge_plan() -%}
  {%- set parts = [spec_number(), query_value("select crm_project_number('')")] -%}
  {%- for file in plan.files + plan.assertions -%}{%- do parts.extend([file.name, file.shown, file.sha256]) -%}{%- endfor -%}
  {%- do return(local_md5(tojson(parts))) -%}
{% endmacro %}


{% macro remember(entry, content) %}
  {%- set entries = merge_plan().journal -%}
  {%- if entries is not none -%}
    {%- do run_statement('delete from ' ~ journal() ~ ' where entry = ' ~ sql_text(entry) ~ '; insert into ' ~ journal() ~ ' values (' ~ sql_text(entry) ~ ', ' ~ sql_text(content) ~ ')') -%}
    {%- do entries.update({entry: content}) -%}
  {%- endif -%}
{% endmacro %}


{% macro forget(beginning) %}
  {#- Forgets the entries that begin so. -#}
  {%- set entries = merge_plan().journal or {} -%}
  {%- set gone = [] -%}
  {%- for entry in entries if entry.startswith(beginning) -%}{%- do gone.append(entry) -%}{%- endfor -%}
  {%- if gone -%}
    {%- do run_statement('delete from ' ~ journal() ~ ' where starts_with(entry, ' ~ sql_text(beginning) ~ ')') -%}
    {%- for entry in gone -%}{%- do entries.pop(entry) -%}{%- endfor -%}
  {%- endif -%}
{% endmacro %}


{% macro recall(entry) %}{% do return((merge_plan().journal or {}).get(entry)) %}{% endmacro %}


{% macro is_finished(part=0, parts=1) %}
  {#- Did the run that this one resumes build the part of this model, from the same SQL? What comes after something that was built anew
      is built anew as well, since it may have been made from what was there before. -#}
  {%- do return(resumes() and not builds_anew() and recall(journal_entry(part, parts)) == local_md5(model.compiled_code)) -%}
{% endmacro %}


{% macro finish(part=0, parts=1) %}
  {%- do build_anew() -%}
  {%- do remember(journal_entry(part, parts), local_md5(model.compiled_code)) if flags.WHICH in ('run', 'build') -%}
{% endmacro %}


{% macro journal_entry(part, parts) %}{% do return('finished ' ~ this.identifier ~ ' ' ~ (part + 1) ~ ' of ' ~ parts) %}{% endmacro %}


{% macro build_anew() %}{% do merge_plan().update({'builds_anew': true}) %}{% endmacro %}


{% macro builds_anew() %}
  {#- Has this run built something, so that nothing counts as finished from here on? -#}
  {%- do return(merge_plan().get('builds_anew', false)) -%}
{% endmacro %}


{% macro resumes() %}
  {#- From the environment: a var would be part of what dbt parses. -#}
  {%- do return(env_var('CRM_MERGE_RESUME', '') == '1' and flags.WHICH in ('run', 'build')) -%}
{% endmacro %}
