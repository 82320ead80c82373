{%- set plan = merge_plan() %}
{%- set decision %}concat_ws(' ', d.file, cast(d.source_row as string), d.end_name){% endset %}
{%- set key_text %}cast(s.key_number as string){% endset %}
-- the entities at each end of people's decisions, which come first: tier 0
with decided as (
  select
    x.file,
    x.source_row,
    x.decision,
    x.end_name,
    e.entity,
    max(e.n_records) as n_records,
    count(*) as n_sharing,
    min(x.record) as first_record
  from {{ ref('int_assertion_ends') }} as x
  inner join {{ ref('int_entities') }} as e on x.record = e.record and not e.is_quarantined
  where x.side = 'enriched'
  group by x.file, x.source_row, x.decision, x.end_name, e.entity
),

originals as (
  select
    file,
    source_row,
    decision,
    end_name,
    record
  from {{ ref('int_assertion_ends') }}
  where side = 'original'
),

must_link_originals as (
  select distinct
    file,
    source_row,
    record
  from originals
  where decision = 'must_link'
),

shared as (
  select
    o.record as original_row,
    o.tier,
    o.key_number,
    k.entity,
    k.n_records,
    k.n_sharing,
    k.first_record
  from {{ ref('int_match_keys') }} as o
  inner join {{ ref('int_entity_keys') }} as k on o.key_number = k.key_number
  where o.side = 'original' and not k.is_quarantined
  union all
  select
    o.record as original_row,
    0 as tier,
    {{ hash_number(decision) }} as key_number,
    d.entity,
    d.n_records,
    d.n_sharing,
    d.first_record
  from decided as d
  inner join must_link_originals as o on d.file = o.file and d.source_row = o.source_row
  where d.decision = 'must_link'
),

refused as (
  select distinct
    s.original_row,
    s.entity
  from shared as s
  inner join originals as o on s.original_row = o.record and o.decision = 'cannot_link'
  inner join decided as d
    on o.file = d.file and o.source_row = d.source_row and o.end_name <> d.end_name and s.entity = d.entity
),

links as (
  select
    s.original_row,
    s.entity,
    min(s.tier) as match_tier,
    max(s.n_records) as n_records,
    max(s.n_sharing) as most_sharing,
    sum(s.n_sharing) as all_sharing
    {%- for tier in [{'tier': 0}] + plan.tiers %},
    min(case when s.tier = {{ tier.tier }} then s.first_record end) as shares_{{ tier.tier }}
    {%- endfor %}
  from shared as s
  left join refused as r on s.original_row = r.original_row and s.entity = r.entity
  where r.entity is null
  group by s.original_row, s.entity
),

-- Does every record of the entity share a key with the original? The counts answer unless several keys
-- each reach some of the records; only then are the records looked at one by one, once for all originals
-- that reach the entity by the same keys.
uncertain as (
  select
    s.original_row,
    s.entity,
    {{ join_in_order(key_text, sql_text('|'), key_text) }} as all_keys
  from shared as s
  inner join links as l on s.original_row = l.original_row and s.entity = l.entity
  where l.most_sharing < l.n_records and l.all_sharing >= l.n_records
  group by s.original_row, s.entity
),

alike as (
  select
    entity,
    all_keys,
    min(original_row) as original_row
  from uncertain
  group by entity, all_keys
),

reached_records as (
  select
    s.original_row,
    s.entity,
    k.record
  from shared as s
  inner join alike as u on s.original_row = u.original_row and s.entity = u.entity
  inner join {{ ref('int_match_keys') }} as k on s.key_number = k.key_number and k.side = 'enriched'
  inner join {{ ref('int_entities') }} as e on k.record = e.record and s.entity = e.entity
  union
  select
    u.original_row,
    u.entity,
    e.record
  from alike as u
  inner join originals as o on u.original_row = o.record and o.decision = 'must_link'
  inner join {{ ref('int_assertion_ends') }} as x
    on o.file = x.file and o.source_row = x.source_row and x.side = 'enriched'
  inner join {{ ref('int_entities') }} as e on x.record = e.record and u.entity = e.entity
),

reached_counts as (
  select
    original_row,
    entity,
    count(distinct record) as n_reached
  from reached_records
  group by original_row, entity
),

reached as (
  select
    u.original_row,
    u.entity,
    max(n.n_reached) as n_reached
  from uncertain as u
  inner join alike as a on u.entity = a.entity and u.all_keys = a.all_keys
  inner join reached_counts as n on a.original_row = n.original_row and a.entity = n.entity
  group by u.original_row, u.entity
),

-- what is not the usual: entities of several originals, and originals of several entities
shared_entities as (
  select
    entity,
    min(original_row) as first_original
  from links
  group by entity
  having count(*) > 1
),

duplicates as (
  select distinct l.original_row
  from links as l
  inner join shared_entities as s on l.entity = s.entity
),

several as (
  select
    original_row,
    count(*) as n_entities
  from links
  group by original_row
  having count(*) > 1
),

ranked as (
  select
    l.original_row,
    l.entity,
    n.n_entities,
    row_number() over (partition by l.original_row order by l.match_tier, l.entity) as entity_rank
  from links as l
  inner join several as n on l.original_row = n.original_row
)

select
  l.original_row,
  l.entity,
  coalesce(p.entity_rank, 1) as entity_rank,
  coalesce(p.n_entities, 1) as n_entities,
  l.match_tier,
  concat_ws(
    '+',
    case when l.shares_0 is not null then 'assertion' end
    {%- for tier in plan.tiers %},
    case when l.shares_{{ tier.tier }} is not null then {{ sql_text(tier.label) }} end
    {%- endfor %}
  ) as matched_on,
  l.n_records,
  coalesce(r.n_reached, l.most_sharing) = l.n_records as is_direct,
  d.original_row is not null as is_shared,
  coalesce(l.original_row = e.first_original, true) as is_first_of_entity
  {%- for tier in [{'tier': 0}] + plan.tiers %},
  l.shares_{{ tier.tier }}
  {%- endfor %}
from links as l
left join shared_entities as e on l.entity = e.entity
left join duplicates as d on l.original_row = d.original_row
left join ranked as p on l.original_row = p.original_row and l.entity = p.entity
left join reached as r on l.original_row = r.original_row and l.entity = r.entity
order by l.original_row
