"""Compares the cells of two merges, row by row in file order: ``python agreement.py OURS.csv THEIRS.csv [COLUMN …]``.

Compared are the columns that both have; with columns named, these must be among them. Blank is null or empty text.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

import duckdb


def read(path: str) -> str:
    """SQL of a file's rows as text."""
    return f"read_csv('{path}', header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"')"


def columns(path: str) -> list[str]:
    """The headers of a file."""
    return [row[0] for row in duckdb.execute(f"describe (select * from {read(path)})").fetchall()]


def digest(path: str, cells: list[str]) -> str:
    """The sha256 of these columns, written anew in the file's order, so that only the cells count."""
    values = ", ".join(f'coalesce("{cell}", \'\') as "{cell}"' for cell in cells)
    # by way of a file: through a pipe the digests of two equal files of ten million rows differed
    with tempfile.NamedTemporaryFile(suffix=".csv", dir=Path(path).parent) as file:
        with duckdb.connect(config={"memory_limit": "2GB", "threads": 2}) as connection:
            connection.execute(
                f"copy (select {values} from {read(path)}) to '{file.name}' (format csv, header)"
            )
        found = hashlib.sha256()
        with open(file.name, "rb") as written:
            while block := written.read(1 << 20):
                found.update(block)
        return found.hexdigest()


def differences(ours: str, theirs: str, cells: list[str]) -> str:
    """Which columns differ in how many rows of the same Id, with an example."""
    connection = duckdb.connect(config={"memory_limit": "4GB", "threads": 2})
    counts = ", ".join(
        f"count(*) filter (coalesce(a.\"{cell}\", '') <> coalesce(b.\"{cell}\", ''))" for cell in cells
    )
    joined = f'{read(ours)} as a full join {read(theirs)} as b on a."Id" = b."Id"'
    found = connection.execute(f"select {counts} from {joined}").fetchone()
    told = []
    for cell, count in zip(cells, found, strict=True):
        if count:
            example = connection.execute(f"""
                select coalesce(a."Id", b."Id"), a."{cell}", b."{cell}" from {joined}
                where coalesce(a."{cell}", '') <> coalesce(b."{cell}", '') limit 1""").fetchone()
            told.append(f"{cell} in {count} rows (Id {example[0]}: {example[1]!r}, not {example[2]!r})")
    return "DIFFERENT: " + ("; ".join(told) or "the same cells in another order")


def main() -> None:
    """Prints 'equal' and what was compared, or the differences."""
    ours, theirs, *filled = sys.argv[1:]
    if filled:
        cells = [cell for cell in columns(theirs) if cell in columns(ours)]
        if missing := set(filled) - set(cells):
            print(f"DIFFERENT: without {', '.join(sorted(missing))}")
            return
    else:  # a copy of the CRM: what no vendor fills
        cells = [cell for cell in columns(theirs) if cell not in ("Phone", "LinkedIn", "Title", "City")]
    if digest(ours, cells) == digest(theirs, cells):
        print(f"equal in {len(cells)} columns, row by row")
    else:
        print(differences(ours, theirs, cells))


if __name__ == "__main__":
    main()
