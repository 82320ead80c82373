"""Starts the deployment: Dagster's pages and its daemon, on storage in the home."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from orchestration import dbt_run, home


class OperateProblem(Exception):
    """Why the deployment can't be started, as a sentence."""


def prepare() -> Path:
    """Makes the home's folders and Dagster's settings where they are missing; returns Dagster's own folder."""
    if find_spec("dagster_webserver") is None:
        raise OperateProblem(
            "Dagster is not installed here; install crm-merge with its extra: pip install 'crm-merge[dagster]'"
        )
    folder = home.folder()
    if "," in home.specs():
        raise OperateProblem(
            f"CRM_MERGE_SPECS: '{home.specs()}' holds a comma, which separates places in CRM_MERGE_INPUT_ROOTS; use another folder"
        )
    try:
        own = folder / "dagster"
        own.mkdir(parents=True, exist_ok=True)
        if not (own / "dagster.yaml").exists():
            shutil.copyfile(Path(__file__).with_name("dagster.yaml"), own / "dagster.yaml")
        if "://" not in home.specs():
            Path(home.specs()).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperateProblem(f"CRM_MERGE_HOME: '{folder}' can't be used: {error.strerror}") from None
    return own


def confine() -> None:
    """Sees to it that merges read only from where specs are dropped, in each process that loads the definitions.

    A spec that anyone may drop must not read this machine's own files: CRM_MERGE_INPUT_ROOTS says what else it may.
    """
    if not os.environ.get("CRM_MERGE_INPUT_ROOTS", "").strip():
        os.environ["CRM_MERGE_INPUT_ROOTS"] = home.specs()


def environment() -> dict[str, str]:
    """Returns the environment of Dagster's processes: absolute places, and time for the sensor."""
    return {
        "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "300",  # a look at thousands of specs
        **os.environ,
        "DAGSTER_HOME": str(home.folder() / "dagster"),
        "CRM_MERGE_HOME": str(home.folder()),
        "CRM_MERGE_SPECS": home.specs(),
    }


def start(host: str, port: int) -> int:
    """Runs ``dagster dev``, pages and daemon in one, until it ends or this process is told to end; returns its exit code.

    Dagster ends well on an interrupt only, and a container's or a service's manager sends SIGTERM: that is passed on as one.
    """
    prepare()
    command = [
        *(sys.executable, "-m", "dagster", "dev", "--module-name", "orchestration.definitions"),
        *("--host", host, "--port", str(port)),
    ]
    # in a session of its own, so that a terminal's Ctrl-C comes once, from here
    deployment = subprocess.Popen(command, cwd=dbt_run.PROJECT, env=environment(), start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(
            number, lambda *_: deployment.send_signal(signal.SIGINT) if deployment.poll() is None else None
        )
    return deployment.wait()
