"""A real deployment for tests: Dagster's webserver and daemon on a free port, ended with the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT


@dataclass
class Deployment:
    """A running deployment: its home, the URL of its pages."""

    home: Path
    url: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Returns what the pages' GraphQL answers."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        return found["data"]

    def runs(self) -> list[dict[str, Any]]:
        """Returns all runs, oldest first: runId, status, jobName, creationTime, startTime, endTime (seconds since 1970), tags {name: value}."""
        found = self.ask(
            "{ runsOrError(limit: 500) { __typename ... on Runs { results {"
            " runId status jobName creationTime startTime endTime tags { key value } } } } }"
        )
        runs = found["runsOrError"]["results"][::-1]
        for run in runs:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
        return runs

    def merges(self) -> list[dict[str, Any]]:
        """Returns the runs of merges, oldest first, each with its merge's name."""
        found = [run for run in self.runs() if "dagster/partition" in run["tags"]]
        for run in found:
            run["merge"] = run["tags"]["dagster/partition"]
        return found

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """Returns the events of a run: __typename, message."""
        found = self.ask(
            "query($id: ID!) { logsForRun(runId: $id, limit: 1000) { ... on EventConnection {"
            " events { __typename ... on MessageEvent { message } } } } }",
            id=run_id,
        )
        return found["logsForRun"]["events"]


def wait(what: str, true: Callable[[], Any], seconds: float = 180, log: Path | None = None) -> Any:
    """Waits until something is true; returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.5)
    raise AssertionError(
        f"after {seconds} s still not: {what}" + (f"\n{log.read_text()[-3000:]}" if log else "")
    )


@contextmanager
def deployment(home: Path, **environment: str) -> Iterator[Deployment]:
    """Starts a deployment, waits until its pages answer, ends all of its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home.mkdir(parents=True, exist_ok=True)
    log = home / "deployment.log"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "CRM_MERGE"))}
    with log.open("w") as written:
        process = subprocess.Popen(
            [PROJECT / ".venv/bin/crm-merge", "dagster", "--port", str(port)],
            env={**kept, "CRM_MERGE_HOME": str(home), **environment},
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    started = Deployment(home, f"http://127.0.0.1:{port}")

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            return bool(started.ask("{ version }")) and bool(
                started.ask("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")[
                    "workspaceOrError"
                ]["locationEntries"][0]["loadStatus"]
                == "LOADED"
            )
        except OSError:
            return False

    try:
        wait("the pages answer", answers, log=log)
        yield started
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
