{#- What people decided (must_link, cannot_link), read from the CSV files that the spec names. -#}

{% macro land_assertions() %}
  {#- Pre-hook of stg_assertions. -#}
  {{ return(adapter.dispatch('land_assertions', 'crm_merge')()) }}
{% endmacro %}


{% macro duckdb__land_assertions() %}
  {%- if execute -%}
    {%- set plan = merge_plan() -%}
    {%- set problems = [] -%}
    {%- for file in plan.assertions -%}
      {%- set path = readable_path(file, plan, problems) -%}
      {%- if not problems -%}
        {%- do run_statement('copy (' ~ landed_assertions(file, plan, path) ~ ') to ' ~ sql_text(landed_table(plan.directory, file.k)) ~ ' (format parquet, preserve_order true)') -%}
        {%- do problems.extend(fromjson(query_value(assertion_problems(file, plan)))) -%}
      {%- endif -%}
    {%- endfor -%}
    {%- if problems -%}{%- do refuse('Assertions can not be followed.', problems) -%}{%- endif -%}
  {%- endif -%}
{% endmacro %}


{% macro landed_assertions(file, plan, path) -%}
  {#- Per row: the decision, and of each end its file and row, or the type of its key and the key values that it may mean:
      the text itself, and what it is as a cell. -#}
  {%- set region = plan.region -%}
  {%- set stages = [{}, {}] -%}
  {%- for end_name in ['a', 'b'] -%}
    {%- for part in ['source', 'row', 'key'] -%}
      {%- set cell = file.places.get(end_name ~ '_' ~ part) -%}
      {%- do stages[0].update({(end_name ~ '_' ~ part): "nullif(trim(nfc_normalize(" ~ cell ~ ")), '')" if cell else 'cast(null as varchar)'}) -%}
    {%- endfor -%}
    {%- do stages[1].update({
      (end_name ~ '_key_type'): "case when " ~ end_name ~ "_key is not null then lower(trim(split_part(" ~ end_name ~ "_key, ':', 1))) end",
      (end_name ~ '_text'): "trim(substr(" ~ end_name ~ "_key, strpos(" ~ end_name ~ "_key, ':') + 1))",
    }) -%}
    {%- for tier in plan.tiers -%}
      {%- for stage in key_stages(tier_kind(tier), end_name ~ '_text', region, false) -%}
        {%- do stages.append({}) if stages | length < 3 + loop.index0 -%}
        {%- do stages[2 + loop.index0].update(stage) -%}
      {%- endfor -%}
    {%- endfor -%}
  {%- endfor -%}
  {%- do stages[0].update({'decision': "nullif(replace(lower(trim(" ~ file.places.decision ~ ")), ' ', '_'), '')"}) -%}
  select
    cast(_merge_row as bigint) as _merge_row,
    decision
    {%- for end_name in ['a', 'b'] %},
    {{ end_name }}_source,
    {{ end_name }}_row,
    {{ end_name }}_key_type,
    case
      {%- for tier in plan.tiers %}
      when {{ end_name }}_key_type = {{ sql_text(tier.label) }} then list_distinct(list_concat([{{ end_name }}_text], {{ end_name }}_text_{{ tier_kind(tier) }}))
      {%- endfor %}
    end as {{ end_name }}_key_values
    {%- endfor %}
  from {{ staged(read_file(file, path), stages) }}
{%- endmacro %}


{% macro assertion_problems(file, plan) -%}
  {#- SELECT of a JSON list of sentences, one for each landed row that can not be followed. -#}
  {%- set labels = plan.tiers | map(attribute='label') | list -%}
  with files as (
    select source, physical_rows as n from {{ parquet_rows(landed_table(plan.directory, 'files')) }}
  ),
  rows as (
    select *, coalesce(_merge_row, file_row_number + 1) as source_row
    from read_parquet({{ sql_path(landed_table(plan.directory, file.k)) }}, file_row_number = true)
    where decision is not null
  ),
  found as (
    select r.source_row, 'decision is ' || r.decision || '; accepted: must_link, cannot_link, or blank for undecided' as problem
    from rows as r
    where r.decision not in ('must_link', 'cannot_link')
    {%- for end_name in ['a', 'b'] %}
    union all
    select
      r.source_row,
      case
        when r.{{ end_name }}_key_type is not null then '{{ end_name }}_key: there is no key ''' || r.{{ end_name }}_key_type || ''' in match_on; accepted: ' || {{ sql_text(labels | join(': …, ') ~ ': …') }}
        when r.{{ end_name }}_source is null and r.{{ end_name }}_row is null then 'end {{ end_name }} is missing: give {{ end_name }}_key, or {{ end_name }}_source and {{ end_name }}_row'
        when f.source is null then '{{ end_name }}_source: there is no file ''' || coalesce(r.{{ end_name }}_source, '') || '''; accepted: ' || {{ sql_text((plan.files[:20] | map(attribute='name') | join(', ')) ~ (', …' if plan.files | length > 20 else '')) }}
        when not coalesce(regexp_full_match(r.{{ end_name }}_row, '[0-9]{1,18}'), false) then '{{ end_name }}_row: ''' || coalesce(r.{{ end_name }}_row, '') || ''' is no row number'
        else '{{ end_name }}_row: ' || f.source || ' has no row ' || r.{{ end_name }}_row || '; its rows are 1 to ' || f.n
      end
    from rows as r
    left join files as f on r.{{ end_name }}_source = f.source
    where
      (r.{{ end_name }}_key_type is not null and r.{{ end_name }}_key_values is null)
      or (r.{{ end_name }}_key_type is null and coalesce(not regexp_full_match(r.{{ end_name }}_row, '[0-9]{1,18}') or try_cast(r.{{ end_name }}_row as bigint) not between 1 and f.n, true))
    {%- endfor %}
    union all
    select r.source_row, 'both ends are the same; an assertion is about two rows or keys'
    from rows as r
    where
      (r.a_key_type is null and r.b_key_type is null and r.a_source = r.b_source and try_cast(r.a_row as bigint) = try_cast(r.b_row as bigint))
      or (r.decision = 'cannot_link' and r.a_key_type = r.b_key_type and list_has_any(r.a_key_values, r.b_key_values))
    union all
    select r.source_row, 'both ends are rows of the original; rows of the original are never merged with each other'
    from rows as r
    where r.a_key_type is null and r.b_key_type is null and r.a_source = 'original' and r.b_source = 'original' and try_cast(r.a_row as bigint) <> try_cast(r.b_row as bigint)
  )
  select to_json(coalesce(list({{ sql_text(file.setting ~ ': ' ~ file.shown ~ ' row ') }} || source_row || ': ' || problem order by source_row, problem), []))
  from (select * from found order by source_row limit 20) as first_ones
{%- endmacro %}
