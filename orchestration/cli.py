"""The command line: crm-merge run SPEC, validate SPEC, upload SPEC TO, diff A B; of a home of many merges: history, metrics, sweep, dagster."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from orchestration import (
    dbt_run,
    diff,
    engine,
    history,
    home,
    merging,
    metrics,
    operate,
    protect,
    publish,
    retention,
    spark,
    spec_file,
    upload,
    watch,
)
from reading import FileProblem

app = typer.Typer(
    help="Merges a CRM export with enriched vendor files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
screen = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

# Models whose rows an operator wants to see go by, in words.
STAGES = {
    "stg_files": "files landed",
    "int_keys": "match keys",
    "int_components": "vendor rows linked",
    "int_matches": "matches of a CRM row and a person",
    "int_enriched_consolidated": "of them consolidated",
    "merged_result": "rows merged",
    "crosswalk": "links written",
}

Spec = Annotated[Path, typer.Argument(metavar="SPEC.yml", help="The merge spec: a YAML file.")]
Directory = Annotated[
    Path | None,
    typer.Option("--dir", help="The merge's own directory.", show_default="merges/<name of the spec>"),
]


@app.command()
def run(
    spec: Spec,
    directory: Directory = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from what a killed or failed run of the same merge finished."),
    ] = False,
    target: Annotated[
        str,
        typer.Option(
            "--target", envvar="CRM_MERGE_TARGET", help="What merges: duckdb, spark or spark_thrift."
        ),
    ] = "duckdb",
) -> None:
    """Merges, checks every invariant, and only then publishes DIR/out."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, interrupted)
    place = place_of(spec, directory)
    if wrong := spark.problems(target, place):
        stop(wrong)
    wanted = read_spec(spec)
    with claimed(place):
        check_target(spec, place, wanted)
        with progress() as bar:
            task = bar.add_task("reading the spec and the files", total=None)

            def show(node: dbt_run.Node) -> None:
                bar.update(task, total=node.total, completed=node.done, description=node.name)
                if node.name in STAGES and node.rows is not None:
                    percent = 100 * node.done // max(node.total, 1)
                    bar.console.print(
                        f"{percent:3d} %  {node.rows:>13,} {STAGES[node.name]}  ({node.seconds:.1f} s)"
                    )

            def show_part(part: str) -> None:
                bar.update(task, description=part)

            try:
                outcome = dbt_run.follow(merging.stages(place, wanted, resume, target), show, show_part)
            except KeyboardInterrupt:
                stop(
                    [
                        f"interrupted; nothing was published, {published(place, wanted)} is untouched; --resume goes on"
                    ]
                )
            finally:
                shutil.rmtree(engine.spill_folder(place), ignore_errors=True)
        if outcome.resumed:
            word = "Begun" if outcome.resumed.startswith("from the start") else "Resumed"
            screen.print(f"{word:<10} {printable(outcome.resumed)}")
        if not outcome.ok:
            fail(spec, outcome, place, wanted)
        checks = sum(node.kind == "test" for node in outcome.nodes)
        screen.print(f"100 %  {checks:>13,} checks passed")
        again = "the merge itself is finished: run again with --resume, which checks it once more and publishes it"
        try:
            with sending() as bar:
                task = bar.add_task("publishing", total=None)
                manifest = publish.publish(
                    place,
                    wanted,
                    time.monotonic() - started,
                    history.checks(outcome),
                    lambda sent, total: bar.update(task, advance=sent, total=total),
                    target,
                    str(spec.resolve()),
                )
        except FileProblem as problem:
            stop([f"publishing failed: {problem}", again])
        except KeyboardInterrupt:
            stop([f"interrupted while publishing to {published(place, wanted)}", again])
        except (OSError, duckdb.Error) as error:
            stop(
                [f"the result could not be published, what was published before is untouched: {error}", again]
            )
        summarise(place, wanted, manifest, outcome, time.monotonic() - started)
        shutil.rmtree(engine.spill_folder(place), ignore_errors=True)  # of publishing


