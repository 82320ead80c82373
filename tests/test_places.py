"""Where files are: what a path means, what it may not mean, and downloads that are whole or refused."""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import shutil
import socket
import time
import traceback
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_merge.reading import FileProblem, places, s3
from tests.servers import ACCESS_KEY, SECRET_KEY, Quiet, https_server, s3_server

TOKEN = "t0ken" + "-dont-show"  # in two pieces, so that a traceback's source lines don't count
DATA = b"a,b\n1,2\n"
needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """No setting of the machine counts; waiting is short."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "CRM_MERGE_", "SSL_CERT")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(places, "BACKOFF", 0.005)


@pytest.fixture
def find(tmp_path):
    (tmp_path / "in").mkdir()
    return lambda path: places.find(str(path), tmp_path / "in", tmp_path / "fetched")


@pytest.fixture
def problem(find):
    """The sentence that a path ends with. Nothing secret is in it, nor in a traceback of it."""

    def of(path) -> str:
        with pytest.raises(FileProblem) as caught:
            find(path)
        text = "".join(traceback.format_exception(caught.value))
        for secret in (SECRET_KEY, ACCESS_KEY, TOKEN):
            assert secret not in text
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return of


def write(path: Path, data: bytes = DATA) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(found) -> list[str]:
    return [place.path.name for place in found]


def left_over(tmp_path) -> list[str]:
    return [path.name for path in (tmp_path / "fetched").rglob("*") if path.is_file()]


# -- Local --


def test_file_is_relative_to_base(find, tmp_path):
    file = write(tmp_path / "in/crm.csv")
    assert find("crm.csv") == find(file) == find("../in/crm.csv") == [places.Place(file, str(file), {}, "")]


def test_name_with_glob_characters_that_exists_is_that_file(find, tmp_path):
    write(tmp_path / "in/a1.csv")
    file = write(tmp_path / "in/a[1].csv")
    assert [place.path for place in find("a[1].csv")] == [file]
    assert names(find("a[12].csv")) == ["a1.csv"]


def test_base_with_glob_characters(tmp_path):
    file = write(tmp_path / "in [1]/a.csv")
    assert [p.path for p in places.find("*.csv", tmp_path / "in [1]", tmp_path)] == [file]


def test_parent_of_a_linked_folder_is_where_the_link_leads(find, tmp_path):
    file = write(tmp_path / "in/far/away/x.csv", b"x")
    write(file.parent.parent / "y.csv", b"right")
    write(tmp_path / "in/y.csv", b"wrong")
    (tmp_path / "in/link").symlink_to(file.parent)
    assert find("link/../y.csv")[0].path.read_bytes() == b"right"


def test_globs(find, tmp_path):
    for name in (
        "b.csv",
        "a.csv",
        "sub/c.csv",
        "sub/deep/d.csv",
        ".hidden.csv",
        ".git/e.csv",
        "a.txt",
        "dir.csv/x.txt",
    ):
        write(tmp_path / "in" / name)
    assert names(find("*.csv")) == ["a.csv", "b.csv"]  # sorted; a folder that matches is passed over
    assert names(find("**/*.csv")) == ["a.csv", "b.csv", "c.csv", "d.csv"]
    assert names(find("sub/**")) == ["c.csv", "d.csv"]
    assert names(find("s*/?.csv")) == ["c.csv"]
    assert names(find(".hid*.csv")) == [".hidden.csv"]
    assert names(find("dir*")) == ["x.txt"]  # nothing but a folder matches: what it holds


def test_glob_without_a_match_names_what_is_there(problem, tmp_path):
    write(tmp_path / "in/crm.csv")
    assert "no file matches 'x*.csv'" in problem("x*.csv") and "crm.csv" in problem("x*.csv")
    assert f"there is no folder {tmp_path}/in/none" in problem("none/*.csv")


def test_folder(find, tmp_path):
    for name in (
        "b.CSV",
        "a.csv.gz",
        "x/c.parquet",
        "x/_SUCCESS",
        "_tmp/d.bin",
        ".e",
        "f.ndjson.zst",
        "g.jsonl",
        "h.tsv",
    ):
        write(tmp_path / "in/data" / name)
    expected = ["a.csv.gz", "b.CSV", "f.ndjson.zst", "g.jsonl", "h.tsv", "c.parquet"]
    assert names(find("data")) == names(find("data/")) == expected


def test_folder_with_other_files_is_refused(problem, tmp_path):
    for k in range(7):
        write(tmp_path / f"in/data/{k}.pdf")
    write(tmp_path / "in/data/a.csv")
    said = problem("data")
    assert "0.pdf, 1.pdf, 2.pdf, 3.pdf, 4.pdf and 2 more" in said and "data/*.csv" in said
    write(tmp_path / "in/packed/a.parquet.gz")
    assert "a.parquet.gz" in problem("packed")


def test_empty_folder_is_refused(problem, tmp_path):
    write(tmp_path / "in/data/_SUCCESS")
    assert "holds no file to read" in problem("data")


def test_partitions(find, tmp_path):
    write(tmp_path / "in/k=0/country=FR/city=S%C3%A3o%20Paulo/a.csv")
    write(tmp_path / "in/k=0/country=__HIVE_DEFAULT_PARTITION__/b.csv")
    expected = [{"country": "FR", "city": "São Paulo"}, {"country": ""}]
    assert [p.partitions for p in find("k=0")] == [p.partitions for p in find("k=0/**/*.csv")] == expected
    assert [p.partitions for p in find("k=0/country=FR/*/*.csv")] == [{"city": "São Paulo"}]
    assert [p.partitions for p in find("*/country=FR/*")] == [{"k": "0", **expected[0]}]
    assert find("k=0/country=FR/city=S%C3%A3o%20Paulo/a.csv")[0].partitions == {}


def test_partition_with_two_values_is_refused(problem, tmp_path):
    write(tmp_path / "in/data/k=1/k=2/a.csv")
    assert "two values for 'k'" in problem("data")


def test_missing_file_names_the_nearest(problem, tmp_path):
    for name in ("aa.csv", "ab.csv", "ac.csv", "ad.csv", "crm_export.csv", ".crm.csv", "zz.csv"):
        write(tmp_path / "in" / name)
    said = problem("crm-export.csv")
    assert f"there is no file 'crm-export.csv' (looked for {tmp_path}/in/crm-export.csv)" in said
    assert said.endswith("that folder holds crm_export.csv, aa.csv, ab.csv, ac.csv, ad.csv")
    assert "there is no folder" in problem("none/crm.csv")
    assert "Not a directory" in problem("aa.csv/crm.csv")
    assert "there is no file" in problem("x" * 300)


def test_special_files_are_refused_without_opening_them(problem, tmp_path):
    os.mkfifo(tmp_path / "in/pipe.csv")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path / "in")  # a socket's path is short
        server.bind("socket.csv")
        os.chdir(here)
        for path in ("pipe.csv", "pipe*", "socket.csv", "/dev/null"):
            assert "is not a file" in problem(path)
        assert "is not a file" in problem(".")


def test_broken_links_are_named(problem, tmp_path):
    write(tmp_path / "in/data/a.csv")
    (tmp_path / "in/data/gone.csv").symlink_to("nowhere.csv")
    (tmp_path / "in/round.csv").symlink_to("round.csv")
    for path in ("data/gone.csv", "data/*.csv", "data", "round.csv"):
        assert "is a link to a file that is not there" in problem(path)


def test_links_in_a_circle_repeat_no_file(find, tmp_path):
    write(tmp_path / "in/data/one/a.csv")
    (tmp_path / "in/data/one/up").symlink_to("..")
    (tmp_path / "in/data/one/self").symlink_to(".")
    assert names(find("data")) == ["a.csv"]
    (tmp_path / "in/data/two").symlink_to("one")
    assert len(find("data")) == 2  # what somebody linked twice is there twice


@needs_permissions
def test_permission_denied(problem, tmp_path):
    file = write(tmp_path / "in/data/a.csv")
    file.chmod(0)
    assert "permission denied" in problem("data/a.csv")
    file.chmod(0o600)
    for mode in (0, 0o400):
        file.parent.chmod(mode)
        try:
            assert "no permission" in problem("data/a.csv")
            for path in ("data", "data/*.csv", "**/*.csv"):
                assert "ermission" in problem(path)
        finally:
            file.parent.chmod(0o700)


@pytest.mark.parametrize("odd", ["", "  ", "a\0b.csv", "a\nb.csv", "~nobody-of-that-name/x.csv"])
def test_odd_paths(problem, odd):
    assert problem(odd)


def test_name_that_is_not_utf8(problem, tmp_path):
    write(Path(os.fsdecode(bytes(tmp_path / "in/data") + b"/caf\xe9.csv")))
    assert "is not UTF-8" in problem("data")
    assert problem("data/cafe.csv").encode()


def test_listings_are_bounded(problem, find, tmp_path, monkeypatch):
    for k in range(4):
        write(tmp_path / f"in/data/{k}.csv")
    monkeypatch.setattr(places, "LIMIT", 4)
    assert len(find("data")) == 4
    monkeypatch.setattr(places, "LIMIT", 3)
    assert "more than 3 files" in problem("data") and "more than 3 files" in problem("data/*")
    monkeypatch.setattr(places, "LOOKED_AT", 3)
    assert "more than 3 names" in problem("data/0*")


# -- What may be read --


def test_roots_bind_local_files_by_their_real_path(find, problem, tmp_path, monkeypatch):
    inside = write(tmp_path / "in/ok/a.csv")
    write(tmp_path / "in/okay/b.csv")
    secret = write(tmp_path / "elsewhere/secret.csv")
    write(tmp_path / "elsewhere/notes.docx")
    (tmp_path / "in/ok2").mkdir()
    (tmp_path / "in/ok2/link.csv").symlink_to(secret)
    (tmp_path / "in/ok2/folder").symlink_to(secret.parent)
    (tmp_path / "in/welcome").symlink_to(tmp_path / "in/ok")
    monkeypatch.setenv("CRM_MERGE_INPUT_ROOTS", f"s3://b/x/, {tmp_path}/in/ok , {tmp_path}/in/ok2/")
    assert [place.path for place in find("ok/a.csv")] == [inside]
    assert names(find("ok")) == names(find("ok/*.csv")) == names(find("welcome/a.csv")) == ["a.csv"]
    outside = ["okay/b.csv", "okay", "*/a.csv", secret, "ok/../okay/b.csv", "ok/../../elsewhere/secret.csv"]
    outside += [
        "ok2/link.csv",
        "ok2/l*.csv",
        "ok2/folder/secret.csv",
        "ok2/folder/*",
        "ok2/*/*.csv",
        "ok2",
        "none.csv",
    ]
    for path in outside:
        said = problem(path)
        assert "CRM_MERGE_INPUT_ROOTS" in said and f"'{tmp_path}/" in said
        assert "elsewhere" in str(path) or "elsewhere" not in said
        assert "holds" not in said and "docx" not in said
    assert "holds" not in problem("ok2/folder/nothing.csv")


def test_missing_root_does_not_show_its_neighbours(problem, tmp_path, monkeypatch):
    write(tmp_path / "in/neighbour.csv")
    monkeypatch.setenv("CRM_MERGE_INPUT_ROOTS", f"{tmp_path}/in/root")
    assert "neighbour" not in problem("root")


@pytest.mark.parametrize("roots", [" , ", "s3://bucket/", "relative"])
def test_roots_that_allow_nothing_local(problem, tmp_path, monkeypatch, roots):
    write(tmp_path / "in/a.csv")
    monkeypatch.setenv("CRM_MERGE_INPUT_ROOTS", roots)
    assert "CRM_MERGE_INPUT_ROOTS" in problem("a.csv")


def test_roots_bind_urls_segment_by_segment(problem, monkeypatch):
    monkeypatch.setenv("CRM_MERGE_INPUT_ROOTS", "s3://bucket/ok/,https://example.com/ok")
    for url in (
        "s3://bucket/okay/a.csv",
        "s3://bucket/ok*/a.csv",
        "s3://bucket2/ok/a.csv",
        "s3://bucket/",
        "https://example.com/okay/a.csv",
        "https://example.com:444/ok/a.csv",
        "https://example.com.evil.org/ok/a.csv",
        "https://www.example.com/ok/a.csv",
    ):
        assert "CRM_MERGE_INPUT_ROOTS" in problem(url), url
    for url in (
        "https://EXAMPLE.com:443/ok/a.csv",
        "https://example.com/ok",
        "s3://bucket/ok/a.csv",
        "s3://bucket/ok/*",
    ):
        assert places._allowed(url), url


@pytest.mark.parametrize("climbing", ["ok/../a.csv", "ok/%2e%2E/a.csv", "ok/..%2fa.csv", "ok/%252e%252e/a.csv", "ok/./a.csv",
                                      "ok\\..\\a.csv", "ok/..;x/a.csv"])  # fmt: skip
def test_urls_do_not_climb(problem, climbing):
    assert "'.' or '..'" in problem(f"s3://bucket/{climbing}")
    assert "'.' or '..'" in problem(f"https://example.com/{climbing}")


@pytest.mark.parametrize("scheme", ["gs", "az", "ftp", "file", "hdfs", "s3a", "abfss"])
def test_other_schemes(problem, scheme):
    said = problem(f"{scheme}://me:{TOKEN}@host/x.csv?sig={TOKEN}")
    assert said == f"{scheme}:// is not supported; accepted: a local path, s3://, https://"


def test_http_is_refused(problem):
    assert problem(f"http://me:{TOKEN}@host/x.csv?sig={TOKEN}") == "http:// is not encrypted; use https://"
    assert "not encrypted" in problem("HTTP://host/x.csv")


SECRET_URLS = [
    "https://me:{}@host/x.csv",
    "https://{}@host/x.csv",
    "https://me:1{}/2@host/x.csv",
    "https:/host/x.csv?sig={}",
    "https://host/x.csv?sig={}",
    "https://host/x.csv?a=1&X-Amz-Signature={}",
    "https://host/x.csv?x-amz-security-token=abc&{}=1",
    "https://host/x.csv?{}{}",
    "https://host/x.csv?a={}{}",
    "https://host/x.csv?sig=${{CRM_MERGE_X}}{}",
    "https://host/x.csv?a=${{HOME}}{}",
    "https://host?{}{}",
    "https://host/x.csv#{}",
    "s3://key:{}@bucket/x.csv",
    "s3://key:1/{}@bucket/x.csv",
    "s3://bucket/x.csv?X-Amz-Signature={}",
    "s3:/bucket/x.csv?a={}",
    "gs://bucket/x.csv?a={}",
    "host/x.csv?sig={}",
    "//host/x.csv?a=1&sig={}",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_secrets_in_a_url_are_refused_and_not_repeated(problem, url):
    assert problem(url.format(TOKEN, TOKEN))  # `problem` looks for the secret


@pytest.mark.parametrize(
    "url", ["https://me:pw@host/x.csv", "https://me@host/x.csv", "s3://me:pw@b/x.csv", "s3://me:p/w@b/x"]
)
def test_user_names_in_a_url(problem, url):
    assert "must not hold a user name or password" in problem(url)


@pytest.mark.parametrize("query", ["token=abc", "API_KEY=abc", "X-Amz-Date=20260101", "a=12345678901234567", "a=b%20c", "a=b c",
                                   "a=${HOME}", "a=${CRM_MERGE_x}", "${PATH}", "a=$x", "password=abc", "%74oken=abc",
                                   "a=1&auth=abc", "a=1;token=x"])  # fmt: skip
def test_query_values_that_may_be_secret(problem, query):
    said = problem(f"https://host/x.csv?{query}")
    assert "may be a secret" in said and "CRM_MERGE_" in said and "abc" not in said


def test_unset_variable(problem, monkeypatch):
    assert "variable CRM_MERGE_X is not set" in problem("https://host/x.csv?sig=${CRM_MERGE_X}")
    monkeypatch.setenv("CRM_MERGE_X", " ")
    assert "variable CRM_MERGE_X is not set" in problem("https://host/x.csv?sig=${CRM_MERGE_X}")


@pytest.mark.parametrize("url", ["https://", "https://:80/a.csv", "https://host:x/a.csv", "https://[::1/a.csv", "https://h ost/a.csv",
                                 "https://host/", "https://host", "https://host/folder/", "https://host/*.csv", "https://host/a.csv#x",
                                 "https://host\\x/a.csv", "https://${CRM_MERGE_X}/a.csv", "https://host/${CRM_MERGE_X}/a.csv", "s3://",
                                 "s3:///key", "s3://b/key"])  # fmt: skip
def test_malformed_urls(problem, url):
    said = problem(url)
    assert any(word in said for word in ("is not a URL", "must name", "only in the query"))


# -- S3 --


@pytest.fixture(scope="module")
def s3_endpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    with s3_server(folder) as endpoint:
        yield folder, endpoint


@pytest.fixture
def bucket(s3_endpoint, monkeypatch):
    """An empty bucket as a folder, the client's settings right."""
    folder, endpoint = s3_endpoint
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    (folder / "bucket").mkdir()
    yield folder / "bucket"
    shutil.rmtree(folder / "bucket")


