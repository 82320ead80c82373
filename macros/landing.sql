{#- Landing: every file is parsed once, streaming, into Parquet in file order. What a row of the file is, and which can not be read, was settled from
    its bytes (crm_merge/reading); DuckDB's rows are held against that count. Small files of one shape are landed by one statement.
    Then the keys of all cells are computed, for both engines, by one statement for each key type (key_cells.sql). -#}

{% macro land_files() %}
  {#- Pre-hook of stg_files: lands every file of the merge, or refuses those that did not read as expected. -#}
  {{ return(adapter.dispatch('land_files', 'crm_merge')()) }}
{% endmacro %}


{% macro duckdb__land_files() %}
  {%- if execute -%}
    {%- set plan = merge_plan() -%}
    {%- set problems = [] -%}
    {%- do query_value("select crm_landing_cleared('')") if not landed_before() -%}
    {%- for shape in plan.shapes -%}
      {%- for landing in shape.landings if builds_anew() or not (resumes() and recall('finished landing ' ~ landing.k)) -%}
        {%- do forget('parts of ') -%}
        {%- do forget('sizes of ') -%}
        {%- do build_anew() -%}
        {%- do land(landing, shape, plan, problems) -%}
        {%- do remember('finished landing ' ~ landing.k, shape.number) if not problems -%}
      {%- endfor -%}
    {%- endfor -%}
    {%- do problems.extend(fromjson(query_value("select crm_files_changed('')"))) -%}
    {%- if problems -%}{%- do refuse('A file can not be read.', problems) -%}{%- endif -%}
    {%- do land_keys(plan) -%}
    {%- do land_plan(plan) -%}
  {%- endif -%}
{% endmacro %}


{% macro landed_before() %}
  {#- Has the run that this one resumes landed any file? -#}
  {%- for entry in merge_plan().journal or {} if resumes() and entry.startswith('finished landing ') -%}{%- do return(true) -%}{%- endfor -%}
  {%- do return(false) -%}
{% endmacro %}


{% macro land_plan(plan) %}
  {#- The plan beside the files, with the reference values that models ask for: for an engine that knows nothing but what was landed. -#}
  {%- for tier in plan.tiers + plan.evidence -%}{%- do blocked_as(tier_kind(tier), 'key_value', plan.guards, tier.label) -%}{%- endfor -%}
  {%- do query_value('select crm_plan_landed(' ~ sql_text(tojson({'spec': spec_number(), 'references': plan.references, 'fell_back': plan.fell_back or []})) ~ ')') -%}
{% endmacro %}


{% macro landed_plan_path(directory) %}{% do return(landed_table(directory, 'plan')) %}{% endmacro %}


{% macro landed_table(directory, name) %}
  {#- What the plan says of files and columns lies beside them. -#}
  {%- do return(directory ~ '/.crm-merge/landing/' ~ name ~ '.parquet') -%}
{% endmacro %}


{% macro spec_number() %}
  {#- A hash of what the spec says a merge is made from; when it runs and where the result goes does not count. -#}
  {%- set made_from = {} -%}
  {%- for name, setting in var('merge').items() if name not in ['export', 'schedule', 'time_limit_minutes'] -%}{%- do made_from.update({name: setting}) -%}{%- endfor -%}
  {%- do return(local_md5(tojson(made_from))) -%}
{% endmacro %}


{#- -- One landing: files that one statement reads -- -#}

{% macro land(landing, shape, plan, problems) %}
  {#- Lands files at once, or one by one where one of them was not read as it was counted. -#}
  {%- set alone = landing.files | length == 1 or landing.files | select('in', plan.fell_back or []) | list -%}
  {%- if not alone and not land_rows({'landing': landing.k}, plan.files[landing.k], shape, plan, problems) and not problems -%}{%- do return(none) -%}{%- endif -%}
  {%- for k in landing.files if not problems -%}{%- do land_file(plan.files[k], shape, plan, problems) -%}{%- endfor -%}
{% endmacro %}


{% macro land_file(file, shape, plan, problems) %}
  {#- Lands one file. Where DuckDB sees other rows than were counted it is read once more, row by row, by the careful reader. -#}
  {%- set misread = land_rows({'file': file.k, 'way': file.way}, file, shape, plan, problems) -%}
  {%- if misread and file.way in ['direct', 'recode'] and not problems -%}
    {%- do fall_back(file, plan) -%}
    {%- do remember('way ' ~ file.k ~ ' ' ~ file.sha256, 'rewrite') -%}
    {%- set misread = land_rows({'file': file.k, 'way': file.way}, file, shape, plan, problems) -%}
  {%- endif -%}
  {%- if misread and not problems -%}
    {%- do problems.append(file.setting ~ ': ' ~ file.path.split('/') | last ~ ' holds ' ~ file.physical_rows ~ ' rows, but ' ~ rows_landed(file, shape, plan) ~ ' were read and '
      ~ file.rejected_rows ~ ' rejected: the file can not be read with certainty; check its quotes and line ends, or export it again') -%}
  {%- endif -%}
{% endmacro %}


{% macro fall_back(file, plan) %}
  {#- Says that a file is read row by row from here on. -#}
  {%- do file.update({'way': 'rewrite'}) -%}
  {%- do plan.setdefault('fell_back', []).append(file.k) -%}
{% endmacro %}


{% macro land_rows(request, first, shape, plan, problems) %}
  {#- Lands the rows and the rejects of files, of which the first says how they are read; returns whether any was read other than counted. -#}
  {%- set begun = fromjson(query_value('select crm_landing_begun(' ~ sql_text(tojson(request)) ~ ')')) -%}
  {%- do problems.extend(begun.problems) -%}
  {%- if problems -%}{%- do return(false) -%}{%- endif -%}
  {%- do enter_landing(request, first.k) -%}
  {%- set path = landed_path(plan, shape, first.k) -%}
  {%- set landed = 'copy (' ~ landed_rows(shape, plan, read_landing(first, shape, begun.several)) ~ ') to ' ~ sql_text(path) ~ ' (format parquet, compression lz4, row_group_size ' ~ shape.rows_together ~ ')' -%}
  {%- if begun.several -%}{%- do run_on_one_thread(landed) -%}{%- else -%}{%- do run_statement(landed) -%}{%- endif -%}
  {%- for k in begun.rejects -%}{%- do land_rejects(plan.files[k], plan) -%}{%- endfor -%}
  {%- set counts = query_value('select to_json(map_from_entries(list((k, n)))) from (select ' ~ landed_file(first, shape) ~ ' as k, count(*) as n from ' ~ parquet_rows(path) ~ ' group by 1)') -%}
  {%- set misread = fromjson(query_value('select crm_landing_misread(' ~ sql_text(tojson(dict(request, counts=fromjson(counts or '{}')))) ~ ')')) -%}
  {%- do return(misread | length > 0) -%}
{% endmacro %}


{% macro run_on_one_thread(sql) %}
  {#- Numbering rows is the work of one thread. With several, DuckDB's writer of Parquet keeps a batch for each file, in order: that takes ten times as long. -#}
  {%- set threads = query_value("select current_setting('threads')") -%}
  {%- do run_statement('set threads = 1') -%}
  {%- do run_statement(sql) -%}
  {%- do run_statement('set threads = ' ~ threads) -%}
{% endmacro %}


{% macro rows_landed(file, shape, plan) %}
  {%- do return(query_value('select count(*) from ' ~ parquet_rows(landed_path(plan, shape, file.k))) | int) -%}
{% endmacro %}


{% macro land_rejects(file, plan) %}
  {#- The rows of a file that can not be read, as its copying found them. -#}
  {%- do run_statement(
    'copy (select ' ~ file.k ~ ' as file_order, cast(source_row as bigint) as source_row, cast(line as bigint) as line, cast(byte_position as bigint) as byte_position, reason, raw_text from '
    ~ read_pinned(sql_path(rejects_copy(file, plan)), ',', ['source_row', 'line', 'byte_position', 'reason', 'raw_text'])
    ~ ' order by source_row) to ' ~ sql_text(landed_table(plan.directory, 'rejects_' ~ file.k)) ~ ' (format parquet)'
  ) -%}
{% endmacro %}


{% macro landed_path(plan, shape, k) %}
  {#- The landed rows of a landing, or of one file. -#}
  {%- do return(landed_table(plan.directory, 'rows_' ~ shape.number ~ '_' ~ k)) -%}
{% endmacro %}


{% macro landed_rejects(plan) %}{% do return(parquet_files(plan.directory ~ '/.crm-merge/landing/rejects_')) %}{% endmacro %}


{#- -- Reading files -- -#}

{% macro read_pinned(paths, delimiter, columns, compression='none', parallel=false) -%}
  {#- read_csv with everything pinned: nothing is sniffed, all text. `paths` is SQL. A row that DuckDB can not read is left out, so that
      the count tells; its own reason would end the merge without one of ours. `parallel` only where no cell holds a
      line break: a thread that begins in the middle of such a cell takes its lines for rows. -#}
  read_csv(
    {{ paths }},
    auto_detect = false, hive_partitioning = false, header = true, all_varchar = true, compression = '{{ compression }}',
    delim = {{ sql_text(delimiter) }}, quote = '"', escape = '"', encoding = 'utf-8',
    parallel = {{ 'true' if parallel else 'false' }}, strict_mode = true, null_padding = false, ignore_errors = true, maximum_line_size = 4194304, buffer_size = 8388608,
    columns = { {%- for column in columns -%} '{{ column }}': 'VARCHAR'{{ ', ' if not loop.last }} {%- endfor -%} }
  )
{%- endmacro %}


{% macro read_file(file, path) -%}
  {#- The rows of a file, its cells named c1, c2, … and `_merge_row`, the number of the row where it is not its place. -#}
  {%- if file.way == 'parquet' -%}
    (select cast(null as varchar) as _merge_row, {{ parquet_cells(file, partition_texts(file)) }}
    from read_parquet({{ sql_path(path) }}, hive_partitioning = false, binary_as_string = true))
  {%- elif file.way == 'rewrite' -%}
    {{ read_pinned(sql_path(path), ',', ['_merge_row'] + cells_of_file(file)) }}
  {%- else -%}
    (select cast(null as varchar) as _merge_row, * from {{ read_pinned(sql_path(path), file.dialect.delimiter, cells_of_file(file), compression_of(file), not file.multiline) }})
  {%- endif -%}
{%- endmacro %}


{% macro enter_landing(request, k) %}
  {#- Says which files read_landing reads. The paths of thousands are no text of a statement. -#}
  {%- do run_statement('set variable landing_' ~ k ~ ' = from_json(crm_landing_files(' ~ sql_text(tojson(request)) ~ "), '" ~ '{"paths": ["VARCHAR"], "files": ["BIGINT"], "before": ["BIGINT"], "partitions": [["VARCHAR"]]}' ~ "')") -%}
{% endmacro %}


{% macro read_landing(file, shape, several) -%}
  {#- The rows of the files that were entered, of which the first is `file`; `several`: are there more? `_merge_record` is the number of the
      record where it is not the place in the file that says it, c1, c2, … are the cells. Of small files rows are numbered, which is the work
      of one thread. A file with a column of its own called file_index is never among several. -#}
  {%- set landing = "getvariable('landing_" ~ file.k ~ "')" -%}
  {%- set which = '[cast(file_index as bigint) + 1]' if several else '[1]' -%}
  {%- set number = landing ~ '.files' ~ which ~ ' * 4294967296 + ' -%}
  {%- set counted = number ~ 'row_number() over () - ' ~ landing ~ '.before' ~ which if shape.keeps_record else 'cast(null as bigint)' -%}
  {%- set cells = cells_of_file(file) -%}
  {%- if file.way == 'parquet' -%}
    {%- set partitions = [] -%}
    {%- for name in file.partitions -%}{%- do partitions.append(landing ~ '.partitions' ~ which ~ '[' ~ loop.index ~ ']') -%}{%- endfor -%}
    (select {{ counted }} as _merge_record, {{ parquet_cells(file, partitions) }}
    from read_parquet({{ landing }}.paths, hive_partitioning = false, binary_as_string = true))
  {%- elif file.way == 'rewrite' -%}
    (select {{ number }} cast(_merge_row as bigint) as _merge_record, {{ cells | join(', ') }}
    from {{ read_pinned(landing ~ '.paths', ',', ['_merge_row'] + cells) }})
  {%- else -%}
    (select {{ counted }} as _merge_record, {{ cells | join(', ') }}
    from {{ read_pinned(landing ~ '.paths', file.dialect.delimiter, cells, compression_of(file), not file.multiline and not shape.keeps_record) }})
  {%- endif -%}
{%- endmacro %}


{% macro partition_texts(file) %}
  {%- set texts = [] -%}
  {%- for value in file.partitions.values() -%}{%- do texts.append(sql_text(value)) -%}{%- endfor -%}
  {%- do return(texts) -%}
{% endmacro %}


{% macro cells_of_file(file) %}
  {%- set cells = [] -%}
  {%- for n in range(1, (file.header | length) + 1) -%}{%- do cells.append('c' ~ n) -%}{%- endfor -%}
  {%- do return(cells) -%}
{% endmacro %}


{% macro compression_of(file) %}{% do return(file.compression if file.way == 'direct' and file.compression != 'plain' else 'none') %}{% endmacro %}


{% macro parquet_cells(file, partitions) -%}
  {#- The cells of a Parquet file as text, and behind them those of the folders that it lies in, given as SQL. -#}
  {%- for name in file.columns_read -%} {{ parquet_text(sql_name(name), file.types[loop.index0]) }} as c{{ loop.index }}{{ ', ' if not loop.last or partitions }} {%- endfor -%}
  {%- for value in partitions -%} {{ value }} as c{{ (file.columns_read | length) + loop.index }}{{ ', ' if not loop.last }} {%- endfor -%}
{%- endmacro %}


{% macro parquet_text(column, type) -%}
  {#- A typed cell as text. Whole numbers lose the `.0` that spreadsheets of numbers with gaps get on their way through
      floating point: it would make another phone number. -#}
  {%- if type == 'VARCHAR' -%} {{ column }}
  {%- elif type in ['FLOAT', 'DOUBLE'] -%}
    case when isnan({{ column }}) then null
      when abs({{ column }}) < 9e18 and {{ column }} = trunc({{ column }}) then cast(cast({{ column }} as bigint) as varchar)
      else cast({{ column }} as varchar) end
  {%- elif '(' in type and not type.startswith('DECIMAL') or '[' in type -%} cast(to_json({{ column }}) as varchar)
  {%- else -%} cast({{ column }} as varchar)
  {%- endif -%}
{%- endmacro %}


{#- -- Landed rows -- -#}

{% macro landed_rows(shape, plan, read, only=none) %}
  {#- The SELECT that lands files of a shape: `_merge_record`, the number of the record where the row's place does not say it; the cells by position,
      c1, c2, … (the CRM's raw; a vendor's NFC, null where blank); the number of the whole row as it stands in the file, which rows may
      share that only look alike; and what strategies and guards need of it. With `only` these positions alone, for who looks for keys. -#}
  {%- set columns = ['_merge_record'] -%}
  {%- set compared = forms_for_strategies(plan) -%}
  {%- set cells = [] -%}
  {%- for h in shape.headers if only is none or h.position in only -%}
    {%- set cell = 'c' ~ h.position -%}
    {%- do cells.append(cell) -%}
    {%- do columns.append(cell if shape.number == 0 else 'case when not ' ~ is_blank(cell, h.is_name) ~ ' then nfc_normalize(' ~ cell ~ ') end as ' ~ cell) -%}
    {%- if shape.number > 0 and only is none and h.column in compared and not h.key_type -%}{%- do columns.append(form_of(cell, 'not ' ~ is_blank(cell, h.is_name)) ~ ' as form_' ~ h.position) -%}{%- endif -%}
  {%- endfor -%}
  {%- if shape.number > 0 and only is none -%}{%- do columns.append('hash(' ~ cells | join(', ') ~ ') as _merge_fingerprint') -%}{%- endif -%}
  {%- do columns.extend(['_merge_surname', '_merge_given']) if weak_tiers(plan) -%}
  select {{ columns | join(', ') }}
  from {{ staged(read, name_stages(shape) if weak_tiers(plan) else []) }}
{% endmacro %}


{% macro landed_record(shape, plan) -%}
  {#- The number of a landed row's record. Of one file that was not rewritten it is the row's place, by which a reader skips what it does not need. -#}
  {%- set first = shape.number * 4294967296 + 1 -%}
  {{ '_merge_record' if shape.keeps_record or plan.files[shape.number].way == 'rewrite' else '(' ~ first ~ ' + ' ~ place_in_file() ~ ')' }}
{%- endmacro %}


{% macro landed_file(file, shape) -%}
  {#- The number of a landed row's file. -#}
  {{ file_of('_merge_record') if shape.keeps_record else file.k }}
{%- endmacro %}


{% macro rows_of_shape(shape, plan, what='rows') -%}
  {#- The landed rows of all files of a shape. -#}
  {{ parquet_files(plan.directory ~ '/.crm-merge/landing/' ~ what ~ '_' ~ shape.number ~ '_') }}
{%- endmacro %}


{% macro staged(relation, stages) -%}
  {#- Queries over queries: each stage, {column: expression}, adds its columns to those below it. -#}
  {%- set stages = stages | select | list -%}
  {%- for stage in stages | reverse -%}
  (select *{% for name, expression in stage.items() %}, {{ expression }} as {{ name }}{% endfor %} from {% endfor -%}
  {{ relation }}
  {%- for stage in stages %}) as stage_{{ loop.index }}{% endfor %}
{%- endmacro %}


{#- -- What landed rows say, whatever their spelling -- -#}

{% macro land_forms() %}
  {#- Pre-hook of stg_forms: lands what the rows say, and who they speak of, for an engine that can not compute it. -#}
  {{ return(adapter.dispatch('land_forms', 'crm_merge')()) }}
{% endmacro %}


{% macro duckdb__land_forms() %}
  {%- if execute -%}
    {%- set plan = merge_plan() -%}
    {%- for shape in plan.shapes -%}
      {%- for first, last in shape.stretches if builds_anew() or not (resumes() and recall('finished forms ' ~ first)) -%}
        {%- do query_value('select crm_landing_cleared(' ~ sql_text('forms_' ~ shape.number ~ '_') ~ ')') if first == shape.stretches[0][0] -%}
        {%- do build_anew() -%}
        {%- do run_statement('copy (' ~ forms_to_land(shape, plan, first, last) ~ ') to ' ~ sql_text(landed_table(plan.directory, 'forms_' ~ shape.number ~ '_' ~ first)) ~ ' (format parquet, compression lz4, row_group_size ' ~ shape.rows_together ~ ')') -%}
        {%- do remember('finished forms ' ~ first, last) -%}
      {%- endfor -%}
    {%- endfor -%}
  {%- endif -%}
{% endmacro %}


{% macro forms_to_land(shape, plan, first, last) %}
  {#- The SELECT of what a stretch of rows of a shape says, whatever their spelling: record; form_1, form_2, … by the number of the
      vendors' column, of those that hold no keys; and the name of the row. -#}
  {%- set columns = [landed_record(shape, plan) ~ ' as record'] -%}
  {%- for h in shape.headers if not h.key_type -%}
    {%- for v in plan.vendor if v.column == h.column -%}
      {%- set cell = 'c' ~ h.position -%}
      {%- do columns.append(form_of(cell, cell ~ ' is not null' if shape.number else 'not ' ~ is_blank(cell, h.is_name)) ~ ' as form_' ~ v.index) -%}
    {%- endfor -%}
  {%- endfor -%}
  select {{ (columns + ['_merge_surname', '_merge_given']) | join(', ') }}
  from {{ staged(rows_of_shape(shape, plan), name_stages(shape) if not weak_tiers(plan) else []) }}
  where {{ landed_record(shape, plan) }} between {{ first }} and {{ last }}
{% endmacro %}


{% macro landed_forms(plan) %}
  {#- What was landed of the forms, of all files: record, form_1, form_2, … -#}
  (
    {%- for shape in plan.shapes %}
    {%- set columns = shape.headers | rejectattr('key_type') | map(attribute='column') | list %}
    select
      record
      {%- for v in plan.vendor if not v.key_type %},
      {{ 'form_' ~ v.index if v.column in columns else 'cast(null as bigint) as form_' ~ v.index }}
      {%- endfor %}
    from {{ rows_of_shape(shape, plan, 'forms') }}
    {{ 'union all' if not loop.last }}
    {%- else %}
    select 0 as record
    {%- endfor %}
  )
{% endmacro %}


{% macro names_of_shape(shape, plan) -%}
  {#- The rows of a shape with their names: record, _merge_surname, null without a name, and _merge_given. -#}
  {{ return(adapter.dispatch('names_of_shape', 'crm_merge')(shape, plan)) }}
{%- endmacro %}


{% macro duckdb__names_of_shape(shape, plan) %}
  {#- in full: a view is read in other sessions -#}
  {%- set before = plan.in_full -%}
  {%- do plan.update({'in_full': true}) -%}
  (select *, {{ landed_record(shape, plan) }} as record from {{ staged(rows_of_shape(shape, plan), name_stages(shape) if not weak_tiers(plan) else []) }})
  {%- do plan.update({'in_full': before}) -%}
{% endmacro %}


{% macro form_of(cell, is_filled) -%}
  {#- The number of what a cell without keys says; null for a blank. -#}
  case when {{ is_filled }} then {{ hash_number(comparison_form('nfc_normalize(' ~ cell ~ ')')) }} end
{%- endmacro %}


{% macro forms_for_strategies(plan) %}
  {#- The columns whose strategy compares what cells say: their forms are landed with the rows, or with the keys. -#}
  {%- set columns = [] -%}
  {%- for v in plan.vendor if not v.group and v.strategy.name in needs_forms() -%}{%- do columns.append(v.column) -%}{%- endfor -%}
  {%- do return(columns) -%}
{% endmacro %}


{#- -- Files of decisions -- -#}

{% macro readable_path(file, plan, problems) %}
  {#- The file itself, or a copy of it where its bytes are not what DuckDB reads. -#}
  {%- if file.way in ['direct', 'parquet'] -%}{%- do return(file.path) -%}{%- endif -%}
  {%- set to = plan.directory ~ '/.crm-merge/landing/copy_' ~ file.k ~ '.csv' -%}
  {%- set problem = query_value('select crm_files_copy(' ~ sql_text(tojson({'file': file, 'to': to, 'rejects_to': rejects_copy(file, plan)})) ~ ')') -%}
  {%- if problem -%}{%- do problems.append(file.setting ~ ': ' ~ problem) -%}{%- endif -%}
  {%- do return(to) -%}
{% endmacro %}


{% macro rejects_copy(file, plan) %}{% do return(plan.directory ~ '/.crm-merge/landing/rejects_' ~ file.k ~ '.csv') %}{% endmacro %}
