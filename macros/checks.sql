{#- The checks of a merge. Each is a named test of dbt's, in a model's yml or in tests/sql/invariants, and `dbt test --select NAME` asks it alone. A merge
    asks all of them in one model, merge_checks: dbt's node around a test costs more than its query. -#}

{% macro checks_of_merge() %}
  {#- [{name, relation, severity, query}]: every test of a model but that of merge_checks itself, in order of names. -#}
  {%- if not execute -%}{%- do return([]) -%}{%- endif -%}
  {%- set found = [] -%}
  {%- for node in graph.nodes.values() | selectattr('resource_type', 'equalto', 'test') | sort(attribute='name') -%}
    {%- set relation = checked_relation(node) -%}
    {%- if relation and relation != 'merge_checks' -%}
      {%- do refuse_settings_of_check(node) -%}
      {%- do found.append({'name': node.name, 'relation': relation, 'severity': node.config.severity | lower, 'query': query_of_check(node, relation)}) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- do return(found) -%}
{% endmacro %}


{% macro refuse_settings_of_check(node) %}
  {#- A merge knows a test's severity; the others would count for `dbt test` alone. -#}
  {%- for name, usual in {'error_if': '!= 0', 'warn_if': '!= 0', 'fail_calc': 'count(*)', 'limit': none, 'where': none}.items() if node.config[name] != usual -%}
    {%- do exceptions.raise_compiler_error("the test '" ~ node.name ~ "' sets " ~ name ~ ', which merge_checks does not know; write it into the query') -%}
  {%- endfor -%}
{% endmacro %}


{% macro checked_relation(node) %}
  {#- The model that a test is about, none if it is about a seed or a macro. -#}
  {%- if node.attached_node -%}
    {%- set kind = node.attached_node.split('.') -%}
    {%- do return(kind[-1] if kind[0] == 'model' else none) -%}
  {%- endif -%}
  {%- do return(node.config.meta.dagster.ref.name if node.fqn[1] == 'invariants' else none) -%}
{% endmacro %}


{% macro query_of_check(node, relation) %}
  {#- SELECT of the rows that a test complains of, as dbt makes it of the test alone. -#}
  {%- if not node.test_metadata -%}{%- do return(render(node.raw_code)) -%}{%- endif -%}
  {%- set given = {} -%}
  {%- for name, value in node.test_metadata.kwargs.items() if name != 'model' -%}
    {#- ref('…') is written there without braces -#}
    {%- set text = '{{ ' ~ value ~ ' }}' if value is string and value.startswith('ref(') else value -%}
    {%- do given.update({name: render(text) if text is string else text}) -%}
  {%- endfor -%}
  {%- do return(context['test_' ~ node.test_metadata.name](ref(relation), **given)) -%}
{% endmacro %}


{% materialization checks, adapter='duckdb' %}
  {#- The model says which checks there are, and with which query; each is asked here, also by a run that resumes another. -#}
  {%- set target = this.incorporate(type='table') -%}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- do scratch('merge_checks_to_ask', compiled_code) -%}
  {%- set answers = asked_checks() -%}
  {%- do drop_other_type(target) -%}
  {#- a transaction may be open: looking up columns, which a check does, begins one #}
  {%- call statement('main') -%}
    create or replace table {{ target }} as
    {{ answers }}
  {%- endcall -%}
  {%- do adapter.commit() -%}
  {%- do drop_scratch(['merge_checks_to_ask']) -%}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {%- do persist_docs(target, model) -%}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}


{% macro asked_checks() %}
  {#- Asks every check of the scratch table merge_checks_to_ask; returns the SELECT of them with their failures. Says of each how it went, and of one
      that fails the query, and the part of the rows that it fails in. -#}
  {%- set failures, answered = [], {} -%}
  {%- for name, relation, severity in query_rows('select name, relation, severity from merge_checks_to_ask order by name') -%}
    {%- do log('crm-merge part: the check ' ~ name ~ ' of ' ~ relation, info=true) -%}
    {%- set began = modules.datetime.datetime.utcnow() -%}
    {%- set found = {'failures': 0, 'settings': ''} if is_quickly_passed(name, answered) else failures_of_check(name) -%}
    {%- do failures.append('select ' ~ sql_text(name) ~ ' as name, cast(' ~ found.failures ~ ' as bigint) as failures') -%}
    {%- set told = {
      'name': name, 'relation': relation, 'failures': found.failures, 'seconds': [(modules.datetime.datetime.utcnow() - began).total_seconds(), 0] | max,
      'status': 'pass' if not found.failures else 'warn' if severity == 'warn' else 'fail',
    } -%}
    {%- if found.failures -%}
      {%- do told.update({'settings': found.settings, 'query': query_value('select query from merge_checks_to_ask where name = ' ~ sql_text(name))}) -%}
    {%- endif -%}
    {%- do log('crm-merge check: ' ~ tojson(told), info=true) -%}
  {%- endfor -%}
  select
    c.name,
    c.relation,
    c.severity,
    f.failures,
    c.query
  from merge_checks_to_ask as c
  inner join ({{ failures | join(' union all ') }}) as f on c.name = f.name
{% endmacro %}


{% macro is_quickly_passed(name, answered) %}
  {#- Does the quick question of a check, if there is one, find nothing? Two checks may have the same question; answered, {question: answer}, keeps what was asked. -#}
  {%- set question = adapter.dispatch('quick_question', 'crm_merge')(name) -%}
  {%- if question is none -%}{%- do return(false) -%}{%- endif -%}
  {%- if question not in answered -%}{%- do answered.update({question: query_value('select count(*) from (' ~ question ~ ') as suspects') == 0}) -%}{%- endif -%}
  {%- do return(answered[question]) -%}
{% endmacro %}


{% macro parts_named_in(sql) %}
  {#- What there are parts of that a check looks at one by one, none if it looks at everything at once. -#}
  {%- do return(['originals', 'rows'] | select('in', modules.re.findall("getvariable\\('([a-z]+)_", sql)) | first | default(none)) -%}
{% endmacro %}


{% macro failures_in_parts(failing_rows, over, fail_calc) %}
  {#- A check that looks at all rows of the CRM, or of all files, names the part that it looks at, and is asked part by part: all rows at once
      would have to fit in memory. -#}
  {%- set found = namespace(failures=0, settings='') -%}
  {%- for part in range(parts_of(over).n if over else 1) -%}
    {%- do enter_part(over, part) -%}
    {%- set failures = query_value('select ' ~ fail_calc ~ ' from ' ~ failing_rows ~ ' as failing_rows') | int -%}
    {#- whoever shows the rows has to ask for this part again -#}
    {%- if failures and not found.failures and over and parts_of(over).n > 1 -%}{%- set found.settings = settings_of_part(over, part) -%}{%- endif -%}
    {%- set found.failures = found.failures + failures -%}
  {%- endfor -%}
  {%- do leave_parts(over) -%}
  {%- do return({'failures': found.failures, 'settings': found.settings}) -%}
{% endmacro %}


{% macro duckdb__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) %}
  {#- dbt asks this for the query of a test that is run alone. -#}
  {%- set over = parts_named_in(main_sql) -%}
  {%- if not execute or not over or parts_of(over).n == 1 -%}{%- do return(default__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit)) -%}{%- endif -%}
  {%- set failures = failures_in_parts('(' ~ main_sql ~ '\n)', over, fail_calc).failures -%}
  select {{ failures }} as failures, {{ failures }} {{ warn_if }} as should_warn, {{ failures }} {{ error_if }} as should_error
{% endmacro %}
