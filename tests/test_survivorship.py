"""Every edge of what is blank and of which value survives, on merges that hold many of them at once."""

from __future__ import annotations

import csv
import json

import pytest

from tests.conftest import MERGE, PROJECT, Merge, merge_tables, write_csv
from tests.oracle import WHITE, ZERO_WIDTH, Table

Row = dict[str, str | None]


def table(rows: list[Row], *headers: str) -> Table:
    """Rows given by header; what a row does not say is empty."""
    columns = list(dict.fromkeys([*headers, *(header for row in rows for header in row)]))
    return Table(columns, [[row.get(column) or "" for column in columns] for row in rows])


def rows_by(merge: Merge, key: str = "Email") -> dict[str, Row]:
    """The rows of merged_result by a cell of theirs; '' for null."""
    result = merge.table("merged_result")
    rows = [dict(zip(result.headers, row, strict=True)) for row in result.rows]
    assert len({row[key] for row in rows}) == len(rows)
    return {row[key]: row for row in rows}


def done(merge: Merge) -> Merge:
    """The merge, of which each row was read: an edge that is not there would pass."""
    assert merge.ok, merge.problems
    assert merge.query("select sum(rejected_rows) from file_summary") == [(0,)]
    return merge


REPORTS = [*MERGE, "+file_summary", "+merge_summary"]

# -- Blank --


def blanks() -> dict[str, str | None]:
    """Every kind of blank: white space of each kind, and each sentinel in several spellings."""
    kinds: dict[str, str | None] = {"null": None, "empty": ""}
    kinds |= {f"U+{ord(sign):04X}": sign for sign in WHITE + ZERO_WIDTH}
    kinds |= {"several spaces": "   ", "all white space": WHITE + ZERO_WIDTH}
    for word in SENTINELS:
        for spelling in dict.fromkeys(
            [word, word.upper(), word.title(), f"\u00a0{word}\t", f"\u200b{word} "]
        ):
            kinds[repr(spelling)] = spelling
    return kinds


def sentinels() -> dict[str, bool]:
    """The sentinels, each with whether it is a name in name columns."""
    with (PROJECT / "seeds/reference/blank_sentinels.csv").open(encoding="utf-8", newline="") as file:
        return {row["sentinel"]: row["kept_in_names"] == "true" for row in csv.DictReader(file)}


SENTINELS = sentinels()
BLANKS = blanks()
WORDS = {kind for kind, cell in BLANKS.items() if (cell or "").strip(WHITE + ZERO_WIDTH)}
NAMES = {kind for kind in WORDS if SENTINELS[BLANKS[kind].strip(WHITE + ZERO_WIDTH).lower()]}
STRATEGIES = {
    **{name: name for name in ["first", "last", "longest", "most_complete", "most_frequent", "unanimous"]},
    **{name: name for name in ["collect", "min", "max"]},
    "source_priority": {"source_priority": ["c", "a"]},
    "most_recent": {"most_recent": "updated_at"},
}
# What blanks have to lose against: one character, of an older row; for min and max, above and below them by code point.
VALUES = dict.fromkeys(STRATEGIES, "v") | {"min": "😀", "max": "!"}
OWN = {"Fill": "own", "Update": "own", "Suffix": "own", "Replace": "own"}


@pytest.fixture(scope="module")
def blank(runner, tmp_path_factory) -> Merge:
    """One person per kind of blank, which the first and the last vendor have in every column, and a stranger who shares it."""
    folder = tmp_path_factory.mktemp("blank")
    original, a, b, c, strangers = [], [], [], [], []
    for number, (kind, cell) in enumerate(BLANKS.items(), start=1):
        key = {"tax_no": cell, "code": cell, "crm_id": cell}
        person = {"email": f"p{number}@firm.com"}
        original.append({"Kind": kind, "Email": person["email"], "Id": cell, "Tax No": cell, "Code": cell}
                        | OWN | {"Blank": "", "Taken": cell, "Renewed": cell, "Kept": cell})  # fmt: skip
        everywhere = {
            column: cell for column in ["last_name", "fill", "update", "suffix", "replace", "blank"]
        }
        everywhere |= {f"by_{name}": cell for name in STRATEGIES}
        a.append(person | key | everywhere | {"full": "hollow", "kept": "", "updated_at": "2025-01-01"})
        b.append(person | {f"by_{name}": value for name, value in VALUES.items()}
                 | {"last_name": "Smith", "full": "full", "taken": "v", "renewed": "v", "updated_at": "2020-01-01"})  # fmt: skip
        c.append(person | everywhere | {"full": "hollow", "kept": " n/a", "updated_at": "2025-01-01"})
        strangers.append({"email": f"s{number}@firm.com", "note": "stranger"} | key)
    # quoted, for line ends are among the cells; nulls are in the lines of JSON
    (folder / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in c), encoding="utf-8")
    quoted = {
        name: {
            "path": str(write_csv(folder / f"{name}.csv", table(rows), quoting=csv.QUOTE_ALL)),
            "quoted_newlines": True,
        }
        for name, rows in {"original": original, "a": a, "b": b, "strangers": strangers}.items()
    }
    spec = {
        "match_on": [
            *("email", {"column": "tax_no"}, {"column": "code", "compare": "normalized"}),
            {"type": "external_id", "original": "Id", "enriched": "crm_id"},
        ],
        "strategies": {f"by_{name}": strategy for name, strategy in STRATEGIES.items()}
        | {"full": "most_complete"},
        "overwrite": {"update": "update", "suffix": "suffix", "replace": "replace", "renewed": "update"},
        "original": quoted["original"],
        "enriched": [{"name": name} | quoted[name] for name in ["a", "b"]]
        + [{"name": "c", "path": str(folder / "c.jsonl")}, {"name": "strangers"} | quoted["strangers"]],
    }
    return done(runner(spec, select=[*REPORTS, "+merge_conflicts"]))


