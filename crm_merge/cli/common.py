"""What all commands share: how they print, how they end with problems, what a spec and a merge directory are called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from crm_merge.engine import dbt_run, limits
from crm_merge.merging import protect, publish, steps
from crm_merge.reading import FileProblem
from crm_merge.spec import yaml_file

screen = Console(highlight=False, soft_wrap=True)

errors = Console(stderr=True, highlight=False, soft_wrap=True)

Spec = Annotated[Path, typer.Argument(metavar="SPEC.yml", help="The merge spec: a YAML file.")]

Directory = Annotated[
    Path | None,
    typer.Option("--dir", help="The merge's own directory.", show_default="merges/<name of the spec>"),
]


def place_of(spec: Path, directory: Path | None) -> Path:
    """Returns the merge directory of a spec, or ends with why the one that it has by its name can't be used: another spec has it."""
    if directory:
        return directory.resolve()
    place = (Path("merges") / spec.stem).resolve()
    if other := protect.of_another(place, str(spec.resolve())):
        stop([f"{place} is the merge directory of another spec, {other}; name one for this spec: --dir"])
    return place


def interrupted(*_: Any) -> None:
    """Ends a command that is told to end as Ctrl-C does: with a sentence, and nothing half done."""
    raise KeyboardInterrupt


def read_spec(path: Path) -> dict[str, Any]:
    """Returns the spec of a file, or ends with what is wrong with it or with the environment."""
    if wrong := limits.problems():
        stop(wrong)
    try:
        return yaml_file.load(path)
    except yaml_file.SpecProblem as problem:
        stop([str(problem)])


def stop(problems: list[str]) -> Any:
    """Ends with the problems on the error stream and exit code 1."""
    for problem in problems:
        errors.print(f"[red]crm-merge:[/red] {printable(problem)}")
    raise typer.Exit(1)


def fail(
    spec: Path, outcome: dbt_run.Outcome, place: Path | None, wanted: dict[str, Any] | None = None
) -> None:
    """Ends with the run's problems, each at its line of the spec file where it has one."""
    try:
        text = spec.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        text = ""
    problems = [
        yaml_file.located(problem, str(spec), text)
        for problem in (steps.problems_of(outcome, place) if place else outcome.problems)
    ]
    if place:
        problems.append(
            f"nothing was published; what an earlier run published in {published(place, wanted or {})} is untouched"
        )
        if any(node.kind == "model" and node.status == "success" for node in outcome.nodes):
            problems.append("what is finished is kept: run again with --resume to go on from there")
    stop(problems)


def published(place: Path, wanted: dict[str, Any]) -> str:
    """Returns where a merge is published to, as people see it."""
    try:
        return publish.target(place, wanted).url.rstrip("/")
    except (FileProblem, AttributeError):  # the spec is wrong, which is told
        return str(place / "out")


def progress() -> Progress:
    """Returns a progress bar that is quiet where the output is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)


def sending() -> Progress:
    """Returns a progress bar of bytes with speed and time to go, quiet where the output is not a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)


def brief(text: str) -> str:
    """Returns a text short enough for a line."""
    return text if len(text) <= 60 else text[:59] + "…"


def printable(text: str) -> str:
    """Returns a text from a file so that a terminal shows it and obeys nothing in it."""
    return escape(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text))
