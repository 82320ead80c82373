"""docs/how-to-read-a-merge.md shows what the example really gives: each query there is run and compared with what stands below it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import yaml

from crm_merge.merging.protect import REPORTS
from crm_merge.spec.yaml_file import load
from tests.conftest import PROJECT, as_text

PAGE = PROJECT / "docs" / "how-to-read-a-merge.md"
EXAMPLE = PROJECT / "seeds" / "example" / "merge.yml"


def blocks(page: str) -> list[tuple[str, str]]:
    """The queries of a page, each with the output that is shown below it."""
    return re.findall(r"^```sql\n(.*?)^```\n\n^```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def shown(headers: list[str], rows: list[tuple]) -> str:
    """A table as the page shows one: aligned, null left blank."""
    cells = [headers, *([as_text(cell) for cell in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(headers))]
    lines = [
        " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    lines.insert(1, "-+-".join("-" * width for width in widths))
    return "\n".join(lines if rows else [*lines, "(no rows)"]) + "\n"


def output(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """What a query gives, as the page shows it."""
    cursor = connection.execute(sql)
    return shown([column[0] for column in cursor.description], cursor.fetchall())


def differences(connection: duckdb.DuckDBPyConnection, page: str) -> list[str]:
    """Each query whose output is not what the page shows, with what it should show."""
    told = []
    for sql, text in blocks(page):
        found = output(connection, sql)
        if found != text:
            told.append(f"{sql}shows\n{text}but gives\n{found}")
    return told


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def example(runner, page) -> Path:
    """The database of the example, with the prices that the page adds to its spec."""
    spec = load(EXAMPLE)
    [prices] = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    priced = {vendor["name"]: vendor["price"] for vendor in yaml.safe_load(prices)["enriched"]}
    assert list(priced) == [vendor["name"] for vendor in spec["enriched"]]
    for vendor in spec["enriched"]:
        vendor["price"] = priced[vendor["name"]]
    done = runner(spec, select=None)
    assert done.ok, done.problems
    return done.directory / "merge.duckdb"


def test_every_query_is_followed_by_its_output(page):
    assert len(blocks(page)) == page.count("```sql") == page.count("\n```text\n") > 15


def test_every_query_gives_what_the_page_shows(example, page):
    with duckdb.connect(str(example), read_only=True) as connection:
        told = differences(connection, page)
    assert not told, "\n".join(told)


def test_a_stale_output_is_noticed(example, page):
    with duckdb.connect(str(example), read_only=True) as connection:
        for old, new in (("(720) 555-0119", "(720) 555-0118"), ("| fill   |", "| update |")):
            assert old in page
            assert differences(connection, page.replace(old, new))


@pytest.mark.slow
def test_the_merges_without_a_vendor_give_what_the_page_says(runner, page):
    """The page leaves each vendor out in turn; the only figures on it that one merge can't give."""
    told = re.findall(
        r"^\| (nobody|Apollo|Clearbit|ZoomInfo)\b[^|]*\| (\d+) \| (\d+) \| (\d*) ?\|", page, re.MULTILINE
    )
    assert [row[0] for row in told] == ["nobody", "Apollo", "Clearbit", "ZoomInfo"]
    everything = int(told[0][2])
    for name, matched, cells, less in told:
        spec = load(EXAMPLE)
        gone = name.lower()
        spec["enriched"] = [vendor for vendor in spec["enriched"] if vendor["name"] != gone]
        if gone == "apollo":
            spec["match_on"] = spec["match_on"][1:]
        names = {vendor["name"] for vendor in spec["enriched"]}
        priority = spec["strategies"]["phone"]["source_priority"]
        spec["strategies"]["phone"] = {"source_priority": [name for name in priority if name in names]}
        done = runner(spec, select=None)
        assert done.ok, done.problems
        found = done.query(
            "select m.matched_rows, (select count(*) from cell_provenance) from merge_summary as m"
        )
        assert found == [(int(matched), int(cells))], name
        assert everything - int(cells) == int(less or 0), name
        strangers = done.query('select "Last Name" from unmatched_enriched')
        assert (("Durand",) in strangers) == (gone in ("apollo", "clearbit")), name


def test_a_query_can_be_asked_the_way_the_page_says(example, page):
    [code] = re.findall(r'^\.venv/bin/python -c "(.*)" < question\.sql$', page, re.MULTILINE)
    code = code.replace("merges/example/merge.duckdb", str(example))
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="select original_rows from merge_summary",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "16" in done.stdout


def test_the_page_names_every_check_and_every_published_report(page):
    checks = {path.stem for path in (PROJECT / "tests" / "sql" / "invariants").glob("*.sql")}
    assert checks == set(
        re.findall(r"^\| `(\w+)` \| [^|]+\|$", page.partition("## The rule")[2], re.MULTILINE)
    )
    assert [name for name in REPORTS if f"`{name}.csv`" not in page] == []