@pytest.fixture(scope="module")
def by_kind(blank) -> dict[str, Row]:
    rows = rows_by(blank, "Kind")
    assert list(rows) == list(BLANKS)
    return rows


def other_than(rows: dict[str, Row], column: str, expected: str) -> dict[str, str | None]:
    return {kind: row[column] for kind, row in rows.items() if row[column] != expected}


def test_a_blank_never_matches(blank):
    assert blank.query("select * from crosswalk where source = 'strangers'") == []
    assert blank.query("select count(*) from int_entities where n_records <> 3 and n_records <> 1") == [(0,)]
    assert blank.query("select distinct match_status, matched_on from merged_result") == [
        ("matched_direct", "email")
    ]


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_blank_never_wins(by_kind, name):
    assert other_than(by_kind, f"by_{name}", VALUES[name]) == {}


def test_a_blank_never_counts_for_completeness(by_kind):
    assert other_than(by_kind, "full", "full") == {}


def test_a_blank_never_counts_as_a_conflict(blank):
    found = blank.query("select column_name, count(*) from merge_conflicts group by all order by all")
    assert found == [("full", len(BLANKS)), ("last_name", len(NAMES)), ("updated_at", len(BLANKS))]
    assert blank.query("select conflicts from merge_summary") == [(2 * len(BLANKS) + len(NAMES),)]


@pytest.mark.parametrize("policy", ["Fill", "Update", "Suffix"])
def test_a_blank_never_overwrites(by_kind, policy):
    assert other_than(by_kind, policy, "own") == {}


def test_a_blank_is_no_suffixed_value(by_kind):
    assert other_than(by_kind, "suffix_enriched", "") == {}


def test_replace_alone_writes_a_blank(by_kind):
    assert other_than(by_kind, "Replace", "") == {}


def test_a_blank_does_not_fill_a_blank(by_kind):
    assert other_than(by_kind, "Blank", "") == {}


def test_names_that_are_sentinels_survive_in_name_columns(by_kind):
    assert {repr("null"), repr("Null"), repr("NULL"), repr("na"), repr("Na"), repr("NA")} <= NAMES
    names = {kind: row for kind, row in by_kind.items() if kind in NAMES}
    assert {kind: row["last_name"] for kind, row in names.items()} == {kind: BLANKS[kind] for kind in NAMES}


def test_names_that_are_sentinels_survive_nowhere_else(by_kind):
    assert {by_kind[kind]["by_first"] for kind in NAMES} == {"v"}


def test_what_is_no_name_is_blank_in_name_columns_too(by_kind):
    assert {row["last_name"] for kind, row in by_kind.items() if kind not in NAMES} == {"Smith"}


def test_a_crm_cell_of_white_space_is_filled(by_kind):
    assert {row["Taken"] for kind, row in by_kind.items() if kind not in WORDS} == {"v"}


def test_a_sentinel_is_the_crms_own_word_and_is_not_filled(by_kind):
    assert {kind: by_kind[kind]["Taken"] for kind in WORDS} == {kind: BLANKS[kind] for kind in WORDS}


def test_an_update_overwrites_every_kind_of_blank(by_kind):
    assert other_than(by_kind, "Renewed", "v") == {}


@pytest.mark.parametrize("column", ["Kept", "Id", "Tax No", "Code"])
def test_blankness_never_rewrites_a_kept_cell(by_kind, column):
    kept = {kind: row[column] for kind, row in by_kind.items()}
    assert kept == {kind: cell or "" for kind, cell in BLANKS.items()}


# -- Strategies --

NFD_E = "e\u0301"
UNPARSABLE = [
    *("soon", "infinity", "-infinity", "epoch", "now", "today", "2024/01/05", "05.01.2024", "01/05/2024"),
    *("Jan 5, 2024", "1704412800", "2024-1-5", "2024-13-01", "2024-02-30", "2024-01-05 25:00:00"),
    *("2024-01-05 later", "x 2024-01-05", "2024-01-05 10:00:00 Mars", "2024-01-05 10:00:00 UTC"),
    *("2024-01-05 (BC)", "2024-01-05 5:3:1"),
]


def at(file: str, value: str, stamp: str) -> tuple:
    return file, value, {"updated_at": stamp}


