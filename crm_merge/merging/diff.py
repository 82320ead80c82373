"""The difference of two finished merges, cell by cell: of another strategy, another vendor set, another day.

Both databases are attached to read; the comparison is SQL, one column at a time, under the same memory limit as a merge.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from crm_merge.engine import limits
from crm_merge.engine.sql import sql_name, sql_text
from crm_merge.merging import protect, publish
from crm_merge.reading.parquet import pattern

# What a merge says of a row: compared, but told apart from the data. The explanation only words the others.
MATCH_COLUMNS = ["match_quality", "match_status", "match_tier", "matched_on", "entity_id", "n_enriched_rows",
                 "duplicate_in_original"]  # fmt: skip
NEEDED = ["merged_result", "stg_files", "stg_columns", "int_cells"]
# The rows of the original as the merge read them; its view stg_original names them by the place where the merge was made.
LANDED = Path(".crm-merge") / "landing" / "rows_0_0.parquet"
# kept in files, to which the views in merge.duckdb point by the place where the merge was made: now, and before the result had its sources beside it
IN_FILES = {"int_result": ["int_result"], "merged_result": ["merged_result", "int_cells"]}
# What an id that counts as blank may hold: as the macro is_empty, so that record_id is the audit's.
BLANK = r"[ \t\n\x0B\f\r\x{85}\x{A0}\x{1680}\x{2000}-\x{200D}\x{2028}\x{2029}\x{202F}\x{205F}\x{2060}\x{3000}\x{FEFF}]*"


class DiffProblem(Exception):
    """Why two merges can't be compared, as a sentence for the user."""


@dataclass
class Difference:
    """Counts of a comparison; the cells are in the temporary table ``difference`` of the connection.

    paired_by is ``row number`` or the header of the record id; not_comparable_a and not_comparable_b are rows whose id
    is blank or stands several times, and not as often on the other side; examples has some of them as (id, rows in A,
    rows in B); columns has (column, cells, filled, emptied, changed) for those that differ.
    """

    paired_by: str
    rows: int
    only_a: int
    only_b: int
    not_comparable_a: int
    not_comparable_b: int
    examples: list[tuple[str | None, int, int]]
    columns: list[tuple[str, int, int, int, int]]
    columns_only_a: list[str]
    columns_only_b: list[str]


# -- The merges --


