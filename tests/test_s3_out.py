"""Results that go to S3, and files that are uploaded there, as a user meets them: real processes, a real server."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest
import yaml

from crm_merge.engine import dbt_run, forks
from tests.conftest import PROJECT
from tests.servers import ACCESS_KEY, SECRET_KEY, s3_server

SPEC = """original: {path: crm.csv}
enriched:
  - {name: apollo, path: apollo.csv}
match_on: [email]
export: {to: "s3://bucket/out/", formats: [csv, parquet], partition_by: [city]}
"""


@pytest.fixture
def settings(tmp_path):
    """The environment of a process whose only settings for AWS are those of the tests' server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CRM_MERGE_"))}
    kept[forks.SOCKET] = os.environ[forks.SOCKET]
    return kept | {
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "COLUMNS": "400",
    }


@pytest.fixture
def bucket(tmp_path, settings):
    """An empty bucket as a folder of rclone's."""
    folder = tmp_path / "s3" / "bucket"
    folder.mkdir(parents=True)
    with s3_server(folder.parent) as endpoint:
        settings["AWS_ENDPOINT_URL_S3"] = endpoint
        yield folder


@pytest.fixture
def crm_merge(settings, tmp_path):
    """Runs the command line; no secret is in what it says, nor in any file that it leaves on this side."""

    def of(*arguments, **others: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "crm_merge.cli", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=PROJECT, env=settings | others, timeout=240
        )
        secrets = (SECRET_KEY, "Signature=")
        assert not any(secret in done.stdout + done.stderr for secret in secrets)
        assert "Traceback" not in done.stdout + done.stderr
        for file in tmp_path.rglob("*"):
            if file.is_file() and file.relative_to(tmp_path).parts[0] not in ("s3", "in"):
                data = file.read_bytes()
                assert not any(secret.encode() in data for secret in secrets), file
        return done.returncode, done.stdout, done.stderr

    return of


@pytest.fixture
def spec(tmp_path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "crm.csv").write_text("Id,Email,City\n1,a@x.com,Köln\n2,b@x.com,a b/c\n3,,\n")
    (folder / "apollo.csv").write_text("email,title\nB@X.com,CTO\nz@x.com,?\n")
    (folder / "people.yml").write_text(SPEC)
    return folder / "people.yml"


