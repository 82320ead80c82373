"""The read-only copy of a merge's marts, for people who query while the next merge runs."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

import duckdb

from crm_merge.engine import limits
from crm_merge.engine.sql import sql_name, sql_text

# The marts; what is between the files and them stays in the merge directory.
TABLES = [
    *("merged_result", "merge_changes", "unmatched_enriched", "crosswalk"),
    *("merge_summary", "file_summary", "vendor_scorecard"),
    *("cell_provenance", "merge_conflicts", "review_queue", "guard_events", "row_ledger", "rejected_rows", "file_profile"),
]  # fmt: skip


def copy(merge: Path, folder: Path) -> tuple[Path, dict[str, int]]:
    """Copies the marts of a merge directory to ``folder/merge.duckdb``; returns the file and the rows of each table, which
    ``folder/manifest.json`` says as well.

    All are tables of the file itself, so it can be taken anywhere. Who has the old file open goes on reading it; who
    opens it after the rename reads the new one. Raises OSError and duckdb.Error; the old file is then untouched.
    """
    target = folder / "merge.duckdb"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(".new-*"):  # of a copy that was killed
        old.unlink(missing_ok=True)
    new = folder / f".new-{os.getpid()}.duckdb"
    rows = {}
    try:
        with duckdb.connect(config=limits.settings(merge)) as connection:
            connection.execute(f"attach {sql_text(merge / 'merge.duckdb')} as merge (read_only)")
            connection.execute(f"attach {sql_text(new)} as copied")
            connection.execute("use merge")  # its views name their tables without it
            for table in TABLES:
                to, source = f"copied.main.{sql_name(table)}", f"merge.main.{sql_name(table)}"
                connection.execute(f"create table {to} as select * from {source}")  # noqa: S608
                counted = connection.execute(f"select count(*) from {to}").fetchone()  # noqa: S608
                rows[table] = counted[0] if counted else 0
            connection.execute("checkpoint copied")
            connection.execute("use memory")
            connection.execute("detach copied")
        with new.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(new, target)
        said = {"tables": rows, "copied_at": datetime.now(timezone.utc).isoformat(timespec="seconds")}
        new.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        os.replace(new, folder / "manifest.json")
    finally:
        new.unlink(missing_ok=True)
        Path(f"{new}.wal").unlink(missing_ok=True)
    return target, rows
