{#- is_empty (an original's cell), is_blank (a candidate or key), is_blank in a name column. -#}
with cases (cell, empty, blank, blank_name) as (
  values
  (cast(null as varchar), true, true, true),
  ('', true, true, true),
  (' ' || chr(9) || chr(13) || chr(10) || chr(160) || chr(8203) || chr(65279), true, true, true),
  ('n/a', false, true, true),
  (' N/A ', false, true, true),
  ('#N/A', false, true, true),
  ('-', false, true, true),
  ('tbd', false, true, true),
  ('?', false, true, true),
  ('Null', false, true, false),
  (' NA', false, true, false),
  ('0', false, false, false),
  ('no', false, false, false),
  ('nations', false, false, false),
  ('a-b', false, false, false)
)

select * from (
  select
    *,
    {{ is_empty('cell') }} as found_empty,
    {{ is_blank('cell') }} as found_blank,
    {{ is_blank('cell', is_name=true) }} as found_blank_name
  from cases
) as compared
where found_empty <> empty or found_blank <> blank or found_blank_name <> blank_name
