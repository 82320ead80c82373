-- depends_on: {{ ref('int_assertion_ends') }}
-- depends_on: {{ ref('stg_assertions') }}
-- depends_on: {{ ref('int_refused_keys') }}
-- depends_on: {{ ref('int_entities') }}
-- depends_on: {{ ref('int_matches') }}
{%- set plan = merge_plan() %}
{%- set first_original %}concat('original row ', cast(min(o.record) as string), case when count(distinct o.record) > 1 then concat(' and ', cast(count(distinct o.record) - 1 as string), ' more') else '' end){% endset %}
{%- set first_row %}concat(f.source, ' row ', cast({{ row_of('n.record') }} as string)){% endset %}
-- everything that a guard kept from linking, row by row, under the event that it belongs to
with blocked as (
  select
    'blocked' as guard,
    k.tier,
    k.key_type,
    k.key_value,
    k.side,
    k.record,
    k.blocked_as
  from {{ ref('int_keys') }} as k
  where k.blocked_as is not null and k.tier <= {{ plan.tiers | length }}
),

parts as (
  select
    split_from,
    split_by,
    max(case when is_quarantined then 1 else 0 end) as quarantined,
    count(distinct component) as n_parts
  from {{ ref('int_components') }}
  where split_by is not null
  group by split_from, split_by
),

-- of how many rows with different keys an entity that was taken apart consisted
all_keys as (
  select
    c.split_from,
    c.node,
    sum(cast(k.key_number as decimal(38, 0))) as all_keys
  from {{ ref('int_components') }} as c
  left join {{ ref('int_keys') }} as k on c.node = k.record and k.blocked_as is null
  where c.split_by = 'max_entity_size'
  group by c.split_from, c.node
),

sizes as (
  select
    split_from,
    count(distinct coalesce(all_keys, 0)) as size
  from all_keys
  group by split_from
),

first_keys as (
  select
    c.split_from,
    min(concat(k.key_type, ':', k.key_value)) as entity_key
  from {{ ref('int_components') }} as c
  inner join {{ ref('int_match_keys') }} as k on c.node = k.record and k.side = 'enriched' and k.key_value is not null
  where c.split_by is not null
  group by c.split_from
),

event_rows as (
  select
    guard,
    concat(key_type, ':', key_value) as subject,
    side,
    record
  from blocked
  union all
  select
    g.guard,
    concat(k.key_type, ':', k.refused_value) as subject,
    k.side,
    k.record
  from {{ ref('int_match_keys') }} as k
  inner join {{ ref('int_key_guards') }} as g on k.tier = g.tier and k.refused_value = g.key_value
  union all
  select
    split_by as guard,
    cast(split_from as string) as subject,
    'enriched' as side,
    node as record
  from {{ ref('int_components') }}
  where split_by is not null
),

ranked as (
  select distinct
    guard,
    subject,
    side,
    record
  from event_rows
),

counts as (
  select
    guard,
    subject,
    count_if(side = 'original') as n_original,
    count_if(side = 'enriched') as n_enriched
  from ranked
  group by guard, subject
),

-- The first rows of each event are the first of its shares: the rows of a hub are too many to put in order in one place.
first_of_share as (
  select
    *,
    row_number() over (partition by guard, subject, record % 64 order by record) as place_in_share
  from ranked
),

numbered as (
  select
    guard,
    subject,
    record,
    row_number() over (partition by guard, subject order by record) as place
  from first_of_share
  where place_in_share <= 20
),

first_rows as (
  select
    n.guard,
    n.subject,
    {{ join_in_order(first_row, sql_text(', '), 'n.record') }} as first_rows
  from numbered as n
  inner join {{ ref('stg_files') }} as f on {{ file_of('n.record') }} = f.file_order
  where n.place <= 20
  group by n.guard, n.subject
),

counted as (
  select
    c.guard,
    c.subject,
    c.n_original,
    c.n_enriched,
    f.first_rows
  from counts as c
  inner join first_rows as f on c.guard = f.guard and c.subject = f.subject
),

