"""Each invariant that runs on a user's data fails when what it guards is broken; a failed check is told."""

from __future__ import annotations

import shutil

import duckdb
import pytest

from tests.conftest import PROJECT, merge_tables
from tests.oracle import Table

BROKEN = {
    "every_original_row_comes_out_once": "delete from merged_result where \"Id\" = '1'",
    "cells_that_no_policy_changes_stay_as_they_were": """update merged_result set "Title" = 'other' where "Id" = '1'""",
    "a_key_value_leads_to_one_entity": "update int_entities set entity = entity + 1 where record = (select max(record) from int_entities)",
    "every_physical_row_is_read_or_rejected": "update stg_files set physical_rows = physical_rows + 1 where file_order = 1",
    "matched_rows_and_crosswalk_agree": "delete from crosswalk where source = 'b'",
}
SPEC = {"match_on": ["email"]}


@pytest.fixture(scope="module")
def merged(runner, tmp_path_factory):
    original = Table(["Id", "Email", "Title"], [["1", "a@x.com", "CEO"], ["2", "b@x.com", ""], ["3", "", ""]])
    vendors = [
        (name, Table(["email", "title"], [["a@x.com", name], ["b@x.com", name]])) for name in ("a", "b")
    ]
    folder = tmp_path_factory.mktemp("broken")
    merge = merge_tables(runner, folder, SPEC, original, vendors, command="build", select=None)
    assert merge.ok, merge.problems
    return merge


def check(runner, merged, name, directory):
    spec = SPEC | {"original": {"path": "x.csv"}, "enriched": [{"name": "a", "path": "x.csv"}]}
    given = merged.query("select source, path from stg_files order by file_order")
    spec["original"] = {"path": given[0][1]}
    spec["enriched"] = [{"name": source, "path": path} for source, path in given[1:]]
    result = runner.invoke(["test", "--select", name], directory, spec)
    assert name in [node.node.name for node in result.result.results]
    return result.success


@pytest.mark.parametrize("name", BROKEN)
def test_an_invariant_sees_what_it_guards(runner, merged, tmp_path, name):
    shutil.copy(merged.directory / "merge.duckdb", tmp_path / "merge.duckdb")
    assert check(runner, merged, name, tmp_path)
    with duckdb.connect(str(tmp_path / "merge.duckdb")) as connection:
        connection.execute(BROKEN[name])
    assert not check(runner, merged, name, tmp_path)


def test_rows_in_another_order_are_seen(runner, merged, tmp_path):
    shutil.copy(merged.directory / "merge.duckdb", tmp_path / "merge.duckdb")
    with duckdb.connect(str(tmp_path / "merge.duckdb")) as connection:
        connection.execute('create or replace table merged_result as from merged_result order by "Id" desc')
    assert not check(runner, merged, "cells_that_no_policy_changes_stay_as_they_were", tmp_path)


def test_every_invariant_is_broken_here():
    assert {path.stem for path in (PROJECT / "tests/sql/invariants").glob("*.sql")} == set(BROKEN)


def test_the_figures_of_a_merge(runner, merged):
    """merge_summary and file_summary, counted by hand."""
    assert merged.query(
        "select original_rows, matched_rows, ambiguous_rows, enriched_rows, rejected_rows, entities, matched_entities, conflicts from merge_summary"
    ) == [(3, 2, 0, 4, 0, 2, 2, 2)]
    # row 1 has a title of its own; row 2 takes the first vendor's
    assert merged.query(
        "select source, physical_rows, rejected_rows, rows_with_key, rows_matched, cells_given from file_summary order by file_order"
    ) == [
        ("original", 3, 0, 2, 2, 0),
        ("a", 2, 0, 2, 2, 1),
        ("b", 2, 0, 2, 2, 0),
    ]
