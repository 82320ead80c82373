"""A merge that is killed, at whatever stage, leaves what was published; resumed, it gives the same bytes; so do many parts and one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from benchmarks import workload
from crm_merge.engine import dbt_run, forks
from crm_merge.spec import yaml_file
from tests.conftest import PROJECT

SPEC = """original: {path: crm.csv}
enriched:
  - {name: v0, path: v0.csv}
  - {name: v1, path: v1.csv}
  - {name: v2, path: v2.csv}
match_on: [email, phone, linkedin]
region: US
strategies: {default: first, title: longest, city: most_frequent, industry: unanimous, vendor_id: collect, employees: max}
overwrite: {default: fill, city: update}
export: {formats: [csv]}
"""
ROWS = 3000
# what is landed for Spark is no part of a merge
MODELS = sorted({path.stem for path in (PROJECT / "models").glob("*/**/*.sql")} - {"stg_forms"})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of a merge, with people who are in the CRM twice, and its spec."""
    folder = tmp_path_factory.mktemp("files")
    workload.write(ROWS, folder)
    crm = (folder / "crm.csv").read_text().splitlines(keepends=True)
    (folder / "crm.csv").write_text("".join(crm + crm[1:200]))
    (folder / "spec.yml").write_text(SPEC)
    (folder / "email.yml").write_text(SPEC.replace("[email, phone, linkedin]", "[email]"))
    return folder


