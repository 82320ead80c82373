{#- I1 (order), I2 and I11: row n of the result is row n of the original, and each of its cells is the CRM's
    own, unless it was blank under `fill`, or the row matched under `update` or `replace`. -#}
{%- set plan = merge_plan() %}
{%- set policy_of = {} %}
{%- for v in plan.vendor if v.header %}{% do policy_of.update({v.header: v.policy}) %}{% endfor %}
-- a slice of the original and of the result are joined whole: long cells would have to fit in memory
with originals as (
  select
    _merge_position
    {%- for h in plan.crm %},
    {{ digest_of_long(sql_name(h.header)) }} as {{ sql_name(h.header) }}
    {%- endfor %}
  from {{ ref('stg_original') }}
  where {{ within('originals', '_merge_row') }}
),

results as (
  select
    {{ position_of_stored('originals') }} as _merge_result_position,
    match_quality
    {%- for h in plan.crm %},
    {{ digest_of_long(sql_name(h.header)) }} as {{ sql_name(h.header) }}
    {%- endfor %}
  from {{ in_stored_order(ref('merged_result')) }} as stored
)

select
  coalesce(o._merge_position, r._merge_result_position) as result_row,
  concat_ws(', '
    {%- for h in plan.crm %},
    case when {{ untouched(h, policy_of.get(h.header)) }} and o.{{ sql_name(h.header) }} is distinct from r.{{ sql_name(h.header) }} then {{ sql_text(h.header) }} end
    {%- endfor %}
  ) as changed_columns
from originals as o
full outer join results as r on o._merge_position = r._merge_result_position
where
  o._merge_position is null
  or r._merge_result_position is null
  {%- for h in plan.crm %}
  or ({{ untouched(h, policy_of.get(h.header)) }} and o.{{ sql_name(h.header) }} is distinct from r.{{ sql_name(h.header) }})
  {%- endfor %}