@contextmanager
def opened(a: Path, b: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens two merges as the databases ``a`` and ``b``, to read; pairs their rows with ``compare``."""
    for place in (a, b):
        if not place.is_dir():
            raise DiffProblem(
                f"there is no merge directory '{place}'; give the --dir of a finished run, merges/NAME without one"
            )
        if not (place / "merge.duckdb").is_file():
            raise DiffProblem(f"'{place}' holds no merge: there is no merge.duckdb in it")
    own = b / ".crm-merge"  # where its merge spilled to there is room
    room = own if os.access(own, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="crm-merge-diff-", dir=room) as folder,
        duckdb.connect(config=limits.settings(Path(folder).resolve())) as connection,
    ):
        # the engine makes the last folder of the place it spills to, no more
        limits.spill_folder(Path(folder).resolve()).parent.mkdir(parents=True, exist_ok=True)
        for name, place in (("a", a), ("b", b)):
            attach(connection, name, place)
            read_rows(connection, name, place)
        yield connection


def attach(connection: duckdb.DuckDBPyConnection, name: str, place: Path) -> None:
    """Attaches the database of a merge to read, and checks that the merge finished."""
    try:
        connection.execute(f"attach {sql_text((place / 'merge.duckdb').resolve())} as {name} (read_only)")
    except duckdb.Error as error:
        if "lock" in str(error):
            raise DiffProblem(
                f"'{place / 'merge.duckdb'}' is open in another process, which may be writing to it; wait for it, or close it"
            ) from None
        raise DiffProblem(f"'{place / 'merge.duckdb'}' can't be read: {error}") from None
    columns = connection.execute(
        "select table_name, column_name from duckdb_columns() where database_name = $1", [name]
    ).fetchall()
    tables = {table for table, _ in columns}
    for table in NEEDED:
        if table not in tables:
            raise DiffProblem(
                f"the merge in '{place}' did not finish: its merge.duckdb has no {table}; run it again"
            )
    if ("stg_columns", "is_record_id") not in columns:
        raise DiffProblem(f"the merge in '{place}' was made by an earlier crm-merge; run it again")


def read_rows(connection: duckdb.DuckDBPyConnection, name: str, place: Path) -> None:
    """Makes the table rows_a or rows_b: row number in the CRM's file, position in merged_result, the CRM's own id."""
    landed = (place / LANDED).resolve()
    if not landed.is_file():
        raise DiffProblem(
            f"'{place}' lacks {LANDED}, the CRM's rows as they were read; a merge directory is copied whole, or run it again"
        )
    for relation in IN_FILES[result_of(connection, name)]:
        folder, files_of = kept_in(connection, name, place, relation)
        if not any(folder.glob(files_of)):
            raise DiffProblem(
                f"'{place}' lacks the files of {relation}; a merge directory is copied whole, or run it again"
            )
        files = f"{pattern(folder)}/{files_of}"
        connection.execute(
            f"create temp view {relation}_{name} as from read_parquet({sql_text(files)}, hive_partitioning = false)"
        )
    if result_of(connection, name) == "int_result":
        names = [row[0] for row in connection.execute(f"describe int_result_{name}").fetchall()]
        shown = ", ".join(sql_name(column) for column in names if not column.startswith("_merge_"))
        connection.execute(f"create temp view merged_result_{name} as select {shown} from int_result_{name}")  # noqa: S608 -- names are quoted
    header = record_id(connection, name)
    found = connection.execute(
        f"select position from {name}.stg_columns where file_order = 0 and header = $1",  # noqa: S608
        [header],
    ).fetchone()
    own = f"c{found[0]}" if found else "cast(null as varchar)"
    connection.execute(f"""
        create temp table rows_{name} as
        select
          coalesce(_merge_record, file_row_number + 1) as row,
          row_number() over (order by coalesce(_merge_record, file_row_number + 1)) as position,
          case when not regexp_full_match({own}, {sql_text(BLANK)}) then {own} end as record_id
        from read_parquet({sql_text(pattern(landed))}, file_row_number = true, hive_partitioning = false)""")  # noqa: S608
    counts = connection.execute(
        f"select (select count(*) from rows_{name}) = (select count(*) from merged_result_{name})"  # noqa: S608
    ).fetchone()
    if not (counts and counts[0]):
        raise DiffProblem(
            f"the last merge in '{place}' did not finish: the CRM was read anew, but its merged_result is an earlier one; run it again"
        )


def result_of(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """Returns which relation's files hold the result of a merge: int_result, or merged_result of an older version."""
    found = connection.execute(
        "select count(*) from duckdb_views() where database_name = $1 and view_name = 'int_result'", [name]
    ).fetchone()
    return "int_result" if found and found[0] else "merged_result"


def kept_in(connection: duckdb.DuckDBPyConnection, name: str, place: Path, relation: str) -> tuple[Path, str]:
    """Returns the folder of a relation's files and what they are called there, of the engine that made the last merge: its view says which."""
    found = connection.execute(
        "select sql from duckdb_views() where database_name = $1 and view_name = $2", [name, relation]
    ).fetchone()
    own = (place / ".crm-merge").resolve()
    if found and f"/.crm-merge/spark/{relation}'" in found[0]:
        return own / "spark" / relation, "*.parquet"
    return own / "parts", f"{relation}.*.parquet"


def record_id(connection: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """Returns the header of a merge's record id."""
    found = connection.execute(f"select header from {name}.stg_columns where is_record_id").fetchone()  # noqa: S608
    return found[0] if found else None


def result_columns(connection: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    """Returns the columns of a merged_result that can be compared."""
    found = connection.execute(f"describe merged_result_{name}").fetchall()
    return [row[0] for row in found if row[0] != "match_explanation"]


# -- The comparison --


def compare(connection: duckdb.DuckDBPyConnection) -> Difference:
    """Compares the merges ``a`` and ``b`` of a connection; leaves what differs in the table ``difference``.

    Its rows: record_id, row_a, row_b, column_name, value_a, value_b, source_a, source_b, kind (filled, emptied, changed,
    row_only_in_a, row_only_in_b, not_comparable), is_match_column, place (the column's, for order).
    """
    paired_by = pair_rows(connection)
    columns = {name: result_columns(connection, name) for name in ("a", "b")}
    shared = [column for column in columns["a"] if column in columns["b"]]
    find_cells(connection, shared)
    counts = connection.execute("""
        select
          count(*) filter (where status = 'both'),
          count(*) filter (where status = 'row_only_in_a'),
          count(*) filter (where status = 'row_only_in_b'),
          count(row_a) filter (where status = 'not_comparable'),
          count(row_b) filter (where status = 'not_comparable')
        from pairs""").fetchone()
    examples = connection.execute("""
        select record_id, count(row_a), count(row_b) from pairs where status = 'not_comparable'
        group by record_id order by record_id nulls first limit 5""").fetchall()
    per_column = connection.execute("""
        select column_name, count(*), count_if(kind = 'filled'), count_if(kind = 'emptied'), count_if(kind = 'changed')
        from difference where column_name is not null group by place, column_name order by place""").fetchall()
    return Difference(
        paired_by,
        *(counts or (0, 0, 0, 0, 0)),  # type: ignore[call-arg]
        examples,
        per_column,
        [column for column in columns["a"] if column not in shared],
        [column for column in columns["b"] if column not in shared],
    )


def pair_rows(connection: duckdb.DuckDBPyConnection) -> str:
    """Makes the table ``pairs`` (row and position in A and in B, record_id, status); returns what rows are paired by."""
    read = [
        connection.execute(
            f"select sha256, header_line from {name}.stg_files where role = 'original'"  # noqa: S608
        ).fetchone()
        for name in ("a", "b")
    ]
    if read[0] == read[1]:
        connection.execute(PAIRS_BY_ROW)
        return "row number"
    ids = {name: record_id(connection, name) for name in ("a", "b")}
    missing = [name.upper() for name, header in ids.items() if not header]
    if missing:
        raise DiffProblem(
            "the merges did not read the same original, so rows can only be paired by the CRM's own id, and "
            f"{' and '.join(missing)} {'has' if len(missing) == 1 else 'have'} none; name its column in the spec, original: {{record_id: Id}}, and run it again"
        )
    connection.execute(PAIRS_BY_ID)
    return str(ids["a"]) if ids["a"] == ids["b"] else f"{ids['a']} in A, {ids['b']} in B"


PAIRS_BY_ROW = """
create temp table pairs as
select
  a.row as row_a, b.row as row_b, a.position as position_a, b.position as position_b,
  coalesce(b.record_id, a.record_id) as record_id,
  case when b.row is null then 'row_only_in_a' when a.row is null then 'row_only_in_b' else 'both' end as status
from rows_a as a
full outer join rows_b as b on a.row = b.row"""

# An id, the blank one too, is paired in order if it stands as often on both sides. If not, and it stands on both, nobody
# knows which row is whose; nor does anybody for a blank one.
PAIRS_BY_ID = """
create temp table pairs as
with numbered_a as (
  select *, row_number() over (partition by record_id order by row) as n, count(*) over (partition by record_id) as times
  from rows_a
),
numbered_b as (
  select *, row_number() over (partition by record_id order by row) as n, count(*) over (partition by record_id) as times
  from rows_b
),
joined as (
  select
    a.row as row_a, b.row as row_b, a.position as position_a, b.position as position_b,
    coalesce(a.record_id, b.record_id) as record_id
  from numbered_a as a
  full outer join numbered_b as b on a.record_id is not distinct from b.record_id and a.n = b.n and a.times = b.times
),
unclear as (
  select record_id, true as is_unclear
  from joined
  where row_a is null or row_b is null
  group by record_id
  having record_id is null or (count(row_a) > 0 and count(row_b) > 0)
)
select
  j.*,
  case
    when u.is_unclear then 'not_comparable'
    when j.row_b is null then 'row_only_in_a'
    when j.row_a is null then 'row_only_in_b'
    else 'both'
  end as status
from joined as j
left join unclear as u on j.record_id is not distinct from u.record_id"""


def find_cells(connection: duckdb.DuckDBPyConnection, columns: list[str]) -> None:
    """Makes the table ``difference``: a column at a time and a join at a time, so that each fits the memory limit."""
    connection.execute("""
        create temp table difference as
        select
          record_id, row_a, row_b, cast(null as varchar) as column_name, cast(null as varchar) as value_a,
          cast(null as varchar) as value_b, cast(null as varchar) as source_a, cast(null as varchar) as source_b,
          status as kind, false as is_match_column, -1 as place
        from pairs
        where status <> 'both'""")
    # the usual case, the same rows in the same order, needs no join: two columns are read side by side
    [[aligned]] = connection.execute(
        "select coalesce(bool_and(status = 'both' and position_a = position_b), true) from pairs"
    ).fetchall()
    for place, column in enumerate(columns):
        connection.execute(f"create or replace temp table found as {column_cells(column, aligned)}")
        [[n]] = connection.execute("select count(*) from found").fetchall()
        if n:
            # the order of a merged_result counts no longer: its rows have their numbers
            connection.execute("set preserve_insertion_order = false")
            add_cells(connection, place, column)
            connection.execute("set preserve_insertion_order = true")


def add_cells(connection: duckdb.DuckDBPyConnection, place: int, column: str) -> None:
    """Adds the cells of the table ``found``, of one column, to ``difference``, with their rows and sources."""
    connection.execute("""
        create or replace temp table cells as
        select p.record_id, p.row_a, p.row_b, f.value_a, f.value_b
        from found as f
        inner join pairs as p on f.position_a = p.position_a""")
    for name in ("a", "b"):
        connection.execute(f"create or replace temp table given as {sources(connection, name, column)}")
        connection.execute(f"""
            create or replace temp table cells as
            select c.*, g.source as source_{name}
            from cells as c
            left join given as g on c.row_{name} = g.original_row""")  # noqa: S608
    connection.execute(
        """
        insert into difference
        select
          record_id, row_a, row_b, $1, value_a, value_b, source_a, source_b,
          case when value_a = '' then 'filled' when value_b = '' then 'emptied' else 'changed' end, $2, $3
        from cells""",
        [column, column in MATCH_COLUMNS, place],
    )


def column_cells(column: str, aligned: bool) -> str:
    """Returns the query of a column's cells that differ, as text; null and empty are the same."""
    a, b = (
        f"(select row_number() over () as position, coalesce(cast(r.{sql_name(column)} as varchar), '') as value from merged_result_{name} as r) as {name}"  # noqa: S608
        for name in ("a", "b")
    )
    if aligned:
        return f"select a.position as position_a, a.value as value_a, b.value as value_b from {a} positional join {b} where a.value <> b.value"  # noqa: S608
    return f"""
        select a.position as position_a, a.value as value_a, b.value as value_b
        from (select position_a, position_b from pairs where status = 'both') as p
        inner join {a} on p.position_a = a.position
        inner join {b} on p.position_b = b.position
        where a.value <> b.value"""  # noqa: S608


def sources(connection: duckdb.DuckDBPyConnection, name: str, column: str) -> str:
    """Returns the query of the file and row that gave a column's cells in ``cells``: original_row, source."""
    number = connection.execute(
        f"select min(column_number) from {name}.stg_columns where column_name = $1",  # noqa: S608
        [column],
    ).fetchone()
    n = number[0] if number else None
    if n is None:
        given = "(select cast(null as bigint) as original_row, cast(null as bigint) as record where 1 = 0)"
    elif result_of(connection, name) == "int_result":
        given = f"(select _merge_original_row as original_row, _merge_record_{n} as record from int_result_{name})"  # noqa: S608
    else:
        given = f"(select original_row, record from int_cells_{name} where column_number = {n})"  # noqa: S608
    return f"""
        select g.original_row, concat(f.source, ' row ', g.record % 4294967296) as source
        from {given} as g
        inner join {name}.stg_files as f on cast(floor(g.record / 4294967296) as int) = f.file_order
        where g.original_row in (select row_{name} from cells)"""  # noqa: S608


# By the row in B, where it has none by that in A; then by column.
ORDER = "coalesce(row_b, row_a), place, row_a"


def first_cells(connection: duckdb.DuckDBPyConnection, n: int) -> list[tuple]:
    """Returns the first n differing data cells: record_id, row_a, row_b, column, value_a, value_b, source_a, source_b."""
    return connection.execute(
        "select record_id, row_a, row_b, column_name, value_a, value_b, source_a, source_b from difference"  # noqa: S608
        f" where column_name is not null and not is_match_column order by {ORDER} limit $1",
        [n],
    ).fetchall()


# -- The file --


def check_target(path: Path, merges: Sequence[Path] = ()) -> None:
    """Refuses a target of ``save`` that could not be written, or that is a file of the merges, before the work."""
    if not path.parent.is_dir():
        raise DiffProblem(f"--csv: there is no folder '{path.parent}'; make it first, or name another file")
    if path.is_dir():
        raise DiffProblem(f"--csv: '{path}' is a folder; name a file in it")
    if path.name == "merge.duckdb":
        raise DiffProblem(f"--csv: '{path}' is a merge's database; name another file")
    for merge in merges:
        if protect.is_of_merge(merge, path):
            raise DiffProblem(f"--csv: '{path}' is a file of the merge in {merge}; name another file")
    if not os.access(path.parent, os.W_OK):
        raise DiffProblem(f"--csv: the folder '{path.parent}' can't be written to")


def check_inputs(
    connection: duckdb.DuckDBPyConnection, path: Path, manifests: Sequence[dict[str, Any]]
) -> None:
    """Refuses a target of ``save`` that one of the merges has read: an input, decisions, or its spec."""
    if not path.exists():
        return
    query = "select path from a.main.stg_files union all select path from b.main.stg_files"
    files = [row[0] for row in connection.execute(query).fetchall()]
    for manifest in manifests:
        files += [manifest.get("spec_file"), *(manifest.get("spec", {}).get("assertions") or [])]
    if any(isinstance(read, str) and os.path.exists(read) and path.samefile(read) for read in files):
        raise DiffProblem(f"--csv: '{path}' was read by one of the merges; name another file")


def save(connection: duckdb.DuckDBPyConnection, path: Path, export: dict[str, Any]) -> None:
    """Writes every difference as CSV, whole or not at all, by the rules of ``export`` in a spec; ``check_target`` comes before."""
    staging = path.with_name(f".crm-merge-diff-{os.getpid()}")
    connection.execute(f"""
        create or replace temp view differing_cells as
        select record_id, row_a, row_b, column_name, value_a, value_b, source_a, source_b, kind
        from difference order by {ORDER}""")  # noqa: S608
    try:
        staging.mkdir()
        publish.put(staging / publish.write(connection, staging, "differing_cells", "csv", [], export), path)
    except OSError as error:
        raise DiffProblem(f"--csv: '{path}' can't be written: {error.strerror}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


# -- The specs --


def manifest_of(connection: duckdb.DuckDBPyConnection, name: str, place: Path) -> dict[str, Any]:
    """Returns what a merge published, in its own directory or another folder; {} if nothing, or if that is of another run."""
    try:
        manifest = protect.published_in(place) / protect.MANIFEST
        found = json.loads(manifest.read_text(encoding="utf-8"))
        inputs = [(file["source"], file["rows"], file["sha256"]) for file in found["inputs"]]
        columns = found["columns"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    files = connection.execute(
        f"select source, physical_rows, sha256 from {name}.stg_files order by file_order"  # noqa: S608
    ).fetchall()
    described = connection.execute(f"describe merged_result_{name}").fetchall()
    return found if inputs == files and columns == [row[0] for row in described] else {}


def spec_differences(a: Any, b: Any, setting: str = "") -> list[str]:
    """Returns the settings in which two specs differ, one line each; files are known by their names."""
    if isinstance(a, dict) and isinstance(b, dict):
        names = [*a, *(name for name in b if name not in a)]
        return [
            line
            for name in names
            for line in spec_differences(a.get(name), b.get(name), f"{setting}.{name}".lstrip("."))
        ]
    if a == b:
        return []
    known = [by_name(value) for value in (a, b)]
    if all(known):
        names = [*known[0], *(name for name in known[1] if name not in known[0])]
        lines = [
            line
            for name in names
            for line in spec_differences(known[0].get(name), known[1].get(name), f"{setting}[{name}]")
        ]
        orders = [[name for name in side if name in known[0] and name in known[1]] for side in known]
        if orders[0] != orders[1]:
            lines.append(f"{setting}: in the order {', '.join(orders[0])} in A, {', '.join(orders[1])} in B")
        return lines
    values = ["not set" if value is None else json.dumps(value, ensure_ascii=False) for value in (a, b)]
    return [f"{setting}: {values[0]} in A, {values[1]} in B"]


def by_name(value: Any) -> dict[str, Any]:
    """Returns a list of settings by their names, {} if it is none or they have no names of their own."""
    if not isinstance(value, list) or not all(isinstance(part, dict) and "name" in part for part in value):
        return {}
    found = {str(part["name"]): part for part in value}
    return found if len(found) == len(value) else {}
