"""The command line as a user meets it: real processes, real files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess

import duckdb
import pytest

from crm_merge.home import history
from tests.conftest import PROJECT, write_csv
from tests.oracle import Table

COMMAND = PROJECT / ".venv" / "bin" / "crm-merge"


def crm_merge(*arguments, **environment):
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=600,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def spec(tmp_path):
    write_csv(
        tmp_path / "crm.csv",
        Table(["Id", "Email", "Title"], [["1", "a@x.com", "CEO"], ["2", "b@x.com", ""], ["3", "", ""]]),
    )
    write_csv(tmp_path / "apollo.csv", Table(["email", "title"], [["B@X.com", "CTO"], ["z@x.com", "?"]]))
    path = tmp_path / "people.yml"
    path.write_text(
        "original: {path: crm.csv}\nenriched:\n  - {name: apollo, path: apollo.csv}\nmatch_on: [email]\nexport: {formats: [csv, parquet]}\n"
    )
    return path


def test_run_publishes_what_it_says(spec, tmp_path):
    code, out, err = crm_merge("run", spec, "--dir", tmp_path / "m")
    assert code == 0, err
    csv_file = tmp_path / "m" / "out" / "merged_result.csv"
    lines = csv_file.read_text().splitlines()
    assert (
        lines[0]
        == "Id,Email,Title,match_quality,match_status,match_tier,matched_on,entity_id,n_enriched_rows,duplicate_in_original,match_explanation"
    )
    assert lines[2].startswith("2,b@x.com,CTO,matched,matched_direct,1,email,")
    assert lines[3] == "3,,,unmatched,no_valid_key,,,,0,false,"
    manifest = json.loads((tmp_path / "m" / "out" / "manifest.json").read_text())
    assert manifest["rows"] == 3
    assert manifest["columns"] == lines[0].split(",")
    assert manifest["spec"]["match_on"] == ["email"]
    assert manifest["versions"]["duckdb"] == duckdb.__version__
    for file in manifest["files"]:
        content = (tmp_path / "m" / "out" / file["name"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    parquet = duckdb.sql(f"select * from '{tmp_path}/m/out/merged_result.parquet'").fetchall()
    with duckdb.connect(str(tmp_path / "m" / "merge.duckdb"), read_only=True) as connection:
        assert parquet == connection.execute("select * from main.merged_result").fetchall()
    for said in (
        "3 out, 1 matched (33.3%)",
        "rows merged",
        "100 %",
        "checks passed",
        "apollo",
        "rows/s",
        "peak memory",
        "Conflicts  0",
        "Rejected   0",
    ):
        assert said in out
    assert not list((tmp_path / "m" / "out").glob(".publishing*"))


def test_a_failed_run_leaves_the_published_result(spec, tmp_path):
    assert crm_merge("run", spec, "--dir", tmp_path / "m")[0] == 0
    published = {file.name: file.read_bytes() for file in (tmp_path / "m" / "out").iterdir()}
    (tmp_path / "apollo.csv").write_text("email,title\na@x.com\nb@x.com,c\n")
    code, _, err = crm_merge("run", spec, "--dir", tmp_path / "m")
    assert code == 1
    assert f"{spec}, line 3: enriched[0]: apollo.csv: 1 of 2 rows can not be read" in err
    assert "nothing was published" in err
    assert "Traceback" not in err
    assert {file.name: file.read_bytes() for file in (tmp_path / "m" / "out").iterdir()} == published


def test_formats_no_longer_asked_for_are_removed(spec, tmp_path):
    assert crm_merge("run", spec, "--dir", tmp_path / "m")[0] == 0
    spec.write_text(spec.read_text().replace("[csv, parquet]", "[csv]"))
    assert crm_merge("run", spec, "--dir", tmp_path / "m")[0] == 0
    assert sorted(file.name for file in (tmp_path / "m" / "out").iterdir()) == [
        "checks.csv",
        "manifest.json",
        "merge_changes.csv",
        "merged_result.csv",
        "review_queue.csv",
        "unmatched_enriched.csv",
        "vendor_scorecard.csv",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("original: [", "line 1: not valid YAML"),
        (
            "just text",
            "expected settings such as original, enriched and match_on at the top level, found 'just text'",
        ),
        (
            "original: {path: a.csv}\noriginal: {path: b.csv}\n",
            "line 2: 'original' stands twice in one block",
        ),
        ("merge:\n  original: {path: a.csv}\n", "write the settings at the top level"),
        (
            "original: {path: crm.csv}\nenriched:\n  - {name: apollo, path: apollo.csv}\nmatch_on: [email]\nstrategies:\n  titel: first\n",
            "line 6: strategies.titel: no file has a column 'titel'",
        ),
    ],
)
def test_mistakes_are_told_with_their_line(spec, text, said):
    spec.write_text(text)
    for command in ("validate", "run"):
        code, out, err = crm_merge(command, spec)
        assert code == 1
        assert said in err
        assert "Traceback" not in out + err


def test_a_spec_that_is_not_there(tmp_path):
    code, _, err = crm_merge("run", tmp_path / "none.yml")
    assert code == 1
    assert "there is no spec file" in err
    code, _, err = crm_merge("validate", "s3://bucket/none.yml")
    assert code == 1
    assert "'s3://bucket/none.yml' is not on this machine, where a spec must be" in err


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (
            "{cron: '0 6 * * *', timezone: Mars/Olympus}",
            "schedule.timezone: there is no time zone 'Mars/Olympus'",
        ),
        ("0 6 31 2 *", "schedule: '0 6 31 2 *' is never due"),
    ],
)
def test_a_schedule_is_checked_before_it_is_due(spec, schedule, said):
    spec.write_text(f"{spec.read_text()}schedule: {schedule}\n")
    code, _, err = crm_merge("validate", spec)
    assert code == 1
    assert f"{spec}, line 6: {said}" in err


def test_the_history_fits_a_narrow_terminal(spec, tmp_path):
    (tmp_path / "home").mkdir()
    for started, problem in (("2026-01-01", None), ("2026-01-02", "line 1: no file")):
        history.record(
            tmp_path / "home",
            history.Entry(
                merge="people", run_id=started, started_at=f"{started}T06:00:00+00:00", finished_at=f"{started}T06:01:00+00:00",
                outcome="failed" if problem else "succeeded", seconds=60.0, rows=3, match_rate=1 / 3, problem=problem,
            ),
        )  # fmt: skip
    code, out, err = crm_merge("history", "--home", tmp_path / "home", COLUMNS="80")
    assert code == 0, err
    lines = out.splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["2026-01-02", "06:01:00", "people", "failed", "60.0", "3", "33.3%"],
        ["2026-01-01", "06:01:00", "people", "succeeded", "60.0", "3", "33.3%"],
    ]
    assert "people, 2026-01-02 06:01:00: line 1: no file" in out and max(map(len, lines)) <= 80
    code, out, _ = crm_merge("history", "--home", tmp_path / "home", COLUMNS="200")
    assert "attempt" in out and "memory" in out


def test_validate_shows_how_files_are_read(spec, tmp_path):
    (tmp_path / "apollo.csv").write_bytes(
        "Work Email;Town\nb@x.com;Köln\nn/a;x\ninfo@x.com;y\nc@x.com;z\n".encode("cp1252")
    )
    code, out, _ = crm_merge("validate", spec)
    assert code == 0
    for said in (
        "CSV, utf-8, separated by comma, header on line 1, lines end with LF",
        "3 rows, 3 columns, 44 bytes",
        "CSV, cp1252, separated by semicolon",
        "Note: read as cp1252, which is not certain",
        "50.0% of rows have a valid key, from Work Email",
        "Köln",
        "The spec and its files are fine",
    ):
        assert said in out
    assert not (tmp_path / "merges").exists()
    (tmp_path / "apollo.csv").write_text("email,title\na@x.com\nb@x.com,c\n")
    code, out, _err = crm_merge("validate", spec)
    assert code == 1
    assert "line 2 (too few cells: 1 of 2): a@x.com" in out
    assert "line 3: enriched[0]: apollo.csv: 1 of 2 rows can not be read (more than 1.0 %" in _err


def test_two_runs_in_one_directory(spec, tmp_path):
    import fcntl

    (tmp_path / "m").mkdir()
    with (tmp_path / "m" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = crm_merge("run", spec, "--dir", tmp_path / "m")
    assert code == 1
    assert "another run is at work" in err


def test_too_little_memory_is_told_with_the_limit(spec, tmp_path):
    code, _, err = crm_merge("run", spec, "--dir", tmp_path / "m", DUCKDB_MEMORY_LIMIT="5MB")
    assert code == 1
    assert "memory limit of 5MB" in err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DUCKDB_MEMORY_LIMIT", "lots", "'lots' is not an amount of memory. Accepted: such as 500MB"),
        ("DUCKDB_TEMP_LIMIT", "much", "'much' is not an amount of disk. Accepted: such as 500MB"),
        ("DUCKDB_THREADS", "zero", "'zero' is not a number of threads"),
        ("DUCKDB_TEMP_DIR", "/proc/none", "'/proc/none' can't be used to spill to"),
    ],
)
def test_settings_of_the_environment_are_checked(spec, name, value, said):
    for command in ("run", "validate"):
        code, _, err = crm_merge(command, spec, **{name: value})
        assert code == 1
        assert said in err
        assert "Traceback" not in err


def test_export_to_another_folder_is_relative_to_the_spec(spec, tmp_path):
    spec.write_text(spec.read_text().replace("export: {", "export: {to: results/today, "))
    code, out, err = crm_merge("run", spec, "--dir", tmp_path / "m")
    assert code == 0, err
    assert "results/today/merged_result.csv" in out
    assert (tmp_path / "results" / "today" / "manifest.json").exists()


def test_partitioned_parquet_is_a_folder(spec, tmp_path):
    spec.write_text(spec.read_text().replace("[csv, parquet]", "[parquet], partition_by: [match_quality]"))
    code, _, err = crm_merge("run", spec, "--dir", tmp_path / "m")
    assert code == 0, err
    counts = duckdb.sql(
        f"select match_quality, count(*) from read_parquet('{tmp_path}/m/out/merged_result.parquet/**/*.parquet', hive_partitioning=true) group by 1 order by 1"
    ).fetchall()
    assert counts == [("matched", 1), ("unmatched", 2)]


def test_a_failed_check_blocks_publishing(spec, tmp_path, monkeypatch):
    """A copy of the project whose result loses a row: its own checks notice, and nothing is published."""
    import shutil

    project = tmp_path / "project"
    shutil.copytree(
        PROJECT,
        project,
        ignore=shutil.ignore_patterns(".venv", ".git", "merges", "target", "logs", "tests/*.py"),
    )
    model = project / "models" / "intermediate" / "int_result.sql"
    model.write_text(
        model.read_text().replace("order by o._merge_row", "and o._merge_row > 1\norder by o._merge_row")
    )
    command = [PROJECT / ".venv/bin/python", "-m", "crm_merge.cli", "run", spec, "--dir", tmp_path / "m"]
    environment = os.environ | {"PYTHONPATH": str(project)}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "the check 'every_original_row_comes_out_once' failed on " in done.stderr
    assert not (tmp_path / "m" / "out").exists()