def test_s3_file_is_downloaded_once_per_version(find, bucket, tmp_path, monkeypatch):
    write(bucket / "in/a b+é.csv", DATA)
    (place,) = find("s3://bucket/in/a b+é.csv")
    assert place.path.read_bytes() == DATA and place.path.name == "a b+é.csv"
    assert place.path.parent.parent == tmp_path / "fetched" and len(place.path.parent.name) == 16
    monkeypatch.setenv(
        "AWS_ENDPOINT_URL_S3", os.environ["AWS_ENDPOINT_URL_S3"].replace("127.0.0.1", "localhost")
    )
    assert find("s3://bucket/in/a b+é.csv") == [place]  # not as the host bucket.localhost
    assert place.shown == "s3://bucket/in/a b+é.csv" and place.partitions == {} and len(place.origin) == 32
    monkeypatch.setattr(places, "_write", None)  # would fail if it were called
    assert find("s3://bucket/in/a b+é.csv") == find("s3://bucket/in/*") == [place]
    assert sorted(left_over(tmp_path)) == sorted([place.path.name, f"{place.path.parent.name}.json"])


def test_s3_new_version_and_damaged_copy_are_downloaded_again(find, bucket):
    write(bucket / "a.csv", b"one")
    (first,) = find("s3://bucket/a.csv")
    write(bucket / "a.csv", b"two")
    (second,) = find("s3://bucket/*.csv")
    assert second.path == first.path and second.path.read_bytes() == b"two" and second.origin != first.origin
    second.path.write_bytes(b"t")
    assert find("s3://bucket/a.csv")[0].path.read_bytes() == b"two"
    note = second.path.parent.with_suffix(".json")
    note.write_text(json.dumps({"name": 1}))
    assert find("s3://bucket/a.csv")[0].path.read_bytes() == b"two"


