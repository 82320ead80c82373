"""crm-merge diff A B."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from rich.table import Table

from crm_merge.cli.common import (
    brief,
    printable,
    screen,
    stop,
)
from crm_merge.engine import limits
from crm_merge.merging import diff

commands = typer.Typer()

Merge = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a finished merge.")]


@commands.command("diff")
def show_difference(
    a: Merge,
    b: Merge,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write every differing cell to this file.")
    ] = None,
    show: Annotated[int, typer.Option("--show", min=0, help="How many differing cells to print.")] = 10,
) -> None:
    """Compares two merges cell by cell: another strategy, another vendor set, another day."""
    if wrong := limits.problems():
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
        a, b = (manifest.get("spec") for manifest in manifests)
        for line in diff.spec_differences(a, b) or ["The specs are the same."]:
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


def told(value: str, source: str | None) -> str:
    """Returns a cell with where it came from."""
    return f"{brief(value)} ({source})" if source else brief(value) or "(blank)"
