"""Publishes a finished merge: exports and their manifest, each put in place by rename, the manifest last."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from orchestration import engine


def connect(directory: Path) -> duckdb.DuckDBPyConnection:
    """Opens a merge's database to read, under the same limits as the merge itself."""
    return duckdb.connect(str(directory / "merge.duckdb"), read_only=True, config=engine.settings(directory))


def sql_text(value: str | Path) -> str:
    """Returns a text literal of SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def sql_name(value: str) -> str:
    """Returns an identifier of SQL."""
    return '"' + value.replace('"', '""') + '"'


def publish(directory: Path, spec: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Exports merged_result and review_queue of a merge to its ``out`` folder (or ``export.to``); returns the manifest.

    Everything is first written under a name of its own beside the target and then renamed, so a reader
    sees the old file or the new one. Exports of an earlier run in other formats are removed at the end.
    """
    export = spec.get("export") or {}
    formats = export.get("formats") or ["csv"]
    parts = export.get("partition_by") or []
    out = Path(export.get("to") or directory / "out")
    staging = out / f".publishing-{os.getpid()}"
    for leftover in out.glob(".publishing-*"):  # of a run that was killed
        remove(leftover)
    staging.mkdir(parents=True, exist_ok=True)
    try:
        with connect(directory) as connection:
            columns = [row[0] for row in connection.execute("describe merged_result").fetchall()]
            rows = connection.execute("select count(*) from merged_result").fetchone()
            files = [write(connection, staging, "merged_result", name, parts) for name in formats]
            files.append(write(connection, staging, "review_queue", "csv", []))
            inputs = connection.execute(
                "select source, path, physical_rows, bytes, sha256 from stg_files order by file_order"
            ).fetchall()
        manifest = {
            "rows": rows[0] if rows else 0,
            "columns": columns,
            "files": [described(staging / file) for file in files],
            "inputs": [
                dict(zip(("source", "path", "rows", "bytes", "sha256"), row, strict=True)) for row in inputs
            ],
            "spec": spec,
            "versions": {name: version(name) for name in ("crm-merge", "dbt-core", "dbt-duckdb", "duckdb")}
            | {"python": sys.version.split()[0]},
            "engine": "duckdb",
            "seconds": round(seconds, 3),
            "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (staging / "manifest.json").write_text(text, encoding="utf-8")
        for file in [*files, "manifest.json"]:
            put(staging / file, out / file)
        for stale in {"merged_result.csv", "merged_result.parquet"} - set(files):
            remove(out / stale)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def write(
    connection: duckdb.DuckDBPyConnection, folder: Path, table: str, name: str, partition_by: list[str]
) -> str:
    """Writes a table in one format; returns the file's name. Partitioned Parquet is a folder."""
    file = f"{table}.{name}"
    if name == "csv":
        options = "format csv, header true, delimiter ',', quote '\"', escape '\"', nullstr ''"
    else:
        options = "format parquet, compression zstd"
        if partition_by:
            options += f", partition_by ({', '.join(map(sql_name, partition_by))})"
    connection.execute(f"copy (select * from {sql_name(table)}) to {sql_text(folder / file)} ({options})")  # noqa: S608
    return file


def described(path: Path) -> dict[str, Any]:
    """Returns name, bytes and sha256 of a file; of a folder, those of each file in it."""
    if path.is_dir():
        parts = sorted(part for part in path.rglob("*") if part.is_file())
        files = [described(part) | {"name": str(part.relative_to(path))} for part in parts]
        return {"name": path.name, "bytes": sum(part["bytes"] for part in files), "files": files}
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def put(source: Path, target: Path) -> None:
    """Renames a file over its target, safely on disk first; a folder can't be renamed over one, so that is moved away."""
    if source.is_dir() or target.is_dir():
        remove(target)
    else:
        with source.open("rb") as file:
            os.fsync(file.fileno())
    os.replace(source, target)


def remove(path: Path) -> None:
    """Removes a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
