{#- keys_linkedin: one key a cell. -#}
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
    array_to_string({{ keys_linkedin('cell') }}, ' ') as found
  from cases
) as compared
where found is distinct from expected
