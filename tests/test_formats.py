"""Files of every kind, from every place, through a whole merge: what comes out is the same."""

from __future__ import annotations

import gzip
import json

import duckdb
import pytest

from crm_merge.reading.streams import zstd
from tests.conftest import write_csv
from tests.oracle import Table
from tests.reader import read
from tests.servers import ACCESS_KEY, SECRET_KEY, https_server, s3_server

CRM = Table(
    ["Id", "Email", "Phone", "Title"],
    [["1", "a@x.com", "", ""], ["2", "b@x.com", "", "CEO"], ["3", "", "", ""]],
)
ROWS = [
    ("A@x.com", "+1 212 555 0100", "Zoë"),
    ("b@x.com", "+1 212 555 0101", 'say "hi",\nthen go'),
    ("c@x.com", "", ""),
]
MERGED = [
    ["1", "a@x.com", "+1 212 555 0100", "Zoë"],
    ["2", "b@x.com", "+1 212 555 0101", "CEO"],
    ["3", "", "", ""],
]


def as_csv(path):
    write_csv(path, Table(["email", "phone", "title"], [list(row) for row in ROWS]))
    return path.read_bytes()


def as_json_lines():
    rows = [dict(zip(("email", "phone", "title"), row, strict=True)) for row in ROWS]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_parquet(path, rows=ROWS, columns="email, phone, title"):
    with duckdb.connect() as connection:
        connection.execute("create table t (email varchar, phone varchar, title varchar)")
        connection.executemany("insert into t values (?, ?, ?)", [list(row) for row in rows])
        connection.execute(f"copy (select {columns} from t) to '{path}' (format parquet)")


def spec_of(tmp_path, path, **settings):
    write_csv(tmp_path / "crm.csv", CRM)
    return {
        "original": {"path": str(tmp_path / "crm.csv")},
        "enriched": [{"name": "v", "path": str(path)} | settings],
        "match_on": ["email"],
        "region": "US",
    }


def merged(runner, tmp_path, path, **settings):
    merge = runner(spec_of(tmp_path, path, **settings), command="build", select=None)
    assert merge.ok, merge.problems
    return merge


def write_all(folder):
    """Writes the vendor's rows in each format; returns {name: path}."""
    plain = as_csv(folder / "plain.csv")
    (folder / "packed.csv.gz").write_bytes(gzip.compress(plain))
    (folder / "packed.csv.zst").write_bytes(zstd.compress(plain))
    (folder / "rows.jsonl").write_bytes(as_json_lines())
    (folder / "rows.ndjson.gz").write_bytes(gzip.compress(as_json_lines()))
    (folder / "utf16.csv").write_bytes(plain.decode().encode("utf-16"))
    (folder / "cp1252.csv").write_bytes(plain.decode().encode("cp1252"))
    (folder / "ragged.csv").write_bytes(b"Report of May\n\n" + plain.replace(b"title", b"title,") .replace(b"\nc@x.com,,\n", b"\n\nc@x.com,,\n"))  # fmt: skip
    as_parquet(folder / "rows.parquet")
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize(
    "name", ["plain.csv", "packed.csv.gz", "packed.csv.zst", "rows.jsonl", "rows.ndjson.gz", "utf16.csv", "cp1252.csv", "rows.parquet"]
)  # fmt: skip
def test_every_format_merges_the_same(runner, tmp_path, name):
    merge = merged(runner, tmp_path, write_all(tmp_path)[name])
    assert [row[:4] for row in merge.table("merged_result").rows] == MERGED
    assert merge.query("select source_row from crosswalk order by 1") == [(1,), (2,)]
    [profile] = [row for row in merge.table("file_profile").rows if row[1] == "v"]
    names = merge.table("file_profile").headers
    found = dict(zip(names, profile, strict=True))
    assert (found["physical_rows"], found["parsed_rows"], found["rejected_rows"]) == ("3", "3", "0")
    assert json.loads(found["header"]) == ["email", "phone", "title"]
    assert json.loads(found["column_map"])[0] == {"header": "email", "column": "email", "key": "email"}
    assert json.loads(found["valid_keys"]) == {"email": 1.0}
    assert found["format"] == ("parquet" if "parquet" in name else "json" if "json" in name else "csv")
    assert len(found["sha256"]) == 64


def test_an_original_of_any_format(runner, tmp_path):
    as_parquet(tmp_path / "crm.parquet")
    write_csv(tmp_path / "v.csv", Table(["email", "city"], [["a@x.com", "Oslo"]]))
    spec = {"original": {"path": str(tmp_path / "crm.parquet")}, "enriched": [{"name": "v", "path": str(tmp_path / "v.csv")}], "match_on": ["email"]}  # fmt: skip
    merge = runner(spec, command="build", select=None)
    assert merge.ok, merge.problems
    rows = merge.table("merged_result").rows
    assert [tuple(row[:3]) for row in rows] == ROWS
    assert [row[3] for row in rows] == ["Oslo", "", ""]


