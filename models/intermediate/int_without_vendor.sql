-- depends_on: {{ ref('int_entities') }}
-- depends_on: {{ ref('int_matches') }}
-- depends_on: {{ ref('int_enriched_consolidated') }}
-- depends_on: {{ ref('int_enrichment') }}
-- depends_on: {{ ref('stg_original') }}
{{ config(materialized='in_parts', over='originals', in_files=true) }}
{%- set plan = merge_plan() %}
{%- set columns = [] %}
{%- for v in plan.vendor if may_lack_a_value(v) %}{% do columns.append(v) %}{% endfor %}
{%- if columns %}
-- columns where a value does not simply go to the next candidate when a vendor is left out
with others as (
  select *
  from {{ ref('int_others') }}
  where {{ within('originals', 'original_row') }}
),

-- the vendors that a CRM row has, and with each left out what its entities still have
rows_and_vendors as (
  select distinct
    original_row,
    vendor_number
  from others
),

offers as (
  select
    x.original_row,
    x.vendor_number,
    c._merge_entity_rank as entity_rank
    {%- for v in columns %},
    case
      when o.entity is not null then o.has_{{ v.index }}
      when c.{{ sql_name(v.column) }} is not null then 1
      else 0
    end as has_{{ v.index }}
    {%- endfor %}
  from rows_and_vendors as x
  inner join {{ ref('int_enriched_consolidated') }} as c on x.original_row = c._merge_original_row
  left join others as o on x.original_row = o.original_row and c._merge_entity = o.entity and x.vendor_number = o.vendor_number
  where {{ within('originals', 'c._merge_original_row') }}
),

offered as (
  select
    original_row,
    vendor_number
    {%- for v in columns %}
    {%- set any_of_group = [] %}
    {%- for m in columns if m.index == v.index or (survives_whole(v) and m.column in v.group.columns) %}{% do any_of_group.append('has_' ~ m.index ~ ' = 1') %}{% endfor %},
    min_by(has_{{ v.index }}, case when {{ any_of_group | join(' or ') }} then entity_rank end) as has_{{ v.index }}
    {%- endfor %}
  from offers
  group by original_row, vendor_number
)

select
  x.original_row,
  x.vendor_number
  {%- for v in columns %},
  case when {{ takes_enriched(v, plan) }} then 1 else 0 end
  - case when x.has_{{ v.index }} = 1 and {{ may_take(v, plan) }} then 1 else 0 end as lost_{{ v.index }}
  {%- endfor %}
from offered as x
inner join {{ ref('stg_original') }} as o on x.original_row = o._merge_row
inner join {{ ref('int_enrichment') }} as e on x.original_row = e._merge_row
where {{ within('originals', 'o._merge_row') }}
{%- else %}
-- no column of this merge is of that kind
select
  original_row,
  vendor_number
from {{ ref('int_others') }}
{%- endif %}
