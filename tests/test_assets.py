"""Dagster's view of a merge: the graph, one run of it in this process, what is tried again and what is not."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from crm_merge.merging import lock
from tests.conftest import PROJECT
from tests.servers import ACCESS_KEY, SECRET_KEY, s3_server
from tests.test_protect import result as earlier_result

dg = pytest.importorskip("dagster")
SNAPSHOT = Path(__file__).with_name("asset_graph.json")
SPEC = "original: {path: m/crm.csv}\nenriched: [{name: v, path: m/v.csv}]\nmatch_on: [email]\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A home with its folder of specs; the definitions are loaded for it."""
    folder = tmp_path_factory.mktemp("deployment")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRM_MERGE_HOME", str(folder / "home"))
        patch.setenv("CRM_MERGE_SPECS", str(folder / "specs"))
        patch.setenv("CRM_MERGE_INPUT_ROOTS", str(folder / "specs"))
        (folder / "specs").mkdir()
        yield folder


@pytest.fixture(scope="module")
def definitions(place):
    return importlib.import_module("orchestration.definitions")


@pytest.fixture(scope="module")
def instance(place):
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def put(place, name, text, **files):
    for file, content in {
        "crm.csv": "Id,Email,Title\n1,a@x.com,\n2,b@x.com,CEO\n",
        "v.csv": "email,title\nA@x.com,CTO\n",
        **files,
    }.items():
        path = place / "specs" / "m" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (place / "specs" / f"{name}.yml").write_text(text)


def run(definitions, instance, name):
    instance.add_dynamic_partitions("merges", [name])
    job = definitions.defs.resolve_job_def("merge_job")
    return job.execute_in_process(partition_key=name, instance=instance, raise_on_error=False)


def test_the_graph_is_the_one_that_is_known(definitions):
    """Renew it with: python -m tests.test_assets"""
    assert graph(definitions) == json.loads(SNAPSHOT.read_text())


def graph(definitions):
    found = {}
    for spec in definitions.defs.resolve_all_asset_specs():
        found[spec.key.to_user_string()] = {
            "group": spec.group_name,
            "after": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "partitions": getattr(spec.partitions_def, "name", None),
        }
    for check in definitions.merge.check_specs:
        found[check.asset_key.to_user_string()].setdefault("checks", []).append(check.name)
    for asset in found.values():
        asset.get("checks", []).sort()
    return found


def test_each_model_has_one_check_that_names_its_tests(definitions):
    checks = {check.asset_key.to_user_string(): check for check in definitions.merge.check_specs}
    assert len(checks) == len(list(definitions.merge.check_specs)) == 35
    assert {(check.name, check.blocking) for check in checks.values()} == {("every_check_passes", True)}
    named = "\n".join(check.description for check in checks.values())
    for path in (PROJECT / "tests/sql/invariants").glob("*.sql"):
        assert f"`{path.stem}`: I" in named or f"`{path.stem}`: " in named, path
    assert "every_original_row_comes_out_once" in checks["merged_result"].description
    assert "every_physical_row_is_read_or_rejected" in checks["stg_files"].description


def test_a_check_that_complains_is_named():
    from crm_merge.engine.dbt_run import Check
    from orchestration.merge_assets import check_results

    asked = [
        Check("one", "a", "pass", 0, 1.0), Check("two", "a", "fail", 3, 1.0), Check("three", "a", "warn", 2, 1.0),
        Check("four", "b", "warn", 1, 1.0), Check("five", "c", "error", None, 0.0), Check("six", "d", "pass", 0, 1.0),
        Check("seven", "e", "pass", 0, 1.0),
    ]  # fmt: skip
    tests: dict = {"f": {"nine": ""}, "e": {"seven": "", "eight": ""}}  # not all of theirs were asked
    for check in asked[:-1]:
        tests.setdefault(check.relation, {})[check.name] = ""
    found = {
        result.asset_key.to_user_string(): (result.passed, result.severity.value, result.description)
        for result in check_results(asked, tests)
    }
    assert found == {
        "a": (False, "ERROR", "failed: two (3 rows), three (2 rows)"),
        "b": (True, "WARN", "warned: four (1 rows)"),
        "c": (False, "ERROR", "failed: five could not be asked"),
        "d": (True, "ERROR", "all passed"),
    }


