{#- keys_exact and keys_normalized. -#}
with cases (cell, exact, normalized) as (
  values
  ('007', '007', '007'),
  (' Ab  C ', 'Ab  C', 'ab c'),
  (chr(160) || 'x' || chr(8203), 'x', 'x'),
  ('a' || chr(8203) || 'b', 'ab', 'ab'),
  ('Zoe' || chr(776), 'Zoë', 'zoë'),
  ('n/a', '', ''),
  (' - ', '', ''),
  ('', '', ''),
  (null, '', '')
)

select * from (
  select
    *,
    array_to_string({{ keys_exact('cell') }}, '|') as found_exact,
    array_to_string({{ keys_normalized('cell') }}, '|') as found_normalized
  from cases
) as compared
where found_exact is distinct from exact or found_normalized is distinct from normalized
