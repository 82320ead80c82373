"""crm-merge diff: two merges compared cell by cell, against a slow comparison in Python."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from crm_merge.cli import app as cli
from crm_merge.merging import diff, protect, publish
from tests.conftest import MERGE, merge_tables
from tests.oracle import Table
from tests.random_merges import merges
from tests.test_command_line import crm_merge
from tests.test_properties import folder, rules, run  # noqa: F401  (folder is a fixture)

WHOLE = [*MERGE, "+cell_provenance"]
PUBLISHED = [*WHOLE, *(f"+{table}" for table in protect.REPORTS)]
HEADERS = ["record_id", "row_a", "row_b", "column_name", "value_a", "value_b", "source_a", "source_b", "kind"]
# Columns called as the comparison's own would be, and a header that must be quoted.
CRM = Table(
    ["Id", "Email", "Title", "Note", "Position", "row", "rowid", 'say "x"'],
    [
        ["1", "a@x.com", "", "[red]x[/red]\nsecond line", "p1", "", "", ""],
        ["2", "b@x.com", "CFO", "=1+1", "p2", "", "", ""],
        ["3", "c@x.com", "", "\x1b[31m", "", "", "", ""],
    ],
)
A = Table(["email", "title", "position"], [["a@x.com", "CEO", "A's"], ["c@x.com", "Boss", ""]])
B = Table(["email", "title", "city"], [["a@x.com", "Chief Executive", "Rome"], ["b@x.com", "CFO", "=cmd()"]])
SPEC = {"match_on": ["email"], "original": {"record_id": "Id"}}
# A CRM whose own columns are all called as columns of the comparison's relations.
CALLED = ["Position", "place", "value", "record_id", "row_a"]


def later() -> Table:
    """Another day's CRM: row 3 moved to the top and changed, 1 changed, 2 removed, 4 new."""
    moved = [*CRM.rows[2][:3], "=2+2", *CRM.rows[2][4:]]
    changed = ["1", "a@x.com", "", "new", "p9", "", "", "y"]
    return Table(CRM.headers, [moved, changed, ["4", "d@x.com", "", "", "", "", "", ""]])


def with_ids(*ids: str) -> Table:
    """A CRM of these ids; a row's note says which of its id's rows it is."""
    times: Counter[str] = Counter()
    rows = []
    for number, value in enumerate(ids):
        times[value] += 1
        rows.append([value, f"p{number}@x.com", "", f"{value}/{times[value]}", "", "", "", ""])
    return Table(CRM.headers, rows)


def spelt(*texts: str) -> Table:
    """A CRM of one row that nobody enriches, with these texts in its own columns."""
    return Table(CRM.headers, [["1", "", "", *texts, ""]])


def called(*rows: tuple[str, str]) -> Table:
    """A CRM of rows (id, text of each of the columns in CALLED)."""
    return Table(["Id", "Email", *CALLED], [[value, "", *[text] * len(CALLED)] for value, text in rows])


def compared(a, b) -> tuple[diff.Difference, list[tuple]]:
    """The difference of two merge directories and its cells."""
    with diff.opened(a, b) as connection:
        found = diff.compare(connection)
        cells = connection.execute(
            f"select {', '.join(HEADERS)} from difference where not is_match_column order by {diff.ORDER}"
        ).fetchall()
    return found, cells


