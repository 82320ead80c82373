"""What `run` and `validate` do."""

from __future__ import annotations

import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from rich.markup import escape
from rich.table import Table

from crm_merge.cli.common import brief, interrupted, printable, progress, screen, sending, stop
from crm_merge.engine import dbt_run, describe, limits, spark
from crm_merge.merging import protect, publish, steps
from crm_merge.reading import FileProblem
from crm_merge.reading.dialect import WORDS
from crm_merge.spec import yaml_file

FILES_SHOWN = 40
STAGES = {
    "stg_files": "files landed",
    "int_keys": "match keys",
    "int_components": "vendor rows linked",
    "int_matches": "matches of a CRM row and a person",
    "int_enriched_consolidated": "of them consolidated",
    "int_result": "rows merged",
    "int_links": "links written",
}


def run(spec: Path, wanted: dict[str, Any], directory: Path | None, resume: bool, target: str) -> None:
    """Merges by a spec that was read, checks every invariant, and publishes."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, interrupted)
    place = place_of(spec, directory)
    if wrong := spark.problems(target, place):
        stop(wrong)
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
                outcome = dbt_run.follow(steps.stages(place, wanted, resume, target), show, show_part)
            except KeyboardInterrupt:
                stop([f"interrupted; nothing was published{untouched(place, wanted)}; --resume goes on"])
            finally:
                shutil.rmtree(limits.spill_folder(place), ignore_errors=True)
        if outcome.resumed:
            word = "Begun" if outcome.resumed.startswith("from the start") else "Resumed"
            screen.print(f"{word:<10} {printable(outcome.resumed)}")
        if not outcome.ok:
            fail(spec, outcome, place, wanted)
        passed = sum(check.status == "pass" for check in outcome.checks)
        screen.print(f"100 %  {passed:>13,} checks passed")
        for check in outcome.checks:
            if check.status == "warn":
                screen.print(
                    f"[yellow]Note       the check {check.name} warns of {check.failures:,} rows[/yellow]"
                )
        again = "the merge itself is finished: run again with --resume, which checks it once more and publishes it"
        try:
            with sending() as bar:
                task = bar.add_task("publishing", total=None)
                manifest = publish.publish(
                    place,
                    wanted,
                    time.monotonic() - started,
                    steps.checks(outcome),
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
        shutil.rmtree(limits.spill_folder(place), ignore_errors=True)  # of publishing


def validate(spec: Path, wanted: dict[str, Any], directory: Path | None) -> None:
    """Shows how the files of a spec are read; ends with what is wrong."""
    problems, files = describe.looked_at(wanted)
    problems += [problem for file in files for problem in show_file(file)]
    if files:
        try:
            problems += protect.problems(place_of(spec, directory), wanted, str(spec.resolve()))
        except FileProblem as problem:
            problems.append(f"export.to: {problem}")
    if problems:
        fail(spec, dbt_run.Outcome(ok=False, problems=problems), None)
    screen.print("[green]The spec and its files are fine.[/green]")


def place_of(spec: Path, directory: Path | None) -> Path:
    """Returns the merge directory of a spec, or ends with why the one that it has by its name can't be used: another spec has it."""
    if directory:
        return directory.resolve()
    place = (Path("merges") / spec.stem).resolve()
    if other := protect.of_another(place, str(spec.resolve())):
        stop([f"{place} is the merge directory of another spec, {other}; name one for this spec: --dir"])
    return place


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
        problems.append(f"nothing was published{untouched(place, wanted or {})}")
        finished = any(node.kind == "model" and node.status == "success" for node in outcome.nodes)
        if finished and not outcome.failed():
            problems.append("what is finished is kept: run again with --resume to go on from there")
    stop(problems)


def untouched(place: Path, wanted: dict[str, Any]) -> str:
    """Returns what to say of an earlier result when nothing was published; '' where there is certainly none."""
    to = published(place, wanted)
    if "://" not in to and not Path(to).is_dir():
        return ""
    return f"; what an earlier run published in {to} is untouched"


def published(place: Path, wanted: dict[str, Any]) -> str:
    """Returns where a merge is published to, as people see it."""
    try:
        return publish.target(place, wanted).url.rstrip("/")
    except (FileProblem, AttributeError):  # the spec is wrong, which is told
        return str(place / "out")


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


@contextmanager
def claimed(place: Path) -> Iterator[None]:
    """Holds the merge directory for this run, or ends with why it can't."""
    try:
        with steps.claimed(place) as merge:
            merge.forget()
            yield
    except steps.Problem as problem:
        stop([str(problem)])


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
    for source, rows, rejected, keyed, matched, cells, _ in files[:FILES_SHOWN]:
        rate = f"{matched / (rows - rejected):.1%}" if rows > rejected else "–"
        given = "" if source == "original" else f"{cells:,}"
        table.add_row(escape(source), f"{rows:,}", f"{rejected:,}", f"{keyed:,}", f"{matched:,}", rate, given)
    screen.print()
    screen.print(table)
    if len(files) > FILES_SHOWN:
        screen.print(f"and {len(files) - FILES_SHOWN:,} files more (see file_summary)")
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
    dialect = file["dialect"]
    how = [{"json": "JSON lines", "parquet": "Parquet"}.get(file["format"], "CSV")]
    how += [file["compression"]] if file["compression"] != "plain" else []
    if dialect:
        how += [
            file["encoding"],
            f"separated by {WORDS.get(dialect['delimiter'], repr(dialect['delimiter']))}",
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
        shown = " | ".join("" if cell is None else brief(cell, 30) for cell in cells)
        table.add_row(
            printable(column["header"]),
            printable(column["column"] or "(kept as it is)"),
            column["key"] or "",
            printable(shown),
        )
    screen.print(table)
    screen.print()
    return file["problems"]
