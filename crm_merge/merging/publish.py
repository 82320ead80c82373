"""Publishes a finished merge to a folder or to S3: exports and their manifest, each put in place whole, the manifest last."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from crm_merge.engine import limits
from crm_merge.engine.sql import sql_name, sql_text
from crm_merge.merging import protect
from crm_merge.reading import FileProblem, storage

PACKAGES = ["crm-merge", "dbt-core", "dbt-duckdb", "duckdb"]
ROW_GROUP = 122_880  # rows of a Parquet row group; the engine's own number


def connect(directory: Path) -> duckdb.DuckDBPyConnection:
    """Opens a merge's database to read, under the same limits as the merge itself."""
    return duckdb.connect(str(directory / "merge.duckdb"), read_only=True, config=limits.settings(directory))


def target(directory: Path, spec: dict[str, Any]) -> storage.Place:
    """Returns the place that a merge is published to: its ``out`` folder, or ``export.to``; raises FileProblem."""
    to = (spec.get("export") or {}).get("to")
    return storage.at(str(to or directory / "out"), owner=str(directory))


def publish(
    directory: Path,
    spec: dict[str, Any],
    seconds: float,
    checks: list[dict[str, Any]] | None = None,
    on_bytes: Callable[[int, int], None] = lambda sent, total: None,
    made_by: str = "duckdb",
    spec_file: str | None = None,
) -> dict[str, Any]:
    """Exports merged_result and the reports of a merge to its ``out`` folder (or ``export.to``); returns the manifest.

    Everything is first written under a name of its own beside the target and then renamed, so a reader
    sees the old file or the new one. Exports of an earlier run in other formats are removed at the end.
    ``checks`` (of ``history.checks``) are published beside them as checks.csv, without their seconds: equal merges publish
    equal bytes. What goes to S3 is written in the merge directory, then put there: ``on_bytes`` is told of bytes as they are
    sent, and of how many there are in all. ``made_by`` is the target of dbt that made the merge, ``spec_file`` the absolute path or
    URL of its spec. Raises FileProblem for what is wrong with S3 or would be written over, OSError for what is wrong
    with this disk.
    """
    place = target(directory, spec)
    export = spec.get("export") or {}
    formats = export.get("formats") or ["csv"]
    parts = export.get("partition_by") or []
    out = directory / ".crm-merge" / "publishing" if place.remote else Path(place.url)
    owner = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    staging = out / f"{storage.STAGED}{owner}-{os.getpid()}"
    for leftover in out.glob(
        f"{storage.STAGED}{owner}-*"
    ):  # of a run that was killed; others may publish here just now
        remove(leftover)
    staging.mkdir(parents=True, exist_ok=True)
    try:
        with connect(directory) as connection:
            columns = [row[0] for row in connection.execute("describe merged_result").fetchall()]
            rows = connection.execute("select count(*) from merged_result").fetchone()
            row_group = make_room(connection)
            files = [
                write(connection, staging, "merged_result", name, parts, export, row_group)
                for name in formats
            ]
            files += [write(connection, staging, table, "csv", [], export) for table in protect.REPORTS]
            if checks is not None:
                files.append(write_checks(connection, staging, checks, export))
            inputs = connection.execute(
                "select source, path, physical_rows, bytes, sha256 from stg_files order by file_order"
            ).fetchall()
        manifest: dict[str, Any] = {
            **({"spec_file": spec_file} if spec_file else {}),
            "rows": rows[0] if rows else 0,
            "columns": columns,
            "files": [described(staging / file) for file in files],
            "csv": {
                "formulas_escaped": bool(export.get("escape_formulas")),
                "byte_order_mark": bool(export.get("bom")),
            },
            "inputs": [
                dict(zip(("source", "path", "rows", "bytes", "sha256"), row, strict=True)) for row in inputs
            ],
            "spec": spec,
            "versions": {
                name: version(name) for name in PACKAGES + (["pyspark"] if made_by == "spark" else [])
            }
            | {"python": sys.version.split()[0]},
            "engine": made_by,
            "seconds": round(seconds, 3),
            "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (staging / "manifest.json").write_text(text, encoding="utf-8")
        # once more: much may have come there since the merge began
        looked = protect.look(directory, spec, spec_file)
        if looked.problems:
            raise FileProblem("; ".join(looked.problems))
        described_all = [*manifest["files"], described(staging / protect.MANIFEST)]
        new = list(protect.described_files({"files": described_all}))
        protect.note(directory, place.url, [*looked.own, *new])
        if place.remote:
            upload(place, staging, manifest["files"], on_bytes)
            protect.note(directory, place.url, new)
            return manifest
        # all of it is on disk before the first rename, so that the renames follow one another at once
        for file in [*files, "manifest.json"]:
            settle(staging / file)
        for file in [*files, "manifest.json"]:
            put(staging / file, out / file)
        for stale in {"merged_result.csv", "merged_result.parquet", "checks.csv"} - set(files):
            remove(out / stale)
        protect.note(directory, place.url, protect.in_place(new, out))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def upload(
    place: storage.Place, staging: Path, files: list[dict[str, Any]], on_bytes: Callable[[int, int], None]
) -> None:
    """Puts what was written to a place on S3, the manifest last, then removes what an earlier run left there in another form."""
    digests = {}
    for file in files:
        parts = file.get("files") or []
        digests.update({f"{file['name']}/{part['name']}": part["sha256"] for part in parts})
        if "sha256" in file:
            digests[file["name"]] = file["sha256"]
    manifest = described(staging / "manifest.json")
    digests["manifest.json"] = manifest["sha256"]
    total = sum(file["bytes"] for file in files) + manifest["bytes"]
    named = [(staging / name, name) for name in digests]
    place.put(named, "manifest.json", lambda sent: on_bytes(sent, total), digests)
    try:
        folder = storage.at(place.shown("merged_result.parquet"))
        earlier = (f"merged_result.parquet/{entry.name}" for entry in folder.list((".parquet",)))
        place.remove(name for name in earlier if name not in digests)
        for name in {"merged_result.csv", "merged_result.parquet"} - set(digests):
            if place.entry(name):
                place.remove([name])
    except FileProblem as problem:
        raise FileProblem(
            f"{problem}; the new result is there, manifest.json names its files, but so are files of an earlier one",
            problem.transient,
        ) from None


def make_room(connection: duckdb.DuckDBPyConnection) -> int:
    """Prepares for rows as long as these; returns how many a Parquet row group may have, which is held in memory whole.

    Rows of the result are longer than those of the files where several vendors fill one, or a strategy collects: unless all rows of all
    files are short, it looks for the most rows of which no group takes over 64 MB.
    """
    [[together, long]] = connection.execute(
        "select coalesce(sum(largest_row_bytes), 0), coalesce(sum(long_row_bytes), 0) from stg_files"
    ).fetchall()
    if together <= 1000 and long == 0:
        return ROW_GROUP
    names = [
        name
        for name, kind, *_ in connection.execute("describe merged_result").fetchall()
        if kind == "VARCHAR"
    ]
    size = f"coalesce(list_sum([{', '.join(f'strlen({sql_name(name)})' for name in names)}]), 0)"
    [[rows]] = connection.execute(f"""
        with blocks as (
            select (place - 1) // 16 as block, sum(bytes) as bytes
            from (select {size} as bytes, row_number() over () as place from merged_result)
            group by 1
        ),
        row_groups as (
            select s.rows, sum(b.bytes) as bytes
            from blocks as b cross join (select unnest([16 << k for k in range(14)]) as rows) as s
            group by s.rows, b.block // (s.rows // 16)
        )
        select coalesce(max(rows), 16)
        from (select rows from row_groups group by rows having max(bytes) <= 64000000)""").fetchall()  # noqa: S608 -- names are quoted
    rows = min(rows, ROW_GROUP)
    if rows < ROW_GROUP:
        connection.execute("set threads = 1")  # each would hold rows of its own
        connection.execute(f"set partitioned_write_flush_threshold = {max(rows, 2048)}")
    return int(rows)


def write(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    table: str,
    name: str,
    partition_by: list[str],
    export: dict[str, Any],
    row_group: int = ROW_GROUP,
) -> str:
    """Writes a table in one format, as the spec's ``export`` says; returns the file's name. Partitioned Parquet is a folder."""
    file = f"{table}.{name}"
    rows = f"select * from {sql_name(table)}"  # noqa: S608
    if name == "csv":
        options = "format csv, header true, delimiter ',', quote '\"', escape '\"', nullstr ''"
        if export.get("escape_formulas"):
            rows = escaped(connection, table)
    else:
        options = f"format parquet, compression zstd, row_group_size {row_group}"
        if partition_by:
            options += f", partition_by ({', '.join(map(sql_name, partition_by))})"
    connection.execute(f"copy ({rows}) to {sql_text(folder / file)} ({options})")
    if name == "csv" and export.get("bom"):
        mark(folder / file)
    return file


def write_checks(
    connection: duckdb.DuckDBPyConnection, folder: Path, checks: list[dict[str, Any]], export: dict[str, Any]
) -> str:
    """Writes the outcomes of a merge's checks as checks.csv (name, status, failures), in order of their names; returns the file's name."""
    shape = '[{"name": "VARCHAR", "status": "VARCHAR", "failures": "BIGINT"}]'
    connection.execute(
        f"create or replace temp table checks as select unnest(from_json($1, '{shape}'), recursive := true)",
        [json.dumps([{name: check[name] for name in ("name", "status", "failures")} for check in checks])],
    )
    connection.execute(
        "create or replace temp table checks as select name, status, failures from checks order by name"
    )
    return write(connection, folder, "checks", "csv", [], export)


# White space and all that shows nothing. An importer may drop it, so what comes after it counts as the start.
INVISIBLE = (
    r"\pZ\p{Cc}\p{Cf}\x{034F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{2800}\x{3164}"
    r"\x{FE00}-\x{FE0F}\x{FFA0}"
)
# What a spreadsheet may run, by OWASP's list ("CSV Injection"), anywhere an importer may see the start of a cell ...
FORMULA = rf"^(?:[\t\r\n]|[{INVISIBLE}]*[=+\-@＝＋－＠])"
# ... but for E.164 phone numbers and negative numbers, which are values. A number with + is a phone number, so that
# only E.164 is exempt there: a spreadsheet may reckon +1-555-0100 out, as -654.
HARMLESS = r"^(?:\+[0-9]{7,15}|-[0-9]+(?:[.,][0-9]+)?)$"


def escape(text: str) -> str:
    """Returns SQL that puts an apostrophe before a text which a spreadsheet would run as a formula."""
    runs = f"regexp_matches({text}, {sql_text(FORMULA)}) and not regexp_matches({text}, {sql_text(HARMLESS)})"
    return f"case when {runs} then '''' || {text} else {text} end"


def escaped(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """Returns the query of a table whose texts and headers start no formula; numbers, dates and booleans stay as they are."""
    columns = [row[:2] for row in connection.execute(f"describe {sql_name(table)}").fetchall()]
    taken = {column.lower() for column, _ in columns}
    outputs = []
    for column, kind in columns:
        [[header]] = connection.execute(f"select {escape('$1')}", [column]).fetchall()
        while header != column and header.lower() in taken:  # another column is called so already
            header = "'" + header
        taken.add(header.lower())
        value = escape(sql_name(column)) if kind == "VARCHAR" else sql_name(column)
        outputs.append(f"{value} as {sql_name(header)}")
    return f"select {', '.join(outputs)} from {sql_name(table)}"  # noqa: S608


def mark(path: Path) -> None:
    """Puts the UTF-8 mark before a file: DuckDB writes none itself before a header."""
    bare = path.with_name(f"{path.name}.bare")
    path.rename(bare)
    with bare.open("rb") as source, path.open("wb") as target:
        target.write(codecs.BOM_UTF8)
        shutil.copyfileobj(source, target, 1 << 20)
    bare.unlink()


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
    """Renames a file over its target; a folder can't be renamed over one, so that is removed first."""
    if source.is_dir() or target.is_dir():
        remove(target)
    os.replace(source, target)


def settle(path: Path) -> None:
    """Waits until a file, or each file in a folder, is safely on disk."""
    for part in path.rglob("*") if path.is_dir() else [path]:
        if part.is_file():
            with part.open("rb") as file:
                os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Removes a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