@app.command()
def validate(spec: Spec, directory: Directory = None) -> None:
    """Checks the spec and its files, and shows how they are read, without merging."""
    wanted = read_spec(spec)
    with tempfile.TemporaryDirectory(prefix="crm-merge-") as folder:
        outcome = dbt_run.run(["run-operation", "describe_merge"], Path(folder), wanted)
    if not outcome.ok:
        fail(spec, outcome, None)
    problems = [problem for text in outcome.results for problem in show_file(json.loads(text))]
    if "schedule" in wanted and (wrong := watch.schedule_problem(wanted["schedule"])):
        problems.append(wrong)
    try:
        problems += protect.problems(place_of(spec, directory), wanted, str(spec.resolve()))
    except FileProblem as problem:
        problems.append(f"export.to: {problem}")
    if problems:
        fail(spec, dbt_run.Outcome(ok=False, problems=problems), None)
    screen.print("[green]The spec and its files are fine.[/green]")


@app.command("upload")
def upload_files(
    spec: Spec,
    to: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX/", help="Where to.")],
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=8, help="How many files at a time.")] = 4,
) -> None:
    """Checks the local files of a spec, uploads them and then the spec; run again, it repairs what is missing."""
    signal.signal(signal.SIGTERM, interrupted)
    if wrong := engine.problems():
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
    except (upload.UploadProblem, spec_file.SpecProblem) as problem:
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
        local = not spec_file.is_remote(item.shown)
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
        if bar.tasks and next((one.finished for one in bar.tasks if one.id == task), False):
            bar.update(task, visible=False)

    return told


Merge = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a finished merge.")]


@app.command("diff")
def show_difference(
    a: Merge,
    b: Merge,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write every differing cell to this file.")
    ] = None,
    show: Annotated[int, typer.Option("--show", min=0, help="How many differing cells to print.")] = 10,
) -> None:
    """Compares two merges cell by cell: another strategy, another vendor set, another day."""
    if wrong := engine.problems():
        stop(wrong)
    try:
        if csv:
            diff.check_target(csv.absolute(), (a, b))
        with diff.opened(a, b) as connection:
            manifests = [diff.manifest_of(connection, name, place) for name, place in (("a", a), ("b", b))]
            if csv:
                diff.check_inputs(connection, csv.absolute(), manifests)
            found = diff.compare(connection)
            export = (manifests[1].get("spec") or {}).get("export") or {}
            if csv:
                diff.save(connection, csv.absolute(), export)
            print_difference((a, b), manifests, found, diff.first_cells(connection, show))
    except diff.DiffProblem as problem:
        stop([str(problem)])
    except duckdb.OutOfMemoryException as error:
        stop(
            [f"the memory limit is too small to compare these merges; give DUCKDB_MEMORY_LIMIT more: {error}"]
        )
    except (OSError, duckdb.Error) as error:
        stop([f"the merges can't be compared: {error}"])
    if csv:
        escaped = ", formulas escaped as the spec of B says" if export.get("escape_formulas") else ""
        screen.print(f"Written    {printable(str(csv))}{escaped}")


@app.command("dagster")
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
        screen.print(f"Home       {printable(str(home.folder()))}")
        screen.print(f"Specs      {printable(home.specs())}")
        screen.print(f"Pages      http://{host}:{port}")
        ended = operate.start(host, port)
    except operate.OperateProblem as problem:
        stop([str(problem)])
    raise typer.Exit(ended)


# -- A home of many merges --

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", envvar="CRM_MERGE_HOME", help="The folder of many merges: merges/, history/, published/."
    ),
]


@app.command("history")
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
            home.check_name(merge)
        if csv:
            diff.check_target(csv.absolute())
            home.check_outside(folder, csv.absolute())
            with history.connect(folder) as connection:
                history.save(connection, csv.absolute(), merge, last)
            screen.print(f"Written    {printable(str(csv))}, formulas escaped")
            return
        entries = history.rows(folder, merge, last)
    except (home.HomeProblem, diff.DiffProblem) as problem:
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
            ("–" if entry.peak_memory_bytes is None else engine.amount(entry.peak_memory_bytes), wide),
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


@app.command("metrics")
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
    except home.HomeProblem as problem:
        stop([str(problem)])
    shown = f"[{host}]" if ":" in host else host
    said = f"Serving    http://{shown}:{listening.server_port}/metrics and /health of {folder}"
    metrics.serve(listening, lambda: screen.print(printable(said)))


