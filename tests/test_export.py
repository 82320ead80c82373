"""What is published: the same cells for every reader, and nothing that a spreadsheet would run, if so asked."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import duckdb
import pandas
import pytest

from crm_merge.merging.publish import ROW_GROUP, connect, escaped, make_room, publish, write
from tests.servers import POSTGRES, postgres_server

NASTY = [
    *(",", "a,b", ",,,", ";", "a|b", "a\tb", "\tx", "x\t"),
    *('"', '""', '"""', 'say "hi"', '"quoted"', '","', "'", "''", "'x'", '"\n"', '",\n,"'),
    *("a\nb", "a\r\nb", "a\rb", "\nx", "x\n", "x\r", "a\n\nb", "\r\n,\r\n", "\n"),
    *(" x", "x ", "  ", " , ", "\u00a0x\u00a0", "\u3000", "\u200bx"),
    *("\\.", "x\n\\.\ny", "\\.\n", "\n\\.", "\\", "\\\\", "a\\", '\\"', "\\n", "\\N", "C:\\new\\table"),
    *("", "NULL", "null", "None", "NaN", "nan", "N/A", "NA", "#N/A", "-", "TRUE", "false", "inf"),
    *("007", "1e5", "1E+05", "0x1F", "1.0", "1,5", "-1", "+1", "2024-01-01", "1/2", "12:30", "9" * 40),
    *("#comment", "# x", "--x", "=1+1", "@x", "{a}", "[1]", "(b)", "%", "$1", "^", "~"),
    *("é", "e\u0301", "日本", "😀", "👩‍👩‍👧", "שלום", "\u202ertl\u202c", "\ufeffx", "\x01", "\x7f", "\u2028", "\u0085"),
    *("x" * 100_000, 'y,"\n' * 25_000),
]  # fmt: skip
HEADERS = ["Note", "Id", "Email", 'He said "hi", or\nnot', "a,b", "'", "#", "=cmd()", "Last"]


@pytest.fixture(scope="module")
def merged(runner, tmp_path_factory):
    """A merge whose cells are all nasty, the CRM's first and last and the vendor's; Parquet holds them without quoting."""
    folder = tmp_path_factory.mktemp("export")
    rows = [[cell, str(n), f"p{n}@acme.com", cell, "", cell, "", "", cell] for n, cell in enumerate(NASTY)]
    rows.append(["only the first cell", *[""] * 8])
    rows.append(
        ["", "=two()", "p0@acme.com; p1@acme.com", *[""] * 6]
    )  # two entities: a pair of the review queue
    crm = pandas.DataFrame(rows, columns=HEADERS, dtype="str")
    vendor = pandas.DataFrame({"email": crm["Email"], "sold": crm["Note"]})[: len(NASTY)]
    for name, frame in {"crm": crm, "apollo": vendor}.items():
        duckdb.from_df(frame).write_parquet(str(folder / f"{name}.parquet"))
    spec = {
        "original": {"path": str(folder / "crm.parquet")},
        "enriched": [{"name": "@apollo", "path": str(folder / "apollo.parquet")}],
        "match_on": ["email"],
    }
    done = runner(spec, select=None)
    assert done.ok, done.problems
    table = done.table("merged_result")
    assert table.headers[: len(HEADERS)] == HEADERS
    assert [row[: len(HEADERS)] for row in table.rows] == rows
    sold = table.headers.index("sold")
    assert len({row[sold] for row in table.rows}) > 80
    return SimpleNamespace(merge=done, table=table, spec=spec)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "marked"])
def published(request, merged):
    """The CSV file, and whether it has the UTF-8 mark."""
    publish(merged.merge.directory, merged.spec | {"export": {"bom": request.param}}, 1.0)
    path = merged.merge.directory / "out" / "merged_result.csv"
    assert path.read_bytes().startswith(b"\xef\xbb\xbf") == request.param
    assert path.read_bytes().removeprefix(b"\xef\xbb\xbf").startswith(b"Note,Id")
    return SimpleNamespace(path=path, bom=request.param)


