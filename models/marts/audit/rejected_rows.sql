select
  source,
  path,
  source_row,
  line,
  byte_position,
  reason,
  raw_text
from {{ ref('stg_rejects') }}
order by file_order, source_row