@app.command("sweep")
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
    except home.HomeProblem as problem:
        stop([str(problem)])
    except OSError as error:
        stop([f"{folder} can't be swept: {error.strerror}"])
    for item in swept.removed[:1000]:
        said = "would remove" if dry_run else "removed"
        screen.print(printable(f"{said}  {item.path} ({item.kind}, {engine.amount(item.size)}): {item.why}"))
    for kept in [kept for kept in swept.kept if kept.told][:1000]:
        screen.print(printable(f"kept  {kept.path}: {kept.why}"))
    removed, freed = ("would be removed", "would be freed") if dry_run else ("removed", "freed")
    screen.print(
        f"{'Dry run' if dry_run else 'Swept':<10} {len(swept.removed):,} {removed}, {len(swept.kept):,} kept, {engine.amount(swept.freed)} {freed}"
    )


def home_of(place: Path | None) -> Path:
    """Returns the home that a command is about, or ends with how to name one."""
    if place is None:
        stop(["no home is named; give --home DIR, or set CRM_MERGE_HOME"])
    if not place.is_dir():
        stop([f"--home: there is no folder '{place}'; make it first, or name another"])
    return place.resolve()


# -- Pieces --


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
    if wrong := engine.problems():
        stop(wrong)
    try:
        return spec_file.load(path)
    except spec_file.SpecProblem as problem:
        stop([str(problem)])


def stop(problems: list[str]) -> Any:
    """Ends with the problems on the error stream and exit code 1."""
    for problem in problems:
        errors.print(f"[red]crm-merge:[/red] {printable(problem)}")
    raise typer.Exit(1)


def check_target(spec: Path, place: Path, wanted: dict[str, Any]) -> None:
    """Ends before any work if the result can't go where it is to go, or would be written over what is there: a wrong key of S3 need
    not cost a merge first."""
    transient = False
    try:
        if (protect.export_to(wanted) or "").strip().lower().startswith("s3:"):
            publish.target(place, wanted).check()
        problems = protect.problems(place, wanted, str(spec.resolve()))
    except FileProblem as problem:
        problems, transient = [f"export.to: {problem}"], problem.transient
    if problems:
        fail(spec, dbt_run.Outcome(ok=False, problems=problems, transient=transient), place, wanted)


def published(place: Path, wanted: dict[str, Any]) -> str:
    """Returns where a merge is published to, as people see it."""
    try:
        return publish.target(place, wanted).url.rstrip("/")
    except (FileProblem, AttributeError):  # the spec is wrong, which is told
        return str(place / "out")


def fail(
    spec: Path, outcome: dbt_run.Outcome, place: Path | None, wanted: dict[str, Any] | None = None
) -> None:
    """Ends with the run's problems, each at its line of the spec file where it has one."""
    try:
        text = spec.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        text = ""
    problems = [
        spec_file.located(problem, str(spec), text)
        for problem in (merging.problems_of(outcome, place) if place else outcome.problems)
    ]
    if place:
        problems.append(
            f"nothing was published; what an earlier run published in {published(place, wanted or {})} is untouched"
        )
        if any(node.kind == "model" and node.status == "success" for node in outcome.nodes):
            problems.append("what is finished is kept: run again with --resume to go on from there")
    stop(problems)


@contextmanager
def claimed(place: Path) -> Iterator[None]:
    """Holds the merge directory for this run, or ends with why it can't."""
    try:
        with merging.claimed(place) as merge:
            merge.forget()
            yield
    except merging.Problem as problem:
        stop([str(problem)])


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