def assert_same(headers, rows, table):
    assert [str(header) for header in headers] == table.headers
    assert len(rows) == len(table.rows)
    for found, wanted in zip(rows, table.rows, strict=True):
        assert [cell or "" for cell in found] == wanted


def test_duckdb_reads_the_same(published, merged):
    with duckdb.connect() as connection:
        read = connection.execute("select * from read_csv(?, all_varchar = true)", [str(published.path)])
        assert_same([column[0] for column in read.description], read.fetchall(), merged.table)


def test_pandas_reads_the_same(published, merged):
    read = pandas.read_csv(published.path, dtype=str, keep_default_na=False)
    assert_same(read.columns, read.to_numpy().tolist(), merged.table)


def test_python_reads_the_same(published, merged):
    csv.field_size_limit(1 << 20)
    encoding = "utf-8-sig" if published.bom else "utf-8"
    with published.path.open(encoding=encoding, newline="") as file:
        headers, *rows = csv.reader(file, dialect="excel", strict=True)
    assert_same(headers, rows, merged.table)


@pytest.fixture(scope="module", params=POSTGRES)
def postgres(request):
    with postgres_server(request.param) as connection:
        [found] = connection.execute("show server_version").fetchone()
        assert found.startswith(f"{request.param}.")
        yield connection


def test_postgresql_reads_the_same(published, merged, postgres):
    columns = ", ".join(f"c{number} text" for number in range(len(merged.table.headers)))
    postgres.execute("drop table if exists loaded")
    postgres.execute(f"create table loaded (line integer generated always as identity, {columns})")
    names = ", ".join(f"c{number}" for number in range(len(merged.table.headers)))
    with (
        published.path.open("rb") as file,
        postgres.cursor() as cursor,
        cursor.copy(f"copy loaded ({names}) from stdin with (format csv, header)") as copy,
    ):
        while chunk := file.read(1 << 16):
            copy.write(chunk)
    rows = postgres.execute(f"select {names} from loaded order by line").fetchall()
    assert_same(merged.table.headers, rows, merged.table)


ESCAPED = [
    *("=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\tx", "\rx", "\nx"),
    *("＝1+1", "＋1", "－1", "＠x", "=", "-", "+", "--1", "-x", "-1e5", "-1.5.2", "- 1", "-12.5 "),
    *(" =1+1", "  @x", "\u00a0=1", "\u3000＝1", "\u200b=1", "\ufeff=1", "\u00ad=1", "\u2060\u200e -1+1"),
    *("\x0b=1", "\x00=1", "\u2800=1", "\u3164=1", "\u0085=1", " \t \n=1", "=1\nx", '="x"', "=a,b"),
    *("+123456", "+1234567890123456", " +14155550100", "+14155550100 ", "+14155550100\n", "+1415555010x"),
    *("+33 6 12 34 56 78", "+1-555-0100", "+1 (415) 555-0100", "＋14155550100", "+１４１５５５５０１００", "++14155550100"),
]  # fmt: skip
KEPT = [
    *("+14155550100", "+1234567", "+123456789012345", "-12.5", "-12,5", "-7", "-0"),
    *("", " ", "x", "a=1", "a@x.com", "1-2", "1+1", "x\n=1+1", "x,=1+1", 'x",=1+1', '"=1+1"', "'=1+1", "’=1"),
    *("#x", "|x", "%x", "(1)", "é", "\u200bx", " x", "\u2014x", "2024-01-01"),
]  # fmt: skip


@pytest.fixture
def database(tmp_path):
    with duckdb.connect(str(tmp_path / "merge.duckdb")) as connection:
        connection.execute(
            """create table t ("=cmd()" text, "'=CMD()" text, "+14155550100" text, n integer, d date, b boolean)"""
        )
        for number, cell in enumerate(ESCAPED + KEPT):
            row = [cell, None, cell, -number, "2024-01-01", True]
            connection.execute("insert into t values (?, ?, ?, ?, ?, ?)", row)
    with connect(tmp_path) as connection:
        yield connection


