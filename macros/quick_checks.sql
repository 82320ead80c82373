{#- What a merge asks before a dear check: a query of few sums over whole relations, which gives no row where all is well. Only if it gives one, the check itself is asked. DuckDB
    alone has these. A check called NAME has its quick question in quickly_NAME; `dbt test` asks the check itself. -#}

{% macro duckdb__quick_question(name) %}
  {#- The query to ask before a check; none if there is none. -#}
  {%- do return(context['quickly_' ~ name]() if ('quickly_' ~ name) in context else none) -%}
{% endmacro %}


{% macro quickly_cells_that_no_policy_changes_stay_as_they_were() %}{% do return(result_undone()) %}{% endmacro %}


{% macro quickly_every_vendor_cell_has_one_source() %}{% do return(result_undone()) %}{% endmacro %}


{% macro quickly_a_cell_has_one_source() %}{% do return(rows_out_of_order()) %}{% endmacro %}


{% macro result_undone() %}
  {#- The result with the CRM's own cells put back where vendors' were taken is the original, row for row; what was taken is there; and nothing was taken that no policy allows.
      Under `replace` a row may lose a cell that nothing keeps: then there is no quick way. -#}
  {%- set plan = merge_plan() -%}
  {%- if plan.vendor | selectattr('policy', 'equalto', 'replace') | list -%}{%- do return(none) -%}{%- endif -%}
  {%- set taken_into = {} -%}
  {%- for v in plan.vendor if v.header and not v.output -%}{%- do taken_into.update({v.header: v}) -%}{%- endfor -%}
  {%- set own, put_back, cells = ['_merge_row as c0'], ['_merge_original_row as c0'], ['c0'] -%}
  {%- set shown = [] -%}
  {%- for h in plan.crm -%}
    {%- set cell, v, name = sql_name(h.header), taken_into.get(h.header), 'c' ~ loop.index -%}
    {%- do cells.append(name) -%}
    {%- do shown.append(cell) -%}
    {%- do own.append(cell ~ ' as ' ~ name) -%}
    {%- do put_back.append(('case when _merge_record_' ~ v.index ~ ' is not null then _merge_old_' ~ v.index ~ ' else ' ~ cell ~ ' end' if v else cell) ~ ' as ' ~ name) -%}
  {%- endfor -%}
  {%- for v in plan.vendor if v.output -%}{%- do shown.append(sql_name(v.output)) -%}{%- endfor -%}
  {%- do return(
    'with originals as (select count(*) as n, ' ~ digest_of_rows(cells) ~ ' as digest from (select ' ~ own | join(', ') ~ ' from ' ~ ref('stg_original') ~ ') as cells),
    undone as (select count(*) as n, ' ~ digest_of_rows(cells) ~ ' as digest from (select ' ~ put_back | join(', ') ~ ' from ' ~ ref('int_result') ~ ') as cells),
    made as (select sum(hash(cells)) as digest from (select ' ~ shown | join(', ') ~ ' from ' ~ ref('int_result') ~ ') as cells),
    shown as (select sum(hash(cells)) as digest from (select ' ~ shown | join(', ') ~ ' from ' ~ ref('merged_result') ~ ') as cells)
    select o.n from originals as o cross join undone as u cross join made as m cross join shown as s
    where o.n <> u.n or o.digest is distinct from u.digest or m.digest is distinct from s.digest
    union all
    select count(*) from ' ~ ref('int_result') ~ ' where ' ~ taken_wrongly(plan) ~ ' having count(*) > 0
    union all
    ' ~ rows_out_of_order()
  ) -%}
{% endmacro %}


{% macro digest_of_rows(cells) -%}
  {#- SQL aggregate: a sum over rows of what their cells hold. Each row counts twice: by its cells, and as one text, where they begin at other places; DuckDB's hash of a
      text cancels what differs eight letters apart. -#}
  sum(hash({{ cells | join(', ') }})) + sum(hash(concat_ws(' ', 'row', {{ cells | join(', ') }})))
{%- endmacro %}


{% macro taken_wrongly(plan) -%}
  {#- SQL: does the row of int_result hold a vendor's cell without its source, a source without its cell, or a cell that no policy allows? Under `fill` all of the CRM's
      cells that were replaced are blank. -#}
  {%- set replaced = [] -%}
  {%- for v in plan.vendor %}
  {%- set record, cell = '_merge_record_' ~ v.index, sql_name(v.name) %}
  {%- if v.output %}({{ record }} is null) <> ({{ cell }} is null)
  {%- else %}({{ record }} is not null and ({{ cell }} is null or match_quality = 'unmatched'))
  {%- if v.policy == 'fill' %}{% do replaced.append('_merge_old_' ~ v.index) %}{% endif %}
  {%- endif %} or {% endfor -%}
  {{ 'not ' ~ is_empty("concat('', " ~ replaced | join(', ') ~ ')') if replaced else '1 = 0' }}
{%- endmacro %}


{% macro rows_out_of_order() %}
  {#- Row n of the result is row n of the original. -#}
  {%- do return(
    'select count(*) from (select _merge_original_row as this_row, lag(_merge_original_row) over () as row_before from ' ~ ref('int_result') ~ ') as rows_and_before where this_row <= row_before having count(*) > 0'
  ) -%}
{% endmacro %}