def command(*arguments) -> tuple[int, str, str]:
    """The command in this process: exit code, what it prints, its errors; a traceback fails the test."""
    done = CliRunner().invoke(cli.app, ["diff", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def merged(runner, tmp_path_factory):
    """Directories of merges, by name; first, longest and escaped are published."""
    place = tmp_path_factory.mktemp("diff")
    both, longest = [("a", A), ("b", B)], SPEC | {"strategies": {"title": "longest"}}
    wanted = {
        "first": (SPEC, CRM, both),
        "longest": (longest, CRM, both),
        "escaped": (longest | {"export": {"escape_formulas": True, "bom": True}}, later(), both),
        "update": (SPEC | {"overwrite": {"position": "update"}}, CRM, both),
        "alone": (SPEC, CRM, [("a", A)]),
        "later": (SPEC, later(), both),
        "nameless": ({"match_on": ["email"]}, Table(["Email"], [["a@x.com"]]), [("a", A)]),
        "ids_a": (SPEC, with_ids("1", "2", "2", "", "", "3", "3", "5", "5", "6"), [("a", A)]),
        "ids_b": (SPEC, with_ids("", "2", "1", "", "2", "3", "3", "3", "4"), [("a", A)]),
        "spelt": (SPEC, spelt("ceo", "1", "x", "e\u0301"), [("a", A)]),
        "spelt_otherwise": (SPEC, spelt("CEO", "1.0", "x ", "\u00e9"), [("a", A)]),
        "called": (SPEC, called(("1", "old"), ("2", "same")), [("a", A)]),
        "called_later": (SPEC, called(("1", "new"), ("2", "same")), [("a", A)]),
        "called_moved": (SPEC, called(("2", "same"), ("1", "new")), [("a", A)]),
        "remade": (SPEC, CRM, both),
        "blanks": (SPEC, with_ids("1", " ", "\u00a0", ""), [("a", A)]),
    }
    done = {}
    for name, (spec, original, vendors) in wanted.items():
        published = name in ("first", "longest", "escaped")
        done[name] = merge_tables(
            runner, place, spec, original, vendors, select=PUBLISHED if published else WHOLE
        )
        assert done[name].ok, done[name].problems
        if published:
            publish.publish(done[name].directory, spec, 1)
    return {name: merge.directory for name, merge in done.items()}


# -- What is compared --


def test_texts_are_compared_exactly(merged):
    """Case, a figure's spelling, blanks at the end and composed characters are differences."""
    _, cells = compared(merged["spelt"], merged["spelt_otherwise"])
    assert [(column, old, new) for _, _, _, column, old, new, *_ in cells] == [
        ("Note", "ceo", "CEO"),
        ("Position", "1", "1.0"),
        ("row", "x", "x "),
        ("rowid", "e\u0301", "\u00e9"),
    ]


def test_a_strategy_that_is_tried(merged):
    found, cells = compared(merged["first"], merged["longest"])
    assert (found.paired_by, found.rows, found.only_a, found.only_b) == ("row number", 3, 0, 0)
    assert cells == [("1", 1, 1, "Title", "CEO", "Chief Executive", "a row 1", "b row 1", "changed")]
    assert found.columns == [("Title", 1, 0, 0, 1)]


def test_a_vendor_left_out(merged):
    found, cells = compared(merged["first"], merged["alone"])
    assert cells == [] and found.columns_only_a == ["city"] and found.columns_only_b == []
    # row 2 is matched by B alone
    assert {column for column, *_ in found.columns} == set(diff.MATCH_COLUMNS) - {"duplicate_in_original"}
    assert ("match_tier", 1, 0, 1, 0) in found.columns and ("match_quality", 1, 0, 0, 1) in found.columns
    back, _ = compared(merged["alone"], merged["first"])
    assert back.columns_only_b == ["city"] and ("match_tier", 1, 1, 0, 0) in back.columns


def test_a_column_called_as_one_of_the_comparison_is_compared(merged):
    found, cells = compared(merged["first"], merged["update"])
    assert cells == [("1", 1, 1, "Position", "p1", "A's", None, "a row 1", "changed")]
    assert found.columns == [("Position", 1, 0, 0, 1)]


@pytest.mark.parametrize(("other", "row"), [("called_later", 1), ("called_moved", 2)])
def test_columns_called_as_those_of_the_comparison_hide_nothing(merged, other, row):
    """Of rows in their places and of rows that moved, which are read by another query."""
    found, cells = compared(merged["called"], merged[other])
    assert cells == [("1", 1, row, column, "old", "new", None, None, "changed") for column in CALLED]
    assert found.columns == [(column, 1, 0, 0, 1) for column in CALLED]


def test_another_days_original_is_paired_by_record_id(merged):
    found, cells = compared(merged["first"], merged["later"])
    assert (found.paired_by, found.rows, found.only_a, found.only_b) == ("Id", 2, 1, 1)
    assert cells == [
        ("3", 3, 1, "Note", "\x1b[31m", "=2+2", None, None, "changed"),
        ("2", 2, None, None, None, None, None, None, "row_only_in_a"),
        ("1", 1, 2, "Note", "[red]x[/red]\nsecond line", "new", None, None, "changed"),
        ("1", 1, 2, "Position", "p1", "p9", None, None, "changed"),
        ("1", 1, 2, 'say "x"', "", "y", None, None, "filled"),
        ("4", None, 3, None, None, None, None, None, "row_only_in_b"),
    ]


def test_a_moved_row_has_the_source_of_its_own_row(merged):
    _, cells = compared(merged["first"], merged["escaped"])
    assert ("1", 1, 2, "Title", "CEO", "Chief Executive", "a row 1", "b row 1", "changed") in cells


def test_repeated_ids_pair_in_order_or_are_told(merged):
    """2 and the blank one stand twice on both sides; 3 twice and three times; 4, 5 and 6 on one side only."""
    found, cells = compared(merged["ids_a"], merged["ids_b"])
    assert (found.rows, found.only_a, found.only_b) == (5, 3, 1)
    assert (found.not_comparable_a, found.not_comparable_b, found.examples) == (2, 3, [("3", 2, 3)])
    kinds = defaultdict(list)
    for record_id, row_a, row_b, column, *_, kind in cells:
        if column is None:
            kinds[kind].append((record_id, row_a, row_b))
    assert kinds == {
        "row_only_in_a": [("5", 8, None), ("5", 9, None), ("6", 10, None)],
        "row_only_in_b": [("4", None, 9)],
        "not_comparable": [("3", 6, None), ("3", None, 6), ("3", 7, None), ("3", None, 7), ("3", None, 8)],
    }
    # the notes number the rows of an id, so that pairs in order differ in the address alone
    assert {cell[3] for cell in cells if cell[3]} == {"Email"}
    with diff.opened(merged["ids_a"], merged["ids_b"]) as connection:
        diff.compare(connection)
        pairs = connection.execute("select row_a, row_b from pairs where status = 'both'").fetchall()
    assert sorted(pairs) == [(1, 3), (2, 2), (3, 5), (4, 1), (5, 4)]


def test_blank_ids_that_are_not_as_many_are_told(merged):
    found, _ = compared(merged["ids_a"], merged["blanks"])
    assert (found.not_comparable_a, found.not_comparable_b, found.examples) == (2, 3, [(None, 2, 3)])
    assert (found.rows, found.only_a, found.only_b) == (1, 7, 0)
    # and where the other side has none: a row may have been given its id
    found, _ = compared(merged["first"], merged["blanks"])
    assert (found.not_comparable_a, found.not_comparable_b, found.rows) == (0, 3, 1)
    _, out, _ = command(merged["ids_a"], merged["blanks"])
    assert "2 rows of A and 3 of B can't be paired" in out and "(blank: 2 in A, 3 in B)" in out


def test_a_copied_directory_is_compared_by_its_own_rows(merged, tmp_path):
    """A directory that was kept knows nothing of what became of the place where its merge was made."""
    made, expected = merged["remade"], compared(merged["first"], merged["longest"])
    kept, moved = tmp_path / "Note=kept [x]", tmp_path / "moved"  # as the folder of a partition by Note
    shutil.copytree(merged["ids_a"], tmp_path / "Note=kept x")  # what the name would mean as a pattern
    shutil.copytree(made, kept)
    shutil.move(made, moved)
    shutil.copytree(merged["longest"], made)  # another merge where the views of both name theirs
    assert expected[1] and compared(kept, made) == compared(moved, made) == expected
    assert compared(kept, moved)[1] == []
    shutil.rmtree(made)  # and none
    assert compared(kept, merged["longest"]) == expected
    assert compared(kept, merged["later"]) == compared(merged["first"], merged["later"])


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (str(diff.LANDED), "lacks .crm-merge/landing/rows_0_0.parquet"),
        (".crm-merge/parts/int_result.0000000.parquet", "lacks the files of int_result"),
    ],
)
def test_a_copy_that_is_not_whole_is_told(merged, tmp_path, part, said):
    shutil.copytree(merged["first"], tmp_path / "kept")
    (tmp_path / "kept" / part).unlink()
    code, _, err = command(tmp_path / "kept", merged["later"])
    assert code == 1 and said in err.replace("\n", " ")


