{#- The plan of a merge: the spec held against the files. Models ask it which columns there are and what
    the spec says of each; it is the same at every call, and costs one look at files already profiled. -#}

{% macro merge_plan() %}
  {#- A dict: files, crm (columns of the original), vendor (columns that files bring), tiers, groups, … Made once per run of dbt: it
      is kept in the graph, which all nodes of a run share. -#}
  {%- if not execute -%}
    {%- do return({
      'files': [], 'crm': [], 'vendor': [], 'tiers': [], 'evidence': [], 'groups': [], 'headers': [], 'vendors': [], 'record_id': none, 'directory': '',
      'guards': {'hub': {}, 'contradiction': {}, 'max_entity_size': none, 'blocked': {}, 'blocked_domains': [], 'allow_test_addresses': false}, 'assertions': [],
    }) -%}
  {%- endif -%}
  {%- if graph.get('merge_plan_of') != invocation_id -%}
    {%- do graph.update({'merge_plan': made_plan(), 'merge_plan_of': invocation_id}) -%}
  {%- endif -%}
  {%- do return(graph.merge_plan) -%}
{% endmacro %}


{% macro made_plan() %}{{ return(adapter.dispatch('made_plan', 'crm_merge')()) }}{% endmacro %}


{% macro duckdb__made_plan() %}
  {#- The plan, or a refusal with everything in which the spec does not fit the files. -#}
  {%- set spec = merge_spec() -%}
  {%- set profile = file_profiles(spec) -%}
  {%- if profile.problems -%}{%- do refuse('A file can not be read.', profile.problems, profile.transient) -%}{%- endif -%}
  {%- if profile.files | length > 2001 -%}{%- do refuse('Too many files.', ['enriched: the paths match ' ~ (profile.files | length - 1) ~ ' files; a merge takes 2000']) -%}{%- endif -%}
  {%- do recall_ways(profile.files) -%}
  {%- set problems = [] -%}
  {%- set vendors = spec.enriched | map(attribute='name') | list -%}
  {%- for file in profile.files -%}{%- do file.update({'vendor_number': vendors.index(file.vendor) + 1 if file.k else 0}) -%}{%- endfor -%}
  {%- set names = column_names(spec, profile.files, problems) -%}

  {#- The CRM's columns; the match columns of a previous merge are replaced, not taken for the CRM's. -#}
  {%- set headers = [] -%}
  {%- for h in names.headers if h.k == 0 -%}{%- do headers.append(h.header | lower) -%}{%- endfor -%}
  {%- set merged_before = match_columns() | reject('in', headers) | list | length == 0 -%}
  {%- if merged_before -%}
    {%- do profile.files[0].notes.append('its columns ' ~ match_columns() | join(', ') ~ ' are those of an earlier merge: this one writes them anew, behind all others') -%}
  {%- endif -%}
  {%- set crm = [] -%}
  {%- set header_of = {} -%}
  {%- set file_columns = {} -%}
  {%- set found = {} -%}
  {%- for h in names.headers -%}
    {%- if h.k == 0 and not (merged_before and h.header | lower in match_columns()) -%}
      {%- if h.header | lower in match_columns() or h.header.lower().startswith('_merge_') -%}
        {%- do problems.append("original: the header '" ~ h.header ~ "' is a name that the merge itself gives; rename it in the file") -%}
      {%- endif -%}
      {%- do crm.append(h) -%}
      {%- if h.column -%}{%- do header_of.update({h.column: h.header}) -%}{%- endif -%}
    {%- elif h.k > 0 -%}
      {%- if h.column is none -%}
        {%- do problems.append(profile.files[h.k].setting ~ ".columns: '" ~ h.header ~ "' means '" ~ h.wanted ~ "', which another column of the file has already; map one of them: columns: {\"" ~ h.header ~ '": another_name}') -%}
      {%- elif h.column not in found -%}
        {%- do found.update({h.column: h}) -%}
      {%- endif -%}
    {%- endif -%}
    {%- if h.column -%}{%- do file_columns.update({(h.k ~ ':' ~ h.column): h}) -%}{%- endif -%}
  {%- endfor -%}

  {#- The columns that vendors bring, in order of first appearance, with what the spec says of each. -#}
  {%- set known = (header_of.keys() | list) + (found.keys() | list) -%}
  {%- set groups = plan_groups(spec, names, known, found, problems) -%}
  {%- set strategies = {} -%}
  {%- for column, strategy in spec.strategies.columns.items() if column != 'default' -%}
    {%- set resolved = resolve_column(column, names, known, 'strategies.' ~ column, problems) -%}
    {%- if resolved in strategies -%}{%- do problems.append('strategies.' ~ column ~ ": column '" ~ resolved ~ "' has a strategy already") -%}{%- endif -%}
    {%- if resolved -%}{%- do strategies.update({resolved: strategy}) -%}{%- endif -%}
    {%- for group in groups if resolved in group.columns -%}
      {%- do problems.append('strategies.' ~ column ~ ': the column is in groups[' ~ group.index ~ '], whose strategy rules; remove one of the two') -%}
    {%- endfor -%}
  {%- endfor -%}
  {%- set policies = {} -%}
  {%- for column, policy in spec.overwrite.columns.items() if column != 'default' -%}
    {%- set resolved = resolve_column(column, names, known, 'overwrite.' ~ column, problems) -%}
    {%- if resolved in policies -%}{%- do problems.append('overwrite.' ~ column ~ ": column '" ~ resolved ~ "' has a policy already") -%}{%- endif -%}
    {%- if resolved -%}{%- do policies.update({resolved: policy}) -%}{%- endif -%}
  {%- endfor -%}
  {%- for column in policies if not group_of(groups, column) -%}
    {%- if column not in found -%}
      {%- do profile.files[0].notes.append('overwrite.' ~ column ~ ' changes nothing: no vendor file has a column for it') -%}
    {%- elif column not in header_of -%}
      {%- do profile.files[0].notes.append('overwrite.' ~ column ~ " changes nothing: it has no column '" ~ column ~ "', and the result gets one with what the vendors say") -%}
    {%- endif -%}
  {%- endfor -%}
  {%- for h in crm -%}{%- do h.update({'policy': policies.get(h.column, spec.overwrite.default)}) -%}{%- endfor -%}
  {%- set vendor = [] -%}
  {%- for column, h in found.items() -%}
    {%- set header = header_of.get(column) -%}
    {%- set policy = policies.get(column, spec.overwrite.default) -%}
    {%- set group = group_of(groups, column) -%}
    {%- set strategy = strategy_plan(strategies.get(column, spec.strategies.default), profile.files, names, found, 'strategies.' ~ column, problems) -%}
    {%- set output = column ~ '_enriched' if header and policy == 'suffix' else (none if header else column) -%}
    {%- do vendor.append({
      'index': loop.index, 'column': column, 'header': header, 'output': output, 'policy': policy,
      'key_type': h.key_type, 'group': group, 'strategy': strategy,
      'is_first_of_group': group is not none and vendor | selectattr('column', 'in', group.columns) | list | length == 0,
    }) -%}
  {%- endfor -%}
  {%- if vendor | length > 300 -%}
    {#- The engine plans a query in memory that its limit does not count: gigabytes for 500 columns. -#}
    {%- do problems.append('enriched: the files bring ' ~ vendor | length ~ ' different columns; a merge takes at most 300. Leave out of the files what you do not need') -%}
  {%- endif -%}
  {%- set outputs = output_names(crm, vendor, profile.files, found, problems) -%}
  {%- for v in vendor -%}{%- do v.update({'name': v.output or v.header, 'place': outputs.index(v.output or v.header) + 1}) -%}{%- endfor -%}
  {%- for column in spec.partition_by if column not in outputs -%}
    {%- do problems.append("export.partition_by: the result has no column '" ~ column ~ "'" ~ did_you_mean(column | string, outputs)) -%}
  {%- endfor -%}

  {%- set tiers = plan_tiers(spec, names, known, header_of, found, file_columns, profile.files, problems) -%}
  {%- set guards = plan_guards(spec.guards, tiers, spec, problems) -%}
  {%- set evidence = evidence_tiers(guards, tiers, file_columns) -%}
  {%- set assertions = assertion_files(spec, problems) -%}
  {%- set record_id = record_id_header(spec, names, crm, tiers, profile.files, problems) -%}
  {%- for group in groups -%}
    {%- do group.update({'strategy': strategy_plan(group.strategy, profile.files, names, found, 'groups[' ~ group.index ~ '].strategy', problems)}) -%}
  {%- endfor -%}
  {%- if problems -%}{%- do refuse('The merge spec does not fit the files.', problems) -%}{%- endif -%}
  {%- do return({
    'files': profile.files, 'crm': crm, 'vendor': vendor, 'tiers': tiers, 'groups': groups,
    'headers': names.headers, 'directory': profile.directory, 'evidence': evidence, 'guards': guards,
    'assertions': assertions, 'vendors': spec.enriched, 'record_id': record_id, 'max_reject_rate': spec.max_reject_rate,
  }) -%}
{% endmacro %}


{% macro record_id_header(spec, names, crm, tiers, files, problems) %}
  {#- The header of the CRM's own record id, by which an import finds its record: the one the spec names, else an
      external id's, else `record_id` or `id`; none if there is none. -#}
  {%- set word = spec.original.get('record_id') -%}
  {%- if word is string -%}
    {%- set entry = original_header(word, names, 'original.record_id', files, problems) -%}
    {%- if entry and entry not in crm -%}{%- do problems.append("original.record_id: '" ~ word ~ "' is a column of an earlier merge, not the CRM's") -%}{%- endif -%}
    {%- do return(entry.header if entry else none) -%}
  {%- endif -%}
  {%- for tier in tiers if tier.label == 'external_id' and 0 in tier.columns -%}{%- do return(tier.columns[0][0].header) -%}{%- endfor -%}
  {%- for name in ['record_id', 'id'] -%}
    {%- for h in crm if h.own == name -%}{%- do return(h.header) -%}{%- endfor -%}
  {%- endfor -%}
  {%- do return(none) -%}
{% endmacro %}


{% macro file_profiles(spec) %}
  {#- What the file plugin says of each file: path, encoding, delimiter, header, rows, hash, or problems. -#}
  {%- set words = {'comma': ',', 'semicolon': ';', 'tab': '\t', 'pipe': '|'} -%}
  {%- set files = [dict(spec.original, name='original', role='original', setting='original')] -%}
  {%- for file in spec.enriched -%}
    {%- do files.append(dict(file, role='enriched', setting='enriched[' ~ loop.index0 ~ ']')) -%}
  {%- endfor -%}
  {%- for file in files -%}
    {%- if file.get('delimiter') in words -%}{%- do file.update({'delimiter': words[file.delimiter]}) -%}{%- endif -%}
    {%- do file.update({'region': file.get('region') or spec.region}) -%}
  {%- endfor -%}
  {%- do return(fromjson(query_value('select crm_files_profile(' ~ sql_text(tojson({'files': files})) ~ ')'))) -%}
{% endmacro %}


{% macro column_names(spec, files, problems) %}
  {#- {headers: one entry per file and header, words: the spec's own column names made canonical}. -#}
  {%- set headers = [] -%}
  {%- for file in files -%}
    {%- set declared = {} -%}
    {%- for header, column in (file.get('columns') or {}).items() -%}
      {%- if header in file.header -%}
        {%- do declared.update({header: column}) -%}
      {%- else -%}
        {%- set same = [] -%}
        {%- for text in file.header if text.strip() | lower == (header | string).strip() | lower -%}{%- do same.append(text) -%}{%- endfor -%}
        {%- if same -%}
          {%- do declared.update({same[0]: column}) -%}
        {%- else -%}
          {%- do problems.append(file.setting ~ ".columns: there is no header '" ~ header ~ "' in the file" ~ did_you_mean(header | string, file.header)) -%}
        {%- endif -%}
      {%- endif -%}
    {%- endfor -%}
    {%- for header in file.header -%}
      {%- do headers.append({'k': file.k, 'position': loop.index, 'header': header, 'declared': declared.get(header)}) -%}
    {%- endfor -%}
  {%- endfor -%}
  {%- set words = (spec.strategies.columns.keys() | list) + (spec.overwrite.columns.keys() | list) -%}
  {%- for strategy in spec.strategies.columns.values() if strategy is mapping and strategy.get('most_recent') -%}{%- do words.append(strategy.most_recent) -%}{%- endfor -%}
  {%- for key in spec.match_on if key is mapping -%}
    {%- for name in ['column', 'original', 'enriched'] if name in key -%}{%- do words.append(key[name]) -%}{%- endfor -%}
  {%- endfor -%}
  {%- if spec.original.get('record_id') -%}{%- do words.append(spec.original.record_id) -%}{%- endif -%}
  {%- for group in spec.groups -%}
    {%- for column in group.columns -%}{%- do words.append(column) -%}{%- endfor -%}
    {%- if group.get('strategy') is mapping -%}{%- do words.append((group.strategy.values() | list)[0] | string) -%}{%- endif -%}
  {%- endfor -%}
  {%- for word in words | unique(case_sensitive=true) -%}
    {%- do headers.append({'k': -1, 'position': loop.index, 'header': word | string, 'declared': none}) -%}
  {%- endfor -%}

  {%- set named = fromjson(query_value(column_names_sql(headers))) -%}
  {%- set result = {'headers': [], 'words': {}} -%}
  {%- set mapped = {} -%}
  {%- for h in named -%}
    {%- if h.mapped -%}
      {%- set place = h.k ~ ' ' ~ h.mapped -%}
      {%- if place in mapped -%}{%- do problems.append(files[h.k].setting ~ ".columns: '" ~ h.header ~ "' can not be the column '" ~ h.mapped ~ "', which '" ~ mapped[place] ~ "' is mapped to; give one of them another name") -%}{%- endif -%}
      {%- do mapped.setdefault(place, h.header) -%}
    {%- endif -%}
    {%- if h.k < 0 -%}{%- do result.words.update({h.header: h}) -%}{%- else -%}{%- do result.headers.append(h) -%}{%- endif -%}
  {%- endfor -%}
  {%- do return(result) -%}
{% endmacro %}


{% macro column_names_sql(headers) %}
  {#- Header → column, for every file at once: what the spec maps takes a name first, then the header
      that is the name itself, then aliases; among equals the first. The rest keep their own name if it
      is free (column is null when not). -#}
  with headers as (
    select unnest(from_json(
      {{ sql_text(tojson(headers)) }},
      '[{"k": "INTEGER", "position": "INTEGER", "header": "VARCHAR", "declared": "VARCHAR"}]'
    ), recursive := true)
  ),
  own_names as (
    select
      *,
      coalesce(nullif({{ canonical('header') }}, ''), 'column_' || position) as own,
      {{ canonical('declared') }} as mapped
    from headers
  ),
  wanted_names as (
    select
      h.*,
      coalesce(h.mapped, a."column", h.own) as wanted,
      case when h.mapped is not null then 0 when a."column" is null then 1 else 2 end as claim
    from own_names as h
    left join {{ reference_file('header_aliases') }} as a on h.own = a.header
  ),
  claims as (
    select
      *,
      row_number() over (partition by k, case when k < 0 then position end, wanted order by claim, position) = 1 as wins
    from wanted_names
  ),
  named as (
    select
      c.k, c.position, c.header, c.own, c.wanted, c.mapped,
      case
        when c.wins then c.wanted
        when taken.wanted is null
          and row_number() over (partition by c.k, c.wins, c.own order by c.position) = 1 then c.own
      end as "column"
    from claims as c
    left join (select distinct k, wanted from claims where wins) as taken on c.k = taken.k and c.own = taken.wanted
  )
  select to_json(list({
    'k': n.k, 'position': n.position, 'header': n.header, 'own': n.own, 'wanted': n.wanted, 'column': n."column", 'mapped': n.mapped,
    'key_type': coalesce(t.key_type, numbered.key_type), 'is_name': p."column" is not null, 'is_country': c."column" is not null
  } order by n.k, n.position))
  from (select *, regexp_replace("column", '_?[0-9]+$', '') as stem from named) as n
  left join {{ reference_file('key_columns') }} as t on t."column" = n."column"
  left join {{ reference_file('key_columns') }} as numbered on numbered."column" = n.stem
  left join {{ reference_file('name_columns') }} as p on p."column" = n.stem
  left join {{ reference_file('country_columns') }} as c on c."column" = n."column"
{% endmacro %}


{% macro canonical(text) -%}
  {#- NFC, lower-case, every run of other than letters (with their marks) and digits → _, none at the ends. -#}
  regexp_replace(regexp_replace(lower(nfc_normalize({{ text }})), '[^\p{L}\p{M}\p{N}]+', '_', 'g'), '^_+|_+$', '', 'g')
{%- endmacro %}


{% macro resolve_column(word, names, known, place, problems) %}
  {#- The column that a word of the spec means: by its own name, else by its alias. -#}
  {%- set entry = names.words[word | string] -%}
  {%- if entry.own in known -%}{%- do return(entry.own) -%}{%- endif -%}
  {%- if entry.wanted in known -%}{%- do return(entry.wanted) -%}{%- endif -%}
  {%- do problems.append(place ~ ": no file has a column '" ~ entry.own ~ "'" ~ did_you_mean(entry.own, known)) -%}
  {%- do return(none) -%}
{% endmacro %}


{% macro group_of(groups, column) %}
  {%- for group in groups if column in group.columns -%}{%- do return(group) -%}{%- endfor -%}
  {%- do return(none) -%}
{% endmacro %}


{% macro strategy_plan(strategy, files, names, found, place, problems) %}
  {#- {name, argument, file_ranks}: the strategy of a column with its argument resolved. -#}
  {%- if strategy is not mapping -%}{%- do return({'name': strategy, 'argument': none, 'file_ranks': {}}) -%}{%- endif -%}
  {%- set name = (strategy.keys() | list)[0] -%}
  {%- set plan = {'name': name, 'argument': none, 'file_ranks': {}} -%}
  {%- if name == 'most_recent' -%}
    {%- do plan.update({'argument': resolve_column(strategy[name], names, found.keys() | list, place ~ '.most_recent', problems)}) -%}
  {%- elif name == 'source_priority' -%}
    {%- for file in files if file.vendor in strategy[name] -%}
      {%- do plan.file_ranks.update({file.k: (strategy[name] | length) - strategy[name].index(file.vendor)}) -%}
    {%- endfor -%}
  {%- endif -%}
  {%- do return(plan) -%}
{% endmacro %}


{% macro plan_groups(spec, names, known, found, problems) %}
  {#- Field groups with their columns resolved; a column is in one group at most. -#}
  {%- set groups = [] -%}
  {%- set taken = [] -%}
  {%- for group in spec.groups -%}
    {%- set columns = [] -%}
    {%- set place = 'groups[' ~ loop.index0 ~ '].columns' -%}
    {%- for word in group.columns -%}
      {%- set column = resolve_column(word, names, known, place, problems) -%}
      {%- if column in taken -%}
        {%- do problems.append(place ~ ": '" ~ word ~ "' stands in a group already; a column survives with one group") -%}
      {%- elif column -%}
        {%- do taken.append(column) -%}
        {%- do columns.append(column) -%}
      {%- endif -%}
    {%- endfor -%}
    {%- do groups.append({'index': loop.index0, 'columns': columns, 'strategy': group.get('strategy', 'first'), 'allow_fill': group.get('allow_fill', false)}) -%}
  {%- endfor -%}
  {%- do return(groups) -%}
{% endmacro %}


{% macro output_names(crm, vendor, files, found, problems) %}
  {#- The columns of merged_result; names never clash silently. -#}
  {%- set taken = {} -%}
  {%- for h in crm -%}{%- do taken.update({h.header | lower: "the CRM's column '" ~ h.header ~ "'"}) -%}{%- endfor -%}
  {%- for name in match_columns() -%}{%- do taken.update({name: "the merge's own column"}) -%}{%- endfor -%}
  {%- for v in vendor if (v.header or v.output) | lower == 'enriched_by' -%}
    {%- do problems.append(files[found[v.column].k].setting ~ ".columns: '" ~ found[v.column].header ~ "' has a name that unmatched_enriched itself gives; map it: columns: {\"" ~ found[v.column].header ~ '": another_name}') -%}
  {%- endfor -%}
  {%- for v in vendor if v.output -%}
    {%- set file = files[found[v.column].k] -%}
    {%- if v.output | lower in taken -%}
      {%- do problems.append(file.setting ~ ".columns: '" ~ found[v.column].header ~ "' would become the column '" ~ v.output ~ "', a name that " ~ taken[v.output | lower] ~ ' has; map it: columns: {"' ~ found[v.column].header ~ '": another_name}') -%}
    {%- endif -%}
    {%- do taken.update({v.output | lower: "column '" ~ v.output ~ "'"}) -%}
  {%- endfor -%}
  {%- do return((crm | map(attribute='header') | list) + (vendor | map(attribute='output') | select | list) + match_columns()) -%}
{% endmacro %}


{% macro plan_tiers(spec, names, known, header_of, found, file_columns, files, problems) %}
  {#- match_on, resolved: {tier, label, kind, compare, columns: {k: [column entries]}}; every file needs one usable key. -#}
  {%- set tiers = [] -%}
  {%- set usable = {} -%}
  {%- for key in spec.match_on -%}
    {%- set place = 'match_on[' ~ loop.index0 ~ ']' -%}
    {%- set tier = {'tier': loop.index, 'kind': 'column', 'compare': 'exact', 'label': none, 'columns': {}} -%}
    {%- if key is string or key.get('type') in key_types() -%}
      {%- do tier.update({'kind': key if key is string else key.type, 'label': key if key is string else key.type}) -%}
      {%- for id, h in file_columns.items() if h.key_type == tier.kind -%}
        {%- do tier.columns.setdefault(h.k, []).append(h) -%}
      {%- endfor -%}
    {%- elif 'column' in key -%}
      {%- set column = resolve_column(key.column, names, known, place ~ '.column', problems) -%}
      {%- do tier.update({'compare': key.get('compare', 'exact'), 'label': column}) -%}
      {%- for file in files if (file.k ~ ':' ~ column) in file_columns -%}
        {%- do tier.columns.update({file.k: [file_columns[file.k ~ ':' ~ column]]}) -%}
      {%- endfor -%}
    {%- else -%}
      {%- do tier.update({'label': 'external_id'}) -%}
      {%- set original_entry = original_header(key.original, names, place ~ '.original', files, problems) -%}
      {%- if original_entry -%}{%- do tier.columns.update({0: [original_entry]}) -%}{%- endif -%}
      {%- set column = resolve_column(key.enriched, names, found.keys() | list, place ~ '.enriched', problems) -%}
      {%- for file in files if file.k > 0 and (file.k ~ ':' ~ column) in file_columns -%}
        {%- do tier.columns.update({file.k: [file_columns[file.k ~ ':' ~ column]]}) -%}
      {%- endfor -%}
    {%- endif -%}
    {%- for other in tiers if other.label and other.label == tier.label -%}
      {%- do problems.append(place ~ ": '" ~ tier.label ~ "' stands twice in match_on") -%}
    {%- endfor -%}
    {%- for k in tier.columns -%}{%- do usable.update({k: true}) -%}{%- endfor -%}
    {%- do tiers.append(tier) -%}
  {%- endfor -%}
  {%- if not problems -%}
    {%- for file in files if file.k not in usable -%}
      {%- do problems.append(file.setting ~ ': ' ~ file.shown.split('/') | last ~ ' has no usable key column: none of ' ~ file.header | join(', ') ~ ' feeds ' ~ tiers | map(attribute='label') | join(', ')
        ~ '; name one in match_on, or map it: columns: {"' ~ file.header[0] ~ '": ' ~ tiers[0].label ~ '}') -%}
    {%- endfor -%}
  {%- endif -%}
  {%- for tier in tiers if tier.label and 0 not in tier.columns -%}
    {%- do files[0].notes.append("it has no column for the key '" ~ tier.label ~ "' of match_on, which matches none of its rows; if one has it, map it: original.columns: {\"header\": " ~ tier.label ~ '}') -%}
  {%- endfor -%}
  {%- do return(tiers) -%}
{% endmacro %}


{% macro original_header(word, names, place, files, problems) %}
  {#- The CRM column that an external id names: by its header text, else by its column name. -#}
  {%- for h in names.headers if h.k == 0 and h.header == word -%}{%- do return(h) -%}{%- endfor -%}
  {%- for h in names.headers if h.k == 0 and names.words[word].own in [h.column, h.own] -%}{%- do return(h) -%}{%- endfor -%}
  {%- do problems.append(place ~ ": the original has no column '" ~ word ~ "'" ~ did_you_mean(word, files[0].header)) -%}
  {%- do return(none) -%}
{% endmacro %}


{% macro column_map(plan, file) %}
  {#- What each header of a file means: {header, column, key}. -#}
  {%- set columns = [] -%}
  {%- for h in plan.headers if h.k == file.k -%}
    {%- set keys = [] -%}
    {%- for tier in plan.tiers -%}
      {%- for entry in tier.columns.get(file.k, []) if entry.position == h.position -%}{%- do keys.append(tier.label) -%}{%- endfor -%}
    {%- endfor -%}
    {%- do columns.append({'header': h.header, 'column': h.column, 'key': keys[0] if keys else none}) -%}
  {%- endfor -%}
  {%- do return(columns) -%}
{% endmacro %}


{% macro plan_guards(given, tiers, spec, problems) %}
  {#- {hub: {tier: limit or none}, contradiction: {tier of a weak type: name, surname or off}, max_entity_size: limit or
      none, blocked: {label: values}, blocked_domains: […], allow_test_addresses}: the guards with their defaults, by tier. -#}
  {%- set usual = {'email': 5, 'phone': 3, 'linkedin': 5, 'external_id': 10, 'domain': 3} -%}
  {%- set labels = tiers | map(attribute='label') | select | list -%}
  {%- set hub = given.get('hub', {}) -%}
  {%- set contradiction = given.get('contradiction', {}) -%}
  {%- set hubs = {} -%}
  {%- set modes = {} -%}
  {%- if hub is mapping -%}
    {%- for label in hub if label not in labels and label not in usual -%}
      {%- do problems.append('guards.hub.' ~ label ~ ": no key of match_on is called '" ~ label ~ "'" ~ did_you_mean(label | string, labels)) -%}
    {%- endfor -%}
  {%- endif -%}
  {%- for tier in tiers -%}
    {%- set limit = hub.get(tier.label, usual.get(tier.label, 5)) if hub is mapping else 'off' -%}
    {%- do hubs.update({tier.tier: none if is_off(limit) else limit}) -%}
    {%- if tier.label in weak_types() -%}
      {%- set mode = contradiction.get(tier.label, 'name') if contradiction is mapping else 'off' -%}
      {%- do modes.update({tier.tier: 'off' if is_off(mode) else mode}) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- set size = given.get('max_entity_size', 50) -%}
  {%- set plan = {
    'hub': hubs, 'contradiction': modes, 'max_entity_size': none if is_off(size) else size,
    'allow_test_addresses': given.get('allow_test_addresses', false), 'blocked': {}, 'blocked_domains': [],
  } -%}
  {%- set entries = [] -%}
  {%- for given_entry in given.get('blocked', []) -%}
    {%- set entry = given_entry.strip() -%}
    {%- if entry.startswith('@') -%}
      {%- set address = 'x' ~ entry -%}
      {%- set keys = keys_of_texts([address], [{'kind': 'email', 'label': 'email'}], spec.region).get(address, {}) -%}
      {%- if keys and ' ' not in entry -%}
        {%- do plan.blocked_domains.append(keys.email[0].split('@')[1]) -%}
      {%- else -%}
        {%- do problems.append("guards.blocked: '" ~ entry ~ "' is no domain of e-mail addresses. Accepted: @company.com") -%}
      {%- endif -%}
    {%- else -%}
      {%- do entries.append(entry) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- if entries and not problems -%}
    {#- e-mails are evidence for guards also where match_on does not name them -#}
    {%- set known = tiers if 'email' in labels else tiers + [{'kind': 'email', 'label': 'email'}] -%}
    {%- set found = keys_of_texts(entries, known, spec.region) -%}
    {%- for entry in entries if not found.get(entry) -%}
      {%- do problems.append("guards.blocked: '" ~ entry ~ "' is no valid " ~ known | map(attribute='label') | join(' or ')
        ~ '. Accepted: a key value as it stands in a cell, or @company.com for every address there') -%}
    {%- endfor -%}
    {%- for keys in found.values() -%}
      {#- an address or a profile is no web site as well -#}
      {%- for label, values in keys.items() if not (label == 'domain' and ('email' in keys or 'linkedin' in keys)) -%}{%- do plan.blocked.setdefault(label, []).extend(values) -%}{%- endfor -%}
    {%- endfor -%}
  {%- endif -%}
  {%- do return(plan) -%}
{% endmacro %}


{% macro keys_of_texts(texts, tiers, region) %}
  {#- {text: {label: keys}}: what each text is as a cell of each key type; a text that is no key is left out. -#}
  {%- set found = {} -%}
  {%- for tier in tiers -%}
    {%- set kind = tier_kind(tier) -%}
    {%- set given = '(select unnest(' ~ sql_list(texts) ~ ') as cell) as given' -%}
    {%- for row in fromjson(query_value('select to_json(list({text: cell, keys: cell_' ~ kind ~ '})) from ' ~ staged(given, key_stages(kind, 'cell', region, false)))) if row['keys'] -%}
      {%- do found.setdefault(row.text, {}).update({tier.label: row['keys']}) -%}
    {%- endfor -%}
  {%- endfor -%}
  {%- do return(found) -%}
{% endmacro %}


{% macro tier_kind(tier) %}{% do return(tier.kind if tier.kind != 'column' else tier.compare) %}{% endmacro %}


{% macro evidence_tiers(guards, tiers, file_columns) %}
  {#- Guards look at e-mails also where match_on does not: a tier of their own, after the last, that links nothing. -#}
  {%- set on = guards.hub.values() | select | list + guards.contradiction.values() | reject('equalto', 'off') | list -%}
  {%- if not on or 'email' in tiers | map(attribute='label') -%}{%- do return([]) -%}{%- endif -%}
  {%- set tier = {'tier': tiers | length + 1, 'kind': 'email', 'compare': 'exact', 'label': 'email', 'columns': {}} -%}
  {%- for id, h in file_columns.items() if h.key_type == 'email' -%}{%- do tier.columns.setdefault(h.k, []).append(h) -%}{%- endfor -%}
  {%- do return([tier] if tier.columns else []) -%}
{% endmacro %}
