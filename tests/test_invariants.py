"""Each invariant that runs on a user's data fails when what it guards is broken; a failed check is told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager

import duckdb
import pytest

from crm_merge.engine import dbt_run, forks
from crm_merge.merging import steps
from tests.conftest import PROJECT, merge_tables
from tests.oracle import Table

BROKEN = {
    "every_original_row_comes_out_once": "delete from int_result where \"Id\" = '1'",
    "cells_that_no_policy_changes_stay_as_they_were": """update int_result set "Title" = 'other' where "Id" = '1'""",
    "a_key_value_leads_to_one_entity": "update int_entities set entity = entity + 1 where record = (select max(record) from int_entities)",
    "every_physical_row_is_read_or_rejected": "update stg_files set physical_rows = physical_rows + 1 where file_order = 1",
    "every_physical_row_is_in_the_ledger": "update row_ledger set source_row = 1 where source = 'b' and source_row = 2",
    "every_vendor_cell_has_one_source": "update int_result set _merge_record_2 = null where _merge_original_row = 2",
    "every_source_holds_what_it_gave": "update int_result set _merge_record_2 = _merge_record_2 + 1 where _merge_original_row = 2",
    "matched_rows_and_crosswalk_agree": "delete from int_links where record > 8589934592",
}
BROKEN["a_key_number_stands_for_one_key"] = "update int_keys set key_number = 1 where tier = 1"
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


@contextmanager
def copied(merged, place):
    """A copy of the merge's database to break, in which relations kept in files are tables."""
    shutil.copy(merged.directory / "merge.duckdb", place / "merge.duckdb")
    with duckdb.connect(str(place / "merge.duckdb")) as connection:
        for name in ("int_result", "int_keys", "int_links", "row_ledger"):
            connection.execute(
                f"create table copied as from {name}; drop view {name}; alter table copied rename to {name}"
            )
        yield connection


def spec_of(merged):
    spec = SPEC | {"original": {"path": "x.csv"}, "enriched": [{"name": "a", "path": "x.csv"}]}
    given = merged.query("select source, path from stg_files order by file_order")
    spec["original"] = {"path": given[0][1]}
    spec["enriched"] = [{"name": source, "path": path} for source, path in given[1:]]
    return spec


def check(runner, merged, name, directory):
    spec = spec_of(merged)
    result = runner.invoke(["test", "--select", name], directory, spec)
    assert name in [node.node.name for node in result.result.results]
    return result.success


@pytest.mark.parametrize("name", BROKEN)
def test_an_invariant_sees_what_it_guards(runner, merged, tmp_path, name):
    with copied(merged, tmp_path):
        pass
    assert check(runner, merged, name, tmp_path)
    with duckdb.connect(str(tmp_path / "merge.duckdb")) as connection:
        connection.execute(BROKEN[name])
    assert not check(runner, merged, name, tmp_path)
    assert asked_again(runner, merged, tmp_path)[name] > 0


def test_rows_in_another_order_are_seen(runner, merged, tmp_path):
    with copied(merged, tmp_path) as connection:
        connection.execute('create or replace table int_result as from int_result order by "Id" desc')
    assert not check(runner, merged, CELLS, tmp_path)
    assert asked_again(runner, merged, tmp_path)[CELLS] > 0


@pytest.mark.parametrize(
    "broken",
    [
        "update int_result set _merge_record_2 = null where _merge_original_row = 2",  # a cell from nowhere
        "update int_result set _merge_record_2 = 4294967297 where _merge_original_row = 1",  # a source of the CRM's own
        "update int_result set \"Title\" = 'b' where \"Id\" = '3'",  # another vendor's value
    ],
)
def test_provenance_that_does_not_close_is_seen(runner, merged, tmp_path, broken):
    with copied(merged, tmp_path) as connection:
        connection.execute(broken)
    assert not check(runner, merged, SOURCES, tmp_path)
    assert asked_again(runner, merged, tmp_path)[SOURCES] > 0


def test_a_cell_that_no_policy_allows_is_seen(runner, merged, tmp_path):
    """What was taken over a filled cell, with its source and the CRM's own cell beside it."""
    with copied(merged, tmp_path) as connection:
        taken = "\"Title\" = 'b', _merge_old_2 = 'CEO', _merge_record_2 = 4294967297"
        connection.execute(f"update int_result set {taken} where _merge_original_row = 1")
    assert asked_again(runner, merged, tmp_path)[CELLS] > 0