def test_a_merge_of_an_older_version_is_compared(merged, tmp_path):
    """Its result and its cells were kept in files of their own."""
    shutil.copytree(merged["first"], tmp_path / "old")
    parts = tmp_path / "old" / ".crm-merge" / "parts"
    with duckdb.connect(str(merged["first"] / "merge.duckdb"), read_only=True) as connection:
        for relation in ("merged_result", "int_cells"):
            connection.execute(
                f"copy (from {relation}) to '{parts}/{relation}.0000000.parquet' (format parquet)"
            )
    (parts / "int_result.0000000.parquet").unlink()
    with duckdb.connect(str(tmp_path / "old" / "merge.duckdb")) as connection:
        connection.execute("drop view int_result")
    assert compared(tmp_path / "old", merged["later"]) == compared(merged["first"], merged["later"])


def test_a_merge_and_itself(merged):
    found, cells = compared(merged["first"], merged["first"])
    assert cells == [] and found.columns == [] and found.rows == 3
    code, out, _ = command(merged["first"], merged["first"])
    assert code == 0 and "No cell differs." in out and "The specs are the same." in out


def test_a_comparison_can_spill(merged, monkeypatch):
    """More rows than fit the limit go to the disk, and nothing of them stays."""
    monkeypatch.setenv("DUCKDB_MEMORY_LIMIT", "30MB")
    before = sorted(os.listdir(merged["longest"] / ".crm-merge"))
    with diff.opened(merged["first"], merged["longest"]) as connection:
        connection.execute("create temp table large as select i, hash(i) as h from range(5_000_000) t (i)")
        spilled = connection.execute("select count(*), sum(size) from duckdb_temporary_files()").fetchone()
    assert spilled[0] > 0 and spilled[1] > 0
    assert sorted(os.listdir(merged["longest"] / ".crm-merge")) == before


