"""Reads one file as a merge does, without dbt around it: the profile, its copy, and DuckDB with the macro's own text."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import duckdb

from crm_merge.engine.sql import sql_text
from crm_merge.engine.words import Words
from crm_merge.reading import FileProblem
from crm_merge.reading import profile as profiles
from tests.pollution import Reading

# Of the 12 rows of a small file; a merge tolerates one in a hundred.
MAX_REJECT_RATE = 0.34
CONNECTION = duckdb.connect(
    config={"memory_limit": "300MB", "threads": 2, "autoload_known_extensions": False}
)
WORDS = Words(CONNECTION, {})


def rows_of(found: dict[str, Any], path: str) -> list[tuple]:
    """Returns (_merge_row or None, cells …) of each row that DuckDB reads."""
    sql = WORDS.say("read_file", found, path)
    return CONNECTION.execute(f"select * from {sql}").fetchall()


def read(path: Path, **settings: Any) -> Reading:
    """Reads a file; what a user would be told is in problem, rejects and notes."""
    file = {"path": path, "role": "enriched"} | settings
    try:
        found = profiles.profile(file)
        with tempfile.TemporaryDirectory() as folder:
            return landed(found, file, Path(folder))
    except FileProblem as problem:
        return Reading(str(problem), [], [], [], [])


def landed(found: dict[str, Any], file: dict[str, Any], folder: Path) -> Reading:
    """Lands a profiled file as the macros land_file and land_rows do."""
    path, rejects = str(file["path"]), []
    if found["way"] in ("recode", "rewrite"):
        path = str(folder / "copy.csv")
        profiles.copy(found, file["path"], file, folder / "copy.csv", folder / "rejects.csv")
        columns = ["source_row", "line", "byte_position", "reason", "raw_text"]
        sql = WORDS.say("read_pinned", sql_text(folder / "rejects.csv"), ",", columns)
        rejects = [
            (int(row[0]), int(row[1]), int(row[2]), row[3], row[4] or "")
            for row in CONNECTION.execute(f"select * from {sql}").fetchall()
        ]
    rows = rows_of(found, path)
    if len(rows) + found["rejected_rows"] != found["physical_rows"]:
        if found["way"] in ("direct", "recode"):
            return landed(found | {"way": "rewrite"}, file, folder)
        return Reading(f"{len(rows)} rows read, {found['physical_rows']} counted", [], [], [], [])
    assert len(rejects) == found["rejected_rows"]
    numbered = [
        (int(row[0]) if row[0] is not None else place, ["" if cell is None else cell for cell in row[1:]])
        for place, row in enumerate(rows, start=1)
    ]
    if len(rejects) > MAX_REJECT_RATE * found["physical_rows"]:
        return Reading(f"too many rows can not be read: {rejects[0][3]}")
    return Reading(None, found["header"], numbered, rejects, found["notes"])
