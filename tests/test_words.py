"""The project's SQL tests of its words (macros) and decisions (dbt unit tests), and what its seeds are made of."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import PROJECT

sys.path.insert(0, str(PROJECT / "seeds" / "reference"))


def dbt(tmp_path, *command):
    arguments = [
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
    return subprocess.run(
        [PROJECT / ".venv/bin/dbt", *command, *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_words_and_decisions(tmp_path):
    assert dbt(tmp_path, "run").returncode == 0
    assert dbt(tmp_path, "seed", "--selector", "self_tests").returncode == 0
    done = dbt(tmp_path, "test", "--selector", "self_tests")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "PASS=36" in done.stdout, "a test was not found: " + done.stdout[-500:]


def test_docs_show_lineage_grain_and_columns(tmp_path):
    """From files to marts, every model with its grain, every listed column described."""
    import json

    assert dbt(tmp_path, "run").returncode == 0
    done = dbt(tmp_path, "docs", "generate", "--static")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "WARN" not in done.stdout.replace("WARN=0", "")
    manifest = json.loads((tmp_path / "target" / "manifest.json").read_text())
    models = {key: node for key, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    for node in models.values():
        assert "One row" in node["description"][-250:], f"{node['name']} does not end with its grain"
        assert all(column["description"] for column in node["columns"].values()), node["name"]

    def sources_of(key):
        parents = manifest["parent_map"][key]
        return {p for p in parents if p.startswith("source.")}.union(
            *[sources_of(p) for p in parents if p in models]
        )

    for key, node in models.items():
        if "marts" in node["path"]:
            assert sources_of(key) == {
                "source.crm_merge.files.original",
                "source.crm_merge.files.enriched",
            }, node["name"]
    for macro in manifest["macros"].values():
        if macro["package_name"] == "crm_merge" and not macro["name"].startswith(
            ("duckdb__", "spark__", "test_", "materialization_")
        ):
            assert macro["description"], f"macro {macro['name']} is not documented"


def test_a_parsed_project_is_not_parsed_again(tmp_path):
    """dbt keeps what it parsed, unless a yml file holds what its store can't, such as a number for a key."""
    place = ["--project-dir", PROJECT, "--profiles-dir", PROJECT / "profiles", "--target-path", tmp_path]
    command = [PROJECT / ".venv/bin/dbt", "--log-path", tmp_path, "parse", *place]
    for _ in range(2):
        done = subprocess.run(
            command, env=os.environ | {"CRM_MERGE_DIR": str(tmp_path / "m")}, capture_output=True, text=True
        )
        assert done.returncode == 0
    assert "Failed to load" not in (tmp_path / "dbt.log").read_text()


def test_phone_regions_are_those_of_the_package():
    import csv

    import make_phone_regions

    with (PROJECT / "seeds/reference/phone_regions.csv").open(encoding="utf-8", newline="") as file:
        found = [tuple(row) for row in csv.reader(file)][1:]
    assert found == [
        tuple("" if cell is None else str(cell) for cell in row) for row in make_phone_regions.rows()
    ]


def test_a_seed_is_sorted_and_has_no_row_twice():
    for path in (PROJECT / "seeds/reference").glob("*.csv"):
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        assert len(lines) == len(set(lines)), path.name
    headers = [
        line.split(",")
        for line in (PROJECT / "seeds/reference/header_aliases.csv")
        .read_text(encoding="utf-8")
        .splitlines()[1:]
    ]
    assert not {header for header, _ in headers} & {column for _, column in headers}, (
        "an alias leads to an alias"
    )
