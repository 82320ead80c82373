"""Files that were once read wrong without a word, each as small as it can be: now they are refused, rejected or said."""

from __future__ import annotations

import gzip
import random

import duckdb
import pytest

from crm_merge.reading import inputs
from tests.reader import read

ROWS = [f"p{n}@x.com,Title{chr(97 + n % 5)},City{chr(107 + n % 4)}" for n in range(1, 31)]
HEADER = "Email,Title,City"


def lines(*parts) -> str:
    found: list[str] = []
    for part in parts:
        found += part if isinstance(part, list) else [part]
    return "\n".join(found) + "\n"


REFUSED = {
    "an unclosed quote begins the header": (
        lines('"Id,Email,Title', "1,a@x.com,", '2,b@x.com,"VP, Marketing"', "3,c@x.com,", "4,d@x.com,"),
        "a quote in the header is not closed",
    ),
    "the header's last quote is never closed": (
        lines('Email,Title,"Notes', ROWS),
        "a quote in the header is not closed",
    ),
    "a quote in a row closes the header's": (
        lines('Email,Title,"City', ROWS[:9], ROWS[9] + '"', ROWS[10:]),
        "seems to hold whole rows",
    ),
    "the columns change their order": (
        lines(HEADER, ROWS[:10], "Email,City,Title", ROWS[10:]),
        "line 12: a second table seems to begin",
    ),
    "another header of the same width": (
        lines("Email,Title,City", ROWS[:10], "E-Mail,Position,Town", ROWS[10:]),
        "line 12: a second table seems to begin",
    ),
    "another table of the same width": (
        lines(HEADER, ROWS, "Domain,Industry,HQ", "firm0.com,IT,Rome", "firm1.com,IT,Rome"),
        "line 32: a second table seems to begin",
    ),
    "a line of groups above the header": (
        lines("Contact,Job,Place", HEADER, ROWS),
        "line 2 looks like a part of the header",
    ),
    "a line of types under the header": (
        lines(HEADER, "string,string,string", ROWS),
        "line 2 looks like a part of the header",
    ),
    "a drawn line under the header": (
        lines(HEADER, "-----,-----,-----", ROWS),
        "line 2 looks like a part of",
    ),
    "two delimiters that fit": (
        lines("Email;Revenue, EUR", [f"u{n}@b.c;0,5" for n in range(9)]),
        "declare which it is",
    ),
    "a delimiter of two characters": (
        lines("Email||Title||City", [row.replace(",", "||") for row in ROWS]),
        "the delimiter seems to be '||'",
    ),
    "JSON over several lines": ('{\n  "email": "a@x.com"\n}\n', "JSON over several lines"),
    "JSON that is NaN": ('{"a": NaN}\n{"a": NaN}\n', "NaN"),
    "a database": ("SQLite format 3\0" + "x" * 50, "an SQLite database"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    content, words = REFUSED[name]
    (tmp_path / "v.csv").write_text(content)
    problem = read(tmp_path / "v.csv").problem
    assert problem and words in problem, problem


REJECTED = {
    "the header once more, in quotes": lines(HEADER, ROWS[:10], '"Email","Title","City"', ROWS[10:]),
    "the header once more, in capitals": lines(HEADER, ROWS[:10], HEADER.upper(), ROWS[10:]),
    "the header once more, with spaces": lines(HEADER, ROWS[:10], "Email, Title, City", ROWS[10:]),
    "a total": lines(
        "Email,Title,Revenue", [f"{row[:-5]}{n}" for n, row in enumerate(ROWS)], "Total,,5000.50"
    ),
    "a grand total": lines(
        "Email,Title,Revenue", [f"{row[:-5]}{n}" for n, row in enumerate(ROWS)], "Grand Total:,,7"
    ),
    "a sum in German": lines(
        "Email,Title,Revenue", [f"{row[:-5]}{n}" for n, row in enumerate(ROWS)], "Summe,,7"
    ),
    "a remark": lines(HEADER, ROWS, "Confidential,,"),
    "a remark under a footer": lines(HEADER, ROWS, "Total rows: 30,,", "Confidential,,"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_rejected(name, tmp_path):
    (tmp_path / "v.csv").write_text(REJECTED[name])
    reading = read(tmp_path / "v.csv")
    assert reading.problem is None and len(reading.rows) == 30
    assert reading.rejects and all(
        "footer" in reject[3] or "header" in reject[3] for reject in reading.rejects
    )


def test_what_is_read_and_said(tmp_path):
    """Not certain enough to refuse, but not without a word either."""
    path = tmp_path / "v.csv"
    path.write_text(lines("Email,Revenue,City,", [f"p{n}@x.com,1{n},50,City" for n in range(9)]))
    assert any("column 4 has no name and holds values" in note for note in read(path).notes)
    path.write_text(lines(HEADER, ROWS, [",,"] * 5))
    assert "rows of empty cells only: 5" in read(path).notes
    path.write_bytes(lines("Email,Name", "a@x.com,Zoé", "b@x.com,Ana").encode())
    assert any("all of its bytes are UTF-8" in note for note in read(path, encoding="cp1252").notes)
    path.write_bytes(lines("Email,Name", "a@x.com,d’or", "b@x.com,Ana").encode("cp1252"))
    assert any("0x92 is no letter" in note for note in read(path, encoding="latin-1").notes)
    path.write_bytes(lines("Email,Name", "a@x.com,Zoé", "b@x.com,Ana").encode().decode("cp1252").encode())
    assert any("damaged before it came here" in note for note in read(path).notes)


PEOPLE = "Email;First;Last;Title;Phone;City;Size"
PERSON = "p%d@firm%d.com;Ann;Fox;CEO;+1212400%04d;Bern;%d"


@pytest.mark.parametrize(
    "row",
    [
        "n/a;Ann;Fox;CEO;n/a;Bern;n/a",
        "unknown;Ann;Fox;CEO;-;Bern;NULL",
        "Foo <p212.user@comp12.com>;Zo\u00eb;Garc\u00eda;Ing\u00e9nieur;tel: 2124260212 ext. 4;S\u00e3o Paulo;11-50",
        "p at firm dot com;Ann;Fox;CEO;ext. 4;Bern;small",
    ],
)
@pytest.mark.parametrize("defect", ["", "p;q", "p;q;r;s;t;u;v;w;x"])
def test_a_row_unlike_the_others_is_no_second_table(row, defect, tmp_path):
    """One defect sends a file to the careful reader: what that one takes for another table has no values in it."""
    people = [PERSON % (n, n % 7, n, n) for n in range(60)]
    path = tmp_path / "v.csv"
    path.write_text(lines(PEOPLE, people[:30], row, people[30:50], defect, people[50:]), encoding="utf-8")
    found = read(path)
    assert found.problem is None
    assert (31, row.split(";")) in found.rows
    assert len(found.rows) == 61


def test_numbered_names_begin_a_second_table(tmp_path):
    """Digits make a line a row, except where they only count one name: no blank line stands before this table."""
    people = [PERSON % (n, n % 7, n, n) for n in range(60)]
    path = tmp_path / "v.csv"
    names = "Order;" + ";".join(f"Line {n}" for n in range(1, 7))
    path.write_text(
        lines(PEOPLE, people[:50], "p;q", people[50:], names, "O-1" + ";9.90" * 6), encoding="utf-8"
    )
    problem = read(path).problem
    assert problem and "line 63: a second table seems to begin (Order" in problem, problem


def test_a_reject_counts_its_lines(tmp_path):
    """81 lines between two quotes are 81 rows that are lost, not one."""
    rows = [f"p{n}@x.com,2024-01-17,0" for n in range(400)]
    rows[100] = 'p100@x.com,"2024-01-17,0'
    rows[180] = 'p180@x.com",2024-01-17,0'
    (tmp_path / "v.csv").write_text(lines("Email,Day,N", rows))
    reading = read(tmp_path / "v.csv")
    assert reading.problem or len(reading.rows) + len(reading.rejects) == 400


@pytest.mark.parametrize("invented", [1999, 2000, 2001, 2002])
def test_quoted_cells_across_the_buffers_of_duckdb(invented, tmp_path):
    """DuckDB reads in parallel, and a thread that began inside a quoted cell took its lines for rows: as many as it lost."""
    boundary = 8388608
    head, row = "name,email,n\n", "N,f%07d@x.com,1\n"
    text = head + "".join(row % n for n in range((boundary - len(head) - 3000) // len(row % 0)))
    inner = [f"z,fake{n:07}@x.com,9\n" for n in range((boundary - len(text)) // 22 + invented)]
    names = ('"a ""q"" b"', "N", "N")
    tail = [f"{names[n % 3]},t{n:05}@x.com,2\n" for n in range(2000)]
    (tmp_path / "v.csv").write_text(text + '"note\n' + "".join(inner) + '",real@x.com,1\n' + "".join(tail))
    reading = read(tmp_path / "v.csv")
    emails = {cells[1] for _, cells in reading.rows}
    assert reading.problem or ("t00001@x.com" in emails and "fake0000001@x.com" not in emails)


def test_quotes_do_not_take_hours(tmp_path):
    """A line of quotes, and a file of them: each once cost time that doubled or squared."""
    path = tmp_path / "v.csv"
    path.write_text(lines("a,b,c", ["1,2,3"] * 50, '"' + ' ""' * 60 + ' x"y",b,c'))
    assert len(read(path).rejects) == 1
    path.write_text(lines("a,b,c", ["1,2,3"] * 1000, ['a"b,"c'] * 16000))
    assert "too many rows can not be read" in read(path).problem


def test_gzip_that_duckdb_does_not_take(tmp_path):
    """A comment in its head, a second member, padding after it."""
    content = lines(HEADER, ROWS).encode()
    packed = gzip.compress(content)
    for bytes_ in (
        packed[:3] + b"\x10" + packed[4:10] + b"a comment\0" + packed[10:],
        gzip.compress(content[:100]) + gzip.compress(content[100:]),
        packed + b"\0" * 100,
    ):
        (tmp_path / "v.csv.gz").write_bytes(bytes_)
        reading = read(tmp_path / "v.csv.gz")
        assert reading.problem is None and len(reading.rows) == 30
    (tmp_path / "v.csv.gz").write_bytes(gzip.compress(packed))
    assert "packed twice" in read(tmp_path / "v.csv.gz").problem


def test_parquet_with_a_column_twice_or_a_damaged_page(tmp_path):
    path = tmp_path / "v.parquet"
    duckdb.execute(
        f"copy (select 'a@x.com' as \"Email\", 'b' as other from range(1000)) to '{path}' (format parquet)"
    )
    content = bytearray(path.read_bytes())
    twice = bytes(content).replace(b"other", b"email")
    path.write_bytes(twice)
    assert "two columns have the same name" in read(path).problem
    random.Random(1).shuffle(part := list(content[4:60]))
    path.write_bytes(bytes(content[:4]) + bytes(part) + bytes(content[60:]))
    assert "can't be read as Parquet" in (read(path).problem or "")


def test_json_lines_of_other_spellings(tmp_path):
    path = tmp_path / "v.jsonl"
    path.write_text('{ "email": "a@x.com"}\n{\t"email": "b@x.com"}\n')
    assert [cells for _, cells in read(path).rows] == [["a@x.com"], ["b@x.com"]]
    assert "leave out `encoding: cp1252`" in read(path, encoding="cp1252").problem
    path.write_text(
        '{"email": "a@x.com", "n": ' + "[" + '"x",' * 900_000 + '"x"]}\n{"email": "b@x.com"}\n' * 1
    )
    reading = read(path)
    assert reading.problem.startswith("too many rows can not be read: a row of ")  # one of two


def test_a_crm_loses_no_line_to_a_footer(tmp_path):
    (tmp_path / "v.csv").write_text(lines(HEADER, ROWS, "", "Jane Doe", "John Roe"))
    reading = read(tmp_path / "v.csv", role="original")
    assert reading.problem is None and [reject[4] for reject in reading.rejects] == ["Jane Doe", "John Roe"]


def test_lines_are_numbered_right_after_a_long_one(tmp_path):
    from crm_merge.reading.repair import physical_lines

    blocks = [b"a\r\n", b"x" * 4_100_000, b"x\r", b"\nb\r\n", b"c"]
    assert [(line.number, line.offset) for line in physical_lines(iter(blocks))] == [
        (1, 0),
        (2, 3),
        (3, 4_100_006),
        (4, 4_100_009),
    ]


@pytest.fixture
def files(tmp_path):
    """The files of a run, in tmp_path."""
    return inputs.Inputs(tmp_path, tmp_path / "fetched")


def profiled(files, *paths):
    asked = [
        {"path": str(path), "role": "enriched", "name": str(n), "setting": f"enriched[{n}]"}
        for n, path in enumerate(paths)
    ]
    return files.profiled(asked).files


def test_a_file_replaced_during_a_run_keeps_its_first_header(files, tmp_path):
    """Its rows were landed under that header; the new one would have named other columns."""
    path = tmp_path / "v.csv"
    path.write_text("email,title,name\na@x.com,Boss,Ann\n")
    first = profiled(files, path)
    path.write_text("email,name,title\na@x.com,Ann,Boss\n\n")
    assert profiled(files, path) == first
    assert "changed while it was read" in str(inputs.changed(first))


def test_a_file_swapped_for_a_link_out_of_the_folder_is_refused(files, tmp_path, monkeypatch):
    allowed = tmp_path / "in"
    allowed.mkdir()
    (allowed / "v.csv").write_text("email,title\na@x.com,CEO\n")
    monkeypatch.setenv("CRM_MERGE_INPUT_ROOTS", str(allowed))
    found = profiled(files, allowed / "v.csv")
    (allowed / "v.csv").rename(tmp_path / "secret.csv")  # the very same file: only its place tells
    (allowed / "v.csv").symlink_to(tmp_path / "secret.csv")
    assert "changed while it was read" in str(inputs.changed(found))


def test_one_file_under_two_paths_has_the_columns_of_each(files, tmp_path):
    folder = tmp_path / "part" / "k=1"
    folder.mkdir(parents=True)
    duckdb.execute(f"copy (select 'a@x.com' as email) to '{folder / 'p.parquet'}' (format parquet)")
    globs = (tmp_path / "part" / "k=1" / "*.parquet", tmp_path / "part" / "*" / "p.parquet")
    for paths in (globs, globs[::-1]):
        files.found, files.known = {}, {}
        found = {file["name"]: file["header"] for file in profiled(files, *paths)}
        again = {file["name"]: file["header"] for file in profiled(files, *paths)}
        assert found == again
        files.found, files.known = {}, {}
        alone = [profiled(files, path)[0]["header"] for path in paths]
        assert list(found.values()) == alone


def test_a_path_with_brackets_and_a_backslash(tmp_path):
    folder = tmp_path / "b[1]"
    folder.mkdir()
    (folder / "x\\a.csv").write_text(lines(HEADER, ROWS))
    assert len(read(folder / "x\\a.csv").rows) == 30


def test_what_a_file_says_does_not_drive_the_terminal():
    from crm_merge.cli.common import printable

    assert printable("\x1b]0;PWNED\x07 \x9b31m") == " ]0;PWNED   31m"