@rules(2)
@given(case=merges(), strategy=st.sampled_from(["last", "longest", "collect", "unanimous", "max"]))
def test_the_difference_is_that_of_the_results(runner, folder, case, strategy):  # noqa: F811
    """Every differing cell and no other, with its sources, whatever the spec."""
    first = run(runner, folder, case, select=WHOLE)
    case.spec["strategies"] = {"default": strategy}
    case.spec.pop("groups", None)
    second = run(runner, folder, case, select=WHOLE)
    numbers = range(1, len(case.original.rows) + 1)
    check(first, second, [(n, n) for n in numbers], [], [str(n) for n in numbers])


@rules(3)
@given(case=merges(), data=st.data())
def test_the_difference_of_two_days(runner, folder, case, data):  # noqa: F811
    """Rows moved, lost, repeated, changed and with other ids: pairs found by counting."""
    place = case.original.headers.index("Id")
    case.spec["original"] = {"record_id": "Id"}
    ids = st.sampled_from(["1", "1", "2", "3", "", " "])
    rows = [list(row) for row in case.original.rows] or [["", *[""] * (len(case.original.headers) - 1)]]
    for row in rows:
        row[place] = data.draw(ids)
    case.original.rows[:] = rows
    first = run(runner, folder, case, select=WHOLE)
    other = [list(row) for row in data.draw(st.lists(st.sampled_from(rows), min_size=1, max_size=8))]
    other.append([*rows[0][:place], "9", *rows[0][place + 1 :]])  # never the same file
    case.original.rows[:] = other
    second = run(runner, folder, case, select=WHOLE)
    numbers = [defaultdict(list), defaultdict(list)]
    for side, table in zip(numbers, (rows, other), strict=True):
        for n, row in enumerate(table, start=1):
            side[row[place].strip()].append(n)
    pairs, alone = [], []
    for value in {*numbers[0], *numbers[1]}:
        in_a, in_b = numbers[0][value], numbers[1][value]
        if len(in_a) == len(in_b):
            pairs += zip(in_a, in_b, strict=True)
            continue
        lost = value == "" or (in_a and in_b)
        alone += [(n, None, "not_comparable" if lost else "row_only_in_a") for n in in_a]
        alone += [(None, n, "not_comparable" if lost else "row_only_in_b") for n in in_b]
    check(first, second, pairs, alone, [row[place].strip() for row in rows])


def check(first, second, pairs, alone, ids) -> None:
    """Holds a difference to what dictionaries say; ids are those of A's rows."""
    tables = [merge.table("merged_result") for merge in (first, second)]
    sources = [
        {(row, column): f"{source} row {n}" for row, column, source, n in merge.query(
            "select original_row, column_name, source, source_row from cell_provenance")}
        for merge in (first, second)
    ]  # fmt: skip
    shared = [h for h in tables[0].headers if h in tables[1].headers and h != "match_explanation"]
    expected = Counter((row_a, row_b, None, None, None, None, None, kind) for row_a, row_b, kind in alone)
    id_of = {}
    for row_a, row_b in pairs:
        a = dict(zip(tables[0].headers, tables[0].rows[row_a - 1], strict=True))
        b = dict(zip(tables[1].headers, tables[1].rows[row_b - 1], strict=True))
        for column in shared:
            if a[column] != b[column]:
                kind = "filled" if a[column] == "" else "emptied" if b[column] == "" else "changed"
                told = sources[0].get((row_a, column)), sources[1].get((row_b, column))
                expected[(row_a, row_b, column, a[column], b[column], *told, kind)] += 1
        id_of[row_a] = ids[row_a - 1] or None
    with diff.opened(first.directory, second.directory) as connection:
        found = diff.compare(connection)
        cells = connection.execute(f"select {', '.join(HEADERS)} from difference").fetchall()
    assert Counter(cell[1:] for cell in cells) == expected
    assert all(cell[0] == id_of[cell[1]] for cell in cells if cell[3])
    assert found.rows == len(pairs)
    per_column = Counter((cell[3], kind) for *cell, kind in cells if cell[3])
    counts = ("filled", "emptied", "changed")
    assert found.columns == [
        (c, sum(per_column[c, kind] for kind in counts), *(per_column[c, kind] for kind in counts))
        for c in shared
        if any(per_column[c, kind] for kind in counts)
    ]


