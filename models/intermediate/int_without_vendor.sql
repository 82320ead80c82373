-- depends_on: {{ ref('int_entities') }}
-- depends_on: {{ ref('int_enriched_consolidated') }}
-- depends_on: {{ ref('int_ranked') }}
-- depends_on: {{ ref('int_enrichment') }}
-- depends_on: {{ ref('stg_files') }}
-- depends_on: {{ ref('stg_original') }}
{%- set plan = merge_plan() %}
{%- set columns = [] %}
{%- for v in plan.vendor if may_lack_a_value(v) %}{% do columns.append(v) %}{% endfor %}
{%- if columns %}
-- columns where a value does not simply go to the next candidate when a vendor is left out
with vendors as (
  select distinct
    e.entity,
    f.vendor_number
  from {{ ref('int_entities') }} as e
  inner join {{ ref('stg_files') }} as f on {{ file_of('e.record') }} = f.file_order
  where e.entity in (select m.entity from {{ ref('int_matches') }} as m)
),

of_others as (
  select
    v.entity,
    v.vendor_number
    {%- for v in columns %},
    {{ survivor(v).value }} is not null as has_{{ v.index }}
    {%- endfor %}
  from vendors as v
  inner join {{ ref('int_ranked') }} as r on v.entity = r._merge_entity and v.vendor_number <> r._merge_vendor
  group by v.entity, v.vendor_number
),

-- the vendors that a CRM row has, and with each left out what its entities still have
rows_and_vendors as (
  select distinct
    m.original_row,
    v.vendor_number
  from {{ ref('int_matches') }} as m
  inner join vendors as v on m.entity = v.entity
),

offers as (
  select
    x.original_row,
    x.vendor_number,
    m.entity_rank
    {%- for v in columns %},
    case
      when v.entity is not null then case when o.has_{{ v.index }} then 1 else 0 end
      when c.{{ sql_name(v.column) }} is not null then 1
      else 0
    end as has_{{ v.index }}
    {%- endfor %}
  from rows_and_vendors as x
  inner join {{ ref('int_matches') }} as m on x.original_row = m.original_row
  inner join {{ ref('int_enriched_consolidated') }} as c on m.original_row = c._merge_original_row and m.entity = c._merge_entity
  left join vendors as v on m.entity = v.entity and x.vendor_number = v.vendor_number
  left join of_others as o on m.entity = o.entity and x.vendor_number = o.vendor_number
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
{%- else %}
-- no column of this merge is of that kind
select
  original_row,
  cast(0 as int) as vendor_number
from {{ ref('int_matches') }}
where 1 = 0
{%- endif %}