def test_s3_globs(find, bucket):
    for name in (
        "d/b.csv",
        "d/a.csv",
        "d/sub/c.csv",
        "d/sub/x/e.csv",
        "d/.h.csv",
        "d/a.txt",
        "day=1/f.csv",
        "day=2/f.csv",
        "d.csv",
    ):
        write(bucket / name, name.encode())
    shown = lambda path: [place.shown.removeprefix("s3://bucket/") for place in find(path)]  # noqa: E731
    assert shown("s3://bucket/d/*.csv") == ["d/a.csv", "d/b.csv"]  # no further than a slash
    assert shown("s3://bucket/d/**/*.csv") == ["d/a.csv", "d/b.csv", "d/sub/c.csv", "d/sub/x/e.csv"]
    assert shown("s3://bucket/d/*/*.csv") == ["d/sub/c.csv"]
    assert shown("s3://bucket/day=*/f.csv") == shown("s3://bucket/day=*") == ["day=1/f.csv", "day=2/f.csv"]
    assert [p.partitions for p in find("s3://bucket/day=*")] == [{"day": "1"}, {"day": "2"}]
    assert [p.path.read_bytes() for p in find("s3://bucket/d*/?.csv")][:2] == [b"d/a.csv", b"d/b.csv"]
    assert names(find("S3://bucket/d/[ab].csv")) == ["a.csv", "b.csv"]
    write(bucket / "d/[ab].csv", b"itself")
    assert find("s3://bucket/d/[ab].csv")[0].path.read_bytes() == b"itself"


