"""Runs dbt on one merge directory as a process of its own, and reads its events.

A process of its own: its memory and its lock on the DuckDB file end with it.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from crm_merge import PROJECT
from crm_merge.engine import forks, limits, manifest, planning, spark
from crm_merge.plan.make import unreadable
from crm_merge.plan.model import Unfit
from crm_merge.spec.check import WrongSpec

TARGET_PATHS = {
    "duckdb": "target",
    "spark": "target_spark",
    "spark_thrift": "target_spark",
}  # dbt's caches are one target's
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
PATIENCE = 30  # seconds that dbt has to end when it is interrupted


@dataclass
class Node:
    """A dbt node that ended: its kind (model, test), name, outcome, seconds, rows if it is a model."""

    kind: str
    name: str
    unique_id: str
    status: str
    seconds: float
    done: int
    total: int
    rows: int | None = None


@dataclass
class Check:
    """A check that was asked: its name, the model that it is about, pass | warn | fail | error, the rows that it complains of (none after an
    error), seconds, and, where it complains, its query and the statements to run before that name the part of the rows."""

    name: str
    relation: str
    status: str
    failures: int | None
    seconds: float
    query: str = ""
    settings: str = ""


@dataclass
class Outcome:
    """How a dbt run ended.

    ok; problems: sentences; transient: all of them pass by themselves (a server that can't be reached); nodes that ended; checks that were
    asked; asking: the one that is being asked; resumed: what dbt says of an earlier run that it resumes; needs: about how much disk and memory,
    in bytes; peak_memory: bytes, 0 if it is not known, as of Spark; peak_spill: the most that was spilled at once, in bytes; target: dbt's.
    """

    ok: bool
    problems: list[str] = field(default_factory=list)
    transient: bool = False
    nodes: list[Node] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    asking: Check | None = None
    resumed: str = ""
    needs: dict[str, int] = field(default_factory=dict)
    peak_memory: int = 0
    peak_spill: int = 0
    target: str = "duckdb"

    def failed(self) -> list[Check]:
        """Returns the checks that complain of rows."""
        return [check for check in self.checks if check.status == "fail"]


# what a stream tells: a node that ended, a check that was asked, the name of a part that begins
Event = Node | Check | str


@dataclass
class Begun:
    """A process that imports dbt, and waits to be told what to do: started anew, or forked from the server that has done so."""

    process: subprocess.Popen[str] | forks.Forked
    environment: dict[str, str]
    directory: Path
    target: str

    def give_up(self) -> None:
        """Ends the process, which was told nothing."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()
        self.process.wait()


def begin(directory: Path, target: str = "duckdb", resume: bool = False) -> Begun:
    """Starts the process that is to run dbt in a merge directory, while the caller profiles files and plans."""
    environment = {
        # glibc gives each thread a heap of its own, and none of them gives back what another could use
        "MALLOC_ARENA_MAX": "2",
        # settings of dbt's own are not for a merge: DBT_EMPTY would read no row, DBT_EXCLUDE_RESOURCE_TYPES ask no test
        **{name: value for name, value in os.environ.items() if not name.startswith("DBT_")},
        "CRM_MERGE_DIR": str(directory),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }
    environment.pop(planning.PLAN, None)
    if resume:
        environment["CRM_MERGE_RESUME"] = "1"
    if target != "duckdb":
        environment |= spark.environment(directory)
    process = forks.started() or subprocess.Popen(
        [sys.executable, "-m", "crm_merge.engine.child"],
        env=environment,
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    return Begun(process, environment, directory, target)


def run(
    command: list[str],
    directory: Path,
    spec: dict[str, Any],
    on_node: Callable[[Node], None] = lambda node: None,
    resume: bool = False,
    on_part: Callable[[str], None] = lambda part: None,
) -> Outcome:
    """Runs ``dbt <command>`` for the spec in the merge directory; calls ``on_node`` as each node ends and ``on_part`` as a part of one begins."""
    return follow(planned(command, directory, spec, resume), on_node, on_part)


def follow(
    events: Generator[Event, None, Outcome],
    on_node: Callable[[Node], None] = lambda node: None,
    on_part: Callable[[str], None] = lambda part: None,
) -> Outcome:
    """Goes through what a stream tells; returns how it ended."""
    while True:
        try:
            event = next(events)
        except StopIteration as ended:
            return ended.value
        if isinstance(event, Node):
            on_node(event)
        elif isinstance(event, str):
            on_part(event)


def planned(
    command: list[str], directory: Path, spec: dict[str, Any], resume: bool = False
) -> Generator[Event, None, Outcome]:
    """Plans the merge of the spec while dbt starts, then runs ``dbt <command>`` with DuckDB: yields and returns as ``stream`` does.

    What is wrong with the spec or its files ends it before dbt does anything.
    """
    try:
        planning.usable(spec)
    except WrongSpec as wrong:
        return Outcome(ok=False, problems=[mistake.sentence() for mistake in wrong.mistakes])
    begun = begin(directory, resume=resume)
    try:
        plan = planning.plan_of(spec, directory)
        if command[0] == "build" and (problems := unreadable(plan)):
            raise Unfit("A file has rows that can not be read.", problems)
        planning.keep(plan, spec, directory)
    except Unfit as unfit:
        begun.give_up()
        return Outcome(ok=False, problems=unfit.problems, transient=unfit.transient)
    except BaseException:
        begun.give_up()
        raise
    del plan
    return (yield from with_kept_plan(command, begun, spec))


def with_kept_plan(command: list[str], begun: Begun, spec: dict[str, Any]) -> Generator[Event, None, Outcome]:
    """Runs ``dbt <command>`` by the plan that is kept in the merge directory: yields and returns as ``stream`` does."""
    begun.environment[planning.PLAN] = str(planning.file_of(begun.directory))
    return (yield from stream(command, begun, spec))


def stream(command: list[str], begun: Begun, spec: dict[str, Any]) -> Generator[Event, None, Outcome]:
    """Runs ``dbt <command>`` for the spec in the process that was begun: yields each node as it ends, each check as it is answered
    and the name of each part as it begins, and returns how it ended."""
    directory, target, process, environment = begun.directory, begun.target, begun.process, begun.environment
    arguments = [
        *("--log-format", "json", "--log-level", "info", "--no-quiet", "--no-write-json"),
        *(["--log-level-file", "debug"] if os.environ.get("CRM_MERGE_DEBUG") else []),
        *("--log-path", str(directory / "logs"), *command),
        *manifest.arguments(),
        *("--target", target, "--target-path", str(directory / TARGET_PATHS[target])),
        *("--vars", as_yaml({"merge": spec})),
    ]
    outcome = Outcome(ok=False, target=target)
    spilled = Spilled(limits.spill_folder(directory))
    rows: dict[str, int] = {}
    unread: list[str] = []
    assert process.stdin is not None and process.stdout is not None
    said_by_engine = directory / "logs" / "spark.log" if target != "duckdb" else None
    request = {
        "arguments": arguments, "target": target, "environment": environment, "directory": str(PROJECT), "umask": umask(),
        "said_by_engine": str(said_by_engine or ""),
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
    }  # fmt: skip
    with suppress(BrokenPipeError):  # it has ended already, and says below why
        process.stdin.write(json.dumps(request))
        process.stdin.close()
    try:
        for line in process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                unread.append(line.rstrip())
                continue
            message = event.get("info", {}).get("msg") or ""
            if message.startswith("crm-merge part: "):
                yield message.removeprefix("crm-merge part: ")
            if told := read_event(event, outcome, rows):
                yield told
    except BaseException:
        process.terminate()  # interrupted: dbt's own handler closes the database
        raise
    finally:
        try:
            process.wait(PATIENCE if sys.exc_info()[0] else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        outcome.peak_spill = spilled.stop()
    outcome.ok = process.returncode == 0
    if said_by_engine and said_by_engine.exists() and not outcome.ok:
        with said_by_engine.open("rb") as engine:
            engine.seek(max(said_by_engine.stat().st_size - 100_000, 0))
            unread += engine.read().decode("utf-8", "replace").splitlines()
    if outcome.ok and any(map(is_spoilt_event, unread)):
        outcome.ok, outcome.transient = False, True
        outcome.problems = [
            "something wrote between two events of dbt, so a step is not known to have passed; run it again"
        ]
    if isinstance(process, forks.Forked) and process.lost:
        outcome.transient = True
        outcome.problems = [
            "the process that merges are forked from was ended, and this merge with it; run it again"
        ]
    outcome.peak_memory = peak_memory(process)
    if any(
        re.search("JAVA_GATEWAY_EXITED|stopped SparkContext|masters are unresponsive", problem)
        for problem in outcome.problems
    ):
        said = [
            line.strip() for line in unread if line.strip() and not line.startswith(("Using", "To adjust"))
        ]
        outcome.problems = [
            f"Spark did not start, or no master answered for a minute: SPARK_MASTER is '{environment.get('SPARK_MASTER', 'local[*]')}',"
            f" JAVA_HOME is '{environment.get('JAVA_HOME', '')}'. The last that it said: {(said or ['nothing'])[-1][:500]}"
        ]
    if not outcome.ok and outcome.asking:
        outcome.checks.append(outcome.asking)  # it, or its process, ended in an error
    outcome.asking = None
    if not outcome.ok and not outcome.problems and not outcome.failed():
        code = process.returncode or 0
        ended = f"dbt was ended by signal {-code}" if code < 0 else f"dbt ended with exit code {code}"
        outcome.problems = [line for line in unread[-5:] if line] or [ended]
    return outcome


def is_spoilt_event(line: str) -> bool:
    """Is a line that is no JSON an event of dbt's, or part of one, that something else was written into?"""
    return '"info": {' in line or '"node_info": {' in line


def as_yaml(value: Any) -> str:
    """Returns a value on one line of YAML, which is how dbt reads its vars: JSON is not, for 1e-05 and characters such as 😀."""
    return yaml.dump(
        value, Dumper=DUMPER, default_flow_style=True, allow_unicode=False, sort_keys=False, width=1 << 30
    )


def umask() -> int:
    """Returns the rights that this process takes from files that it makes."""
    found = os.umask(0o77)
    os.umask(found)
    return found


def peak_memory(process: subprocess.Popen[str] | forks.Forked) -> int:
    """Returns the most memory, in bytes, that a process that ended has had."""
    if isinstance(process, forks.Forked):
        return process.peak_memory
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def of_project(command: list[str], folder: Path) -> str:
    """Runs ``dbt <command>`` for the project itself, in a folder of the deployment; returns '' or the end of what went wrong."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from dbt.cli.main import cli; cli()", *command),
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT / "profiles")),
            *("--target-path", str(folder), "--log-path", str(folder)),
        ],
        env={
            **os.environ,
            "CRM_MERGE_DIR": str(folder),
            "CRM_MERGE_INPUT_ROOTS": str(
                PROJECT / "seeds"
            ),  # the example's files, wherever merges may read from
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        },
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return (done.stdout + done.stderr)[-2000:] if done.returncode else ""


class Spilled:
    """Looks every second how large the spill folder is."""

    def __init__(self, folder: Path):
        self.folder, self.most = folder, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        """Keeps the most bytes that were there at once."""
        while not self.ended.wait(1):
            size = 0
            with suppress(OSError):
                for file in os.scandir(self.folder):
                    size += file.stat().st_size
            self.most = max(self.most, size)

    def stop(self) -> int:
        """Ends looking; returns the most bytes seen."""
        self.ended.set()
        self.thread.join()
        return self.most


EVERY_CHECK = "every_check_passes"  # the test that reads merge_checks
HEADLINE = re.compile(r"(Failure|Error) in \w+ \S+( \(.*\))?")


def read_event(event: dict[str, Any], outcome: Outcome, rows: dict[str, int]) -> Node | Check | None:
    """Takes from one dbt event what people are shown; returns the node that it says has ended, or the check that was asked."""
    info, data = event.get("info", {}), event.get("data", {})
    name, message = info.get("name"), info.get("msg") or ""
    if found := re.match(r"rows of (\S+): (\d+)$", message):
        rows[found[1]] = int(found[2])
    elif message.startswith("crm-merge needs: "):
        outcome.needs = json.loads(message.removeprefix("crm-merge needs: "))
    elif message == "crm-merge transient: true":
        outcome.transient = True
    elif message.startswith("crm-merge resumes: "):
        outcome.resumed = message.removeprefix("crm-merge resumes: ")
    elif found := re.match(r"crm-merge part: the check (\w+) of (\w+)$", message):
        outcome.asking = Check(found[1], found[2], "error", None, 0.0)
    elif message.startswith("crm-merge check: "):
        check, outcome.asking = Check(**json.loads(message.removeprefix("crm-merge check: "))), None
        outcome.checks.append(check)
        return check
    elif name in ("LogModelResult", "LogTestResult"):
        node = data.get("node_info", {})
        node_name = data.get("name") or node.get("node_name", "")
        done = Node(
            kind=node.get("resource_type", ""),
            name=node.get("node_name", node_name),
            unique_id=node.get("unique_id", ""),
            # what a model's own status says is the engine's answer, such as OK
            status=node.get("node_status") or data.get("status", ""),
            seconds=data.get("execution_time", 0.0),
            done=data.get("index", 0),
            total=data.get("total") or data.get("num_models", 0),
        )
        done.rows = rows.get(done.name)
        outcome.nodes.append(done)
        return done
    elif info.get("level") == "error":
        if data.get("node_info", {}).get("node_name") == EVERY_CHECK and outcome.failed():
            return None  # who reads the outcome is told of each check that failed
        if "crm-merge: " in message and outcome.problems and HEADLINE.fullmatch(outcome.problems[-1]):
            outcome.problems.pop()  # a model that refuses says itself what is wrong
        outcome.problems += [
            problem for problem in sentences(message, outcome.needs) if problem not in outcome.problems
        ]
    return None


def sentences(message: str, needs: dict[str, int] | None = None) -> list[str]:
    """Returns what a dbt error says to the user: the merge's own problems one by one, else its first lines."""
    if "crm-merge: " in message:
        body = message.split("crm-merge: ", 1)[1].split("(end of crm-merge message)")[0]
        lines = [line.strip() for line in body.splitlines() if line.strip()]
        return [line.removeprefix("- ") for line in lines[1:]] or lines
    if re.search(r"Out of Memory|failed to allocate|could not allocate", message, re.IGNORECASE):
        limit = os.environ.get("DUCKDB_MEMORY_LIMIT", "500MB")
        enough = max((needs or {}).get("memory", 0), int(1.5 * limits.in_bytes(limit)), limits.LEAST_MEMORY)
        several = os.environ.get("DUCKDB_THREADS") != "1" and limits.in_bytes(limit) >= limits.LEAST_MEMORY
        fewer = ", or try DUCKDB_THREADS=1" if several else ""
        return [
            f"the merge ran out of its memory limit of {limit}; set DUCKDB_MEMORY_LIMIT to at least {limits.amount(enough).replace(' ', '')}{fewer}."
            f" The engine said: {first_line(message)}"
        ]
    if re.search(
        r"No space left|disk quota|max_temp_directory_size|not enough space", message, re.IGNORECASE
    ):
        need = f"; this merge needs about {limits.amount(needs['disk'])} in all" if needs else ""
        spilled = os.environ.get("DUCKDB_TEMP_LIMIT")
        if spilled and "max_temp_directory_size" in message:
            return [
                f"the merge may spill {spilled}, which is too little{need}; give DUCKDB_TEMP_LIMIT more. The engine said: {first_line(message)}"
            ]
        return [
            f"a disk is full{need}: make room, or use another disk: --dir (CRM_MERGE_DIR) for the merge, DUCKDB_TEMP_DIR to spill to."
            f" The engine said: {first_line(message)}"
        ]
    if "Could not set lock" in message:
        return [
            "another process has this merge directory's merge.duckdb open; close it, or use another --dir"
        ]
    text = re.sub(r"\x1b\[[0-9;]*m", "", message).strip()
    if "Traceback (most recent call last)" in text:
        text = text.splitlines()[-1]  # the exception; where it was raised is in the log
    # of a Java error its first lines; where it was raised is in the log
    text = re.split(r"\n\s+at |JVM stacktrace:", text)[0].strip()
    return [text] if text else []


def first_line(message: str) -> str:
    """Returns the line of a DuckDB error that says what happened."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return next((line for line in lines if "Error" in line and ":" in line), lines[0] if lines else "")
