"""Places of files, local and on S3: what is put there is whole or not there, and nothing leads out of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from crm_merge.reading import FileProblem, places, s3, storage
from tests.conftest import PROJECT
from tests.servers import ACCESS_KEY, SECRET_KEY, Quiet, https_server, s3_server


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """No setting of the machine counts."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "CRM_MERGE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """An empty bucket as a folder of rclone's."""
    folder = tmp_path / "s3" / "bucket"
    folder.mkdir(parents=True)
    with s3_server(folder.parent) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        yield folder


@pytest.fixture(params=["local", "s3"])
def where(request, tmp_path):
    """(address, folder in which its files lie) of a place."""
    if request.param == "local":
        return str(tmp_path / "place"), tmp_path / "place"
    return "s3://bucket/a/b", request.getfixturevalue("bucket") / "a" / "b"


def client():
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0})
    return boto3.session.Session().client("s3", config=config)


def write(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def there(folder: Path) -> dict[str, bytes]:
    """The files below a folder, unfinished ones included, but for rclone's own, which it shows to nobody."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".rclone_temp"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def problem(call, *args) -> FileProblem:
    """The problem that a call ends with. Nothing secret is in it, nor in a traceback of it."""
    with pytest.raises(FileProblem) as caught:
        call(*args)
    text = "".join(traceback.format_exception(caught.value))
    assert SECRET_KEY not in text and "Signature=" not in text
    assert "\n" not in str(caught.value)
    return caught.value


def test_files_are_put_listed_read_and_removed(where, tmp_path):
    url, folder = where
    place = storage.at(url)
    assert list(place.list()) == [] and place.entry("a.csv") is None
    one, two, empty = (write(tmp_path / "in" / n, d) for n, d in (("1", b"one"), ("2", b"two!"), ("3", b"")))
    sent = []
    place.put(
        [(one, "a.CSV"), (two, "k=a b%2F/é+.parquet"), (empty, "m.json")],
        "m.json",
        sent.append,
        {"a.CSV": "5ha"},
    )
    assert there(folder) == {"a.CSV": b"one", "k=a b%2F/é+.parquet": b"two!", "m.json": b""}
    assert sum(sent) == 7
    assert sorted(e.name for e in place.list()) == ["a.CSV", "k=a b%2F/é+.parquet", "m.json"]
    assert [e.name for e in place.list((".csv", ".json"))] == ["a.CSV", "m.json"]
    (entry,) = place.list((".csv",))
    assert entry.size == 3 and entry.version and abs(entry.modified.timestamp() - time.time()) < 60
    head = place.entry("a.CSV")
    assert (head.size, head.version) == (3, entry.version)
    assert head.sha256 == ("5ha" if place.remote else "")
    assert place.read("a.CSV", 3) == b"one"
    said = problem(place.read, "a.CSV", 2)
    assert "larger than the 2 bytes" in str(said) and not said.transient
    assert isinstance(problem(place.read, "none", 2), s3.NotThere)
    write(one, b"ONE")
    place.put([(one, "a.CSV")])
    assert place.read("a.CSV", 9) == b"ONE" and place.entry("a.CSV").version != entry.version
    place.remove(["a.CSV", "m.json", "none", "a.CSV/none"])
    assert list(there(folder)) == ["k=a b%2F/é+.parquet"]


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../x", "a//b", "./x", "a/", "a\nb", "x" * 1100]
)
def test_names_do_not_lead_elsewhere(tmp_path, name):
    file = write(tmp_path / "f")
    for place in (
        storage.at(str(tmp_path / "place")),
        storage.at("s3://bucket/p"),
    ):  # before anything is asked
        for call, argument in (
            (place.entry, name),
            (place.put, [(file, name)]),
            (place.remove, [name]),
            (lambda wanted, place=place: place.read(wanted, 9), name),
        ):
            assert not problem(call, argument).transient


def test_links_do_not_lead_out_of_a_folder(tmp_path):
    secret = write(tmp_path / "secret.csv", b"s")
    inside = write(tmp_path / "place" / "real.csv", b"r")
    (inside.parent / "out.csv").symlink_to(secret)
    (inside.parent / "in.csv").symlink_to(inside)
    (inside.parent / "up").symlink_to(tmp_path)
    (inside.parent / "broken.csv").symlink_to(tmp_path / "nothing")
    os.mkfifo(inside.parent / "pipe.csv")
    place = storage.at(str(inside.parent))
    assert [entry.name for entry in place.list()] == ["in.csv", "real.csv"]
    assert place.read("in.csv", 9) == b"r"
    for name in ("out.csv", "up/secret.csv", "broken.csv", "pipe.csv"):
        assert place.entry(name) is None
        problem(place.read, name, 9)
    assert "leads out" in str(problem(place.put, [(inside, "up/x.csv")]))
    assert "leads out" in str(problem(place.remove, ["up/secret.csv"]))
    assert secret.exists() and not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "the address of the place is empty"),
        ("gs://b/x?token=t0p", "gs:// is not supported here; accepted: a local folder, s3://bucket/prefix"),
        ("https://me:t0p@host/x", "https:// is not supported"),
        ("s3://", "must name a bucket"),
        ("s3:/b/x", "must name a bucket"),
        ("s3://key:t0p@bucket/x", "must not hold a user name or password"),
        ("s3://bucket/a/../b", "'.' or '..'"),
        ("s3://bucket/a/%2e%2e/b", "'.' or '..'"),
        ("s3://bucket/x?X-Amz-Signature=t0p", "takes no query"),
        ("s3://bucket/a/*", "one prefix"),
        ("s3://bucket/a//b", "without a name"),
        ("s3://bucket/a\nb", "control character"),
        ("a\0b", "control character"),
        ("s3://bucket/" + "x" * 600, "512 bytes"),
    ],
)
def test_addresses_are_checked(url, said):
    found = problem(storage.at, url)
    assert said in str(found) and "t0p" not in str(found) and not found.transient


def test_a_place_may_be_a_whole_bucket_and_listings_are_lazy(bucket):
    for k in range(1203):
        (bucket / f"{k:04}.csv").touch()
    write(bucket / ".publishing-x" / "9.csv")
    found = storage.at("S3://bucket").list()
    assert next(found).name == "0000.csv"
    assert len(list(found)) == 1202
    assert [e.name for e in storage.at("s3://bucket/d/").list()] == []


def test_a_reader_sees_the_old_objects_until_all_is_uploaded(bucket, tmp_path):
    """Whatever is sent, in parts or whole, goes to other keys first. (That a copy by the server replaces an object at once is
    S3's promise; rclone overwrites a file in place, so what a reader gets meanwhile says nothing.)
    """
    place, sizes, sent, seen = storage.at("s3://bucket/p"), {"m.json": 10, "big.csv": 40_000_000}, [], []
    reader, uploaded = client(), threading.Event()

    def poll() -> None:
        while True:
            data = {
                name: reader.get_object(Bucket="bucket", Key=f"p/{name}")["Body"].read() for name in sizes
            }
            if uploaded.is_set():  # it may have begun to copy while this was read
                return
            seen.append({name: (len(read), read.count(b"1")) for name, read in data.items()})

    def put(version: bytes, on_bytes=lambda size: None) -> None:
        place.put(
            [(write(tmp_path / name, version * size), name) for name, size in sizes.items()],
            "m.json",
            on_bytes,
        )

    def told(size: int) -> None:
        sent.append(size)
        if sum(sent) > 39_000_000:
            uploaded.set()
        elif len(seen) < 3:
            time.sleep(0.05)

    put(b"1")
    polling = threading.Thread(target=poll)
    polling.start()
    put(b"2", told)
    polling.join()
    assert len(seen) >= 2 and all(
        found == {name: (size, size) for name, size in sizes.items()} for found in seen
    )
    assert {name: set(data) for name, data in there(bucket).items()} == {"p/big.csv": {50}, "p/m.json": {50}}


def test_a_server_that_dies_midway_leaves_the_old_objects_and_the_next_put_repairs(
    bucket, tmp_path, monkeypatch
):
    monkeypatch.setattr(s3, "RETRIES", 0)
    old, big = write(tmp_path / "old", b"old"), write(tmp_path / "big", b"n" * 60_000_000)
    files = [(big, "x.csv"), (old, "m.json")]
    with s3_server(bucket.parent) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        storage.at("s3://bucket/p", "me").put([(old, "x.csv"), (old, "m.json")], "m.json")
        sent = []

        def kill(size: int) -> None:
            sent.append(size)
            if sum(sent) > 20_000_000:
                endpoint.process.kill()

        found = problem(storage.at("s3://bucket/p", "me").put, files, "m.json", kill)
    assert found.transient and "can't be reached; what was there before is untouched" in str(found)
    published = {name: data for name, data in there(bucket).items() if ".publishing-" not in name}
    assert published == {"p/x.csv": b"old", "p/m.json": b"old"}
    # what a put leaves that is itself killed, whole objects and parts of one, and what is of somebody else
    killed = storage.at("s3://bucket/p", "me")._staging
    write(bucket / "p" / killed / "x.csv", b"mine")
    theirs = write(bucket / "p/.publishing-0123-4/x.csv", b"of somebody else")
    aged = write(bucket / "p/.publishing-0123-5/x.csv", b"of somebody else, two days old")
    os.utime(aged, (time.time() - 2 * 86400,) * 2)
    with s3_server(bucket.parent) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        assert client().create_multipart_upload(Bucket="bucket", Key=f"p/{killed}y.csv")["UploadId"]
        storage.at("s3://bucket/p", "me").put(files, "m.json")
        assert not client().list_multipart_uploads(Bucket="bucket").get("Uploads")
    after = there(bucket)
    assert after.pop(str(theirs.relative_to(bucket))) == b"of somebody else"
    assert {name: len(data) for name, data in after.items()} == {"p/x.csv": 60_000_000, "p/m.json": 3}


def test_a_local_put_that_fails_leaves_the_old_files(tmp_path):
    folder, file = tmp_path / "place", write(tmp_path / "f", b"new")
    storage.at(str(folder)).put([(write(tmp_path / "old", b"old"), "x.csv")])
    left = write(folder / storage.at(str(folder), "me")._staging / "x.csv", b"of a killed one").parent
    found = problem(storage.at(str(folder), "me").put, [(file, "x.csv"), (tmp_path / "none", "m.json")])
    assert (
        f"'{tmp_path}/none' can't be read: No such file or directory; what was there before is untouched"
        == str(found)
    )
    assert there(folder) == {"x.csv": b"old"} and not left.exists()


@pytest.mark.parametrize("changed", [b"other", b"longer than it was before", b""])
def test_a_file_that_changes_while_it_is_put_is_refused(where, tmp_path, changed):
    url, folder = where
    file = write(tmp_path / "f", b"first")
    found = problem(storage.at(url).put, [(file, "x.csv")], None, lambda size: write(file, changed))
    assert "changed while it was read" in str(found) and there(folder) == {}


def test_wrong_keys_and_buckets_are_no_matter_of_time(bucket, tmp_path, monkeypatch):
    file = write(tmp_path / "f")

    def all_ways(url: str) -> set[str]:
        place = storage.at(url)
        ways = (lambda: list(place.list()), lambda: place.read("x", 9), lambda: place.put([(file, "x")]), lambda: place.remove(["x"]), place.check)  # fmt: skip
        found = [problem(way) for way in ways]
        assert not any(one.transient for one in found)
        return {str(one) for one in found}

    assert all("there is no bucket 'buckets'" in said for said in all_ways("s3://buckets/p"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY + "x")
    assert all("not accepted (SignatureDoesNotMatch)" in said for said in all_ways("s3://bucket/p"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert all("AWS_ACCESS_KEY_ID and" in said for said in all_ways("s3://bucket/p"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://me:{SECRET_KEY}@nonsense:x")
    assert all("AWS" in said or "can't be reached" in said for said in all_ways("s3://bucket/p"))
    assert there(bucket) == {}


def answering(monkeypatch, server) -> None:
    """Points boto3 to a server that does what rclone does not do on demand."""
    monkeypatch.setattr(s3, "RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.authority))


@pytest.mark.parametrize(
    ("status", "code", "transient", "said"),
    [
        (503, "SlowDown", True, "can't be read: the S3 server answers SlowDown"),
        (500, "InternalError", True, "answers InternalError"),
        (502, "", True, "answers 502"),
        (429, "TooMany", True, "answers TooMany"),
        (400, "RequestTimeout", True, "answers RequestTimeout"),
        (403, "AccessDenied", False, "access to the bucket 'bucket' is denied"),
        (403, "ExpiredToken", False, "have expired"),
        (400, "Odd?Signature=x", False, "answers an error"),
        (404, "NoSuchBucket", False, "there is no bucket"),
    ],
)
def test_what_passes_by_itself_is_told_from_what_stays(monkeypatch, tmp_path, status, code, transient, said):
    class Handler(Quiet):
        def do_GET(self):
            body = (
                f"<Error><Code>{code}</Code><Message>Signature={SECRET_KEY}</Message></Error>" if code else ""
            )
            self.answer(status, body.encode())

    with https_server(Handler) as server:
        answering(monkeypatch, server)
        found = problem(storage.at("s3://bucket/p").check)
        assert said in str(found) and found.transient == transient
        assert (
            problem(lambda: places.find("s3://bucket/x.csv", Path(), tmp_path / "fetched")).transient
            == transient
        )


def test_endpoints_that_do_not_answer_or_break_off(monkeypatch, tmp_path):
    class Handler(Quiet):
        def do_GET(self):
            if "slow" in self.path:
                time.sleep(1.5)
            self.answer(200, b"123", {"Content-Length": "5", "ETag": '"e"'})
            self.close_connection = True

    monkeypatch.setattr(s3, "READ", 0.5)
    with https_server(Handler) as server:
        answering(monkeypatch, server)
        place = storage.at("s3://bucket/p")
        assert "broke off midway" in str(found := problem(place.read, "x", 9)) and found.transient
        assert "can't be reached" in str(found := problem(place.read, "slow", 9)) and found.transient
        monkeypatch.setenv("AWS_CA_BUNDLE", str(write(tmp_path / "none.pem", b"")))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)  # which is gone
    assert problem(storage.at("s3://bucket/p").read, "x", 9).transient


def test_a_put_can_be_stopped_and_takes_no_longer_than_it_may(where, tmp_path, monkeypatch):
    url, folder = where
    files = [(write(tmp_path / "big", b"n" * 50_000_000), "x.csv")]
    place = storage.at(url)
    found = problem(place.put, files, None, lambda size: place.stop())
    assert "interrupted; what was there before is untouched" in str(found)
    assert there(folder) == {}
    if place.remote:
        monkeypatch.setattr(storage, "LONGEST", -1)
        found = problem(storage.at(url).put, files)
        assert "took longer than" in str(found) and found.transient and there(folder) == {}


@pytest.mark.parametrize("fails", ["two.csv", "nothing"])
def test_final_keys_are_only_copied_to_the_last_one_last(monkeypatch, tmp_path, fails):
    """A server that takes everything, but may refuse one copy: then the manifest stays the old one, and the sentence says so."""

    class Handler(Quiet):
        def do_GET(self):
            self.answer(200, b"<ListBucketResult/>")

        def do_HEAD(self):
            self.answer(200, b"", {"Content-Length": "3", "ETag": '"e"'})

        def do_PUT(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("x-amz-copy-source") and self.path.endswith(fails):
                return self.answer(503, b"<Error><Code>SlowDown</Code></Error>")
            return self.answer(200, b"<CopyObjectResult><ETag>e</ETag></CopyObjectResult>", {"ETag": '"e"'})

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.answer(200, b"<DeleteResult/>")

    files = [(write(tmp_path / name), name) for name in ("m.json", "one.csv", "two.csv")]
    with https_server(Handler) as server:
        answering(monkeypatch, server)
        monkeypatch.setattr(s3, "RETRIES", 2)  # this server hangs up now and then
        put = storage.at("s3://bucket/p").put
        if fails == "nothing":
            put(files, "m.json")
        else:
            found = problem(put, files, "m.json")
            said = (
                "SlowDown; 1 of 3 files there are the new ones already, but m.json is the old one: run again"
            )
            assert said in str(found) and found.transient
        asked = [
            (path, any(name.lower() == "x-amz-copy-source" for name in headers))
            for path, headers in server.requests
            if any(
                name.lower() in ("content-md5", "content-length") or name.lower() == "x-amz-copy-source"
                for name in headers
            )
        ]
    copied = [path.removeprefix("/bucket/p/") for path, copies in asked if copies]
    copied = list(dict.fromkeys(copied))  # without those that were tried again
    assert sorted(copied[:2]) == ["one.csv", "two.csv"]
    assert copied[2:] == (["m.json"] if fails == "nothing" else [])
    assert all("/.publishing-" in path or path.endswith("?delete") for path, copies in asked if not copies), (
        asked
    )


MEMORY = """
import resource, sys
from pathlib import Path
from crm_merge.reading import storage
place, big = storage.at("s3://bucket/p"), Path(sys.argv[1])
place.put([(big.with_name("small"), "small")])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
place.put([(big, f"{n}.csv") for n in range(3)])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_of_a_put_does_not_grow_with_the_files(bucket, tmp_path):
    big = write(tmp_path / "big", b"")
    write(tmp_path / "small")
    with big.open("wb") as file:
        file.truncate(200_000_000)
    command = [sys.executable, "-c", MEMORY, str(big)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 60, f"{done.stdout} MB more"
    assert (bucket / "p/2.csv").stat().st_size == 200_000_000


def test_what_is_too_large_for_one_copy_is_copied_in_parts(monkeypatch, tmp_path):
    """By a server that says what it was asked for: rclone takes such copies and answers as no other does."""
    parts, created = [], []

    class Handler(Quiet):
        def do_GET(self):
            self.answer(200, b"<ListBucketResult/>")

        def do_HEAD(self):
            self.answer(200, b"", {"Content-Length": str(3 << 30), "ETag": '"e"', "x-amz-meta-sha256": "5ha"})

        def do_PUT(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if "partNumber=" in self.path and self.headers.get("x-amz-copy-source"):
                parts.append((self.path.split("?")[0], self.headers["x-amz-copy-source-range"]))
                return self.answer(200, b"<CopyPartResult><ETag>e</ETag></CopyPartResult>")
            return self.answer(200, b"", {"ETag": '"e"'})

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.endswith("?uploads"):
                created.append((self.path, self.headers.get("x-amz-meta-sha256")))
                return self.answer(200, b"<R><UploadId>1</UploadId></R>")
            return self.answer(200, b"<R><ETag>e</ETag></R>")

    monkeypatch.setattr(storage, "COPIED_WHOLE", 2 << 30)
    with https_server(Handler) as server:
        answering(monkeypatch, server)
        storage.at("s3://bucket/p").put([(write(tmp_path / "big"), "x.csv")], digests={"x.csv": "5ha"})
    assert created == [("/bucket/p/x.csv?uploads", "5ha")]
    ranges = [f"bytes={n << 30}-{(n + 1 << 30) - 1}" for n in range(3)]
    assert sorted(parts) == [("/bucket/p/x.csv", range_) for range_ in ranges]


def test_a_server_that_can_not_copy_in_parts_is_told(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "COPIED_WHOLE", 1000)
    found = problem(storage.at("s3://bucket/p").put, [(write(tmp_path / "big", b"x" * 2000), "x.csv")])
    assert (
        "'s3://bucket/p/x.csv': the S3 server does not copy a file of this size" in str(found)
        and not found.transient
    )


def test_a_file_is_copied_here_whole_or_not_at_all(where, tmp_path):
    url, folder = where
    place = storage.at(url)
    data = os.urandom(3 << 20) * 12  # in parts on S3
    write(folder / "k=1/a b.parquet", data)
    write(folder / "empty.parquet", b"")
    place.get("k=1/a b.parquet", tmp_path / "here/x/a.parquet")
    place.get("empty.parquet", tmp_path / "here/empty.parquet")
    assert there(tmp_path / "here") == {"x/a.parquet": data, "empty.parquet": b""}
    problem(place.get, "none.parquet", tmp_path / "here/none.parquet")
    problem(place.get, "../a", tmp_path / "here/none.parquet")
    write(tmp_path / "file")
    problem(place.get, "empty.parquet", tmp_path / "file/none.parquet")
    assert set(there(tmp_path / "here")) == {"x/a.parquet", "empty.parquet"}
