"""I3 on 200,000 CRM rows and 360,000 vendor rows: the same bytes for any number of threads and any memory limit."""

from __future__ import annotations

import csv
import random
import sys

import pytest

from tests.conftest import PROJECT
from tests.test_command_line import crm_merge

sys.path.insert(0, str(PROJECT / "benchmarks"))
pytestmark = pytest.mark.slow

SPEC = """
original: {path: crm.csv}
enriched: [{name: v0, path: v0.csv, price: 100}, {name: v1, path: v1.csv}, {name: v2, path: v2.csv}]
match_on: [email, phone, linkedin]
region: US
"""
EVERY_STRATEGY = """
strategies: {work_email: most_frequent, phone: longest, linkedin: last, title: collect, city: unanimous,
             industry: min, vendor_id: max, employees: {source_priority: [v2, v0]}}
overwrite: {title: update, city: suffix}
"""
# what does not depend on the order of rows
FREE_OF_ORDER = "strategies: {default: min, title: max, city: unanimous}\noverwrite: {default: suffix}\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    import workload

    folder = tmp_path_factory.mktemp("determinism")
    workload.write(200_000, folder)
    (folder / "all.yml").write_text(SPEC + EVERY_STRATEGY)
    return folder


def published(spec, place, **environment) -> dict[str, bytes]:
    code, _, err = crm_merge("run", spec, "--dir", place, **environment)
    assert code == 0, err
    return {path.name: path.read_bytes() for path in (place / "out").glob("*.csv")}


def test_threads_and_memory_change_no_byte(files):
    runs = [("1", "4GB"), ("2", "200MB"), ("8", "500MB")]
    results = [
        published(files / "all.yml", files / f"run_{n}", DUCKDB_THREADS=threads, DUCKDB_MEMORY_LIMIT=memory)
        for n, (threads, memory) in enumerate(runs)
    ]
    assert len(results[0]) == 6 and len(results[0]["merge_changes.csv"]) > 10_000_000
    for result in results[1:]:
        assert {name for name in result if result[name] != results[0][name]} == set()


def test_shuffled_rows_change_no_order_free_value(files):
    (files / "free.yml").write_text(SPEC + FREE_OF_ORDER)
    before = rows(published(files / "free.yml", files / "ordered")["merged_result.csv"])
    for n in range(3):
        lines = (files / f"v{n}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        random.Random(n).shuffle(body := lines[1:])
        (files / f"s{n}.csv").write_text(lines[0] + "".join(body), encoding="utf-8")
    (files / "shuffled.yml").write_text((SPEC + FREE_OF_ORDER).replace("path: v", "path: s"))
    after = rows(published(files / "shuffled.yml", files / "shuffled")["merged_result.csv"])
    assert len(before) == len(after) == 200_000
    compared = 0
    for one, other in zip(before, after, strict=True):
        del one["match_explanation"], other["match_explanation"]  # it names rows
        # which of several entities comes first is a matter of rows where the tiers are the same
        if one["match_status"] != "ambiguous":
            compared += one["match_quality"] == "matched"
            assert one == other
    assert compared > 100_000


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(content.decode().splitlines(keepends=True)))
