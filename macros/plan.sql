{#- The plan of a merge: the spec held against its files. It is made in Python (crm_merge/plan), by one function for whoever needs it; here models
    ask it which columns there are and what the spec says of each. -#}

{% macro merge_plan() %}
  {#- A dict: files, crm (columns of the original), vendor (columns that files bring), tiers, groups, … (crm_merge/plan/model.py says what each is).
      It is asked for once per run of dbt, and kept in the graph, which all nodes of a run share, with what is found out on the way: reference
      values, the journal, the parts that the work is cut into. -#}
  {%- if not execute -%}{%- do return(no_plan()) -%}{%- endif -%}
  {%- if graph.get('merge_plan_of') != invocation_id -%}
    {%- do graph.update({'merge_plan': by_numbers(adapter.dispatch('read_plan', 'crm_merge')()), 'merge_plan_of': invocation_id}) -%}
    {%- do adapter.dispatch('recall_journal', 'crm_merge')(graph.merge_plan) -%}
  {%- endif -%}
  {%- do return(graph.merge_plan) -%}
{% endmacro %}


{% macro no_plan() %}
  {#- What models see while dbt parses them. -#}
  {%- do return({
    'files': [], 'crm': [], 'vendor': [], 'tiers': [], 'evidence': [], 'groups': [], 'headers': [], 'vendors': [], 'record_id': none, 'directory': '',
    'guards': {'hub': {}, 'contradiction': {}, 'max_entity_size': none, 'blocked': {}, 'blocked_domains': [], 'allow_test_addresses': false}, 'assertions': [],
  }) -%}
{% endmacro %}


{% macro duckdb__read_plan() %}
  {#- The plan of this run, or a refusal with everything that is wrong. -#}
  {%- set names = [] -%}
  {%- for name in context.keys() if name.split('_')[0] in ['prefer', 'fold', 'keys', 'stages', 'policy'] -%}{%- do names.append(name) -%}{%- endfor -%}
  {%- set request = {
    'spec': var('merge'), 'macros': names,
    'lists': {'group_strategies': group_strategies(), 'needs_forms': needs_forms(), 'needs_extremes': needs_extremes()},
  } -%}
  {%- set answer = fromjson(query_value('select crm_plan(' ~ sql_text(tojson(request)) ~ ')')) -%}
  {%- if answer.problems -%}{%- do refuse(answer.title, answer.problems, answer.transient) -%}{%- endif -%}
  {%- do return(answer.plan) -%}
{% endmacro %}


{% macro by_numbers(plan) %}
  {#- JSON has texts for keys where the plan has numbers of tiers. -#}
  {%- do plan.guards.update({'hub': keyed_by_number(plan.guards.hub), 'contradiction': keyed_by_number(plan.guards.contradiction)}) -%}
  {%- do return(plan) -%}
{% endmacro %}


{% macro keyed_by_number(values) %}
  {%- set numbered = {} -%}
  {%- for key, value in values.items() -%}{%- do numbered.update({key | int: value}) -%}{%- endfor -%}
  {%- do return(numbered) -%}
{% endmacro %}


{% macro texts_as_keys(texts, tiers, region) %}
  {#- {text: {label: keys}}: what each text is as a cell of each key type; a text that is no key is left out. Planning asks for what guards.blocked lists. -#}
  {%- set found = {} -%}
  {%- for tier in tiers if texts -%}
    {%- set kind = tier_kind(tier) -%}
    {%- set given = '(select unnest(' ~ sql_list(texts) ~ ') as cell) as given' -%}
    {%- for row in fromjson(query_value('select to_json(list({text: cell, keys: cell_' ~ kind ~ '})) from ' ~ staged(given, key_stages(kind, 'cell', region, false)))) if row['keys'] -%}
      {%- do found.setdefault(row.text, {}).update({tier.label: row['keys']}) -%}
    {%- endfor -%}
  {%- endfor -%}
  {%- do return(found) -%}
{% endmacro %}


{% macro tier_kind(tier) %}{% do return(tier.kind if tier.kind != 'column' else tier.compare) %}{% endmacro %}


{% macro refuse(title, problems, transient=false) %}
  {#- Ends the run with every problem found, one a line, between marks that the command line looks for; says before if all of them
      pass by themselves, so that trying again later is of use. -#}
  {%- if transient -%}{%- do log('crm-merge transient: true', info=true) -%}{%- endif -%}
  {%- do exceptions.raise_compiler_error(
    'crm-merge: ' ~ title ~ '\n' ~ ('- ' ~ problems | join('\n- ')) ~ '\n(end of crm-merge message)'
  ) -%}
{% endmacro %}
