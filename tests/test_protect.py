"""What publishing may write over: never an input, and of what is there only the merge's own earlier result."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from crm_merge.engine import dbt_run
from crm_merge.merging import protect, publish, steps
from crm_merge.spec import yaml_file
from tests.conftest import PROJECT
from tests.servers import ACCESS_KEY, SECRET_KEY, s3_server


@pytest.fixture
def spec(tmp_path) -> dict[str, Any]:
    """A spec whose result goes to the folder results; its merge directory is m."""
    (tmp_path / "crm.csv").write_text("Email,Title\na@x.com,\n")
    (tmp_path / "v.csv").write_text("email,title\na@x.com,CEO\n")
    (tmp_path / "m" / ".crm-merge").mkdir(parents=True)
    (tmp_path / "results").mkdir()
    return {
        "original": {"path": str(tmp_path / "crm.csv")},
        "enriched": [{"name": "v", "path": str(tmp_path / "v.csv")}],
        "match_on": ["email"],
        "export": {"to": str(tmp_path / "results")},
    }


def result(folder: Path, spec_file: str | None = "/people.yml", **files: str) -> Path:
    """Writes files as a merge publishes them, with their manifest; ``a__csv`` is a.csv, ``a__parquet__b`` is in a folder."""
    entries: dict[str, dict[str, Any]] = {}
    for word, text in files.items():
        name, kind, *inner = word.split("__")
        path = folder / f"{name}.{kind}" / "/".join(inner)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        said = {"bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        whole = entries.setdefault(f"{name}.{kind}", {"name": f"{name}.{kind}"} | ({} if inner else said))
        if inner:
            whole.setdefault("files", []).append({"name": "/".join(inner)} | said)
    manifest = {"rows": 1, "columns": [], "files": list(entries.values()), "inputs": [], "spec": {}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(
        json.dumps(manifest | ({"spec_file": spec_file} if spec_file else {}))
    )
    return folder


def problems(tmp_path: Path, spec: dict[str, Any], spec_file: str = "/people.yml") -> list[str]:
    return protect.problems(tmp_path / "m", spec, spec_file)


# -- Inputs --


def as_it_is(tmp_path: Path, spec: dict[str, Any]) -> str:
    (tmp_path / "crm.csv").rename(tmp_path / "results" / "merged_result.csv")
    spec["original"]["path"] = str(tmp_path / "results" / "merged_result.csv")
    return "original.path"


def by_a_link_to_the_folder(tmp_path: Path, spec: dict[str, Any]) -> str:
    as_it_is(tmp_path, spec)
    (tmp_path / "link").symlink_to(tmp_path / "results")
    spec["export"]["to"] = str(tmp_path / "link")
    return "original.path"


def by_dots(tmp_path: Path, spec: dict[str, Any]) -> str:
    as_it_is(tmp_path, spec)
    spec["export"]["to"] = str(tmp_path / "m" / ".." / "results" / ".")
    return "original.path"


def by_a_hard_link(tmp_path: Path, spec: dict[str, Any]) -> str:
    os.link(tmp_path / "v.csv", tmp_path / "results" / "merge_changes.csv")
    return "enriched[0].path"


def by_a_link_to_the_input(tmp_path: Path, spec: dict[str, Any]) -> str:
    (tmp_path / "results" / "unmatched_enriched.csv").symlink_to(tmp_path / "v.csv")
    return "enriched[0].path"


def by_an_input_that_is_a_link(tmp_path: Path, spec: dict[str, Any]) -> str:
    (tmp_path / "v.csv").rename(tmp_path / "results" / "checks.csv")
    (tmp_path / "v.csv").symlink_to(tmp_path / "results" / "checks.csv")
    return "enriched[0].path"


def by_a_glob(tmp_path: Path, spec: dict[str, Any]) -> str:
    (tmp_path / "v.csv").rename(tmp_path / "results" / "vendor_scorecard.csv")
    spec["enriched"][0]["path"] = str(tmp_path / "results" / "*.csv")
    return "export.to: the result would lie in '"


def in_a_folder_of_that_name(tmp_path: Path, spec: dict[str, Any]) -> str:
    place = tmp_path / "results" / "merged_result.parquet" / "City=Bonn"
    place.mkdir(parents=True)
    (tmp_path / "v.csv").rename(place / "v.csv")
    spec["enriched"][0]["path"] = str(place / "v.csv")
    return "enriched[0].path"


def as_a_format_that_would_only_be_removed(tmp_path: Path, spec: dict[str, Any]) -> str:
    (tmp_path / "v.csv").rename(tmp_path / "results" / "merged_result.parquet")
    spec["enriched"][0]["path"] = str(tmp_path / "results" / "merged_result.parquet")
    return "enriched[0].path"


def as_decisions(tmp_path: Path, spec: dict[str, Any]) -> str:
    result(tmp_path / "results", review_queue__csv="kind,decision\n")
    spec["assertions"] = [str(tmp_path / "results" / "review_queue.csv")]
    return "assertions"


def in_out_itself(tmp_path: Path, spec: dict[str, Any]) -> str:
    del spec["export"]
    result(tmp_path / "m" / "out", merged_result__csv="Email\n")
    spec["original"]["path"] = str(tmp_path / "m" / "out" / "merged_result.csv")
    return "original.path"


def in_out_that_is_a_link(tmp_path: Path, spec: dict[str, Any]) -> str:
    as_it_is(tmp_path, spec)
    del spec["export"]
    (tmp_path / "m" / "out").symlink_to(tmp_path / "results")
    return "original.path"


INPUTS = [
    as_it_is, by_a_link_to_the_folder, by_dots, by_a_hard_link, by_a_link_to_the_input, by_an_input_that_is_a_link, by_a_glob,
    in_a_folder_of_that_name, as_a_format_that_would_only_be_removed, as_decisions, in_out_itself, in_out_that_is_a_link,
]  # fmt: skip


@pytest.mark.parametrize("taken", INPUTS, ids=lambda case: case.__name__)
def test_an_input_is_not_written_over(spec, tmp_path, taken):
    setting = taken(tmp_path, spec)
    [said] = problems(tmp_path, spec)
    if setting.startswith("export.to: the result"):
        assert said.startswith(setting) and "which is read (enriched[0].path)" in said
        return
    assert said.startswith(f"{setting}: '"), said
    assert "is read by this merge, whose result would be written over it, as " in said


def test_the_spec_itself_is_not_written_over(spec, tmp_path):
    file = tmp_path / "results" / "manifest.json"  # JSON is YAML
    file.write_text(json.dumps(spec))
    [said] = problems(tmp_path, spec, str(file))
    assert said.startswith(f"the spec '{file}' is read by this merge")


@pytest.mark.parametrize(
    "name", [".crm-merge/landing/rows_0_0.parquet", "merge.duckdb", "target/manifest.json", "logs/dbt.log"]
)
def test_no_input_lies_where_the_merge_works(spec, tmp_path, name):
    file = tmp_path / "m" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "v.csv").rename(file)
    (tmp_path / "link.csv").symlink_to(file)
    for path in (file, tmp_path / "link.csv"):
        spec["enriched"][0]["path"] = str(path)
        [said] = problems(tmp_path, spec)
        assert said.startswith(f"enriched[0].path: '{path}' lies where this merge keeps its own files"), said


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"original": "crm.csv", "enriched": "v.csv", "export": ["results"], "assertions": {"a": 1}},
        {"original": {"path": 1}, "enriched": [{"path": None}, 2], "export": {"to": 3}, "assertions": [4]},
        {"original": {"path": "none.csv"}, "enriched": [{"path": "http://x"}], "export": {"to": "ftp://x"}},
    ],
)
def test_what_is_wrong_with_a_spec_is_said_by_others(tmp_path, wrong):
    assert problems(tmp_path, wrong) == []


# -- What is there already --


def test_an_own_result_is_replaced(spec, tmp_path):
    out = tmp_path / "results"
    assert problems(tmp_path, spec) == []  # nothing is there
    result(out, merged_result__csv="a", merged_result__parquet__x="b", checks__csv="c")
    assert problems(tmp_path, spec) == []
    # files of others beside it are nobody's business
    (out / "notes.txt").write_text("mine")
    (out / "crm.csv").write_text("mine")
    assert problems(tmp_path, spec) == []
    # manifests of earlier versions do not name the spec file: the CRM's file tells
    result(out, None, merged_result__csv="a", merged_result__parquet__x="b", checks__csv="c")
    assert "is the result of another merge; it is not" in problems(tmp_path, spec)[0]
    manifest = json.loads((out / "manifest.json").read_text()) | {"spec": {"original": spec["original"]}}
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert problems(tmp_path, spec) == []
    # out is the directory's own, whatever the spec that was merged there before is called
    del spec["export"]
    result(tmp_path / "m" / "out", "/others.yml", merged_result__csv="a")
    assert problems(tmp_path, spec) == []


def foreign_file(out: Path) -> str:
    (out / "merged_result.csv").write_text("mine")
    return "merged_result.csv' is no result of this merge"


def foreign_file_beside_a_result(out: Path) -> str:
    result(out, merged_result__csv="a")
    (out / "merge_changes.csv").write_text("mine")
    return "merge_changes.csv' is no result of this merge"


def foreign_file_that_would_be_removed(out: Path) -> str:
    result(out, merged_result__csv="a")
    (out / "merged_result.parquet").write_text("mine")
    return "merged_result.parquet' is no result of this merge"


def foreign_folder(out: Path) -> str:
    (out / "merged_result.csv").mkdir()
    (out / "merged_result.csv" / "mine").write_text("mine")
    return "merged_result.csv/mine' is no result of this merge, whose manifest.json would name it;"


def file_added_to_a_folder(out: Path) -> str:
    result(out, merged_result__parquet__x="b")
    (out / "merged_result.parquet" / "y").write_text("mine")
    (out / "merged_result.parquet" / ".DS_Store").write_text("Finder's")
    return "merged_result.parquet/y' is no result of this merge, whose manifest.json would name it;"


def changed_file(out: Path) -> str:
    result(out, review_queue__csv="decision")
    (out / "review_queue.csv").write_text("DECISION")
    return "review_queue.csv' is not as this merge has published it"


def another_merge(out: Path) -> str:
    result(out, "/others.yml", merged_result__csv="a")
    return "is the result of another merge, of '/others.yml'"


def manifest_of_another_tool(out: Path) -> str:
    (out / "manifest.json").write_text('{"files": []}')
    return "manifest.json' is no manifest of a merge"


def manifest_that_is_no_json(out: Path) -> str:
    (out / "manifest.json").write_bytes(b"\xff{")
    return "manifest.json' is no manifest of a merge"


def manifest_of_odd_entries(out: Path) -> str:
    result(out, merged_result__csv="a")
    odd: list[Any] = [
        1,
        {"files": [{"name": "x"}, 2]},
        {"name": ["a"], "bytes": 1, "sha256": "x"},
        {"name": "merged_result.csv"},
    ]
    manifest = json.loads((out / "manifest.json").read_text()) | {"files": odd}
    (out / "manifest.json").write_text(json.dumps(manifest))
    return "merged_result.csv' is no result of this merge"


def manifest_of_endless_depth(out: Path) -> str:
    (out / "manifest.json").write_text("[" * 100_000)
    return "manifest.json' is no manifest of a merge"


def link_in_a_folder(out: Path) -> str:
    result(out, merged_result__parquet__x="b")
    (out / "data").mkdir()
    (out / "merged_result.parquet" / "City=Bonn").symlink_to(out / "data")
    return "merged_result.parquet/City=Bonn' is a link, which no merge has put there"


def link(out: Path) -> str:
    result(out, merged_result__csv="a")
    (out / "merged_result.csv").rename(out / "elsewhere.csv")
    (out / "merged_result.csv").symlink_to(out / "elsewhere.csv")
    return "merged_result.csv' is a link, which no merge has put there"


def broken_link(out: Path) -> str:
    (out / "checks.csv").symlink_to(out / "none")
    return "checks.csv' is a link, which no merge has put there"


FOREIGN = [
    foreign_file, foreign_file_beside_a_result, foreign_file_that_would_be_removed, foreign_folder, file_added_to_a_folder, changed_file,
    another_merge, manifest_of_another_tool, manifest_that_is_no_json, manifest_of_odd_entries, manifest_of_endless_depth,
    link_in_a_folder, link, broken_link,
]  # fmt: skip


@pytest.mark.parametrize("case", FOREIGN, ids=lambda case: case.__name__)
def test_what_is_not_an_own_result_is_not_written_over(spec, tmp_path, case):
    expected = case(tmp_path / "results")
    said = problems(tmp_path, spec)
    assert said and all(one.startswith("export.to: '") for one in said)
    assert expected in said[0] and "it is not written over: move it away, or set export.to" in said[0], said


def test_a_place_that_is_no_folder(spec, tmp_path):
    (tmp_path / "results").rmdir()
    (tmp_path / "results").symlink_to(tmp_path / "none")
    assert "is a link to a folder that is not there; set export.to to" in problems(tmp_path, spec)[0]
    (tmp_path / "results").unlink()
    (tmp_path / "results").write_text("")
    assert "is not a folder; set export.to to" in problems(tmp_path, spec)[0]
    del spec["export"]
    (tmp_path / "m" / "out").write_text("")
    assert problems(tmp_path, spec)[0].endswith("is not a folder; use another --dir")


# -- S3 --


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    folder = tmp_path / "s3" / "bucket"
    (folder / "out").mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with s3_server(folder.parent) as endpoint:
        for name, value in {
            "AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL_S3": endpoint,
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield folder


def test_on_s3(spec, tmp_path, bucket):
    spec["export"]["to"] = "s3://bucket/out"
    result(bucket / "out", merged_result__csv="a", merged_result__parquet__x="b")
    (bucket / "out" / "merged_result.parquet" / "x").rename(
        bucket / "out" / "merged_result.parquet" / "x.parquet"
    )
    text = (bucket / "out" / "manifest.json").read_text().replace('"name": "x"', '"name": "x.parquet"')
    (bucket / "out" / "manifest.json").write_text(text)
    (bucket / "out" / "notes.txt").write_text("mine")
    assert problems(tmp_path, spec) == []
    for key in ("s3://bucket/out/merged_result.csv", "s3://bucket/out/merged_result.parquet/x.parquet"):
        spec["enriched"] = [{"name": "v", "path": key}]
        [said] = problems(tmp_path, spec)
        assert said.startswith(f"enriched[0].path: '{key}' is read by this merge"), said
    for key in ("s3://bucket/out/", "s3://bucket/out/*"):
        spec["enriched"] = [{"name": "v", "path": key}]
        [said] = problems(tmp_path, spec)
        assert said.startswith("export.to: the result would lie in 's3://bucket/out/"), said
    spec["enriched"] = [{"name": "v", "path": "s3://bucket/out/notes.txt"}]
    assert problems(tmp_path, spec) == []
    (bucket / "out" / "merge_changes.csv").write_text("mine")
    (bucket / "out" / "merged_result.parquet" / "y.parquet").write_text("mine")
    assert [said.partition("; ")[0] for said in problems(tmp_path, spec)] == [
        "export.to: 's3://bucket/out/merge_changes.csv' is no result of this merge, whose manifest.json would name it",
        "export.to: 's3://bucket/out/merged_result.parquet/y.parquet' is no result of this merge, whose manifest.json would name it",
    ]
    (bucket / "out" / "merge_changes.csv").unlink()
    (bucket / "out" / "merged_result.parquet" / "y.parquet").unlink()
    (bucket / "out" / "merged_result.csv").write_text("A")  # of the same size
    [said] = problems(tmp_path, spec)
    assert "'s3://bucket/out/merged_result.csv' is not as this merge has published it" in said
    (bucket / "out" / "manifest.json").write_text(text.replace("/people.yml", "/others.yml"))
    assert "is the result of another merge, of '/others.yml'" in problems(tmp_path, spec)[0]


# -- Whole merges --


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """A merge that was built: folder, spec, outcome."""
    folder = tmp_path_factory.mktemp("merged")
    (folder / "crm.csv").write_text("Id,Email,Title\n1,a@x.com,\n2,b@x.com,Buyer\n")
    (folder / "v.csv").write_text("email,title\na@x.com,CEO\nc@x.com,CTO\n")
    (folder / "people.yml").write_text(
        "original: {path: crm.csv}\nenriched: [{name: v, path: v.csv}]\nmatch_on: [email]\n"
        "export: {to: results, formats: [csv, parquet], partition_by: [Title]}\n"
    )
    spec = yaml_file.load(folder / "people.yml")
    outcome = dbt_run.run(["build"], folder / "m", spec)
    assert outcome.ok, outcome.problems
    return folder, spec, outcome


def test_a_run_that_is_killed_between_two_renames_is_known_again(merged, monkeypatch):
    folder, spec, outcome = merged

    def published(spec: dict[str, Any]) -> None:
        publish.publish(folder / "m", spec, 1, steps.checks(outcome), spec_file="/people.yml")

    csv_only = spec | {"export": {"to": spec["export"]["to"]}}
    published(spec)
    real = {"put": publish.put, "remove": publish.remove}
    for wanted in (csv_only, spec):
        for name in real:
            for kept in range(9):
                monkeypatch.setattr(publish, name, killing(real[name], kept))
                with suppress(KeyboardInterrupt):
                    published(wanted)
                monkeypatch.setattr(publish, name, real[name])
                for again in (csv_only, spec):
                    assert protect.problems(folder / "m", again, "/people.yml") == [], (name, kept)
        published(wanted)
    # what somebody has changed since then is another matter
    (folder / "results" / "merge_changes.csv").write_text("mine")
    with pytest.raises(
        publish.FileProblem, match=r"merge_changes.csv' is not as this merge has published it"
    ):
        published(spec)
    assert (folder / "results" / "merge_changes.csv").read_text() == "mine"
    assert not list((folder / "results").glob(".publishing-*"))


def test_runs_that_fail_one_after_the_other_are_known_again(merged, tmp_path, monkeypatch):
    """The first is killed after its first rename, the second, whose files are others, before its own."""
    folder, spec, outcome = merged
    shutil.copytree(folder / "m", tmp_path / "m")
    wanted = [spec | {"export": {"to": str(tmp_path / "out"), "bom": bom}} for bom in (False, True)]

    def published(spec: dict[str, Any]) -> None:
        publish.publish(tmp_path / "m", spec, 1, steps.checks(outcome), spec_file="/people.yml")

    published(wanted[1])
    for spec, kept in ((wanted[0], 1), (wanted[1], 0), (wanted[0], 2), (wanted[1], 0)):
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(publish, "put", killing(publish.put, kept))
            published(spec)
        assert protect.problems(tmp_path / "m", spec, "/people.yml") == []
    published(wanted[0])
    assert len(protect.noted(tmp_path / "m")) == len(list((tmp_path / "out").iterdir()))


def killing(done: Any, kept: int) -> Any:
    """A function that does what another does so many times, then is interrupted."""
    left = [kept]

    def killed(*arguments: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        done(*arguments)

    return killed


def test_a_file_that_was_edited_in_place_is_told(merged, tmp_path):
    """Of the same size, at the same place on the disk, with the time that it had."""
    folder, spec, outcome = merged
    shutil.copytree(folder / "m", tmp_path / "m")
    wanted = spec | {"export": {"to": str(tmp_path / "out")}}
    publish.publish(tmp_path / "m", wanted, 1, steps.checks(outcome), spec_file="/people.yml")
    assert protect.problems(tmp_path / "m", wanted, "/people.yml") == []
    file = tmp_path / "out" / "merged_result.csv"
    before = file.stat()
    with file.open("r+b") as content:
        content.write(b"XY")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    [said] = protect.problems(tmp_path / "m", wanted, "/people.yml")
    assert "merged_result.csv' is not as this merge has published it" in said


@pytest.mark.parametrize("name", ["merge.duckdb", "target/manifest.json", "logs/dbt.log"])
def test_a_directory_that_is_no_merges_is_told(spec, tmp_path, name):
    (tmp_path / "m" / ".crm-merge").rmdir()
    assert problems(tmp_path, spec) == []
    (tmp_path / "m" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "m" / name).write_text("mine")
    [said] = problems(tmp_path, spec)
    assert said.startswith(f"'{tmp_path / 'm' / name}' is there already") and "use another --dir" in said


def test_a_run_that_is_killed_at_once_leaves_a_merges_directory(spec, tmp_path):
    next(steps.stages(tmp_path / "new", spec, False, "duckdb"), None)
    assert (tmp_path / "new" / ".crm-merge").is_dir()
    assert protect.problems(tmp_path / "new", spec, "/people.yml") == []


@pytest.mark.parametrize("folder", [".crm-merge", "target", "logs/x"])
def test_a_result_goes_to_no_folder_that_the_merge_works_in(spec, tmp_path, folder):
    spec["export"]["to"] = str(tmp_path / "m" / folder)
    [said] = problems(tmp_path, spec)
    assert said.startswith("export.to: '") and "keeps its own files while it works" in said


def test_two_specs_of_one_name_have_no_directory_in_common(tmp_path):
    other = tmp_path / "x" / "people.yml"
    result(tmp_path / "merges" / "people" / "out", str(other), merged_result__csv="a")
    assert protect.of_another(tmp_path / "merges" / "people", str(other)) == ""
    assert (
        protect.of_another(tmp_path / "merges" / "people", "/y/people.yml") == ""
    )  # it was moved, or is gone
    other.parent.mkdir()
    other.touch()
    assert protect.of_another(tmp_path / "merges" / "people", "/y/people.yml") == str(other)


def test_dagster_is_told_before_any_work(spec, tmp_path):
    (tmp_path / "results" / "checks.csv").write_text("mine")
    with (
        steps.claimed(tmp_path / "m") as merge,
        pytest.raises(steps.Problem, match=r"checks.csv' is no result of this merge"),
    ):
        next(merge.build(spec, "/people.yml"))
    assert not (tmp_path / "m" / "merge.duckdb").exists()


def test_the_command_line_refuses_before_any_work(tmp_path):
    (tmp_path / "merged_result.csv").write_text("Email,Title\na@x.com,\n")
    (tmp_path / "v.csv").write_text("email,title\na@x.com,CEO\n")
    (tmp_path / "spec.yml").write_text(
        "original: {path: merged_result.csv}\nenriched: [{name: v, path: v.csv}]\nmatch_on: [email]\nexport: {to: .}\n"
    )
    command = [
        sys.executable,
        "-m",
        "crm_merge.cli",
        "run",
        tmp_path / "spec.yml",
        "--dir",
        tmp_path / "m",
    ]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    said = "spec.yml, line 1: original.path: '"
    assert said in done.stderr and "whose result would be written over it" in done.stderr
    assert (tmp_path / "merged_result.csv").read_text() == "Email,Title\na@x.com,\n"
    assert not (tmp_path / "m" / "merge.duckdb").exists()
