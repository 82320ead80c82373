"""The merge on e-mail as a chain of FULL OUTER JOINs in DuckDB: ``python full_outer_join_peer.py FOLDER OUT.csv``.

Each vendor's rows become one per address, then file after file is joined and the first value is taken. Follows
DUCKDB_THREADS, and DUCKDB_MEMORY_LIMIT if it is set: the chain holds a hash table per file at a time, and 500 MB are not
enough for it at a million rows.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import duckdb
from rules import BLANK_SQL, EMAIL, FILLS, NEW


def key(column: str) -> str:
    """SQL of the address that is compared; null where there is none."""
    address = f'lower(trim("{column}"))'
    return f"case when regexp_full_match({address}, '{EMAIL}') then {address} end"


def value(column: str) -> str:
    """SQL of the first cell of an address that is not blank."""
    return f'arg_min("{column}", n) filter (lower(trim("{column}")) not in {BLANK_SQL}) as "{column}"'


def rows(path: Path, email: str) -> str:
    """SQL of a file's rows with their number and key."""
    return f"""
        select *, row_number() over () as n, {key(email)} as key
        from read_csv('{path}', header = true, all_varchar = true, delim = ',', quote = '"', escape = '"')"""


def merge(folder: Path, out: Path) -> None:
    """Merges crm.csv with v*.csv into the file."""
    scratch = out.with_suffix(".scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    limit = os.environ.get("DUCKDB_MEMORY_LIMIT")
    connection = duckdb.connect(  # on disk, since tables in memory count against the limit
        scratch / "peer.duckdb",
        config={
            **({"memory_limit": limit} if limit else {}),
            "threads": int(os.environ.get("DUCKDB_THREADS", os.cpu_count() or 1)),
            "temp_directory": str(scratch),
        },
    )
    given = [*FILLS, *NEW]
    joins, keys = "crm", ["crm.key"]
    for k, path in enumerate(sorted(folder.glob("v*.csv"))):
        connection.execute(f"""
            create table v{k} as
            select key, {", ".join(map(value, given))}
            from ({rows(path, "work_email")}) where key is not null group by key""")
        joins += f" full outer join v{k} on v{k}.key = coalesce({', '.join(keys)})"
        keys.append(f"v{k}.key")
    crm = rows(folder / "crm.csv", "Email")
    headers = [row[0] for row in connection.execute(f"describe ({crm})").fetchall()][:-2]
    source = {header: column for column, header in FILLS.items()}
    first = {
        column: "coalesce(" + ", ".join(f'v{k}."{column}"' for k in range(len(keys) - 1)) + ")"
        for column in given
    }
    cells = [
        f'case when trim(crm."{header}") <> \'\' then crm."{header}" else {first[source[header]]} end as "{header}"'
        if header in source
        else f'crm."{header}"'
        for header in headers
    ]
    cells += [f'{first[column]} as "{column}"' for column in NEW]
    part = out.with_suffix(".part")
    connection.execute(f"""
        copy (
          with crm as ({crm})
          select {", ".join(cells)} from {joins} where crm.n is not null order by crm.n
        ) to '{part}' (format csv, header)""")
    connection.close()
    shutil.rmtree(scratch)
    os.replace(part, out)


if __name__ == "__main__":
    started = time.monotonic()
    merge(Path(sys.argv[1]), Path(sys.argv[2]))
    print(time.monotonic() - started)
