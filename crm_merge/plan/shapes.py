"""What is landed together: files of one shape, and cells of one key type. So the SQL of a merge does not grow with its files, and little with
their columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from crm_merge.plan.columns import Header
from crm_merge.plan.model import Cells, KeyColumn, Landing, Plan, Shape, ShapeCells, Tier
from crm_merge.plan.parts import ALL_ROWS, RECORDS, rows_together, stretches
from crm_merge.spec.names import Names

FEW_ROWS = 100_000  # a file of more is read alone: its own statement is a small part of the work
MOST_ROWS = 200_000  # of files that are read together: their rows are numbered by one thread
MOST_AT_ONCE = 500  # files: each has buffers of its own
STRETCH = 1_000_000  # rows whose keys are put beside their cells at once


def shapes_of(plan: Plan, most_rows: int = ALL_ROWS) -> list[Shape]:
    """Returns the shapes of a plan's files in order: small files of one vendor with the same columns have one, any other file has its own.
    ``most_rows``: the most rows of a part."""
    headers: dict[int, list[Header]] = {file["k"]: [] for file in plan.files}
    for header in plan.headers:
        headers[header.k].append(header)
    alike: dict[Any, list[dict[str, Any]]] = {}
    for file in plan.files:
        alike.setdefault(shape_of(file, headers[file["k"]], plan), []).append(file)
    return [
        Shape(
            number=files[0]["k"],
            vendor_number=files[0]["vendor_number"],
            region=files[0]["region"],
            headers=headers[files[0]["k"]],
            landings=list(landings_of(files)),
            keeps_record=len(files) > 1,
            stretches=stretches_of(files),
            column_map=column_map(headers[files[0]["k"]], plan),
            rows_together=rows_together(
                max(file["densest"] + 8 * len(file["header"]) for file in files), most_rows
            ),
        )
        for files in alike.values()
    ]


def shape_of(file: dict[str, Any], headers: list[Header], plan: Plan) -> Any:
    """Returns what files have to share to be of one shape."""
    if not file["k"] or file["physical_rows"] > FEW_ROWS or hides_its_place(file):
        return file["k"]
    columns = [
        (header.header, header.column, header.key_type, header.is_name, header.is_country)
        for header in headers
    ]
    keys = [
        tuple(h.position for h in tier.columns.get(file["k"], ())) for tier in (*plan.tiers, *plan.evidence)
    ]
    return file["vendor_number"], file["region"], tuple(columns), tuple(keys)


def hides_its_place(file: dict[str, Any]) -> bool:
    """Has a Parquet file a column by whose name the engine says which of several files a row is of?"""
    return any(name.lower() == "file_index" for name in file.get("columns_read") or ())


def landings_of(files: list[dict[str, Any]]) -> Iterator[Landing]:
    """Yields the files of a shape that one statement can read."""
    alike: dict[Any, list[dict[str, Any]]] = {}
    for file in files:
        alike.setdefault(way_of(file), []).append(file)
    for group in alike.values():
        rows = 0
        taken: list[int] = []
        for file in group:
            if taken and (rows + file["physical_rows"] > MOST_ROWS or len(taken) == MOST_AT_ONCE):
                yield Landing(taken[0], taken)
                rows, taken = 0, []
            rows += file["physical_rows"]
            taken.append(file["k"])
        yield Landing(taken[0], taken)


def way_of(file: dict[str, Any]) -> Any:
    """Returns what files have to share for one statement to read them."""
    if file["way"] == "parquet":
        return (
            "parquet",
            tuple(file["columns_read"]),
            tuple(map(str, file["types"])),
            tuple(file["partitions"]),
        )
    if file["way"] == "rewrite":
        return "rewrite"
    delimiter = (file["dialect"] or {}).get("delimiter")
    return file["way"], delimiter, file["compression"] if file["way"] == "direct" else None


def column_map(headers: list[Header], plan: Plan) -> str:
    """Returns what each header of a shape means, as JSON: [{header, column, key}]."""
    columns = []
    for header in headers:
        keys = [
            tier.label
            for tier in plan.tiers
            for entry in tier.columns.get(header.k, [])
            if entry.position == header.position
        ]
        columns.append({"header": header.header, "column": header.column, "key": keys[0] if keys else None})
    return json.dumps(columns)


def stretches_of(files: list[dict[str, Any]]) -> list[list[int]]:
    """Returns [first record, last record] of stretches of the files, which are in order."""
    firsts = stretches(files, STRETCH)["firsts"]
    return [
        [first, end - 1]
        for first, end in zip(firsts, [*firsts[1:], (files[-1]["k"] + 1) * RECORDS], strict=True)
    ]


def cells_of(plan: Plan, names: Names) -> list[Cells]:
    """Returns the cells that hold keys, by key type: those of columns that vendors bring, and those that match_on and the guards ask for.

    What is blank in a column of names is not what is blank elsewhere, so such columns are apart. So are cells of other regions, where a key
    type is told one for all cells; phone numbers have the region of their row.
    """
    index = {column.column: column.index for column in plan.vendor}
    found: dict[tuple[str, bool, str | None], Cells] = {}

    def cell(kind: str, header: Header, shape: Shape) -> KeyColumn:
        region = shape.region if kind in names.staged and kind != "phone" else None
        name = "_".join([kind, *["of_names"] * header.is_name, *([region.lower()] if region else [])])
        cells = found.setdefault((kind, header.is_name, region), Cells(kind, header.is_name, name))
        if not cells.shapes or cells.shapes[-1].number != shape.number:
            cells.shapes.append(ShapeCells(shape.number, countries_of(shape), shape.region))
        columns = cells.shapes[-1].columns
        if not any(column.position == header.position for column in columns):
            columns.append(KeyColumn(header.position))
        return next(column for column in columns if column.position == header.position)

    for shape in plan.shapes:
        for header in shape.headers:
            if header.key_type and header.column in index:
                cell(header.key_type, header, shape).column_number = index[header.column]
        for tier in (*plan.tiers, *plan.evidence):
            for header in tier.columns.get(shape.number, []):
                cell(kind_of(tier), header, shape).tiers.append(tier.tier)
    rows = {
        shape.number: sum(plan.files[k]["physical_rows"] for landing in shape.landings for k in landing.files)
        for shape in plan.shapes
    }
    for cells in found.values():
        cells.feeds_tier = any(column.tiers for shape in cells.shapes for column in shape.columns)
        cells.most = sum(len(shape.columns) * rows[shape.number] for shape in cells.shapes)
        if cells.kind == "phone":
            cells.countries = max(len(shape.countries) for shape in cells.shapes)
        regions = {shape.region for shape in cells.shapes}
        cells.region_varies = cells.countries > 0 or len(regions) > 1
        cells.region = regions.pop() if not cells.region_varies else None
    return list(found.values())


def countries_of(shape: Shape) -> list[int]:
    """Returns the positions of a shape's columns of countries."""
    return [header.position for header in shape.headers if header.is_country]


def kind_of(tier: Tier) -> str:
    """Returns the key type of a tier's cells."""
    return tier.kind if tier.kind != "column" else tier.compare


def tiers_of_several(cells: list[Cells]) -> list[int]:
    """Returns the tiers that take several columns of a file: two of them may hold the same key."""
    fed = Counter(
        (shape.number, tier)
        for kind in cells
        for shape in kind.shapes
        for column in shape.columns
        for tier in column.tiers
    )
    return sorted({tier for (_, tier), columns in fed.items() if columns > 1})
