"""crm-merge upload SPEC TO."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Annotated

import typer
from rich.progress import (
    Progress,
    TaskID,
)
from rich.table import Table

from crm_merge.cli.common import Spec, interrupted, printable, screen, sending, stop
from crm_merge.cli.running import fail
from crm_merge.engine import dbt_run, limits
from crm_merge.merging import upload
from crm_merge.spec import yaml_file

commands = typer.Typer()


@commands.command("upload")
def upload_files(
    spec: Spec,
    to: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX/", help="Where to.")],
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=8, help="How many files at a time.")] = 4,
) -> None:
    """Checks the local files of a spec, uploads them and then the spec; run again, it repairs what is missing."""
    signal.signal(signal.SIGTERM, interrupted)
    if wrong := limits.problems():
        stop(wrong)
    try:
        wanted = upload.prepare(spec, to)
        with sending() as bar:
            task = bar.add_task("checking the files", total=None)
            upload.check(wanted)
            total = sum(item.size for item in wanted.items if not item.state)
            bar.update(task, description="comparing with what is there", total=total)
            upload.compare(wanted, jobs, lambda item, size: bar.advance(task, size))
            bar.remove_task(task)
            upload.send(wanted, jobs, each_file(bar, wanted))
    except (upload.UploadProblem, yaml_file.SpecProblem) as problem:
        told = dbt_run.Outcome(ok=False, problems=getattr(problem, "problems", [str(problem)]))
        fail(spec, told, None)
    except KeyboardInterrupt:
        stop(["interrupted; what is there already stays, the spec is not there: run again to go on"])
    table = Table(box=None, pad_edge=False)
    for name in ("file", "bytes", "state"):
        table.add_column(name, justify="right" if name == "bytes" else "left", overflow="fold")
    for item in wanted.items:
        colour = {"failed": "red", "uploaded": "green"}.get(item.state, "default")
        state = f"{item.state}: {item.why}" if item.why else item.state
        size = f"{item.size:,}" if item.path and item.before else ""
        local = not yaml_file.is_remote(item.shown)
        shown = os.path.relpath(item.shown, spec.absolute().parent) if local else item.shown
        table.add_row(printable(shown), size, f"[{colour}]{printable(state)}[/{colour}]")
    screen.print(table)
    if wanted.failed():
        stop(
            [
                "not all is there, so the spec was not uploaded: repair what failed and run again, which uploads only what is missing"
            ]
        )
    screen.print(f"Uploaded   {printable(wanted.place.shown(spec.name))}")


def each_file(bar: Progress, wanted: upload.Upload) -> Callable[[upload.Item, int], None]:
    """Returns what is told of bytes as they are sent: a bar for all, and one for each file while it is under way."""
    todo = [item for item in wanted.items if not item.state]
    overall = bar.add_task("all files", total=sum(item.size for item in todo))
    tasks: dict[str, TaskID] = {}
    lock = threading.Lock()

    def told(item: upload.Item, size: int) -> None:
        with lock:
            if item.name not in tasks:
                tasks[item.name] = bar.add_task(printable(item.name), total=item.size)
            task = tasks[item.name]
        bar.advance(task, size)
        bar.advance(overall, size)
        if any(one.id == task and one.finished for one in list(bar.tasks)):
            bar.update(task, visible=False)

    return told