def summarise(
    place: Path, spec: dict[str, Any], manifest: dict[str, Any], outcome: dbt_run.Outcome, seconds: float
) -> None:
    """Prints what a person wants to know of a finished merge."""
    with publish.connect(place) as connection:
        summary = connection.execute("select * from merge_summary").fetchall()[0]
        names = [column[0] for column in connection.description]
        files = connection.execute(
            "select source, physical_rows, rejected_rows, rows_with_key, rows_matched, cells_given, unparsed_timestamps"
            " from file_summary order by file_order"
        ).fetchall()
        notes = connection.execute(
            "select source, notes from stg_files where notes is not null order by file_order"
        ).fetchall()
    total = dict(zip(names, summary, strict=True))
    table = Table(title=None, box=None, pad_edge=False)
    for name, justify in (("file", "left"), ("rows", "right"), ("rejected", "right"), ("with a key", "right"),
                          ("matched", "right"), ("rate", "right"), ("cells given", "right")):  # fmt: skip
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for source, rows, rejected, keyed, matched, cells, _ in files:
        rate = f"{matched / (rows - rejected):.1%}" if rows > rejected else "–"
        given = "" if source == "original" else f"{cells:,}"
        table.add_row(escape(source), f"{rows:,}", f"{rejected:,}", f"{keyed:,}", f"{matched:,}", rate, given)
    screen.print()
    screen.print(table)
    screen.print()
    rate = f"{total['match_rate']:.1%}" if total["match_rate"] is not None else "no rows"
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    memory = f", peak memory {max(outcome.peak_memory, own) / 1e6:,.0f} MB" if outcome.peak_memory else ""
    every_row = sum(row[1] for row in files)
    screen.print(
        f"Rows       {manifest['rows']:,} out, {total['matched_rows']:,} matched ({rate}), {total['ambiguous_rows']:,} ambiguous"
    )
    screen.print(
        f"Conflicts  {total['conflicts']:,} cells on which vendors disagreed, resolved by the strategies"
    )
    screen.print(
        f"Changes    {total['changed_cells']:,} cells for the CRM (merge_changes), {total['net_new_people']:,} people it does not have (unmatched_enriched)"
    )
    screen.print(f"Rejected   {total['rejected_rows']:,} rows that could not be read (see rejected_rows)")
    for source, said in notes:
        screen.print(f"[yellow]Note       {printable(f'{source}: {said}')}[/yellow]")
    for problem in unsafe_ids(total):
        screen.print(f"[yellow]Note       {problem}[/yellow]")
    for source, *_, unparsed in files:
        if unparsed:
            screen.print(
                f"[yellow]Note       {escape(source)}: {unparsed:,} timestamps could not be read and rank last[/yellow]"
            )
    screen.print(f"Time       {seconds:.1f} s, {every_row / seconds:,.0f} rows/s{memory}")
    for file in manifest["files"]:
        screen.print(
            f"Published  {printable(publish.target(place, spec).shown(file['name']))} ({file['bytes']:,} bytes)"
        )


def print_difference(
    places: tuple[Path, Path], manifests: list[dict[str, Any]], found: diff.Difference, cells: list[tuple]
) -> None:
    """Prints what two merges differ in."""
    for name, place, manifest in zip("AB", places, manifests, strict=True):
        when = manifest.get("finished_at")
        state = (
            f"finished at {when}" if when else "no out/manifest.json of this merge, so its spec is not known"
        )
        screen.print(f"{name}  {printable(f'{place}, {state}')}")
    if all(manifests):
        specs = [manifest.get("spec") for manifest in manifests]
        for line in diff.spec_differences(*specs) or ["The specs are the same."]:
            screen.print(f"   {printable(line)}")
    screen.print()
    screen.print(
        f"Rows       {found.rows:,} compared, paired by {printable(found.paired_by)}; {found.only_a:,} only in A, {found.only_b:,} only in B"
    )
    if found.not_comparable_a or found.not_comparable_b:
        examples = "; ".join(
            f"{'blank' if value is None else brief(value)}: {rows_a:,} in A, {rows_b:,} in B"
            for value, rows_a, rows_b in found.examples
        )
        screen.print(
            f"[yellow]Note       {found.not_comparable_a:,} rows of A and {found.not_comparable_b:,} of B can't be paired and are not compared: their id is blank"
            f" or stands several times, and not as often on the other side ({printable(examples)})[/yellow]"
        )
    for name, columns in (("A", found.columns_only_a), ("B", found.columns_only_b)):
        if columns:
            screen.print(f"Columns    only in {name}: {printable(', '.join(columns))}")
    data = [row for row in found.columns if row[0] not in diff.MATCH_COLUMNS]
    match = [row for row in found.columns if row[0] in diff.MATCH_COLUMNS]
    for title, rows in (("column", data), ("match column", match)):
        if rows:
            table = Table(title=None, box=None, pad_edge=False)
            for name in (title, "differing cells", "filled", "emptied", "changed"):
                table.add_column(name, justify="left" if name == title else "right", overflow="fold")
            for column, *counts in rows:
                table.add_row(printable(column), *(f"{count:,}" for count in counts))
            screen.print()
            screen.print(table)
    if cells:
        table = Table(box=None, pad_edge=False)
        for name in ("id", "row", "column", "A", "B"):
            table.add_column(name, overflow="fold")
        for record_id, row_a, row_b, column, value_a, value_b, source_a, source_b in cells:
            row = str(row_b) if row_a == row_b else f"{row_a} → {row_b}"
            texts = (brief(record_id or ""), row, column, told(value_a, source_a), told(value_b, source_b))
            table.add_row(*map(printable, texts))
        screen.print()
        screen.print(table)
    total, of_match = sum(row[1] for row in data), sum(row[1] for row in match)
    screen.print()
    if not total and not of_match:
        screen.print("No cell differs.")
        return
    shown = f"; the first {len(cells):,} are shown" if 0 < len(cells) < total else ""
    screen.print(
        f"Differing  {total:,} cells in {len(data):,} columns of data, {of_match:,} in {len(match):,} match columns{shown}."
    )


