"""What SQL asks while files are landed: which files a statement reads, and what was read of them. And the tables of what the plan says of files and
columns, which are read like what was landed: as literals they would make the SQL of a merge grow with its files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from crm_merge.engine.sql import sql_text
from crm_merge.reading import inputs
from crm_merge.reading.parquet import pattern

FILES = {
    "file_order": "int", "source": "varchar", "vendor": "varchar", "vendor_number": "int", "role": "varchar", "path": "varchar", "format": "varchar",
    "compression": "varchar", "encoding": "varchar", "delimiter": "varchar", "quote": "varchar", "escape": "varchar", "line_ends": "varchar",
    "header_line": "int", "header": "varchar", "columns": "int", "physical_rows": "bigint", "bytes": "bigint", "largest_row_bytes": "bigint",
    "long_row_bytes": "bigint", "sha256": "varchar", "notes": "varchar", "column_map": "varchar", "tiers": "int[]",
}  # fmt: skip
COLUMNS = {
    "file_order": "int", "position": "int", "header": "varchar", "canonical_name": "varchar", "key_type": "varchar", "column_number": "int",
    "column_name": "varchar", "result_position": "int", "strategy": "varchar", "policy": "varchar", "is_new_column": "boolean",
    "is_record_id": "boolean",
}  # fmt: skip
REJECTS = {
    "file_order": "int",
    "source_row": "bigint",
    "line": "bigint",
    "byte_position": "bigint",
    "reason": "varchar",
    "raw_text": "varchar",
}


@dataclass
class Landings:
    """The landings of a plan in its merge directory. Requests are JSON: ``{"landing": its number}``, or ``{"file": its number, "way": how it is
    read}`` for one file alone."""

    plan: dict[str, Any]
    folder: Path

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Makes the functions callable from SQL."""
        for function in (self.crm_landing_begun, self.crm_landing_files, self.crm_landing_misread):
            connection.create_function(function.__name__, function, ["VARCHAR"], "VARCHAR", side_effects=True)

    def crm_landing_begun(self, request: str) -> str:
        """Removes what was landed of these files before, and copies those that can't be read as they are; returns {problems, rejects: the files
        with rows that can't be read, several: are they more than one?}."""
        problems, rejects = [], []
        for file in self.asked(request):
            for what in ("rows", "rejects"):
                for landed in self.folder.glob(f"{what}_*{file['k']}.parquet"):
                    if landed.stem.rpartition("_")[2] == str(file["k"]):
                        landed.unlink()
            if self.is_copied(file) and (
                problem := inputs.copied(file, self.copy_of(file), self.folder / f"rejects_{file['k']}.csv")
            ):
                problems.append(f"{file['setting']}: {problem}")
            if file["rejected_rows"]:
                rejects.append(file["k"])
        several = len(self.asked(request)) > 1
        return json.dumps({"problems": problems, "rejects": rejects, "several": several})

    def crm_landing_files(self, request: str) -> str:
        """Returns {paths, as patterns that mean one file; files: their numbers; before: the rows of those before each; partitions}."""
        files = self.asked(request)
        before, rows = [], 0
        for file in files:
            before.append(rows)
            rows += file["physical_rows"] - file["rejected_rows"]
        return json.dumps(
            {
                "paths": [pattern(self.copy_of(file) if self.is_copied(file) else Path(file["path"])) for file in files],
                "files": [file["k"] for file in files],
                "before": before,
                "partitions": [list((file.get("partitions") or {}).values()) for file in files],
            }
        )  # fmt: skip

    def crm_landing_misread(self, request: str) -> str:
        """Returns the numbers of the files of which ``counts``, {number: rows that were read}, says other than what was counted before."""
        counts = json.loads(request)["counts"] or {}
        return json.dumps(
            [
                file["k"]
                for file in self.asked(request)
                if counts.get(str(file["k"]), 0) + file["rejected_rows"] != file["physical_rows"]
            ]
        )

    def asked(self, request: str) -> list[dict[str, Any]]:
        """Returns the files of a request, each with the way that it is read."""
        wanted = json.loads(request)
        if "file" in wanted:
            return [self.plan["files"][wanted["file"]] | {"way": wanted["way"]}]
        return [self.plan["files"][k] for k in landing_of(self.plan, wanted["landing"])["files"]]

    def is_copied(self, file: dict[str, Any]) -> bool:
        """Is it a copy that is read, since the bytes of the file are not what the engine reads?"""
        return file["way"] not in ("direct", "parquet")

    def copy_of(self, file: dict[str, Any]) -> Path:
        """Returns where the copy of a file lies."""
        return self.folder / f"copy_{file['k']}.csv"