def test_s3_folder(find, problem, bucket):
    for name in ("d/c=F%20R/a.parquet", "d/_SUCCESS", "d/b.csv"):
        write(bucket / name)
    (a, b) = sorted(find("s3://bucket/d/"), key=lambda place: place.shown, reverse=True)
    assert (a.partitions, b.partitions) == ({"c": "F R"}, {}) and names(find("s3://bucket/")) == [
        "b.csv",
        "a.parquet",
    ]
    write(bucket / "d/notes.docx")
    assert "notes.docx" in problem("s3://bucket/d/") and "s3://bucket/d/*.csv" in problem("s3://bucket/d/")
    assert "holds no file to read" in problem("s3://bucket/empty/")
    assert "there is no file 's3://bucket/d'" in problem("s3://bucket/d")
    assert problem("s3://bucket/d").endswith("s3://bucket/ holds d/")


def test_s3_what_is_missing(problem, bucket):
    for name in ("in/crm_export.csv", "in/other.csv", "x.csv"):
        write(bucket / name)
    said = problem("s3://bucket/in/crm-export.csv")
    assert (
        said
        == "there is no file 's3://bucket/in/crm-export.csv'; s3://bucket/in/ holds crm_export.csv, other.csv"
    )
    assert "no file matches 's3://bucket/in/x*.csv'; s3://bucket/in/ holds" in problem(
        "s3://bucket/in/x*.csv"
    )
    for path in ("a.csv", "*.csv", "folder/"):
        assert "there is no bucket 'buckets'" in problem(f"s3://buckets/{path}")