def there(folder: Path) -> dict[str, bytes]:
    """The files below a folder, unfinished ones included, but for rclone's own, which it shows to nobody."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".rclone_temp"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_a_merge_is_published_to_s3(crm_merge, bucket, spec, tmp_path):
    spec.write_text(SPEC.replace("[city]", "[City]"))
    code, out, err = crm_merge("run", spec, "--dir", tmp_path / "m")
    assert code == 0, err
    first = there(bucket)
    reports = [
        "checks.csv",
        "merge_changes.csv",
        "review_queue.csv",
        "unmatched_enriched.csv",
        "vendor_scorecard.csv",
    ]
    parts = [name for name in first if name.startswith("out/merged_result.parquet/City=")]
    assert len(parts) == 3
    assert sorted(set(first) - set(parts)) == sorted(
        f"out/{name}" for name in ["manifest.json", "merged_result.csv", *reports]
    )
    manifest = json.loads(first["out/manifest.json"])
    for file in manifest["files"]:
        for part in file.get("files", [file]):
            name = f"out/{file['name']}/{part['name']}" if "files" in file else f"out/{file['name']}"
            assert part["sha256"] == hashlib.sha256(first[name]).hexdigest()
    rows = duckdb.sql(
        f"select Id, City from read_parquet('{bucket}/out/**/*.parquet', hive_partitioning = true) order by Id"
    ).fetchall()
    assert rows == [("1", "Köln"), ("2", "a b/c"), ("3", None)]
    assert [row["City"] for row in csv.DictReader(io.StringIO(first["out/merged_result.csv"].decode()))] == [
        "Köln",
        "a b/c",
        "",
    ]
    assert (
        "Published  s3://bucket/out/merged_result.csv (" in out
        and "Published  s3://bucket/out/merged_result.parquet (" in out
    )
    assert not (tmp_path / "m" / "out").exists() and not list(
        (tmp_path / "m/.crm-merge/publishing").iterdir()
    )

    # another city, and one format: what is no longer of the result goes, what is not the merge's stays
    (bucket / "out" / "notes.txt").write_text("mine")
    (spec.parent / "crm.csv").write_text("Id,Email,City\n1,a@x.com,Bonn\n")
    spec.write_text(SPEC.replace("[city]", "[City]").replace("[csv, parquet]", "[parquet]"))
    code, _, err = crm_merge("run", spec, "--dir", tmp_path / "m")
    assert code == 0, err
    assert sorted(there(bucket)) == sorted(
        f"out/{name}"
        for name in ["manifest.json", "notes.txt", *reports, "merged_result.parquet/City=Bonn/data_0.parquet"]
    )


def test_a_target_that_can_not_be_used_ends_the_run_before_any_work(crm_merge, bucket, spec, tmp_path):
    for to, said in (
        ("s3://buckets/out", "export.to: 's3://buckets/out/': there is no bucket 'buckets'"),
        ("s3://me:t0p@bucket/out", "export.to: a s3:// path must not hold a user name or password"),
        ("s3://bucket/out?X-Amz-Signature=t0p", "export.to: an s3:// path takes no query"),
    ):
        spec.write_text(SPEC.replace("s3://bucket/out/", to))
        code, out, err = crm_merge("run", spec, "--dir", tmp_path / "m")
        assert code == 1 and f"{spec}, line 5: {said}" in err and "nothing was published" in err
        assert "t0p" not in out + err and not (tmp_path / "m" / "merge.duckdb").exists()
    spec.write_text(SPEC)
    code, _, err = crm_merge("run", spec, "--dir", tmp_path / "m", AWS_SECRET_ACCESS_KEY=SECRET_KEY + "x")
    assert (
        code == 1
        and "the access key, its secret or its session token is not accepted (SignatureDoesNotMatch)" in err
    )
    assert there(bucket) == {} and not (tmp_path / "m" / "merge.duckdb").exists()


def test_a_publication_that_fails_leaves_the_old_one_and_is_all_that_resuming_does(
    crm_merge, bucket, spec, tmp_path, settings
):
    """The server is killed while publishing, which it tells by the first object that it is sent."""
    spec.write_text(SPEC.replace(", partition_by: [city]", ""))
    assert crm_merge("run", spec, "--dir", tmp_path / "m")[0] == 0
    before = there(bucket)
    (spec.parent / "apollo.csv").write_text("email,title\nB@X.com,CEO\n")
    with s3_server(bucket.parent) as endpoint:
        done = threading.Event()

        def kill() -> None:
            while not done.is_set():
                if any(bucket.glob("out/.publishing-*/*")):
                    endpoint.process.kill()
                    return
                time.sleep(0.001)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            code, _, err = crm_merge("run", spec, "--dir", tmp_path / "m", AWS_ENDPOINT_URL_S3=endpoint)
        finally:
            done.set()
            killer.join()
    assert code == 1
    assert "publishing failed: 's3://bucket/out/" in err
    assert (
        f"the S3 endpoint {endpoint.removeprefix('http://')} can't be reached; what was there before is untouched"
        in err
    )
    assert "run again with --resume" in err
    assert {name: data for name, data in there(bucket).items() if ".publishing-" not in name} == before

    code, out, err = crm_merge("run", spec, "--dir", tmp_path / "m", "--resume")
    assert code == 0, err
    finished = re.search(r"Resumed +(\d+) finished steps are kept", out)
    assert finished and int(finished[1]) > 20, out
    with duckdb.connect(str(tmp_path / "m" / "merge.duckdb"), read_only=True) as connection:
        [[steps]] = connection.execute(
            "select count(*) from _merge_journal where entry like 'finished %'"
        ).fetchall()
    assert int(finished[1]) == steps  # so no model was built
    after = there(bucket)
    assert set(after) == set(before) and b"CEO" in after["out/merged_result.csv"]


def test_a_file_on_a_server_that_can_not_be_reached_is_transient(
    crm_merge, bucket, spec, tmp_path, settings, monkeypatch
):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    wanted = {"original": {"path": "s3://bucket/crm.csv"}, "enriched": [{"name": "a", "path": "s3://bucket/a.csv"}], "match_on": ["email"]}  # fmt: skip

    def outcome(**others: str) -> dbt_run.Outcome:
        for name, value in others.items():
            monkeypatch.setenv(name, value)
        return dbt_run.run(["build"], tmp_path / "m", wanted)

    (tmp_path / "m").mkdir()
    found = outcome()
    assert (
        not found.transient and "original.path: there is no file 's3://bucket/crm.csv'" in found.problems[0]
    )
    with s3_server(bucket.parent) as endpoint:
        pass
    found = outcome(AWS_ENDPOINT_URL_S3=endpoint)  # which is gone
    assert found.transient and len(found.problems) == 2
    assert "can't be reached" in found.problems[0]
    wanted["original"]["path"] = str(spec.parent / "none.csv")
    assert not outcome().transient  # since waiting does not bring that one
    wanted["original"]["path"] = str(spec.parent / "crm.csv")
    assert outcome().transient
    wanted["enriched"] = [{"name": "a", "path": str(spec.parent / "apollo.csv")}]
    wanted["assertions"] = "s3://bucket/decisions.csv"
    assert outcome().transient


VENDORS = """original: {path: ../crm.csv}  # a comment
enriched:
  - {name: Apollo EU, path: apollo/data.csv}
  - {name: apollo-eu, path: clearbit/data.csv}
  - {name: zoom, path: zoom/}
  - {name: glob, path: "many/*/*.csv"}
