"""The floor: reads every cell of every file, merges nothing, writes the CRM as it is: ``python copy_through_peer.py FOLDER OUT.csv``.

DuckDB's CSV reader and writer; follows DUCKDB_THREADS, and DUCKDB_MEMORY_LIMIT if it is set.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import duckdb


def read(path: Path) -> str:
    """SQL of a file's rows as text."""
    return f"read_csv('{path}', header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"')"


def copy(folder: Path, out: Path) -> None:
    """Copies crm.csv to the file, and looks at every cell of v*.csv."""
    limit = os.environ.get("DUCKDB_MEMORY_LIMIT")
    connection = duckdb.connect(
        config={
            **({"memory_limit": limit} if limit else {}),
            "threads": int(os.environ.get("DUCKDB_THREADS", os.cpu_count() or 1)),
        }
    )
    for path in sorted(folder.glob("v*.csv")):
        connection.execute(f"select sum(length(columns(*))) from {read(path)}").fetchall()
    part = out.with_suffix(".part")
    connection.execute(f"copy (select * from {read(folder / 'crm.csv')}) to '{part}' (format csv, header)")
    connection.close()
    os.replace(part, out)


if __name__ == "__main__":
    started = time.monotonic()
    copy(Path(sys.argv[1]), Path(sys.argv[2]))
    print(time.monotonic() - started)
