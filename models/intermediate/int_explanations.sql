{{ config(materialized='view') }}
{%- set plan = merge_plan() %}
{%- set tiers = [{'tier': 0, 'label': 'assertion'}] + plan.tiers %}
with explained as (
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
  left join {{ ref('int_steps') }} as s on m.original_row = s.original_row
  {%- for tier in tiers %}
  left join {{ ref('stg_files') }} as f_{{ tier.tier }} on {{ file_of('m.shares_' ~ tier.tier) }} = f_{{ tier.tier }}.file_order
  {%- endfor %}
  left join {{ ref('stg_files') }} as f_from on {{ file_of('s.from_record') }} = f_from.file_order
  left join {{ ref('stg_files') }} as f_to on {{ file_of('s.to_record') }} = f_to.file_order
  where m.entity_rank = 1 and {{ within('originals', 'm.original_row') }}
)

select
  original_row,
  concat(upper(substr(sentence, 1, 1)), substr(sentence, 2)) as match_explanation
from explained