match_on: [email]
assertions: decisions.csv
export: {formats: [csv]}
"""


@pytest.fixture
def vendors(tmp_path) -> Path:
    """A spec of files in all kinds of places, of which several have one name."""
    folder = tmp_path / "in" / "specs"
    for name, text in {
        "../crm.csv": "Id,Email,City\n1,a@x.com,\n2,b@x.com,\n",
        "apollo/data.csv": "email,title\na@x.com,CTO\n",
        "clearbit/data.csv": "email,title\nb@x.com,CEO\n",
        "zoom/a.csv": "email,city\na@x.com,Rom\n",
        "zoom/k=1/b é.csv": "email,city\nb@x.com,Bern\n",
        "many/1/data.csv": "email,phone\na@x.com,1\n",
        "many/2/data.csv": "email,phone\nb@x.com,2\n",
        "decisions.csv": "decision,a_source,a_row,b_source,b_row\ncannot_link,original,2,zoom/k=1/b é.csv,1\n",
        "people.yml": VENDORS,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "people.yml"


NAMES = {
    "people/original/crm.csv", "people/Apollo_EU/data.csv", "people/apollo-eu/data.csv", "people/zoom/a.csv", "people/zoom/k=1/b é.csv", "people/glob/1/data.csv",
    "people/glob/2/data.csv", "people/assertions-1/decisions.csv",
}  # fmt: skip


def states(out: str) -> dict[str, str]:
    """What the table says of each file, by its path from the spec's folder."""
    rows = [
        re.split(r" {2,}", line.strip()) for line in out.splitlines()[1:] if not line.startswith("Uploaded ")
    ]
    return {row[0]: row[-1].split(":")[0] for row in rows}


def test_files_are_uploaded_and_the_spec_works_from_there(crm_merge, bucket, vendors, tmp_path):
    code, out, err = crm_merge("upload", vendors, "s3://bucket/in")
    assert code == 0, out + err
    after = there(bucket)
    assert set(after) == {f"in/{name}" for name in [*NAMES, "people.yml"]}
    assert after["in/people/apollo-eu/data.csv"].endswith(b"CEO\n") and after[
        "in/people/Apollo_EU/data.csv"
    ].endswith(b"CTO\n")
    assert set(states(out).values()) == {"uploaded"} and len(states(out)) == 9
    written = yaml.safe_load(after["in/people.yml"])
    assert written["original"] == {"path": "people/original/crm.csv"}
    assert [file["path"] for file in written["enriched"]] == [
        "people/Apollo_EU/data.csv",
        "people/apollo-eu/data.csv",
        "people/zoom/",
        "people/glob/**/*",
    ]
    assert written["assertions"] == ["people/assertions-1/decisions.csv"] and written["export"] == {
        "formats": ["csv"]
    }

    # the same result from there, with paths relative to the place
    for file in [written["original"], *written["enriched"]]:
        file["path"] = "s3://bucket/in/" + file["path"]
    written["assertions"] = ["s3://bucket/in/" + path for path in written["assertions"]]
    remote = tmp_path / "in" / "remote.yml"
    remote.write_text(yaml.safe_dump(written))
    for spec, place in ((vendors, "here"), (remote, "there")):
        code, _, err = crm_merge("run", spec, "--dir", tmp_path / place)
        assert code == 0, err
    read = lambda place: (tmp_path / place / "out" / "merged_result.csv").read_text()  # noqa: E731
    assert read("here") == read("there") and "Rom" in read("here") and "Bern" not in read("here")

    # once more: nothing is sent, not even the spec
    times = {file: file.stat().st_mtime_ns for file in bucket.rglob("*") if file.is_file()}
    code, out, err = crm_merge("upload", vendors, "s3://bucket/in/", "--jobs", "1")
    assert code == 0 and set(states(out).values()) == {"was there"}, out + err
    assert {file: file.stat().st_mtime_ns for file in bucket.rglob("*") if file.is_file()} == times


