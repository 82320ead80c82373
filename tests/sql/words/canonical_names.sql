{#- canonical: header → column name. -#}
with cases (header, expected) as (
  values
  ('Email', 'email'),
  (' First Name ', 'first_name'),
  ('E-mail (work):', 'e_mail_work'),
  ('# Employees', 'employees'),
  ('Téléphone', 'téléphone'),
  ('Te' || chr(769) || 'l', 'tél'),
  ('Straße', 'straße'),
  ('日本 語', '日本_語'),
  ('Email1', 'email1'),
  ('a__b', 'a_b'),
  ('***', '')
)

select * from (
  select
    header,
    expected,
    {{ canonical('header') }} as found
  from cases
) as compared
where found <> expected