def test_s3_wrong_keys(problem, bucket, monkeypatch):
    write(bucket / "a.csv")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY + "x")
    for path in ("a.csv", "*.csv", ""):
        assert "not accepted (SignatureDoesNotMatch)" in problem(f"s3://bucket/{path}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    assert "not accepted (InvalidAccessKeyId)" in problem("s3://bucket/a.csv")


def test_s3_no_credentials(problem, bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    for path in ("a.csv", "*.csv"):
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in problem(
            f"s3://bucket/{path}"
        )
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "AWS_ACCESS_KEY_ID" in problem("s3://bucket/a.csv")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "AWS_PROFILE" in problem("s3://bucket/a.csv")


def test_s3_server_down(problem, bucket, monkeypatch):
    monkeypatch.setattr(s3, "RETRIES", 1)
    with socket.socket() as taken:  # bound, but does not listen
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{where}")
        assert (
            problem("s3://bucket/a.csv") == f"'s3://bucket/a.csv': the S3 endpoint {where} can't be reached"
        )
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "nonsense")
    assert "AWS settings" in problem("s3://bucket/a.csv")


@pytest.mark.parametrize("change", [lambda file: file.write_bytes(b"other"), lambda file: file.unlink()])
def test_s3_object_that_changes_after_the_listing(problem, bucket, tmp_path, monkeypatch, change):
    file = write(bucket / "a.csv")

    def then_change(*args, choose=places._choose):
        chosen = choose(*args)
        change(file)
        return chosen

    monkeypatch.setattr(places, "_choose", then_change)
    assert problem("s3://bucket/*.csv") == "'s3://bucket/a.csv' changed while it was read; run again"
    assert left_over(tmp_path) == []


def test_s3_listings_are_bounded(find, problem, bucket, monkeypatch):
    for k in range(4):
        write(bucket / f"d/{k}.csv")
    monkeypatch.setattr(places, "LIMIT", 3)
    assert "more than 3 files" in problem("s3://bucket/d/") and "more than 3 files" in problem(
        "s3://bucket/d/*"
    )
    monkeypatch.setattr(places, "LOOKED_AT", 3)
    assert "more than 3 names" in problem("s3://bucket/d/*0.csv")
    write(bucket / "x.csv")
    assert names(find("s3://bucket/*.csv")) == ["x.csv"]  # what is below a level is not looked at for it


def test_s3_roots(find, problem, bucket, monkeypatch):
    write(bucket / "ok/a.csv")
    write(bucket / "okay/b.csv")
    monkeypatch.setenv("CRM_MERGE_INPUT_ROOTS", "s3://bucket/ok")
    assert names(find("s3://bucket/ok/")) == names(find("s3://bucket/ok/*")) == ["a.csv"]
    assert "CRM_MERGE_INPUT_ROOTS" in problem("s3://bucket/okay/b.csv")
    assert "okay" not in problem("s3://bucket/ok")


def test_s3_too_little_disk(problem, bucket, tmp_path, monkeypatch):
    for name in ("a.csv", "b.csv"):
        write(bucket / name, b"x" * 3_000_000)
    disk = namedtuple("disk", "total used free")(100_000_000, 90_000_000, 10_000_000)
    monkeypatch.setattr(places.shutil, "disk_usage", lambda _: disk)
    said = problem("s3://bucket/*.csv")  # each fits, both don't
    assert "needs 6.0 MB" in said and "10.0 MB free" in said and "5.0 MB of them stay free" in said
    monkeypatch.setattr(places.shutil, "disk_usage", lambda _: disk._replace(free=7_000_000))
    assert "needs 3.0 MB" in problem("s3://bucket/a.csv")
    assert left_over(tmp_path) == []


def fake_s3(monkeypatch, server):
    """Points boto3 to a server that does what rclone does not do on demand."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.authority))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.mark.parametrize("code, words", [
    ("AccessDenied", "access to the bucket 'bucket' is denied"),
    ("ExpiredToken", "the credentials have expired"),
    ("InvalidObjectState", "archived"),
    ("Odd", "the S3 server answers Odd"),
    (f"{TOKEN}?Signature=", "the S3 server answers an error"),
])  # fmt: skip
def test_s3_errors_are_sentences(problem, monkeypatch, code, words):
    class Handler(Quiet):
        def do_GET(self):
            self.answer(403, f"<Error><Code>{code}</Code><Message>{TOKEN}</Message></Error>".encode())

    with https_server(Handler) as server:
        fake_s3(monkeypatch, server)
        assert words in problem("s3://bucket/a.csv")


def test_s3_asks_for_the_version_that_was_listed(problem, monkeypatch):
    class Handler(Quiet):
        def do_GET(self):
            if "list-type" in self.path:
                entry = (
                    f"<Contents><Key>a.csv</Key><ETag>&quot;e&quot;</ETag><Size>{len(DATA)}</Size></Contents>"
                )
                return self.answer(200, f"<ListBucketResult>{entry}</ListBucketResult>".encode())
            if self.headers.get("If-Match") == '"e"':
                return self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return self.answer(200, DATA, {"ETag": '"e"'})

    with https_server(Handler) as server:
        fake_s3(monkeypatch, server)
        assert problem("s3://bucket/*.csv") == "'s3://bucket/a.csv' changed while it was read; run again"


def test_s3_body_that_breaks_off(find, problem, tmp_path, monkeypatch):
    breaks = [True] * 2 + [False] + [True] * 100

    class Handler(Quiet):
        def do_GET(self):
            broken = breaks.pop(0)
            self.answer(200, DATA[:3] if broken else DATA, {"ETag": '"e"', "Content-Length": str(len(DATA))})
            self.close_connection = True

    with https_server(Handler) as server:
        fake_s3(monkeypatch, server)
        assert find("s3://bucket/a.csv")[0].path.read_bytes() == DATA
        assert "broke off midway, 5 times" in problem("s3://bucket/b.csv")
        assert len(left_over(tmp_path)) == 2


def test_s3_certificate_that_is_not_trusted(problem, monkeypatch, tmp_path):
    with https_server(tmp_path) as server, https_server(tmp_path) as other:
        fake_s3(monkeypatch, server)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(other.authority))
        monkeypatch.setattr(s3, "RETRIES", 1)
        assert "certificate is not trusted" in problem("s3://bucket/a.csv")


# -- https --


@pytest.fixture
def serve(monkeypatch):
    """Starts a server that answers with a function of (handler, number of the request), and trusts it."""
    started = []

    def start(answer):
        class Handler(Quiet):
            def do_GET(self):
                answer(self, len(self.server.notes.requests))

        context = https_server(Handler if callable(answer) else answer)
        server = context.__enter__()
        started.append(context)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
        return server

    yield start
    for context in started:
        context.__exit__(None, None, None)


def test_https_file(find, serve, tmp_path):
    write(tmp_path / "www/data/été 1.csv")
    server = serve(tmp_path / "www")
    url = f"{server.url}/data/%C3%A9t%C3%A9%201.csv"
    (place,) = find(url)
    assert place.path.read_bytes() == DATA and place.path.name == "été 1.csv"
    assert place.shown == url and "GMT" in place.origin  # http.server knows Last-Modified only
    write(tmp_path / "www/data/été 1.csv", b"new")
    assert (
        find(f"{server.url}/data/été 1.csv")[0].path.read_bytes() == b"new" == find(url)[0].path.read_bytes()
    )
    assert server.requests[0][1]["Accept-Encoding"] == "identity"


def test_https_etag_saves_a_second_download(find, serve):
    def answer(handler, number):
        if handler.headers.get("If-None-Match") == '"v1"' and number < 4:
            return handler.answer(304)
        return handler.answer(200, DATA if number < 4 else b"v2", {"ETag": '"v1"' if number < 4 else '"v2"'})

    server = serve(answer)
    places_found = [find(f"{server.url}/a.csv")[0] for _ in range(3)]
    assert {(p.origin, p.path.read_bytes()) for p in places_found} == {("v1", DATA)}
    assert find(f"{server.url}/a.csv")[0].path.read_bytes() == b"v2"
    assert [headers.get("If-None-Match") for _, headers in server.requests] == [None, '"v1"', '"v1"', '"v1"']


def test_note_never_describes_another_version(find, serve, monkeypatch):
    server = serve(lambda handler, number: handler.answer(200, b"%d" % number, {"ETag": f'"{number}"'}))
    (place,) = find(f"{server.url}/a.csv")
    note = place.path.parent.with_suffix(".json")
    assert json.loads(note.read_text())["version"] == '"1"'
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            places.os, "replace", lambda part, to: (shutil.move(part, to), exec("raise KeyboardInterrupt"))
        )
        find(f"{server.url}/a.csv")
    assert place.path.read_bytes() == b"2" and not note.exists()


def test_https_weak_etag_promises_nothing(find, serve):
    server = serve(lambda handler, number: handler.answer(200, b"%d" % number, {"ETag": 'W/"v1"'}))
    assert [find(f"{server.url}/a.csv")[0].path.read_bytes() for _ in range(2)] == [b"1", b"2"]
    assert find(f"{server.url}/a.csv")[0].origin == 'W/"v1"'


def test_https_query(find, problem, serve, monkeypatch, caplog, tmp_path):
    """A signature reaches the server, and nothing else: no sentence, no place, no log, no file."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CRM_MERGE_SAS", f"sv=1&sig=#{TOKEN}%3D\n")
    status = [503, 503, 200, 403, 404]
    server = serve(lambda handler, number: handler.answer(status[number - 1], DATA))
    (place,) = find(f"{server.url}/a.csv?${{CRM_MERGE_SAS}}&v=1.0&download&t=a${{CRM_MERGE_SAS}}")
    assert place.path.read_bytes() == DATA and place.shown == f"{server.url}/a.csv"
    sas = f"sv=1&sig=%23{TOKEN}%3D"  # as it is, but it can't end the query
    assert server.requests[2][0] == f"/a.csv?{sas}&v=1.0&download&t=a{sas}"
    for words in ("denied (403)", "not there (404)"):
        assert words in problem(f"{server.url}/a.csv?token=${{CRM_MERGE_SAS}}")
    assert "urllib3" in {record.name.partition(".")[0] for record in caplog.records}
    assert TOKEN not in caplog.text + repr(place)
    assert TOKEN not in "".join(
        p.read_text() + str(p) for p in (tmp_path / "fetched").rglob("*") if p.is_file()
    )