@pytest.mark.parametrize(
    "broken",
    [
        "delete from row_ledger where source = 'original' and source_row = 3",
        "insert into row_ledger select * from row_ledger limit 1",
        "update row_ledger set bucket = null where source = 'a' and source_row = 1",
    ],
)
def test_a_ledger_that_does_not_balance_is_seen(runner, merged, tmp_path, broken):
    with copied(merged, tmp_path) as connection:
        connection.execute(broken)
    assert not check(runner, merged, "every_physical_row_is_in_the_ledger", tmp_path)


def asked_again(runner, merged, directory):
    """merge_checks made anew of what stands in a directory: {name: failures}."""
    result = runner.invoke(["run", "--select", "merge_checks"], directory, spec_of(merged))
    assert result.success, result.exception
    with duckdb.connect(str(directory / "merge.duckdb"), read_only=True) as connection:
        return dict(connection.execute("select name, failures from merge_checks").fetchall())


def test_merge_checks_asks_every_named_test(runner, merged, tmp_path):
    """The same text as each test has alone, and the same answer."""
    tests = [node for node in runner.manifest.nodes.values() if node.resource_type == "test"]
    of_models = {
        node.name for node in tests if any(key.startswith("model.") for key in node.depends_on.nodes)
    }
    with copied(merged, tmp_path) as connection:
        asked = dict(connection.execute("select name, query from merge_checks").fetchall())
        assert set(asked) == of_models - {"every_check_passes"} and len(asked) > 60
        connection.execute(BROKEN["every_vendor_cell_has_one_source"])
    result = runner.invoke(["test", "--select", "resource_type:test"], tmp_path, spec_of(merged))
    alone = {node.node.name: node.failures for node in result.result.results if node.node.name in asked}
    assert alone == asked_again(runner, merged, tmp_path)
    assert alone["every_vendor_cell_has_one_source"] == 1
    for node in result.result.results:
        if node.node.name in asked:
            assert node.node.compiled_code.split() == asked[node.node.name].split(), node.node.name


# a condition, and what breaks it in one row or all
CONDITIONS = {
    "a_match_key_is_no_blank_and_a_key_or_refused": "update int_match_keys set key_value = ''",
    "an_entity_counts_its_records": "update int_entities set n_records = 0",
    "the_entities_of_an_original_row_are_ranked": "update int_matches set entity_rank = n_entities + 1",
    "a_component_is_named_by_its_first_row": "update int_components set component = node + 1",
    "only_what_was_split_is_quarantined": "update int_components set is_quarantined = true",
    "the_counts_of_a_file_are_within_each_other": "update file_summary set rows_matched = rows_with_key + 1",
    "the_counts_of_a_merge_are_within_each_other": "update merge_summary set matched_rows = original_rows + 1",
    "the_figures_of_a_vendor_are_within_each_other": "update vendor_scorecard set rows_matched = n_rows + 1",
    "a_guard_event_says_why": "insert into guard_events (guard, explanation, n_original, n_enriched) values ('hub', 'x', 0, 0)",
    "each_physical_row_is_parsed_or_rejected": "update file_profile set parsed_rows = parsed_rows + 1",
    "the_match_columns_of_a_row_agree": "update merged_result set match_explanation = null",
    "file_0_is_the_original_and_no_other": "update stg_files set role = 'enriched'",
}  # fmt: skip