def brief(text: str) -> str:
    """Returns a text short enough for a line."""
    return text if len(text) <= 60 else text[:59] + "…"


def told(value: str, source: str | None) -> str:
    """Returns a cell with where it came from."""
    return f"{brief(value)} ({source})" if source else brief(value) or "(blank)"


def unsafe_ids(total: dict[str, Any]) -> list[str]:
    """Returns what an import of merge_changes by record id has to know, as sentences."""
    missing, repeated = total["rows_without_record_id"], total["rows_with_repeated_record_id"]
    if not total["changed_cells"]:
        return []
    if missing == total["original_rows"]:
        return [
            "original: no record id, so merge_changes knows rows by their number only; name the column: original.record_id"
        ]
    said = []
    if missing:
        said.append(f"original: rows without a record id: {missing:,}; an import can't find them again")
    if repeated:
        said.append(
            f"original: rows that share their record id with another: {repeated:,}; an import may write to the wrong one"
        )
    return said


def show_file(file: dict[str, Any]) -> list[str]:
    """Prints how one file is read; returns its problems."""
    names = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
    dialect = file["dialect"]
    how = [{"json": "JSON lines", "parquet": "Parquet"}.get(file["format"], "CSV")]
    how += [file["compression"]] if file["compression"] != "plain" else []
    if dialect:
        how += [
            file["encoding"],
            f"separated by {names.get(dialect['delimiter'], repr(dialect['delimiter']))}",
        ]
        how += [f"header on line {dialect['header_line']}" if dialect["header_line"] else "no header"]
        how += [f"lines end with {file['line_ends']}"] if file["line_ends"] != "see notes" else []
    screen.print(f"[bold]{escape(file['source'])}[/bold]  {escape(file['path'])}")
    screen.print(f"  {escape(', '.join(how))}")
    screen.print(
        f"  {file['rows']:,} rows, {len(file['columns'])} columns, {file['bytes']:,} bytes, sha256 {file['sha256'][:12]}…"
    )
    for note in file["notes"]:
        screen.print(f"  [yellow]Note:[/yellow] {printable(note)}")
    if file["rejected"]:
        screen.print(f"  [red]{file['rejected']:,} rows can't be read:[/red]")
        for example in file["examples"]:
            screen.print(f"    {printable(example)}")
    for key in file["keys"]:
        columns = ", ".join(column["header"] for column in file["columns"] if column["key"] == key["label"])
        share = "no rows" if key["share"] is None else f"{key['share']:.1%} of rows have a valid key"
        screen.print(f"  {key['label']:<12} {share}, from {printable(columns)}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for name in ("header", "column", "key", "first rows"):
        table.add_column(name, overflow="fold")
    for position, column in enumerate(file["columns"]):
        cells = [row[position] for row in file["preview"]]
        shown = " | ".join("" if cell is None else cell[:30] for cell in cells)
        table.add_row(
            printable(column["header"]),
            printable(column["column"] or "(kept as it is)"),
            column["key"] or "",
            printable(shown),
        )
    screen.print(table)
    screen.print()
    return file["problems"]


def printable(text: str) -> str:
    """Returns a text from a file so that a terminal shows it and obeys nothing in it."""
    return escape(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text))


def main() -> None:
    """Runs the command line."""
    app()


if __name__ == "__main__":
    main()
