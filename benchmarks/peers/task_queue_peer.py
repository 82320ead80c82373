"""The first design's option 6, a queue of small tasks: ``python task_queue_peer.py FOLDER OUT.csv``.

Files are cut into buckets by a hash of the address; a queue hands one bucket at a time to each worker, which merges it as csv_stream_peer does; what they
write is put together in the CRM's order. A bucket holds about 20,000 rows.
"""

from __future__ import annotations

import csv
import heapq
import os
import shutil
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from csv_stream_peer import BLANK, key
from rules import FILLS, NEW

ROWS_OF_A_TASK = 20_000
GIVEN = [*FILLS, *NEW]


def cut(path: Path, scratch: Path, column: str, buckets: int) -> None:
    """Writes the rows of a file to a file for each bucket, each row with its number before it; rows without an address are spread by their number."""
    files = [(scratch / f"{path.stem}-{n}").open("w", newline="", encoding="utf-8") for n in range(buckets)]
    written = [csv.writer(file, lineterminator="\n") for file in files]
    with path.open(newline="", encoding="utf-8") as source:
        rows = csv.reader(source)
        place = next(rows).index(column)
        for n, row in enumerate(rows):
            address = key(row[place])
            written[(zlib.crc32(address.encode()) if address else n) % buckets].writerow([n, *row])
    for file in files:
        file.close()


def merge_bucket(scratch: Path, folder: Path, bucket: int) -> None:
    """One task: merges a bucket, in the order of the CRM's rows."""
    people: dict[str, list[str | None]] = {}
    for path in sorted(folder.glob("v*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            header = next(csv.reader(file))
        places = [header.index(column) + 1 for column in GIVEN]
        with (scratch / f"{path.stem}-{bucket}").open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                if (address := key(row[places[0]])) is None:
                    continue
                person = people.setdefault(address, [None] * len(GIVEN))
                for n, place in enumerate(places):
                    if person[n] is None and row[place].strip().lower() not in BLANK:
                        person[n] = row[place]
    with (folder / "crm.csv").open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file))
    email = header.index("Email") + 1
    fills = [header.index(column) + 1 for column in FILLS.values()]
    nobody: list[str | None] = [None] * len(GIVEN)
    with (
        (scratch / f"crm-{bucket}").open(newline="", encoding="utf-8") as file,
        (scratch / f"out-{bucket}").open("w", newline="", encoding="utf-8") as to,
    ):
        written = csv.writer(to, lineterminator="\n")
        for row in csv.reader(file):
            person = people.get(key(row[email]) or "", nobody)
            for n, place in enumerate(fills):
                if not row[place].strip() and person[n] is not None:
                    row[place] = person[n] or ""
            written.writerow([*row, *person[len(fills) :]])


def merge(folder: Path, out: Path) -> None:
    """Merges crm.csv with v*.csv into the file."""
    scratch = out.with_suffix(".scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    with (folder / "crm.csv").open("rb") as file:
        lines = sum(1 for _ in file)
        file.seek(0)
        header = file.readline().decode().rstrip("\r\n")
    buckets = max(lines // ROWS_OF_A_TASK, 1)
    workers = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    with ProcessPoolExecutor(workers) as pool:
        files = [
            (folder / "crm.csv", "Email"),
            *((path, "work_email") for path in sorted(folder.glob("v*.csv"))),
        ]
        list(pool.map(cut, *zip(*((path, scratch, column, buckets) for path, column in files), strict=True)))
        list(
            pool.map(
                merge_bucket, *zip(*((scratch, folder, bucket) for bucket in range(buckets)), strict=True)
            )
        )
    part = out.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as to:
        to.write(",".join([header, *NEW]) + "\n")
        opened = [(scratch / f"out-{bucket}").open(newline="", encoding="utf-8") for bucket in range(buckets)]
        written = csv.writer(to, lineterminator="\n")
        for row in heapq.merge(*(csv.reader(file) for file in opened), key=lambda row: int(row[0])):
            written.writerow(row[1:])
    shutil.rmtree(scratch)
    os.replace(part, out)


if __name__ == "__main__":
    started = time.monotonic()
    merge(Path(sys.argv[1]), Path(sys.argv[2]))
    print(time.monotonic() - started)