def test_every_check_of_a_model_can_fail(runner, merged, tmp_path):
    """A row that comes twice or has no name, a word that nobody knows, a condition that does not hold."""
    tests = {node.name: node for node in runner.manifest.nodes.values() if node.resource_type == "test"}
    twice = 0
    with copied(merged, tmp_path) as connection:
        views = "select view_name from duckdb_views() where not internal"
        for (name,) in connection.execute(views).fetchall():
            connection.execute(
                f'create table copied as from "{name}"; drop view "{name}"; alter table copied rename to "{name}"'
            )
        checks = connection.execute("select name, relation, query from merge_checks").fetchall()
        assert len({name for name, *_ in checks}) == len(checks)
        for name, relation, query in checks:
            kind = tests[name].test_metadata.name if name not in BROKEN else "singular"
            column = {"accepted_values": "'zzz'", "relationships": "-1"}.get(kind)
            some = connection.execute(f'select count(*) > 0 from "{relation}"').fetchone() == (True,)
            first = connection.execute(f'describe "{relation}"').fetchall()[0][0]
            if kind == "each_row_satisfies":
                broken = [CONDITIONS[name]]
            elif kind == "each_row_is_identified_by":
                broken = [f'insert into "{relation}" ("{first}") values (null)']
                broken += [f'insert into "{relation}" select * from "{relation}" limit 1'] * some
                twice += some
            elif kind == "there_is_one_row":
                broken = [f'delete from "{relation}"', f'insert into "{relation}" from "{relation}"']
            elif column:
                broken = [f'insert into "{relation}" ("{tests[name].column_name}") values ({column})']
            else:  # below
                continue
            count = f"select count(*) from ({query}\n)"
            assert connection.execute(count).fetchone() == (0,), name
            for statement in broken:
                connection.execute("begin")
                connection.execute(statement)
                assert connection.execute(count).fetchone() > (0,), (name, statement)
                connection.execute("rollback")
    assert twice > 15
    contracts = [
        node.name
        for node in tests.values()
        if getattr(node, "test_metadata", None) and node.test_metadata.name == "first_columns_are"
    ]
    assert contracts == ["unmatched_enriched_begins_with_its_own_columns"]


def test_columns_that_are_not_those_of_the_contract_are_seen(runner, merged, tmp_path):
    with copied(merged, tmp_path) as connection:
        connection.execute(
            "create table broken as from unmatched_enriched; drop view if exists unmatched_enriched"
        )
        connection.execute(
            "drop table if exists unmatched_enriched; alter table broken rename to unmatched_enriched"
        )
        first = connection.execute("describe unmatched_enriched").fetchall()[0][0]
    name = "unmatched_enriched_begins_with_its_own_columns"
    assert check(runner, merged, name, tmp_path)
    with duckdb.connect(str(tmp_path / "merge.duckdb")) as connection:
        connection.execute(f"alter table unmatched_enriched rename {first} to another")
    assert not check(runner, merged, name, tmp_path)


def test_merge_checks_comes_after_all_that_it_asks(runner):
    nodes = runner.manifest.nodes
    after = set(nodes["model.crm_merge.merge_checks"].depends_on.nodes)
    for node in nodes.values():
        if node.resource_type == "test" and node.name != "every_check_passes":
            assert {key for key in node.depends_on.nodes if key.startswith("model.")} <= after, node.name
    # and after all that is published, so that a merge that fails is whole
    read = {key for node in nodes.values() if node.resource_type == "model" for key in node.depends_on.nodes}
    models = {key for key, node in nodes.items() if node.resource_type == "model"}
    landed_for_spark = "model.crm_merge.stg_forms"
    assert models - read == {"model.crm_merge.merge_checks", landed_for_spark}


def test_a_merge_that_a_check_complains_of_fails(runner, merged, tmp_path):
    with copied(merged, tmp_path) as connection:
        connection.execute("delete from int_links where record > 8589934592")
    assert asked_again(runner, merged, tmp_path)["matched_rows_and_crosswalk_agree"] == 2
    assert not check(runner, merged, "every_check_passes", tmp_path)


def test_the_rows_of_a_failed_check_are_shown(merged, tmp_path):
    with copied(merged, tmp_path) as connection:
        name = "every_vendor_cell_has_one_source"
        connection.execute(BROKEN[name])
        [(query,)] = connection.execute("select query from merge_checks where name = $1", [name]).fetchall()
    asked = dbt_run.Check(name, "merged_result", "fail", 1, 0.1, query)
    shown = "failure: a cell that is not the CRM's and has no source, original_row: 2, column_name: Title, result_value: a"
    assert steps.failing_rows(tmp_path, asked) == [shown]
    file = tmp_path / "logs" / "failed_checks" / f"{name}.sql"
    assert steps.problems_of(dbt_run.Outcome(ok=False, checks=[asked]), tmp_path) == [
        f"the check '{name}' failed on 1 row",
        f"  {shown}",
        f"  (all of them: run {file} on {tmp_path / 'merge.duckdb'})",
    ]
    with duckdb.connect(str(tmp_path / "merge.duckdb"), read_only=True) as connection:
        assert len(connection.execute(file.read_text()).fetchall()) == 1
    asked.query = "select * from gone"
    assert "can't be shown" in steps.failing_rows(tmp_path, asked)[0]
    shutil.rmtree(tmp_path / "logs")
    (tmp_path / "logs").write_text("in the way")
    assert "in merge_checks (" in steps.problems_of(dbt_run.Outcome(ok=False, checks=[asked]), tmp_path)[-1]


