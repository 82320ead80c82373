{%- set plan = merge_plan() %}
{%- set tiers = [{'tier': 0, 'label': 'assertion'}] + plan.tiers %}
-- transitive: some rows of the entity share no key with the original; one of those is reached through a row that does
with transitive as (
  select
    original_row,
    entity
  from {{ ref('int_matches') }}
  where entity_rank = 1 and not is_direct and n_records <= 1000
),

entity_keys as (
  select
    t.original_row,
    e.record,
    k.tier,
    k.key_value,
    o.record is not null as is_shared
  from transitive as t
  inner join {{ ref('int_entities') }} as e on t.entity = e.entity
  inner join {{ ref('int_match_keys') }} as k
    on e.record = k.record and e.level >= k.tier and k.side = 'enriched' and k.key_value is not null
  left join {{ ref('int_match_keys') }} as o
    on t.original_row = o.record and k.tier = o.tier and k.key_value = o.key_value and o.side = 'original'
),

reached as (
  select
    original_row,
    record
  from entity_keys
  where is_shared
  union
  select
    t.original_row,
    x.record
  from transitive as t
  inner join {{ ref('int_assertion_ends') }} as o
    on t.original_row = o.record and o.decision = 'must_link' and o.side = 'original'
  inner join {{ ref('int_assertion_ends') }} as x
    on o.file = x.file and o.source_row = x.source_row and x.side = 'enriched'
),

steps as (
  select
    k.original_row,
    k.tier,
    k.key_value,
    min(case when r.record is not null then k.record end) as from_record,
    min(case when r.record is null then k.record end) as to_record
  from entity_keys as k
  left join reached as r on k.original_row = r.original_row and k.record = r.record
  group by k.original_row, k.tier, k.key_value
),

first_steps as (
  select
    original_row,
    to_record,
    tier,
    from_record,
    row_number() over (partition by original_row order by to_record, tier, from_record) as place
  from steps
  where from_record is not null and to_record is not null
),

explained as (
  select
    m.original_row,
    concat(
      concat_ws(
        '; ',
        {%- for tier in tiers %}
        case when m.shares_{{ tier.tier }} is not null then concat({{ sql_text(equals_in_words(tier)) }}, f_{{ tier.tier }}.source, ' row ', cast({{ row_of('m.shares_' ~ tier.tier) }} as string)) end,
        {%- endfor %}
        case
          when s.to_record is not null then concat(
            case
              -- the only row named so far
              when {% for tier in tiers %}{{ 'and ' if not loop.first }}coalesce(m.shares_{{ tier.tier }}, s.from_record) = s.from_record {% endfor %}then 'its '
              else 'the '
            end,
            case s.tier{% for tier in plan.tiers %} when {{ tier.tier }} then {{ sql_text(key_in_words(tier.label)) }}{% endfor %} end,
            case
              when {% for tier in tiers %}{{ 'and ' if not loop.first }}coalesce(m.shares_{{ tier.tier }}, s.from_record) = s.from_record {% endfor %}then ''
              else concat(' of ', f_from.source, ' row ', cast({{ row_of('s.from_record') }} as string))
            end,
            ' led to ', f_to.source, ' row ', cast({{ row_of('s.to_record') }} as string)
          )
          when not m.is_direct then 'other rows were reached through these{{ ' or by a decision' if plan.assertions }}'
        end
      ),
      case when m.n_records > 1 then concat('; ', cast(m.n_records as string), ' vendor rows in all') else '' end,
      case when m.n_entities > 1 then concat('; ', cast(m.n_entities - 1 as string), case when m.n_entities = 2 then ' other entity is' else ' other entities are' end, ' linked as well') else '' end,
      '.'
    ) as sentence
  from {{ ref('int_matches') }} as m
  left join first_steps as s on m.original_row = s.original_row and s.place = 1
  {%- for tier in tiers %}
  left join {{ ref('stg_files') }} as f_{{ tier.tier }} on {{ file_of('m.shares_' ~ tier.tier) }} = f_{{ tier.tier }}.file_order
  {%- endfor %}
  left join {{ ref('stg_files') }} as f_from on {{ file_of('s.from_record') }} = f_from.file_order
  left join {{ ref('stg_files') }} as f_to on {{ file_of('s.to_record') }} = f_to.file_order
  where m.entity_rank = 1
)

select
  original_row,
  concat(upper(substr(sentence, 1, 1)), substr(sentence, 2)) as match_explanation
from explained
