"""The first design's option 1, streaming CSV with an index in memory: ``python csv_stream_peer.py FOLDER OUT.csv``.

Vendors' rows are read one by one into a dictionary of the first values of each address; then the CRM is read and written row by row. Python
where the design had JavaScript.
"""

from __future__ import annotations

import csv
import os
import re
import sys
import time
from pathlib import Path

import rules
from rules import FILLS, NEW

EMAIL = re.compile(rules.EMAIL)
BLANK = set(rules.BLANK)


def key(cell: str) -> str | None:
    """The address that is compared; None where there is none."""
    address = cell.strip().lower()
    return address if EMAIL.fullmatch(address) else None


def merge(folder: Path, out: Path) -> None:
    """Merges crm.csv with v*.csv into the file."""
    given = [*FILLS, *NEW]
    people: dict[str, list[str | None]] = {}
    for path in sorted(folder.glob("v*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows)
            places = [header.index(column) for column in given]
            for row in rows:
                if (address := key(row[places[0]])) is None:
                    continue
                person = people.setdefault(address, [None] * len(given))
                for n, place in enumerate(places):
                    if person[n] is None and row[place].strip().lower() not in BLANK:
                        person[n] = row[place]
    part = out.with_suffix(".part")
    nobody: list[str | None] = [None] * len(given)
    with (
        (folder / "crm.csv").open(newline="", encoding="utf-8") as file,
        part.open("w", newline="", encoding="utf-8") as to,
    ):
        rows, written = csv.reader(file), csv.writer(to, lineterminator="\n")
        header = next(rows)
        email = header.index("Email")
        fills = [header.index(column) for column in FILLS.values()]
        written.writerow([*header, *NEW])
        for row in rows:
            person = people.get(key(row[email]) or "", nobody)
            for n, place in enumerate(fills):
                if not row[place].strip() and person[n] is not None:
                    row[place] = person[n] or ""
            written.writerow([*row, *person[len(fills) :]])
    os.replace(part, out)


if __name__ == "__main__":
    started = time.monotonic()
    merge(Path(sys.argv[1]), Path(sys.argv[2]))
    print(time.monotonic() - started)
