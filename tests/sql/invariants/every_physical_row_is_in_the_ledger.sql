{#- I9. The ledger balances: each data row of each file, counted from its bytes, stands in one bucket. -#}
with ledger as (
  select
    source,
    count(*) as rows_in_ledger,
    count(distinct source_row) as different_rows,
    count(bucket) as rows_with_bucket,
    max(source_row) as last_row
  from {{ ref('row_ledger') }}
  group by source
)

select
  f.source,
  f.physical_rows,
  coalesce(l.rows_in_ledger, 0) as rows_in_ledger,
  coalesce(l.different_rows, 0) as different_rows,
  coalesce(l.rows_with_bucket, 0) as rows_with_bucket,
  coalesce(l.last_row, 0) as last_row
from {{ ref('stg_files') }} as f
left join ledger as l on f.source = l.source
where
  f.physical_rows <> coalesce(l.rows_in_ledger, 0)
  or f.physical_rows <> coalesce(l.different_rows, 0)
  or f.physical_rows <> coalesce(l.rows_with_bucket, 0)
  or f.physical_rows <> coalesce(l.last_row, 0)
