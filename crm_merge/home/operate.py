"""Starts the deployment: Dagster's pages and its daemon, on storage in the home."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from crm_merge import PROJECT
from crm_merge.engine import forks
from crm_merge.home import folders

PATIENCE = 20  # seconds that the deployment's processes have to end when they are told to, and again when they are left over


class OperateProblem(Exception):
    """Why the deployment can't be started, as a sentence."""


def prepare() -> Path:
    """Makes the home's folders and Dagster's settings where they are missing; returns Dagster's own folder."""
    if find_spec("dagster_webserver") is None:
        raise OperateProblem(
            "Dagster is not installed here; install crm-merge with its extra: pip install 'crm-merge[dagster]'"
        )
    folder = folders.folder()
    if "," in folders.specs():
        raise OperateProblem(
            f"CRM_MERGE_SPECS: '{folders.specs()}' holds a comma, which separates places in CRM_MERGE_INPUT_ROOTS; use another folder"
        )
    try:
        own = folder / "dagster"
        own.mkdir(parents=True, exist_ok=True)
        if not (own / "dagster.yaml").exists():
            shutil.copyfile(PROJECT / "orchestration" / "dagster.yaml", own / "dagster.yaml")
        if "://" not in folders.specs():
            Path(folders.specs()).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperateProblem(f"CRM_MERGE_HOME: '{folder}' can't be used: {error.strerror}") from None
    return own


def confine() -> None:
    """Sees to it that merges read only from where specs are dropped, in each process that loads the definitions.

    A spec that anyone may drop must not read this machine's own files: CRM_MERGE_INPUT_ROOTS says what else it may.
    """
    if not os.environ.get("CRM_MERGE_INPUT_ROOTS", "").strip():
        os.environ["CRM_MERGE_INPUT_ROOTS"] = folders.specs()


def environment() -> dict[str, str]:
    """Returns the environment of Dagster's processes: absolute places, and time for the sensor."""
    return {
        "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "300",  # a look at thousands of specs
        **os.environ,
        "DAGSTER_HOME": str(folders.folder() / "dagster"),
        "CRM_MERGE_HOME": str(folders.folder()),
        "CRM_MERGE_SPECS": folders.specs(),
    }


def start(host: str, port: int) -> int:
    """Runs ``dagster dev``, pages and daemon in one, until it ends or this process is told to end; returns its exit code.

    Dagster ends well on an interrupt only, and a container's or a service's manager sends SIGTERM: that is passed on as one.
    Nothing of the deployment outlives this process, unless that is killed.
    """
    own = prepare()
    with only_one(own) as lock:
        port_is_free(host, port)
        command = [
            *(sys.executable, "-m", "dagster", "dev", "--module-name", "orchestration.definitions"),
            *("--host", host, "--port", str(port)),
        ]
        told: list[
            int
        ] = []  # not an Event: a handler that sets one which this thread waits for stops it for good
        # Before the deployment starts: a signal that this process ignores, as a shell's background job does SIGINT, is
        # ignored by what it starts as well, and one that it handles is not.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: told.append(number))
        with forks.Server(wait=False) as server:  # what the deployment's merges are forked from
            # in a session of its own, so that a terminal's Ctrl-C comes once, from here
            deployment = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=environment() | {forks.SOCKET: server.address},
                start_new_session=True,
                pass_fds=[lock],  # held as long as either lives
            )
            while deployment.poll() is None and not told:
                server.keep_up()
                time.sleep(0.2)
            if deployment.poll() is None:
                deployment.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    deployment.wait(PATIENCE)
            ended = deployment.poll()
            end_all_of(deployment.pid)
        return 0 if ended is None else ended


@contextmanager
def only_one(own: Path) -> Iterator[int]:
    """Yields a file that is locked, so that a home has one deployment: two daemons would start each run twice."""
    with open(own / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OperateProblem(
                f"CRM_MERGE_HOME: '{own.parent}' is the home of a deployment that runs already; end that one, or set another home"
            ) from None
        yield lock.fileno()


def port_is_free(host: str, port: int) -> None:
    """Raises OperateProblem if the pages can't be had at that address: Dagster would take another port, or run without pages."""
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else "a port is a number from 1 to 65535"
        raise OperateProblem(
            f"the pages can't be at {host}:{port}: {why}; name another port with --port (make dagster PORT=…)"
        ) from None


def end_all_of(group: int) -> None:
    """Ends what is left of a process group: asks, waits for PATIENCE seconds at most, and then doesn't ask."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(group, number)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                with suppress(ChildProcessError):
                    os.waitpid(-group, os.WNOHANG)  # in a container this process is who must do that
                os.killpg(group, 0)
            except ProcessLookupError:
                return
            time.sleep(0.2)