def test_a_merge_is_built_checked_published_copied_and_recorded(place, definitions, instance):
    from crm_merge.home import history

    put(place, "good", SPEC)
    done = run(definitions, instance, "good")
    assert done.success
    assert (
        (place / "specs/good.out/merged_result.csv")
        .read_text()
        .splitlines()[1]
        .startswith("1,a@x.com,CTO,matched")
    )
    materialized = {event.asset_key.to_user_string() for event in done.get_asset_materialization_events()}
    assert {"stg_files", "merged_result", "merged_export", "analysts_copy"} <= materialized
    checks = done.get_asset_check_evaluations()
    assert len(checks) == len(list(definitions.merge.check_specs)) and all(check.passed for check in checks)
    [export] = [
        event
        for event in done.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("merged_export")
    ]
    figures = {name: value.value for name, value in export.materialization.metadata.items()}
    assert (figures["dagster/row_count"], figures["matched rows"], figures["match rate"]) == (2, 1, 0.5)
    assert figures["peak memory (MB)"] > 50 and figures["rows/s"] > 0
    [entry] = history.rows(place / "home", "good")
    assert (entry.outcome, entry.rows, entry.checks_failed, entry.resumed) == ("succeeded", 2, 0, False)
    assert (place / "home/published/good/merge.duckdb").exists()
    # by hand, once more: nothing is left over from before that could be resumed
    assert run(definitions, instance, "good").success
    assert [entry.resumed for entry in history.rows(place / "home", "good")] == [False, False]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("strategy", SPEC + "strategies: {title: longets}\n", "did you mean 'longest'"),
        ("yaml", "original: [", "not valid YAML"),
        (
            "outside",
            SPEC.replace("m/v.csv", "/etc/passwd"),
            "is not inside a folder that CRM_MERGE_INPUT_ROOTS allows",
        ),
    ],
)
def test_a_wrong_spec_fails_at_once_with_its_sentence(place, definitions, instance, name, text, sentence):
    from crm_merge.home import history

    put(place, name, text)
    done = run(definitions, instance, name)
    assert not done.success
    [failure] = [event.step_failure_data for event in done.all_events if event.is_step_failure]
    assert sentence in failure.user_failure_data.description
    assert [event for event in done.all_events if event.is_step_restarted or event.is_step_up_for_retry] == []
    assert not (place / f"specs/{name}.out").exists()
    [entry] = history.rows(place / "home", name)
    assert entry.outcome == "failed" and sentence[:40] in entry.problem


@pytest.mark.slow
def test_a_merge_directory_that_is_held_is_waited_for(place, definitions, instance):
    """The run before may still be ending."""

    put(place, "held", SPEC)
    free, held = threading.Event(), threading.Event()

    def hold():
        with lock.held(place / "home/merges/held"):
            held.set()
            free.wait(8)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    done = run(definitions, instance, "held")
    thread.join()
    assert done.success and {event.step_key for event in done.all_events if event.is_step_up_for_retry} == {
        "merge"
    }


def test_what_nobody_has_foreseen_is_told_once(place, definitions, instance, monkeypatch):
    from crm_merge.home import history
    from crm_merge.merging import steps

    put(place, "broken", SPEC)
    monkeypatch.setattr(steps.Merge, "build", lambda *_: (_ for _ in ()).throw(ZeroDivisionError("by zero")))
    done = run(definitions, instance, "broken")
    [failure] = [event.step_failure_data for event in done.all_events if event.is_step_failure]
    assert failure.user_failure_data.description == "ZeroDivisionError: by zero"
    assert [event for event in done.all_events if event.is_step_up_for_retry] == []
    assert [entry.problem for entry in history.rows(place / "home", "broken")] == [
        "ZeroDivisionError: by zero"
    ]


def test_upkeep_sweeps_folds_the_history_and_renews_the_pages(place, definitions, instance):
    from crm_merge.home import folders

    put(place, "kept", SPEC)
    instance.add_dynamic_partitions("merges", ["kept", "long-gone"])
    with lock.held(folders.merge_directory(place / "home", "kept")):
        pass
    done = definitions.defs.resolve_job_def("upkeep_job").execute_in_process(
        instance=instance, raise_on_error=False
    )
    assert done.success
    said = {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in done.get_asset_materialization_events()
    }
    assert set(said) == {"merge_history", "swept_merges", "project_docs"}
    page = (place / "home/docs/index.html").read_text(encoding="utf-8")
    assert "merged_result" in page and len(page) > 1_000_000
    partitions = instance.get_dynamic_partitions("merges")
    assert "kept" in partitions and "long-gone" not in partitions
    # a place that is away is no reason to sweep what its specs need
    (place / "specs").rename(place / "away")
    try:
        instance.add_dynamic_partitions("merges", ["long-gone"])
        assert definitions.defs.resolve_job_def("upkeep_job").execute_in_process(instance=instance).success
        assert "long-gone" in instance.get_dynamic_partitions("merges")
    finally:
        (place / "away").rename(place / "specs")


def test_what_the_sensor_has_seen_counts_with_its_cursor_only(tmp_path):
    from orchestration import seen

    first = seen.save(tmp_path, None, {}, {"m": {"count": 1}})
    assert seen.load(tmp_path, first) == {"m": {"count": 1}}
    assert seen.save(tmp_path, first, {"m": {"count": 1}}, {"m": {"count": 1}}) == first
    lost = seen.save(
        tmp_path, first, {"m": {"count": 1}}, {"m": {"count": 2}}
    )  # Dagster did not take this one
    second = seen.save(tmp_path, first, {"m": {"count": 1}}, {"m": {"count": 3}})
    assert seen.load(tmp_path, first) == {"m": {"count": 1}} and seen.load(tmp_path, second) == {
        "m": {"count": 3}
    }
    assert seen.load(tmp_path, lost) == {} and seen.load(tmp_path, None) == {}
    assert len(list((tmp_path / "seen").iterdir())) == 2
    assert seen.load(tmp_path, "../../etc/passwd") == {}


