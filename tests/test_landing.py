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
from crm_merge.engine.landings import Landings
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


def test_sql_does_not_grow_with_files(tmp_path, monkeypatch):
    """Real headers, 106 columns in all: most of the SQL is the models', and what finds keys stands in it once."""
    wide.write(120, tmp_path / "one", countries=10)
    wide.write(120, tmp_path / "many", countries=10, files=50)
    one, many = (sql_of(tmp_path / name, monkeypatch) for name in ("one", "many"))
    assert 300_000 < one < 1_100_000
    assert many < 1.03 * one