def landing_of(plan: dict[str, Any], k: int) -> dict[str, Any]:
    """Returns the landing of a number."""
    return next(landing for shape in plan["shapes"] for landing in shape["landings"] if landing["k"] == k)


def clear(folder: Path, beginning: str = "") -> None:
    """Removes what was landed: rows, rejects and keys, or files whose names begin so."""
    for name in [beginning] if beginning else ["rows_", "rejects_", "keys_", "forms_"]:
        for path in folder.glob(f"{name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_tables(plan: dict[str, Any], folder: Path, landed: dict[str, Any] | None = None) -> None:
    """Writes what the plan says of files and columns as Parquet; and ``landed``, the plan itself, for an engine that knows nothing else."""
    with duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "200MB"}) as connection:
        write(connection, folder / "files.parquet", FILES, rows_of_files(plan))
        write(connection, folder / "columns.parquet", COLUMNS, rows_of_columns(plan))
        write(connection, folder / "rejects_none.parquet", REJECTS, [])
        if landed is not None:
            write(connection, folder / "plan.parquet", {"plan": "varchar"}, [{"plan": json.dumps(landed)}])


def write(
    connection: duckdb.DuckDBPyConnection,
    to: Path,
    columns: dict[str, str],
    rows: Iterator[dict] | list[dict],
) -> None:
    """Writes rows as Parquet, in order."""
    lines = to.with_suffix(".jsonl")
    with lines.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
    typed = ", ".join(f"{sql_text(name)}: {sql_text(kind)}" for name, kind in columns.items())
    connection.execute(
        f"copy (from read_json({sql_text(pattern(lines))}, format = 'newline_delimited', columns = {{{typed}}},"
        f" maximum_object_size = {max(lines.stat().st_size, 1 << 24)})) to {sql_text(to)} (format parquet)"
    )
    lines.unlink()


def rows_of_files(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields what the plan says of each file, under the names of FILES."""
    maps = {k: shape["column_map"] for shape in plan["shapes"] for k in files_of(shape)}
    for file in plan["files"]:
        dialect = file["dialect"] or {}
        yield {
            "file_order": file["k"], "source": file["name"], "vendor": file["vendor"], "vendor_number": file["vendor_number"], "role": file["role"],
            "path": file["shown"], "format": file["format"], "compression": file["compression"], "encoding": file["encoding"],
            "delimiter": dialect.get("delimiter"), "quote": dialect.get("quote"), "escape": dialect.get("escape"),
            "line_ends": file["line_ends"] or None, "header_line": dialect.get("header_line"), "header": json.dumps(file["header"]),
            "columns": len(file["header"]), "physical_rows": file["physical_rows"], "bytes": file["bytes"],
            "largest_row_bytes": file["densest"], "long_row_bytes": file["long_bytes"], "sha256": file["sha256"],
            "notes": "; ".join(file["notes"]) or None, "column_map": maps[file["k"]], "tiers": file["tiers"],
        }  # fmt: skip


def rows_of_columns(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields what the plan says of each column of each file, under the names of COLUMNS."""
    by_column = {column["column"]: column for column in plan["vendor"]}
    by_header = {column["header"]: column for column in plan["vendor"] if column["header"]}
    shapes = {k: shape for shape in plan["shapes"] for k in files_of(shape)}
    for file in plan["files"]:
        k = file["k"]
        for header in shapes[k]["headers"]:
            column = by_column.get(header["column"]) if k else by_header.get(header["header"])
            row = {
                "file_order": k, "position": header["position"], "header": header["header"], "canonical_name": header["column"],
                "key_type": header["key_type"], "column_name": None if k else header["header"],
                "is_record_id": k == 0 and header["header"] == plan["record_id"],
            }  # fmt: skip
            if column:
                strategy = (column["group"] or column)["strategy"]
                row |= {
                    "column_number": column["index"], "column_name": column["name"], "result_position": column["place"],
                    "strategy": strategy["name"], "policy": column["policy"], "is_new_column": column["output"] is not None,
                }  # fmt: skip
            yield row


def files_of(shape: dict[str, Any]) -> list[int]:
    """Returns the numbers of a shape's files."""
    return [k for landing in shape["landings"] for k in landing["files"]]
