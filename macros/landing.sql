{#- Landing: every file is parsed once, streaming, into Parquet in file order; here dialects, rejects and
    match keys are settled, for both engines. -#}

{% macro land_files() %}
  {#- Pre-hook of stg_files: lands every file of the merge, or refuses with the lines that are bad. -#}
  {%- if execute -%}
    {%- set plan = merge_plan() -%}
    {%- set problems = [] -%}
    {%- for file in plan.files -%}
      {%- do land_file(file, plan, problems) -%}
    {%- endfor -%}
    {%- if problems -%}{%- do refuse('A file has rows that can not be read.', problems) -%}{%- endif -%}
  {%- endif -%}
{% endmacro %}


{% macro landed_path(plan, file, what='rows') %}
  {%- do return(plan.directory ~ '/.crm-merge/landing/' ~ what ~ '_' ~ file.k ~ '.parquet') -%}
{% endmacro %}


{% macro read_file(file, columns, path=none) -%}
  {#- read_csv with everything pinned: nothing is sniffed, all text, cells named c1, c2, …; rejects are kept. -#}
  read_csv(
    {{ sql_path(path or file.path) }},
    auto_detect = false, hive_partitioning = false, header = true, all_varchar = true,
    delim = {{ sql_text(file.delimiter) }}, quote = '"', escape = '"', encoding = 'utf-8',
    strict_mode = true, null_padding = false, ignore_errors = true, maximum_line_size = 4194304, buffer_size = 8388608,
    store_rejects = true, rejects_table = 'file_rejects', rejects_scan = 'file_scans', rejects_limit = 0,
    columns = { {%- for n in range(1, columns + 1) -%} 'c{{ n }}': 'VARCHAR'{{ ', ' if not loop.last }} {%- endfor -%} }
  )
{%- endmacro %}


{% macro landed_rows(file, plan, path) %}
  {#- The SELECT that lands a file: its cells by position, c1, c2, … (the CRM's raw, a vendor's NFC), the comparison form of key columns, and the key lists, one per tier. The keys are computed
      in a query below, since DuckDB would compute a CASE again wherever it stands. -#}
  {%- set stages = [{}, {}, {}, {}] -%}
  {%- set columns = ['cast(null as bigint) as _merge_row'] -%}
  {%- for h in plan.headers if h.k == file.k -%}
    {%- set cell = 'c' ~ h.position -%}
    {%- if file.k == 0 -%}
      {%- do columns.append(cell) -%}
    {%- else -%}
      {%- do columns.append('nfc_normalize(' ~ cell ~ ') as ' ~ cell) -%}
      {%- if h.key_type -%}
        {%- do add_stages(stages, key_stages(h.key_type, cell, file.region, h.is_name)) -%}
        {%- do columns.append(keys_form(cell ~ '_' ~ h.key_type) ~ ' as form_' ~ h.position) -%}
      {%- endif -%}
    {%- endif -%}
  {%- endfor -%}
  {%- for tier in plan.tiers if file.k in tier.columns -%}
    {%- set lists = [] -%}
    {%- set kind = tier.kind if tier.kind != 'column' else tier.compare -%}
    {%- for h in tier.columns[file.k] -%}
      {%- set cell = 'c' ~ h.position -%}
      {%- if (cell ~ '_' ~ kind) not in stages[3] and (cell ~ '_' ~ kind) not in stages[0] -%}
        {%- do add_stages(stages, key_stages(kind, cell, file.region, h.is_name)) -%}
      {%- endif -%}
      {%- do lists.append(cell ~ '_' ~ kind) -%}
    {%- endfor -%}
    {%- do columns.append((lists[0] if lists | length == 1 else 'list_distinct(list_concat(' ~ lists | join(', ') ~ '))') ~ ' as _merge_keys_' ~ tier.tier) -%}
  {%- endfor -%}
  select {{ columns | join(', ') }}
  from {% for stage in stages | reverse if stage %}(
    select *{% for name, expression in stage.items() %}, {{ expression }} as {{ name }}{% endfor %}
    from {% endfor %}{{ read_file(file, file.header | length, path) }}
  {%- for stage in stages if stage %}) as stage_{{ loop.index }}{% endfor %}
{% endmacro %}


{% macro add_stages(stages, more) %}
  {%- for stage in more -%}{%- do stages[loop.index0].update(stage) -%}{%- endfor -%}
{% endmacro %}


{% macro land_file(file, plan, problems) %}
  {%- set path = readable_path(file, plan) -%}
  {%- set width = file.header | length -%}
  {%- do run_query('drop table if exists file_rejects; drop table if exists file_scans') -%}
  {%- do run_query(
    'copy (' ~ landed_rows(file, plan, path) ~ ') to '
    ~ sql_text(landed_path(plan, file)) ~ ' (format parquet, compression lz4, preserve_order true, row_group_size 50000)'
  ) -%}

  {#- Rejected rows: one per line, numbered as data rows of the file. -#}
  {%- do run_query(
    'copy (select line - 1 as source_row, min(byte_position) as byte_position, arg_min(reason, column_idx) as reason,'
    ~ ' arg_min(csv_line, column_idx) as raw_text from (select *, ' ~ reject_reason(width) ~ ' as reason from file_rejects)'
    ~ ' group by line order by line) to ' ~ sql_text(landed_path(plan, file, 'rejects')) ~ ' (format parquet)'
  ) -%}
  {%- do run_query('drop table if exists file_rejects; drop table if exists file_scans') -%}
  {%- set parsed = query_value('select count(*) from read_parquet(' ~ sql_path(landed_path(plan, file)) ~ ')') | int -%}
  {%- set rejected = query_value('select count(*) from read_parquet(' ~ sql_path(landed_path(plan, file, 'rejects')) ~ ')') | int -%}
  {%- set short_name = file.path.split('/') | last -%}
  {%- if parsed + rejected != file.physical_rows -%}
    {%- do problems.append(file.setting ~ ': ' ~ short_name ~ ' holds ' ~ file.physical_rows ~ ' rows, but ' ~ parsed ~ ' were read and '
      ~ rejected ~ ' rejected: the file can not be read with certainty; check its quotes and line ends, or export it again') -%}
  {%- elif rejected -%}
    {%- set tolerated = file.physical_rows if plan.original.get('on_bad_row') == 'set_aside' else 0 -%}
    {%- if rejected > (tolerated if file.k == 0 else file.physical_rows * max_reject_rate()) -%}
      {%- do problems.append(file.setting ~ ': ' ~ short_name ~ ': ' ~ rejected ~ ' of ' ~ file.physical_rows ~ ' rows can not be read ('
        ~ ('the original tolerates none; repair them, or set original.on_bad_row: set_aside' if file.k == 0
           else 'a vendor file tolerates ' ~ (max_reject_rate() * 100) ~ ' %') ~ '): ' ~ first_rejects(file, plan)) -%}
    {%- else -%}
      {%- do number_around_rejects(file, plan) -%}
    {%- endif -%}
  {%- endif -%}
{% endmacro %}


{% macro readable_path(file, plan) %}
  {#- The file itself, or a clean copy of it where its bytes are not what DuckDB reads. -#}
  {%- if file.clean -%}{%- do return(file.path) -%}{%- endif -%}
  {%- do return(query_value('select crm_files_copy(' ~ sql_text(tojson({
    'path': file.path, 'encoding': file.encoding, 'delimiter': file.delimiter, 'columns': file.header | length, 'to': plan.directory ~ '/.crm-merge/landing/copy_' ~ file.k ~ '.csv'})) ~ ')')) -%}
{% endmacro %}


{% macro max_reject_rate() %}{% do return(0.01) %}{% endmacro %}


{% macro reject_reason(width) -%}
  case error_type
    when 'MISSING COLUMNS' then 'too few cells: ' || column_idx || ' of {{ width }}'
    when 'TOO MANY COLUMNS' then 'too many cells: more than {{ width }}'
    when 'UNQUOTED VALUE' then 'a quote inside a quoted cell, or one that is never closed'
    when 'LINE SIZE OVER MAXIMUM' then 'a line of more than 4 MiB'
    when 'INVALID ENCODING' then 'bytes that are not UTF-8'
    else lower(cast(error_type as varchar)) end
{%- endmacro %}


{% macro first_rejects(file, plan) %}
  {%- do return(query_value(
    "select string_agg('row ' || source_row || ' (' || reason || '): ' || left(replace(raw_text, chr(10), ' '), 80), '; ' order by source_row)"
    ~ ' from (from read_parquet(' ~ sql_path(landed_path(plan, file, 'rejects')) ~ ') order by source_row limit 3)'
  )) -%}
{% endmacro %}


{% macro number_around_rejects(file, plan) %}
  {#- A parsed row's number is its position plus the rejected rows before it, so that it is the row's in the
      file. Rare, hence a second copy of the landed file only when something was rejected. -#}
  {%- set landed = landed_path(plan, file) -%}
  {%- set rejects = landed_path(plan, file, 'rejects') -%}
  {%- do run_query(
    'copy (with breaks as (select source_row - n as from_row, max(n) as shift from ('
    ~ ' select source_row, row_number() over (order by source_row) as n from read_parquet(' ~ sql_path(rejects) ~ ')) group by all)'
    ~ ' select r.file_row_number + 1 + coalesce(b.shift, 0) as _merge_row, r.* exclude (_merge_row, file_row_number)'
    ~ ' from read_parquet(' ~ sql_path(landed) ~ ', file_row_number = true) as r asof left join breaks as b on r.file_row_number >= b.from_row'
    ~ ' order by r.file_row_number) to ' ~ sql_text(landed ~ '.numbered') ~ ' (format parquet, compression lz4, row_group_size 50000)'
  ) -%}
  {%- do run_query('copy (from read_parquet(' ~ sql_path(landed ~ '.numbered') ~ ')) to ' ~ sql_text(landed)
    ~ ' (format parquet, compression lz4, preserve_order true, row_group_size 50000)') -%}
{% endmacro %}