# edge: (strategy, candidates as (file, cell, other cells of the row), the value that survives)
RANKINGS: dict[str, tuple[str, list[tuple], str]] = {
    "first: the file order is the priority": ("first", [("b", "y"), ("a", "x")], "x"),
    "first: then the order of rows": ("first", [("a", "z"), ("a", "x")], "z"),
    "first: a blank falls to the next row": ("first", [("a", ""), ("a", "n/a"), ("b", "y")], "y"),
    "last: the last row of the last file": ("last", [("a", "z"), ("b", "x"), ("b", "y")], "y"),
    "last: a blank falls to the row before": ("last", [("a", "x"), ("b", "y"), ("c", " ")], "y"),
    "last is not recency": ("last", [at("a", "new", "2024-01-01"), at("b", "old", "2020-01-01")], "old"),
    "longest: most characters": ("longest", [("a", "ab"), ("b", "abc")], "abc"),
    "longest: white space at the ends does not count": ("longest", [("a", "  x    "), ("b", "xy")], "xy"),
    "longest: nor do tabs and NBSP": ("longest", [("a", "\t\u00a0\u3000x\u2003\u2003"), ("b", "xy")], "xy"),
    "longest: white space inside counts": ("longest", [("a", "abcd"), ("b", "a   b")], "a   b"),
    "longest: the winner is written with its white space": ("longest", [("a", "x"), ("b", " xy ")], " xy "),
    "longest: an NFD é counts 1": ("longest", [("a", NFD_E * 2), ("b", "abc")], "abc"),
    "longest: characters and not bytes": ("longest", [("a", "ééé"), ("b", "abcd")], "abcd"),
    "longest: an emoji counts 1": ("longest", [("a", "😀😀"), ("b", "abc")], "abc"),
    "longest: above 1,048,575 all are alike": ("longest", [("a", "x"), ("a", "y" * 1_048_575), ("b", "z" * 1_048_580)], "y" * 1_048_575),
    "most_complete: most columns that are not blank": ("most_complete", [("a", "x"), ("b", "y", {"x1": "1"})], "y"),
    "most_complete: keys are columns too": ("most_complete", [("a", "x"), ("b", "y", {"personal_email": "key@firm.com"})], "y"),
    "most_complete: a key that is not valid is a filled column": ("most_complete", [("a", "x"), ("b", "y", {"personal_email": "not an address"})], "y"),
    "most_complete: columns that the other files lack count": ("most_complete", [("a", "x"), ("c", "y", {"of_c_alone": "1"})], "y"),
    "most_complete: the next fullest where the fullest is blank": ("most_complete", [("a", "x"), ("b", "y", {"x1": "1"}), ("c", "n/a", {"x1": "1", "x2": "2", "x3": "3"})], "y"),
    "most_complete: blanks of every kind do not count": ("most_complete", [("a", "x", {"x1": "n/a", "x2": "\t", "x3": "-"}), ("b", "y", {"x1": "1"})], "y"),
    "source_priority: the order of the list and not of the files": ("source_priority", [("a", "x"), ("c", "y")], "y"),
    "source_priority: the second of the list": ("source_priority", [("b", "y"), ("a", "x")], "x"),
    "source_priority: a file that is not listed ranks after": ("source_priority", [("b", "x"), ("c", "y")], "y"),
    "source_priority: unlisted files by file order": ("source_priority", [("p1", "z"), ("b", "y")], "y"),
    "source_priority: an unlisted file before none": ("source_priority", [("b", "x"), ("c", "")], "x"),
    "source_priority: a blank falls to the next of the list": ("source_priority", [("a", "x"), ("b", "y"), ("c", "null")], "x"),
    "most_recent: the latest": ("most_recent", [at("a", "x", "2023-12-31T23:59:59"), at("b", "y", "2024-01-01T00:00:00")], "y"),
    "most_recent: a date alone is its midnight": ("most_recent", [at("a", "x", "2024-01-04 23:59:59"), at("b", "y", "2024-01-05")], "y"),
    "most_recent: a date alone is before its first second": ("most_recent", [at("a", "x", "2024-01-05"), at("b", "y", "2024-01-05T00:00:01")], "y"),
    "most_recent: a date alone and its midnight are one moment": ("most_recent", [at("a", "z", "2024-01-05 00:00:00"), at("b", "x", "2024-01-05")], "z"),
    "most_recent: an offset counts": ("most_recent", [at("a", "x", "2024-01-05T12:00:00Z"), at("b", "y", "2024-01-05T11:00:00-02:00")], "y"),
    "most_recent: an offset east of Greenwich counts": ("most_recent", [at("a", "x", "2024-01-05T14:00:00+05:30"), at("b", "y", "2024-01-05T09:00:00Z")], "y"),
    "most_recent: one moment under two offsets is a tie": ("most_recent", [at("a", "z", "2024-01-05T12:00:00Z"), at("b", "x", "2024-01-05T14:00:00+02:00")], "z"),
    "most_recent: an offset may move the date": ("most_recent", [at("a", "x", "2024-01-05T00:30:00+01:00"), at("b", "y", "2024-01-04T23:45:00Z")], "y"),
    "most_recent: fractions of a second count": ("most_recent", [at("a", "x", "2024-01-05T12:00:00.000001"), at("b", "y", "2024-01-05T12:00:00.000002")], "y"),
    "most_recent: a time without seconds": ("most_recent", [at("a", "x", "2024-01-05T10:29"), at("b", "y", "2024-01-05T10:30")], "y"),
    "most_recent: no timestamp ranks last": ("most_recent", [at("a", "x", ""), at("a", "z", "n/a"), at("b", "y", "1970-01-01")], "y"),
    "most_recent: the oldest date is before none": ("most_recent", [at("a", "x", ""), at("b", "y", "0001-01-01")], "y"),
    "most_recent: a latest row that is blank falls to the next": ("most_recent", [at("a", "x", "2020-01-01"), at("b", "y", "2021-01-01"), at("c", "-", "2022-01-01")], "y"),
    "most_recent: a time without seconds may have an offset": ("most_recent", [at("a", "x", "2024-01-05T10:29Z"), at("b", "y", "2024-01-05T10:30Z")], "y"),
    **{
        f"most_recent: {stamp} ranks last": ("most_recent", [at("a", "x", stamp), at("b", "y", "1969-07-20")], "y")
        for stamp in UNPARSABLE
    },
    **{
        f"most_recent: {stamp} is as good as none": ("most_recent", [at("a", "z", ""), at("b", "x", stamp)], "z")
        for stamp in UNPARSABLE
    },
    "most_frequent: the value of most files": ("most_frequent", [("a", "x"), ("b", "y"), ("c", "y")], "y"),
    "most_frequent: a file that repeats itself has one vote": ("most_frequent", [("a", "x"), ("b", "y"), ("b", "y"), ("b", "y")], "x"),
    "most_frequent: a file may vote for several": ("most_frequent", [("a", "x"), ("a", "y"), ("b", "y")], "y"),
    "most_frequent: the files of a glob have one vote together": ("most_frequent", [("a", "x"), ("p1", "y"), ("p2", "y")], "x"),
    "most_frequent: a glob has a vote": ("most_frequent", [("a", "x"), ("b", "y"), ("p2", "y")], "y"),
    "most_frequent: votes are counted by comparison form": ("most_frequent", [("a", "x"), ("b", "Vice  President"), ("c", " vice\u00a0PRESIDENT")], "Vice  President"),
    "most_frequent: blanks do not vote": ("most_frequent", [("a", "n/a"), ("b", "y"), ("c", "n/a"), ("p1", "n/a")], "y"),
    "most_frequent: NFD and NFC are one value": ("most_frequent", [("a", "x"), ("b", NFD_E), ("c", "é")], "é"),
}  # fmt: skip
RANKINGS |= {
    f"{name}: a tie ends with the first {which}": (name, rows, "z")
    for name in ["longest", "most_complete", "source_priority", "most_recent", "most_frequent"]
    for which, rows in {
        "row": [("b", "z"), ("b", "y"), ("b", "x")],
        "file": [("b", "z"), ("p1", "x"), ("p2", "y")],
    }.items()
}  # fmt: skip
FOLDS: dict[str, tuple[str, list[tuple], str]] = {
    "unanimous: the value of all": ("unanimous", [("a", "x"), ("b", "x"), ("c", "x")], "x"),
    "unanimous: of one alone": ("unanimous", [("b", "x")], "x"),
    "unanimous: one of many who disagrees": ("unanimous", [("a", "x"), ("b", "x"), ("c", "y")], ""),
    "unanimous: a file that disagrees with itself": ("unanimous", [("a", "x"), ("a", "y")], ""),
    "unanimous: blanks do not disagree": ("unanimous", [("a", "n/a"), ("b", "x"), ("c", "\u200b")], "x"),
    "unanimous: case, white space and NFD agree": ("unanimous", [("a", f"caf{NFD_E}  bar"), ("b", "Café bar "), ("c", "CAFÉ\u00a0BAR")], "CAFÉ\u00a0BAR"),
    "unanimous: white space that is not there is a difference": ("unanimous", [("a", "Cafébar"), ("b", "Café bar")], ""),
    "unanimous: punctuation is a difference": ("unanimous", [("a", "V.P."), ("b", "VP")], ""),
    "unanimous: an accent is a difference": ("unanimous", [("a", "cafe"), ("b", "café")], ""),
    "unanimous: ß and ss differ": ("unanimous", [("a", "Straße"), ("b", "STRASSE")], ""),
    "unanimous: of spellings the smallest by code point": ("unanimous", [("a", "ceo"), ("b", "CEO"), ("c", "Ceo")], "CEO"),
    "unanimous: punctuation of phones agrees": ("mobile_phone", [("a", "212.555.0100"), ("b", "+1 212 555 0100"), ("c", "(212) 555-0100")], "(212) 555-0100"),
    "unanimous: phones of two numbers differ": ("mobile_phone", [("a", "212.555.0100"), ("b", "212.555.0101")], ""),
    "unanimous: phones that are none agree as text": ("mobile_phone", [("a", "Ask  reception"), ("b", "ask reception ")], "Ask  reception"),
    "unanimous: a phone that is none differs from one": ("mobile_phone", [("a", "0100"), ("b", "212 555 0100")], ""),
    "unanimous: spellings of e-mail addresses agree": ("other_email", [("a", "un.Animous@Gmail.com"), ("b", "mailto:unanimous@gmail.com"), ("c", "unanimous+x@GOOGLEMAIL.com")], "mailto:unanimous@gmail.com"),
    "unanimous: dots in a company's addresses differ": ("other_email", [("a", "do.ts@corp.com"), ("b", "dots@corp.com")], ""),
    "unanimous: blocked addresses agree as others do": ("other_email", [("a", "INFO@corp.com"), ("b", "<info@corp.com>")], "<info@corp.com>"),
    "unanimous: spellings of LinkedIn pages agree": ("linkedin", [("a", "https://www.linkedin.com/in/Jo-Doe/"), ("b", "linkedin.com/in/jo-doe?trk=x")], "https://www.linkedin.com/in/Jo-Doe/"),
    "unanimous: pages of a web site agree": ("website", [("a", "www.acme.co.uk/about"), ("b", "https://acme.co.uk")], "https://acme.co.uk"),
    "collect: distinct values in the order of files and rows": ("collect", [("c", "y"), ("a", "z"), ("a", "x"), ("b", "z"), ("b", "w")], "z; x; w; y"),
    "collect: one value": ("collect", [("b", "x"), ("c", "x")], "x"),
    "collect: blanks are left out": ("collect", [("a", "n/a"), ("b", "x"), ("c", " "), ("p1", "y")], "x; y"),
    "collect: the first spelling of each": ("collect", [("a", "CEO"), ("b", "CTO"), ("c", " ceo"), ("p1", f"{NFD_E}"), ("p2", "É")], "CEO; CTO; é"),
    "collect: numbers are distinct by their key": ("direct_phone", [("a", "(212) 555-0100"), ("b", "+12125550100"), ("c", "212-555-0101")], "(212) 555-0100; 212-555-0101"),
    "min: upper case is before lower": ("min", [("a", "a"), ("b", "B")], "B"),
    "max: lower case is after upper": ("max", [("a", "B"), ("b", "a")], "a"),
    "min: by code point and not by locale": ("min", [("a", "é"), ("b", "z")], "z"),
    "max: by code point and not by locale": ("max", [("a", "z"), ("b", "é")], "é"),
    "min: by code point of what is written, NFC": ("min", [("a", NFD_E), ("b", "f")], "f"),
    "min: beyond the BMP is after all of it": ("min", [("a", "😀"), ("b", "\uff5e")], "\uff5e"),
    "max: beyond the BMP is after all of it": ("max", [("a", "\uff5e"), ("b", "😀")], "😀"),
    "min: numbers are texts": ("min", [("a", "9"), ("b", "10")], "10"),
    "max: numbers are texts": ("max", [("a", "10"), ("b", "9")], "9"),
    "min: white space is a character": ("min", [("a", "a"), ("b", " b")], " b"),
    "min: a beginning is before the whole": ("min", [("a", "ab"), ("b", "a")], "a"),
    "max: blanks are left out": ("max", [("a", "x"), ("b", "—")], "x"),
    "min: blanks are left out": ("min", [("a", "#N/A"), ("b", "x")], "x"),
}  # fmt: skip
OTHERS: dict[str, tuple[str, list[tuple], str]] = {
    "without a strategy, first": ("x1", [("b", "y"), ("a", "x")], "x"),
    "no candidates, no value": ("first", [("a", ""), ("b", "n/a")], ""),
    "the whole raw cell is written": ("first", [("a", " 0012 \t")], " 0012 \t"),
    "in NFC": ("first", [("a", NFD_E)], "é"),
    **{f"byte-equal candidates: {name}": (name, [("a", "=x"), ("b", "=x")], "=x") for name in STRATEGIES},
    "source_priority: a glob is one of the list": ("of_parts", [("a", "x"), ("p2", "y")], "y"),
    "source_priority: the files of a glob by their order": ("of_parts", [("p2", "x"), ("p1", "y")], "y"),
    # its row in a is after all others, and far below those in b
    "files come before rows": ("first", [("b", "y"), ("a", "x")], "x"),
}  # fmt: skip
EDGES = RANKINGS | FOLDS | OTHERS
COLUMN_STRATEGIES = {
    "mobile_phone": "unanimous",
    "other_email": "unanimous",
    "linkedin": "unanimous",
    "website": "unanimous",
    "direct_phone": "collect",
    "of_parts": {"source_priority": ["parts"]},
}