EVENTS = {
    "asks": {"info": {"msg": "crm-merge part: the check one_thing of merged_result"}},
    "fails": {"info": {"msg": 'crm-merge check: {"name": "another", "relation": "a", "status": "fail", "failures": 2, "seconds": 0.1, "query": "select 1"}'}},
    "ends": {"info": {"name": "LogModelResult"}, "data": {"node_info": {"node_name": "merge_checks", "node_status": "error"}}},
    "complains": {"info": {"level": "error", "msg": "Failure in test every_check_passes (x)"}, "data": {"node_info": {"node_name": "every_check_passes"}}},
    "no memory": {"info": {"level": "error", "msg": "Out of Memory Error: failed to allocate"}, "data": {"node_info": {"node_name": "merge_checks"}}},
}  # fmt: skip


def told(*names):
    outcome = dbt_run.Outcome(ok=False)
    for name in names:
        dbt_run.read_event(EVENTS[name], outcome, {})
    return outcome


def test_what_the_engine_says_stands_beside_what_checks_say(tmp_path):
    outcome = told("fails", "asks", "ends", "no memory")
    outcome.checks.append(outcome.asking)  # as the stream's end does
    said = steps.problems_of(outcome, tmp_path)
    assert said[0].startswith("the merge ran out of its memory limit of 500MB")
    assert (
        said[1] == "the check 'another' failed on 2 rows"
        and said[-1] == "the check 'one_thing' could not be asked"
    )
    assert [(check["name"], check["status"]) for check in steps.checks(outcome)] == [
        ("another", "fail"),
        ("one_thing", "error"),
    ]


def test_the_test_that_reads_all_checks_is_not_told_beside_them():
    assert told("fails", "complains").problems == []
    assert told("complains").problems == ["Failure in test every_check_passes (x)"]


def test_a_process_that_dies_over_a_check_names_it(tmp_path, monkeypatch):
    script = f"import json, os; print(json.dumps({EVENTS['asks']!r}), flush=True); os.kill(os.getpid(), 9)"
    monkeypatch.delenv(forks.SOCKET, raising=False)
    begun = dbt_run.begin(tmp_path)
    begun.give_up()
    begun.process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    outcome = dbt_run.follow(dbt_run.stream(["build"], begun, SPEC))
    assert steps.problems_of(outcome, tmp_path) == [
        "dbt was ended by signal 9",
        "the check 'one_thing' could not be asked",
    ]


@pytest.mark.parametrize(
    ("status", "read", "right"),
    [("pass", "pass", True), ("warn", "pass", True), ("fail", "pass", False), ("pass", None, False), (None, "pass", False)],
)  # fmt: skip
def test_a_build_is_right_if_all_was_asked_and_nothing_fails(status, read, right):
    checks = [dbt_run.Check("a", "b", status, 0, 0.1)] if status else []
    nodes = [dbt_run.Node("test", dbt_run.EVERY_CHECK, "", read, 0.1, 1, 1)] if read else []
    outcome = steps.checked(dbt_run.Outcome(ok=True, nodes=nodes, checks=checks))
    assert outcome.ok == right
    assert bool(outcome.problems) == (not right and status != "fail")  # of a check that fails more is said


def test_settings_of_dbt_do_not_reach_a_merge(tmp_path, monkeypatch):
    """DBT_EMPTY would read no row of any file, DBT_EXCLUDE_RESOURCE_TYPES would ask no test."""
    for name, value in {"DBT_EMPTY": "1", "DBT_EXCLUDE_RESOURCE_TYPES": "test", "DBT_QUIET": "1"}.items():
        monkeypatch.setenv(name, value)
    begun = dbt_run.begin(tmp_path)
    begun.give_up()
    assert {name for name in begun.environment if name.startswith("DBT_")} == {
        "DBT_SEND_ANONYMOUS_USAGE_STATS"
    }


def test_what_a_check_complained_of_is_not_kept(tmp_path, monkeypatch):
    """A run that resumes one with failed checks starts anew."""
    asked = []
    monkeypatch.setattr(
        dbt_run, "planned", lambda command, place, spec, resume: iter(asked.append(resume) or ())
    )
    for failed in (False, True):
        if failed:
            (tmp_path / steps.FAILED_CHECKS).mkdir(parents=True)
        with pytest.raises(AttributeError):  # nothing was built
            dbt_run.follow(steps.stages(tmp_path, SPEC, True, "duckdb"))
        assert not (tmp_path / steps.FAILED_CHECKS).exists()
    assert asked == [True, False]