def test_parquet_values_become_text_without_changing_keys(runner, tmp_path):
    """A phone column that went through floating point has no `.0`; nested values are JSON; folders give columns."""
    place = tmp_path / "v" / "country=FR"
    place.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(
            f"""copy (select 'a@x.com' as email, 12125550100.0::double as phone, 1.5::double as score, true as active,
                date '2024-02-01' as since, ['x', 'y'] as tags, {{'a': 1}} as more, 'nan'::double as gap, 12.50::decimal(9, 2) as fee,
                timestamp '2024-02-01 10:00:00' as seen, 9007199254740993 as big)
            to '{place}/part-0.parquet' (format parquet)"""
        )
    (tmp_path / "v" / "_SUCCESS").write_bytes(b"")
    merge = merged(runner, tmp_path, tmp_path / "v")
    names, rows = merge.table("merged_result").headers, merge.table("merged_result").rows
    found = dict(zip(names, rows[0], strict=True))
    assert {name: found[name] for name in ("Phone", "score", "active", "since", "tags", "more", "gap", "fee", "seen", "big", "country")} == {
        "Phone": "12125550100", "score": "1.5", "active": "true", "since": "2024-02-01", "tags": '["x","y"]', "more": '{"a":1}',
        "gap": "", "fee": "12.50", "seen": "2024-02-01 10:00:00", "big": "9007199254740993", "country": "FR",
    }  # fmt: skip


def test_a_folder_of_parquet_files_is_joined_by_name(runner, tmp_path):
    (tmp_path / "v").mkdir()
    as_parquet(tmp_path / "v" / "1.parquet", ROWS[:1])
    as_parquet(tmp_path / "v" / "2.parquet", ROWS[1:], "title, email, phone, 'x' as extra")
    merge = merged(runner, tmp_path, tmp_path / "v")
    assert [row[:4] for row in merge.table("merged_result").rows] == MERGED
    assert [row[4] for row in merge.table("merged_result").rows] == ["", "x", ""]


def test_json_values_keep_their_spelling(runner, tmp_path):
    lines = [
        '{"email": "a@x.com", "zip": 1.50, "n": 1e5, "big": 123456789012345678901234567890, "ok": true, "none": null}',
        '{"email": "b@x.com", "late": {"b": [1.0, "é"]}}',
        '{"email": "c@x.com"',
        "",
        '["no", "object"]',
    ]
    (tmp_path / "v.jsonl").write_text("\n".join(lines) + "\n")
    merge = merged(runner, tmp_path, tmp_path / "v.jsonl", max_reject_rate=0.5)
    table = merge.table("merged_result")
    found = dict(zip(table.headers, table.rows[0], strict=True))
    assert [found[name] for name in ("zip", "n", "big", "ok", "none", "late")] == [
        "1.50",
        "1e5",
        "123456789012345678901234567890",
        "true",
        "",
        "",
    ]
    assert table.rows[1][table.headers.index("late")] == '{"b": [1.0, "é"]}'
    assert merge.query("select source_row, line, left(reason, 17) from rejected_rows") == [
        (3, 3, "not a JSON object"),
        (4, 5, "not a JSON object"),
    ]