def test_formulas_are_escaped(database, tmp_path):
    read = database.execute(escaped(database, "t"))
    headers = [column[0] for column in read.description]
    assert headers == ["''=cmd()", "'=CMD()", "+14155550100", "n", "d", "b"]
    wanted = [f"'{cell}" for cell in ESCAPED] + KEPT
    rows = read.fetchall()
    assert [row[0] for row in rows] == wanted
    assert [row[1] for row in rows] == [None] * len(wanted)
    assert [row[2] for row in rows] == wanted
    assert [row[3] for row in rows] == [-number for number in range(len(wanted))]


def test_only_csv_is_escaped_and_marked(database, tmp_path):
    asked = {"escape_formulas": True, "bom": True}
    for name in ("csv", "parquet"):
        write(database, tmp_path, "t", name, [], asked)
    assert (tmp_path / "t.csv").read_bytes().startswith(b"\xef\xbb\xbf''=cmd(),'=CMD(),")
    assert sorted(path.name for path in tmp_path.glob("t.*")) == ["t.csv", "t.parquet"]
    parquet = duckdb.sql(f"select * from '{tmp_path}/t.parquet'")
    assert parquet.columns == ["=cmd()", "'=CMD()", "+14155550100", "n", "d", "b"]
    assert [row[0] for row in parquet.fetchall()] == ESCAPED + KEPT
    write(database, tmp_path, "t", "csv", [], {})
    assert (tmp_path / "t.csv").read_bytes().startswith(b"=cmd(),'=CMD(),")


def test_published_files_and_manifest_say_that_cells_were_escaped(merged):
    out = merged.merge.directory / "out"
    for asked in (True, False):
        publish(merged.merge.directory, merged.spec | {"export": {"escape_formulas": asked}}, 1.0)
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["csv"] == {"formulas_escaped": asked, "byte_order_mark": False}
        with (out / "merged_result.csv").open(encoding="utf-8", newline="") as file:
            headers, *rows = csv.reader(file)
        assert ("'=cmd()" in headers) == asked
        assert ("=cmd()" in headers) == (not asked)
        cells = {cell for row in rows for cell in row}
        assert ("'=1+1" in cells, "=1+1" in cells) == (asked, not asked)
        with (out / "review_queue.csv").open(encoding="utf-8", newline="") as file:
            assert {row["b_source"] for row in csv.DictReader(file)} == {"'@apollo" if asked else "@apollo"}


def test_a_marked_and_escaped_queue_reads_back_as_decisions(runner, tmp_path):
    (tmp_path / "crm.csv").write_text("Id,Email\n1,a@x.com; b@x.com\n")
    (tmp_path / "apollo.csv").write_text("email,shoe\na@x.com,Rome\nb@x.com,Oslo\n")
    spec = {
        "original": {"path": str(tmp_path / "crm.csv")},
        "enriched": [{"name": "apollo", "path": str(tmp_path / "apollo.csv")}],
        "match_on": ["email"],
        "export": {"escape_formulas": True, "bom": True},
    }
    first = runner(spec, select=None)
    assert first.query("select match_status, shoe from merged_result") == [("ambiguous", "Rome")]
    publish(first.directory, spec, 1.0)
    queue = (first.directory / "out" / "review_queue.csv").read_text(encoding="utf-8")
    head, one, two = queue.splitlines()
    assert head.startswith("\ufeffkind,why,decision,")
    (tmp_path / "decisions.csv").write_text(
        "\n".join([head, one.replace(",,original,", ",cannot_link,original,"), two, ""]), encoding="utf-8"
    )
    second = runner(spec | {"assertions": str(tmp_path / "decisions.csv")}, select=None)
    assert second.ok, second.problems
    assert second.query("select match_status, shoe from merged_result") == [("matched_direct", "Oslo")]


@pytest.mark.parametrize(("size", "count"), [(300, 140_000), (900, 140_000), (5_000, 30_000), (300_000, 400)])
def test_a_row_group_has_as_many_rows_as_take_64_mb(size, count):
    with duckdb.connect() as connection:
        connection.execute(
            f"create table merged_result as select repeat('x', {size}) as a from range({count})"
        )
        connection.execute("create table stg_files as select 2000 as largest_row_bytes, 1 as long_row_bytes")
        rows = make_room(connection)
    assert rows * size <= 64_000_000
    assert rows == ROW_GROUP or 2 * rows * size > 64_000_000
