{% macro describe_merge(preview_rows=3) %}
  {#- For `crm-merge validate`: one JSON line per file with its dialect, its columns, the share of rows with a
      valid key per tier, and the first rows. Reads every file once, merges nothing. -#}
  {%- set plan = merge_plan() -%}
  {%- for file in plan.files -%}
    {%- set shares = [] -%}
    {%- for tier in plan.tiers if file.k in tier.columns -%}
      {%- do shares.append("'" ~ tier.tier ~ "': avg(case when len(_merge_keys_" ~ tier.tier ~ ') > 0 then 1 else 0 end)') -%}
    {%- endfor -%}
    {%- do run_query('drop table if exists file_rejects; drop table if exists file_scans') -%}
    {%- set path = readable_path(file, plan) -%}
    {%- set found = fromjson(query_value('select to_json({' ~ (["'parsed': count(*)"] + shares) | join(', ') ~ '}) from (' ~ landed_rows(file, plan, path) ~ ')')) -%}
    {%- set rejected = query_value('select count(distinct line) from file_rejects') -%}
    {%- set examples = query_value("select string_agg(text, '; ') from (select 'row ' || (line - 1) || ' (' || " ~ reject_reason(file.header | length)
      ~ " || ')' as text from file_rejects order by line, column_idx limit 3)") -%}
    {%- set cells = [] -%}
    {%- for n in range(1, (file.header | length) + 1) -%}{%- do cells.append('c' ~ n) -%}{%- endfor -%}
    {%- do run_query('drop table if exists file_rejects; drop table if exists file_scans') -%}
    {%- set preview = fromjson(query_value('select coalesce(to_json(list(cells)), to_json([])) from (select [' ~ cells | join(', ') ~ '] as cells from '
      ~ read_file(file, file.header | length, path) ~ ' limit ' ~ preview_rows ~ ')')) -%}
    {%- set columns = [] -%}
    {%- for h in plan.headers if h.k == file.k -%}
      {%- set keys = [] -%}
      {%- for tier in plan.tiers -%}
        {%- for entry in tier.columns.get(file.k, []) if entry.position == h.position -%}{%- do keys.append(tier.label) -%}{%- endfor -%}
      {%- endfor -%}
      {%- do columns.append({'header': h.header, 'column': h.column, 'keys': keys}) -%}
    {%- endfor -%}
    {%- set tiers = [] -%}
    {%- for tier in plan.tiers if file.k in tier.columns -%}
      {%- do tiers.append({'label': tier.label, 'share': found[tier.tier | string]}) -%}
    {%- endfor -%}
    {%- do log('crm-merge result: ' ~ tojson({
      'source': file.name, 'path': file.path, 'encoding': file.encoding, 'delimiter': file.delimiter, 'rows': file.physical_rows,
      'parsed': found.parsed, 'rejected': rejected, 'examples': examples, 'columns': columns, 'keys': tiers, 'preview': preview or [],
    }), info=true) -%}
  {%- endfor -%}
{% endmacro %}