def test_https_queries_are_different_files(find, serve):
    server = serve(lambda handler, number: handler.answer(200, handler.path.encode(), {"ETag": '"same"'}))
    a, b = (find(f"{server.url}/a.csv?id={k}")[0] for k in (1, 2))
    assert a.path.read_bytes() == b"/a.csv?id=1" and b.path.read_bytes() == b"/a.csv?id=2"


@pytest.mark.parametrize(
    "status, words",
    [(401, "login"), (403, "denied"), (404, "not there"), (418, "418"), (204, "204"), (304, "304")],
)
def test_https_status_is_a_sentence(problem, serve, status, words, tmp_path):
    server = serve(lambda handler, _: handler.answer(status))
    assert words in problem(f"{server.url}/a.csv") and len(server.requests) == 1
    assert left_over(tmp_path) == []


def test_https_flaky_server(find, problem, serve, monkeypatch):
    monkeypatch.setattr(places, "RETRY_AFTER", 0.01)
    server = serve(
        lambda handler, number: handler.answer(200 if number in (3,) else 503, DATA, {"Retry-After": "3600"})
    )
    started = time.monotonic()
    assert find(f"{server.url}/a.csv")[0].path.read_bytes() == DATA
    assert "answers 503" in problem(f"{server.url}/b.csv")
    assert len(server.requests) == 3 + 1 + places.RETRIES and time.monotonic() - started < 10


