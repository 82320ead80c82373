"""The deployment at work: specs dropped on a real S3 server, runs in the queue, what happens at night."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from crm_merge.home import history
from tests.conftest import PROJECT
from tests.deployment import Deployment, deployment, wait
from tests.servers import ACCESS_KEY, SECRET_KEY, s3_server

sys.path.insert(0, str(PROJECT / "benchmarks"))
pytestmark = pytest.mark.slow
UPKEEP = ("merge_history", "swept_merges", "project_docs")


@pytest.fixture(scope="module")
def workloads(tmp_path_factory):
    """Folders of a spec and its files: five small merges, one that takes a while."""
    import workload

    folder = tmp_path_factory.mktemp("workloads")
    for name, rows in [*((f"m{k}", 3_000 + k) for k in range(1, 6)), ("large", 200_000)]:
        (folder / name).mkdir()
        workload.write(rows, folder / name)
    return folder


def s3(url: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_REGION": "us-east-1",
    }


def drop(workload, target, name, *settings):
    """Puts a merge's files below the bucket's folder, then its spec, as a person would."""
    (target / "in" / name).mkdir(parents=True)
    for file in workload.glob("*.csv"):
        shutil.copy(file, target / "in" / name / file.name)
    text = (workload / "spec.yml").read_text()
    text = re.sub(r"path: (\S+?\.csv)", rf"path: {name}/\1", text)
    (target / "in" / f"{name}.yml").write_text("\n".join([text, *settings]))


def ended(place: Deployment, merge: str, count: int = 1):
    """Waits until a merge has ended so many times; returns its runs."""

    def all_of_it():
        runs = [run for run in place.merges() if run["merge"] == merge]
        over = [run for run in runs if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")]
        return runs if len(over) >= count and len(over) == len(runs) else None

    return wait(f"{merge} has ended {count} times", all_of_it, 400, place.home / "deployment.log")


def test_five_specs_on_s3_become_five_results(workloads, tmp_path):
    """Three run at once, the rest waits in order; the results are those of the command line, byte for byte."""
    buckets = tmp_path / "buckets"
    (buckets / "crm").mkdir(parents=True)
    with (
        s3_server(buckets) as url,
        deployment(tmp_path / "home", CRM_MERGE_SPECS="s3://crm/in", **s3(url)) as place,
    ):
        for k in range(1, 6):
            drop(workloads / f"m{k}", buckets / "crm", f"m{k}")
        most, seen = 0, set()

        def all_done():
            nonlocal most
            runs = place.merges()
            most = max(most, sum(run["status"] in ("STARTING", "STARTED") for run in runs))
            seen.update(run["status"] for run in runs)
            return len(runs) >= 5 and all(run["status"] in ("SUCCESS", "FAILURE") for run in runs) and runs

        runs = wait("five merges have ended", all_done, 500, tmp_path / "home/deployment.log")
        assert [run["status"] for run in runs] == ["SUCCESS"] * 5
        assert sorted(run["merge"] for run in runs) == [f"m{k}" for k in range(1, 6)]
        assert most == 3 and "QUEUED" in seen
        for k in range(1, 6):
            subprocess.run(
                [PROJECT / ".venv/bin/crm-merge", "run", workloads / f"m{k}" / "spec.yml", "--dir", tmp_path / f"m{k}"],
                check=True,
                capture_output=True,
            )  # fmt: skip
            results = buckets / "crm/in" / f"m{k}.out"
            for file in (tmp_path / f"m{k}/out").glob("*.csv"):
                assert (results / file.name).read_bytes() == file.read_bytes(), file.name
            assert (results / "manifest.json").exists()
        # a changed file is one more run of its merge, and of no other
        with (buckets / "crm/in/m1/v0.csv").open("a") as file:
            file.write("\n".join((workloads / "m2/v0.csv").read_text().splitlines()[1:3]) + "\n")
        assert len(ended(place, "m1", 2)) == 2
        assert len(place.merges()) == 6
        # a backfill from the pages runs the merges that it names
        assets = [key.split("/") for key in json.loads((PROJECT / "tests/asset_graph.json").read_text())]
        chosen = [{"path": path} for path in assets if path[0] != "files" and path[0] not in UPKEEP]
        started = place.ask(
            "mutation($wanted: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $wanted) {"
            " __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
            wanted={"assetSelection": chosen, "partitionNames": ["m2", "m3"], "fromFailure": False},
        )
        assert started["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", started
        assert [run["status"] for name in ("m2", "m3") for run in ended(place, name, 2)] == ["SUCCESS"] * 4
    written = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert len(written) > 50
    assert [path for path in written if SECRET_KEY.encode() in path.read_bytes()] == []


def test_a_killed_worker_is_tried_again_and_goes_on(workloads, tmp_path):
    """The second run resumes what the first had finished, and gives the same bytes."""
    specs = tmp_path / "specs"
    with deployment(tmp_path / "home", CRM_MERGE_SPECS=str(specs / "in")) as place:
        drop(workloads / "large", specs, "large")

        def worker():
            for run in place.merges():
                events = [event.get("message") or "" for event in place.events(run["runId"])]
                if any("int_matches success" in event for event in events):
                    return next(
                        int(found[1]) for event in events if (found := re.search(r"pid: (\d+)", event))
                    )

        os.kill(wait("a worker is at work", worker, 200, place.home / "deployment.log"), signal.SIGKILL)
        runs = ended(place, "large", 2)
        assert [run["status"] for run in runs] == ["FAILURE", "SUCCESS"]
        resumed = [event.get("message") or "" for event in place.events(runs[1]["runId"])]
        assert any(re.search(r"resumed: \d+ finished steps are kept", message) for message in resumed)
    subprocess.run(
        [PROJECT / ".venv/bin/crm-merge", "run", workloads / "large/spec.yml", "--dir", tmp_path / "m"],
        check=True,
        capture_output=True,
    )
    for file in (tmp_path / "m/out").glob("*.csv"):
        assert (specs / "in/large.out" / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_merge_over_its_time_limit_is_failed(workloads, tmp_path):
    """It is ended, tried once more from what was finished, and what it had finished is kept; the history says so."""
    specs = tmp_path / "specs"
    with deployment(tmp_path / "home", CRM_MERGE_SPECS=str(specs / "in")) as place:
        drop(workloads / "large", specs, "large", "time_limit_minutes: 0.1")
        runs = ended(place, "large", 2)
        assert runs[0]["status"] in ("FAILURE", "CANCELED")
        second = [event.get("message") or "" for event in place.events(runs[1]["runId"])]
        assert any(re.search(r"resumed: \d+ finished steps are kept", message) for message in second) or any(
            "maximum runtime" in message for message in second
        )
        wait(
            "the history has it",
            lambda: [e for e in history.rows(place.home, "large") if e.outcome == "interrupted"],
            60,
        )
        # somebody ends a run by hand, which is recorded as well
        (specs / "in/large.yml").write_text((specs / "in/large.yml").read_text().replace("0.1", "30"))
        started = wait(
            "it runs once more",
            lambda: [run for run in place.merges()[2:] if run["status"] == "STARTED"],
            120,
        )
        place.ask(
            "mutation($id: String!) { terminateRun(runId: $id) { __typename ... on PythonError { message } } }",
            id=started[0]["runId"],
        )
        wait(
            "the history has that, too",
            lambda: [e for e in history.rows(place.home, "large") if e.run_id == started[0]["runId"]],
            120,
        )
        assert any(
            "maximum runtime" in (event.get("message") or "") for event in place.events(runs[0]["runId"])
        )


def test_s3_that_is_down_is_waited_for_and_a_bad_spec_is_not_tried_again(workloads, tmp_path):
    buckets = tmp_path / "buckets"
    (buckets / "crm").mkdir(parents=True)
    with s3_server(buckets) as url:
        drop(workloads / "m1", buckets / "crm", "m1")
        drop(workloads / "m2", buckets / "crm", "m2", "strategies: {title: longets}")
    # the server is gone before the deployment starts, and comes back on the same port
    with deployment(tmp_path / "home", CRM_MERGE_SPECS="s3://crm/in", **s3(url)) as place:
        wait("it has looked", lambda: "can't be looked at now" in str(place.ask(
            "{ sensorsOrError(repositorySelector: {repositoryName: \"__repository__\", repositoryLocationName: \"orchestration.definitions\"})"
            " { ... on Sensors { results { name sensorState { ticks(limit: 5) { skipReason } } } } } }")), 120, place.home / "deployment.log")  # fmt: skip
        assert place.merges() == []
        with s3_server(buckets, port=int(url.rpartition(":")[2])):
            assert [run["status"] for run in ended(place, "m1")] == ["SUCCESS"]
            bad = ended(place, "m2")
            assert [run["status"] for run in bad] == ["FAILURE"]
            [entry] = history.rows(place.home, "m2")
            assert entry.outcome == "failed" and "did you mean 'longest'" in entry.problem
            assert "m2.yml, line " in entry.problem


def processes(home) -> list[str]:
    """Returns the commands of all processes whose environment names this home."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and int(place.name) != os.getpid():
            with suppress(OSError):
                if f"CRM_MERGE_HOME={home}\0".encode() in (place / "environ").read_bytes():
                    found.append((place / "cmdline").read_bytes().decode().replace("\0", " "))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc what is left")
