{#- Memory is bounded by doing a part of the work at a time. A model that asks for the materialization `in_parts` stays one plain
    SELECT; its config says over which parts it is run, one after the other, and into which parts its rows are sorted for the
    next model. What there are parts of:

      records    stretches of the vendors' rows, in file order       within('records', record)
      rows       stretches of all files' rows, the CRM's first       within('rows', record)
      entities   a share of the entities, by a number of each        part_of(entity)
      disputes   the same, of entities whose vendors disagree        part_of(entity, 'disputes')
      originals  slices of the CRM's rows, in file order             within('originals', row)
      newcomers  stretches of the people whom the CRM lacks          within('newcomers', entity)

    Stretches and slices are cut from relations whose rows are in that order, so that an engine skips what is not in them. A
    relation that is sorted into parts is Parquet files with a view over them: whoever has said which part is being
    built reads that part's files only, and whoever has not, reads everything. With `in_files` rows that are not sorted are
    Parquet files as well, one per part, which costs a third of what a table of DuckDB's does; who builds the same part of the
    same kind, or a part of it, which the config calls `finer`, reads that one. What is `lazy` is a view where it has nothing
    to sort or keep; what says `while_rows_are_small='view'` is one until rows are large. -#}

{% materialization in_parts, adapter='duckdb' %}
  {%- set target = this.incorporate(type='table') -%}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- if config.get('contract').enforced -%}{%- do get_assert_columns_equivalent(compiled_code) -%}{%- endif -%}
  {%- set over = config.get('over') -%}
  {%- set into = config.get('into') -%}
  {%- set sorted = into is not none and parts_of(into).n > 1 -%}
  {#- a model that names no part for this merge is run once #}
  {%- set names_parts = over is not none and "getvariable('" ~ over ~ "_" in compiled_code -%}
  {%- set parts = parts_of(over).n if names_parts else 1 -%}
  {#- what only sorts has nothing to do where there is one part, and what names no part nothing to keep #}
  {%- set is_view = config.get('lazy', false) and (not names_parts or (not sorted and over != into)) -%}
  {%- if config.get('while_rows_are_small') == 'view' -%}{%- set is_view = not merge_plan().widths.rows_are_large -%}{%- endif -%}
  {%- set sorted = sorted and not is_view -%}
  {%- set in_files = config.get('in_files', false) and not sorted and not is_view -%}
  {%- if sorted or is_view or in_files -%}{%- set target = this.incorporate(type='view') -%}{%- endif -%}
  {%- do drop_other_type(target) -%}
  {%- do query_value('select crm_parts_cleared(' ~ sql_text(this.identifier) ~ ')') if not is_finished(0, parts) -%}
  {%- set named = over if names_parts else none -%}
  {%- if sorted -%} {{ write_sorted(target, named, parts, into) }}
  {%- elif in_files -%} {{ write_files(target, named, parts) }}
  {%- elif is_view -%} {{ write_view(target) }}
  {%- else -%} {{ write_table(target, named, parts) }}
  {%- endif -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {%- do persist_docs(target, model) -%}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}


{#- The four ways in which a model's rows are kept. `over` is the kind of parts that it is run over, none where it is run once. -#}

{% macro write_sorted(target, over, parts, into) %}
  {#- Parquet files of each part of another kind, with a view over them. -#}
  {#- Rows that a thread holds while it sorts them: DuckDB's half million take 150 MB and a third more time, but from 100 parts on it
      closes files at each flush. #}
  {%- do run_statement('set partitioned_write_flush_threshold = ' ~ (65536 if parts_of(into).n <= 100 else 524288)) -%}
  {%- for part in range(parts) if not is_finished(part, parts) -%}
    {%- do enter_part(over, part) -%}
    {%- call statement('part', auto_begin=false) -%}
      copy (
        select *, {{ number_of_part(into, config.require('into_key')) }} as {{ into }}
        from (
          {{ model.compiled_code }}
        ) as rows_of_parts
      ) to {{ sql_text(parts_path(this.identifier ~ '.' ~ part)) }}
      (format parquet, partition_by ({{ into }}), overwrite true, compression lz4, row_group_size {{ merge_plan().widths.rows_together }}, preserve_order false)
    {%- endcall -%}
    {%- do finish(part, parts) -%}
  {%- endfor -%}
  {%- do leave_parts(over) -%}
  {%- do fill_empty_parts(into, model.compiled_code) -%}
  {%- call statement('main', auto_begin=false) -%}
    create or replace view {{ target }} as
    select * from read_parquet({{ sql_path(parts_path(this.identifier)) }} || '.*/{{ into }}=' || coalesce(cast({{ variable_of_part(into, parts_of(into).n) }} as varchar), '*') || '/*.parquet', hive_partitioning = false)
  {%- endcall -%}
{% endmacro %}


{% macro write_files(target, over, parts) %}
  {#- A Parquet file for each part, with a view over them. -#}
  {%- for part in range(parts) if not is_finished(part, parts) -%}
    {%- do enter_part(over, part) -%}
    {%- set written -%}
      copy (
        {{ model.compiled_code }}
      ) to {{ sql_text(parts_path(this.identifier ~ '.' ~ '%07d' | format(part) ~ '.parquet')) }}
      (format parquet, compression lz4, row_group_size {{ merge_plan().widths.rows_together }}, use_tmp_file true)
    {%- endset -%}
    {%- if is_very_wide() -%}{%- do run_on_one_thread(written) -%}{%- else -%}{%- do run_statement(written) -%}{%- endif -%}
    {%- do finish(part, parts) -%}
  {%- endfor -%}
  {%- do leave_parts(over) -%}
  {%- call statement('main', auto_begin=false) -%}
    create or replace view {{ target }} as
    select * from read_parquet({{ sql_path(parts_path(this.identifier)) }} || '.' || {{ file_of_part(over, parts) }} || '.parquet', hive_partitioning = false)
  {%- endcall -%}
{% endmacro %}


{% macro is_very_wide() %}
  {#- Is the result, with where its cells come from, so wide that the buffers of its columns, which each thread has for itself, take most of the memory? That of 200 columns in each
      file has 800, and took 400 MB on two threads. -#}
  {%- set plan = merge_plan() -%}
  {%- do return((plan.crm | length) + 4 * (plan.vendor | length) > 800) -%}
{% endmacro %}


{% macro write_view(target) %}
  {%- call statement('main', auto_begin=false) -%}
    create or replace view {{ target }} as
    {{ model.compiled_code }}
  {%- endcall -%}
{% endmacro %}


{% macro write_table(target, over, parts) %}
  {#- A table, part by part, each in a transaction of its own. -#}
  {%- for part in range(parts) if not is_finished(part, parts) -%}
    {%- do enter_part(over, part) -%}
    {%- do run_statement('begin') -%}
    {%- call statement('main' if loop.last else 'part', auto_begin=false) -%}
      {{ 'create or replace table ' ~ target ~ ' as' if part == 0 else 'insert into ' ~ target }}
      {{ model.compiled_code }}
    {%- endcall -%}
    {%- do finish(part, parts) -%}
    {%- do run_statement('commit') -%}
  {%- else -%}
    {%- call statement('main', auto_begin=false) -%}select 1{%- endcall -%}
  {%- endfor -%}
  {%- do leave_parts(over) -%}
{% endmacro %}


{% materialization table, adapter='duckdb' %}
  {#- A table, put in place at once, and left alone by a run that resumes another which made it already. -#}
  {%- set target = this.incorporate(type='table') -%}
  {%- if is_finished() and load_cached_relation(this) is not none -%}
    {%- call statement('main', auto_begin=false) -%}select 1{%- endcall -%}
  {%- else -%}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- if config.get('contract').enforced -%}{%- do get_assert_columns_equivalent(compiled_code) -%}{%- endif -%}
    {%- do drop_other_type(target) -%}
    {%- call statement('main', auto_begin=false) -%}
      create or replace table {{ target }} as
      {{ compiled_code }}
    {%- endcall -%}
    {%- do finish() -%}
  {%- endif -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {%- do persist_docs(target, model) -%}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}


{% materialization view, adapter='duckdb' %}
  {%- set target = this.incorporate(type='view') -%}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- if config.get('contract').enforced -%}{%- do get_assert_columns_equivalent(compiled_code) -%}{%- endif -%}
  {#- an older version may have kept its rows in files -#}
  {%- do query_value('select crm_parts_cleared(' ~ sql_text(this.identifier) ~ ')') -%}
  {%- do drop_other_type(target) -%}
  {%- call statement('main', auto_begin=false) -%}
    create or replace view {{ target }} as
    {{ compiled_code }}
  {%- endcall -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {%- do persist_docs(target, model) -%}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}


{% macro drop_other_type(target) %}
  {%- set old = load_cached_relation(this) -%}
  {%- if old is not none and old.type != target.type -%}{%- do adapter.drop_relation(old) -%}{%- endif -%}
{% endmacro %}


{% macro number_of_part(kind, key) -%}
  {#- SQL: the number of the part that a row belongs to, by the number in `key`. -#}
  {%- set parts = parts_of(kind) -%}
  {%- if parts.firsts -%} len(list_filter(cast({{ parts.firsts }} as bigint[]), lambda first: first <= {{ key }})) - 1
  {%- else -%} {{ shuffled(key) }} % {{ parts.n }}
  {%- endif -%}
{%- endmacro %}


{% macro shuffled(entity) -%}
  {#- SQL: a number of an entity by whose rest it belongs to a part. Not by its own rest: where every eighth row is long, all long ones would be in one
      part of eight. -#}
  cast(hash(cast({{ entity }} as bigint)) // 2 as bigint)
{%- endmacro %}


{% macro file_of_part(kind, parts) -%}
  {#- SQL: which of a relation's files to read: of the part that is being built, or of all. -#}
  {%- if parts == 1 -%} '*'
  {%- else -%}
    coalesce(printf('%07d', {{ variable_of_part(kind, parts) }}), '*')
  {%- endif -%}
{%- endmacro %}


{% macro variable_of_part(kind, parts) -%}
  {#- SQL: the number of the part that is being built, or of the one that holds the finer part that is; null where none is. -#}
  {%- set part = "getvariable('" ~ kind ~ "_part')" -%}
  {%- if config.get('finer') -%} coalesce({{ part }}, getvariable('{{ config.get('finer') }}_part') % {{ parts }}) {%- else -%} {{ part }} {%- endif -%}
{%- endmacro %}


{% macro parts_path(name) %}{% do return(merge_plan().directory ~ '/.crm-merge/parts/' ~ name) %}{% endmacro %}


{% macro enter_part(kind, part) %}
  {#- Says which part is being built: the words below and the views over sorted relations go by it. -#}
  {%- if kind is not none and parts_of(kind).n > 1 -%}
    {%- do log('crm-merge part: ' ~ this.identifier ~ ', part ' ~ (part + 1) ~ ' of ' ~ parts_of(kind).n, info=true) -%}
    {%- do run_statement(settings_of_part(kind, part)) -%}
  {%- endif -%}
{% endmacro %}


{% macro settings_of_part(kind, part) %}
  {#- The statements that say so. -#}
  {%- set parts = parts_of(kind) -%}
  {%- set values = {'part': part, 'parts': parts.n} -%}
  {%- if parts.firsts -%}
    {%- do values.update({'first': parts.firsts[part], 'last': parts.firsts[part + 1] - 1 if part + 1 < parts.n else 9223372036854775807}) -%}
  {%- endif -%}
  {%- set settings = [] -%}
  {%- for name, value in values.items() -%}{%- do settings.append('set variable ' ~ kind ~ '_' ~ name ~ ' = cast(' ~ value ~ ' as bigint)') -%}{%- endfor -%}
  {%- do return(settings | join('; ')) -%}
{% endmacro %}


{% macro leave_parts(kind) %}
  {%- if kind is not none and parts_of(kind).n > 1 -%}
    {%- set settings = [] -%}
    {%- for name in ['part', 'parts', 'first', 'last'] -%}{%- do settings.append('reset variable ' ~ kind ~ '_' ~ name) -%}{%- endfor -%}
    {%- do run_statement(settings | join('; ')) -%}
  {%- endif -%}
{% endmacro %}


{% macro fill_empty_parts(kind, sql) %}
  {#- A part without rows has no file, and a view over no file is an error: it gets one without rows, which sorts last. What an earlier run
      left of these counts for nothing: it may have been killed while it wrote them. -#}
  {%- set there = fromjson(query_value("select to_json(list(distinct regexp_extract(file, '/" ~ kind ~ "=([0-9]+)/[^/]*$', 1))) from glob("
    ~ sql_path(parts_path(this.identifier)) ~ " || '.[0-9]*/" ~ kind ~ "=*/*.parquet')") or '[]') -%}
  {%- set path = parts_path(this.identifier ~ '.none') -%}
  {%- set options = ' (format parquet, per_thread_output true, overwrite true)' -%}
  {%- set nothing = 'copy (select * from (' ~ sql ~ '\n) as rows_of_parts limit 0) to ' -%}
  {%- set empty = [] -%}
  {%- for part in range(parts_of(kind).n) if part | string not in there -%}{%- do empty.append(part) -%}{%- endfor -%}
  {%- do run_statement(nothing ~ sql_text(path) ~ options) if empty -%}
  {%- for part in empty -%}
    {%- do run_statement(nothing ~ sql_text(path ~ '/' ~ kind ~ '=' ~ part) ~ options) -%}
  {%- endfor -%}
{% endmacro %}
