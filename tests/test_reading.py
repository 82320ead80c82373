"""Files as they come: what is read is right, or something is said."""

from __future__ import annotations

import csv
import io

import pytest

from crm_merge.merging import publish
from tests.conftest import write_csv
from tests.oracle import Table

CRM = Table(["key", "mail"], [[str(n), f"p{n}@x.com"] for n in range(1, 6)])


def merged_with(runner, tmp_path, content: bytes, name="vendor.csv", **settings_of_file):
    write_csv(tmp_path / "crm.csv", CRM)
    (tmp_path / name).write_bytes(content)
    spec = {
        "original": {"path": str(tmp_path / "crm.csv")},
        "enriched": [{"name": "v", "path": str(tmp_path / name)} | settings_of_file],
        "match_on": [{"column": "key", "compare": "exact"}],
    }
    return runner(spec)


ROWS = [("1", "Zoë", 'say "hi"'), ("2", "two\nlines", ""), ("3", "a,b;c\td|e", "last")]


def text(delimiter=",", newline="\n", quoting=csv.QUOTE_MINIMAL):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=newline, quoting=quoting)
    writer.writerow(["key", "place", "note"])
    writer.writerows(ROWS)
    return out.getvalue()


SPELLINGS = {
    "plain": text().encode(),
    "semicolon": text(";").encode(),
    "tab": text("\t").encode(),
    "pipe": text("|").encode(),
    "CRLF": text(newline="\r\n").encode(),
    "CR": text(newline="\r", quoting=csv.QUOTE_ALL).encode(),
    "CR among LF": b'key,place,note\r\n1,Zo\xc3\xab,"say ""hi"""\r2,"two\nlines",\n3,"a,b;c\td|e",last\r\n',
    "all quoted": text(quoting=csv.QUOTE_ALL).encode(),
    "BOM": text().encode("utf-8-sig"),
    "UTF-16 with BOM": text().encode("utf-16"),
    "UTF-16 LE without BOM": text().encode("utf-16-le"),
    "cp1252": text().encode("cp1252"),
    "blank lines": text().replace("3,", "\n\n3,").encode() + b"\n\n",
    "blank lines first": b"\n\n" + text().encode(),
    "no last line end": text().rstrip("\n").encode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_file_reads_the_same(runner, tmp_path, spelling):
    merge = merged_with(runner, tmp_path, SPELLINGS[spelling])
    assert merge.ok, merge.problems
    found = merge.query("select key, place, coalesce(note, '') from merged_result order by key limit 3")
    # a line break inside quotes is the cell's own, in whatever spelling the file has it
    assert [tuple(cell.replace("\r\n", "\n").replace("\r", "\n") for cell in row) for row in found] == ROWS


def test_cells_of_the_original_stay_raw(merge):
    odd = [
        "007",
        "1e5",
        "01/02/2024",
        "TRUE",
        " padded ",
        "n/a",
        "NULL",
        "\t",
        "Zoe\u0308",
        "'=1+1",
        "=1+1",
        "a\r\nb",
        "{{ 1 }}",
        "x" * 20_000,
    ]
    original = Table(["Email", "Cell"], [[f"p{n}@x.com", cell] for n, cell in enumerate(odd)])
    result = merge({"match_on": ["email"]}, original, [("v", Table(["email"], [["p0@x.com"]]))])
    assert result.ok, result.problems
    assert [row[1] for row in result.table("merged_result").rows] == odd


def test_hostile_headers_are_only_names(merge):
    headers = [
        "Email",
        'quo"te',
        "'; drop table merged_result; --",
        "{{ 1/0 }}",
        "{% raw %}",
        "../../etc/passwd",
        "select",
        "a" * 300,
    ]
    original = Table(headers, [["p@x.com", *[str(n) for n in range(len(headers) - 1)]]])
    vendor = Table(["email", *[f"{header} 2" for header in headers[1:]]], [["p@x.com", *"abcdefg"]])
    result = merge({"match_on": ["email"]}, original, [("v", vendor)])
    assert result.ok, result.problems
    found = result.table("merged_result")
    assert found.headers[: len(headers)] == headers
    assert found.rows[0][: len(headers)] == original.rows[0]


def test_no_name_of_a_column_meets_a_name_of_the_merge(merge):
    """Vendors and CRMs call columns what our models call theirs."""
    names = ["Entity", "entity_rank", "first_ord", "n_records", "original_row", "record", "node", "component", "source", "side",
             "n_entities", "is_direct", "Position", "votes", "form", "value", "least", "k", "row", "file", "e", "o", "c", "tier"]  # fmt: skip
    original = Table(
        ["Email", *names],
        [["p@x.com", *["" for _ in names]], ["q@x.com", *[f"own {name}" for name in names]]],
    )
    vendor = Table(["email", *names], [["p@x.com", *[f"given {name}" for name in names]]])
    spec = {
        "match_on": ["email"],
        "strategies": {"votes": "most_frequent", "form": "collect", "least": "min", "value": "unanimous"},
    }
    result = merge(spec, original, [("v", vendor)], command="build", select=None)
    assert result.ok, result.problems
    assert [row[1 : len(names) + 1] for row in result.table("merged_result").rows] == [
        vendor.rows[0][1:],
        original.rows[1][1:],
    ]
    new = merge(spec, Table(["Email"], [["p@x.com"]]), [("v", vendor)], command="build", select=None)
    assert new.ok, new.problems
    assert new.table("merged_result").rows[0][1 : len(names) + 1] == vendor.rows[0][1:]


def test_a_wide_file(merge):
    original = Table(["Email", *[f"c{n}" for n in range(299)]], [["p@x.com", *["" for n in range(299)]]])
    vendor = Table(["email", *[f"c{n}" for n in range(299)]], [["p@x.com", *[f"v{n}" for n in range(299)]]])
    result = merge({"match_on": ["email"]}, original, [("v", vendor)])
    assert result.ok, result.problems
    assert result.table("merged_result").rows[0][1:300] == vendor.rows[0][1:]


def test_too_many_columns_are_refused_by_their_number(merge):
    vendor = Table(["email", *[f"c{n}" for n in range(2000)]], [["p@x.com", *[f"v{n}" for n in range(2000)]]])
    result = merge({"match_on": ["email"]}, Table(["Email"], [["p@x.com"]]), [("v", vendor)])
    assert not result.ok
    assert "bring 2001 different columns; a merge takes at most 300" in result.problems[0]


def test_unnamed_columns_are_told_by_their_place(merge):
    original = Table(["", "Email"], [["0", "p@x.com"]])
    result = merge({"match_on": ["email"]}, original, [("v", Table(["email", ""], [["p@x.com", "x"]]))])
    assert result.ok, result.problems
    assert result.table("merged_result").headers[:3] == ["column_1", "Email", "column_2"]


def test_the_same_header_in_two_spellings(merge):
    """The one that is the name takes it, the alias keeps its own."""
    original = Table(["Id", "Email"], [["1", "p@x.com"]])
    vendor = Table(["Work Email", "E-mail", "email"], [["q@x.com", "r@x.com", "p@x.com"]])
    result = merge({"match_on": ["email"]}, original, [("v", vendor)])
    assert result.ok, result.problems
    assert result.table("merged_result").headers[:4] == ["Id", "Email", "work_email", "e_mail"]
    assert result.query("select matched_on from crosswalk") == [("email",)]


KEYS = {"email": "p{}@x.com", "phone": "(212) 555-{:04d}", "linkedin": "linkedin.com/in/p{}", "tax": "T {}"}


def test_rows_keep_their_places(runner, tmp_path):
    """Enough rows for several buffers, row groups and threads: a landed row's number is its place in the file.

    A join anywhere in the landing query holds back small chunks to its end; a long IN list is such a join.
    """
    n = 120_000
    (tmp_path / "crm.csv").write_text("Id,email,phone,linkedin,tax,filler\n" + "".join(
        f"{i},{','.join(text.format(i) for text in KEYS.values())},{'x' * (i % 97)}\n" for i in range(1, n + 1)))  # fmt: skip
    (tmp_path / "v.csv").write_text("email,phone,linkedin,tax,place\n" + "".join(
        f"{','.join(text.format(i) for text in KEYS.values())},{i}\n" for i in range(1, n + 1, 3)))  # fmt: skip
    spec = {
        "original": {"path": str(tmp_path / "crm.csv")},
        "enriched": [{"name": "v", "path": str(tmp_path / "v.csv")}],
        "match_on": ["email", "phone", "linkedin", {"column": "tax", "compare": "normalized"}],
        "region": "US",
    }
    merge = runner(spec)
    assert merge.ok, merge.problems
    assert merge.query(
        'select count(*) from (select "Id", row_number() over () as place from merged_result) where cast("Id" as bigint) <> place'
    ) == [(0,)]
    assert merge.query('select count(*) from stg_original where cast("Id" as bigint) <> _merge_row') == [(0,)]
    assert merge.query(
        "select count(*) from stg_enriched where cast(place as bigint) <> 3 * _merge_row - 2"
    ) == [(0,)]
    # the result is published as the table lies
    publish.write(merge.connect(), tmp_path, "merged_result", "csv", [], {})
    with (tmp_path / "merged_result.csv").open() as file:
        assert [row["Id"] for row in csv.DictReader(file)] == [str(i) for i in range(1, n + 1)]


def test_western_names_are_read_as_western(runner, tmp_path):
    """However many there are: statistics take them for Central European ones."""
    names = ["Núñez", "Société", "Jørgensen", "Hélène", "Grün", "São"]
    lines = "".join(f"{n},{names[n % 6]} of a fairly long line {n}\n" for n in range(1, 301))
    merge = merged_with(runner, tmp_path, ("key,place\n" + lines).encode("cp1252"))
    assert merge.ok, merge.problems
    assert merge.query("select place from merged_result where key = '1'") == [
        ("Société of a fairly long line 1",)
    ]


def test_a_path_that_looks_like_a_glob_is_that_file(runner, tmp_path):
    (tmp_path / "v1.csv").write_bytes(b"key,place\n1,wrong\n")
    merge = merged_with(runner, tmp_path, b"key,place\n1,right\n", name="v[1].csv")
    assert merge.ok, merge.problems
    assert merge.query("select place from merged_result where key = '1'") == [("right",)]


def test_headers_that_engines_use_themselves(merge):
    names = ["rowid", "file_row_number", "filename", "_merge", "c1", "form_1"]
    original = Table(["Email", *names], [["p@x.com", *["own" for _ in names]]])
    result = merge(
        {"match_on": ["email"]},
        original,
        [("v", Table(["email", *names], [["p@x.com", *["other" for _ in names]]]))],
        command="build",
        select=None,
    )
    assert result.ok, result.problems
    assert result.table("merged_result").rows[0][1 : len(names) + 1] == ["own" for _ in names]


@pytest.mark.parametrize("line", ['2, "q",x', '2,"q" ,x'])
def test_a_cell_of_the_original_that_would_change_is_refused(runner, tmp_path, line):
    (tmp_path / "crm.csv").write_text(f"key,a,b\n1,y,z\n{line}\n")
    (tmp_path / "v.csv").write_text("key,c\n1,y\n")
    spec = {
        "original": {"path": str(tmp_path / "crm.csv")},
        "enriched": [{"name": "v", "path": str(tmp_path / "v.csv")}],
        "match_on": [{"column": "key"}],
    }
    merge = runner(spec)
    assert not merge.ok
    assert "line 3 (" in merge.problems[0]
    assert line in merge.problems[0]


def test_a_stray_quote_survives_a_clean_copy(runner, tmp_path):
    merge = merged_with(runner, tmp_path, 'key,size\r\n1,5" pipé\r\n2,x\r\n'.encode("cp1252"))
    assert merge.ok, merge.problems
    assert merge.query("select size from merged_result where key < '3'") == [('5" pipé',), ("x",)]


def test_a_surname_null_is_a_key(runner, tmp_path):
    (tmp_path / "crm.csv").write_text("Last Name,x\nNull,1\n")
    (tmp_path / "v.csv").write_text("last_name,y\nNull,2\n")
    spec = {
        "original": {"path": str(tmp_path / "crm.csv")},
        "enriched": [{"name": "v", "path": str(tmp_path / "v.csv")}],
        "match_on": [{"column": "last_name"}],
    }
    merge = runner(spec)
    assert merge.ok, merge.problems
    assert merge.query("select y from merged_result") == [("2",)]


def test_a_group_is_never_mixed_under_fill(merge):
    """Also by a CRM column that no vendor has."""
    original = Table(
        ["Email", "Street", "Zip", "City"], [["a@x.com", "Main 1", "", ""], ["b@x.com", "", "", ""]]
    )
    vendor = Table(["email", "zip", "city"], [["a@x.com", "90210", "LA"], ["b@x.com", "90210", "LA"]])
    spec = {"match_on": ["email"], "groups": [{"columns": ["street", "zip", "city"]}]}
    result = merge(spec, original, [("v", vendor)])
    assert result.ok, result.problems
    assert [row[1:4] for row in result.table("merged_result").rows] == [
        ["Main 1", "", ""],
        ["", "90210", "LA"],
    ]


def test_words_that_engines_take_for_timestamps_are_none(merge):
    vendor = Table(
        ["email", "title", "updated_at"],
        [
            ["a@x.com", "old", "2020-01-01"],
            ["a@x.com", "never", "infinity"],
            ["a@x.com", "odd", "2024/01/05"],
        ],
    )
    spec = {"match_on": ["email"], "strategies": {"default": {"most_recent": "updated_at"}}}
    result = merge(
        spec, Table(["Email", "Title"], [["a@x.com", ""]]), [("v", vendor)], command="build", select=None
    )
    assert result.ok, result.problems
    assert result.table("merged_result").rows[0][1] == "old"
    assert result.query("select unparsed_timestamps from file_summary where source = 'v'") == [(2,)]


def test_a_line_end_inside_a_cell_survives_a_clean_copy(runner, tmp_path):
    """The rest of the line after a quoted cell with line ends keeps its own end."""
    merge = merged_with(runner, tmp_path, b'key,place,note\r\n1,"a\r\nb",x\n2,c,y\r3,d,z')
    assert merge.ok, merge.problems
    assert merge.query("select place, note from merged_result where key < '4'") == [
        ("a\r\nb", "x"),
        ("c", "y"),
        ("d", "z"),
    ]


def test_cells_with_stray_quotes(runner, tmp_path):
    """An inch mark inside an unquoted cell is data."""
    merge = merged_with(runner, tmp_path, b'key,size\n1,5" pipe\n2,x\n')
    assert merge.ok, merge.problems
    assert merge.query("select size from merged_result where key = '1'") == [('5" pipe',)]