def test_a_deployment_ends_with_all_that_it_started_and_there_is_one_of_a_home(workloads, tmp_path):
    """Started by make in the background of a shell, where interrupts are ignored; ended by SIGTERM, while a merge runs."""
    home, specs = tmp_path / "home", tmp_path / "specs"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = ["make", "-s", "dagster", f"HOME_DIR={home}", f"SPECS={specs}", f"PORT={port}"]
        refused = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300)
        assert refused.returncode and f"127.0.0.1:{port}" in refused.stderr and "--port" in refused.stderr
        assert "Traceback" not in refused.stderr and processes(home) == []

    def signals():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(
            signal.SIGTERM, signal.SIG_DFL
        )  # whoever runs the tests may ignore it, and make does then

    log = tmp_path / "log"
    with log.open("w") as written:
        started = subprocess.Popen(
            command, cwd=PROJECT, stdout=written, stderr=written, start_new_session=True,
            preexec_fn=signals,
        )  # fmt: skip
    place = Deployment(home, f"http://127.0.0.1:{port}")
    try:
        wait("specs are looked for", lambda: specs.exists(), 300, log)
        (tmp_path / "in").mkdir()
        drop(workloads / "large", tmp_path, "large")
        for dropped in (tmp_path / "in").iterdir():
            dropped.rename(specs / dropped.name)

        def merging():
            try:
                return place.merges() and (home / "merges/large/merge.duckdb").exists()
            except OSError:
                return False

        wait("it merges", merging, 300, log)
        command[-1] = f"PORT={port + 1}"
        second = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300)
        assert second.returncode and "is the home of a deployment that runs already" in second.stderr
        started.terminate()
        started.wait(240)
        assert processes(home) == []
    finally:
        if started.poll() is None:
            started.terminate()
            started.wait(240)
    with deployment(home, CRM_MERGE_SPECS=str(specs)) as again:
        wait("the merge goes on or can be started", lambda: again.merges(), 300, log)