def person(edge: str) -> str:
    return f"p{list(EDGES).index(edge)}@firm.com"


def column_of(edge: str) -> str:
    name = EDGES[edge][0]
    return f"by_{name}" if name in STRATEGIES else name


@pytest.fixture(scope="module")
def strategies(runner, tmp_path_factory) -> Merge:
    """One person per edge; the candidates of each stand in the column of its strategy."""
    folder = tmp_path_factory.mktemp("strategies")
    files: dict[str, list[Row]] = {name: [] for name in ["a", "b", "c", "p1", "p2"]}
    for edge, (_, candidates, _) in EDGES.items():
        for file, value, *others in candidates:
            files[file].append(
                {"email": person(edge), column_of(edge): value} | (others[0] if others else {})
            )
    (folder / "parts").mkdir()
    for name in ["p1", "p2"]:
        write_csv(folder / "parts" / f"{name}.csv", table(files[name]))
    spec = {
        "region": "US",
        "match_on": ["email"],
        # a strategy may be given by a header's text
        "strategies": {f"By {name}": strategy for name, strategy in STRATEGIES.items()} | COLUMN_STRATEGIES,
        "enriched": [{"name": "parts", "path": str(folder / "parts" / "*.csv")}],
    }
    original = table([{"Email": person(edge)} for edge in EDGES])
    vendors = [(name, table(files[name], "updated_at")) for name in ["a", "b", "c"]]
    vendors.append(("parts", Table([], [])))
    return done(merge_tables(runner, folder, spec, original, vendors, select=[*REPORTS, "+merge_conflicts"]))