def begin(spec: Path, place: Path, *arguments: str, **settings: str) -> subprocess.Popen:
    """Starts crm-merge run as the leader of a process group of its own."""
    command = [sys.executable, "-m", "crm_merge.cli", "run", str(spec), "--dir", str(place), *arguments]
    # not forked: a run is killed with all its processes at once
    environment = (
        os.environ | {"DUCKDB_THREADS": "2", "CRM_MERGE_PART_ROWS": "700", forks.SOCKET: ""} | settings
    )
    return subprocess.Popen(
        command, cwd=PROJECT, env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(spec: Path, place: Path, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Runs crm-merge run to its end: exit code, output, errors."""
    process = begin(spec, place, *arguments, **settings)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def published(place: Path) -> dict[str, bytes]:
    """The bytes of every published file; of the manifest, what does not tell of the run itself."""
    found = {file.name: file.read_bytes() for file in sorted((place / "out").iterdir()) if file.is_file()}
    manifest = json.loads(found.pop("manifest.json"))
    for of_the_run in ("seconds", "finished_at"):
        del manifest[of_the_run]
    return found | {"manifest.json": json.dumps(manifest).encode()}


@pytest.fixture(scope="module")
def undisturbed(files, tmp_path_factory):
    place = tmp_path_factory.mktemp("undisturbed") / "m"
    code, _, err = run(files / "spec.yml", place)
    assert code == 0, err
    return published(place)


def kill_at(process: subprocess.Popen, place: Path, stage: str, started: float) -> bool:
    """Kills the run and its dbt a moment after the stage has begun; False if it ended before."""
    log, sought = place / "logs" / "dbt.log", f'"node_name": "{stage}"'
    while process.poll() is None:
        if stage == "publishing":
            begun = any((place / "out").glob(".publishing-*/*"))
        else:
            begun = (
                log.exists() and log.stat().st_mtime > started and sought in log.read_text(errors="replace")
            )
        if begun:
            time.sleep(0.012)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            wait_for_lock(place / "merge.duckdb")
            return True
        time.sleep(0.002)
    process.communicate()
    return False


def wait_for_lock(database: Path) -> None:
    """Waits until the system has taken the last of a killed process away."""
    for _ in range(200):
        try:
            duckdb.connect(str(database)).close()
            return
        except duckdb.IOException:
            time.sleep(0.05)
    raise AssertionError(f"{database} stays locked")


def kept(place: Path) -> dict[Path, int]:
    """The landed files and parts that the journal says are finished, with the time at which each was written."""
    with duckdb.connect(str(place / "merge.duckdb")) as connection:
        entries = [row[0] for row in connection.execute("select entry from _merge_journal").fetchall()]
    own = place / ".crm-merge"
    found = [
        path
        for entry in entries
        for kind, pattern in (("landing", "rows_*_{}"), ("keys", "keys_{}"), ("forms", "forms_*_{}"))
        if entry.startswith(f"finished {kind} ")
        for path in (own / "landing").glob(pattern.format(entry.split()[-1]) + ".parquet")
    ]
    assert found or not any(entry.startswith("finished landing ") for entry in entries)
    for entry in entries:
        words = entry.split()
        if words[0] == "finished" and words[-2:-1] == ["of"]:
            found += (own / "parts").glob(f"{words[1]}.{int(words[2]) - 1:05d}.parquet")
    return {file: file.stat().st_mtime_ns for file in found}


def kill_in_turn(files: Path, place: Path, stages: list[str], undisturbed: dict[str, bytes]) -> None:
    """Publishes another merge, then kills a run at each stage in turn, going on from each, and lets the last one end."""
    code, _, err = run(files / "email.yml", place)
    assert code == 0, err
    before = published(place)
    assert before != undisturbed
    written: dict[Path, int] = {}
    killed = []
    for stage in stages:
        for log in (place / "logs").glob("dbt.log*"):
            log.unlink()
        process = begin(files / "spec.yml", place, *(["--resume"] if killed else []))
        if kill_at(process, place, stage, 0):
            killed.append(stage)
            if stage != "publishing":
                assert published(place) == before, stage
            for file, when in written.items():
                assert file.stat().st_mtime_ns == when, f"{file.name} was written again after {stage}"
            written |= kept(place)
    assert killed == stages
    code, out, err = run(files / "spec.yml", place, "--resume")
    assert code == 0, err
    assert "finished steps are kept" in out
    assert published(place) == undisturbed
    for file, when in written.items():
        assert file.stat().st_mtime_ns == when, f"{file.name} was written again"
    assert not (place / ".crm-merge" / "spill").exists()
    assert not list((place / "out").glob(".publishing-*"))


def test_a_killed_merge_goes_on(files, undisturbed, tmp_path):
    stages = ["stg_files", "int_enriched_consolidated", "int_result", "publishing"]
    kill_in_turn(files, tmp_path / "m", stages, undisturbed)


@pytest.mark.slow
def test_a_merge_killed_at_every_stage_goes_on(files, undisturbed, tmp_path):
    """In the order in which dbt builds them."""
    outcome = dbt_run.run(["build"], tmp_path / "order", yaml_file.load(files / "spec.yml"))
    order = [node.name for node in outcome.nodes if node.kind == "model"]
    assert sorted(order) == MODELS
    kill_in_turn(files, tmp_path / "m", [*order, "publishing"], undisturbed)


def test_what_has_changed_starts_anew(files, undisturbed, tmp_path):
    folder = tmp_path / "files"
    shutil.copytree(files, folder)
    assert run(folder / "spec.yml", tmp_path / "m")[0] == 0
    crm = (folder / "crm.csv").read_text().splitlines(keepends=True)
    (folder / "crm.csv").write_text("".join(crm[:-1]))
    code, out, err = run(folder / "spec.yml", tmp_path / "m", "--resume")
    assert code == 0, err
    assert "from the start, since the spec, a file or the project is not what it was" in out
    assert published(tmp_path / "m") != undisturbed
    code, out, _ = run(folder / "spec.yml", tmp_path / "new", "--resume")
    assert code == 0 and "from the start, since there is no earlier run" in out


def test_a_model_built_alone_from_what_was_there_is_built_again(files, tmp_path):
    """A changed file, then one model by hand, which sees the landed rows of before, then --resume: nothing old may stay."""
    folder = tmp_path / "files"
    shutil.copytree(files, folder)
    assert run(folder / "spec.yml", tmp_path / "m")[0] == 0
    crm = (folder / "crm.csv").read_text().splitlines(keepends=True)
    (folder / "crm.csv").write_text("".join(crm[:1] + crm[2:]))
    command = ["run", "--select", "int_keys", "int_matches", "merged_result"]
    assert dbt_run.run(command, tmp_path / "m", yaml_file.load(folder / "spec.yml")).ok
    code, _, err = run(folder / "spec.yml", tmp_path / "m", "--resume")
    assert code == 0, err
    assert run(folder / "spec.yml", tmp_path / "fresh")[0] == 0
    assert published(tmp_path / "m") == published(tmp_path / "fresh")


@pytest.mark.parametrize("rows", ["1000000", "151"])
def test_many_parts_give_the_bytes_of_one(files, undisturbed, tmp_path, rows):
    code, _, err = run(files / "spec.yml", tmp_path / "m", CRM_MERGE_PART_ROWS=rows)
    assert code == 0, err
    assert published(tmp_path / "m") == undisturbed


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 60 MB, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", place], capture_output=True)
    if done.returncode:
        pytest.skip("only root can mount a small file system")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_too_little_room_is_said_before(files, small_disk):
    (small_disk / "taken").write_bytes(bytes(45_000_000))
    code, _, err = run(files / "spec.yml", small_disk / "m")
    assert code == 1 and "Traceback" not in err
    assert "free, and this merge needs about" in err and "--dir (CRM_MERGE_DIR)" in err
    assert not (small_disk / "m" / "out").exists()


def test_a_disk_that_fills_up_midway(files, small_disk):
    place = small_disk / "m"
    process = begin(files / "spec.yml", place)
    while not (place / "merge.duckdb").exists() and process.poll() is None:
        time.sleep(0.01)
    while process.poll() is None and not list((place / ".crm-merge" / "landing").glob("rows_*.parquet")):
        time.sleep(0.005)
    with (small_disk / "taken").open("wb") as file:  # takes all there is
        try:
            while True:
                file.write(bytes(100_000))
                file.flush()
        except OSError:
            pass
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in err
    assert "a disk is full" in err and "needs about" in err, err
    assert not (place / "out" / "manifest.json").exists()
    assert not (place / ".crm-merge" / "spill").exists()
    (small_disk / "taken").unlink()
    code, _, err = run(files / "spec.yml", place, "--resume")
    assert code == 0, err


def test_a_memory_limit_that_is_too_small(files, tmp_path):
    code, _, err = run(files / "spec.yml", tmp_path / "m", DUCKDB_MEMORY_LIMIT="12MB")
    assert code == 1 and "Traceback" not in err
    assert "limit of 12MB; set DUCKDB_MEMORY_LIMIT to at least 200MB." in err, err
    assert not (tmp_path / "m" / "out").exists()
    assert not (tmp_path / "m" / ".crm-merge" / "spill").exists()


def test_a_place_to_spill_to_that_can_not_be_written(files, tmp_path):
    (tmp_path / "taken").write_text("a file")
    code, _, err = run(files / "spec.yml", tmp_path / "m", DUCKDB_TEMP_DIR=str(tmp_path / "taken" / "spill"))
    assert code == 1 and "Traceback" not in err
    assert "DUCKDB_TEMP_DIR" in err and "can't be used to spill to" in err


def test_spilling_has_a_folder_of_its_own(files, undisturbed, tmp_path):
    """In a place that others use as well, and it is gone afterwards."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "theirs").write_text("kept")
    code, _, err = run(
        files / "spec.yml", tmp_path / "m", DUCKDB_TEMP_DIR=str(shared), DUCKDB_MEMORY_LIMIT="200MB"
    )
    assert code == 0, err
    assert [path.name for path in shared.iterdir()] == ["theirs"]
    assert published(tmp_path / "m") == undisturbed


def test_what_a_killed_run_left_of_parts_without_rows_is_not_trusted(tmp_path, monkeypatch):
    """Neither one that is there while another is not, nor a file of no bytes, nor a folder above that is called like a part."""
    (tmp_path / "crm.csv").write_text("id,email\n1,p1@corp.com\n2,p3@corp.com\n")
    people = "".join(f"p{n}@corp.com,Title {n}\n" * 2 for n in (1, 2, 3))
    (tmp_path / "v.csv").write_text("email,title\n" + people)
    (tmp_path / "spec.yml").write_text(
        "original: {path: crm.csv}\nenriched: [{name: v, path: v.csv}]\nmatch_on: [email]\n"
    )
    monkeypatch.setenv("CRM_MERGE_PART_ROWS", "1")
    spec, place = yaml_file.load(tmp_path / "spec.yml"), tmp_path / "entities=1" / "m"
    place.mkdir(parents=True)
    assert dbt_run.run(["run", "--select", "+int_candidates"], place, spec).ok
    empty = sorted((place / ".crm-merge" / "parts").glob("int_candidates.none/*/*.parquet"))
    assert len(empty) >= 2  # three entities in six parts
    for _ in range(2):
        empty[0].unlink()
        empty[1].write_bytes(b"")
        outcome = dbt_run.run(["run", "--select", "+merged_result"], place, spec, resume=True)
        assert outcome.ok, outcome.problems
        assert "are kept" in outcome.resumed
    with duckdb.connect(str(place / "merge.duckdb"), read_only=True) as connection:
        found = connection.execute("select match_quality from merged_result").fetchall()
    assert found == [("matched",), ("matched",)]
