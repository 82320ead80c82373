{#- keys_linkedin: the profiles and companies of a cell, sorted. -#}
with cases (cell, expected) as (
  values
  ('https://www.linkedin.com/in/Ada-Lovelace/', 'in/ada-lovelace'),
  ('http://linkedin.com/in/ada?trk=people', 'in/ada'),
  ('linkedin.com/in/ada/', 'in/ada'),
  ('https://fr.linkedin.com/in/ada/en', 'in/ada'),
  ('HTTPS://UK.LINKEDIN.COM/IN/ADA#top', 'in/ada'),
  (' linkedin.com/in/ada' || chr(8203), 'in/ada'),
  ('https://www.linkedin.com/in/zo%C3%AB', 'in/zoë'),
  ('https://www.linkedin.com/in/zoë', 'in/zoë'),
  ('https://www.linkedin.com/in/ACoAABcdEF', 'in/ACoAABcdEF'),
  ('https://www.linkedin.com/in/ACwAABcdEF?x=1', 'in/ACwAABcdEF'),
  ('https://www.linkedin.com/company/Acme/about', 'company/acme'),
  ('https://www.linkedin.com/mwlite/in/ada', 'in/ada'),
  ('https://m.linkedin.com/in/ada', 'in/ada'),
  ('https://touch.www.linkedin.com/mwlite/profile/in/ada', 'in/ada'),
  ('https://www.linkedin.com/comm/in/ada', 'in/ada'),
  ('http://de.linkedin.com/in/ada/de?locale=de_DE', 'in/ada'),
  ('https://www.linkedin.com/in/Ada/?originalSubdomain=uk', 'in/ada'),
  ('https://www.linkedin.com/in/zoe' || chr(776), 'in/zoë'),
  ('https://www.linkedin.com/in/%E6%9D%8E-%e6%98%8e', 'in/李-明'),
  ('https://www.linkedin.com/in/100%-ada', 'in/100%-ada'),
  ('https://fr.linkedin.com/in/ACoAABcdEF/en', 'in/ACoAABcdEF'),
  ('https://www.linkedin.com/in/acoaabcdef', 'in/acoaabcdef'),
  ('https://www.linkedin.com/company/ACoAA', 'company/acoaa'),
  ('https://www.linkedin.com/company/booking.com/', 'company/booking.com'),
  ('https://www.linkedin.com/company/1337', 'company/1337'),
  ('https://www.linkedin.com/in/ada; https://www.linkedin.com/in/bob', 'in/ada in/bob'),
  ('linkedin.com/in/ada linkedin.com/company/acme', 'company/acme in/ada'),
  ('https://www.linkedin.com/in/ada?next=https://linkedin.com/in/bob', 'in/ada'),
  ('<https://www.linkedin.com/in/ada>', 'in/ada'),
  ('https://www.linkedin.com/pub/ada-lovelace/1/2b/345', ''),
  ('https://www.linkedin.com/sales/people/ACwAABcdEF,NAME_SEARCH,x', ''),
  ('https://www.linkedin.com/sales/lead/ACwAABcdEF', ''),
  ('https://www.linkedin.com/search/results/people/?keywords=/in/ada', ''),
  ('https://www.linkedin.com/profile/view?id=1', ''),
  ('https://www.linkedin.com/school/mit', ''),
  ('https://www.linkedin.com/feed/update/urn:li:activity:1', ''),
  ('https://example.org/?u=https://www.linkedin.com/in/ada', ''),
  ('https://www.linkedin.com/', ''),
  ('https://www.linkedin.com/in/', ''),
  ('https://notlinkedin.com.evil.org/in/ada', ''),
  ('ada', ''),
  (null, '')
)

select * from (
  select
    cell,
    expected,
    array_to_string(list_sort({{ keys_linkedin('cell') }}), ' ') as found
  from cases
) as compared
where found is distinct from expected