@pytest.fixture(scope="module")
def survivors(strategies) -> dict[str, Row]:
    return rows_by(strategies)


@pytest.mark.parametrize("edge", EDGES)
def test_the_value_that_survives(survivors, edge):
    # in two steps, since a difference of a megabyte takes minutes to explain
    found = survivors[person(edge)][column_of(edge)]
    assert found[:99] == EDGES[edge][2][:99]
    assert len(found) == len(EDGES[edge][2])


def test_each_edge_is_a_person(strategies):
    assert strategies.query("select distinct match_status from merged_result") == [("matched_direct",)]


def test_unparsable_timestamps_are_reported(strategies):
    found = strategies.query("select source, unparsed_timestamps from file_summary where role = 'enriched'")
    told = dict.fromkeys(["a", "b"], len(UNPARSABLE))  # a blank is no timestamp either, and not reported
    assert dict(found) == dict.fromkeys([source for source, _ in found], 0) | told


@pytest.mark.parametrize("edge", [edge for edge in FOLDS if edge.startswith("unanimous")])
def test_who_agrees_is_in_no_conflict(strategies, edge):
    """What unanimous takes for one value is no conflict, and what it refuses is one."""
    found = strategies.query(
        f"select column_name from merge_conflicts where original_row = {list(EDGES).index(edge) + 1}"
    )
    assert found == ([] if EDGES[edge][2] else [(column_of(edge),)])


# -- Policies, against the CRM's own cell --

GROUP_STRATEGIES = {
    **{name: name for name in ["first", "last", "longest", "most_complete"]},
    "source_priority": {"source_priority": ["b"]},
    "most_recent": {"most_recent": "updated_at"},
}
POLICIES = ["Fill", "Update", "Suffix", "Replace"]
ADDRESS = ["street", "zip", "city"]


def address(prefix: str, *cells: str) -> Row:
    return dict(zip([f"{prefix} {column}" for column in ADDRESS], cells, strict=False))


def in_groups(**cells: str) -> Row:
    """The same cells in the group of each strategy."""
    return {f"{name} {column}": cell for name in GROUP_STRATEGIES for column, cell in cells.items()}


