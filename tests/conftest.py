"""Merges as tests need them: files written, dbt run in this process, the database opened."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

from crm_merge.engine import child, compiled, forks, manifest
from crm_merge.engine.dbt_run import sentences
from tests.oracle import Table, load_seeds

child.leave_out_debug_events()
child.read_calendars_once()
compiled.Kept().install()
PROJECT = Path(__file__).resolve().parent.parent
MERGE = ["+merged_result", "+crosswalk", "+guard_events"]


def write_csv(path: Path, table: Table, **options: Any) -> Path:
    """Writes a table as a plain CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", **options)
        writer.writerow(table.headers)
        writer.writerows(table.rows)
    return path


@dataclass
class Merge:
    """A merge that ran: whether it succeeded, its problems as sentences, its database to query."""

    directory: Path
    ok: bool
    problems: list[str]

    def connect(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(self.directory / "merge.duckdb"), read_only=True)

    def query(self, sql: str) -> list[tuple]:
        with self.connect() as connection:
            return connection.execute(sql).fetchall()

    def table(self, name: str) -> Table:
        """A relation as text, '' for null, in its stored order."""
        with self.connect() as connection:
            cursor = connection.execute(f'select * from "{name}"')
            headers = [column[0] for column in cursor.description]
            rows = [[as_text(cell) for cell in row] for row in cursor.fetchall()]
        return Table(headers, rows)


def as_text(cell: Any) -> str:
    """A value as the exports write it."""
    return "" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell)


class Runner:
    """Runs dbt in this process on one parsed project, which is several times faster than a process each."""

    def __init__(self, place: Path):
        self.place = place
        self.count = 0
        self.manifest = manifest.load("duckdb")

    def invoke(self, command: list[str], directory: Path, spec: Any) -> Any:
        os.environ["CRM_MERGE_DIR"] = str(directory)
        arguments = [
            *(
                "--quiet",
                *command,
                "--project-dir",
                str(PROJECT),
                "--profiles-dir",
                str(PROJECT / "profiles"),
            ),
            *("--log-level", "none", "--log-level-file", "none"),
            *("--target-path", str(self.place / "target"), "--vars", json.dumps({"merge": spec})),
        ]
        try:
            return dbtRunner(manifest=getattr(self, "manifest", None)).invoke(arguments)
        finally:
            if DuckDBConnectionManager._ENV is not None:
                DuckDBConnectionManager._ENV.close()
                DuckDBConnectionManager._ENV = None

    def __call__(self, spec: Any, *, command: str = "run", select: list[str] | None = MERGE) -> Merge:
        self.count += 1
        directory = self.place / f"merge_{self.count}"
        result = self.invoke([command, *(["--select", *select] if select else [])], directory, spec)
        messages = [str(result.exception)] if result.exception else []
        messages += [
            node.message
            for node in getattr(result.result, "results", None) or []
            if node.status in ("error", "fail") and node.message
        ]
        return Merge(
            directory, result.success, [sentence for message in messages for sentence in sentences(message)]
        )


def example_spec() -> dict[str, Any]:
    """The smallest spec that parses; its files need not exist."""
    return {
        "original": {"path": "a.csv"},
        "enriched": [{"name": "b", "path": "b.csv"}],
        "match_on": ["email"],
    }


@pytest.fixture(scope="session", autouse=True)
def fork_server() -> Iterator[None]:
    """Processes that run dbt are forked from one that has imported it: a second less for each."""
    with forks.Server() as server:
        os.environ[forks.SOCKET] = server.address
        yield
        os.environ.pop(forks.SOCKET)


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """The project, parsed once."""
    return Runner(tmp_path_factory.mktemp("dbt"))


@pytest.fixture(scope="session")
def seeds() -> dict[str, Any]:
    """The reference seeds as the oracle takes them."""
    return load_seeds(PROJECT / "seeds" / "reference")


@pytest.fixture
def merge(runner: Runner, tmp_path: Path) -> Callable[..., Merge]:
    """Merges tables: merge(spec, original, [(name, table), …]); paths of the spec are filled in."""
    return lambda *args, **options: merge_tables(runner, tmp_path, *args, **options)


def merge_tables(
    runner: Runner,
    folder: Path,
    spec: dict[str, Any],
    original: Table,
    enriched: list[tuple[str, Table]],
    **options: Any,
) -> Merge:
    """Writes the tables, and assertions given as rows, to CSV files; completes the spec with their paths; merges."""
    folder = folder / f"files_{runner.count}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wanted = json.loads(json.dumps(spec))
    wanted["original"] = {"path": str(write_csv(folder / "original.csv", original))} | wanted.get(
        "original", {}
    )
    given = {block["name"]: block for block in wanted.get("enriched", [])}
    wanted["enriched"] = [
        {"name": name, "path": str(write_csv(folder / f"{name}.csv", table))} | given.get(name, {})
        for name, table in enriched
    ]
    if isinstance(wanted.get("assertions"), list):
        lines = wanted["assertions"]
        headers = list(lines[0]) if lines else ["decision", "a_source", "a_row", "b_source", "b_row"]
        decisions = Table(headers, [[line[header] for header in headers] for line in lines])
        wanted["assertions"] = str(write_csv(folder / "decisions.csv", decisions))
    return runner(wanted, **options)
