select
  source,
  source_row,
  reason,
  raw_text
from {{ ref('stg_rejects') }}
order by file_order, source_row
