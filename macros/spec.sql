{#- The merge spec: read, checked once before anything is written, and turned into a plan that models ask. -#}

{% macro begin_merge() %}
  {#- on-run-start: a bad spec or a bad file ends the run here, before any work. -#}
  {{ return(adapter.dispatch('begin_merge', 'crm_merge')()) }}
{% endmacro %}


{% macro duckdb__begin_merge() %}
  {%- if execute and flags.WHICH in ('run', 'build') -%}
    {%- set plan = merge_plan() -%}
    {%- set problems = [] -%}
    {%- for file in plan.files if reject_problem(file, plan.max_reject_rate) -%}{%- do problems.append(reject_problem(file, plan.max_reject_rate)) -%}{%- endfor -%}
    {%- if problems -%}{%- do refuse('A file has rows that can not be read.', problems) -%}{%- endif -%}
    {%- set disk = disk_needed(plan, var('merge').get('export') or {}) -%}
    {%- do log('crm-merge needs: ' ~ tojson({'disk': disk.merge + disk.spill + disk.result, 'memory': memory_needed(plan)}), info=true) -%}
    {%- set problems = fromjson(query_value('select crm_disk_problems(' ~ sql_text(tojson(disk)) ~ ')')) -%}
    {%- if problems -%}{%- do refuse('There is too little room on a disk.', problems) -%}{%- endif -%}
    {#- The buffers of large rows stay with the allocator, slice after slice, unless they are given back; of small ones that takes a fifth of the time for little. -#}
    {%- if rows_are_large(plan) -%}{%- do run_statement("set allocator_bulk_deallocation_flush_threshold = '1MB'") -%}{%- endif -%}
    {%- do begin_journal() -%}
  {%- endif -%}
{% endmacro %}


{% macro disk_needed(plan, export) %}
  {#- About how many bytes a merge takes at most, measured on people with 8 to 12 columns: what is landed, kept in parts and in the
      database; what is spilled; and what is published, with the reports. -#}
  {%- set total = namespace(bytes=0, rows=0) -%}
  {%- for file in plan.files -%}
    {%- set total.bytes = total.bytes + file.row_bytes * file.physical_rows -%}
    {%- set total.rows = total.rows + file.physical_rows -%}
  {%- endfor -%}
  {%- do return({
    'merge': (2 * total.bytes + 250 * total.rows) | int + 20000000,
    'spill': (total.bytes + 150 * total.rows) | int,
    'result': ((0.5 + (export.get('formats') or ['csv']) | length) * total.bytes + 100 * total.rows) | int,
    'to': export.get('to'),
  }) -%}
{% endmacro %}


{% macro memory_needed(plan) %}
  {#- About the smallest memory limit, in bytes, that a merge can be done in, with its audit (200 MB for 100,000 rows on two threads): of each thread a few blocks of the longest rows, and of
      each column the buffers in which it is read and written. -#}
  {%- set widest = namespace(columns=0, row=0) -%}
  {%- for file in plan.files -%}
    {%- set widest.columns = [widest.columns, file.header | length] | max -%}
    {%- set widest.row = [widest.row, file.densest] | max -%}
  {%- endfor -%}
  {%- set threads = query_value("select current_setting('threads')") | int -%}
  {%- do return(100000000 + threads * (40000000 + 8 * 2048 * widest.row + 300000 * (widest.columns + plan.vendor | length))) -%}
{% endmacro %}


{% macro merge_spec() %}
  {#- The spec with its defaults filled in; refuses a spec whose shape is wrong. -#}
  {%- set spec = var('merge') -%}
  {%- set problems = spec_problems(spec) -%}
  {%- if problems -%}{%- do refuse('The merge spec can not be used.', problems) -%}{%- endif -%}
  {%- set strategies = spec.get('strategies') or {} -%}
  {%- set overwrite = spec.get('overwrite') or {} -%}
  {%- do return({
    'original': spec.original,
    'enriched': spec.enriched,
    'match_on': spec.match_on,
    'region': spec.get('region'),
    'strategies': {'default': strategies.get('default', 'first'), 'columns': strategies},
    'groups': spec.get('groups') or [],
    'overwrite': {'default': overwrite.get('default', 'fill'), 'columns': overwrite},
    'guards': spec.get('guards') or {},
    'assertions': [spec.assertions] if spec.get('assertions') is string else spec.get('assertions') or [],
    'max_reject_rate': (spec.get('guards') or {}).get('max_reject_rate', 0.01),
    'partition_by': (spec.get('export') or {}).get('partition_by') or [],
  }) -%}
{% endmacro %}


{% macro refuse(title, problems, transient=false) %}
  {#- Ends the run with every problem found, one a line, between marks that the command line looks for; says before if all of them
      pass by themselves, so that trying again later is of use. -#}
  {%- if transient -%}{%- do log('crm-merge transient: true', info=true) -%}{%- endif -%}
  {%- do exceptions.raise_compiler_error(
    'crm-merge: ' ~ title ~ '\n' ~ ('- ' ~ problems | join('\n- ')) ~ '\n(end of crm-merge message)'
  ) -%}
{% endmacro %}


{% macro strategy_names() %}
  {#- The valid strategies are the macros called prefer_<name> and fold_<name>: see strategies.sql. -#}
  {%- set names = [] -%}
  {%- for name in context.keys() | sort -%}
    {%- if name.startswith('prefer_') or name.startswith('fold_') -%}
      {%- do names.append(name.split('_', 1)[1]) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- do return(names | sort) -%}
{% endmacro %}


{% macro key_types() %}{% do return(['email', 'phone', 'linkedin', 'domain']) %}{% endmacro %}


{% macro file_settings() %}
  {#- What the spec may say of any file. -#}
  {%- do return(['path', 'delimiter', 'encoding', 'header_line', 'quoted_newlines', 'max_reject_rate', 'region', 'columns']) -%}
{% endmacro %}


{% macro policies() %}{% do return(['fill', 'update', 'suffix', 'replace']) %}{% endmacro %}


{% macro match_columns() %}
  {#- What the merge itself adds to a row, in this order, last in merged_result. -#}
  {%- do return([
    'match_quality', 'match_status', 'match_tier', 'matched_on', 'entity_id', 'n_enriched_rows',
    'duplicate_in_original', 'match_explanation',
  ]) -%}
{% endmacro %}


{% macro did_you_mean(word, valid) %}
  {#- "; did you mean 'x'? Accepted: …": the nearest valid name, by Jaro-Winkler similarity. -#}
  {%- if not valid -%}{%- do return('') -%}{%- endif -%}
  {%- set nearest = query_value(
    'select name from (select unnest(' ~ sql_list(valid) ~ ') as name)'
    ~ ' where jaro_winkler_similarity(lower(name), lower(' ~ sql_text(word) ~ ')) > 0.7'
    ~ ' order by jaro_winkler_similarity(lower(name), lower(' ~ sql_text(word) ~ ')) desc, name limit 1'
  ) -%}
  {%- set hint = "; did you mean '" ~ nearest ~ "'?" if nearest else '.' -%}
  {%- do return(hint ~ ' Accepted: ' ~ valid | unique(case_sensitive=true) | join(', ')) -%}
{% endmacro %}


{% macro unknown_settings(place, block, valid, problems) %}
  {%- for name in block -%}
    {%- if name not in valid -%}
      {%- do problems.append(place ~ name ~ ": unknown setting '" ~ name ~ "'" ~ did_you_mean(name, valid)) -%}
    {%- endif -%}
  {%- endfor -%}
{% endmacro %}


{% macro running_settings() %}
  {#- The settings that say when a merge runs and where its result goes, not what it is. -#}
  {%- do return(['export', 'schedule', 'time_limit_minutes']) -%}
{% endmacro %}


{% macro spec_problems(spec) %}
  {#- Everything that is wrong with the spec's shape, each a sentence that starts with the setting's place. -#}
  {%- set problems = [] -%}
  {%- if spec is not mapping -%}
    {%- do return(['merge: expected settings such as original, enriched and match_on, found ' ~ tojson(spec)]) -%}
  {%- endif -%}
  {%- do unknown_settings('', spec, ['original', 'enriched', 'match_on', 'region', 'strategies', 'groups', 'overwrite', 'guards', 'assertions'] + running_settings(), problems) -%}
  {%- for name in ['original', 'enriched', 'match_on'] if not spec.get(name) -%}
    {%- do problems.append(name ~ ': missing; a merge needs original, enriched and match_on') -%}
  {%- endfor -%}

  {#- Inputs -#}
  {%- set original = spec.get('original') -%}
  {%- if original is mapping -%}
    {%- do file_problems('original', original, file_settings() + ['on_bad_row', 'record_id'], problems) -%}
    {%- if original.get('on_bad_row', 'refuse') not in ['refuse', 'set_aside'] -%}
      {%- do problems.append("original.on_bad_row: '" ~ original.on_bad_row ~ "' is not accepted. Accepted: refuse, set_aside") -%}
    {%- endif -%}
    {%- if 'record_id' in original and (original.record_id is not string or not original.record_id) -%}
      {%- do problems.append('original.record_id: ' ~ tojson(original.record_id) ~ " is not accepted. Accepted: the header of the CRM's own id, such as Id") -%}
    {%- endif -%}
  {%- elif original -%}
    {%- do problems.append('original: expected {path: FILE, …}, found ' ~ tojson(original)) -%}
  {%- endif -%}
  {%- set enriched = spec.get('enriched') -%}
  {%- if enriched and (enriched is string or enriched is mapping or enriched is not iterable) -%}
    {%- do problems.append('enriched: expected a list of {name: …, path: FILE}, found ' ~ tojson(enriched)) -%}
  {%- elif enriched -%}
    {%- set seen = [] -%}
    {%- for file in enriched -%}
      {%- set place = 'enriched[' ~ loop.index0 ~ ']' -%}
      {%- if file is not mapping -%}
        {%- do problems.append(place ~ ': expected {name: …, path: FILE}, found ' ~ tojson(file)) -%}
      {%- else -%}
        {%- do file_problems(place, file, ['name', 'price'] + file_settings(), problems) -%}
        {%- set price = file.get('price', 0) -%}
        {%- if price is not number or price is boolean or not 0 <= price <= 1000000000000 -%}
          {%- do problems.append(place ~ '.price: ' ~ tojson(price) ~ ' is not accepted. Accepted: what the file cost, a number such as 1200, in any currency') -%}
        {%- endif -%}
        {%- set name = file.get('name') -%}
        {%- if name is not string or not name.strip() -%}
          {%- do problems.append(place ~ '.name: missing; give the vendor a name, such as apollo') -%}
        {%- elif name | lower in seen or name | lower == 'original' -%}
          {%- do problems.append(place ~ ".name: '" ~ name ~ "' is taken; each file needs a name of its own (and `original` is the CRM's)") -%}
        {%- else -%}
          {%- do seen.append(name | lower) -%}
        {%- endif -%}
      {%- endif -%}
    {%- endfor -%}
    {%- if enriched | length > 2000 -%}{%- do problems.append('enriched: at most 2000 files') -%}{%- endif -%}
  {%- endif -%}
  {%- if 'region' in spec -%}{%- do region_problems('region', spec.region, problems) -%}{%- endif -%}

  {#- Matching -#}
  {%- set match_on = spec.get('match_on') -%}
  {%- if match_on and (match_on is string or match_on is mapping or match_on is not iterable) -%}
    {%- do problems.append('match_on: expected a list, strongest key first, such as [email, phone]; found ' ~ tojson(match_on)) -%}
  {%- elif match_on -%}
    {%- for key in match_on -%}
      {%- do key_problems('match_on[' ~ loop.index0 ~ ']', key, problems) -%}
    {%- endfor -%}
  {%- endif -%}

  {#- Conflicts -#}
  {%- set vendors = [] -%}
  {%- for file in (enriched or []) if file is mapping and file.get('name') is string -%}{%- do vendors.append(file.name) -%}{%- endfor -%}
  {%- set strategies = spec.get('strategies') -%}
  {%- if strategies and strategies is not mapping -%}
    {%- do problems.append('strategies: expected {default: first, COLUMN: STRATEGY}, found ' ~ tojson(strategies)) -%}
  {%- elif strategies -%}
    {%- for column, strategy in strategies.items() -%}
      {%- do strategy_problems('strategies.' ~ column, strategy, vendors, problems) -%}
    {%- endfor -%}
  {%- endif -%}
  {%- set groups = spec.get('groups') -%}
  {%- if groups and (groups is string or groups is mapping or groups is not iterable) -%}
    {%- do problems.append('groups: expected a list of {columns: [...], strategy: …}, found ' ~ tojson(groups)) -%}
  {%- elif groups -%}
    {%- for group in groups -%}
      {%- set place = 'groups[' ~ loop.index0 ~ ']' -%}
      {%- if group is not mapping or group.get('columns') is string or not group.get('columns') -%}
        {%- do problems.append(place ~ ': expected {columns: [street, zip, city], strategy: most_complete, allow_fill: false}, found ' ~ tojson(group)) -%}
      {%- else -%}
        {%- do unknown_settings(place ~ '.', group, ['columns', 'strategy', 'allow_fill'], problems) -%}
        {%- if group.get('allow_fill', false) not in [true, false] -%}
          {%- do problems.append(place ~ ".allow_fill: '" ~ group.allow_fill ~ "' is not accepted. Accepted: true, false") -%}
        {%- endif -%}
        {%- set strategy = group.get('strategy', 'first') -%}
        {%- set name = strategy.keys() | first if strategy is mapping else strategy -%}
        {%- if name not in group_strategies() -%}
          {%- do problems.append(place ~ ".strategy: '" ~ name ~ "' can not choose a row" ~ did_you_mean(name, group_strategies())) -%}
        {%- else -%}
          {%- do strategy_problems(place ~ '.strategy', strategy, vendors, problems) -%}
        {%- endif -%}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {%- set overwrite = spec.get('overwrite') -%}
  {%- if overwrite and overwrite is not mapping -%}
    {%- do problems.append('overwrite: expected {default: fill, COLUMN: POLICY}, found ' ~ tojson(overwrite)) -%}
  {%- elif overwrite -%}
    {%- for column, policy in overwrite.items() if policy not in policies() -%}
      {%- do problems.append('overwrite.' ~ column ~ ": unknown policy '" ~ policy ~ "'" ~ did_you_mean(policy, policies())) -%}
    {%- endfor -%}
  {%- endif -%}

  {#- Guards -#}
  {%- set guards = spec.get('guards') -%}
  {%- if guards and guards is not mapping -%}
    {%- do problems.append('guards: expected settings such as {hub: {phone: 3}, max_entity_size: 50}, found ' ~ tojson(guards)) -%}
  {%- elif guards -%}
    {%- do guard_problems(guards, problems) -%}
  {%- endif -%}
  {%- set assertions = spec.get('assertions') -%}
  {%- if assertions and assertions is not string and (assertions is mapping or assertions is not iterable or assertions | reject('string') | list) -%}
    {%- do problems.append('assertions: expected a CSV file or a list of them, found ' ~ tojson(assertions)) -%}
  {%- endif -%}

  {#- Running -#}
  {%- if 'schedule' in spec -%}
    {%- set schedule = spec.schedule if spec.schedule is mapping else {'cron': spec.schedule} -%}
    {%- do unknown_settings('schedule.', schedule, ['cron', 'timezone'], problems) -%}
    {%- set cron = schedule.get('cron') -%}
    {%- if cron is not string or not modules.re.fullmatch('\\s*([0-9A-Za-z*,/#-]+\\s+){4}[0-9A-Za-z*,/#-]+\\s*', cron) -%}
      {%- do problems.append('schedule: ' ~ tojson(cron) ~ ' is not accepted. Accepted: the five fields of cron in quotes, such as "0 6 * * *", or {cron: "0 6 * * *", timezone: Europe/Berlin}') -%}
    {%- endif -%}
    {%- if schedule.get('timezone', 'UTC') is not string -%}
      {%- do problems.append('schedule.timezone: ' ~ tojson(schedule.timezone) ~ ' is not accepted. Accepted: a name such as Europe/Berlin; without one it is UTC') -%}
    {%- endif -%}
  {%- endif -%}
  {%- set limit = spec.get('time_limit_minutes', 30) -%}
  {%- if limit is not number or limit is boolean or not 0 < limit <= 10080 -%}
    {%- do problems.append('time_limit_minutes: ' ~ tojson(limit) ~ ' is not accepted. Accepted: a number of minutes above 0, at most 10080, which is a week; without it 30') -%}
  {%- endif -%}

  {%- set export = spec.get('export') -%}
  {%- if export and export is not mapping -%}
    {%- do problems.append('export: expected {formats: [csv, parquet]}, found ' ~ tojson(export)) -%}
  {%- elif export -%}
    {%- do unknown_settings('export.', export, ['formats', 'to', 'partition_by', 'escape_formulas', 'bom'], problems) -%}
    {%- set formats = export.get('formats', ['csv']) -%}
    {%- if formats is string or not formats -%}
      {%- do problems.append('export.formats: expected a list such as [csv, parquet], found ' ~ tojson(formats)) -%}
    {%- else -%}
      {%- if formats | unique | list | length < formats | length -%}
        {%- do problems.append('export.formats: a format stands twice in ' ~ tojson(formats)) -%}
      {%- endif -%}
      {%- for format in formats if format not in ['csv', 'parquet'] -%}
        {%- do problems.append("export.formats: unknown format '" ~ format ~ "'" ~ did_you_mean(format, ['csv', 'parquet'])) -%}
      {%- endfor -%}
    {%- endif -%}
    {%- for name in ['escape_formulas', 'bom'] if export.get(name, false) is not boolean -%}
      {%- do problems.append('export.' ~ name ~ ': ' ~ tojson(export[name]) ~ ' is not accepted. Accepted: true, false'
        ~ (' (without quotes)' if export[name] is string and export[name] | lower in ['true', 'false', 'yes', 'no'] else '')) -%}
    {%- endfor -%}
    {%- set parts = export.get('partition_by') or [] -%}
    {%- if parts is string or parts is mapping -%}
      {%- do problems.append('export.partition_by: expected a list of columns, found ' ~ tojson(parts)) -%}
    {%- elif parts and 'parquet' not in formats -%}
      {%- do problems.append('export.partition_by: only Parquet is partitioned, and export.formats is ' ~ tojson(formats) ~ '; add parquet to it') -%}
    {%- endif -%}
    {%- if export.get('to') and export.to is not string -%}
      {%- do problems.append('export.to: expected a folder or s3://bucket/prefix, found ' ~ tojson(export.to)) -%}
    {%- elif export.get('to') -%}
      {%- set problem = query_value('select crm_place_problem(' ~ sql_text(export.to) ~ ')') -%}
      {%- if problem -%}{%- do problems.append('export.to: ' ~ problem) -%}{%- endif -%}
    {%- endif -%}
  {%- endif -%}
  {%- do return(problems) -%}
{% endmacro %}


{% macro file_problems(place, file, valid, problems) %}
  {%- do unknown_settings(place ~ '.', file, valid, problems) -%}
  {%- if file.get('path') is not string or not file.get('path') -%}
    {%- do problems.append(place ~ '.path: missing; name a file, a folder or a glob') -%}
  {%- endif -%}
  {%- set words = {'comma': ',', 'semicolon': ';', 'tab': '\t', 'pipe': '|'} -%}
  {%- set delimiter = file.get('delimiter', ',') -%}
  {%- if delimiter not in words and (delimiter is not string or delimiter | length != 1 or delimiter.isalnum() or delimiter in '"\n\r\\ \x27' or delimiter > '~') -%}
    {%- do problems.append(place ~ '.delimiter: ' ~ tojson(delimiter) ~ ' is not accepted. Accepted: comma, semicolon, tab, pipe, or one ASCII sign') -%}
  {%- endif -%}
  {%- if file.get('encoding', 'utf-8') is not string -%}
    {%- do problems.append(place ~ '.encoding: expected a name such as utf-8 or cp1252, found ' ~ tojson(file.encoding)) -%}
  {%- endif -%}
  {%- if file.get('columns', {}) is not mapping -%}
    {%- do problems.append(place ~ '.columns: expected {HEADER: column}, such as {Mobile: phone}; found ' ~ tojson(file.columns)) -%}
  {%- endif -%}
  {%- set header_line = file.get('header_line', 1) -%}
  {%- if header_line is not integer or header_line is boolean or header_line < 0 -%}
    {%- do problems.append(place ~ '.header_line: ' ~ tojson(header_line) ~ ' is not accepted. Accepted: the number of the line that holds the header, from 1, or 0 if there is none') -%}
  {%- endif -%}
  {%- if file.get('quoted_newlines', false) is not boolean -%}
    {%- do problems.append(place ~ '.quoted_newlines: ' ~ tojson(file.quoted_newlines) ~ ' is not accepted. Accepted: true, false') -%}
  {%- endif -%}
  {%- if 'max_reject_rate' in file -%}{%- do rate_problems(place ~ '.max_reject_rate', file.max_reject_rate, problems) -%}{%- endif -%}
  {%- if 'region' in file -%}{%- do region_problems(place ~ '.region', file.region, problems) -%}{%- endif -%}
{% endmacro %}


{% macro weak_types() %}
  {#- Keys that strangers share: a landline, a company's web site, its page on LinkedIn. -#}
  {%- do return(['phone', 'domain', 'linkedin']) -%}
{% endmacro %}


{% macro is_off(value) %}{% do return(value is none or value is sameas false or value == 'off') %}{% endmacro %}


{% macro guard_problems(guards, problems) %}
  {%- do unknown_settings('guards.', guards, ['hub', 'contradiction', 'max_entity_size', 'blocked', 'allow_test_addresses', 'max_reject_rate'], problems) -%}
  {%- if 'max_reject_rate' in guards -%}{%- do rate_problems('guards.max_reject_rate', guards.max_reject_rate, problems) -%}{%- endif -%}
  {%- set hub = guards.get('hub', {}) -%}
  {%- if hub is not mapping and not is_off(hub) -%}
    {%- do problems.append('guards.hub: ' ~ tojson(hub) ~ ' is not accepted. Accepted: {KEY: LIMIT}, such as {phone: 3}, or off') -%}
  {%- elif hub is mapping -%}
    {%- for label, limit in hub.items() -%}{%- do limit_problems('guards.hub.' ~ label, limit, problems) -%}{%- endfor -%}
  {%- endif -%}
  {%- set contradiction = guards.get('contradiction', {}) -%}
  {%- if contradiction is not mapping and not is_off(contradiction) -%}
    {%- do problems.append('guards.contradiction: ' ~ tojson(contradiction) ~ ' is not accepted. Accepted: {phone: name, domain: name, linkedin: name}, or off') -%}
  {%- elif contradiction is mapping -%}
    {%- for label, mode in contradiction.items() -%}
      {%- if label not in weak_types() -%}
        {%- do problems.append('guards.contradiction.' ~ label ~ ': only keys that strangers share can contradict' ~ did_you_mean(label | string, weak_types())) -%}
      {%- elif not is_off(mode) and mode not in ['name', 'surname'] -%}
        {%- do problems.append('guards.contradiction.' ~ label ~ ': ' ~ tojson(mode) ~ ' is not accepted. Accepted: name, surname, off') -%}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {%- if 'max_entity_size' in guards -%}{%- do limit_problems('guards.max_entity_size', guards.max_entity_size, problems) -%}{%- endif -%}
  {%- if guards.get('allow_test_addresses', false) is not boolean -%}
    {%- do problems.append('guards.allow_test_addresses: ' ~ tojson(guards.allow_test_addresses) ~ ' is not accepted. Accepted: true, false') -%}
  {%- endif -%}
  {%- set blocked = guards.get('blocked', []) -%}
  {%- if blocked is string or blocked is mapping or blocked is not iterable -%}
    {%- do problems.append('guards.blocked: expected a list of key values, such as ["+1 212 555 0100", "@reseller.com"]; found ' ~ tojson(blocked)) -%}
  {%- else -%}
    {%- for entry in blocked if entry is not string or not entry.strip() -%}
      {%- do problems.append('guards.blocked[' ~ loop.index0 ~ ']: expected a text in quotes, found ' ~ tojson(entry)) -%}
    {%- endfor -%}
  {%- endif -%}
{% endmacro %}


{% macro limit_problems(place, limit, problems) %}
  {%- if not is_off(limit) and (limit is not integer or limit is boolean or limit < 1) -%}
    {%- do problems.append(place ~ ': ' ~ tojson(limit) ~ ' is not accepted. Accepted: a whole number from 1, or off') -%}
  {%- endif -%}
{% endmacro %}


{% macro rate_problems(place, rate, problems) %}
  {%- if rate is not number or rate is boolean or not 0 <= rate <= 1 -%}
    {%- do problems.append(place ~ ': ' ~ tojson(rate) ~ ' is not accepted. Accepted: a share of rows from 0 to 1, such as 0.01 for one in a hundred') -%}
  {%- endif -%}
{% endmacro %}


{% macro region_problems(place, region, problems) %}
  {%- set regions = reference('phone_regions', 'region', "region <> '001'") -%}
  {%- if region not in regions -%}
    {%- do problems.append(place ~ ': ' ~ tojson(region) ~ ' is not a region. Accepted: two-letter codes such as US, GB, FR, DE'
      ~ (' (quote it: YAML reads a bare NO as false)' if region is sameas false else '; did you mean ' ~ region | upper ~ '?' if region | string | upper in regions else '; the United Kingdom is GB' if region == 'UK' else '')) -%}
  {%- endif -%}
{% endmacro %}


{% macro key_problems(place, key, problems) %}
  {%- set forms = key_types() | join(', ') ~ ', {type: external_id, original: Id, enriched: crm_id}, {column: tax_no, compare: exact|normalized}' -%}
  {%- if key is string -%}
    {%- if key not in key_types() -%}
      {%- do problems.append(place ~ ": unknown key '" ~ key ~ "'; accepted: " ~ forms) -%}
    {%- endif -%}
  {%- elif key is mapping and 'column' in key -%}
    {%- do unknown_settings(place ~ '.', key, ['column', 'compare'], problems) -%}
    {%- if key.column is not string -%}
      {%- do problems.append(place ~ '.column: expected a column name, found ' ~ tojson(key.column)) -%}
    {%- endif -%}
    {%- if key.get('compare', 'exact') not in ['exact', 'normalized'] -%}
      {%- do problems.append(place ~ ".compare: '" ~ key.compare ~ "' is not accepted. Accepted: exact, normalized") -%}
    {%- endif -%}
  {%- elif key is mapping and key.get('type') == 'external_id' -%}
    {%- do unknown_settings(place ~ '.', key, ['type', 'original', 'enriched'], problems) -%}
    {%- for side in ['original', 'enriched'] if key.get(side) is not string -%}
      {%- do problems.append(place ~ '.' ~ side ~ ': missing; an external id names both columns: {type: external_id, original: Id, enriched: crm_id}') -%}
    {%- endfor -%}
  {%- elif key is mapping and key.get('type') in key_types() -%}
    {%- do unknown_settings(place ~ '.', key, ['type'], problems) -%}
  {%- else -%}
    {%- do problems.append(place ~ ': expected a key, found ' ~ tojson(key) ~ '; accepted: ' ~ forms) -%}
  {%- endif -%}
{% endmacro %}


{% macro strategy_problems(place, strategy, vendors, problems) %}
  {%- set name = (strategy.keys() | list)[0] if strategy is mapping and strategy | length == 1 else strategy -%}
  {%- if name is not string or name not in strategy_names() -%}
    {%- do problems.append(place ~ ': unknown strategy ' ~ tojson(name) ~ did_you_mean(name | string, strategy_names())) -%}
  {%- elif name == 'source_priority' -%}
    {%- set listed = strategy[name] if strategy is mapping else none -%}
    {%- if not listed or listed is string or listed is mapping -%}
      {%- do problems.append(place ~ ': source_priority needs the files in order: {source_priority: [' ~ vendors | join(', ') ~ ']}') -%}
    {%- else -%}
      {%- for file in listed if file not in vendors -%}
        {%- do problems.append(place ~ ".source_priority: there is no file named '" ~ file ~ "'" ~ did_you_mean(file | string, vendors)) -%}
      {%- endfor -%}
    {%- endif -%}
  {%- elif name == 'most_recent' -%}
    {%- if strategy is not mapping or strategy[name] is not string -%}
      {%- do problems.append(place ~ ': most_recent needs the timestamp column: {most_recent: updated_at}') -%}
    {%- endif -%}
  {%- elif strategy is mapping -%}
    {%- do problems.append(place ~ ': ' ~ name ~ ' takes no argument; write it as a plain word') -%}
  {%- endif -%}
{% endmacro %}
