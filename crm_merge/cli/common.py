"""What all commands share: how they print, how they end with problems, what a spec and a merge directory are called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, NoReturn

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

from crm_merge.engine import limits
from crm_merge.spec import yaml_file
from crm_merge.spec.check import WrongSpec, checked

screen = Console(highlight=False, soft_wrap=True)

errors = Console(stderr=True, highlight=False, soft_wrap=True)

Spec = Annotated[Path, typer.Argument(metavar="SPEC.yml", help="The merge spec: a YAML file.")]

Directory = Annotated[
    Path | None,
    typer.Option("--dir", help="The merge's own directory.", show_default="merges/<name of the spec>"),
]


def interrupted(*_: Any) -> None:
    """Ends a command that is told to end as Ctrl-C does: with a sentence, and nothing half done."""
    raise KeyboardInterrupt


def read_spec(path: Path, after: str = "") -> dict[str, Any]:
    """Returns the spec of a file, or ends with what is wrong with it or with the environment: every mistake, at its line. ``after`` is said then."""
    if wrong := limits.problems():
        stop(wrong)
    try:
        wanted = yaml_file.load(path)
        checked(wanted)
    except yaml_file.SpecProblem as problem:
        stop([str(problem)])
    except WrongSpec as wrong_spec:
        said = yaml_file.told(wrong_spec.mistakes, str(path), path.read_text(encoding="utf-8-sig"))
        stop(said + ([after] if after else []))
    return wanted


def stop(problems: list[str]) -> NoReturn:
    """Ends with the problems on the error stream and exit code 1."""
    for problem in problems:
        errors.print(f"[red]crm-merge:[/red] {printable(problem)}")
    raise typer.Exit(1)


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


def brief(text: str, most: int = 60) -> str:
    """Returns a text short enough for a line; one that is cut ends with …."""
    return text if len(text) <= most else text[: most - 1] + "…"


def printable(text: str) -> str:
    """Returns a text from a file so that a terminal shows it and obeys nothing in it."""
    return escape(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text))
