"""Measures this project against the same merge by hand, in time and memory; see benchmarks/README.md.

    python benchmarks/merge.py [--rows 10k 100k 1M 10M] [--only a d curve skew] [--folder FOLDER]

Every run is a process of its own. This one stays small and imports nothing that is not Python's own: on Linux a new
process starts with its parent's peak memory, so whatever this one held would be counted as the child's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
BENCH = PROJECT / "benchmarks"
THREADS = "2"
PEERS = ["polars", "pandas", "full_outer_join", "copy_through"]
# the first design's six, each by hand; DuckDB's two have one script
OPTIONS = ["csv_stream", "duckdb_in_memory", "duckdb_on_disk", "postgres", "arrow", "task_queue"]
SCRIPTS = {"duckdb_in_memory": ["duckdb"], "duckdb_on_disk": ["duckdb", "--on-disk"]}
LIMITED = ["duckdb_in_memory", "duckdb_on_disk", "postgres"]  # those that can keep to a limit
CURVE = ["core", "full", *PEERS]
FILLED = ["Email", "Phone", "LinkedIn", "Title", "City"]  # what vendors may fill in W(n)
NEW = ["industry", "vendor_id", "employees"]
SKEWS = {  # rows of the smaller of the two sizes
    "hot_key": 200_000,
    "big_vendor": 200_000,
    "wide": 20_000,
    "many_vendors": 200_000,
    "long_cells": 10_000,
}
SCRIPTS_OF = {"plain": ["workload.py"], "real": ["wide.py"]}
DISK = {
    "wide": 30_000,
    "long_cells": 300_000,
    "forty": 12_000,
    "real": 20_000,
}  # bytes that a row of the CRM takes in all; else:
DISK_OF_A_ROW = 3_500


@dataclass(frozen=True)
class Run:
    """What is run: a program on a workload of n rows, under settings."""

    label: str
    program: str
    n: int
    workload: str = "plain"
    limit: str = "500MB"
    match_on: str = "email"
    guards: str = "on"
    cells: float = 1  # of all files, per row of the CRM: what seconds are divided by


@dataclass(frozen=True)
class Task:
    """A row of the table: its runs take turns. ``ratio`` is of the first label against the second."""

    key: str
    title: str
    runs: tuple[Run, ...]
    times: int
    must: float | None = None
    aim: float | None = None
    clock: str = "seconds"
    memory: str = ""  # what the table says of memory: share of the peer's, or MB at most
    agree: bool = False

    @property
    def n(self) -> int:
        """The largest size."""
        return max(run.n for run in self.runs)


def tasks(sizes: list[int], scale: float, subjects: list[str], times: int | None) -> list[Task]:
    """Every row of the table whose largest size is wanted, then the curves; scale makes small ones to try with."""

    def rows(n: int) -> int:
        return max(int(n * scale), 100)

    m1, m5, m10, m100 = rows(1_000_000), rows(5_000_000), rows(10_000_000), rows(100_000_000)
    small, h100 = rows(10_000), rows(100_000)
    few, many = times or 2, times or 5
    every_key = "email,phone,linkedin"
    core, whole, polars = "core", "whole", "polars"
    process = "process_seconds"
    sized: list[tuple[int, Task]] = [
        (1_000_000, Task("a", "W(1M), core, against Polars", (
            Run(core, core, m1), Run(polars, polars, m1),
        ), many, 3.5, 1, memory="900 MB", agree=True)),
        (1_000_000, Task("b", "W(1M), the whole command, against Polars", (
            Run(whole, whole, m1), Run(polars, polars, m1),
        ), many, 8, clock=process, memory="900 MB")),
        (10_000_000, Task("c", "W(10M), core, against Polars", (
            Run(core, core, m10), Run(polars, polars, m10),
        ), few, 2.5, 0.5, memory="900 MB", agree=True)),
        (10_000_000, Task("d", "W(10M), the whole command, against Polars", (
            Run(whole, whole, m10), Run(polars, polars, m10),
        ), few, 7, clock=process, memory="900 MB")),
        (10_000_000, Task("d'", "W(10M), the whole command and every model of it, against W(1M)", (
            Run("10M", whole, m10), Run("1M", whole, m1),
        ), few, 12, clock=process, memory="900 MB")),
        (10_000_000, Task("e", "W(10M), the whole command, against W(5M)", (
            Run("10M", whole, m10), Run("5M", whole, m5),
        ), few, 2.2, clock=process, memory="900 MB")),
        (1_000_000, Task("f", "W(1M), the whole command on e-mail, phone and LinkedIn, against e-mail", (
            Run("three keys", whole, m1, match_on=every_key), Run("e-mail", whole, m1),
        ), many, 1.5, clock=process, memory="900 MB")),
        (10_000_000, Task("f'", "W(10M), the whole command on e-mail, phone and LinkedIn, against e-mail", (
            Run("three keys", whole, m10, match_on=every_key), Run("e-mail", whole, m10),
        ), few, 1.5, clock=process, memory="900 MB")),
        (1_000_000, Task("g", "W(1M) with 40 columns per vendor against 10, per cell of all files, the whole command", (
            Run("40 columns", whole, m1, "forty", cells=12 + 1.8 * 40), Run("10 columns", whole, m1, cells=12 + 1.8 * 10),
        ), times or 3, 1.2, clock=process, memory="900 MB")),
        (1_000_000, Task("h", "R(1M), the whole command, against R(100k)", (
            Run("1M", whole, m1, "real"), Run("100k", whole, h100, "real"),
        ), few, 11, clock=process, memory="900 MB")),
        (1_000_000, Task("i", "W(1M), the whole command, a limit of 200 MB against 500 MB", (
            Run("200MB", whole, m1, limit="200MB"), Run("500MB", whole, m1),
        ), times or 3, 1.5, clock=process, memory="550 MB")),
        (1_000_000, Task("i'", "W(1M), the whole command, a limit of 4 GB against 500 MB", (
            Run("4GB", whole, m1, limit="4GB"), Run("500MB", whole, m1),
        ), times or 3, 0.9, clock=process)),
        (100_000_000, Task("k", "W(100M), core, against W(10M)", (
            Run("100M", core, m100), Run("10M", core, m10),
        ), 1, 12, memory="900 MB")),
        (10_000, Task("s", "10,000 rows, the whole command, against one model in dbt, both parsed before", (
            Run("merge", whole, small), Run("one model", "dbt_one", small),
        ), many, clock=process)),
        *((size, Task(f"options {rows(size)}", f"W({rows(size):,}), the six options of the first design", tuple(
            Run(program, program, rows(size), limit="500MB") for program in ("core", *OPTIONS)
        ), times or 3, agree=True)) for size in (100_000, 1_000_000)),
    ]  # fmt: skip
    found = [task for size, task in sized if size in sizes]
    for size in sizes:
        n = rows(size)
        runs = tuple(Run(program, program, n) for program in CURVE if program in subjects)
        found.append(Task(f"curve {n}", f"W({n:,})", runs, many if size <= 1_000_000 else few, agree=True))
    for kind, size in SKEWS.items():
        runs = tuple(
            Run(f"{'2n' if double else 'n'}, guards {guards}", "core", rows(size) * (1 + double), kind,
                match_on=every_key, guards=guards)
            for guards in ("on", "off") for double in (True, False)
        )  # fmt: skip
        found.append(
            Task(f"skew {kind}", f"{kind.replace('_', ' ')}, n = {rows(size):,}", runs, times or 1, 2.3)
        )
    if scale != 1:
        found = [replace(task, title=f"{task.title}; tried with {task.n:,} rows") for task in found]
    return found


# -- One run --


class Failed(Exception):
    """A run that did not end well."""


def measured(
    command: list[str], environment: dict[str, str], log: Path, most_memory: int, timeout: float
) -> dict[str, Any]:
    """Runs a command to its end: its last line of output, seconds, peak memory of it or its largest child."""
    with log.with_suffix(".out").open("w+") as out, log.with_suffix(".err").open("w+") as err:
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=out, stderr=err, start_new_session=True
        )
        over: list[str] = []
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.2):
                try:
                    resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                except (OSError, IndexError):
                    resident = 0
                if resident * os.sysconf("SC_PAGE_SIZE") > most_memory:
                    over.append(f"stopped at {most_memory / 1e9:.1f} GB of memory")
                if time.monotonic() - started > timeout:
                    over.append(f"stopped after {timeout:.0f} s")
                if over:
                    os.killpg(process.pid, signal.SIGKILL)
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
        finally:
            done.set()
            watcher.join()
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        lines = out.read().splitlines()
        if process.returncode:
            told = [line for line in err.read().splitlines() if "Error" in line or "error" in line]
            told = told or lines[-3:] or [f"ended with {process.returncode}"]
            raise Failed(over[0] if over else told[-1][:300])
    last = lines[-1] if lines else ""
    return {
        "process_seconds": round(seconds, 3),
        "peak_mb": round(usage.ru_maxrss * 1024 / 1e6, 1),
        "last": last,
    }


@dataclass
class Bench:
    """Where runs happen and what they may take."""

    folder: Path
    peers_python: Path
    most_memory: int
    timeout: float
    keep: bool

    def environment(self, run: Run) -> dict[str, str]:
        """The environment of a run: no settings but the benchmark's own."""
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("DUCKDB_", "POLARS_", "CRM_MERGE_"))
        }
        clean |= {
            "PYTHONPATH": str(PROJECT),
            "DUCKDB_THREADS": THREADS,
            "POLARS_MAX_THREADS": THREADS,
            "OMP_NUM_THREADS": THREADS,  # Arrow's, under pandas
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        if run.program not in PEERS + OPTIONS or run.program in LIMITED:
            clean["DUCKDB_MEMORY_LIMIT"] = run.limit
        return clean

    def source(self, run: Run) -> Path:
        """The folder of a run's workload."""
        return self.folder / f"{run.workload}-{run.n}"

    def generate(self, run: Run) -> None:
        """Makes a run's workload, unless it is there."""
        target = self.source(run)
        if (target / "spec.yml").exists():
            return
        need = run.n * DISK.get(run.workload, DISK_OF_A_ROW)
        free = shutil.disk_usage(self.folder).free
        if free < need:
            raise SystemExit(
                f"{run.workload} of {run.n:,} rows takes about {need / 1e9:.1f} GB in {self.folder}, {free / 1e9:.1f} GB are free"
            )
        say(f"generating {run.workload} of {run.n:,} rows")
        script = SCRIPTS_OF.get(run.workload) or ["skew.py", run.workload]
        command = [sys.executable, str(BENCH / script[0]), *script[1:], str(run.n), str(target)]
        subprocess.run(command, check=True, cwd=PROJECT)

    def discard(self, wanted: set[Path]) -> None:
        """Removes the workloads that no later task wants."""
        if not self.keep:
            for path in self.folder.glob("*-*"):
                if path not in wanted:
                    shutil.rmtree(path, ignore_errors=True)

    def once(self, run: Run, output: Path) -> dict[str, Any]:
        """One run; its output is left at the path. Returns its figures, or why it failed."""
        place = self.folder / "merge"
        shutil.rmtree(place, ignore_errors=True)
        log = self.folder / "run"
        try:
            if run.program in PEERS + OPTIONS:
                name, *options = SCRIPTS.get(run.program, [run.program])
                script = str(BENCH / "peers" / f"{name}_peer.py")
                found = self.measure(
                    [str(self.peers_python), script, str(self.source(run)), str(output), *options], run, log
                )
                return found | {"seconds": round(float(found.pop("last")), 3)}
            if run.program == "dbt_one":
                return self.one_model(run, place, log)
            if run.program == "whole":
                return self.whole(run, place, output, log)
            command = [sys.executable, str(BENCH / "core.py"), str(self.source(run) / "spec.yml"), str(place)]
            command += ["--match-on", run.match_on, "--guards", run.guards]
            found = self.measure([*command, *(["--full"] if run.program == "full" else [])], run, log)
            clocks = json.loads(found.pop("last"))
            if "failed" in clocks:
                raise Failed(clocks["failed"])
            (place / "out" / "merged_result.csv").replace(output)
            return found | clocks
        except Failed as failure:
            return {"failed": str(failure).replace(str(self.folder), "FOLDER")}
        finally:
            shutil.rmtree(place, ignore_errors=True)
            for leftover in self.folder.glob(f"{output.stem}.*"):
                if leftover != output:
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def measure(self, command: list[str], run: Run, log: Path) -> dict[str, Any]:
        """A measured process of a run."""
        return measured(command, self.environment(run), log, self.most_memory, self.timeout)

    def whole(self, run: Run, place: Path, output: Path, log: Path) -> dict[str, Any]:
        """``crm-merge run`` as a user runs it: every model, every check, every published file."""
        spec = self.source(run) / f"{run.match_on}.yml"
        text = (self.source(run) / "spec.yml").read_text(encoding="utf-8")
        if run.workload != "real":
            text = text.replace("match_on: [email]", f"match_on: [{run.match_on}]")
        spec.write_text(text, encoding="utf-8")
        command = Path(sys.executable).with_name("crm-merge")
        found = self.measure([str(command), "run", str(spec), "--dir", str(place)], run, log)
        found.pop("last")
        files = json.loads((place / "out" / "manifest.json").read_text(encoding="utf-8"))["files"]
        (place / "out" / "merged_result.csv").replace(output)
        return found | {
            "sha256": next(file["sha256"] for file in files if file["name"] == "merged_result.csv"),
            "published": {file["name"]: file["sha256"] for file in files},
            "nodes": seconds_of_nodes(place / "logs" / "dbt.log"),
        }

    def one_model(self, run: Run, place: Path, log: Path) -> dict[str, Any]:
        """``dbt run`` of a project of one model, twice, the second time measured: it finds the project parsed."""
        place.mkdir()
        project = place / "one"
        write_one_model(project)
        arguments = ["run", "--project-dir", str(project), "--profiles-dir", str(project)]
        arguments += ["--target-path", str(place / "target"), "--log-path", str(place / "logs")]
        command = [sys.executable, "-c", "from dbt.cli.main import cli; cli()", *arguments]
        environment = self.environment(run) | {"CRM_MERGE_DIR": str(place)}
        measured(command, environment, log, self.most_memory, self.timeout)
        found = measured(command, environment, log, self.most_memory, self.timeout)
        found.pop("last")
        return found

    def same(self, run: Run, ours: Path, theirs: Path) -> str:
        """Whether a peer's output holds the same cells as ours, row by row: 'equal', or what differs."""
        columns = [*FILLED, *NEW] if run.program != "copy_through" else []
        command = [sys.executable, str(BENCH / "agreement.py"), str(ours), str(theirs), *columns]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr.strip()[-300:]


def seconds_of_nodes(log: Path) -> dict[str, float]:
    """How long each model and each check took, by dbt's log."""
    found = {}
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if event["info"]["name"] in ("LogModelResult", "LogTestResult"):
                node = event["data"]["node_info"]["node_name"]
                found[node] = round(event["data"]["execution_time"], 2)
    return found


def write_one_model(project: Path) -> None:
    """A dbt project of one model on DuckDB."""
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: one\nversion: 1.0.0\nconfig-version: 2\nprofile: one\n")
    (project / "models" / "one.sql").write_text("{{ config(materialized='table') }} select 1 as one\n")
    output = {"type": "duckdb", "path": str(project / "one.duckdb"), "threads": 1}
    profile = {"one": {"target": "dev", "outputs": {"dev": output}}}
    (project / "profiles.yml").write_text(json.dumps(profile))  # JSON is YAML


# -- A task --


def perform(bench: Bench, task: Task, results: dict[str, Any], save: Any) -> None:
    """The runs of a task, in turn as often as it says; saves what is known after each."""
    kept = results["tasks"].setdefault(task.key, {})
    kept |= {
        "title": task.title, "n": task.n, "must": task.must, "aim": task.aim, "memory": task.memory,
        "clock": task.clock, "machine": machine(),
    }  # fmt: skip
    samples = kept.setdefault("samples", {})
    agreement = kept.setdefault("agreement", {})
    for run in task.runs:
        samples[run.label] = []
    hopeless: set[str] = set()
    ours: Path | None = None
    for turn in range(task.times):
        for run in task.runs:
            if run.label in hopeless:
                continue
            bench.generate(run)
            output = bench.folder / f"output_{run.program}.csv"
            found = bench.once(run, output)
            samples[run.label].append({"n": run.n, "cells": run.cells} | found)
            say(f"{task.key:<16} {turn + 1}/{task.times}  {run.label:<18} {brief(found, task.clock)}")
            if "failed" in found:
                hopeless.add(run.label)
            elif task.agree and turn == 0:
                if run.program == "core":
                    ours = output.rename(bench.folder / "ours.csv")
                elif ours and run.program != "full":
                    agreement[run.label] = bench.same(run, ours, output)
                    say(f"{'':<16} {run.label}: {agreement[run.label]}")
            output.unlink(missing_ok=True)
            save()
    if ours:
        ours.unlink(missing_ok=True)
    same_bytes(task, samples, agreement)
    save()


def same_bytes(task: Task, samples: dict[str, Any], agreement: dict[str, str]) -> None:
    """Notes whether this project's runs on the same files by the same rules gave the same bytes, as they must."""
    first: dict[tuple[Any, ...], tuple[str, str]] = {}
    for run in task.runs:
        for sample in samples[run.label]:
            if "sha256" in sample:
                rules = (run.n, run.workload, run.match_on, run.guards)
                label, expected = first.setdefault(rules, (run.label, sample["sha256"]))
                if sample["sha256"] != expected:
                    agreement[run.label] = f"DIFFERENT bytes than a run of {label}"
                elif label != run.label and not agreement.get(run.label, "").startswith("DIFFERENT"):
                    agreement[run.label] = f"the same bytes as {label}"


def brief(found: dict[str, Any], clock: str) -> str:
    """A run's figures in a line."""
    if "failed" in found:
        return f"FAILED: {found['failed']}"
    return f"{found[clock]:9.2f} s {found['peak_mb']:9.0f} MB"


def say(text: str) -> None:
    """Prints a line at once."""
    print(text, flush=True)


def machine() -> dict[str, Any]:
    """What the figures depend on; nothing that names the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    model = platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude", "*"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    pins = (line.split("#")[0].strip() for line in (BENCH / "requirements.txt").read_text().splitlines())
    peers = dict(pin.split("==") for pin in pins if pin)
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": commit.stdout.strip(),
        "cores": os.cpu_count(),
        "threads": int(THREADS),
        "cpu": model,
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("dbt-core", "dbt-duckdb", "duckdb")}
        | {name: peers[name] for name in ("polars", "pandas", "pyarrow")},
        "load_before": round(os.getloadavg()[0], 1),
    }


def size(text: str) -> int:
    """A number of rows: 10k, 1M, 250000."""
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    return int(float(text[:-1] if factor > 1 else text) * factor)


def main() -> None:
    """Measures what is asked for and renews the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=size, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument(
        "--only", nargs="+", default=[], help="a to k, s, options, curve, skew, or one skew by its name"
    )
    parser.add_argument("--subjects", nargs="+", default=CURVE, choices=CURVE, help="who is on the curve")
    parser.add_argument("--runs", type=int, help="how often; else 5 up to a million rows, then 2, skew 1")
    parser.add_argument("--folder", type=Path, help="where to work; else a temporary folder")
    parser.add_argument("--results", type=Path, default=BENCH / "results", help="where results are kept")
    parser.add_argument("--peers-python", type=Path, default=PROJECT / ".venv-bench" / "bin" / "python")
    parser.add_argument(
        "--scale", type=float, default=1, help="of the rows' sizes, to try the benchmark itself"
    )
    parser.add_argument("--timeout", type=float, default=3600, help="seconds that one run may take")
    parser.add_argument("--keep", action="store_true", help="leave the generated workloads in --folder")
    given = parser.parse_args()
    chosen = [
        task for task in tasks(given.rows, given.scale, given.subjects, given.runs)
        if not given.only or {task.key, *task.key.split()} & set(given.only)
    ]  # fmt: skip
    if given.keep and not given.folder:
        parser.error("--keep needs a --folder to keep workloads in")
    if not chosen:
        parser.error("nothing to measure: no such row of the table at these sizes")
    given.results.mkdir(parents=True, exist_ok=True)
    path = given.results / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {"tasks": {}}

    def save() -> None:
        part = path.with_suffix(".part")
        part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        part.replace(path)

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended, too
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.folder) as scratch:
        folder = (given.folder if given.keep else Path(scratch)).resolve()
        bench = Bench(folder, given.peers_python.absolute(), int(memory * 0.85), given.timeout, given.keep)
        for position, task in enumerate(chosen):
            perform(bench, task, results, save)
            bench.discard({bench.source(run) for later in chosen[position + 1 :] for run in later.runs})
    subprocess.run(
        [str(given.peers_python.absolute()), str(BENCH / "report.py"), str(given.results)], check=True
    )


if __name__ == "__main__":
    main()
