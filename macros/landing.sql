{#- Landing: every file is parsed once, streaming, into Parquet in file order; here match keys are computed, for
    both engines. What a row of the file is, and which can not be read, was settled from its bytes
    (crm_merge/reading); DuckDB's rows are held against that count. -#}

{% macro land_files() %}
  {#- Pre-hook of stg_files: lands every file of the merge, or refuses those that did not read as expected. -#}
  {{ return(adapter.dispatch('land_files', 'crm_merge')()) }}
{% endmacro %}


{% macro duckdb__land_files() %}
  {%- if execute -%}
    {%- set plan = merge_plan() -%}
    {%- set problems = [] -%}
    {%- for file in plan.files if builds_anew() or not (resumes() and recall('finished landing ' ~ file.k)) -%}
      {%- do forget('parts of ') -%}
      {%- do forget('sizes of ') -%}
      {%- do build_anew() -%}
      {%- do land_file(file, plan, problems) -%}
      {%- do remember('finished landing ' ~ file.k, file.way) if not problems -%}
    {%- endfor -%}
    {%- do problems.extend(fromjson(query_value('select crm_files_changed(' ~ sql_text(tojson(plan.files)) ~ ')'))) -%}
    {%- if problems -%}{%- do refuse('A file can not be read.', problems) -%}{%- endif -%}
    {%- do land_plan(plan) -%}
  {%- endif -%}
{% endmacro %}


{% macro land_plan(plan) %}
  {#- The plan beside the files, with the reference values that models ask for: for an engine that knows nothing but what was landed. -#}
  {%- for tier in plan.tiers + plan.evidence -%}{%- do blocked_as(tier_kind(tier), 'key_value', plan.guards, tier.label) -%}{%- endfor -%}
  {%- set landed = {'spec': spec_number(), 'plan': plan} -%}
  {%- do run_statement('copy (select ' ~ sql_text(tojson(landed)) ~ ' as plan) to ' ~ sql_text(landed_plan_path(plan.directory)) ~ ' (format parquet)') -%}
{% endmacro %}


{% macro landed_plan_path(directory) %}{% do return(directory ~ '/.crm-merge/landing/plan.parquet') %}{% endmacro %}


{% macro spec_number() %}
  {#- A hash of what the spec says a merge is made from; when it runs and where the result goes does not count. -#}
  {%- set made_from = {} -%}
  {%- for name, setting in var('merge').items() if name not in ['export', 'schedule', 'time_limit_minutes'] -%}{%- do made_from.update({name: setting}) -%}{%- endfor -%}
  {%- do return(local_md5(tojson(made_from))) -%}
{% endmacro %}


{% macro land_forms() %}
  {#- Pre-hook of stg_forms: computes from the landed rows what they say. -#}
  {{ return(adapter.dispatch('land_forms', 'crm_merge')()) }}
{% endmacro %}


{% macro duckdb__land_forms() %}
  {%- if execute -%}
    {%- set plan = merge_plan() -%}
    {%- for file in plan.files if builds_anew() or not (resumes() and recall('finished forms ' ~ file.k)) -%}
      {%- do build_anew() -%}
      {%- do run_statement('copy (' ~ landed_forms(file, plan) ~ ') to ' ~ sql_text(landed_path(plan, file, 'forms')) ~ ' (format parquet, compression lz4, row_group_size ' ~ rows_together(file) ~ ')') -%}
      {%- do remember('finished forms ' ~ file.k, file.sha256) -%}
    {%- endfor -%}
  {%- endif -%}
{% endmacro %}


{% macro landed_path(plan, file, what='rows') %}
  {%- do return(plan.directory ~ '/.crm-merge/landing/' ~ what ~ '_' ~ file.k ~ '.parquet') -%}
{% endmacro %}


{% macro read_pinned(path, delimiter, columns, compression='none', parallel=false) -%}
  {#- read_csv with everything pinned: nothing is sniffed, all text. A row that DuckDB can not read is left out, so that
      the count tells; its own reason would end the merge without one of ours. `parallel` only where no cell holds a
      line break: a thread that begins in the middle of such a cell takes its lines for rows. -#}
  read_csv(
    {{ sql_path(path) }},
    auto_detect = false, hive_partitioning = false, header = true, all_varchar = true, compression = '{{ compression }}',
    delim = {{ sql_text(delimiter) }}, quote = '"', escape = '"', encoding = 'utf-8',
    parallel = {{ 'true' if parallel else 'false' }}, strict_mode = true, null_padding = false, ignore_errors = true, maximum_line_size = 4194304, buffer_size = 8388608,
    columns = { {%- for column in columns -%} '{{ column }}': 'VARCHAR'{{ ', ' if not loop.last }} {%- endfor -%} }
  )
{%- endmacro %}


{% macro read_file(file, path) -%}
  {#- The rows of a file, its cells named c1, c2, … and `_merge_row`, the number of the row where it is not its place. -#}
  {%- set cells = [] -%}
  {%- for n in range(1, (file.header | length) + 1) -%}{%- do cells.append('c' ~ n) -%}{%- endfor -%}
  {%- if file.way == 'parquet' -%}
    (select cast(null as varchar) as _merge_row
      {%- for name in file.columns_read -%}, {{ parquet_text(sql_name(name), file.types[loop.index0]) }} as c{{ loop.index }} {%- endfor -%}
      {%- for value in file.partitions.values() -%}, {{ sql_text(value) }} as c{{ (file.columns_read | length) + loop.index }} {%- endfor %}
    from read_parquet({{ sql_path(path) }}, hive_partitioning = false, binary_as_string = true))
  {%- elif file.way == 'rewrite' -%}
    {{ read_pinned(path, ',', ['_merge_row'] + cells) }}
  {%- else -%}
    (select cast(null as varchar) as _merge_row, * from {{ read_pinned(path, file.dialect.delimiter, cells, file.compression if file.way == 'direct' and file.compression != 'plain' else 'none', not file.multiline) }})
  {%- endif -%}
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


{% macro landed_rows(file, plan, path) %}
  {#- The SELECT that lands a file: its cells by position, c1, c2, … (the CRM's raw; a vendor's NFC, null where blank); the number of
      the whole row as it stands in the file, which rows may share that only look alike; the key lists, one per tier; and of what stg_forms computes the part that
      strategies and guards need. Keys are computed in a query below, since DuckDB would compute a CASE again wherever it stands. -#}
  {%- set stages = [{}, {}, {}, {}] -%}
  {%- set region_stages = row_region_stages(file, plan, match_kinds(plan, file)) -%}
  {%- set row_region = '_merge_phone_rules' if region_stages -%}
  {%- set columns = ['cast(_merge_row as bigint) as _merge_row'] -%}
  {%- set compared = forms_for_strategies(plan) -%}
  {%- set cells = [] -%}
  {%- for h in plan.headers if h.k == file.k -%}
    {%- set cell = 'c' ~ h.position -%}
    {%- do cells.append(cell) -%}
    {%- do columns.append(cell if file.k == 0 else 'case when not ' ~ is_blank(cell, h.is_name) ~ ' then nfc_normalize(' ~ cell ~ ') end as ' ~ cell) -%}
    {%- if file.k > 0 and h.column in compared -%}
      {%- if h.key_type -%}{%- do add_stages(stages, key_stages(h.key_type, cell, file.region, h.is_name, row_region)) -%}{%- endif -%}
      {%- do columns.append(form_of(cell, h, 'not ' ~ is_blank(cell, h.is_name)) ~ ' as form_' ~ h.position) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- if file.k > 0 -%}{%- do columns.append('hash(' ~ cells | join(', ') ~ ') as _merge_fingerprint') -%}{%- endif -%}
  {%- for tier in plan.tiers + plan.evidence if file.k in tier.columns -%}
    {%- set lists = [] -%}
    {%- set kind = tier_kind(tier) -%}
    {%- for h in tier.columns[file.k] -%}
      {%- set cell = 'c' ~ h.position -%}
      {%- if (cell ~ '_' ~ kind) not in stages[3] and (cell ~ '_' ~ kind) not in stages[0] -%}
        {%- do add_stages(stages, key_stages(kind, cell, file.region, h.is_name, row_region)) -%}
      {%- endif -%}
      {%- do lists.append(cell ~ '_' ~ kind) -%}
    {%- endfor -%}
    {%- do columns.append((lists[0] if lists | length == 1 else 'list_distinct(list_concat(' ~ lists | join(', ') ~ '))') ~ ' as _merge_keys_' ~ tier.tier) -%}
  {%- endfor -%}
  {%- if weak_tiers(plan) -%}
    {%- do add_stages(stages, name_stages(file, plan)) -%}
    {%- do columns.extend(['_merge_surname', '_merge_given']) -%}
  {%- endif -%}
  select {{ columns | join(', ') }}
  from {{ staged(read_file(file, path), region_stages + stages) }}
{% endmacro %}


{% macro landed_forms(file, plan) %}
  {#- The SELECT of what the rows of a landed file say, whatever their spelling: record; form_1, form_2, … by the number of the
      vendors' column; has_key_1, … of key columns; and the name of the row. -#}
  {%- set stages = [{}, {}, {}, {}] -%}
  {%- set columns = [] -%}
  {%- set keys_landed = {} -%}
  {%- for tier in plan.tiers + plan.evidence if tier.columns.get(file.k, []) | length == 1 -%}
    {%- do keys_landed.update({tier.columns[file.k][0].position ~ ' ' ~ tier_kind(tier): '_merge_keys_' ~ tier.tier}) -%}
  {%- endfor -%}
  {%- set kinds = [] -%}
  {%- for h in plan.headers if h.k == file.k and h.key_type and (h.position ~ ' ' ~ h.key_type) not in keys_landed -%}{%- do kinds.append(h.key_type) -%}{%- endfor -%}
  {%- set region_stages = row_region_stages(file, plan, kinds) -%}
  {%- for h in plan.headers if h.k == file.k -%}
    {%- set cell = 'c' ~ h.position -%}
    {%- for v in plan.vendor if v.column == h.column -%}
      {%- if h.key_type -%}
        {%- set landed = keys_landed.get(h.position ~ ' ' ~ h.key_type) -%}
        {%- if landed -%}{%- do stages[0].update({(cell ~ '_' ~ h.key_type): landed}) -%}
        {%- else -%}{%- do add_stages(stages, key_stages(h.key_type, cell, file.region, h.is_name, '_merge_phone_rules' if region_stages)) -%}
        {%- endif -%}
        {#- a number that a spreadsheet has mangled is in the list as it is, and no key -#}
        {%- do columns.append('len(' ~ ("list_filter(" ~ cell ~ "_phone, lambda number: number[1] = '+')" if h.key_type == 'phone' else cell ~ '_' ~ h.key_type) ~ ') > 0 as has_key_' ~ v.index) -%}
      {%- endif -%}
      {%- do columns.append(form_of(cell, h, cell ~ ' is not null' if file.k else 'not ' ~ is_blank(cell, h.is_name)) ~ ' as form_' ~ v.index) -%}
    {%- endfor -%}
  {%- endfor -%}
  {%- if not weak_tiers(plan) -%}{%- do add_stages(stages, name_stages(file, plan)) -%}{%- endif -%}
  select {{ file.k }} * 4294967296 + {{ landed_row(file) }} as record, {{ (columns + ['_merge_surname', '_merge_given']) | join(', ') }}
  from {{ staged('read_parquet(' ~ sql_path(landed_path(plan, file)) ~ ', file_row_number = true)', region_stages + stages) }}
{% endmacro %}


{% macro form_of(cell, h, is_filled) -%}
  {#- The number of what a cell says: that of its keys, or else of its text; null for a blank. -#}
  {%- set form = comparison_form('nfc_normalize(' ~ cell ~ ')') -%}
  {%- if h.key_type -%}{%- set form = 'coalesce(' ~ form_of_keys(cell ~ '_' ~ h.key_type) ~ ', ' ~ form ~ ')' -%}{%- endif -%}
  case when {{ is_filled }} then {{ hash_number(form) }} end
{%- endmacro %}


{% macro forms_for_strategies(plan) %}
  {#- The columns whose strategy compares what cells say: their forms are landed with the rows. -#}
  {%- set columns = [] -%}
  {%- for v in plan.vendor if not v.group and v.strategy.name in needs_forms() -%}{%- do columns.append(v.column) -%}{%- endfor -%}
  {%- do return(columns) -%}
{% endmacro %}


{% macro match_kinds(plan, file) %}
  {#- The key types that landing a file's rows computes. -#}
  {%- set kinds = [] -%}
  {%- for tier in plan.tiers + plan.evidence if file.k in tier.columns -%}{%- do kinds.append(tier_kind(tier)) -%}{%- endfor -%}
  {%- for h in plan.headers if h.k == file.k and h.key_type and h.column in forms_for_strategies(plan) -%}{%- do kinds.append(h.key_type) -%}{%- endfor -%}
  {%- do return(kinds) -%}
{% endmacro %}


{% macro landed_row(file) -%}
  {#- The number of a landed row in its file. Only a file that was rewritten keeps it: elsewhere it is the row's place, by
      which a reader skips what it does not need. -#}
  {{ '_merge_row' if file.way == 'rewrite' else '(' ~ place_in_file() ~ ' + 1)' }}
{%- endmacro %}


{% macro row_region_stages(file, plan, kinds) -%}
  {#- The stages that give each row of a file the region of its phone numbers; none if its rows do not say, or no phone is among the key
      types that are wanted. -#}
  {%- set countries = [] -%}
  {%- set phones = [] -%}
  {%- for h in plan.headers if h.k == file.k -%}
    {%- if h.is_country -%}{%- do countries.append('c' ~ h.position) -%}{%- endif -%}
    {%- if h.key_type == 'phone' -%}{%- do phones.append(h) -%}{%- endif -%}
  {%- endfor -%}
  {%- do return(region_stages(countries, file.region) if countries and phones and 'phone' in kinds else []) -%}
{%- endmacro %}


{% macro staged(relation, stages) -%}
  {#- Queries over queries: each stage, {column: expression}, adds its columns to those below it. -#}
  {%- set stages = stages | select | list -%}
  {%- for stage in stages | reverse -%}
  (select *{% for name, expression in stage.items() %}, {{ expression }} as {{ name }}{% endfor %} from {% endfor -%}
  {{ relation }}
  {%- for stage in stages %}) as stage_{{ loop.index }}{% endfor %}
{%- endmacro %}


{% macro add_stages(stages, more) %}
  {%- for stage in more -%}{%- do stages[loop.index0].update(stage) -%}{%- endfor -%}
{% endmacro %}


{% macro land_file(file, plan, problems) %}
  {%- set parsed = land_rows(file, plan, problems) -%}
  {%- if parsed + file.rejected_rows != file.physical_rows and file.way in ['direct', 'recode'] and not problems -%}
    {#- DuckDB sees other rows than were counted: once more, row by row, by the careful reader. -#}
    {%- do file.update({'way': 'rewrite'}) -%}
    {%- do remember('way ' ~ file.k ~ ' ' ~ file.sha256, 'rewrite') -%}
    {%- set parsed = land_rows(file, plan, problems) -%}
  {%- endif -%}
  {%- if parsed + file.rejected_rows != file.physical_rows and not problems -%}
    {%- do problems.append(file.setting ~ ': ' ~ file.path.split('/') | last ~ ' holds ' ~ file.physical_rows ~ ' rows, but ' ~ parsed ~ ' were read and '
      ~ file.rejected_rows ~ ' rejected: the file can not be read with certainty; check its quotes and line ends, or export it again') -%}
  {%- endif -%}
{% endmacro %}


{% macro land_rows(file, plan, problems) %}
  {#- Lands a file's rows and its rejects the way its profile says; returns how many rows were read. -#}
  {%- set path = readable_path(file, plan, problems) -%}
  {%- if problems -%}{%- do return(0) -%}{%- endif -%}
  {%- do find_phone_rules(file, plan, path) -%}
  {%- do run_statement(
    'copy (' ~ landed_rows(file, plan, path) ~ ') to '
    ~ sql_text(landed_path(plan, file)) ~ ' (format parquet, compression lz4, row_group_size ' ~ rows_together(file) ~ ')'
  ) -%}
  {%- do plan.update({'phones_of_file': none}) -%}
  {%- do run_statement(
    'copy (select cast(source_row as bigint) as source_row, cast(line as bigint) as line, cast(byte_position as bigint) as byte_position, reason, raw_text from '
    ~ (read_pinned(rejects_copy(file, plan), ',', ['source_row', 'line', 'byte_position', 'reason', 'raw_text']) if path != file.path
       else '(select null as source_row, null as line, null as byte_position, cast(null as varchar) as reason, cast(null as varchar) as raw_text limit 0)')
    ~ ' order by source_row) to ' ~ sql_text(landed_path(plan, file, 'rejects')) ~ ' (format parquet)'
  ) -%}
  {%- do return(query_value('select count(*) from read_parquet(' ~ sql_path(landed_path(plan, file)) ~ ')') | int) -%}
{% endmacro %}


{% macro rows_together(file) %}
  {#- Rows of a Parquet row group, which is held in memory whole: fewer where rows are long. -#}
  {%- do return([[8000000 // (file.densest + 8 * file.header | length), 2048] | max, 50000] | min) -%}
{% endmacro %}


{% macro readable_path(file, plan, problems) %}
  {#- The file itself, or a copy of it where its bytes are not what DuckDB reads. -#}
  {%- if file.way in ['direct', 'parquet'] -%}{%- do return(file.path) -%}{%- endif -%}
  {%- set to = plan.directory ~ '/.crm-merge/landing/copy_' ~ file.k ~ '.csv' -%}
  {%- set problem = query_value('select crm_files_copy(' ~ sql_text(tojson({'file': file, 'to': to, 'rejects_to': rejects_copy(file, plan)})) ~ ')') -%}
  {%- if problem -%}{%- do problems.append(file.setting ~ ': ' ~ problem) -%}{%- endif -%}
  {%- do return(to) -%}
{% endmacro %}


{% macro rejects_copy(file, plan) %}{% do return(plan.directory ~ '/.crm-merge/landing/rejects_' ~ file.k ~ '.csv') %}{% endmacro %}
