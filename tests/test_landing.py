"""Files of one vendor and shape land together: what comes out is what one file of their rows would give, but for the names of files and rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crm_merge.engine import dbt_run
from crm_merge.engine.describe import looked_at
from crm_merge.engine.landings import Landings
from crm_merge.engine.words import Words, opened
from crm_merge.plan.make import Machine, made
from crm_merge.spec import yaml_file
from crm_merge.spec.check import checked
from crm_merge.spec.names import of_project
from tests.conftest import PROJECT, write_csv
from tests.oracle import Table
from tests.test_plan import profile

sys.path.insert(0, str(PROJECT / "benchmarks"))
import wide

HEADER = ["email", "phone", "title", "country"]
CRM = Table(
    ["Id", "Email", "Phone", "Title"],
    [[str(n), f"p{n}@x.com", f"+1 212 555 01{n:02}" if n % 3 else "", "CEO" if n % 4 == 0 else ""] for n in range(12)],
)  # fmt: skip
PLAIN, BROKEN = "plain", "broken"
WAYS = ["utf-8", "crlf", "bom", "utf-16", "cp1252", "gzip", "semicolon", "json", "parquet", "title above"]
row = st.tuples(
    st.sampled_from([f"p{n}@x.com" for n in range(14)] + ["", "P1@X.com; p2@x.com", "n/a"]),
    st.sampled_from(["", "+1 212 555 0101", "(212) 555-0102", "06 12 34 56 78", "+44 20 7946 0958"]),
    st.sampled_from(["", "Zoë", "boss", 'says "hi",\nthen goes', "Boss"]),
    st.sampled_from(["", "France", "USA", "nowhere"]),
)
written = st.tuples(st.sampled_from([PLAIN] * 6 + [BROKEN]), row)
several = st.lists(st.tuples(st.sampled_from(WAYS), st.lists(written, max_size=5)), min_size=2, max_size=7)


def as_text(rows: list, delimiter: str = ",", end: str = "\n") -> str:
    """A CSV file; a row that is broken has two cells more than the header."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow(HEADER)
    for kind, cells in rows:
        writer.writerow([*cells, "and", "more"] if kind == BROKEN else cells)
    return out.getvalue()


def write(path, way: str, rows: list) -> None:
    """Writes rows as a file of a kind."""
    if way in ("json", "parquet"):
        rows = [cells for _, cells in rows]
        if way == "json":
            path.write_text(
                "".join(json.dumps(dict(zip(HEADER, cells, strict=True))) + "\n" for cells in rows)
            )
            return
        with duckdb.connect() as connection:
            connection.execute(f"create table t ({', '.join(f'{name} varchar' for name in HEADER)})")
            for cells in rows:
                connection.execute("insert into t values (?, ?, ?, ?)", list(cells))
            connection.execute(f"copy t to '{path}' (format parquet)")
        return
    text = as_text(rows, ";" if way == "semicolon" else ",", "\r\n" if way == "crlf" else "\n")
    if way == "title above":
        text = "Report of May\n\n" + text
    encoding = {"bom": "utf-8-sig", "utf-16": "utf-16", "cp1252": "cp1252"}.get(way, "utf-8")
    path.write_bytes(gzip.compress(text.encode()) if way == "gzip" else text.encode(encoding))


def whole(rows: list, way: str) -> list:
    """The rows of a file as they are written: what is no CSV has no broken ones."""
    return [(PLAIN, cells) for _, cells in rows] if way in ("json", "parquet") else rows


RELATIONS = {
    "merged_result": ["entity_id", "match_explanation"],
    "crosswalk": ["entity_id"],
    "row_ledger": ["entity_id", "original_rows", "explanation"],
    "cell_provenance": [],
    "rejected_rows": ["path", "line", "byte_position", "raw_text"],
    "merge_changes": [],
    "merge_conflicts": [
        "entity_id",
        "candidates",
        "winner_source",
        "winner_row",
        "runner_up_source",
        "runner_up_row",
    ],
    "vendor_scorecard": [],
    "guard_events": ["entity_id", "event_id", "involved_rows"],
}