def test_a_damaged_parquet_file_is_refused_by_name(runner, tmp_path):
    as_parquet(tmp_path / "v.parquet")
    content = (tmp_path / "v.parquet").read_bytes()
    (tmp_path / "v.parquet").write_bytes(content[: len(content) // 2])
    merge = runner(spec_of(tmp_path, tmp_path / "v.parquet"))
    assert not merge.ok
    assert merge.problems[0].startswith("enriched[0]: v.parquet can't be read as Parquet")


def test_a_spec_may_tolerate_more(runner, tmp_path):
    (tmp_path / "v.csv").write_text("email,title,x\na@x.com,CTO,\nb@x.com,\n")
    spec = spec_of(tmp_path, tmp_path / "v.csv")
    assert not runner(spec).ok
    for change in (
        {"guards": {"max_reject_rate": 0.5}},
        {"enriched": [spec["enriched"][0] | {"max_reject_rate": 0.5}]},
    ):
        merge = runner(spec | change, command="build", select=None)
        assert merge.ok, merge.problems
        assert merge.query("select path, line, byte_position, raw_text from rejected_rows") == [
            (str(tmp_path / "v.csv"), 3, 27, "b@x.com,")
        ]
    refused = runner(
        spec
        | {"guards": {"max_reject_rate": 0.5}, "enriched": [spec["enriched"][0] | {"max_reject_rate": 0.1}]}
    )
    assert "more than 10.0 %; repair them, or raise enriched[0].max_reject_rate" in refused.problems[0]


def test_what_is_declared_wins(runner, tmp_path):
    """A header line that could not be told, a file without one, line breaks that look like rows."""
    (tmp_path / "v.csv").write_text("of May\nmail,what\na@x.com,CTO\n")
    merge = merged(
        runner, tmp_path, tmp_path / "v.csv", header_line=2, columns={"mail": "email", "what": "title"}
    )
    assert merge.table("merged_result").rows[0][3] == "CTO"
    (tmp_path / "v.csv").write_text("a@x.com,CTO\nb@x.com,\n")
    assert "looks like data, not like a header" in runner(spec_of(tmp_path, tmp_path / "v.csv")).problems[0]
    merge = merged(
        runner,
        tmp_path,
        tmp_path / "v.csv",
        header_line=0,
        columns={"column_1": "email", "column_2": "title"},
    )
    assert merge.table("merged_result").rows[0][3] == "CTO"
    assert merge.query("select physical_rows from file_profile where source = 'v'") == [(2,)]
    (tmp_path / "v.csv").write_text('email,title\na@x.com,"x\ny, z"\n')
    merge = merged(runner, tmp_path, tmp_path / "v.csv", quoted_newlines=True)
    assert merge.table("merged_result").rows[0][3] == "x\ny, z"


def test_a_file_that_changes_while_it_is_read_is_refused(runner, tmp_path, monkeypatch):
    from crm_merge.reading import profile, streams

    as_csv(tmp_path / "v.csv")
    chunks = streams.chunks

    def growing(path, kind):
        yield from chunks(path, kind)
        if path.name == "v.csv":
            with path.open("a") as file:
                file.write("late@x.com,,\n")

    monkeypatch.setattr(profile.streams, "chunks", growing)
    merge = runner(spec_of(tmp_path, tmp_path / "v.csv"))
    assert not merge.ok
    assert "v.csv changed while it was read; run again when it is complete" in merge.problems[0]


def test_inputs_can_be_limited_to_a_folder(runner, tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").mkdir()
    as_csv(tmp_path / "outside" / "v.csv")
    (tmp_path / "inside" / "v.csv").symlink_to(tmp_path / "outside" / "v.csv")
    spec = spec_of(tmp_path / "inside", tmp_path / "inside" / "v.csv")
    assert runner(spec).ok
    monkeypatch.setenv("CRM_MERGE_INPUT_ROOTS", str(tmp_path / "inside"))
    merge = runner(spec)
    assert not merge.ok
    assert "CRM_MERGE_INPUT_ROOTS" in merge.problems[0]
    assert "outside" not in merge.problems[0]


def assert_hidden(folder, *secrets):
    """No file of a merge directory holds a secret."""
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), path


def test_s3_inputs_get_the_same_treatment(runner, tmp_path, monkeypatch):
    """A glob of packed and plain files, keys that are checked, and no credential anywhere."""
    bucket = tmp_path / "s3" / "vendors"
    bucket.mkdir(parents=True)
    files = write_all(bucket)
    for name in files:
        if name not in ("packed.csv.gz", "cp1252.csv"):
            files[name].unlink()
    with s3_server(tmp_path / "s3") as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        spec = spec_of(tmp_path, "s3://vendors/*.csv*")
        merge = runner(spec, command="build", select=None)
        assert merge.ok, merge.problems
        assert [row[:4] for row in merge.table("merged_result").rows] == MERGED
        assert merge.query("select path, physical_rows from file_profile where file_order > 0 order by 1") == [
            ("s3://vendors/cp1252.csv", 3), ("s3://vendors/packed.csv.gz", 3),
        ]  # fmt: skip
        assert merge.query("select distinct source from crosswalk order by 1") == [
            ("v/cp1252.csv",),
            ("v/packed.csv.gz",),
        ]
        assert_hidden(merge.directory, SECRET_KEY)
        spec["enriched"][0]["path"] = "s3://vendors/cp1253.csv"
        refused = runner(spec)
        assert "cp1252.csv" in refused.problems[0]
        assert refused.problems[0].startswith("enriched[0].path: ")


def test_https_inputs_get_the_same_treatment(runner, tmp_path, monkeypatch):
    (tmp_path / "web").mkdir()
    write_all(tmp_path / "web")
    secret = "s3cr3t" + "-of-the-vendor"
    with https_server(tmp_path / "web") as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
        monkeypatch.setenv("CRM_MERGE_VENDOR", secret)
        spec = spec_of(tmp_path, f"{server.url}/cp1252.csv?sig=${{CRM_MERGE_VENDOR}}")
        merge = runner(spec, command="build", select=None)
        assert merge.ok, merge.problems
        assert [row[:4] for row in merge.table("merged_result").rows] == MERGED
        assert merge.query("select path from file_profile where file_order = 1") == [
            (f"{server.url}/cp1252.csv",)
        ]
        assert_hidden(merge.directory, secret)


def test_parquet_of_over_a_thousand_columns_is_read(tmp_path):
    """The engine reads no expression that is a thousand deep, which a sum of as many columns was."""
    columns = ", ".join(f"'v{n}' as n{n}" for n in range(1100))
    with duckdb.connect() as connection:
        connection.execute(f"copy (select 'a@x.com' as email, {columns}) to '{tmp_path}/v.parquet'")
    reading = read(tmp_path / "v.parquet")
    assert reading.problem is None
    assert [(len(cells), cells[-1]) for _, cells in reading.rows] == [(1101, "v1099")]
