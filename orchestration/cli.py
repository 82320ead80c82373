"""The command line: crm-merge run SPEC, crm-merge validate SPEC, crm-merge diff A B."""

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

from orchestration import dbt_run, diff, engine, publish, spec_file

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


@app.command()
def run(
    spec: Spec,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="The merge's own directory.", show_default="merges/<name of the spec>"),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from what a killed or failed run of the same merge finished."),
    ] = False,
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

            def show_part(part: str) -> None:
                bar.update(task, description=part)

            try:
                outcome = dbt_run.run(["build"], place, wanted, show, resume, show_part)
            except KeyboardInterrupt:
                stop([f"interrupted; nothing was published, {place / 'out'} is untouched; --resume goes on"])
            finally:
                shutil.rmtree(engine.spill_folder(place), ignore_errors=True)
        if outcome.resumed:
            screen.print(f"Resumed    {printable(outcome.resumed)}")
        if not outcome.ok:
            fail(spec, outcome, place)
        checks = sum(node.kind == "test" for node in outcome.nodes)
        screen.print(f"100 %  {checks:>13,} checks passed")
        try:
            manifest = publish.publish(place, wanted, time.monotonic() - started)
        except (OSError, duckdb.Error) as error:
            stop([f"the result could not be published, what was published before is untouched: {error}"])
        summarise(place, wanted, manifest, outcome, time.monotonic() - started)
        shutil.rmtree(engine.spill_folder(place), ignore_errors=True)  # of publishing


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
            diff.check_target(csv.absolute())
        with diff.opened(a, b) as connection:
            manifests = [diff.manifest_of(connection, name, place) for name, place in (("a", a), ("b", b))]
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
            problems.append(f"the check '{node.name}' failed, for instance on:")
            problems += [f"  {row}" for row in failing_rows(place, node.name)]
        problems.append(
            f"nothing was published; what an earlier run published in {place / 'out'} is untouched"
        )
        if any(node.kind == "model" and node.status == "success" for node in outcome.nodes):
            problems.append("what is finished is kept: run again with --resume to go on from there")
    stop(problems)


def failing_rows(place: Path, check: str, most: int = 3) -> list[str]:
    """Returns the first rows that a check complains of, each as a line; its query is the one that dbt compiled."""
    compiled = next((place / "target" / "compiled").rglob(f"{check}.sql"), None)
    if compiled is None:
        return [f"(its query was not found; the tables are in {place / 'merge.duckdb'})"]
    try:
        with publish.connect(place) as connection:
            found = connection.execute(f"select * from ({compiled.read_text('utf-8')}\n) limit {most}")  # noqa: S608
            names = [column[0] for column in found.description]
            rows = found.fetchall()
    except (OSError, duckdb.Error) as error:
        return [f"(its rows can't be shown: {error}; its query is {compiled})"]
    lines = [
        ", ".join(
            f"{name}: {str(cell)[:80]}" for name, cell in zip(names, row, strict=True) if cell is not None
        )
        for row in rows
    ]
    return [*lines, f"(all of them: run {compiled} on {place / 'merge.duckdb'})"]


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
    screen.print(
        f"Time       {seconds:.1f} s, {every_row / seconds:,.0f} rows/s, peak memory {peak / 1e6:,.0f} MB"
    )
    for file in manifest["files"]:
        target = Path((spec.get("export") or {}).get("to") or place / "out") / file["name"]
        screen.print(f"Published  {escape(str(target))} ({file['bytes']:,} bytes)")


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