@pytest.mark.parametrize("chunked", [False, True])
def test_https_body_that_breaks_off(find, problem, serve, tmp_path, chunked):
    def answer(handler, number):
        broken = handler.path == "/always.csv" or number == 1
        body = b"8\r\n" + DATA + b"\r\n0\r\n\r\n" if chunked else DATA
        headers = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(DATA))}
        handler.answer(200, body[: len(body) - 7] if broken else body, headers)
        handler.close_connection = True

    server = serve(answer)
    assert find(f"{server.url}/once.csv")[0].path.read_bytes() == DATA and len(server.requests) == 2
    assert "broke off midway, 5 times in a row" in problem(f"{server.url}/always.csv")
    assert len(server.requests) == 2 + 5 and len(left_over(tmp_path)) == 2  # of once.csv


def test_https_break_leaves_the_version_at_hand_alone(find, problem, serve):
    def answer(handler, number):
        body = DATA if number == 1 else b"x"
        handler.answer(200, body, {"Content-Length": str(len(DATA)), "ETag": f'"{number}"'})
        handler.close_connection = True

    server = serve(answer)
    (place,) = find(f"{server.url}/a.csv")
    assert "broke off" in problem(f"{server.url}/a.csv") and place.path.read_bytes() == DATA


def test_https_length_that_is_not_said(problem, serve):
    def answer(handler, _):
        handler.answer(200, DATA, {"No-Length": "1"})
        handler.close_connection = True

    assert "does not say how long it is" in problem(f"{serve(answer).url}/a.csv")


def test_https_packed_on_the_way(find, problem, serve):
    server = serve(
        lambda handler, _: handler.answer(200, b"\x1f\x8b", {"Content-Encoding": handler.path[1:-4]})
    )
    assert find(f"{server.url}/gzip.csv")[0].path.read_bytes() == b"\x1f\x8b"  # readers unpack it
    assert "packed in a way" in problem(f"{server.url}/br.csv")


def test_https_web_page_is_no_file(problem, serve, tmp_path):
    server = serve(lambda handler, _: handler.answer(200, b"\n<!DOCTYPE html><title>Log in</title>"))
    assert "is a web page" in problem(f"{server.url}/a.csv") and left_over(tmp_path) == []


def test_https_redirects(find, problem, serve):
    def answer(handler, number):
        hop = int(handler.path.partition("?")[0].strip("/").partition("-")[0])
        if hop == 0:
            return handler.answer(200, DATA)
        return handler.answer(302, headers={"Location": f"/{hop - 1}-{number}?sig={TOKEN}"})

    server = serve(answer)
    assert find(f"{server.url}/5")[0].path.read_bytes() == DATA
    assert find(f"{server.url}/5")[0].path.name == "5"
    assert "redirects more than 5 times" in problem(f"{server.url}/6")


@pytest.mark.parametrize("location, words", [
    ("http://127.0.0.1:1/a.csv?sig={}", "redirects to an address that is not https://"),
    ("file:///etc/passwd?{}", "redirects to an address that is not https://"),
    ("https://[::1?sig={}", "malformed"),
    ("/ok/%2e%2e/a.csv?sig={}", "'.' or '..'"),
])  # fmt: skip
def test_https_redirects_that_are_refused(problem, serve, location, words):
    server = serve(lambda handler, _: handler.answer(302, headers={"Location": location.format(TOKEN)}))
    assert words in problem(f"{server.url}/a.csv") and len(server.requests) == 1


