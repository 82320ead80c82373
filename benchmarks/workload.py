"""Writes the workload W(n): a CRM export of n rows × 12 columns and three vendor files of 0.6 n rows × 10 columns.

    python benchmarks/workload.py 1000000 FOLDER

Seeded by row numbers alone, so the same n gives the same bytes. Keys carry noise in case, blanks and format;
vendor rows repeat people within and between files, and lack e-mail, phone or LinkedIn often enough that some
people are joined only through a chain. Phone numbers are valid US numbers, each of one person; but a vendor row in 200 has
another person's, which the names on both rows tell.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb

SPEC = """original: {{path: crm.csv}}
enriched:
{files}match_on: [email]
region: US
"""
AREAS = [
    212,
    415,
    305,
    312,
    213,
    617,
    202,
    206,
    404,
    602,
    702,
    713,
    214,
    303,
    503,
    612,
]  # eight million numbers each
MOST = 106_000_000


def pick(seed: int, modulus: int) -> str:
    """SQL for a repeatable random number below modulus, different per row i and seed."""
    return f"(hash(i * 1000 + {seed}) % {modulus})"


def write(n: int, folder: Path, shares: Sequence[float] = (0.6, 0.6, 0.6)) -> None:
    """Writes crm.csv, v0.csv, v1.csv, v2.csv and spec.yml to the folder; a vendor file has its share of n rows."""
    if n > MOST:
        raise ValueError(f"more than {MOST} rows would need more area codes for their phone numbers")
    folder.mkdir(parents=True, exist_ok=True)

    def phone(i: str, form: str) -> str:
        """SQL of the phone number of person i, as Python's format says where its three parts go."""
        area = f"cast({AREAS}[cast(1 + {i} // 8000000 as int)] as varchar)"
        exchange = f"lpad(cast(200 + ({i} // 10000) % 800 as varchar), 3, '0')"
        return form.format(
            f"' || {area} || '", f"' || {exchange} || '", f"' || lpad(cast({i} % 10000 as varchar), 4, '0')"
        )

    names = f"""'First' || {pick(1, 5000)} as "First Name", 'Last' || {pick(2, 20000)} as "Last Name\""""
    address = "'user' || i || '@corp' || (i % 50000) || '.com'"
    connection = duckdb.connect()
    connection.execute(f"""
        copy (
          select
            i + 1 as "Id", {names},
            case {pick(3, 10)} when 0 then '' when 1 then upper({address}) when 2 then {address} || ' ' else {address} end as "Email",
            case when {pick(4, 4)} = 0 then '' else {phone("i", "'+1 {}-{}-{}")} end as "Phone",
            case when {pick(5, 3)} = 0 then '' else 'https://www.linkedin.com/in/user-' || i || '/' end as "LinkedIn",
            'Company ' || (i % 50000) as "Company",
            case when {pick(6, 3)} = 0 then '' else 'Manager ' || {pick(7, 100)} end as "Title",
            case when {pick(8, 2)} = 0 then '' else 'City ' || {pick(9, 1000)} end as "City",
            'Street ' || i as "Street", '2024-01-' || lpad(cast(1 + i % 28 as varchar), 2, '0') as "Created",
            'note, "x" ' || i as "Notes"
          from range({n}) as t (i)
        ) to '{folder}/crm.csv' (header)""")
    for k, share in enumerate(shares):
        connection.execute(f"""
            copy (
              select
                case when {pick(20 + k, 10)} = 0 then 'n/a' else upper(left({address}, 1)) || substr({address}, 2) end as work_email,
                case when {pick(30 + k, 3)} = 0 then '' when {pick(120 + k, 200)} = 0 then {phone("(i + 1)", "'({}) {} {}")} else {phone("i", "'({}) {} {}")} end as phone,
                case when {pick(40 + k, 3)} = 0 then '' else 'linkedin.com/in/User-' || i || '?trk=x' end as linkedin_url,
                case when {pick(50 + k, 3)} = 0 then '' else 'Title {k} ' || {pick(60, 100)} end as title,
                case when {pick(70 + k, 2)} = 0 then '' else 'City ' || {pick(80, 1000)} end as city,
                'Industry ' || {pick(90, 50)} as industry, 'v{k}-' || i as vendor_id, {pick(95, 10000)} as employees,
                case {pick(100 + k, 10)} when 0 then '' when 1 then upper("First Name") else "First Name" end as first_name,
                case {pick(110 + k, 10)} when 0 then upper("Last Name") else "Last Name" end as last_name
              from (
                select *, {names}
                from (select hash(r * {len(shares)} + {k}) % {int(n * 1.2)} as i, r from range({int(n * share)}) as t (r))
                order by r
              )
            ) to '{folder}/v{k}.csv' (header)""")
    files = "".join(f"  - {{name: v{k}, path: v{k}.csv}}\n" for k in range(len(shares)))
    (folder / "spec.yml").write_text(SPEC.format(files=files), encoding="utf-8")


if __name__ == "__main__":
    write(int(sys.argv[1]), Path(sys.argv[2]))
