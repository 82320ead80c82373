{#- Row numbers are places in the landed file, so the query that lands it may hold nothing but projections over
    read_csv: a join (a long IN list becomes one) holds back small chunks and writes them last. -#}
{%- set plan = merge_plan() %}
{%- for shape in plan.shapes %}
{%- set file = plan.files[shape.number] %}
{%- do enter_landing({'file': file.k, 'way': file.way}, file.k) %}
{%- set shown = run_query('explain ' ~ landed_rows(shape, plan, read_landing(file, shape, false))).rows[0][1] %}
{%- set operators = modules.re.findall('[A-Z][A-Z_]{4,}', shown) | unique | reject('in', ['PROJECTION', 'READ_CSV']) | list %}
select
  {{ sql_text(file.name) }} as source,
  {{ sql_text(operators | join(', ')) }} as other_operators
where {{ operators | length }} > 0
{{ 'union all' if not loop.last }}
{%- else %}
select 1 as source where 1 = 0
{%- endfor %}
