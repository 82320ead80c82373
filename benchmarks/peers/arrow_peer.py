"""The first design's option 5, Arrow and Parquet: ``python arrow_peer.py FOLDER OUT.csv``.

Each file becomes Parquet first, as the design has it; Arrow's own group by and join follow. Its join does not keep an order, so the row number is carried
and sorted by.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import rules
from rules import FILLS, NEW

EMAIL = f"^{rules.EMAIL}$"
BLANK = pa.array(rules.BLANK)


def to_parquet(path: Path, to: Path) -> None:
    """Writes a CSV file as Parquet, all text."""
    header = path.open(encoding="utf-8").readline().rstrip("\r\n").split(",")
    options = pyarrow.csv.ConvertOptions(
        column_types={name: pa.string() for name in header}, strings_can_be_null=False
    )
    with (
        pyarrow.csv.open_csv(path, convert_options=options) as rows,
        pq.ParquetWriter(to, rows.schema) as file,
    ):
        for batch in rows:
            file.write_batch(batch)


def key(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The addresses that are compared; null where there is none."""
    address = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    return pc.if_else(pc.match_substring_regex(address, EMAIL), address, pa.scalar(None, pa.string()))


def value(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A vendor's cells; null where blank."""
    blank = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(column)), BLANK)
    return pc.if_else(blank, pa.scalar(None, pa.string()), column)


def merge(folder: Path, out: Path) -> None:
    """Merges crm.csv with v*.csv into the file."""
    scratch = out.with_suffix(".scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for path in folder.glob("*.csv"):
        to_parquet(path, scratch / f"{path.stem}.parquet")
    given = [*FILLS, *NEW]
    vendors = pa.concat_tables(
        pq.read_table(path, columns=given) for path in sorted(scratch.glob("v*.parquet"))
    )
    vendors = pa.table(
        {"key": key(vendors["work_email"])} | {column: value(vendors[column]) for column in given}
    )
    vendors = vendors.filter(pc.is_valid(vendors["key"]))
    # on one thread: else the first of a group is any of it
    skip = pc.ScalarAggregateOptions(skip_nulls=True)
    people = vendors.group_by("key", use_threads=False).aggregate(
        [(column, "first", skip) for column in given]
    )
    del vendors
    crm = pq.read_table(scratch / "crm.parquet")
    crm = crm.append_column("key", key(crm["Email"])).append_column("n", pa.array(range(len(crm))))
    merged = crm.join(people, "key", join_type="left outer").sort_by("n")
    source = {header: f"{column}_first" for column, header in FILLS.items()}
    cells = {
        name: pc.if_else(
            pc.not_equal(pc.utf8_trim_whitespace(merged[name]), ""), merged[name], merged[source[name]]
        )
        if name in source
        else merged[name]
        for name in crm.column_names[:-2]
    }
    part = out.with_suffix(".part")
    pyarrow.csv.write_csv(pa.table(cells | {column: merged[f"{column}_first"] for column in NEW}), part)
    shutil.rmtree(scratch)
    os.replace(part, out)


if __name__ == "__main__":
    started = time.monotonic()
    pa.set_cpu_count(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    merge(Path(sys.argv[1]), Path(sys.argv[2]))
    print(time.monotonic() - started)
