"""Runs one merge and prints its clocks as a line of JSON; a process of its own for benchmarks/merge.py.

    python benchmarks/core.py SPEC DIR [--full] [--match-on email,phone] [--guards off]

Without --full it is the core of a merge: the result, the accounts of the files, the export; no tests, no audit.
The clock runs from the first look at the spec and the files, which dbt's first hook takes, to the last rename.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from crm_merge.engine import dbt_run  # noqa: E402
from crm_merge.merging import publish  # noqa: E402
from crm_merge.spec import yaml_file  # noqa: E402

CORE = ["run", "--select", "+merged_result", "+file_summary"]
GUARDS_OFF = {"hub": "off", "contradiction": "off", "max_entity_size": "off"}


def first_look(log: Path) -> float:
    """When dbt's first hook began to be rendered, which is when the spec and the files are read; seconds since 1970."""
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if event["info"]["name"] == "LogHookStartLine":
                # not the event's own time: it comes when the hook has been rendered
                started = datetime.fromisoformat(event["data"]["node_info"]["node_started_at"])
                return started.replace(tzinfo=timezone.utc).timestamp()
    raise ValueError("dbt's log has no hook")


def export(place: Path) -> Path:
    """Publishes merged_result.csv alone, as a merge publishes it."""
    out = place / "out"
    staging = out / ".publishing-core"
    staging.mkdir(parents=True)
    with publish.connect(place) as connection:
        file = publish.write(connection, staging, "merged_result", "csv", [], {})
    publish.put(staging / file, out / file)
    staging.rmdir()
    return out / file


def main() -> None:
    """Merges, publishes, prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("spec", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--full", action="store_true", help="everything: the audit, the tests, the reports")
    parser.add_argument("--match-on", default="email")
    parser.add_argument("--guards", choices=["on", "off"], default="on")
    given = parser.parse_args()
    spec = yaml_file.load(given.spec) | {"match_on": given.match_on.split(",")}
    if given.guards == "off":
        spec["guards"] = GUARDS_OFF
    place = given.directory.resolve()
    place.mkdir(parents=True)

    called = time.time()
    outcome = dbt_run.run(["build"] if given.full else CORE, place, spec)
    merged = time.time()
    if not outcome.ok:
        print(json.dumps({"failed": "; ".join(outcome.problems)[:500]}))
        return
    hashing = 0.0
    described = publish.described

    def timed(path: Path) -> dict[str, Any]:
        nonlocal hashing
        before = time.time()
        try:
            return described(path)
        finally:
            hashing += time.time() - before

    if given.full:
        publish.described = timed
        manifest = publish.publish(place, spec, 0)
        ended = time.time()
        file = next(file for file in manifest["files"] if file["name"] == "merged_result.csv")
        inside = hashing  # publishing hashes before it renames
    else:
        path = export(place)
        ended = time.time()
        file, inside = timed(path), 0.0
    started = first_look(place / "logs" / "dbt.log")
    found = {
        "seconds": ended - started - inside,
        "start_seconds": started - called,
        "export_seconds": ended - merged - inside,
        "hash_seconds": hashing,
        "dbt_peak_mb": outcome.peak_memory / 1e6,
        "sha256": file["sha256"],
        "bytes": file["bytes"],
        "models": {node.name: round(node.seconds, 2) for node in outcome.nodes if node.kind == "model"},
    }
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}))


if __name__ == "__main__":
    main()
