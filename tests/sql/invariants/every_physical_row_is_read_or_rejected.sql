{#- Rows counted from the bytes, independently of the parser, against what was read and what was rejected. -#}
select
  source,
  physical_rows,
  parsed_rows,
  rejected_rows
from {{ ref('stg_files') }}
where physical_rows <> parsed_rows + rejected_rows