# -- What is told --


def test_the_screen(merged):
    code, out, err = command(merged["first"], merged["longest"])
    assert (code, err) == (0, "")
    assert f"A  {merged['first']}, finished at 20" in out.replace("\n", "")
    assert 'strategies: not set in A, {"title": "longest"} in B' in out
    assert "3 compared, paired by row number; 0 only in A, 0 only in B" in out
    assert "CEO (a row 1)" in out and "(b row 1)" in out
    assert out.rstrip().endswith("Differing  1 cells in 1 columns of data, 0 in 0 match columns.")
    code, out, _ = command(merged["first"], merged["alone"])
    assert code == 0 and "only in A: city" in out and "match column" in out
    assert "its spec is not known" in out and "0 in 0 columns of data" not in out
    code, out, _ = command(merged["first"], merged["later"], "--show", "1")
    assert "the first 1 are shown" in out and "p9" not in out


def test_hostile_cells_reach_the_screen_as_text(merged):
    _, out, _ = command(merged["first"], merged["later"])
    flat = " ".join(out.split())
    assert "[red]x[/red] second line" in flat and "=2+2" in flat
    assert "3 → 1 Note [31m =2+2" in flat and "\x1b" not in out


def read(path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_file_reads_back(merged, tmp_path):
    target = tmp_path / "d.csv"
    target.write_text("an earlier one")
    code, out, err = command(merged["first"], merged["later"], "--csv", target)
    assert code == 0, err
    assert "Written" in out and "escaped" not in out
    with diff.opened(merged["first"], merged["later"]) as connection:
        diff.compare(connection)
        cells = connection.execute(
            f"select {', '.join(HEADERS)} from difference order by {diff.ORDER}"
        ).fetchall()
    assert read(target) == [
        HEADERS,
        *(["" if cell is None else str(cell) for cell in row] for row in cells),
    ]
    assert ["1", "1", "2", "Note", "[red]x[/red]\nsecond line", "new", "", "", "changed"] in read(target)
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]


def test_formulas_are_escaped_as_the_spec_of_b_says(merged, tmp_path):
    code, out, err = command(merged["first"], merged["escaped"], "--csv", tmp_path / "d.csv")
    assert code == 0 and "formulas escaped as the spec of B says" in out, err
    rows = read(tmp_path / "d.csv")
    assert rows[0] == ["\ufeffrecord_id", *HEADERS[1:]]
    assert rows[1] == ["3", "3", "1", "Note", "\x1b[31m", "'=2+2", "", "", "changed"]


def test_a_file_that_can_not_be_written_leaves_the_earlier_one(merged, tmp_path, monkeypatch):
    target = tmp_path / "d.csv"
    target.write_text("an earlier one")

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publish, "put", broken)
    code, _, err = command(merged["first"], merged["later"], "--csv", target)
    assert code == 1 and "can't be written: No space left on device" in err.replace("\n", " ")
    assert target.read_text() == "an earlier one"
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]


def test_specs_are_compared_by_setting_and_by_file_name():
    a = {
        "enriched": [{"name": "x", "path": "x.csv"}, {"name": "y", "path": "y.csv"}, {"name": "z"}],
        "match_on": ["email", "phone"],
        "strategies": {"title": "longest"},
    }
    b = {
        "enriched": [{"name": "y", "path": "other.csv"}, {"name": "x", "path": "x.csv"}],
        "match_on": ["email"],
        "strategies": {"title": "first"},
        "region": "US",
    }
    assert diff.spec_differences(a, b) == [
        'enriched[y].path: "y.csv" in A, "other.csv" in B',
        'enriched[z]: {"name": "z"} in A, not set in B',
        "enriched: in the order x, y in A, y, x in B",
        'match_on: ["email", "phone"] in A, ["email"] in B',
        'strategies.title: "longest" in A, "first" in B',
        'region: not set in A, "US" in B',
    ]
    assert diff.spec_differences(a, a) == []


