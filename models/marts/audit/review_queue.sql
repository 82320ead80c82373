{%- set plan = merge_plan() %}
{%- set most = 20 %}
{%- set key_text %}concat(k.key_type, ' ', k.key_value){% endset %}
-- pairs of rows that a person should look at; of one cause at most {{ most }}
with ambiguous as (
  select
    'ambiguous' as kind,
    original_row as a_record,
    coalesce(shares_0{% for tier in plan.tiers %}, shares_{{ tier.tier }}{% endfor %}) as b_record,
    concat('the row of the original meets ', cast(n_entities as string), ' entities; this is number ', cast(entity_rank as string), ', by ', matched_on) as why,
    concat('original ', cast(original_row as string)) as cause
  from {{ ref('int_matches') }}
  where n_entities > 1 and match_tier > 0
),

unlinked as (
  select
    r.record,
    r.tier,
    r.key_type,
    r.key_value,
    r.guard,
    row_number() over (partition by r.record order by r.tier, r.key_value) as choice
  from {{ ref('int_refused_keys') }} as r
  left join {{ ref('int_matches') }} as m on r.record = m.original_row
  where r.side = 'original' and m.original_row is null
),

parts as (
  select
    split_from,
    split_by,
    component,
    is_quarantined,
    min(node) as record
  from {{ ref('int_components') }}
  where split_by is not null and not (split_by = 'cannot_link' and not is_quarantined)
  group by split_from, split_by, component, is_quarantined, case when is_quarantined then node end
),

-- who may be shown, and who they are: the rows of all files are read once for it
wanted as (
  select record from {{ ref('int_refused_keys') }}
  union
  select record from parts
  union
  select a_record as record from ambiguous
  union
  select b_record as record from ambiguous
),

named_rows as (
  select n.*
  from wanted as w
  inner join {{ ref('stg_names') }} as n on w.record = n.record
),

-- of those who hold the value, the first of the same name, else the first of all
names as (
  select
    r.side,
    r.record,
    r.tier,
    r.key_value,
    n.surname,
    n.given
  from {{ ref('int_refused_keys') }} as r
  inner join named_rows as n on r.record = n.record
),

first_of_name as (
  select
    tier,
    key_value,
    surname,
    given,
    min(record) as record
  from names
  where side = 'enriched'
  group by tier, key_value, surname, given
),

namesakes as (
  select
    o.record as a_record,
    o.tier,
    o.key_value,
    min(v.record) as record
  from names as o
  inner join first_of_name as v on o.tier = v.tier and o.key_value = v.key_value and o.surname = v.surname and o.given = v.given
  where o.side = 'original'
  group by o.record, o.tier, o.key_value
),

first_vendor_rows as (
  select
    tier,
    key_value,
    min(record) as record
  from {{ ref('int_refused_keys') }}
  where side = 'enriched'
  group by tier, key_value
),

originals as (
  select
    'possibly_related' as kind,
    u.record as a_record,
    coalesce(n.record, v.record) as b_record,
    concat('both hold the ', u.key_type, ' ', u.key_value, ', which links nothing (', u.guard, ')') as why,
    concat(u.key_type, ' ', u.key_value) as cause
  from unlinked as u
  inner join first_vendor_rows as v on u.tier = v.tier and u.key_value = v.key_value
  left join namesakes as n on u.record = n.a_record and u.tier = n.tier and u.key_value = n.key_value
  where u.choice = 1
),

people as (
  select
    r.tier,
    r.key_type,
    r.key_value,
    min(r.record) as record
  from {{ ref('int_refused_keys') }} as r
  inner join {{ ref('int_entities') }} as e on r.record = e.record
  where r.side = 'enriched' and r.guard = 'contradiction'
  group by r.tier, r.key_type, r.key_value, e.entity
),

first_people as (
  select
    tier,
    key_value,
    min(record) as record
  from people
  group by tier, key_value
),

vendors as (
  select
    'possibly_related' as kind,
    f.record as a_record,
    p.record as b_record,
    concat('both hold the ', p.key_type, ' ', p.key_value, ', under which several people meet') as why,
    concat(p.key_type, ' ', p.key_value) as cause
  from people as p
  inner join first_people as f on p.tier = f.tier and p.key_value = f.key_value
),

split as (
  select
    case when is_quarantined then 'quarantined' else 'oversized' end as kind,
    min(record) over (partition by split_from) as a_record,
    record as b_record,
    case
      when split_by = 'max_entity_size' then 'both were in an entity of too many rows with different keys'
      else 'both were in an entity that holds rows which must not be linked'
    end as why,
    concat('entity ', cast(split_from as string)) as cause
  from parts
),

