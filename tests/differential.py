"""Holds this version against another commit of the project: random merges run on both, and what comes out is compared.

    python tests/differential.py cases 0 200 > cases.json                # random merges, the same for the same numbers
    .venv/bin/python tests/differential.py run cases.json > new.json      # what this version makes of them
    OTHER/.venv/bin/python tests/differential.py run cases.json --project OTHER > old.json
    python tests/differential.py compare old.json new.json               # what differs; exit code 1 if anything does

Of each merge there is a hash for every published table, and for every relation that users read, by its columns and rows. Rows of
what is published count in their order. An old version takes as long as a new one, so its results are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
ORDERED = ["merged_result", "merge_changes", "unmatched_enriched", "vendor_scorecard", "review_queue"]
# what a relation says of the run and the disk, not of the merge
LEFT_OUT = {"stg_files": ["path", "fingerprint"], "file_profile": ["path"], "int_cells": ["record_id"]}
PLANNED = ["files", "crm", "vendor", "tiers", "groups", "evidence", "guards", "record_id"]
# what a file's columns mean stg_columns says
UNPLANNED = {
    "path",
    "shown",
    "fingerprint",
    "column_map",
    "reject_problem",
    "blocked_texts",
    "notes",
    "columns",
    "tiers",
    "file_ranks",
}
RELATIONS = [
    *ORDERED,
    *("crosswalk", "cell_provenance", "merge_conflicts", "row_ledger", "guard_events", "rejected_rows"),
    *("file_profile", "file_summary", "merge_summary"),
    *(
        "stg_files",
        "stg_columns",
        "int_match_keys",
        "int_entities",
        "int_entity_ids",
        "int_matches",
        "int_cells",
    ),
]


def cases(first: int, last: int) -> list[dict[str, Any]]:
    """Returns random merges with everything that a spec may ask for, each as JSON."""
    from hypothesis import HealthCheck, Phase, given, seed, settings

    from tests.random_merges import Case, audited

    found: list[dict[str, Any]] = []
    for number in range(first // 50, -(-last // 50)):
        drawn: list[dict[str, Any]] = []

        @seed(number)
        @settings(
            max_examples=50, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=audited())
        def draw(case: Case) -> None:
            drawn.append({"seed": f"{number}/{len(drawn)}"} | asdict(case))  # noqa: B023 -- called at once

        draw()
        found += drawn
    return found[first % 50 :][: last - first]


def run(wanted: list[dict[str, Any]], project: Path, rows: str | None, command: str) -> dict[str, Any]:
    """Returns, by the seed of each case, a hash of every relation of the merge, or its problems; the code is that of the project."""
    sys.path.insert(0, str(project))
    os.chdir(project)
    from tests.conftest import Runner, merge_tables
    from tests.oracle import Table

    if rows:
        os.environ["CRM_MERGE_PART_ROWS"] = rows
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        runner = Runner(Path(place) / "dbt")
        for case in wanted:
            original = Table(**case["original"])
            enriched = [(name, Table(**table)) for name, table in case["enriched"]]
            merge = merge_tables(
                runner, Path(place), case["spec"], original, enriched, command=command, select=None
            )
            found[case["seed"]] = hashes(merge) | plan_of(merge) if merge.ok else {"problems": merge.problems}
            print(f"{len(found)} of {len(wanted)}", end="\r", file=sys.stderr, flush=True)
    return found


def hashes(merge: Any) -> dict[str, str]:
    """Returns a hash of each relation of a merge: its columns, and its rows as text, sorted unless their order counts."""
    found = {}
    with merge.connect() as connection:
        for name in RELATIONS:
            columns = [row[0] for row in connection.execute(f'describe "{name}"').fetchall()]
            kept = [column for column in columns if column not in LEFT_OUT.get(name, [])]
            names = ", ".join('"' + column.replace('"', '""') + '"' for column in kept)
            found_rows = connection.execute(f'select {names} from "{name}"').fetchall()
            rows = [re.sub(r"/[^'\s]*/files_[0-9]+/", "", repr(row)) for row in found_rows]
            rows = rows if name in ORDERED else sorted(rows)
            found[name] = hashlib.sha256("\n".join([repr(kept), *rows]).encode()).hexdigest()[:12]
    return found


def plan_of(merge: Any) -> dict[str, str]:
    """Returns a hash of each thing that the plan of a merge says, but of places on the disk, and of what is not said."""
    import duckdb

    file = merge.directory / ".crm-merge" / "landing" / "plan.parquet"
    plan = json.loads(duckdb.sql(f"select plan from '{file}'").fetchall()[0][0])["plan"]
    found = {}
    for name in PLANNED:
        text = json.dumps(said(plan[name]), sort_keys=True)
        found[f"plan {name}"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return found


def said(value: Any) -> Any:
    """Returns a part of a plan without what it does not say."""
    if isinstance(value, dict):
        kept = {key: said(inner) for key, inner in value.items() if key not in UNPLANNED}
        return {key: inner for key, inner in kept.items() if inner is not None}
    return [said(inner) for inner in value] if isinstance(value, list) else value


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Returns a line for each merge that differs."""
    lines = []
    for seed in sorted(old.keys() | new.keys()):
        if seed not in old or seed not in new:
            lines.append(f"{seed}: only in {'the first' if seed in old else 'the second'}")
        elif old[seed] != new[seed]:
            names = sorted(
                {name for name in old[seed] | new[seed] if old[seed].get(name) != new[seed].get(name)}
            )
            lines.append(f"{seed}: {', '.join(names)}")
    return lines


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("cases")
    made.add_argument("first", type=int)
    made.add_argument("last", type=int)
    ran = commands.add_parser("run")
    ran.add_argument("cases", type=Path)
    ran.add_argument("--project", type=Path, default=HERE)
    ran.add_argument(
        "--checks", action="store_true", help="run the checks as well, which takes twice as long"
    )
    ran.add_argument("--part-rows", help="CRM_MERGE_PART_ROWS: the most rows of a part")
    held = commands.add_parser("compare")
    held.add_argument("old", type=Path)
    held.add_argument("new", type=Path)
    given = parser.parse_args()
    if given.command == "cases":
        sys.path.insert(0, str(HERE))
        json.dump(cases(given.first, given.last), sys.stdout)
    elif given.command == "run":
        wanted = json.loads(given.cases.read_text(encoding="utf-8"))
        json.dump(
            run(wanted, given.project.resolve(), given.part_rows, "build" if given.checks else "run"),
            sys.stdout,
            indent=0,
        )
    else:
        old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (given.old, given.new))
        lines = compare(old, new)
        print("\n".join([*lines, f"{len(old.keys() & new.keys())} merges compared, {len(lines)} differ"]))
        sys.exit(bool(lines))


if __name__ == "__main__":
    main()
