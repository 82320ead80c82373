"""Writes a workload that leans to one side, for the benchmark's rows on skew.

    python benchmarks/skew.py KIND ROWS FOLDER

- hot_key: one e-mail address on 1 % of all rows, the CRM's and the vendors';
- big_vendor: the first vendor file 10 × the others;
- wide: every file 200 columns wide; vendors fill half of the CRM's and bring as many new ones;
- forty: vendor files 40 columns wide, all of them new to the CRM but the usual ones;
- many_vendors: 40 vendor files, as many rows in all as W(n) has;
- long_cells: a cell of 20,000 characters in every row of every file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import duckdb

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks import workload  # noqa: E402

WIDTH = 200
LONG = 20_000


def hot_key(file: str, email: str) -> str:
    """Every 100th row has the same address."""
    return f'* replace (case when n % 100 = 0 then \'jane@reseller.com\' else "{email}" end as "{email}")'


def wide(file: str, email: str, width: int = WIDTH) -> str:
    """Attributes up to the width: a… in all files, b… in vendors' alone."""
    more = width - (12 if file == "crm" else 10)
    names = [
        f"a{c}" if file == "crm" or (width == WIDTH and c < WIDTH // 2) else f"b{c}" for c in range(more)
    ]
    blank = 2 if file == "crm" else 3
    return "*, " + ", ".join(
        f"case when hash(n * 1000 + {c}) % {blank} = 0 then '' else '{name} ' || n % 1000 end as {name}"
        for c, name in enumerate(names)
    )


def forty(file: str, email: str) -> str:
    """Attributes that vendors alone bring, up to 40 columns."""
    return "*" if file == "crm" else wide(file, email, 40)


def long_cells(file: str, email: str) -> str:
    """A text of one's own in each row."""
    return f"*, repeat(md5('{file}' || n), {LONG // 32}) as {'background' if file == 'crm' else 'biography'}"


KINDS: dict[str, tuple[tuple[float, ...], Callable[[str, str], str] | None]] = {
    "hot_key": ((0.6, 0.6, 0.6), hot_key),
    "big_vendor": ((1.5, 0.15, 0.15), None),
    "wide": ((0.6, 0.6, 0.6), wide),
    "forty": ((0.6, 0.6, 0.6), forty),
    "many_vendors": ((0.045,) * 40, None),
    "long_cells": ((0.6, 0.6, 0.6), long_cells),
}


def write(kind: str, n: int, folder: Path) -> None:
    """Writes W(n) with this skew to the folder."""
    shares, select = KINDS[kind]
    workload.write(n, folder, shares)
    if select is None:
        return
    connection = duckdb.connect()
    for path in sorted(folder.glob("*.csv")):
        columns = select(path.stem, "Email" if path.stem == "crm" else "work_email")
        part = path.with_suffix(".part")
        connection.execute(f"""
            copy (
              select {columns.replace("*", "* exclude (n)", 1)}
              from (select *, row_number() over () as n from read_csv('{path}', header = true, all_varchar = true))
            ) to '{part}' (format csv, header)""")
        part.replace(path)


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