def all_policies(cell: str) -> Row:
    return dict.fromkeys(POLICIES, cell)


# case: (row of the CRM, rows of vendors); the e-mail address is the case's own where a row has none
CASES: dict[str, tuple[Row, list[tuple[str, Row]]]] = {
    "both": (all_policies("own"), [("a", all_policies("new"))]),
    "blank crm": (all_policies(""), [("a", all_policies("new"))]),
    "white crm": (all_policies(" \t"), [("a", all_policies("new"))]),
    "word of the crm": (all_policies("n/a"), [("a", all_policies("new"))]),
    "blank vendor": (all_policies("own"), [("a", all_policies("n/a"))]),
    "both blank": (all_policies(" \t"), [("a", all_policies("-"))]),
    "no column": (all_policies("own"), [("b", {"other": "x"})]),
    "unmatched": (all_policies(" own\t"), []),
    "raw": (all_policies(" "), [("a", all_policies(f" 0012 {NFD_E}"))]),
    "crm in NFD": (all_policies(f" 0012 {NFD_E}"), [("a", all_policies(""))]),
    "defaults": ({"Other": "", "Title": ""}, [("a", {"other": "x", "title": "x", "new": "x"}),
                                              ("b", {"other": "y", "title": "y", "new": "y"})]),
    "default policy": ({"Other": "own"}, [("a", {"other": "new"})]),
    # groups that no CRM column is in
    "together": ({}, [
        ("a", {"updated_at": "2024-01-01"} | in_groups(street="Main 1")),
        ("b", {"updated_at": "2020-01-01"} | in_groups(street="Elm 2", zip="90210")),
    ]),
    "row of blanks": ({}, [
        ("a", {"updated_at": "2024-01-01"} | in_groups(street="n/a", zip=" ") | address("home", *"xyz") | address("mixed", *"xyz") | address("newer", *"xyz")),
        ("b", {"updated_at": "2024-01-01"} | in_groups(street="", zip="\u200b")),
        ("b", {"updated_at": "2020-01-01"} | in_groups(street="", zip="9")),
        ("c", {"updated_at": "2024-01-01"} | in_groups(street="-", zip="")),
    ]),
    "tied rows": ({}, [
        ("b", in_groups(street="12", zip="") | {"other": "x"}),
        ("b", in_groups(street="", zip="34") | {"other": "x"}),
    ]),
    "long together": ({}, [
        ("a", {"longest street": "abcd", "longest zip": "", "updated_at": "soon"}),
        ("b", {"longest street": "  ab  ", "longest zip": "12"}),
        ("c", {"longest street": "abc", "longest zip": "12"}),
    ]),
    "filled group": ({}, [
        ("a", {"filled street": "Main 1", "filled zip": "n/a"}),
        ("b", {"filled street": "Elm 2", "filled zip": "90210"}),
    ]),
    # groups of CRM columns; their city is new
    "empty address": (address("Home"), [("a", address("home", "Main 1", "90210", "LA"))]),
    "white address": (address("Home", " ", "\u200b"), [("a", address("home", "Main 1", "90210", "LA"))]),
    "half an address": (address("Home", "", "10115"), [("a", address("home", "Main 1", "90210", "LA"))]),
    "n/a in an address": (address("Home", "", "n/a"), [("a", address("home", "Main 1", "90210", "LA"))]),
    "half a vendor's address": (address("Home", " ", " "), [("a", address("home", "Main 1", "", "")),
                                                            ("b", address("home", "Elm 2", "90210", "LA"))]),
    "half an address that may be mixed": (address("Mixed", "", "10115"), [
        ("a", address("mixed", "Main 1", "", "")), ("b", address("mixed", "Elm 2", "90210", "LA"))]),
    "address to update": (address("Newer", "own", "own"), [
        ("a", address("newer", "Main 1", "n/a", "")), ("b", address("newer", "Elm 2", "90210", "LA"))]),
    "address to replace": (address("Replaced", "own", "own"), [
        ("a", address("replaced", "Main 1", "", "")), ("b", address("replaced", "Elm 2", "90210", "LA"))]),
    "address beside": (address("Beside", "own", ""), [("a", address("beside", "Main 1", "90210", "LA"))]),
    "street to update, zip to fill": (address("Both", "own", ""), [("a", address("both", "Main 1", "90210"))]),
    "street to update, both blank": (address("Both", "", ""), [("a", address("both", "Main 1", "90210"))]),
    # keys are data too
    "blank phone": ({"Phone": " "}, [("a", {"phone": " +1 (212) 555-0110 x9"})]),
    "own phone": ({"Phone": "call me"}, [("a", {"phone": "+1 212 555 0111"})]),
    "phone of two spellings": ({"Phone": ""}, [("a", {"phone": "+1 212 555 0112"}), ("b", {"phone": "(212) 555-0112"})]),
    "blank e-mail": ({"Email": "", "Phone": "(212) 555-0113"}, [("a", {"email": "Found@Firm.com ", "phone": "+12125550113"})]),
    "blank id": ({"Id": ""}, [("a", {"id": "77"})]),
    "stranger": ({"Id": "none"}, [("b", {"email": "", "crm_id": "77", "title": "stranger"})]),
    # two entities: that of the e-mail address, whose file is the later one, and that of the phone
    "two entities": ({"Phone": "+1 212 555 0120", "Title": ""}, [
        ("a", {"email": "", "phone": "2125550120", "title": "of the phone", "other": "of the phone", "same": "p", "same_collected": "p"}
         | address("home", "of the phone", "90210", "LA") | address("mixed", "of the phone", "90210", "LA") | address("first", "of the phone", "90210")),
        ("b", {"title": "of the e-mail", "other": "n/a", "same": "x", "same_collected": "x"}
         | address("home", "of the e-mail", "", "") | address("mixed", "of the e-mail", "", "") | address("first", "", "")),
        ("c", {"same": "y", "same_collected": "y"}),
    ]),
    "two addresses": ({"Personal Email": "second@firm.com", "Title": ""}, [
        ("a", {"email": "second@firm.com", "title": "first by order", "other": ""}), ("b", {"title": "second", "other": "second"})]),
}  # fmt: skip