events as (
  select distinct
    guard,
    concat(key_type, ':', key_value) as subject,
    tier,
    key_type,
    key_value,
    cast(null as bigint) as counted,
    cast(null as bigint) as accepted,
    concat('blocked: ', blocked_as, '; it links nothing') as explanation
  from blocked
  union all
  select
    g.guard,
    concat(t.label, ':', g.key_value) as subject,
    g.tier,
    t.label as key_type,
    g.key_value,
    g.counted,
    g.accepted,
    case
      when g.guard = 'hub' then concat(cast(g.counted as string), ' different values of another key meet on it, more than the limit of ', cast(g.accepted as string), '; it links nothing')
      else concat(cast(g.counted as string), ' names meet on it that are not one person''s; it links only rows that share the name or an e-mail as well')
    end as explanation
  from {{ ref('int_key_guards') }} as g
  inner join (
    {%- for tier in plan.tiers %}
    select {{ tier.tier }} as tier, {{ sql_text(tier.label) }} as label
    {{ 'union all' if not loop.last }}
    {%- else %}
    select 0 as tier, '' as label
    {%- endfor %}
  ) as t on g.tier = t.tier
  union all
  select
    p.split_by as guard,
    cast(p.split_from as string) as subject,
    cast(null as int) as tier,
    cast(null as string) as key_type,
    cast(null as string) as key_value,
    s.size as counted,
    case when p.split_by = 'max_entity_size' then cast({{ plan.guards.max_entity_size or 'null' }} as bigint) end as accepted,
    concat(
      'the entity of ', coalesce(f.entity_key, 'rows that people linked'), ' ',
      case when p.split_by = 'max_entity_size' then 'holds too many rows with different keys' else 'holds rows that must not be linked' end,
      case
        when p.quarantined = 1 and p.n_parts = 1 then '; not even its strongest key takes it apart: it links to no row of the original'
        when p.quarantined = 1 then concat('; without weaker keys it falls into ', cast(p.n_parts as string), ', of which some are still so and link to no row of the original')
        else concat('; without its weakest keys it falls into ', cast(p.n_parts as string))
      end
    ) as explanation
  from parts as p
  left join first_keys as f on p.split_from = f.split_from
  left join sizes as s on p.split_from = s.split_from
)
{%- if plan.assertions %},

decided_entities as (
  select distinct
    x.file,
    x.source_row,
    x.end_name,
    e.entity
  from {{ ref('int_assertion_ends') }} as x
  inner join {{ ref('int_entities') }} as e on x.record = e.record
  where x.side = 'enriched'
)
{%- endif %}

select
  e.guard,
  e.tier,
  e.key_type,
  e.key_value,
  e.counted,
  e.accepted,
  c.n_original,
  c.n_enriched,
  case when c.n_original + c.n_enriched > 20 then concat(c.first_rows, ' and ', cast(c.n_original + c.n_enriched - 20 as string), ' more') else c.first_rows end as involved_rows,
  e.explanation
from events as e
inner join counted as c on e.guard = c.guard and e.subject = c.subject
{%- if plan.assertions %}
union all
select
  d.guard,
  cast(null as int) as tier,
  d.key_type,
  cast(null as string) as key_value,
  cast(null as bigint) as counted,
  cast(null as bigint) as accepted,
  d.n_original,
  cast(0 as bigint) as n_enriched,
  d.involved_rows,
  concat(d.file, ' row ', cast(d.source_row as string), ': ', d.explanation) as explanation
from (
  {%- for end_name in ['a', 'b'] %}
  select
    'assertion_without_rows' as guard,
    s.file,
    s.source_row,
    s.{{ end_name }}_key_type as key_type,
    cast(0 as bigint) as n_original,
    cast(null as string) as involved_rows,
    case
      when s.{{ end_name }}_key_type is null then concat(s.{{ end_name }}_source, ' row ', cast(s.{{ end_name }}_row as string), ' could not be read, so it decides nothing')
      else concat('no row has the ', s.{{ end_name }}_key_type, ' key of end {{ end_name }}, so it decides nothing')
    end as explanation
  from {{ ref('stg_assertions') }} as s
  left join (select distinct file, source_row from {{ ref('int_assertion_ends') }} where end_name = '{{ end_name }}') as x
    on s.file = x.file and s.source_row = x.source_row
  where x.file is null
  union all
  {%- endfor %}
  -- a decision that keeps a row of the original from an entity
  select
    'cannot_link' as guard,
    o.file,
    o.source_row,
    cast(null as string) as key_type,
    count(distinct o.record) as n_original,
    {{ first_original }} as involved_rows,
    'rows of the original are not linked to an entity that they share a key with' as explanation
  from {{ ref('int_assertion_ends') }} as o
  inner join {{ ref('int_refused_keys') }} as r on o.record = r.record and r.side = 'original' and r.guard = 'cannot_link'
  inner join {{ ref('int_refused_keys') }} as v
    on r.tier = v.tier and r.key_value = v.key_value and v.side = 'enriched' and v.guard = 'cannot_link'
  inner join {{ ref('int_entities') }} as e on v.record = e.record
  inner join decided_entities as x
    on o.file = x.file and o.source_row = x.source_row and o.end_name <> x.end_name and e.entity = x.entity
  where o.side = 'original' and o.decision = 'cannot_link'
  group by o.file, o.source_row
  union all
  -- a must_link to an entity that is quarantined, or that a cannot_link keeps the row from
  select
    'assertion_not_followed' as guard,
    o.file,
    o.source_row,
    cast(null as string) as key_type,
    count(distinct o.record) as n_original,
    {{ first_original }} as involved_rows,
    'must_link is not followed: another decision keeps these rows apart, or their entity is quarantined' as explanation
  from {{ ref('int_assertion_ends') }} as o
  inner join decided_entities as x on o.file = x.file and o.source_row = x.source_row
  left join {{ ref('int_matches') }} as m on o.record = m.original_row and x.entity = m.entity
  where o.side = 'original' and o.decision = 'must_link' and m.entity is null
  group by o.file, o.source_row
) as d
{%- endif %}
order by 1, 2, 4, 10
