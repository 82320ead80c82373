{% macro describe_merge(preview_rows=3) %}
  {#- For `crm-merge validate`: one JSON line per file with its profile, its columns, the share of rows with a key that is
      not blocked, per key, and the first rows. Reads every file once, merges nothing. -#}
  {%- set plan = merge_plan() -%}
  {%- do land_assertions() -%}
  {%- for file in plan.files -%}
    {%- set shares = [] -%}
    {%- set kept = [] -%}
    {%- set tiers = [] -%}
    {%- for tier in plan.tiers if file.k in tier.columns -%}
      {%- do tiers.append(tier) -%}
      {%- do kept.append('_merge_keys_' ~ tier.tier) -%}
      {%- do shares.append("'" ~ tier.tier ~ "': (select count(distinct n) from (select n, unnest(_merge_keys_" ~ tier.tier ~ ") as key_value from landed) where "
        ~ blocked_as(tier_kind(tier), 'key_value', plan.guards, tier.label) ~ " is null) / (select nullif(count(*), 0) from landed)") -%}
    {%- endfor -%}
    {%- set problems = [] -%}
    {%- set path = readable_path(file, plan, problems) -%}
    {%- set found = {'parsed': 0} -%}
    {%- set preview = [] -%}
    {%- if not problems -%}
      {%- set cells = [] -%}
      {%- for n in range(1, (file.header | length) + 1) -%}{%- do cells.append('c' ~ n) -%}{%- endfor -%}
      {%- do found.update(fromjson(query_value('with landed as materialized (select ' ~ (['row_number() over () as n'] + kept) | join(', ') ~ ' from (' ~ landed_rows(file, plan, path)
        ~ ')) select to_json({' ~ (["'parsed': (select count(*) from landed)"] + shares) | join(', ') ~ '})'))) -%}
      {%- do preview.extend(fromjson(query_value('select coalesce(to_json(list(cells)), to_json([])) from (select [' ~ cells | join(', ') ~ '] as cells from '
        ~ read_file(file, path) ~ ' limit ' ~ preview_rows ~ ')')) or []) -%}
      {%- if file.reject_problem -%}{%- do problems.append(file.reject_problem) -%}
      {%- elif found.parsed + file.rejected_rows != file.physical_rows and file.way == 'rewrite' -%}
        {%- do problems.append(file.setting ~ ': only ' ~ found.parsed ~ ' of ' ~ file.physical_rows ~ ' rows can be read with certainty') -%}
      {%- endif -%}
    {%- endif -%}
    {%- set keys = [] -%}
    {%- for tier in tiers -%}{%- do keys.append({'label': tier.label, 'share': found.get(tier.tier | string)}) -%}{%- endfor -%}
    {%- do log('crm-merge result: ' ~ tojson({
      'source': file.name, 'path': file.shown, 'format': file.format, 'compression': file.compression, 'encoding': file.encoding,
      'dialect': file.dialect, 'line_ends': file.line_ends, 'bytes': file.bytes, 'sha256': file.sha256, 'rows': file.physical_rows,
      'rejected': file.rejected_rows, 'examples': file.first_rejects, 'notes': file.notes, 'problems': problems,
      'columns': fromjson(file.column_map), 'keys': keys, 'preview': preview,
    }), info=true) -%}
  {%- endfor -%}
{% endmacro %}
