{#- keys_email: what a cell holds, and the addresses that are keys, sorted. -#}
with cases (cell, expected) as (
  values
  ('a@corp.com', 'a@corp.com'),
  (' A.B@Corp.COM ', 'a.b@corp.com'),
  ('John.Doe+x@Googlemail.com', 'johndoe@gmail.com'),
  ('j.o+tag@gmail.com', 'jo@gmail.com'),
  ('a.b+tag@corp.com', 'a.b+tag@corp.com'),
  ('a.b+tag@hotmail.com', 'a.b@hotmail.com'),
  ('ab@hotmail.com', 'ab@hotmail.com'),
  ('mailto:a@corp.com?subject=x', 'a@corp.com'),
  ('"Doe, J" <j@corp.com>', 'j@corp.com'),
  ('J <j@corp.com>; K <k@corp.com>', 'j@corp.com k@corp.com'),
  ('a@corp.com; b@corp.com,a@corp.com', 'a@corp.com b@corp.com'),
  ('a@corp.com' || chr(10) || 'b@corp.com', 'a@corp.com b@corp.com'),
  (chr(8203) || 'a' || chr(160) || '@corp.com' || chr(9), 'a@corp.com'),
  ('''a@corp.com''', 'a@corp.com'),
  ('(a@corp.com)', 'a@corp.com'),
  ('<a@corp.com', 'a@corp.com'),
  ('zoé@münchen.de', 'zoé@münchen.de'),
  ('o''neil@corp.com', 'o''neil@corp.com'),
  ('info@corp.com', ''),
  ('info+x@gmail.com', ''),
  ('a@b@corp.com', ''),
  ('a..b@corp.com', ''),
  ('.a@corp.com', ''),
  ('a.@corp.com', ''),
  ('a@corp', ''),
  ('a@-corp.com', ''),
  ('@corp.com', ''),
  ('a@', ''),
  ('n/a', ''),
  ('', ''),
  (null, '')
)

select * from (
  select
    cell,
    expected,
    array_to_string(list_sort({{ keys_email('cell') }}), ' ') as found
  from cases
) as compared
where found is distinct from expected
