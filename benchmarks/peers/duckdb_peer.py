"""The first design's options 2 and 3, a few statements of SQL in DuckDB: ``python duckdb_peer.py FOLDER OUT.csv [--on-disk]``.

Tables in memory, or in a file with what does not fit spilled beside it. Follows DUCKDB_THREADS, and DUCKDB_MEMORY_LIMIT if it is set.
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


def read(path: Path) -> str:
    """SQL of a file's rows, with their number."""
    return f"(select *, row_number() over () as n from read_csv('{path}', header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"'))"


def merge(folder: Path, out: Path, on_disk: bool) -> None:
    """Merges crm.csv with v*.csv into the file."""
    scratch = out.with_suffix(".scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    settings = {
        "threads": int(os.environ.get("DUCKDB_THREADS", os.cpu_count() or 1)),
        "temp_directory": str(scratch),
    }
    if limit := os.environ.get("DUCKDB_MEMORY_LIMIT"):
        settings["memory_limit"] = limit
    connection = duckdb.connect(scratch / "peer.duckdb" if on_disk else ":memory:", config=settings)
    given = [*FILLS, *NEW]
    connection.execute(f"create table crm as select *, {key('Email')} as key from {read(folder / 'crm.csv')}")
    for k, path in enumerate(sorted(folder.glob("v*.csv"))):
        rows = f"select {k} as k, n, {key('work_email')} as key, {', '.join(given)} from {read(path)}"
        connection.execute(f"{'insert into vendors' if k else 'create table vendors as'} {rows}")
    firsts = ", ".join(
        f"arg_min({column}, k * 4294967296 + n) filter (lower(trim({column})) not in {BLANK_SQL}) as {column}"
        for column in given
    )
    connection.execute(
        f"create table people as select key, {firsts} from vendors where key is not null group by key"
    )
    headers = [row[0] for row in connection.execute("describe crm").fetchall()][:-2]
    source = {header: column for column, header in FILLS.items()}
    cells = [
        f'case when trim(c."{header}") <> \'\' then c."{header}" else p.{source[header]} end as "{header}"'
        if header in source
        else f'c."{header}"'
        for header in headers
    ]
    part = out.with_suffix(".part")
    connection.execute(f"""
        copy (
          select {", ".join([*cells, *(f"p.{column}" for column in NEW)])}
          from crm as c left join people as p on c.key = p.key order by c.n
        ) to '{part}' (format csv, header)""")
    connection.close()
    shutil.rmtree(scratch)
    os.replace(part, out)


if __name__ == "__main__":
    started = time.monotonic()
    merge(Path(sys.argv[1]), Path(sys.argv[2]), "--on-disk" in sys.argv)
    print(time.monotonic() - started)
