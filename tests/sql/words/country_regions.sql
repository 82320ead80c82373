{#- region_of_country: a country cell → the region of phone numbers there. No two spellings that count as equal may
    differ in it. -#}
with cases (cell, expected) as (
  values
  ('US', 'US'),
  ('us', 'US'),
  (' U.S. ', 'US'),
  ('U.S.A.', 'US'),
  ('usa', 'US'),
  ('United States', 'US'),
  ('UNITED STATES OF AMERICA', 'US'),
  ('The United States', 'US'),
  ('États-Unis', 'US'),
  ('Etats Unis', 'US'),
  ('Vereinigte Staaten', 'US'),
  ('UK', 'GB'),
  ('GB', 'GB'),
  ('Great Britain', 'GB'),
  ('United' || chr(160) || 'Kingdom', 'GB'),
  ('England', 'GB'),
  ('Deutschland', 'DE'),
  ('Germany', 'DE'),
  ('DEU', 'DE'),
  ('Allemagne', 'DE'),
  ('Österreich', 'AT'),
  ('O' || chr(776) || 'sterreich', 'AT'),
  ('Côte d''Ivoire', 'CI'),
  ('Côte d’Ivoire', 'CI'),
  ('Ivory Coast', 'CI'),
  ('Trinidad & Tobago', 'TT'),
  ('Trinidad and Tobago', 'TT'),
  ('Korea, Republic of', 'KR'),
  ('日本', 'JP'),
  ('Россия', 'RU'),
  ('España', 'ES'),
  ('Espana', 'ES'),
  ('Türkiye', 'TR'),
  ('The Netherlands', 'NL'),
  ('Czechia', 'CZ'),
  ('Czech Republic', 'CZ'),
  ('Kosovo', 'XK'),
  ('1', null),
  ('XX', null),
  ('Atlantis', null),
  ('n/a', null),
  ('NA', null),
  ('Namibia', 'NA'),
  ('', null),
  (null, null)
)

select * from (
  select
    cell,
    expected,
    {{ region_of_country('cell') }} as found
  from cases
) as compared
where found is distinct from expected
union all
select
  min(country) as cell,
  min(region) as expected,
  max(region) as found
from (select {{ country_word('country') }} as word, country, region from {{ reference_file('countries') }}) as spellings
group by word
having count(distinct region) > 1 or word = ''
