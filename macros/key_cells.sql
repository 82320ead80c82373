{#- Keys in long form: all cells of a key type, of whatever file and column, are one relation, and one statement finds their keys. So what finds them,
    which is large, stands in a merge once. Its Parquet files have a row for each cell that is filled:

      record, column_number   which cell: the row, and the number of the vendors' column, null if it is none of them
      tiers                   the tiers that the cell feeds
      keys, has_key           its keys, null where no tier asks for them, and whether one is valid (a number that a spreadsheet has mangled is among them, and is none)
      form                    what the cell says, whatever its spelling
      surname, given          who the row speaks of, where a guard asks
-#}

{% macro land_keys(plan) %}
  {%- for cells in plan.cells if builds_anew() or not (resumes() and recall('finished keys ' ~ cells.name)) -%}
    {%- do build_anew() -%}
    {%- do enter_rules(cells, plan, landed_sources(cells, plan)) -%}
    {%- do write_keys(cell_keys(cells, plan, landed_sources(cells, plan)), folder_of_keys(plan, cells.name)) -%}
    {%- do plan.update({'rules_known': none}) -%}
    {%- do remember('finished keys ' ~ cells.name, cells.kind) -%}
  {%- endfor -%}
{% endmacro %}


{% macro write_keys(keys, folder) %}
  {#- Writes the keys of a type, a folder for each shape. In each the rows are nearly in order, so that a reader skips what it does not need; quite in order, writing them would take half
      as long again. -#}
  {%- do run_statement('set partitioned_write_flush_threshold = ' ~ (65536 if merge_plan().shapes | length <= 100 else 524288)) -%}
  {%- do run_statement('copy (' ~ keys ~ ') to ' ~ sql_text(folder) ~ ' (format parquet, partition_by (file), overwrite true, compression lz4, row_group_size ' ~ [50000, [merge_plan().widths.most_rows, 2048] | max] | min ~ ', preserve_order false)') -%}
  {#- a reader wants one file at least; it estimates by the first, which must not be an empty one -#}
  {%- do run_statement('copy (select cast(null as bigint) as record, cast(null as int) as column_number, cast(null as int[]) as tiers, cast(null as varchar[]) as keys, cast(null as boolean) as has_key, '
    ~ 'cast(null as bigint) as form, cast(null as varchar) as surname, cast(null as varchar) as given where 1 = 0) to ' ~ sql_text(folder ~ '/none') ~ ' (format parquet, per_thread_output true, overwrite true)') -%}
{% endmacro %}


{% macro folder_of_keys(plan, name) %}{% do return(plan.directory ~ '/.crm-merge/landing/keys_' ~ name) %}{% endmacro %}


{% macro rows_of_keys(plan, name) %}{{ return(parquet_folders(folder_of_keys(plan, name))) }}{% endmacro %}


{% macro landed_sources(cells, plan) %}
  {#- {number of a shape: SQL of its rows}, with `record` and the cells. -#}
  {%- set sources = {} -%}
  {%- for shape in plan.shapes if shape.number in cells.shapes | map(attribute='number') -%}
    {%- do sources.update({shape.number: '(select *, ' ~ landed_record(shape, plan) ~ ' as record from ' ~ rows_of_shape(shape, plan) ~ ')'}) -%}
  {%- endfor -%}
  {%- do return(sources) -%}
{% endmacro %}


{% macro cell_keys(cells, plan, sources) -%}
  {#- The SELECT of the keys of all cells of a type. -#}
  {%- set keys = 'cell_' ~ cells.kind -%}
  {%- if cells.region_varies -%}
    {%- set countries = [] -%}
    {%- for n in range(1, cells.countries + 1) -%}{%- do countries.append('country_' ~ n) -%}{%- endfor -%}
    {%- set stages = region_stages(countries, 'file_region') + key_stages(cells.kind, 'cell', none, cells.is_name, '_merge_phone_rules') if cells.kind == 'phone' else key_stages(cells.kind, 'cell', none, cells.is_name) -%}
  {%- else -%}
    {%- set stages = key_stages(cells.kind, 'cell', cells.region, cells.is_name) -%}
  {%- endif -%}
  select
    record,
    column_number,
    tiers,
    {#- of cells that feed no tier, what they say is all that is asked #}
    {{ keys if cells.feeds_tier else 'cast(null as varchar[])' }} as keys,
    {{ "coalesce(" ~ keys ~ "[1][1] = '+', false)" if cells.kind == 'phone' else 'len(' ~ keys ~ ') > 0' }} as has_key,
    case when column_number is not null then {{ hash_number('coalesce(' ~ form_of_keys(keys) ~ ', ' ~ comparison_form('cell') ~ ')') }} end as form,
    surname,
    given,
    file
  from {{ staged('(' ~ key_cells(cells, plan, sources) ~ ') as cells', stages) }}
{%- endmacro %}


{% macro key_cells(cells, plan, sources) -%}
  {#- The SELECT of the filled cells of a key type: record, file (the first of its shape), column_number, tiers, surname, given, country_1 …, file_region, cell. -#}
  {%- for shape in cells.shapes %}
  select *
  from (
    select
      record,
      {{ shape.number }} as file,
      {{ '_merge_surname as surname, _merge_given as given' if weak_tiers(plan) else 'cast(null as varchar) as surname, cast(null as varchar) as given' }},
      {%- for n in range(cells.countries) %}
      {{ 'c' ~ shape.countries[n] if n < shape.countries | length else 'cast(null as varchar)' }} as country_{{ n + 1 }},
      {%- endfor %}
      cast({{ sql_text(shape.region) if shape.region else 'null' }} as varchar) as file_region,
      {%- set numbers, tiers, texts = [], [], [] -%}
      {%- for column in shape.columns -%}
        {%- do numbers.append(column.column_number or 'null') -%}{%- do tiers.append(column.tiers) -%}{%- do texts.append('c' ~ column.position if shape.number else 'nfc_normalize(c' ~ column.position ~ ')') -%}
      {%- endfor %}
      {%- if texts | length == 1 %}
      cast({{ numbers[0] }} as int) as column_number, cast({{ tiers[0] }} as int[]) as tiers, {{ texts[0] }} as cell
      {%- else %}
      unnest(cast([{{ numbers | join(', ') }}] as int[])) as column_number, unnest(cast({{ tiers }} as int[][])) as tiers, unnest([{{ texts | join(', ') }}]) as cell
      {%- endif %}
    from {{ sources[shape.number] }}
  )
  where cell is not null{{ ' and not ' ~ is_blank('cell', cells.is_name) if not shape.number }}
  {{ 'union all' if not loop.last }}
  {%- endfor %}
{%- endmacro %}


{% macro enter_rules(cells, plan, sources) %}
  {#- Says which rules are wanted from here on: of phone numbers and domains those that few cells can need, or all. -#}
  {%- if cells.kind in ['phone', 'domain'] -%}
    {%- do plan.update({'rules_known': fromjson(query_value('select crm_rules(' ~ sql_text(tojson(rules_request(cells, plan, sources))) ~ ')'))}) -%}
  {%- endif -%}
{% endmacro %}


{% macro rules_request(cells, plan, sources) %}
  {#- It is asked in a session of its own. -#}
  {%- set before = plan.in_full -%}
  {%- do plan.update({'in_full': true}) -%}
  {%- set found = key_cells(cells, plan, sources) -%}
  {%- do plan.update({'in_full': before}) -%}
  {%- do return({
    'kind': cells.kind, 'cells': found, 'most': cells.most, 'countries': cells.countries,
    'regions': cells.shapes | map(attribute='region') | unique | list,
  }) -%}
{% endmacro %}


{% macro rules_known(what) %}
  {#- The rules of a kind that are wanted; none for all. -#}
  {%- do return(((graph.get('merge_plan') or {}).get('rules_known') or {}).get(what)) -%}
{% endmacro %}


{% macro with_key_forms(columns, plan, kind, record) -%}
  {#- Joins that bring what the cells say of those vendors' columns that hold keys: of column n as k_<key type>.form_n. Of those records that the part of a kind is about. -#}
  {%- set by_type = {} -%}
  {%- for v in columns if v.key_type -%}{%- do by_type.setdefault(v.key_type, []).append(v.index) -%}{%- endfor -%}
  {%- for key_type, numbers in by_type.items() %}
  left join (
    select
      record
      {%- for n in numbers %},
      {{ 'form as form_' ~ n if numbers | length == 1 else 'max(case when column_number = ' ~ n ~ ' then form end) as form_' ~ n }}
      {%- endfor %}
    from ({{ landed_key_forms(key_type, numbers, plan, kind) }}) as cells
    {{ 'group by record' if numbers | length > 1 }}
  ) as k_{{ key_type }} on {{ record }} = k_{{ key_type }}.record
  {%- endfor %}
{%- endmacro %}


{% macro landed_key_forms(key_type, numbers, plan, kind) -%}
  {#- The SELECT of what cells of a key type say: record, column_number, form. -#}
  {%- for cells in plan.cells if cells.kind == key_type %}
  {{ 'union all' if not loop.first }}
  select record, column_number, form
  from {{ rows_of_keys(plan, cells.name) }}
  where column_number in ({{ numbers | join(', ') }}) and {{ within(kind, 'record') }}
  {%- endfor %}
{%- endmacro %}


{% macro landed_keys(plan, tier) -%}
  {#- The SELECT of the keys that a tier joins by: record, surname, given, key_value. Two columns of a row may hold the same one: then it is made part by part,
      all tiers of it. -#}
  {%- set several = tier.tier in plan.tiers_of_several -%}
  select{{ ' distinct' if several }}
    record,
    surname,
    given,
    key_value
  from (
    {%- for cells in plan.cells if cells.kind == tier_kind(tier) %}
    {{ 'union all' if not loop.first }}
    select
      record,
      surname,
      given,
      {{ exploded('keys') }} as key_value
    from {{ rows_of_keys(plan, cells.name) }}
    where {{ list_holds('tiers', tier.tier) }}{% if plan.tiers_of_several %} and {{ within('rows', 'record') }}{% endif %}
    {%- else %}
    select
      cast(0 as bigint) as record,
      cast(null as string) as surname,
      cast(null as string) as given,
      cast(null as string) as key_value
    where 1 = 0
    {%- endfor %}
  ) as keys
{%- endmacro %}