@pytest.mark.slow
def test_an_export_waits_for_a_server_that_is_down(place, definitions, instance, monkeypatch):
    """The step is tried again; what was published before is there meanwhile, and whole."""
    earlier_result(place / "crm/out", f"{place}/specs/away.yml", merged_result__csv="what was there before")
    with s3_server(place) as url:
        pass  # a port that is free, and on which the server comes later
    for name, value in {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1",
                        "AWS_ENDPOINT_URL_S3": url}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    put(place, "away", SPEC + "export: {to: 's3://crm/out/'}\n")
    running = threading.Event()

    def come_later():
        running.wait(300)
        with s3_server(place, port=int(url.rpartition(":")[2])):
            running.clear()
            running.wait(300)

    def tell(instance, name):
        of_name = dg.RunsFilter(tags={"dagster/partition": name})  # not of an earlier test's run
        for _ in range(600):
            events = [event for run in instance.get_runs(of_name) for event in instance.all_logs(run.run_id)]
            if any(event.dagster_event and event.dagster_event.is_step_up_for_retry for event in events):
                return running.set()
            time.sleep(0.5)

    threads = [threading.Thread(target=come_later), threading.Thread(target=tell, args=(instance, "away"))]
    for thread in threads:
        thread.start()
    done = run(definitions, instance, "away")
    running.set()
    for thread in threads:
        thread.join(60)
    retried = {event.step_key for event in done.all_events if event.is_step_up_for_retry}
    assert done.success and retried == {"merged_export"}
    assert (place / "crm/out/merged_result.csv").read_text().splitlines()[1].startswith("1,a@x.com,CTO")


def test_a_spec_that_is_gone(place, definitions, instance):
    done = run(definitions, instance, "gone")
    [failure] = [event.step_failure_data for event in done.all_events if event.is_step_failure]
    assert "there is no spec 'gone'" in failure.user_failure_data.description


def test_a_failed_invariant_keeps_the_export_from_being_made(tmp_path):
    """In a copy of the project with an invariant that nothing can hold."""
    project = tmp_path / "project"
    shutil.copytree(
        PROJECT, project, ignore=shutil.ignore_patterns(".git", ".venv*", "merges", "target", "logs", "tests")
    )
    shutil.copytree(PROJECT / "tests/sql", project / "tests/sql")
    (project / "tests/sql/invariants/nothing_holds_this.sql").write_text(
        "select match_quality from {{ ref('merged_result') }}\n"
    )
    put(tmp_path, "m", SPEC)
    earlier_result(
        tmp_path / "specs/m.out", f"{tmp_path}/specs/m.yml", merged_result__csv="what was there before"
    )
    script = (
        "import dagster as dg; from orchestration import definitions as d; i = dg.DagsterInstance.ephemeral();"
        "i.add_dynamic_partitions('merges', ['m']); j = d.defs.resolve_job_def('merge_job');"
        "r = j.execute_in_process(partition_key='m', instance=i, raise_on_error=False);"
        "print('RESULT', r.success, [c.check_name for c in r.get_asset_check_evaluations() if not c.passed],"
        " [c.description for c in r.get_asset_check_evaluations() if not c.passed],"
        " [e.step_key for e in r.all_events if e.is_step_start],"
        " [e.step_failure_data.user_failure_data.description for e in r.all_events if e.is_step_failure])"
    )
    home = {
        "CRM_MERGE_HOME": str(tmp_path / "home"),
        "CRM_MERGE_SPECS": str(tmp_path / "specs"),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, env=home, capture_output=True, text=True, timeout=300
    )
    [result] = [line for line in done.stdout.splitlines() if line.startswith("RESULT")] or [
        done.stderr[-3000:]
    ]
    assert result.startswith(
        "RESULT False ['every_check_passes'] ['failed: nothing_holds_this (2 rows)'] ['merge'] [\"the check 'nothing_holds_this' failed"
    ), result
    assert (tmp_path / "specs/m.out/merged_result.csv").read_text() == "what was there before"


if __name__ == "__main__":
    SNAPSHOT.write_text(
        json.dumps(graph(importlib.import_module("orchestration.definitions")), indent=1, sort_keys=True)
        + "\n"
    )


@pytest.mark.slow
def test_a_deployment_may_merge_on_spark(place, definitions, instance, monkeypatch):
    """Each model and check is told once, though both engines look at what was landed."""
    pytest.importorskip("pyspark")
    monkeypatch.setenv("CRM_MERGE_TARGET", "spark")
    monkeypatch.setenv("SPARK_MASTER", "local[2]")
    put(place, "sparkling", SPEC)
    done = run(definitions, instance, "sparkling")
    assert done.success
    told = [event.asset_key.path[-1] for event in done.get_asset_materialization_events()]
    assert {"stg_files", "merged_result", "merged_export"} <= set(told) and len(told) == len(set(told))
    assert (place / "specs/sparkling.out/merged_result.csv").exists()