# -- In parts: a check that looks at a slice at a time must see what stands in the wrong one --


@pytest.fixture(scope="module")
def merged_in_parts(runner, tmp_path_factory):
    """Six rows of the CRM in slices of two."""
    original = Table(
        ["Id", "Email", "Title"], [[str(n), f"p{n}@x.com", "" if n % 2 else "CEO"] for n in range(6)]
    )
    vendors = [
        (name, Table(["email", "title"], [[f"p{n}@x.com", f"{name}{n}"] for n in range(6)]))
        for name in ("a", "b")
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRM_MERGE_PART_ROWS", "2")
        folder = tmp_path_factory.mktemp("in_parts")
        merge = merge_tables(runner, folder, SPEC, original, vendors, command="build", select=None)
    assert merge.ok, merge.problems
    return merge


def files_of(place, name):
    return sorted((place / ".crm-merge" / "parts").glob(f"{name}.*.parquet"))


def rewrite(file, query):
    """Replaces the rows of a Parquet file, called `this` in the query, by those of the query."""
    with duckdb.connect() as connection:
        connection.execute(f"create table this as from read_parquet('{file}')")
        connection.execute(f"copy ({query}) to '{file}' (format parquet)")


def fullest(files):
    return max(files, key=lambda file: file.stat().st_size)


def swap(one, another):
    held = one.read_bytes()
    one.write_bytes(another.read_bytes())
    another.write_bytes(held)


CELLS, SOURCES = "cells_that_no_policy_changes_stay_as_they_were", "every_vendor_cell_has_one_source"
LEDGER, LINKS = "every_physical_row_is_in_the_ledger", "matched_rows_and_crosswalk_agree"
TOTALS = "every_original_row_comes_out_once"
# check, relation, what is done to its files
BROKEN_IN_PARTS = {
    "nothing": ("", "", lambda files: None),
    "a row is lost": (CELLS, "int_result", lambda files: rewrite(files[1], "from this limit 1")),
    "a row comes twice": (CELLS, "int_result", lambda files: rewrite(files[1], "from this union all from this limit 3")),
    "a cell is changed": (CELLS, "int_result", lambda files: rewrite(files[2], """select * replace ('x' as "Id") from this""")),
    "rows change places": (CELLS, "int_result", lambda files: rewrite(files[1], 'from this order by "Id" desc')),
    "slices change places": (CELLS, "int_result", lambda files: swap(files[0], files[2])),
    "a vendor's cell is changed": (SOURCES, "int_result", lambda files: rewrite(files[1], """select * replace ("Title" || '!' as "Title") from this""")),
    "a source is lost": (SOURCES, "int_result", lambda files: rewrite(files[1], "select * replace (null::bigint as _merge_record_2) from this")),
    "a source comes from nowhere": (SOURCES, "int_result", lambda files: rewrite(files[1], "select * replace (4294967297 as _merge_record_2) from this")),
    "a link is lost": (LINKS, "int_links", lambda files: rewrite(fullest(files), "from this limit 1")),
    "a row of the ledger is lost": (LEDGER, "row_ledger", lambda files: rewrite(files[-1], "from this limit 0")),
    "a row of the ledger comes twice": (LEDGER, "row_ledger", lambda files: rewrite(files[0], "from this union all from this limit 3")),
    "a row of another stretch": (LEDGER, "row_ledger", lambda files: rewrite(files[0], "from this union all select * replace (6 as source_row) from this limit 3")),
    "a row of another file": (LEDGER, "row_ledger", lambda files: rewrite(files[0], "from this union all select * replace ('b' as source) from this limit 3")),
    "stretches change places": (LEDGER, "row_ledger", lambda files: swap(files[0], files[-1])),
    "a link of another slice": (LINKS, "int_links", lambda files: rewrite(fullest(files), "select * replace (original_row % 6 + 1 as original_row) from this")),
    "a link too many": (LINKS, "int_links", lambda files: rewrite(fullest(files), "from this union all from this")),
    "a stretch too many": (TOTALS, "row_ledger", lambda files: shutil.copy(files[0], str(files[0]).replace("0000000", "0000099"))),
    "links too many": (TOTALS, "int_links", lambda files: shutil.copy(fullest(files), files[0].with_name("int_links.0000099.parquet"))),
    "a slice too many": (TOTALS, "int_result", lambda files: shutil.copy(files[0], str(files[0]).replace("0000000", "0000099"))),
    "no bucket": (LEDGER, "row_ledger", lambda files: rewrite(files[-1], "select * replace (null::varchar as bucket) from this")),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_IN_PARTS)
def test_a_check_of_slices_sees_what_it_guards(runner, merged_in_parts, tmp_path, monkeypatch, case):
    monkeypatch.setenv("CRM_MERGE_PART_ROWS", "2")
    shutil.copytree(merged_in_parts.directory, tmp_path / "m")
    with duckdb.connect(str(tmp_path / "m" / "merge.duckdb")) as connection:
        views = "select sql from duckdb_views() where not internal and contains(sql, $1)"
        for (sql,) in connection.execute(views, [str(merged_in_parts.directory)]).fetchall():
            sql = sql.replace(str(merged_in_parts.directory), str(tmp_path / "m"))
            connection.execute(sql.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
    name, relation, broken = BROKEN_IN_PARTS[case]
    files = files_of(tmp_path / "m", relation) if relation else []
    assert len(files) >= 3 or not relation
    broken(files)
    for other in (CELLS, SOURCES, LEDGER, LINKS, TOTALS) if not name else (name,):
        assert check(runner, merged_in_parts, other, tmp_path / "m") == (not name), other
    failures = asked_again(runner, merged_in_parts, tmp_path / "m")
    assert bool(failures[name]) if name else not any(failures.values())


def test_the_rows_of_a_check_that_failed_in_a_part_are_shown(merged_in_parts, tmp_path):
    """Two slices changed places: asked of all rows at once, the check finds nothing."""
    shutil.copytree(merged_in_parts.directory, tmp_path / "m")
    query = "select getvariable('originals_part') as part where getvariable('originals_part') = 2"
    settings = (
        "set variable originals_part = cast(2 as bigint); set variable originals_parts = cast(3 as bigint)"
    )
    failed = {"name": LINKS, "relation": "merged_result", "status": "fail", "failures": 1, "seconds": 1, "query": query, "settings": settings}  # fmt: skip
    outcome = dbt_run.Outcome(ok=False)
    event = {"info": {"msg": f"crm-merge check: {json.dumps(failed)}"}}
    assert dbt_run.read_event(event, outcome, {}) is outcome.checks[0]
    said = steps.problems_of(outcome, tmp_path / "m")
    assert said[1] == "  part: 2"
    file = tmp_path / "m" / "logs" / "failed_checks" / f"{LINKS}.sql"
    with duckdb.connect(str(tmp_path / "m" / "merge.duckdb"), read_only=True) as connection:
        assert connection.execute(file.read_text()).fetchall() == [(2,)]


def test_every_invariant_is_broken_here():
    assert {path.stem for path in (PROJECT / "tests/sql/invariants").glob("*.sql")} == set(BROKEN)


def test_the_figures_of_a_merge(runner, merged):
    """merge_summary and file_summary, counted by hand."""
    assert merged.query(
        "select original_rows, matched_rows, ambiguous_rows, enriched_rows, rejected_rows, entities, matched_entities, conflicts,"
        " changed_cells, net_new_people, rows_without_record_id, rows_with_repeated_record_id from merge_summary"
    ) == [(3, 2, 0, 4, 0, 2, 2, 2, 1, 0, 0, 0)]
    # row 1 has a title of its own; row 2 takes the first vendor's
    assert merged.query(
        "select source, physical_rows, rejected_rows, rows_with_key, rows_matched, cells_given from file_summary order by file_order"
    ) == [
        ("original", 3, 0, 2, 2, 0),
        ("a", 2, 0, 2, 2, 1),
        ("b", 2, 0, 2, 2, 0),
    ]


def test_the_figures_of_a_merge_without_a_match(runner, tmp_path):
    vendors = [("a", Table(["email"], [["b@x.com"]]))]
    merge = merge_tables(
        runner, tmp_path, SPEC, Table(["Email"], [["a@x.com"]]), vendors, command="build", select=None
    )
    assert merge.ok, merge.problems
    figures = "original_rows, matched_rows, ambiguous_rows, enriched_rows, entities, matched_entities, net_new_people"
    assert merge.query(f"select {figures} from merge_summary") == [(1, 0, 0, 1, 1, 0, 1)]
