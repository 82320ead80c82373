{#- I9. The ledger balances: each data row of each file, counted from its bytes, stands in one bucket. Looked at in stretches, which a file may share with others. -#}
with numbered as (
  select
    f.file_order,
    l.source_row,
    l.bucket
  from {{ ref('row_ledger') }} as l
  inner join {{ ref('stg_files') }} as f on l.source = f.source
),

ledger as (
  select
    file_order,
    count(*) as rows_in_ledger,
    count(distinct source_row) as different_rows,
    count(bucket) as rows_with_bucket,
    min(source_row) as first_row,
    max(source_row) as last_row
  from numbered
  group by file_order
),

-- the rows of each file that the stretch holds
expected as (
  select
    source,
    file_order,
    greatest({{ first_of('rows') }} - file_order * 4294967296, 1) as first_row,
    least({{ last_of('rows') }} - file_order * 4294967296, physical_rows) as last_row
  from {{ ref('stg_files') }}
)

select
  e.source,
  e.first_row as first_row_expected,
  e.last_row as last_row_expected,
  coalesce(l.rows_in_ledger, 0) as rows_in_ledger,
  coalesce(l.different_rows, 0) as different_rows,
  coalesce(l.rows_with_bucket, 0) as rows_with_bucket,
  l.first_row,
  l.last_row
from expected as e
left join ledger as l on e.file_order = l.file_order
where
  greatest(e.last_row - e.first_row + 1, 0) <> coalesce(l.rows_in_ledger, 0)
  or greatest(e.last_row - e.first_row + 1, 0) <> coalesce(l.different_rows, 0)
  or greatest(e.last_row - e.first_row + 1, 0) <> coalesce(l.rows_with_bucket, 0)
  or l.first_row < e.first_row
  or l.last_row > e.last_row
