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
  {%- if config.get('while_rows_are_small') == 'view' -%}{%- set is_view = not rows_are_large(merge_plan()) -%}{%- endif -%}
  {%- set sorted = sorted and not is_view -%}
  {%- set in_files = config.get('in_files', false) and not sorted and not is_view -%}
  {%- if sorted or is_view or in_files -%}{%- set target = this.incorporate(type='view') -%}{%- endif -%}
  {%- do drop_other_type(target) -%}
  {%- do query_value('select crm_parts_cleared(' ~ sql_text(this.identifier) ~ ')') if not is_finished(0, parts) -%}
  {%- if sorted -%}
    {#- Rows that a thread holds while it sorts them: DuckDB's half million take 150 MB and a third more time, but from 100 parts on it
        closes files at each flush. #}
    {%- do run_statement('set partitioned_write_flush_threshold = ' ~ (65536 if parts_of(into).n <= 100 else 524288)) -%}
    {%- for part in range(parts) if not is_finished(part, parts) -%}
      {%- do enter_part(over, part) if names_parts -%}
      {%- call statement('part', auto_begin=false) -%}
        copy (
          select *, {{ number_of_part(into, config.require('into_key')) }} as {{ into }}
          from (
            {{ compiled_code }}
          ) as rows_of_parts
        ) to {{ sql_text(parts_path(this.identifier ~ '.' ~ part)) }}
        (format parquet, partition_by ({{ into }}), overwrite true, compression lz4, preserve_order false)
      {%- endcall -%}
      {%- do finish(part, parts) -%}
    {%- endfor -%}
    {%- do leave_parts(over) if names_parts -%}
    {%- do fill_empty_parts(into, compiled_code) -%}
    {%- call statement('main', auto_begin=false) -%}
      create or replace view {{ target }} as
      select * from read_parquet({{ sql_path(parts_path(this.identifier)) }} || '.*/{{ into }}=' || coalesce(cast(getvariable('{{ into }}_part') as varchar), '*') || '/*.parquet', hive_partitioning = false)
    {%- endcall -%}
  {%- elif in_files -%}
    {%- for part in range(parts) if not is_finished(part, parts) -%}
      {%- do enter_part(over, part) if names_parts -%}
      {%- call statement('part', auto_begin=false) -%}
        copy (
          {{ compiled_code }}
        ) to {{ sql_text(parts_path(this.identifier ~ '.' ~ '%07d' | format(part) ~ '.parquet')) }}
        (format parquet, compression lz4, row_group_size 50000, use_tmp_file true)
      {%- endcall -%}
      {%- do finish(part, parts) -%}
    {%- endfor -%}
    {%- do leave_parts(over) if names_parts -%}
    {%- call statement('main', auto_begin=false) -%}
      create or replace view {{ target }} as
      select * from read_parquet({{ sql_path(parts_path(this.identifier)) }} || '.' || {{ file_of_part(over, parts) }} || '.parquet', hive_partitioning = false)
    {%- endcall -%}
  {%- elif is_view -%}
    {%- call statement('main', auto_begin=false) -%}
      create or replace view {{ target }} as
      {{ compiled_code }}
    {%- endcall -%}
  {%- else -%}
    {%- for part in range(parts) if not is_finished(part, parts) -%}
      {%- do enter_part(over, part) if names_parts -%}
      {%- do run_statement('begin') -%}
      {%- call statement('main' if loop.last else 'part', auto_begin=false) -%}
        {{ 'create or replace table ' ~ target ~ ' as' if part == 0 else 'insert into ' ~ target }}
        {{ compiled_code }}
      {%- endcall -%}
      {%- do finish(part, parts) -%}
      {%- do run_statement('commit') -%}
    {%- else -%}
      {%- call statement('main', auto_begin=false) -%}select 1{%- endcall -%}
    {%- endfor -%}
    {%- do leave_parts(over) if names_parts -%}
  {%- endif -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {%- do persist_docs(target, model) -%}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}


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
  {%- do drop_other_type(target) -%}
  {%- call statement('main', auto_begin=false) -%}
    create or replace view {{ target }} as
    {{ compiled_code }}
  {%- endcall -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {%- do persist_docs(target, model) -%}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}


{% macro duckdb__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) %}
  {#- dbt asks this for the query of a check. One that looks at all rows of the CRM, or of all files, names the part that it looks at, and is asked part by part: all
      rows at once would have to fit in memory. -#}
  {%- set over = ['originals', 'rows'] | select('in', modules.re.findall("getvariable\\('([a-z]+)_", main_sql)) | first -%}
  {%- set parts = parts_of(over).n if execute and over else 1 -%}
  {%- if parts == 1 -%}{%- do return(default__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit)) -%}{%- endif -%}
  {%- set found = namespace(failures=0) -%}
  {%- for part in range(parts) -%}
    {%- do enter_part(over, part) -%}
    {%- set failures = query_value('select ' ~ fail_calc ~ ' from (' ~ main_sql ~ '\n) as failing_rows') | int -%}
    {#- whoever shows the rows has to ask for this part again -#}
    {%- if failures and not found.failures -%}{%- do log('crm-merge failing part: ' ~ tojson({'check': model.name, 'settings': settings_of_part(over, part)}), info=true) -%}{%- endif -%}
    {%- set found.failures = found.failures + failures -%}
  {%- endfor -%}
  {%- do leave_parts(over) -%}
  select {{ found.failures }} as failures, {{ found.failures }} {{ warn_if }} as should_warn, {{ found.failures }} {{ error_if }} as should_error
{% endmacro %}


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
    {%- set part = "getvariable('" ~ kind ~ "_part')" -%}
    {%- if config.get('finer') -%}{%- set part = 'coalesce(' ~ part ~ ", getvariable('" ~ config.get('finer') ~ "_part') % " ~ parts ~ ')' -%}{%- endif -%}
    coalesce(printf('%07d', {{ part }}), '*')
  {%- endif -%}
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


{% macro parts_of(kind) %}
  {#- {n, firsts}: how many parts of a kind there are, and with which numbers they begin. Settled when it is
      first asked for, and kept for the rest of the run and for one that resumes it. -#}
  {%- set known = graph.setdefault('merge_parts', {}) -%}
  {%- if known.get('of') != invocation_id -%}{%- do known.clear() -%}{%- do known.update({'of': invocation_id}) -%}{%- endif -%}
  {%- if kind not in known -%}
    {%- set stored = recall('parts of ' ~ kind) -%}
    {%- if stored is none -%}
      {%- set stored = context['parts_of_' ~ kind](merge_plan()) -%}
      {%- do remember('parts of ' ~ kind, tojson(stored)) -%}
    {%- else -%}
      {%- set stored = fromjson(stored) -%}
    {%- endif -%}
    {%- do known.update({kind: stored}) -%}
  {%- endif -%}
  {%- do return(known[kind]) -%}
{% endmacro %}


{% macro most_rows() %}
  {#- The most rows that a part may have, for tests and for those who know better. -#}
  {%- do return(env_var('CRM_MERGE_PART_ROWS', '1000000000') | int) -%}
{% endmacro %}


{% macro parts_for(bytes, share, rows) %}
  {#- How many parts keep the bytes of each within a share of the memory limit, and its rows within most_rows. -#}
  {%- do return([-(bytes // -((memory_limit() * share) | int)) | int, -(rows // -most_rows()) | int, 1] | max) -%}
{% endmacro %}


{% macro parts_of_entities(plan) %}
  {#- Aggregates of texts can not spill: about 64 bytes per column of each entity of several rows, and what its rows hold; an entity of one
      row is handed on as it is, which counts where rows are large. -#}
  {%- set width = namespace(entity=64, row=0) -%}
  {%- for v in plan.vendor -%}{%- set width.entity = width.entity + 64 + (200 if own_fold(v) else 0) -%}{%- endfor -%}
  {%- for file in plan.files if file.k > 0 -%}{%- set width.row = [width.row, bytes_held(file.row_bytes)] | max -%}{%- endfor -%}
  {#- an entity is named by one of its records, and counted there -#}
  {%- set several = fromjson(query_value('select to_json({n: count(*), rows: coalesce(sum(n_records), 0), all_rows: (select count(*) from ' ~ ref('int_entities') ~ ')}) from '
    ~ ref('int_entities') ~ ' where n_records > 1 and record = entity')) -%}
  {%- set linked = fromjson(query_value('select to_json({n: count(*), rows: coalesce(sum(n_records), 0)}) from ' ~ ref('int_matches') ~ ' where n_records > 1 and is_first_of_entity')) -%}
  {%- set rows = several['rows'] -%}
  {%- set held = {'linked': linked['rows'] * width.row, 'others': (several['rows'] - linked['rows']) * width.row, 'compared': several.all_rows * 2 * width.row} -%}
  {%- if rows_are_large(plan) -%}
    {%- set rows = several.all_rows -%}
    {%- set held = fromjson(query_value('
      with linked as (select distinct entity from ' ~ ref('int_matches') ~ '), sizes as (' ~ sizes_of_landed(plan.files[1:], plan) ~ ')
      select to_json({linked: coalesce(sum(case when l.entity is not null then s.held end), 0), others: coalesce(sum(case when l.entity is null then s.held end), 0),
        compared: coalesce(sum(2 * s.held), 0)})
      from sizes as s inner join ' ~ ref('int_entities') ~ ' as e on s.record = e.record left join linked as l on e.entity = l.entity')) -%}
  {%- endif -%}
  {#- what strategies compare is joined to all candidates of a part at once -#}
  {%- set compared = namespace(bytes=0) -%}
  {%- for v in plan.vendor if not v.group -%}
    {%- if v.strategy.name in needs_forms() -%}{%- set compared.bytes = compared.bytes + 80 -%}{%- endif -%}
    {%- if v.strategy.name in needs_extremes() -%}{%- set compared.bytes = compared.bytes + 100 -%}{%- endif -%}
  {%- endfor -%}
  {%- set ranked = held.compared + several.all_rows * compared.bytes if compared.bytes else 0 -%}
  {#- those that are linked and those that are not are consolidated one after the other -#}
  {%- set bytes_linked = linked.n * width.entity + held.linked -%}
  {%- set bytes_of_others = (several.n - linked.n) * width.entity + held.others -%}
  {#- one part is read from all files at once, and each of them takes memory -#}
  {%- set fewest = 2 if plan.files | length > 9 and several['rows'] > 10000 else 1 -%}
  {%- set n = [fewest, parts_for([bytes_linked, bytes_of_others, ranked] | max, 0.4, rows)] | max -%}
  {%- do return({'n': parts_without_a_large_one(n, plan) if n > 1 and rows_are_large(plan) else n, 'firsts': none}) -%}
{% endmacro %}


{% macro parts_without_a_large_one(n, plan) %}
  {#- So many parts, or up to four times as many, that none has half as much again as its room: few large entities may meet in one. -#}
  {%- set largest = fromjson(query_value('
    with linked as (select distinct entity from ' ~ ref('int_matches') ~ '), sizes as (' ~ sizes_of_landed(plan.files[1:], plan) ~ '),
    held as (
      select ' ~ shuffled('e.entity') ~ ' as number, l.entity is not null as is_linked, s.held
      from sizes as s inner join ' ~ ref('int_entities') ~ ' as e on s.record = e.record left join linked as l on e.entity = l.entity
    ),
    parts as (
      select t.times, h.number % (t.times * ' ~ n ~ ') as part, h.is_linked, sum(h.held) as bytes
      from held as h cross join (select unnest([1, 2, 3, 4]) as times) as t
      group by all
    )
    select to_json(list(bytes order by times)) from (select times, max(bytes) as bytes from parts group by times)')) or [] -%}
  {%- for bytes in largest if bytes <= 1.5 * room_of_part() -%}{%- do return(n * loop.index) -%}{%- endfor -%}
  {%- do return(n * 4) -%}
{% endmacro %}


{% macro parts_of_disputes(plan) %}
  {#- About 300 bytes of each candidate are held, and of long texts several copies. Each part is a part of one part of the entities, whose
      file is all that is read for it: so many parts times so many have entities with the same rest by both. -#}
  {%- set candidates = fromjson(query_value('select to_json({n: count(*), bytes: cast(coalesce(sum(300 + greatest(8 * strlen(value) - 4000, 0)), 0) as bigint)}) from ' ~ ref('int_conflicts'))) -%}
  {%- set entities = parts_of('entities').n -%}
  {%- do return({'n': -(parts_for(candidates.bytes, 0.5, candidates.n) // -entities) * entities, 'firsts': none}) -%}
{% endmacro %}


{% macro parts_of_records(plan) %}
  {#- A stretch is what is sorted into parts of entities at once: about 100 bytes of each record are held, and long texts, twice. -#}
  {%- do return(stretches(plan.files[1:], 100, 2, plan)) -%}
{% endmacro %}


{% macro parts_of_rows(plan) %}
  {#- Rows that are said to be the same are held whole. -#}
  {%- set width = namespace(row=100) -%}
  {%- for file in plan.files -%}{%- set width.row = [width.row, 100 + file.row_bytes] | max -%}{%- endfor -%}
  {%- do return(stretches(plan.files, width.row, 1, plan)) -%}
{% endmacro %}


{% macro stretches(files, bytes, copies, plan) %}
  {#- Parts of so many rows that their bytes keep within a share of the memory limit, small files together; of large rows, so many that 100 bytes of
      each and copies of their texts do. -#}
  {%- if rows_are_large(plan) -%}
    {%- set firsts = firsts_by_bytes('sizes as (' ~ sizes_of_landed(files, plan) ~ ')', 'sizes', 'record', '100 + ' ~ copies ~ ' * bytes') -%}
  {%- else -%}
    {%- set most = [room_of_part() // bytes, 1000] | max -%}
    {%- set last = namespace(rows=0) -%}
    {%- set firsts = [] -%}
    {%- for file in files -%}
      {%- for first in range(1 + (-last.rows) % most, file.physical_rows + 1, most) -%}{%- do firsts.append(file.k * 4294967296 + first) -%}{%- endfor -%}
      {%- set last.rows = last.rows + file.physical_rows -%}
    {%- endfor -%}
    {%- set firsts = firsts or [files[0].k * 4294967296 + 1] -%}
  {%- endif -%}
  {%- do return({'n': firsts | length, 'firsts': firsts}) -%}
{% endmacro %}


{% macro parts_of_originals(plan) %}
  {#- A slice of the result is joined and put in order in memory: of each original its row and what it takes of the entities,
      and buffers of each column, of which many take more than their rows. Where rows are large they are weighed one by one: long ones
      may stand together. -#}
  {%- set columns = plan.crm | length + plan.vendor | length -%}
  {%- set widest = namespace(vendor=0) -%}
  {%- for file in plan.files if file.k > 0 -%}{%- set widest.vendor = [widest.vendor, file.row_bytes + bytes_held(file.row_bytes)] | max -%}{%- endfor -%}
  {%- set buffers = 24 * columns + columns * columns // 10 + 400 -%}
  {%- if not rows_are_large(plan) -%}
    {%- set row = plan.files[0].row_bytes + bytes_held(plan.files[0].row_bytes) + widest.vendor + buffers -%}
    {%- set firsts = range(1, [plan.files[0].physical_rows, 1] | max + 1, [room_of_part() // row, 100] | max) | list -%}
  {%- else -%}
    {%- set texts = [] -%}
    {%- for v in plan.vendor -%}{%- do texts.append('strlen(' ~ sql_name(v.column) ~ ')') -%}{%- endfor -%}
    {%- set weighed = 'sizes as (' ~ sizes_of_landed(plan.files[:1], plan) ~ '),
      taken as (
        select original_row, sum(bytes + ' ~ held('bytes') ~ ') as bytes
        from (select _merge_original_row as original_row, ' ~ bytes_of_texts(texts) ~ ' as bytes from ' ~ ref('int_enriched_consolidated') ~ ')
        group by original_row
      ),
      originals as (
        select s.record as original_row, s.bytes + s.held + coalesce(t.bytes, 0) as bytes
        from sizes as s left join taken as t on s.record = t.original_row
      )' -%}
    {%- set firsts = firsts_by_bytes(weighed, 'originals', 'original_row', 'bytes + ' ~ buffers) -%}
  {%- endif -%}
  {%- do return({'n': firsts | length, 'firsts': firsts}) -%}
{% endmacro %}


{% macro parts_of_newcomers(plan) %}
  {#- Their rows are put in order in memory, and an engine that sorts long texts does not spill them. Of each there is its row and buffers of each column;
      where rows are large they are weighed one by one. -#}
  {%- set widest = namespace(vendor=0) -%}
  {%- for file in plan.files if file.k > 0 -%}{%- set widest.vendor = [widest.vendor, file.row_bytes + bytes_held(file.row_bytes)] | max -%}{%- endfor -%}
  {%- set width = widest.vendor + 24 * plan.vendor | length + 400 -%}
  {%- set most = query_value('select count(*) from ' ~ ref('int_entities') ~ ' where record = entity') | int -%}
  {%- set firsts = [0] -%}
  {%- if rows_are_large(plan) or most * width > room_of_part() -%}
    {%- set held, sizes = width, '' -%}
    {%- if rows_are_large(plan) -%}{%- set held, sizes = 's.held', ' inner join (' ~ sizes_of_landed(plan.files[1:], plan) ~ ') as s on e.record = s.record' -%}{%- endif -%}
    {%- set weighed = 'linked as (select distinct entity from ' ~ ref('int_matches') ~ '),
      newcomers as (
        select e.entity, ' ~ held ~ ' as held
        from ' ~ ref('int_entities') ~ ' as e' ~ sizes ~ ' left join linked as l on e.entity = l.entity
        where l.entity is null and not e.is_quarantined' ~ ('' if sizes else ' and e.record = e.entity') ~ '
      )' -%}
    {%- set firsts = firsts_by_bytes(weighed, 'newcomers', 'entity', 'held') -%}
  {%- endif -%}
  {%- do return({'n': firsts | length, 'firsts': firsts}) -%}
{% endmacro %}


{% macro firsts_by_bytes(weighed, relation, number, bytes) %}
  {#- The numbers with which parts begin, so that the bytes of each keep within the room of a part, and its rows within most_rows. They are
      cut between blocks of 100 numbers, and within those that take a quarter of the room. -#}
  {%- set block = [100, most_rows()] | min -%}
  {%- set firsts = fromjson(query_value('
    with ' ~ weighed ~ ',
    weights as (select ' ~ number ~ ' as number, greatest(' ~ bytes ~ ', ' ~ (room_of_part() // most_rows() + 1) ~ ') as bytes from ' ~ relation ~ '),
    blocks as (select (number - 1) // ' ~ block ~ ' as block, sum(bytes) as bytes from weights group by 1),
    pieces as (
      select block * ' ~ block ~ ' + 1 as first, bytes from blocks where bytes <= ' ~ (room_of_part() // 4) ~ '
      union all
      select w.number, w.bytes
      from weights as w inner join blocks as b on (w.number - 1) // ' ~ block ~ ' = b.block and b.bytes > ' ~ (room_of_part() // 4) ~ '
    ),
    parts as (select first, (sum(bytes) over (order by first) - bytes) // ' ~ room_of_part() ~ ' as part from pieces),
    firsts as (select min(first) as first from parts group by part)
    select to_json(coalesce(list(cast(first as bigint) order by first), [])) from firsts')) -%}
  {#- numbers before the first row that could be read are of the first part as well -#}
  {%- do return([0] + firsts[1:]) -%}
{% endmacro %}


{% macro room_of_part() %}
  {#- The bytes that a part may have in memory. -#}
  {%- do return((memory_limit() * 0.4) | int) -%}
{% endmacro %}


{% macro sizes_of_landed(files, plan) -%}
  {#- SQL: of each landed row of the files, record, the bytes of its texts, and `held`, which is bytes_held of them. The texts are read once, when
      this is first asked for. -#}
  {%- set paths = [] -%}
  {%- for file in files -%}
    {%- do paths.append(sql_path(landed_path(plan, file, 'sizes'))) -%}
    {%- if not recall('sizes of ' ~ file.k) -%}
      {%- set texts = [] -%}
      {%- for h in plan.headers if h.k == file.k -%}{%- do texts.append('strlen(c' ~ h.position ~ ')') -%}{%- endfor -%}
      {%- do run_statement('copy (select ' ~ file.k ~ ' * 4294967296 + ' ~ landed_row(file) ~ ' as record, ' ~ bytes_of_texts(texts) ~ ' as bytes from read_parquet('
        ~ sql_path(landed_path(plan, file)) ~ ', file_row_number = true)) to ' ~ sql_text(landed_path(plan, file, 'sizes')) ~ ' (format parquet, compression lz4)') -%}
      {%- do remember('sizes of ' ~ file.k, file.sha256) -%}
    {%- endif -%}
  {%- endfor -%}
  select record, bytes, {{ held('bytes') }} as held from read_parquet([{{ paths | join(', ') }}])
{%- endmacro %}


{% macro bytes_of_texts(lengths) -%}
  {#- SQL: the bytes of a row, by those of its texts. No sum of terms: an engine does not read a thousand. -#}
  1 + cast(coalesce(list_sum([{{ lengths | join(', ') }}]), 0) as bigint)
{%- endmacro %}


{% macro bytes_held(bytes) %}
  {#- What the texts of a row take where rows are joined and sorted: of long ones several copies, since an engine reads and hands on
      2,048 rows at a time whatever they hold. Measured with cells of 20,000 characters. -#}
  {%- do return([bytes, 8 * bytes - 3500] | max) -%}
{% endmacro %}


{% macro held(bytes) -%}
  {#- SQL: the same of a column. -#}
  greatest({{ bytes }}, 8 * {{ bytes }} - 3500)
{%- endmacro %}


{% macro rows_are_large(plan) %}
  {#- Are rows so wide or so long, be it in one place of a file (or does somebody want so small parts) that what is done at once for all rows
      of other merges is done in parts as well? Or do long rows hold so much that it would not fit where a merge brings them together? -#}
  {%- set longest = namespace(row=0, bytes=0) -%}
  {%- for file in plan.files -%}
    {%- set longest.row = [longest.row, file.densest] | max -%}
    {%- set longest.bytes = longest.bytes + file.long_bytes -%}
  {%- endfor -%}
  {%- do return(plan.crm | length + plan.vendor | length > 60 or longest.row > 2000 or (longest.bytes > 0 and longest.bytes > room_of_part() // 4) or most_rows() < 1000000000) -%}
{% endmacro %}
