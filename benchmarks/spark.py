"""A merge on a standalone Spark cluster of one master and two workers on this machine, beside the same merge on DuckDB.

    python benchmarks/spark.py [--rows 1000000] [--hub 0] [--folder FOLDER]

Prints seconds of both, and from Spark's own event log what it shuffled and spilled and how evenly its tasks were loaded; writes
spark.json beside this file. Both merge and check everything and publish the same bytes, which is compared. --hub adds so
many vendor rows that share one phone number.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import workload

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
KEYS = "match_on: [email, phone, linkedin]"
DEFAULTS = """spark.eventLog.enabled true
spark.eventLog.dir file://{folder}/events
spark.eventLog.rolling.enabled false
spark.eventLog.compress false
spark.driver.memory 2g
spark.executor.memory 3g
spark.executor.cores 1
"""


def merge(spec: Path, place: Path, target: str, environment: dict[str, str]) -> float:
    """Runs one merge as a user does; returns seconds of the whole process."""
    started = time.monotonic()
    subprocess.run(
        [PROJECT / ".venv/bin/crm-merge", "run", spec, "--dir", place, "--target", target],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | environment,
    )
    return time.monotonic() - started


def figures(log: Path) -> dict[str, Any]:
    """What an event log tells: bytes shuffled and spilled, task seconds, and the stages of many rows with the share of the largest task.

    Stages of fewer than 100,000 rows are left out of the latter: their tasks are few because they are small.
    """
    total: dict[str, float] = defaultdict(float)
    rows: dict[int, list[int]] = defaultdict(list)
    names: dict[int, str] = {}
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if event["Event"] == "SparkListenerStageCompleted":
                names[event["Stage Info"]["Stage ID"]] = event["Stage Info"]["Stage Name"]
            if event["Event"] != "SparkListenerTaskEnd" or "Task Metrics" not in event:
                continue
            metrics = event["Task Metrics"]
            read, written = metrics["Shuffle Read Metrics"], metrics["Shuffle Write Metrics"]
            total["tasks"] += 1
            total["failed_tasks"] += event["Task End Reason"]["Reason"] != "Success"
            total["task_seconds"] += metrics["Executor Run Time"] / 1000
            total["shuffled_bytes"] += written["Shuffle Bytes Written"]
            total["spilled_bytes"] += metrics["Disk Bytes Spilled"]
            total["largest_result_bytes"] = max(total["largest_result_bytes"], metrics["Result Size"])
            taken = read["Total Records Read"] + metrics["Input Metrics"]["Records Read"]
            rows[event["Stage ID"]].append(taken)
    large = {stage: sorted(taken) for stage, taken in rows.items() if sum(taken) >= 100_000}
    uneven = sorted(
        (
            {
                "stage": names.get(stage, str(stage))[:60], "tasks": len(taken), "rows": sum(taken),
                "largest_task_rows": taken[-1], "median_task_rows": int(statistics.median(taken)),
            }
            for stage, taken in large.items()
        ),
        key=lambda stage: stage["largest_task_rows"] / stage["rows"],
        reverse=True,
    )  # fmt: skip
    return {name: round(value) for name, value in total.items()} | {
        "stages": len(rows),
        "stages_of_100k_rows": len(large),
        "of_one_task": sum(len(taken) == 1 for taken in large.values()),
        "most_uneven": uneven[:5],
    }


def main() -> None:
    """Runs the benchmark that the command line asks for."""
    from tests.servers import spark_cluster

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows of the CRM; a vendor file has 0.6 of it"
    )
    parser.add_argument("--hub", type=int, default=0, help="vendor rows that share one phone number")
    parser.add_argument("--folder", type=Path, help="where the files and merges go; else a temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crm-merge-spark-", dir=given.folder) as name:
        folder = Path(name)
        (folder / "events").mkdir()
        (folder / "conf").mkdir()
        (folder / "conf/spark-defaults.conf").write_text(DEFAULTS.format(folder=folder))
        workload.write(given.rows, folder / "files")
        spec = folder / "files/spec.yml"
        spec.write_text(spec.read_text().replace("match_on: [email]", KEYS))
        assert KEYS in spec.read_text()
        with (folder / "files/v1.csv").open("a") as vendor:
            for n in range(given.hub):
                vendor.write(
                    f"hub{n}@corp{n}.com,(212) 200 0000,,Agent,City {n % 9},Industry 1,v1-h{n},{n},,\n"
                )
        found: dict[str, Any] = {
            "rows": given.rows,
            "hub": given.hub,
            "load_before": round(os.getloadavg()[0], 2),
        }
        found["duckdb_seconds"] = round(merge(spec, folder / "duckdb", "duckdb", {}), 1)
        with spark_cluster(folder) as cluster:
            environment = {
                "SPARK_MASTER": cluster.url, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_CONF_DIR": str(folder / "conf"),
            }  # fmt: skip
            found["spark_seconds"] = round(merge(spec, folder / "spark", "spark", environment), 1)
        digests = [
            hashlib.sha256((folder / engine / "out/merged_result.csv").read_bytes()).hexdigest()
            for engine in ("duckdb", "spark")
        ]
        assert digests[0] == digests[1], "the two engines published different results"
        [log] = (folder / "events").iterdir()
        found |= figures(log)
    found["ratio"] = round(found["spark_seconds"] / found["duckdb_seconds"], 1)
    target = Path(__file__).with_suffix(".json")
    results = json.loads(target.read_text()) if target.exists() else {}
    results[f"{given.rows} rows, hub of {given.hub}"] = found
    target.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
