-- depends_on: {{ ref('stg_files') }}
{{ config(materialized='table') }}
{%- set plan = merge_plan() %}
{%- set by_column = {} %}
{%- set by_header = {} %}
{%- for v in plan.vendor %}{% do by_column.update({v.column: v}) %}{% if v.header %}{% do by_header.update({v.header: v}) %}{% endif %}{% endfor %}
{%- set columns = [] %}
{%- for h in plan.headers %}
{%- set v = by_column.get(h.column) if h.k else by_header.get(h.header) %}
{%- set strategy = (v.group.strategy if v.group else v.strategy) if v else none %}
{%- do columns.append({
  'file_order': h.k, 'position': h.position, 'header': h.header, 'canonical_name': h.column, 'key_type': h.key_type,
  'column_number': v.index if v else none, 'column_name': v.name if v else (none if h.k else h.header),
  'result_position': v.place if v else none,
  'strategy': strategy.name if v else none, 'policy': v.policy if v else none, 'is_new_column': (v.output is not none) if v else none, 'is_record_id': h.k == 0 and h.header == plan.record_id,
}) %}
{%- endfor %}
{{ rows_of_json(columns, {
  'file_order': 'int', 'position': 'int', 'header': 'string', 'canonical_name': 'string', 'key_type': 'string', 'column_number': 'int',
  'column_name': 'string', 'result_position': 'int', 'strategy': 'string', 'policy': 'string', 'is_new_column': 'boolean', 'is_record_id': 'boolean',
}) }}