def email_of(case: str) -> str:
    return f"case{list(CASES).index(case)}@firm.com"


@pytest.fixture(scope="module")
def cases(runner, tmp_path_factory) -> Merge:
    """One row of the CRM per case; the column of each policy has its name."""
    crm_headers = [*("Case", "Id", "Email", "Personal Email", "Phone", "Title", "Other"), *POLICIES]
    original, files = [], {"a": [], "b": [], "c": []}
    for case, (own, rows) in CASES.items():
        original.append({"Case": case, "Id": f"id {case}", "Email": email_of(case)} | own)
        for file, row in rows:
            files[file].append({"email": email_of(case)} | row)
    groups: list[dict] = [
        {"columns": [f"{name} street", f"{name} zip"], "strategy": strategy}
        for name, strategy in GROUP_STRATEGIES.items()
    ]
    groups += [
        {"columns": ["filled street", "filled zip"], "allow_fill": True},
        {"columns": [f"mixed {column}" for column in ADDRESS], "allow_fill": True},
    ]
    for prefix in ["home", "newer", "replaced", "beside"]:
        groups.append({"columns": [f"{prefix} {column}" for column in ADDRESS]})
    groups.append({"columns": ["both street", "both zip"]})
    overwrite = {policy: policy.lower() for policy in POLICIES}
    for prefix, policy in {"newer": "update", "replaced": "replace", "beside": "suffix"}.items():
        overwrite |= {f"{prefix} street": policy, f"{prefix} zip": policy}
    spec = {
        "region": "US",
        "match_on": ["email", "phone", {"type": "external_id", "original": "Id", "enriched": "crm_id"}],
        "strategies": {"default": "last", "title": "first", "same": "unanimous", "same_collected": "collect"},
        "overwrite": overwrite | {"both street": "update"},
        "groups": groups,
    }
    vendors = [(name, table(rows)) for name, rows in files.items()]
    folder = tmp_path_factory.mktemp("cases")
    return done(merge_tables(runner, folder, spec, table(original, *crm_headers), vendors, select=REPORTS))


@pytest.fixture(scope="module")
def results(cases) -> dict[str, Row]:
    return rows_by(cases, "Case")


def by_policy(row: Row) -> list[str | None]:
    """The cells under fill, update, suffix and replace, then the suffixed one."""
    return [row[policy] for policy in [*POLICIES, "suffix_enriched"]]


def test_two_values_under_each_policy(results):
    assert by_policy(results["both"]) == ["own", "new", "own", "new", "new"]


def test_a_blank_of_the_crm_under_each_policy(results):
    assert by_policy(results["blank crm"]) == ["new", "new", "", "new", "new"]


def test_white_space_of_the_crm_under_each_policy(results):
    assert by_policy(results["white crm"]) == ["new", "new", " \t", "new", "new"]


def test_a_word_of_the_crm_under_each_policy(results):
    assert by_policy(results["word of the crm"]) == ["n/a", "new", "n/a", "new", "new"]


def test_a_blank_of_the_vendor_under_each_policy(results):
    assert by_policy(results["blank vendor"]) == ["own", "own", "own", "", ""]


def test_two_blanks_under_each_policy(results):
    assert by_policy(results["both blank"]) == [" \t", " \t", " \t", "", ""]


def test_a_vendor_without_the_column_under_each_policy(results):
    assert by_policy(results["no column"]) == ["own", "own", "own", "", ""]


def test_an_unmatched_row_under_each_policy(results):
    assert by_policy(results["unmatched"]) == [" own\t", " own\t", " own\t", " own\t", ""]


def test_the_whole_raw_cell_is_written_under_each_policy(results):
    assert by_policy(results["raw"]) == [" 0012 é", " 0012 é", " ", " 0012 é", " 0012 é"]


def test_a_kept_cell_stays_raw_under_each_policy(results):
    assert by_policy(results["crm in NFD"]) == [f" 0012 {NFD_E}"] * 3 + ["", ""]


def test_only_suffix_adds_a_column(cases):
    added = [header for header in cases.table("merged_result").headers if header.endswith("_enriched")]
    assert added == ["suffix_enriched", "beside_street_enriched", "beside_zip_enriched"]


def test_the_default_policy_is_fill(results):
    assert results["default policy"]["Other"] == "own"


def test_the_default_strategy_holds_for_all_columns_but_those_that_have_their_own(results):
    row = results["defaults"]
    assert (row["Title"], row["Other"], row["new"]) == ("x", "y", "y")


def test_a_given_default_policy_holds_for_the_crms_columns_but_those_that_have_their_own(merge):
    original = Table(["Email", "Title", "City"], [["a@x.com", "own", "own"]])
    vendor = Table(["email", "title", "city", "new"], [["a@x.com", "x", "x", "x"]])
    spec = {"match_on": ["email"], "overwrite": {"default": "suffix", "City": "fill", "email": "fill"}}
    row = rows_by(merge(spec, original, [("v", vendor)]))["a@x.com"]
    data = {column: cell for column, cell in row.items() if cell in ("own", "x")}
    assert data == {"Title": "own", "City": "own", "title_enriched": "x", "new": "x"}


# -- Field groups --


def pair(row: Row, prefix: str) -> tuple[str | None, str | None]:
    return row[f"{prefix}_street"], row[f"{prefix}_zip"]