def found(merge, first_rows: dict[str, int]) -> dict[str, list]:
    """What came out, with a file's name and a row's number in it as a row's number among all."""
    tables = {}
    for name, left_out in RELATIONS.items():
        table = merge.table(name)
        rows = []
        for cells in table.rows:
            cells = dict(zip(table.headers, cells, strict=True))
            for at in [header for header in cells if header.endswith("source")]:
                place = at.removesuffix("source") + "source_row"
                if place in cells and cells[at] in first_rows and cells[place] not in (None, ""):
                    cells[place] = str(int(cells[place]) + first_rows[cells[at]])
                    cells[at] = "v"
            rows.append({header: cell for header, cell in cells.items() if header not in left_out})
        tables[name] = rows if name in ("merged_result", "merge_changes") else sorted(rows, key=str)
    return tables


# each example is two merges: none is made smaller
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(files=several, strategy=st.sampled_from(["first", "most_frequent", "collect", "longest"]))
def test_several_files_are_one_file_of_their_rows(files, strategy, runner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_csv(folder / "crm.csv", CRM)
    (folder / "v").mkdir()
    spec = {
        "original": {"path": str(folder / "crm.csv")}, "match_on": ["email", "phone"], "region": "US",
        "strategies": {"default": strategy, "phone": strategy}, "guards": {"max_reject_rate": 1},
    }  # fmt: skip
    first_rows, rows = {}, []
    for n, (way, of_file) in enumerate(files):
        way = "utf-8" if way == "json" and not of_file else way  # JSON of no row has no columns
        of_file = whole(of_file, way)
        name = f"{n}.{'parquet' if way == 'parquet' else 'csv'}"
        write(folder / "v" / name, way, of_file)
        first_rows[f"v/{name}"] = len(rows)
        rows += of_file
    write(folder / "one.csv", "utf-8", rows)
    results = []
    for path in (folder / "v" / "*", folder / "one.csv"):
        merge = runner(spec | {"enriched": [{"name": "v", "path": str(path)}]}, command="build", select=None)
        assert merge.ok, merge.problems
        results.append(found(merge, first_rows))
    for name in RELATIONS:
        assert results[0][name] == results[1][name], name


def test_files_that_are_read_other_than_counted_are_landed_alone(runner, tmp_path, monkeypatch):
    """A statement that reads several files says of each how many rows it gave: then each is read with care."""
    (tmp_path / "v").mkdir()
    write_csv(tmp_path / "crm.csv", CRM)
    for n in range(4):
        rows = [
            (PLAIN, (f"p{n}@x.com", "", f"title {n}", "")),
            (PLAIN, (f"p{n + 4}@x.com", "", "", "France")),
        ]
        write(tmp_path / "v" / f"{n}.csv", "utf-8", rows)
    spec = {
        "original": {"path": str(tmp_path / "crm.csv")}, "match_on": ["email"],
        "enriched": [{"name": "v", "path": str(tmp_path / "v" / "*.csv")}],
    }  # fmt: skip
    expected = runner(spec, command="build", select=None).table("merged_result").rows
    once = []
    misread = Landings.crm_landing_misread

    def second_is_misread(self, request):
        if '"landing"' in request and not once:
            once.append(request)
            return "[2]"
        return misread(self, request)

    second_is_misread.__name__ = misread.__name__
    monkeypatch.setattr(Landings, misread.__name__, second_is_misread)
    merge = runner(spec, command="build", select=None)
    assert merge.ok, merge.problems
    assert once and merge.table("merged_result").rows == expected
    assert len(merge.query("select * from stg_enriched")) == 8


@pytest.mark.parametrize(
    ("rows", "landings"),
    [
        ([10, 10, 10], [[1, 2, 3]]),
        ([90_000, 90_000, 90_000], [[1, 2], [3]]),
        ([10, 200_000, 10], [[1, 3], [2]]),
    ],
)
def test_what_is_landed_together_is_bounded(rows, landings):
    files = [
        profile(0, ["Email"]),
        *(profile(k, ["email", "title"], vendor="v", physical_rows=n) for k, n in enumerate(rows, 1)),
    ]
    spec = {
        "original": {"path": "crm.csv"},
        "enriched": [{"name": "v", "path": "*.csv"}],
        "match_on": ["email"],
    }
    found = made(checked(spec), files, [], of_project(), Machine())
    assert [one.files for shape in found.shapes[1:] for one in shape.landings] == landings


def sql_of(folder: Path, monkeypatch) -> int:
    """How many characters of SQL the merge of a folder's spec is told, by its log."""
    monkeypatch.setenv("CRM_MERGE_DEBUG", "1")
    outcome = dbt_run.run(["build"], folder / "merge", yaml_file.load(folder / "spec.yml"))
    assert outcome.ok, outcome.problems
    told = 0
    for log in (folder / "merge" / "logs").glob("dbt.log*"):
        for line in log.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            told += len(event["data"]["sql"]) if event["info"]["name"] == "SQLQuery" else 0
    return told


def test_cells_of_a_type_that_is_told_a_region_are_apart_by_region():
    """A key type of several queries is told one region; phone numbers have that of their row."""
    files = [profile(k, ["Email", "Phone", "Website"], region="US" if k < 2 else "FR") for k in range(3)]
    spec = {
        "original": {"path": "crm.csv"}, "enriched": [{"name": "v1", "path": "v.csv"}, {"name": "v2", "path": "w.csv"}],
        "match_on": ["email", "phone", "domain"],
    }  # fmt: skip
    cells = made(checked(spec), files, [], of_project(), Machine()).cells
    assert sorted((one.name, one.region, [shape.number for shape in one.shapes]) for one in cells) == [
        ("domain_fr", "FR", [2]), ("domain_us", "US", [0, 1]), ("email", None, [0, 1, 2]), ("phone", None, [0, 1, 2]),
    ]  # fmt: skip


def test_an_event_that_was_written_into_is_known():
    event = json.dumps(
        {"data": {"node_info": {"node_name": "x"}}, "info": {"name": "LogTestResult", "msg": "PASS"}}
    )
    broken = event[:40] + "WARN Utils: no such host\n" + event[40:]
    assert any(dbt_run.is_spoilt_event(line) for line in broken.splitlines())
    assert not dbt_run.is_spoilt_event("WARN Utils: no such host") and not dbt_run.is_spoilt_event("")


def test_files_that_land_on_one_thread_leave_the_others_to_the_rest(tmp_path):
    """What is run on one thread gives the threads back."""
    with opened(tmp_path) as connection:
        connection.execute("set threads = 2")
        words = Words(connection, {})
        words.say("run_on_one_thread", "create table t as select current_setting('threads') as n")
        assert connection.execute("select n, current_setting('threads') from t").fetchone() == (1, 2)


def test_sql_does_not_grow_with_files(tmp_path, monkeypatch):
    """Real headers, 106 columns in all: most of the SQL is the models', and what finds keys stands in it once."""
    wide.write(120, tmp_path / "one", countries=10)
    wide.write(120, tmp_path / "many", countries=10, files=50)
    one, many = (sql_of(tmp_path / name, monkeypatch) for name in ("one", "many"))
    assert 300_000 < one < 800_000
    assert many < 1.03 * one


def merged(runner, spec, monkeypatch, rows: str | None = None):
    """A merge with all its checks, in parts of so many rows."""
    if rows:
        monkeypatch.setenv("CRM_MERGE_PART_ROWS", rows)
    merge = runner(spec, command="build", select=None)
    monkeypatch.delenv("CRM_MERGE_PART_ROWS", raising=False)
    assert merge.ok, merge.problems
    return merge


def test_several_columns_of_a_key_in_many_parts(runner, tmp_path, monkeypatch):
    """Two columns of e-mail addresses may hold the same one; that changes nothing for phone numbers."""
    crm = [
        [str(n), f"p{n}@x.com", f"w{n}@x.com" if n % 2 else f"p{n}@x.com", f"+1415555{1000 + n}", ""]
        for n in range(120)
    ]
    vendor = [[f"p{n}@x.com", f"+1415555{1000 + n}", "CFO"] for n in range(150)]
    spec = {
        "original": {"path": str(write_csv(tmp_path / "crm.csv", Table(["Id", "Email", "Work Email", "Phone", "Title"], crm)))},
        "enriched": [{"name": "v", "path": str(write_csv(tmp_path / "v.csv", Table(["Email", "Phone", "Title"], vendor)))}],
        "match_on": ["email", "phone"],
    }  # fmt: skip
    whole, parts = merged(runner, spec, monkeypatch), merged(runner, spec, monkeypatch, "40")
    assert whole.query("select distinct match_status from merged_result") == [("matched_direct",)]
    for name in ("merged_result", "int_match_keys", "crosswalk"):
        assert sorted(whole.table(name).rows) == sorted(parts.table(name).rows), name


def parquet(path: Path, rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    name = str(path).replace("'", "''")
    duckdb.sql(f"copy ({rows}) to '{name}' (format parquet)")


def test_columns_called_as_the_engine_calls_places(runner, tmp_path, monkeypatch):
    """A column called file_index is not the file that a row is of, nor file_row_number its place."""
    write_csv(tmp_path / "crm.csv", CRM)
    for k in range(2):
        row = f"select 'p' || (i + {5 * k}) || '@x.com' as email, 'title {k}' as title, {1 - k} as File_Index, 7 as file_row_number, 'x' as filename"
        parquet(
            tmp_path / "v" / f"country={'DE' if k else 'US'}" / f"{k}.parquet",
            f"{row} from range(5) as t (i)",
        )
    spec = {
        "original": {"path": str(tmp_path / "crm.csv")}, "match_on": ["email"],
        "enriched": [{"name": "v", "path": str(tmp_path / "v" / "*" / "*.parquet")}],
    }  # fmt: skip
    merge = merged(runner, spec, monkeypatch)
    found = merge.query(
        "select distinct _merge_file, country, title, file_index from stg_enriched order by 1"
    )
    assert found == [(1, "DE", "title 1", "0"), (2, "US", "title 0", "1")]
    assert merge.query("select source, min(original_row), max(source_row) from crosswalk group by 1 order by 1") == [
        ("v/country=DE/1.parquet", 6, 5), ("v/country=US/0.parquet", 1, 5),
    ]  # fmt: skip
    described = looked_at(spec)[1]
    assert [row[-1] for row in described[1]["preview"]] == ["DE"] * 3
    assert [key["share"] for file in described for key in file["keys"]] == [1.0, 1.0, 1.0]


def test_partitions_of_files_that_land_together(runner, tmp_path, monkeypatch):
    write_csv(tmp_path / "crm.csv", CRM)
    for k, country in enumerate(["US", "D'E", "email"]):
        parquet(
            tmp_path / "v" / f"sold_in={country}" / "x.parquet", f"select 'p{k}@x.com' as email, {k} as n"
        )
    spec = {
        "original": {"path": str(tmp_path / "crm.csv")}, "match_on": ["email"],
        "enriched": [{"name": "v", "path": str(tmp_path / "v" / "*" / "*.parquet")}],
    }  # fmt: skip
    merge = merged(runner, spec, monkeypatch)
    found = merge.query("select sold_in, n from stg_enriched order by _merge_ord")
    assert sorted(found) == [("D'E", "1"), ("US", "0"), ("email", "2")]
    assert sorted(file["preview"][0][-1] for file in looked_at(spec)[1][1:]) == ["D'E", "US", "email"]


@pytest.mark.parametrize(
    ("region", "country", "phone", "number"),
    [
        ("DK", "Denmark", "+45 32123456", "+4532123456"), (None, "", "+80012345678", "+80012345678"), ("NO", "Norway", "22 82 30 00", "+4722823000"),
        ("SG", "Singapore", "6521 8000", "+6565218000"), ("PT", "Spain", "+351 21 000 0000", "+351210000000"),
    ],
)  # fmt: skip
def test_few_phones_of_countries_without_a_prefix(
    runner, tmp_path, monkeypatch, region, country, phone, number
):
    crm = Table(["Id", "Email", "Phone", "Country"], [["1", "a@x.com", phone, country], ["2", "", "", ""]])
    vendor = Table(["Name", "Phone", "Title"], [["Ann Lee", phone, "CFO"]])
    spec = {
        "original": {"path": str(write_csv(tmp_path / "crm.csv", crm))}, "match_on": ["email", "phone"],
        "enriched": [{"name": "v", "path": str(write_csv(tmp_path / "v.csv", vendor))}],
    } | ({"region": region} if region else {})  # fmt: skip
    merge = merged(runner, spec, monkeypatch)
    assert (number,) in merge.query("select key_value from int_keys where side = 'original'")
