"""The command line: crm-merge run SPEC, crm-merge validate SPEC."""

from __future__ import annotations

import fcntl
import json
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from orchestration import dbt_run, engine, publish, spec_file

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
    "stg_original": "rows of the CRM read",
    "stg_enriched": "vendor rows read",
    "int_match_keys": "match keys",
    "int_components": "vendor rows linked",
    "int_enriched_consolidated": "people consolidated",
    "int_matches": "matches of a CRM row and a person",
    "merged_result": "rows merged",
    "crosswalk": "links written",
}

Spec = Annotated[Path, typer.Argument(metavar="SPEC.yml", help="The merge spec: a YAML file.")]


@app.command()
def run(
    spec: Spec,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="The merge's own directory.", show_default="merges/<name of the spec>"),
    ] = None,
) -> None:
    """Merges, checks every invariant, and only then publishes DIR/out."""
    started = time.monotonic()
    wanted = read_spec(spec)
    place = (directory or Path("merges") / spec.stem).resolve()
    with claimed(place):
        with progress() as bar:
            task = bar.add_task("reading the spec and the files", total=None)

            def show(node: dbt_run.Node) -> None:
                bar.update(task, total=node.total, completed=node.done, description=node.name)
                if node.name in STAGES and node.rows is not None:
                    percent = 100 * node.done // max(node.total, 1)
                    bar.console.print(
                        f"{percent:3d} %  {node.rows:>13,} {STAGES[node.name]}  ({node.seconds:.1f} s)"
                    )

            try:
                outcome = dbt_run.run(["build"], place, wanted, show)
            except KeyboardInterrupt:
                stop([f"interrupted; nothing was published, {place / 'out'} is untouched"])
        if not outcome.ok:
            fail(spec, outcome, place)
        checks = sum(node.kind == "test" for node in outcome.nodes)
        screen.print(f"100 %  {checks:>13,} checks passed")
        try:
            manifest = publish.publish(place, wanted, time.monotonic() - started)
        except (OSError, duckdb.Error) as error:
            stop([f"the result could not be published, what was published before is untouched: {error}"])
        summarise(place, wanted, manifest, outcome, time.monotonic() - started)
        shutil.rmtree(place / ".crm-merge" / "spill", ignore_errors=True)


@app.command()
def validate(spec: Spec) -> None:
    """Checks the spec and its files, and shows how they are read, without merging."""
    wanted = read_spec(spec)
    with tempfile.TemporaryDirectory(prefix="crm-merge-") as folder:
        outcome = dbt_run.run(["run-operation", "describe_merge"], Path(folder), wanted)
    if not outcome.ok:
        fail(spec, outcome, None)
    problems = [problem for text in outcome.results for problem in show_file(json.loads(text))]
    if problems:
        fail(spec, dbt_run.Outcome(ok=False, problems=problems), None)
    screen.print("[green]The spec and its files are fine.[/green]")


# -- Pieces --


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


def fail(spec: Path, outcome: dbt_run.Outcome, place: Path | None) -> None:
    """Ends with the run's problems, each at its line of the spec file where it has one."""
    problems = []
    for problem in outcome.problems:
        found = re.match(r"([a-z_]+(?:\[\d+\]|\.[^:\s]+)*): ", problem)
        line = spec_file.line_of(spec, found[1]) if found else None
        problems.append(
            f"{spec}, line {line}: {problem}" if line else f"{spec}: {problem}" if found else problem
        )
    failed = [node for node in outcome.nodes if node.status in ("fail", "error")]
    if place:
        for node in (node for node in failed if node.kind == "test"):
            problems.append(
                f"the check '{node.name}' failed; nothing was published (rows: {place / 'merge.duckdb'})"
            )
        problems.append(
            f"nothing was published; what an earlier run published in {place / 'out'} is untouched"
        )
    stop(problems)


@contextmanager
def claimed(place: Path) -> Iterator[None]:
    """Holds the merge directory for this run: a second run of the same merge is told so."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = (place / ".lock").open("w")
    except OSError as error:
        stop([f"the merge directory {place} can't be used: {error.strerror}"])
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stop([f"another run is at work in {place}; wait for it, or use another --dir"])
        yield


def progress() -> Progress:
    """Returns a progress bar that is quiet where the output is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
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
    peak = max(outcome.peak_memory, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    every_row = sum(row[1] for row in files)
    screen.print(
        f"Rows       {manifest['rows']:,} out, {total['matched_rows']:,} matched ({rate}), {total['ambiguous_rows']:,} ambiguous"
    )
    screen.print(
        f"Conflicts  {total['conflicts']:,} cells on which vendors disagreed, resolved by the strategies"
    )
    screen.print(f"Rejected   {total['rejected_rows']:,} rows that could not be read (see rejected_rows)")
    for source, said in notes:
        screen.print(f"[yellow]Note       {printable(f'{source}: {said}')}[/yellow]")
    for source, *_, unparsed in files:
        if unparsed:
            screen.print(
                f"[yellow]Note       {escape(source)}: {unparsed:,} timestamps could not be read and rank last[/yellow]"
            )
    screen.print(
        f"Time       {seconds:.1f} s, {every_row / seconds:,.0f} rows/s, peak memory {peak / 1e6:,.0f} MB"
    )
    for file in manifest["files"]:
        target = Path((spec.get("export") or {}).get("to") or place / "out") / file["name"]
        screen.print(f"Published  {escape(str(target))} ({file['bytes']:,} bytes)")


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
