{#- What the CRM's own cell and the enriched value make together. One macro per policy:
    policy_<name>(original, enriched, may_fill) → the CRM column's new cell. -#}

{% macro policy_fill(original, enriched, may_fill) -%}
  case when {{ may_fill }} and {{ enriched }} is not null then {{ enriched }} else {{ original }} end
{%- endmacro %}

{% macro policy_update(original, enriched, may_fill) -%}
  coalesce({{ enriched }}, {{ original }})
{%- endmacro %}

{% macro policy_suffix(original, enriched, may_fill) -%}
  {{ original }}
{%- endmacro %}

{% macro policy_replace(original, enriched, may_fill) -%}
  case when e._merge_row is not null then {{ enriched }} else {{ original }} end
{%- endmacro %}


{% macro may_fill(v, plan) -%}
  {#- May `fill` write this column? Its CRM cell is blank; for a field group that survives together, all
      the group's CRM cells are, so that no address is mixed from two places. -#}
  {%- set headers = [] -%}
  {%- for h in plan.crm if h.column and (h.column == v.column or (v.group and not v.group.allow_fill and h.column in v.group.columns)) -%}
    {%- do headers.append(is_empty('o.' ~ sql_name(h.header))) -%}
  {%- endfor -%}
  {{ headers | join(' and ') if headers else 'true' }}
{%- endmacro %}


{% macro may_take(v, plan) -%}
  {#- May the row's cell in merged_result come from a vendor, if a vendor has a value? -#}
  {%- set goes_with_group = v.group and plan.crm | selectattr('policy', 'equalto', 'fill') | selectattr('column', 'in', v.group.columns) | list -%}
  {%- if v.output -%}
    {#- a new column of a group goes with the group's CRM columns -#}
    {{ may_fill(v, plan) if goes_with_group and not (v.policy == 'suffix' and v.header) else 'true' }}
  {%- else -%}
    {{ may_fill(v, plan) if v.policy == 'fill' else 'true' }}
  {%- endif -%}
{%- endmacro %}


{% macro takes_enriched(v, plan) -%}
  {#- Does the row's cell in merged_result come from a vendor? -#}
  (e.{{ sql_name(v.column) }} is not null and {{ may_take(v, plan) }})
{%- endmacro %}


{% macro untouched(h, policy) -%}
  {#- Must the CRM's cell be in the result as it was? (o: the original, r: the result) -#}
  {%- if policy == 'fill' -%}not {{ is_empty('o.' ~ sql_name(h.header)) }}
  {%- elif policy in ['update', 'replace'] -%}r.match_quality = 'unmatched'
  {%- else -%}true
  {%- endif -%}
{%- endmacro %}
