select
  _merge_file,
  _merge_fingerprint,
  min(_merge_ord) as first_record
from {{ ref('stg_enriched') }}
group by _merge_file, _merge_fingerprint
having count(*) > 1
