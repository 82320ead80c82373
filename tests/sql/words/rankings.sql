{#- packed: the highest rank wins, then the first row; no rank at all is the lowest. A field group is as long as all its cells. -#}
{%- set group = {'columns': ['street', 'city'], 'strategy': {'name': 'longest', 'argument': none, 'file_ranks': []}} %}
{%- set street = {'column': 'street', 'index': 1, 'group': group, 'strategy': {'name': 'longest', 'argument': none, 'file_ranks': []}} %}
{%- set city = {'column': 'city', 'index': 2, 'group': group, 'strategy': {'name': 'longest', 'argument': none, 'file_ranks': []}} %}
{%- set fax = {'column': 'fax', 'index': 3, 'group': none, 'strategy': {'name': 'longest', 'argument': none, 'file_ranks': []}} %}
with ranks (_merge_ord, rank, place) as (
  values
  (8796093022207, 1048576, 1),
  (8796093022207, null, 9),
  (4294967296, 5, 3),
  (4294967297, 5, 4),
  (8796093022207, -1, 6),
  (0, 0, 5),
  (1, 9000000000000, 2),
  (3, -1048575, 7),
  (4, -9000000000000, 8)
),

ordered as (
  select
    place,
    _merge_ord,
    {{ packed('rank') }} as packed,
    row_number() over (order by {{ packed('rank') }} desc) as found
  from ranks
),

-- beyond the bounds all ranks are the same: the first row wins
expected as (
  select
    *,
    case place when 1 then 2 when 2 then 1 else place end as due
  from ordered
),

rows_of_groups (street, city, fax, length_of_group, length_of_fax) as (
  values
  (' Main 1 ', 'Ulm', 'x', 9, 1),
  ('Main 1', null, '', 6, 0),
  (null, null, null, 0, null)
)

select
  'packed' as word,
  cast(place as varchar) as what
from expected
where found <> due or {{ ord_of('packed', fax) }} <> _merge_ord
union all
select
  'length' as word,
  concat(street, city) as what
from rows_of_groups as r
where
  {{ strategy_group(street, [street, city, fax])['length'] }} <> length_of_group
  or {{ strategy_column(fax)['length'] }} is distinct from length_of_fax
  or {{ group_rank(street, [street, city, fax]) | replace('_merge_ord', '7') }} is distinct from nullif(length_of_group, 0) * 8796093022208 - 7
union all
select
  'value' as word,
  'a field group has one' as what
where '{{ strategy_group(street, [street, city, fax])['value'] }}' <> 'r.a_field_group_has_no_value'
