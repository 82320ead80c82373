"""How many parts a merge is done in, so that each keeps within its share of the memory limit. Pure: from the plan, and from figures that
were measured during the run.

A kind of parts is ``{"n": how many, "firsts": the numbers that they begin with, or None where a part is a share of all}``.
"""

from __future__ import annotations

from typing import Any

from crm_merge.plan.model import Plan, Widths
from crm_merge.spec.names import Names

# bytes of a part, whatever the limit: with 4 GB a million rows in one part took a tenth longer than in three, since their tables fit no cache
MOST_ROOM = 320_000_000
RECORDS = 4_294_967_296  # a record is file * 2^32 + row
ALL_ROWS = 1_000_000_000  # a part of so many rows is not limited by them


def bytes_held(size: int) -> int:
    """Returns what the texts of a row take, in bytes, where rows are joined and sorted: of long ones several copies, since an engine reads and
    hands on 2,048 rows at a time whatever they hold. Measured with cells of 20,000 characters."""
    return max(size, 8 * size - 3500)


def widths(plan: Plan, names: Names, limit: int, most_rows: int) -> Widths:
    """Returns the bytes that rows, entities and parts may have in memory. ``limit``: DuckDB's memory limit in bytes; ``most_rows``: the most
    rows of a part."""
    room = min(int(limit * 0.4), MOST_ROOM)
    vendors = [file["row_bytes"] for file in plan.files if file["k"]]
    columns = len(plan.crm) + len(plan.vendor)
    vendor = max((size + bytes_held(size) for size in vendors), default=0)
    original = plan.files[0]["row_bytes"]
    alone = [column.strategy.name for column in plan.vendor if not column.group]
    longest = max(file["densest"] for file in plan.files)
    long_bytes = sum(file["long_bytes"] for file in plan.files)
    return Widths(
        room=room,
        most_rows=most_rows,
        # about 96 bytes per column of each entity of several rows: aggregates of texts can not spill
        entity=64
        + sum(96 + (200 if not c.group and c.strategy.name in names.folds else 0) for c in plan.vendor),
        row=max((bytes_held(size) for size in vendors), default=0),
        # what an entity of one row takes is its id, which is joined to it
        id=80,
        # what strategies compare is joined to all candidates of a part at once
        compared=sum(
            80 * (name in names.needs_forms) + 100 * (name in names.needs_extremes) for name in alone
        ),
        # of each original its row and what it takes of the entities, where each cell comes from, and buffers of each column, of which many take
        # more than their rows
        original=original + bytes_held(original) + vendor + 16 * len(plan.vendor) + buffers(columns),
        buffers=buffers(columns),
        newcomer=vendor + 24 * len(plan.vendor) + 400,
        # rows that are said to be the same are held whole
        any_row=100 + max(file["row_bytes"] for file in plan.files),
        rows_together=rows_together(longest + 24 * columns, most_rows),
        rows_are_large=(
            most_rows < ALL_ROWS
            or longest > 2000
            or 0 < room // 4 < long_bytes
            or (columns > 60 and not is_small(plan, columns, room))
        ),
    )


def rows_together(size: int, most_rows: int = ALL_ROWS) -> int:
    """Returns how many rows of so many bytes a Parquet row group holds, no more than a part has. DuckDB's own 122,880 rows of 100 columns took 8 s at
    400 MB, not 0.6 s."""
    return min(max(8_000_000 // max(size, 1), 2048), 50_000, max(most_rows, 2048))


def is_small(plan: Plan, columns: int, room: int) -> bool:
    """Are the files so small that all their rows fit half of a part at once? Not of very many columns: a query of them takes memory of its own."""
    if columns > 120:
        return False
    size = sum(file["physical_rows"] * (8 * file["row_bytes"] + buffers(columns)) for file in plan.files)
    return size <= room // 2


def buffers(columns: int) -> int:
    """Returns the bytes of a row's share of the buffers of so many columns."""
    return 24 * columns + columns * columns // 10 + 400


def settled(plan: Plan, of: Widths) -> dict[str, dict[str, Any]]:
    """Returns the kinds of parts that follow from the plan alone: of rows that are not large. Other kinds are measured."""
    if of.rows_are_large:
        return {}
    step = max(of.room // of.original, 100)
    kinds = {column.key_type for column in plan.vendor if column.key_type}
    originals = list(range(1, max(plan.files[0]["physical_rows"], 1) + 1, step))
    return {
        # what is sorted into parts of entities at once: about 100 bytes of each record, and what its keys say, which is joined to it
        "records": stretches(plan.files[1:], max(of.room // (100 + 80 * len(kinds)), 1000)),
        "rows": stretches(plan.files, max(of.room // of.any_row, 1000)),
        "originals": {"n": len(originals), "firsts": originals},
    }


def stretches(files: list[dict[str, Any]], most: int) -> dict[str, Any]:
    """Returns parts of at most so many rows in file order, small files together."""
    firsts: list[int] = []
    before = 0
    for file in files:
        firsts += [
            file["k"] * RECORDS + row for row in range(1 + -before % most, file["physical_rows"] + 1, most)
        ]
        before += file["physical_rows"]
    firsts = firsts or [files[0]["k"] * RECORDS + 1]
    return {"n": len(firsts), "firsts": firsts}


def parts_for(size: float, rows: float, room: int, most_rows: int) -> int:
    """Returns how many parts keep the bytes of each within the room, and its rows within the most that are asked for."""
    return max(int(-(size // -room)), int(-(rows // -most_rows)), 1)


def entities(of: Widths, files: int, measured: dict[str, Any]) -> dict[str, Any]:
    """Returns the parts of entities.

    ``measured``: entities of several rows and their rows (``several``, ``several_rows``), ``all_rows``; and where rows are large the bytes that
    their texts hold (``held``).
    """
    rows = measured["several_rows"]
    held = rows * of.row
    compared = measured["all_rows"] * 2 * of.row
    if of.rows_are_large:  # an entity of one row is handed on as it is, which counts where rows are large
        rows = measured["all_rows"]
        held = measured["held"]
        compared = 2 * held
    ranked = compared + measured["all_rows"] * of.compared if of.compared else 0
    sizes = (measured["several"] * of.entity + held, ranked, measured["all_rows"] * of.id)
    # one part is read from all files at once, and each of them takes memory
    fewest = 2 if files > 9 and measured["several_rows"] > 10_000 else 1
    return {"n": max(fewest, parts_for(max(sizes), rows, of.room, of.most_rows)), "firsts": None}


def without_a_large_one(of: Widths, n: int, largest: list[int]) -> dict[str, Any]:
    """Returns so many parts, or up to four times as many, that none has half as much again as its room: few large entities may meet in one.

    ``largest``: the bytes of the largest part of n, 2 n, 3 n and 4 n parts.
    """
    for times, size in enumerate(largest, 1):
        if size <= 1.5 * of.room:
            return {"n": n * times, "firsts": None}
    return {"n": n * 4, "firsts": None}


def disputes(of: Widths, entity_parts: int, measured: dict[str, Any]) -> dict[str, Any]:
    """Returns the parts of disputes: each is a part of one part of the entities, whose file is all that is read for it, so they are so many times
    as many. ``measured``: ``n`` candidates, the ``bytes`` that they hold."""
    n = parts_for(measured["bytes"], measured["n"], int(of.room * 1.25), of.most_rows)
    return {"n": -(n // -entity_parts) * entity_parts, "firsts": None}