def test_a_bad_file_stops_no_other_and_the_spec_waits_for_its_repair(crm_merge, bucket, vendors):
    folder = vendors.parent
    assert crm_merge("upload", vendors, "s3://bucket/in")[0] == 0
    (folder / "apollo" / "data.csv").write_text("email,title\na@x.com,CIO\n")  # is new
    (folder / "clearbit" / "data.csv").write_text("name,title\nAnn,CEO\n")  # has no key any more
    (folder / "zoom" / "k=1" / "b é.csv").write_text("email,email\nb@x.com,Bern\n")  # has a header twice
    (folder / "decisions.csv").unlink()
    code, out, err = crm_merge("upload", vendors, "s3://bucket/in")
    assert code == 1 and "not all is there, so the spec was not uploaded" in err
    said = states(out)
    assert {name for name, state in said.items() if state == "failed"} == {
        "clearbit/data.csv", "zoom/k=1/b é.csv", "decisions.csv", "people.yml"
    }  # fmt: skip
    assert (
        said["apollo/data.csv"] == "uploaded" and said["zoom/a.csv"] == "was there" == said["many/1/data.csv"]
    )
    for why in (
        "has no usable key column",
        "email",
        "there is no file",
        "it goes last, when all files are there",
    ):
        assert why in out
    after = there(bucket)
    assert "in/people.yml" not in after  # since what it names is not of one time
    assert after["in/people/Apollo_EU/data.csv"].endswith(b"CIO\n") and after[
        "in/people/apollo-eu/data.csv"
    ].endswith(b"CEO\n")

    (folder / "clearbit" / "data.csv").write_text("email,title\nb@x.com,CFO\n")
    (folder / "zoom" / "k=1" / "b é.csv").write_text("email,city\nb@x.com,Bern\n")
    (folder / "decisions.csv").write_text("decision,a_source,a_row,b_source,b_row\n")
    code, out, err = crm_merge("upload", vendors, "s3://bucket/in")
    assert code == 0, out + err
    said = states(out)
    assert {name for name, state in said.items() if state == "uploaded"} == {
        "clearbit/data.csv", "decisions.csv", "people.yml"
    }  # fmt: skip
    assert set(there(bucket)) == {f"in/{name}" for name in [*NAMES, "people.yml"]}


def test_what_is_in_the_way_of_an_upload_is_told(crm_merge, bucket, vendors):
    (bucket / "in" / "people" / "zoom").mkdir(parents=True)
    (bucket / "in" / "people" / "zoom" / "old.csv").write_text("email\n")
    code, out, _ = crm_merge("upload", vendors, "s3://bucket/in")
    assert code == 1
    assert "s3://bucket/in/people/zoom/old.csv would be read with it, and is no file here" in out
    assert {name for name, state in states(out).items() if state == "failed"} == {
        "zoom/a.csv",
        "zoom/k=1/b é.csv",
        "people.yml",
    }
    assert (bucket / "in/people/zoom/old.csv").exists() and not (bucket / "in/people.yml").exists()


