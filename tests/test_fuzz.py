"""Anything at all as an input: what is read is right, or something is said. No traceback, no silence, bounded memory.

CRM_MERGE_FUZZ_SECONDS=1800 makes each test go on for that long; what it found is kept in FOUND.
"""

from __future__ import annotations

import gzip
import json
import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import slow_csv
from tests.reader import read

SECONDS = float(os.environ.get("CRM_MERGE_FUZZ_SECONDS", "0"))

# Inputs that once were read wrongly without a word, ended in a traceback, or took too long.
FOUND: list[bytes] = [b'\xef\xbb\xbf\n{}\n{"id": null}']

TOKENS = [
    b"id", b"email", b"name", b"a@b.co", b"1", b"x y", b"", b" ", b"\t", b'"', b'""', b"'", b"''", b"\\", b'\\"', b",", b";",
    b"|", b"^", b"\n", b"\r\n", b"\r", b"\n\n", b"\0", b"\x1a", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xe9", b"\xc3\xa9",
    b"\x81", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\x0b", b"\x0c", b"\x85", b"{", b"}", b'{"a": 1}', b"[", b"<html>",
    b"sep=;", b"#", b"Total: 3 rows", b"PAR1", b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"{{ 1 }}", b"'; drop table x; --",
]  # fmt: skip
HEADERS = [
    b"id,name,email\n",
    b"id;name;email\r\n",
    b"id\tname\temail\n",
    b'"id","name","email"\n',
    b"email\n",
    b"",
]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Bytes that are nearly a CSV file, or not at all."""
    kind = draw(st.sampled_from(["tokens", "tokens", "tokens", "bytes", "rows", "json"]))
    if kind == "bytes":
        return draw(st.binary(max_size=300))
    if kind == "json":
        values = st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
            ),
            max_leaves=4,
        )
        objects = draw(
            st.lists(
                st.dictionaries(st.sampled_from(["id", "name", "e", "é", ""]), values, max_size=3), max_size=6
            )
        )
        lines = [
            json.dumps(one, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
            for one in objects
        ]
        at = draw(st.integers(0, len(lines)))
        return b"\n".join(lines[:at] + draw(st.lists(st.sampled_from(TOKENS), max_size=2)) + lines[at:])
    tokens = st.sampled_from(TOKENS)
    if kind == "rows":
        delimiter = draw(st.sampled_from([b",", b";", b"\t", b"|"]))
        cells = st.sampled_from(
            [
                *(t for t in TOKENS if b"\n" not in t and b"\r" not in t),
                b'"a,b"',
                b'"two\nlines"',
                b'"say ""x"""',
            ]
        )
        rows = draw(st.lists(st.lists(cells, min_size=3, max_size=3), max_size=8))
        body = b"".join(delimiter.join(row) + draw(st.sampled_from([b"\n", b"\n", b"\r\n"])) for row in rows)
        return delimiter.join([b"id", b"name", b"email"]) + b"\n" + body
    return draw(st.sampled_from(HEADERS)) + b"".join(draw(st.lists(tokens, max_size=40)))


def check(content: bytes, path) -> None:
    """Reads bytes as a file, and holds what is accepted without a word against the slow parser."""
    path.write_bytes(content)
    started = time.monotonic()
    reading = read(path)  # nothing may be raised
    assert time.monotonic() - started < 10
    if reading.problem:
        assert "Traceback" not in reading.problem
        assert len(reading.problem) < 2000
        return
    numbers = sorted([number for number, _ in reading.rows] + [reject[0] for reject in reading.rejects])
    assert numbers == list(range(1, len(numbers) + 1)), "each physical row is parsed or rejected"
    assert all(len(cells) == len(reading.header) for _, cells in reading.rows)
    assert all(reason for *_, reason, _ in reading.rejects)
    if reading.notes or reading.rejects or content.lstrip()[:1] == b"{":
        return
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:2]
    text = (
        decoded(content) if wide else content.removeprefix(b"\xef\xbb\xbf").decode()
    )  # else it would be said
    delimiters = [d for d in ",;\t|^~:\x1f\x01" if matches(reading, slow_csv.parse(text, d))]
    assert delimiters, (
        "accepted without a word, but the slow parser reads it differently under every delimiter"
    )


def decoded(content: bytes) -> str:
    """Decodes UTF-16, with a mark or without one, and UTF-32 with one."""
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return content.decode("utf-32")
    return content.decode("utf-16" if content[0] > 127 else "utf-16-be" if content[0] == 0 else "utf-16-le")


def matches(reading, rows) -> bool:
    """Says whether rows of the slow parser are those that were read."""
    if not rows or len(rows[0].cells) != len(reading.header):
        return False
    return [cells for _, cells in reading.rows] == [row.cells for row in rows[1:]]


# derandomized: the same examples each time; a long run goes on with others, round by round
@settings(
    max_examples=1500,
    deadline=None,
    derandomize=not SECONDS,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(content=files())
def fuzz(folder, content):
    check(content, folder / "vendor.csv")


def test_any_bytes(tmp_path):
    """Random near-CSV: right, or told."""
    until = time.monotonic() + SECONDS
    fuzz(tmp_path)
    while time.monotonic() < until:
        fuzz(tmp_path)


@pytest.mark.parametrize("content", FOUND)
def test_what_once_went_wrong(content, tmp_path):
    check(content, tmp_path / "vendor.csv")


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_a_packed_file_cut_off_or_changed_anywhere_is_told(cut, tmp_path):
    content = b"id,name,email\n" + b"".join(b"%d,name %d,p%d@x.com\n" % (n, n, n) for n in range(200))
    packed = gzip.compress(content)
    for broken in (
        packed[: len(packed) - 1 - cut],
        packed[:cut] + bytes([packed[cut] ^ 0x10]) + packed[cut + 1 :],
    ):
        path = tmp_path / "vendor.csv.gz"
        path.write_bytes(broken)
        reading = read(path)
        assert reading.problem or [row[1][0] for row in reading.rows] == [str(n) for n in range(200)]
