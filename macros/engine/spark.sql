{#- What Spark does instead of landing files and building in parts. DuckDB has landed them, with keys and row numbers, and the plan of
    the merge beside them; Spark reads these, and distributes the work itself: a model that asks for parts is a table there. -#}

{% macro spark__read_plan() %}
  {#- The plan that was landed with the files; refuses one of another spec. -#}
  {%- set place = spark_directory() -%}
  {%- set stored = fromjson(query_value('select plan from ' ~ parquet_rows(landed_plan_path(place)))) -%}
  {%- if stored.spec != spec_number() -%}
    {%- do refuse('The landed files are of another merge.', [place ~ ": the files there were landed for another spec; land this one's first: dbt build --selector landing, with the target duckdb"]) -%}
  {%- endif -%}
  {%- for h in stored.plan.crm if h.header | lower == '_metadata' -%}
    {%- do refuse('The merge spec does not fit the files.', ["original: the header '" ~ h.header ~ "' is a name that Spark itself gives; rename it in the file"]) -%}
  {%- endfor -%}
  {%- do stored.plan.update({'directory': env_var('CRM_MERGE_SPARK_DIR', stored.plan.directory)}) -%}
  {%- do return(stored.plan) -%}
{% endmacro %}


{% macro spark_directory() %}
  {#- Where the merge's files lie, as Spark sees it. -#}
  {%- do return(env_var('CRM_MERGE_SPARK_DIR', env_var('CRM_MERGE_DIR', 'merges/example'))) -%}
{% endmacro %}


{% macro spark_tables() %}
  {#- The folder that Spark writes tables to, each in a folder of its name. -#}
  {%- do return(merge_plan().directory ~ '/.crm-merge/' ~ env_var('CRM_MERGE_SPARK_TABLES', 'spark')) -%}
{% endmacro %}


{% macro spark__location_clause() %}
  {#- dbt asks this for each table that it makes. -#}
  location {{ sql_text(spark_tables() ~ '/' ~ this.identifier) }}
{% endmacro %}


{% macro spark__begin_merge() %}
  {%- if execute and flags.WHICH in ('run', 'build') -%}
    {%- set size = namespace(bytes=0) -%}
    {%- for file in merge_plan().files -%}{%- set size.bytes = size.bytes + file.row_bytes * file.physical_rows -%}{%- endfor -%}
    {#- A shuffle has so many parts; Spark joins small ones itself. Its usual 200 take minutes for files of a few rows. -#}
    {%- do run_statement('set spark.sql.shuffle.partitions = ' ~ [4, (size.bytes // 8000000) | int] | max) -%}
  {%- endif -%}
{% endmacro %}
{#- Spark resumes nothing. -#}
{% macro spark__recall_journal(plan) %}{% do plan.update({'journal': none}) %}{% endmacro %}
{#- Files are landed already. -#}
{% macro spark__land_files() %}{% endmacro %}
{% macro spark__land_forms() %}{% endmacro %}
{% macro spark__names_of_shape(shape, plan) %}{{ rows_of_shape(shape, plan, 'forms') }}{% endmacro %}
{% macro spark__land_assertions() %}{% endmacro %}
{% macro spark__read_reference(seed, column, where) %}
  {%- do exceptions.raise_compiler_error('crm-merge: ' ~ seed ~ '.' ~ column ~ ' was not landed with the plan; please report this') -%}
{% endmacro %}


{% materialization table, adapter='spark' %}
  {{ run_hooks(pre_hooks) }}
  {{ return(spark_table(compiled_code, [])) }}
{% endmaterialization %}


{% materialization in_parts, adapter='spark' %}
  {{ run_hooks(pre_hooks) }}
  {{ return(spark_table(compiled_code, [])) }}
{% endmaterialization %}


{% materialization view, adapter='spark' %}
  {#- Written also where DuckDB only keeps the query: Spark forgets queries when it ends, and would answer them again for each reader. What
      was landed is written already. -#}
  {{ run_hooks(pre_hooks) }}
  {{ return(spark_table(compiled_code, [], 'view' if model.fqn[1] == 'staging' else 'table')) }}
{% endmaterialization %}


{% materialization components, adapter='spark' %}
  {{ run_hooks(pre_hooks) }}
  {%- do run_statement('use ' ~ adapter.quote(this.schema)) -%}
  {%- set leftovers = resolve_components(compiled_code) -%}
  {{ return(spark_table('select * from merge_settled', leftovers)) }}
{% endmaterialization %}


{% materialization checks, adapter='spark' %}
  {{ run_hooks(pre_hooks) }}
  {%- do run_statement('use ' ~ adapter.quote(this.schema)) -%}
  {%- do scratch('merge_checks_to_ask', compiled_code) -%}
  {{ return(spark_table(asked_checks(), ['merge_checks_to_ask'])) }}
{% endmaterialization %}


{% macro spark__quick_question(name) %}{% do return(none) %}{% endmacro %}
{% macro spark__failures_of_check(name) %}
  {%- set query = query_value('select query from merge_checks_to_ask where name = ' ~ sql_text(name)) -%}
  {%- do return({'failures': query_value('select count(*) from (' ~ query ~ '\n) as failing_rows') | int, 'settings': ''}) -%}
{% endmacro %}


{% macro spark_table(sql, leftovers, type='table') %}
  {#- The end of a materialization: puts the relation in place, drops scratch tables. -#}
  {%- set target = this.incorporate(type=type) -%}
  {%- if config.get('contract').enforced -%}{%- do get_assert_columns_equivalent(compiled_code) -%}{%- endif -%}
  {%- set old = load_cached_relation(this) -%}
  {%- if old is not none -%}{%- do adapter.drop_relation(old) -%}{%- endif -%}
  {%- call statement('main') -%}
    {#- DuckDB reads a row group whole #}
    create {{ type }} {{ target }} {{ "using parquet options ('parquet.block.size' '16777216') " ~ location_clause() if type == 'table' }} as
    {{ sql }}
  {%- endcall -%}
  {%- do drop_scratch(leftovers) -%}
  {{ run_hooks(post_hooks) }}
  {%- do persist_docs(target, model) -%}
  {%- do return({'relations': [target]}) -%}
{% endmacro %}


{% macro read_results_of_spark() %}
  {#- For the target duckdb: views over what Spark wrote, so that a merge is published, compared and looked at as if DuckDB had made it. -#}
  {%- if execute -%}
    {%- set landed = fromjson(query_value('select plan from ' ~ parquet_rows(landed_plan_path(env_var('CRM_MERGE_DIR', 'merges/example'))))) -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.fqn[1] != 'staging' -%}
      {%- set old = adapter.get_relation(target.database, target.schema, node.name) -%}
      {%- if old is not none and old.type != 'view' -%}{%- do adapter.drop_relation(old) -%}{%- endif -%}
      {#- the files of an earlier merge that DuckDB made -#}
      {%- do query_value('select crm_parts_cleared(' ~ sql_text(node.name) ~ ')') -%}
      {%- call statement('found', auto_begin=false) -%}
        create or replace view {{ target.schema }}.{{ node.name }} as
        select * from read_parquet({{ sql_path(landed.plan.directory ~ '/.crm-merge/spark/' ~ node.name) }} || '/*.parquet', hive_partitioning = false)
      {%- endcall -%}
    {%- endfor -%}
    {#- a later run that resumes must not take these for what it built itself; and they have no parts -#}
    {%- do forget('finished ') -%}
    {%- for kind in ['records', 'rows', 'entities', 'disputes', 'originals', 'newcomers'] -%}{%- do remember('parts of ' ~ kind, tojson({'n': 1, 'firsts': none})) -%}{%- endfor -%}
    {%- do adapter.commit() -%}
  {%- endif -%}
{% endmacro %}