-- a row of the original stands for itself, a vendor's row for its entity
pairs as (
  select
    p.kind,
    p.a_record,
    p.b_record,
    p.why,
    p.cause,
    coalesce(a.entity, p.a_record) as a_unit,
    coalesce(b.entity, p.b_record) as b_unit
  from (
    {%- for cause in ['ambiguous', 'originals', 'vendors', 'split'] %}
    select
      kind,
      a_record,
      b_record,
      why,
      cause
    from {{ cause }}
    where a_record <> b_record
    {{ 'union all' if not loop.last }}
    {%- endfor %}
  ) as p
  left join {{ ref('int_entities') }} as a on p.a_record = a.record
  left join {{ ref('int_entities') }} as b on p.b_record = b.record
),

ends as (
  select distinct
    x.file,
    x.source_row,
    x.end_name,
    coalesce(e.entity, x.record) as unit
  from {{ ref('int_assertion_ends') }} as x
  left join {{ ref('int_entities') }} as e on x.record = e.record
  where x.decision in ('must_link', 'cannot_link')
),

decided as (
  select distinct
    p.a_unit,
    p.b_unit
  from pairs as p
  inner join ends as a on p.a_unit = a.unit
  inner join ends as b on p.b_unit = b.unit and a.file = b.file and a.source_row = b.source_row and a.end_name <> b.end_name
),

-- the first of each cause are the first of its shares: the pairs of a hub are too many to put in order in one place
first_of_share as (
  select
    p.*,
    row_number() over (partition by p.kind, p.cause, p.a_record % 8, p.b_record % 8 order by p.a_record, p.b_record) as place_in_share
  from pairs as p
  left join decided as d on p.a_unit = d.a_unit and p.b_unit = d.b_unit
  where d.a_unit is null
),

numbered as (
  select
    kind,
    a_record,
    b_record,
    why,
    row_number() over (partition by kind, cause order by a_record, b_record) as place
  from first_of_share
  where place_in_share <= {{ most }}
),

undecided as (
  select
    kind,
    a_record,
    b_record,
    min(why) as why
  from numbered
  where place <= {{ most }}
  group by kind, a_record, b_record
),

shown as (
  select a_record as record from undecided
  union
  select b_record as record from undecided
),

keys_shown as (
  select
    s.record,
    {{ join_in_order(key_text, sql_text('; '), key_text) }} as keys
  from shown as s
  inner join {{ ref('int_keys') }} as k on s.record = k.record and k.blocked_as is null
  group by s.record
),

evidence as (
  select
    k.record,
    concat_ws('; ', k.keys, case when n.surname is not null then concat('name ', concat_ws(' ', nullif(n.given, ''), n.surname)) end) as evidence
  from keys_shown as k
  left join named_rows as n on k.record = n.record
),

refused_values as (
  select distinct
    tier,
    key_value
  from {{ ref('int_refused_keys') }}
),

-- A key that links its row says who is meant also when the files are delivered anew; one that was refused would mean others too.
named as (
  select
    s.record,
    min_by(concat(k.key_type, ':', k.key_value), concat(cast(100 + k.tier as string), k.key_value)) as record_key
  from shown as s
  inner join {{ ref('int_match_keys') }} as k on s.record = k.record
  left join {{ ref('int_entities') }} as e on s.record = e.record
  left join refused_values as r on k.tier = r.tier and k.key_value = r.key_value
  where r.tier is null and k.refused_value is null and k.tier <= coalesce(e.level, k.tier) and not coalesce(e.is_quarantined, false)
  group by s.record
)

select
  u.kind,
  u.why,
  cast(null as string) as decision,
  fa.source as a_source,
  {{ row_of('u.a_record') }} as a_row,
  case when u.kind = 'possibly_related' then na.record_key end as a_key,
  ea.evidence as a_evidence,
  fb.source as b_source,
  {{ row_of('u.b_record') }} as b_row,
  case when u.kind = 'possibly_related' then nb.record_key end as b_key,
  eb.evidence as b_evidence
from undecided as u
inner join {{ ref('stg_files') }} as fa on {{ file_of('u.a_record') }} = fa.file_order
inner join {{ ref('stg_files') }} as fb on {{ file_of('u.b_record') }} = fb.file_order
left join evidence as ea on u.a_record = ea.record
left join evidence as eb on u.b_record = eb.record
left join named as na on u.a_record = na.record
left join named as nb on u.b_record = nb.record
order by u.kind, u.a_record, u.b_record
