"""Commands of a home of many merges: history, metrics, sweep, dagster."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import duckdb
import typer
from rich.table import Table

from crm_merge.cli.common import (
    printable,
    screen,
    stop,
)
from crm_merge.engine import limits
from crm_merge.home import folders, history, metrics, operate, retention
from crm_merge.merging import diff

commands = typer.Typer()

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", envvar="CRM_MERGE_HOME", help="The folder of many merges: merges/, history/, published/."
    ),
]


@commands.command("history")
def show_history(
    place: Home = None,
    merge: Annotated[str | None, typer.Option("--merge", help="Only runs of the spec of this name.")] = None,
    last: Annotated[
        int, typer.Option("--last", min=1, max=10_000_000, help="How many runs, the newest first.")
    ] = 20,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write these runs, with all columns, to this file.")
    ] = None,
) -> None:
    """Shows what merges of a home ran, while others run: when, how they ended, how many rows matched."""
    folder = home_of(place)
    try:
        if merge is not None:
            folders.check_name(merge)
        if csv:
            diff.check_target(csv.absolute())
            folders.check_outside(folder, csv.absolute())
            with history.connect(folder) as connection:
                history.save(connection, csv.absolute(), merge, last)
            screen.print(f"Written    {printable(str(csv))}, formulas escaped")
            return
        entries = history.rows(folder, merge, last)
    except (folders.HomeProblem, diff.DiffProblem) as problem:
        stop([str(problem)])
    except (OSError, duckdb.Error) as error:
        stop([f"the history of {folder} can't be read: {error}"])
    if not entries:
        screen.print("No run is recorded." if merge is None else f"No run of {printable(merge)} is recorded.")
        return
    wide = screen.width >= 150
    table = Table(box=None, pad_edge=False)
    for name, justify, is_shown in (
        ("finished (UTC)", "left", True), ("merge", "left", True), ("outcome", "left", True), ("attempt", "right", wide),
        ("seconds", "right", True), ("rows", "right", True), ("matched", "right", True), ("rejected", "right", wide),
        ("changes", "right", wide), ("checks", "right", wide), ("memory", "right", wide),
    ):  # fmt: skip
        if is_shown:
            table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for entry in entries:
        counts = [
            "–" if n is None else f"{n:,}" for n in (entry.rows, entry.rejected_rows, entry.changed_cells)
        ]
        failed = f", {entry.checks_failed} failed" if entry.checks_failed else ""
        cells = [
            (printable(entry.finished_at[:19].replace("T", " ")), True), (printable(entry.merge), True),
            (printable(entry.outcome), True), (f"{entry.attempt}{', resumed' if entry.resumed else ''}", wide),
            (f"{entry.seconds:,.1f}", True), (counts[0], True),
            ("–" if entry.match_rate is None else f"{entry.match_rate:.1%}", True), (counts[1], wide), (counts[2], wide),
            ("–" if entry.checks_passed is None else f"{entry.checks_passed} passed{failed}", wide),
            ("–" if entry.peak_memory_bytes is None else limits.amount(entry.peak_memory_bytes), wide),
        ]  # fmt: skip
        table.add_row(*(cell for cell, is_shown in cells if is_shown))
    screen.print(table)
    for entry in entries:
        if entry.problem:
            screen.print(
                f"{printable(entry.merge)}, {entry.finished_at[:19].replace('T', ' ')}: {printable(entry.problem)}"
            )
    if not wide:
        screen.print("More columns in a terminal 150 wide; all of them with --csv.")


@commands.command("metrics")
def serve_metrics(
    place: Home = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 9464,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; there is no login.")
    ] = "127.0.0.1",
) -> None:
    """Serves /metrics (OpenMetrics) and /health (JSON) of a home until SIGTERM or Ctrl-C."""
    folder = home_of(place)
    try:
        listening = metrics.server(folder, host, port)
    except folders.HomeProblem as problem:
        stop([str(problem)])
    shown = f"[{host}]" if ":" in host else host
    said = f"Serving    http://{shown}:{listening.server_port}/metrics and /health of {folder}"
    metrics.serve(listening, lambda: screen.print(printable(said)))


@commands.command("sweep")
def sweep_home(
    place: Home = None,
    keep_days: Annotated[
        float, typer.Option("--keep-days", min=0, help="Remove what was not used for longer.")
    ] = 30,
    keep: Annotated[
        int,
        typer.Option(
            "--keep", min=0, help="Of merge directories, and of a merge's published copies, keep the newest."
        ),
    ] = 100,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    drop_latest: Annotated[
        bool, typer.Option("--drop-latest", help="Also remove the last published result of a merge.")
    ] = False,
) -> None:
    """Removes old merge directories, superseded published copies and leftovers of killed runs from a home."""
    folder = home_of(place)
    try:
        swept = retention.sweep(
            folder, keep_days, keep, datetime.now(timezone.utc), dry_run, keep_latest=not drop_latest
        )
    except folders.HomeProblem as problem:
        stop([str(problem)])
    except OSError as error:
        stop([f"{folder} can't be swept: {error.strerror}"])
    for item in swept.removed[:1000]:
        said = "would remove" if dry_run else "removed"
        screen.print(printable(f"{said}  {item.path} ({item.kind}, {limits.amount(item.size)}): {item.why}"))
    for kept in [kept for kept in swept.kept if kept.told][:1000]:
        screen.print(printable(f"kept  {kept.path}: {kept.why}"))
    removed, freed = ("would be removed", "would be freed") if dry_run else ("removed", "freed")
    screen.print(
        f"{'Dry run' if dry_run else 'Swept':<10} {len(swept.removed):,} {removed}, {len(swept.kept):,} kept, {limits.amount(swept.freed)} {freed}"
    )


@commands.command("dagster")
def show_dagster(
    host: Annotated[
        str, typer.Option("--host", help="The address that the pages are served on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="The port that the pages are served on.")
    ] = 3000,
) -> None:
    """Starts the deployment: the Dagster pages and the daemon that runs merges. CRM_MERGE_HOME is its home, CRM_MERGE_SPECS where specs are dropped."""
    try:
        operate.prepare()
        screen.print(f"Home       {printable(str(folders.folder()))}")
        screen.print(f"Specs      {printable(folders.specs())}")
        screen.print(f"Pages      http://{host}:{port}")
        ended = operate.start(host, port)
    except operate.OperateProblem as problem:
        stop([str(problem)])
    raise typer.Exit(ended)


def home_of(place: Path | None) -> Path:
    """Returns the home that a command is about, or ends with how to name one."""
    if place is None:
        stop(["no home is named; give --home DIR, or set CRM_MERGE_HOME"])
    if not place.is_dir():
        stop([f"--home: there is no folder '{place}'; make it first, or name another"])
    return place.resolve()
