-- depends_on: {{ ref('int_keys') }}
-- depends_on: {{ ref('int_assertion_ends') }}
{{ config(materialized='components') }}
-- each key value is a star: its records point to the first of them
with stars as (
  select
    key_number,
    min(record) as centre
  from {{ ref('int_match_keys') }}
  where side = 'enriched' and key_number is not null
  group by key_number
)
{%- if merge_plan().assertions %},

first_ends as (
  select
    file,
    source_row,
    min(record) as record
  from {{ ref('int_assertion_ends') }}
  where decision = 'must_link' and side = 'enriched'
  group by file, source_row
),

-- an assertion's rows are a star as well; so are all rows that must link to one original
asserted as (
  select
    'row' as by_what,
    concat_ws(' ', file, cast(source_row as string)) as star,
    record
  from {{ ref('int_assertion_ends') }}
  where decision = 'must_link' and side = 'enriched'
  union all
  select
    'original' as by_what,
    cast(o.record as string) as star,
    e.record
  from {{ ref('int_assertion_ends') }} as o
  inner join first_ends as e on o.file = e.file and o.source_row = e.source_row
  where o.decision = 'must_link' and o.side = 'original'
),

asserted_stars as (
  select
    by_what,
    star,
    min(record) as centre
  from asserted
  group by by_what, star
)
{%- endif %}

select
  k.record as node_a,
  s.centre as node_b,
  k.tier
from {{ ref('int_match_keys') }} as k
inner join stars as s on k.key_number = s.key_number
where k.side = 'enriched'
{%- if merge_plan().assertions %}
union all
select
  a.record as node_a,
  s.centre as node_b,
  0 as tier
from asserted as a
inner join asserted_stars as s on a.by_what = s.by_what and a.star = s.star
{%- endif %}
-- rows whose keys all were refused stand alone
union all
select
  record as node_a,
  record as node_b,
  0 as tier
from {{ ref('int_match_keys') }}
where side = 'enriched' and key_number is null