@pytest.mark.parametrize(
    ("to", "others", "said"),
    [
        ("s3://buckets/in", {}, "there is no bucket 'buckets'"),
        ("s3://bucket/in", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "not accepted (SignatureDoesNotMatch)"),
        ("s3://bucket/in", {"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID"),
        ("/tmp/in", {}, "must be s3://bucket/prefix/"),
        ("gs://bucket/in", {}, "gs:// is not supported here"),
        ("s3://me:t0p@bucket/in", {}, "must not hold a user name or password"),
        ("s3://bucket/in/*", {}, "one prefix"),
    ],
)
def test_a_place_that_can_not_be_uploaded_to_is_told_at_once(crm_merge, bucket, vendors, to, others, said):
    code, out, err = crm_merge("upload", vendors, to, **others)
    assert code == 1 and said in err and out == "" and "t0p" not in err
    assert there(bucket) == {}


def test_a_wrong_spec_uploads_nothing(crm_merge, bucket, vendors):
    vendors.write_text(VENDORS + "strategies: {titel: first}\n")
    code, out, err = crm_merge("upload", vendors, "s3://bucket/in")
    assert (
        code == 1
        and f"{vendors}, line 10: strategies.titel: no file has a column 'titel'" in err
        and out == ""
    )
    vendors.write_text("original: [")
    assert "not valid YAML" in crm_merge("upload", vendors, "s3://bucket/in")[2]
    assert there(bucket) == {}


def test_a_server_that_dies_midway_is_told_and_the_next_upload_sends_the_rest(crm_merge, bucket, vendors):
    rows = "".join(f"p{n}@x.com,{'x' * 1000}\n" for n in range(120_000))  # 120 MB in 8 parts
    (vendors.parent / "apollo" / "data.csv").write_text("email,title\n" + rows)
    with s3_server(bucket.parent) as endpoint:
        done = threading.Event()

        def kill() -> None:
            while not done.is_set():
                # a small file is there, and the large one is not yet
                if (bucket / "in/people/original/crm.csv").exists() and not any(
                    bucket.glob("in/.publishing-*/people/original")
                ):
                    endpoint.process.kill()
                    return
                time.sleep(0.001)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            code, out, _ = crm_merge("upload", vendors, "s3://bucket/in", AWS_ENDPOINT_URL_S3=endpoint)
        finally:
            done.set()
            killer.join()
    assert code == 1
    assert (
        states(out)["apollo/data.csv"] == "failed"
        and "can't be reached; what was there before is untouched" in out
    )
    whole = {name for name in there(bucket) if ".publishing-" not in name}
    assert "in/people/original/crm.csv" in whole and not whole & {
        "in/people/Apollo_EU/data.csv",
        "in/people.yml",
    }
    code, out, err = crm_merge("upload", vendors, "s3://bucket/in")
    assert code == 0, out + err
    assert states(out)["apollo/data.csv"] == "uploaded"
    assert set(there(bucket)) == {f"in/{name}" for name in [*NAMES, "people.yml"]}
    assert (bucket / "in/people/Apollo_EU/data.csv").stat().st_size == (
        vendors.parent / "apollo/data.csv"
    ).stat().st_size


def test_remote_files_stay_where_they_are(crm_merge, bucket, spec):
    (bucket / "a.csv").write_text("email,title\nb@x.com,CTO\n")
    spec.write_text(
        SPEC.replace("path: apollo.csv", "path: s3://bucket/a.csv").replace(", partition_by: [city]", "")
    )
    code, out, err = crm_merge("upload", spec, "s3://bucket/in")
    assert code == 0, out + err
    assert re.search(r"^s3://bucket/a.csv +stays *$", out, re.MULTILINE)
    written = yaml.safe_load((bucket / "in/people.yml").read_text())
    assert (
        written["enriched"][0]["path"] == "s3://bucket/a.csv"
        and written["export"]["to"] == "s3://bucket/out/"
    )
    (bucket / "a.csv").unlink()
    code, out, _ = crm_merge("upload", spec, "s3://bucket/in2")
    assert code == 1 and "failed: there is no file 's3://bucket/a.csv'" in out
    assert (bucket / "in2/people/original/crm.csv").exists() and not (bucket / "in2/people.yml").exists()


@pytest.mark.parametrize("command", ["upload", "run"])
def test_an_interrupted_upload_ends_soon_and_is_gone_on_with(
    crm_merge, bucket, vendors, settings, tmp_path, command
):
    rows = "".join(f"p{n}@x.com,{'x' * 1000}\n" for n in range(1000))
    (vendors.parent / "apollo" / "data.csv").write_text("email,title\n" + rows)
    vendors.write_text(VENDORS.replace("{formats: [csv]}", '{formats: [csv], to: "s3://bucket/in"}'))
    arguments = (
        ["upload", vendors, "s3://bucket/in"]
        if command == "upload"
        else ["run", vendors, "--dir", tmp_path / "m"]
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "crm_merge.cli", *map(str, arguments)], cwd=PROJECT, env=settings, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )  # fmt: skip
    while process.poll() is None and not any(bucket.glob("in/.publishing-*/*")):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - started < 20
    assert process.returncode == 1 and "interrupted" in err and "Traceback" not in out + err, err
    last = "in/people.yml" if command == "upload" else "in/manifest.json"
    assert last not in there(bucket)
    code, out, err = crm_merge(*arguments, *(["--resume"] if command == "run" else []))
    assert code == 0, out + err
    assert last in there(bucket) and not any(bucket.glob("in/.publishing-*/*"))
