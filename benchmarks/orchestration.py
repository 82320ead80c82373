"""What orchestration adds to a small merge: a run in a deployment against `crm-merge run`, on the same files, in turns.

    python benchmarks/orchestration.py [--rows 10000] [--runs 3]

A real deployment is started (benchmarks need what tests need). For each turn a new spec is dropped; the clock of the deployment runs from Dagster's
record of the run to its end, and apart from the drop to that record, which is the sensor's interval.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "benchmarks")]

import workload  # noqa: E402

from tests.deployment import deployment, wait  # noqa: E402


def main() -> None:
    """Runs both in turns; prints medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    taken: dict[str, list[float]] = {"drop to run": [], "deployment": [], "crm-merge run": []}
    with tempfile.TemporaryDirectory() as folder:
        files, specs = Path(folder) / "files", Path(folder) / "specs"
        files.mkdir()
        workload.write(given.rows, files)
        with deployment(Path(folder) / "home", CRM_MERGE_SPECS=str(specs)) as place:
            for turn in range(given.runs + 1):
                name = f"turn{turn}"
                shutil.copytree(files, specs / name, ignore=shutil.ignore_patterns("*.yml"))
                time.sleep(6)  # the files have settled; what is measured is not that wait
                dropped = time.time()
                text = (files / "spec.yml").read_text(encoding="utf-8").replace("path: ", f"path: {name}/")
                (specs / f"{name}.yml").write_text(text, encoding="utf-8")

                def ended(name: str = name) -> dict | None:
                    runs = [run for run in place.merges() if run["merge"] == name]
                    return runs[0] if runs and runs[0]["status"] in ("SUCCESS", "FAILURE") else None

                run = wait("the merge has ended", ended, 300)
                assert run["status"] == "SUCCESS"
                started = time.perf_counter()
                subprocess.run(
                    [
                        PROJECT / ".venv/bin/crm-merge",
                        "run",
                        files / "spec.yml",
                        "--dir",
                        Path(folder) / name,
                    ],
                    check=True,
                    capture_output=True,
                )
                alone = time.perf_counter() - started
                if turn:  # the first warms both
                    taken["drop to run"].append(run["creationTime"] - dropped)
                    taken["deployment"].append(run["endTime"] - run["creationTime"])
                    taken["crm-merge run"].append(alone)
    medians = {name: round(statistics.median(seconds), 2) for name, seconds in taken.items()}
    medians["added"] = round(medians["deployment"] - medians["crm-merge run"], 2)
    print(json.dumps({"rows": given.rows, "runs": given.runs, "seconds": medians}))


if __name__ == "__main__":
    main()