def test_https_roots_bind_redirects(find, problem, serve, monkeypatch, tmp_path):
    write(tmp_path / "www/ok/a.csv")
    write(tmp_path / "www/other/a.csv")

    def answer(handler, _):
        if handler.path.startswith("/ok/to-"):
            return handler.answer(302, headers={"Location": f"/{handler.path[7:]}/a.csv?sig={TOKEN}"})
        return handler.answer(200, DATA)

    server = serve(answer)
    monkeypatch.setenv("CRM_MERGE_INPUT_ROOTS", f"{server.url}/ok/")
    assert find(f"{server.url}/ok/a.csv") and find(f"{server.url}/ok/to-ok")
    assert "CRM_MERGE_INPUT_ROOTS" in problem(f"{server.url}/ok/to-other")
    assert "CRM_MERGE_INPUT_ROOTS" in problem(f"{server.url}/other/a.csv")
    assert "/other/a.csv" not in [path for path, _ in server.requests]


def test_https_certificates_are_checked_at_once(problem, serve, monkeypatch, tmp_path):
    write(tmp_path / "www/a.csv")
    server = serve(tmp_path / "www")
    monkeypatch.setattr(places, "BACKOFF", 5)  # no waiting for a certificate to become trusted
    started = time.monotonic()
    with https_server(tmp_path / "www") as other:
        monkeypatch.setenv("SSL_CERT_FILE", str(other.authority))
        assert "certificate is not trusted" in problem(f"{server.url}/a.csv")
    monkeypatch.delenv("SSL_CERT_FILE")  # certifi's
    assert "certificate is not trusted" in problem(f"{server.url}/a.csv")
    assert time.monotonic() - started < 5 and server.requests == []
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    assert "SSL_CERT_FILE names no file" in problem(f"{server.url}/a.csv")


def test_https_host_is_not_there(problem):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "can't be reached" in problem(f"https://127.0.0.1:{taken.getsockname()[1]}/a.csv")
    assert "no host of that name" in problem("https://crm-merge.invalid/a.csv")
    assert "malformed" in problem(f"https://{'a' * 70}.example/a.csv")


def test_https_server_that_hangs_or_trickles(problem, serve, monkeypatch, tmp_path):
    def answer(handler, _):
        handler.answer(200, DATA, {"Content-Length": "1000000"})
        for _ in range(40):
            time.sleep(0.05)
            if handler.path == "/trickles.csv":
                handler.wfile.write(b"x")
                handler.wfile.flush()
        handler.close_connection = True

    server = serve(answer)
    monkeypatch.setattr(places, "LONGEST", 0.3)
    assert "took longer than" in problem(f"{server.url}/trickles.csv")
    monkeypatch.setattr(places, "LONGEST", 60)
    monkeypatch.setattr(places, "READ", 0.1)
    assert "broke off midway" in problem(f"{server.url}/hangs.csv")
    assert left_over(tmp_path) == []


def test_https_too_little_disk(problem, serve, monkeypatch, tmp_path):
    def answer(handler, _):
        if handler.path == "/unknown.csv":
            return handler.answer(200, b"8\r\n" + DATA + b"\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"})
        return handler.answer(200, DATA)

    server = serve(answer)
    disk = namedtuple("disk", "total used free")(10**12, 10**12, 100_000_005)
    monkeypatch.setattr(places.shutil, "disk_usage", lambda _: disk)
    for path in ("known.csv", "unknown.csv"):
        said = problem(f"{server.url}/{path}")
        assert "100.0 MB free" in said and "(and 100.0 MB of them stay free)" in said
    assert left_over(tmp_path) == []


def test_downloads_that_can_not_be_kept(problem, serve, tmp_path):
    server = serve(lambda handler, _: handler.answer(200, DATA))
    write(tmp_path / "fetched")
    assert "can't be kept in" in problem(f"{server.url}/a.csv")


def test_names_that_are_long_or_lead_elsewhere(find, serve, tmp_path):
    server = serve(lambda handler, _: handler.answer(200, DATA))
    for name in ("é" * 200 + ".csv", "..%5Cx.csv"[2:], "a%00b.csv", "a%2Fb.csv"):
        (place,) = find(f"{server.url}/{name}")
        assert place.path.read_bytes() == DATA and place.path.parent.parent == tmp_path / "fetched"
        assert place.path.name.endswith(".csv")


def test_leftovers_of_a_killed_process_are_cleared(find, serve, tmp_path):
    server = serve(lambda handler, _: handler.answer(200, DATA))
    (place,) = find(f"{server.url}/a.csv")
    old, new = write(place.path.parent / "old.part"), write(place.path.parent / "new.part")
    os.utime(old, (0, 0))
    find(f"{server.url}/a.csv")
    assert not old.exists() and new.exists()


def slow_fits(parts, pattern, partly=False):
    """What a glob means, by trying everything."""
    if not parts:
        return bool(pattern) if partly else all(segment == "**" for segment in pattern)
    if not pattern:
        return False
    hidden = parts[0].startswith(".")
    if pattern[0] == "**":
        return slow_fits(parts, pattern[1:], partly) or (not hidden and slow_fits(parts[1:], pattern, partly))
    if hidden and not pattern[0].startswith("."):
        return False
    return fnmatch.fnmatchcase(parts[0], pattern[0]) and slow_fits(parts[1:], pattern[1:], partly)


@given(
    st.lists(st.sampled_from(["a", "b", ".h", "ab"]), max_size=5),
    st.lists(st.sampled_from(["**", "*", "a", "a*", ".*", "?"]), max_size=5),
    st.booleans(),
)
def test_globs_mean_what_trying_everything_says(parts, pattern, partly):
    assert places._fits(parts, pattern, partly) == slow_fits(parts, pattern, partly)


def test_a_glob_of_many_stars_is_not_tried_out():
    assert not places._fits(["a"] * 60, ["**", "a"] * 30 + ["b"])
