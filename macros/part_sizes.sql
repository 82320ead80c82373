{#- How many parts of each kind there are. What follows from the plan is in it; the rest is measured here, during the run, and counted in Python
    (crm_merge/plan/parts.py). -#}

{% macro parts_of(kind) %}
  {#- {n, firsts}: how many parts of a kind there are, and with which numbers they begin. Settled when it is
      first asked for, and kept for the rest of the run and for one that resumes it. -#}
  {%- set plan = merge_plan() -%}
  {%- set known = plan.setdefault('parts_known', {}) -%}
  {%- if kind not in known -%}
    {%- set stored = recall('parts of ' ~ kind) -%}
    {%- if stored is none -%}
      {%- set stored = tojson(plan.parts[kind] if kind in plan.parts else context['parts_of_' ~ kind](plan)) -%}
      {%- do remember('parts of ' ~ kind, stored) -%}
    {%- endif -%}
    {%- do known.update({kind: fromjson(stored)}) -%}
  {%- endif -%}
  {%- do return(known[kind]) -%}
{% endmacro %}


{% macro counted_parts(kind, measured) %}
  {#- {n, firsts}: the parts of a kind, by what was measured. -#}
  {%- do return(fromjson(query_value('select crm_parts(' ~ sql_text(tojson({'kind': kind, 'measured': measured, 'widths': merge_plan().widths})) ~ ')'))) -%}
{% endmacro %}


{% macro parts_of_entities(plan) %}
  {#- An entity is named by one of its records, and counted there. -#}
  {%- set measured = fromjson(query_value('
    with several as (select n_records from ' ~ ref('int_entities') ~ ' where n_records > 1 and record = entity)
    select to_json({
      several: (select count(*) from several), several_rows: (select coalesce(sum(n_records), 0) from several),
      all_rows: (select count(*) from ' ~ ref('int_entities') ~ '), files: ' ~ plan.files | length ~ '
    })')) -%}
  {%- if not plan.widths.rows_are_large -%}{%- do return(counted_parts('entities', measured)) -%}{%- endif -%}
  {%- do measured.update({'held': query_value('
    with sizes as (' ~ sizes_of_landed(plan.shapes[1:], plan) ~ ')
    select coalesce(sum(s.held), 0) from sizes as s inner join ' ~ ref('int_entities') ~ ' as e on s.record = e.record') | int}) -%}
  {%- set parts = counted_parts('entities', measured) -%}
  {%- do return(counted_parts('entities_without_a_large_one', {'n': parts.n, 'largest': largest_parts_of_entities(parts.n, plan)}) if parts.n > 1 else parts) -%}
{% endmacro %}


{% macro largest_parts_of_entities(n, plan) %}
  {#- The bytes of the largest part, if there are n, 2 n, 3 n and 4 n. -#}
  {%- do return(fromjson(query_value('
    with sizes as (' ~ sizes_of_landed(plan.shapes[1:], plan) ~ '),
    held as (
      select ' ~ shuffled('e.entity') ~ ' as number, s.held
      from sizes as s inner join ' ~ ref('int_entities') ~ ' as e on s.record = e.record
    ),
    parts as (
      select t.times, h.number % (t.times * ' ~ n ~ ') as part, sum(h.held) as bytes
      from held as h cross join (select unnest([1, 2, 3, 4]) as times) as t
      group by all
    )
    select to_json(list(bytes order by times)) from (select times, max(bytes) as bytes from parts group by times)')) or []) -%}
{% endmacro %}


{% macro parts_of_disputes(plan) %}
  {#- About 300 bytes of each candidate are held, and of long texts several copies. -#}
  {%- set measured = fromjson(query_value('select to_json({n: count(*), bytes: cast(coalesce(sum(300 + greatest(8 * strlen(value) - 4000, 0)), 0) as bigint)}) from ' ~ ref('int_conflicts'))) -%}
  {%- do measured.update({'entity_parts': parts_of('entities').n}) -%}
  {%- do return(counted_parts('disputes', measured)) -%}
{% endmacro %}


{#- Of rows that are not large the plan says these. Large ones are weighed one by one: long ones may stand together. -#}
{% macro parts_of_records(plan) %}{% do return(stretches(plan.shapes[1:], 2, plan)) %}{% endmacro %}
{% macro parts_of_rows(plan) %}{% do return(stretches(plan.shapes, 1, plan)) %}{% endmacro %}


{% macro stretches(shapes, copies, plan) %}
  {#- Parts of so many rows that 100 bytes of each and copies of their texts keep within the room of a part. -#}
  {%- do return(cut_by_bytes('sizes as (' ~ sizes_of_landed(shapes, plan) ~ ')', 'sizes', 'record', '100 + ' ~ copies ~ ' * bytes', plan)) -%}
{% endmacro %}


{% macro parts_of_originals(plan) %}
  {#- A slice of the result is joined and put in order in memory: of each original its row and what it takes of the entities, and buffers of each column. -#}
  {%- set texts = [] -%}
  {%- for v in plan.vendor -%}{%- do texts.append('strlen(' ~ sql_name(v.column) ~ ')') -%}{%- endfor -%}
  {%- set weighed = 'sizes as (' ~ sizes_of_landed(plan.shapes[:1], plan) ~ '),
    taken as (
      select original_row, sum(bytes + ' ~ held('bytes') ~ ') as bytes
      from (select _merge_original_row as original_row, ' ~ bytes_of_texts(texts) ~ ' as bytes from ' ~ ref('int_enriched_consolidated') ~ ')
      group by original_row
    ),
    originals as (
      select s.record as original_row, s.bytes + s.held + coalesce(t.bytes, 0) as bytes
      from sizes as s left join taken as t on s.record = t.original_row
    )' -%}
  {%- do return(cut_by_bytes(weighed, 'originals', 'original_row', 'bytes + ' ~ (plan.widths.buffers + 16 * (plan.vendor | length)), plan)) -%}
{% endmacro %}


{% macro parts_of_newcomers(plan) %}
  {#- Their rows are put in order in memory, and an engine that sorts long texts does not spill them. -#}
  {%- set most = query_value('select count(*) from ' ~ ref('int_entities') ~ ' where record = entity') | int -%}
  {%- set are_large = plan.widths.rows_are_large -%}
  {%- if not are_large and most * plan.widths.newcomer <= plan.widths.room -%}{%- do return({'n': 1, 'firsts': [0]}) -%}{%- endif -%}
  {%- set weighed = 'linked as (select distinct entity from ' ~ ref('int_matches') ~ '),
    newcomers as (
      select e.entity, ' ~ ('s.held' if are_large else plan.widths.newcomer) ~ ' as held
      from ' ~ ref('int_entities') ~ ' as e'
      ~ (' inner join (' ~ sizes_of_landed(plan.shapes[1:], plan) ~ ') as s on e.record = s.record' if are_large else '') ~ '
      left join linked as l on e.entity = l.entity
      where l.entity is null and not e.is_quarantined' ~ ('' if are_large else ' and e.record = e.entity') ~ '
    )' -%}
  {%- do return(cut_by_bytes(weighed, 'newcomers', 'entity', 'held', plan)) -%}
{% endmacro %}


{% macro cut_by_bytes(weighed, relation, number, bytes, plan) %}
  {#- Parts of numbers in order, so that the bytes of each keep within the room of a part, and its rows within the most that are asked for. They are
      cut between blocks of 100 numbers, and within those that take a quarter of the room. -#}
  {%- set room, most_rows = plan.widths.room, plan.widths.most_rows -%}
  {%- set block = [100, most_rows] | min -%}
  {%- set firsts = fromjson(query_value('
    with ' ~ weighed ~ ',
    weights as (select ' ~ number ~ ' as number, greatest(' ~ bytes ~ ', ' ~ (room // most_rows + 1) ~ ') as bytes from ' ~ relation ~ '),
    blocks as (select (number - 1) // ' ~ block ~ ' as block, sum(bytes) as bytes from weights group by 1),
    pieces as (
      select block * ' ~ block ~ ' + 1 as first, bytes from blocks where bytes <= ' ~ (room // 4) ~ '
      union all
      select w.number, w.bytes
      from weights as w inner join blocks as b on (w.number - 1) // ' ~ block ~ ' = b.block and b.bytes > ' ~ (room // 4) ~ '
    ),
    parts as (select first, (sum(bytes) over (order by first) - bytes) // ' ~ room ~ ' as part from pieces),
    firsts as (select min(first) as first from parts group by part)
    select to_json(coalesce(list(cast(first as bigint) order by first), [])) from firsts')) -%}
  {#- numbers before the first row that could be read are of the first part as well -#}
  {%- set firsts = [0] + firsts[1:] -%}
  {%- do return({'n': firsts | length, 'firsts': firsts}) -%}
{% endmacro %}


{% macro sizes_of_landed(shapes, plan) -%}
  {#- SQL: of each landed row of the shapes, record, the bytes of its texts, and `held`, what they take in memory. The texts are read once, when
      this is first asked for. -#}
  {%- set paths = [] -%}
  {%- for shape in shapes -%}
    {%- set path = landed_table(plan.directory, 'sizes_' ~ shape.number) -%}
    {%- do paths.append(sql_path(path)) -%}
    {%- if not recall('sizes of ' ~ shape.number) -%}
      {%- set texts = [] -%}
      {%- for h in shape.headers -%}{%- do texts.append('strlen(c' ~ h.position ~ ')') -%}{%- endfor -%}
      {%- do run_statement('copy (select ' ~ landed_record(shape, plan) ~ ' as record, ' ~ bytes_of_texts(texts) ~ ' as bytes from ' ~ rows_of_shape(shape, plan)
        ~ ') to ' ~ sql_text(path) ~ ' (format parquet, compression lz4)') -%}
      {%- do remember('sizes of ' ~ shape.number, '') -%}
    {%- endif -%}
  {%- endfor -%}
  select record, bytes, {{ held('bytes') }} as held from read_parquet([{{ paths | join(', ') }}])
{%- endmacro %}


{% macro bytes_of_texts(lengths) -%}
  {#- SQL: the bytes of a row, by those of its texts. No sum of terms: an engine does not read a thousand. -#}
  1 + cast(coalesce(list_sum([{{ lengths | join(', ') }}]), 0) as bigint)
{%- endmacro %}


{% macro held(bytes) -%}
  {#- SQL: what the texts of a row take where rows are joined and sorted; bytes_held in crm_merge/plan/parts.py says why. -#}
  greatest({{ bytes }}, 8 * {{ bytes }} - 3500)
{%- endmacro %}