def test_a_manifest_of_another_run_is_not_taken_for_this_ones(merged, tmp_path):
    place = tmp_path / "m"
    shutil.copytree(merged["later"], place)
    shutil.copytree(merged["first"] / "out", place / "out")
    _, out, _ = command(merged["first"], place)
    assert "no out/manifest.json of this merge" in out


# -- Mistakes --


def test_without_an_id_other_originals_are_refused(merged):
    code, _, err = command(merged["first"], merged["nameless"])
    assert code == 1 and "B has none" in err and "original: {record_id: Id}" in err.replace("\n", " ")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("nowhere", "there is no merge directory"),
        ("empty", "there is no merge.duckdb in it"),
        ("unfinished", "did not finish: its merge.duckdb has no merged_result"),
        ("stale", "did not finish: the CRM was read anew"),
        ("earlier", "made by an earlier crm-merge"),
        ("garbage", "can't be read"),
    ],
)
def test_what_is_no_finished_merge(merged, tmp_path, broken, said):
    place = tmp_path / broken
    if broken in ("unfinished", "stale", "earlier"):
        shutil.copytree(merged["first"], place)
        changes = {
            "unfinished": "drop view merged_result",
            "stale": f"copy (from int_result where Id <> '2') to '{place}/.crm-merge/parts/int_result.0000000.parquet'",
            "earlier": "alter table stg_columns drop column is_record_id",
        }
        with duckdb.connect(str(place / "merge.duckdb")) as connection:
            connection.execute(changes[broken])
    elif broken != "nowhere":
        place.mkdir()
    if broken == "garbage":
        (place / "merge.duckdb").write_text("no database" * 2000)
    for pair in ((merged["first"], place), (place, merged["first"])):
        code, _, err = command(*pair)
        assert code == 1 and said in err.replace("\n", " ")


def test_a_merge_that_is_being_written_is_told(merged, tmp_path):
    shutil.copytree(merged["first"], tmp_path / "busy")
    with duckdb.connect(str(tmp_path / "busy" / "merge.duckdb")):
        code, _, err = crm_merge("diff", merged["first"], tmp_path / "busy")
    assert code == 1 and "is open in another process" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("target", "said"),
    [("no/d.csv", "there is no folder"), (".", "is a folder"), ("merge.duckdb", "is a merge's database")],
)
def test_a_target_that_can_not_be_written_is_told_first(merged, tmp_path, monkeypatch, target, said):
    monkeypatch.setattr(diff, "compare", None)
    code, _, err = command(merged["first"], merged["later"], "--csv", tmp_path / target)
    assert code == 1 and said in err.replace("\n", " ")
    assert os.listdir(tmp_path) == []


def test_too_little_memory_is_told(merged, monkeypatch):
    monkeypatch.setenv("DUCKDB_MEMORY_LIMIT", "1MB")
    code, _, err = command(merged["first"], merged["later"])
    assert code == 1 and "DUCKDB_MEMORY_LIMIT" in err


def test_no_file_of_the_merges_is_written_over(merged, tmp_path):
    result = merged["first"] / "out" / "merged_result.csv"
    with duckdb.connect(str(merged["first"] / "merge.duckdb"), read_only=True) as connection:
        [(read,)] = connection.execute("select path from stg_files where file_order = 1").fetchall()
    (tmp_path / "link.csv").symlink_to(read)
    for target, said in (
        (result, "is a file of the merge"),
        (Path(read), "was read by"),
        (tmp_path / "link.csv", "was read by"),
    ):
        before = target.read_bytes()
        code, _, err = command(merged["first"], merged["later"], "--csv", target)
        assert code == 1 and said in err.replace("\n", " ")
        assert target.read_bytes() == before


def test_no_published_file_is_written_over(merged, tmp_path):
    shutil.copytree(merged["first"], tmp_path / "m")
    spec = {"original": {"path": "x"}, "export": {"to": str(tmp_path / "results")}}
    publish.publish(tmp_path / "m", spec, 1)
    code, _, err = command(
        tmp_path / "m", merged["later"], "--csv", tmp_path / "results" / "merged_result.csv"
    )
    assert code == 1 and "is a file of the merge" in err.replace("\n", " ")
    code, _, err = command(tmp_path / "m", merged["later"], "--csv", tmp_path / "results" / "differences.csv")
    assert code == 0, err