@pytest.mark.parametrize("strategy", GROUP_STRATEGIES)
def test_a_group_survives_together_with_its_blanks(results, strategy):
    """The first row, which is the most recent, is the shorter and the emptier one."""
    first = strategy in ("first", "most_recent")
    assert pair(results["together"], strategy) == (("Main 1", "") if first else ("Elm 2", "90210"))


@pytest.mark.parametrize("strategy", GROUP_STRATEGIES)
def test_a_row_of_blanks_is_no_candidate_of_a_group(results, strategy):
    assert pair(results["row of blanks"], strategy) == ("", "9")


@pytest.mark.parametrize("strategy", GROUP_STRATEGIES)
def test_rows_that_tie_in_a_group_end_in_their_order(results, strategy):
    assert pair(results["tied rows"], strategy) == (("", "34") if strategy == "last" else ("12", ""))


def test_longest_adds_up_the_cells_of_a_group(results):
    assert pair(results["long together"], "longest") == ("abc", "12")


def test_timestamps_that_only_a_group_compares_are_reported(cases):
    found = cases.query("select unparsed_timestamps from file_summary order by file_order")
    assert found == [(0,), (1,), (0,), (0,)]


def test_allow_fill_fills_the_blanks_of_the_row_that_won(results):
    assert pair(results["filled group"], "filled") == ("Main 1", "90210")


def home(row: Row, prefix: str = "Home") -> list[str | None]:
    return [row[f"{prefix} street"], row[f"{prefix} zip"], row[f"{prefix.lower()}_city"]]


@pytest.mark.parametrize("case", ["empty address", "white address"])
def test_a_blank_group_of_the_crm_is_filled(results, case):
    assert home(results[case]) == ["Main 1", "90210", "LA"]


def test_one_cell_of_the_crm_blocks_its_whole_group_and_the_groups_new_columns(results):
    assert home(results["half an address"]) == ["", "10115", ""]


def test_a_word_of_the_crm_blocks_its_group(results):
    assert home(results["n/a in an address"]) == ["", "n/a", ""]


def test_the_blanks_of_a_groups_row_leave_the_crms_cells_as_they_are(results):
    assert home(results["half a vendor's address"]) == ["Main 1", " ", ""]


def test_allow_fill_fills_cell_by_cell(results):
    assert home(results["half an address that may be mixed"], "Mixed") == ["Main 1", "10115", "LA"]


def test_a_group_is_updated_cell_by_cell(results):
    assert home(results["address to update"], "Newer") == ["Main 1", "own", ""]


def test_a_group_is_replaced_with_its_blanks(results):
    assert home(results["address to replace"], "Replaced") == ["Main 1", "", ""]


def test_a_group_under_suffix_stands_beside_the_crms(results):
    row = results["address beside"]
    assert home(row, "Beside") == ["own", "", "LA"]
    assert [row["beside_street_enriched"], row["beside_zip_enriched"]] == ["Main 1", "90210"]


def test_a_cell_of_the_crm_that_is_updated_still_blocks_those_to_fill(results):
    row = results["street to update, zip to fill"]
    assert [row["Both street"], row["Both zip"]] == ["Main 1", ""]


def test_a_group_of_two_policies_is_written_where_it_is_blank(results):
    row = results["street to update, both blank"]
    assert [row["Both street"], row["Both zip"]] == ["Main 1", "90210"]


# -- Keys are data too --


def test_a_phone_of_the_crm_is_filled_with_the_whole_raw_cell(results):
    assert results["blank phone"]["Phone"] == " +1 (212) 555-0110 x9"


def test_a_phone_of_the_crm_that_is_none_is_kept(results):
    assert results["own phone"]["Phone"] == "call me"


def test_a_key_survives_by_the_strategy_of_its_column(results):
    assert results["phone of two spellings"]["Phone"] == "(212) 555-0112"


def test_a_blank_e_mail_of_the_crm_is_filled_as_it_is_spelled(results):
    assert results["blank e-mail"]["Email"] == "Found@Firm.com "


def test_entities_are_not_computed_again_with_keys_that_were_filled(cases, results):
    row = results["blank id"]
    assert (row["Id"], row["Title"], row["n_enriched_rows"]) == ("77", "", "1")
    assert results["stranger"]["match_status"] == "unmatched"
    assert {row["Title"] for row in results.values()}.isdisjoint({"stranger"})


# -- Between the entities of one row --


def test_a_column_is_of_the_entity_of_the_strongest_key(results):
    row = results["two entities"]
    assert row["match_status"] == "ambiguous"
    assert (row["Title"], row["match_tier"]) == ("of the e-mail", "1")


def test_a_blank_of_the_first_entity_falls_through_to_the_next(results):
    assert results["two entities"]["Other"] == "of the phone"


def test_strategies_decide_within_an_entity_only(results):
    """Two values of the first entity, one of the second: neither is joined with the other's."""
    assert results["two entities"]["same_collected"] == "x; y"


def test_an_entity_that_is_not_unanimous_has_no_value(results):
    assert results["two entities"]["same"] == "p"


def test_a_group_falls_through_as_a_whole(results):
    row = results["two entities"]
    assert home(row) == ["of the e-mail", "", ""]
    assert pair(row, "first") == ("of the phone", "90210")


def test_a_group_that_may_be_filled_falls_through_cell_by_cell(results):
    assert home(results["two entities"], "Mixed") == ["of the e-mail", "90210", "LA"]


def test_entities_of_one_tier_count_by_the_order_of_their_rows(results):
    row = results["two addresses"]
    assert row["match_status"] == "ambiguous"
    assert (row["Title"], row["Other"]) == ("first by order", "second")
