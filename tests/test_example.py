"""The worked example: both ways of running it give the expected file, and the README's commands are these."""

from __future__ import annotations

import csv
import json
import os
import subprocess

import duckdb
import yaml

from tests.conftest import PROJECT, as_text

EXPECTED = PROJECT / "seeds" / "example" / "merged_result_expected.csv"


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_dbt_build_without_a_spec_merges_the_example(tmp_path):
    command = [
        PROJECT / ".venv/bin/dbt",
        "build",
        "--project-dir",
        ".",
        "--profiles-dir",
        "profiles",
        "--target-path",
        tmp_path / "target",
        "--log-path",
        tmp_path / "logs",
    ]
    environment = os.environ | {"CRM_MERGE_DIR": str(tmp_path / "m")}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout[-3000:]
    with duckdb.connect(str(tmp_path / "m" / "merge.duckdb"), read_only=True) as connection:
        cursor = connection.execute("select * from main.merged_result")
        found = [[column[0] for column in cursor.description]]
        found += [[as_text(cell) for cell in row] for row in cursor.fetchall()]
    assert found == rows(EXPECTED)


def test_the_command_line_merges_the_example(tmp_path):
    command = [
        PROJECT / ".venv/bin/crm-merge",
        "run",
        PROJECT / "seeds/example/merge.yml",
        "--dir",
        tmp_path / "m",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "m" / "out" / "merged_result.csv") == rows(EXPECTED)


def test_the_spec_file_says_what_the_project_says():
    """merge.yml and vars.merge differ in nothing but what paths are relative to."""
    in_project = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]["merge"]
    in_file = yaml.safe_load((PROJECT / "seeds/example/merge.yml").read_text())
    text = json.dumps(in_project).replace("seeds/example/", "")
    assert json.loads(text) == in_file
