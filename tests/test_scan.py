"""The fast pass and the careful reader against a slow and obvious parser, whatever the blocks the bytes come in."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_merge.reading import FileProblem, repair
from crm_merge.reading.dialect import Dialect
from crm_merge.reading.scan import LONG, TOGETHER, Density, Scan
from tests import slow_csv

PIECES = ['"', '""', ",", "\n", "\r\n", "\r", "a", "bc", " ", '"x"', '"y\n"', "é", "1", '","', ',"\n']


def blocks_of(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cuts bytes into blocks of these sizes, again and again."""
    blocks, place, turn = [], 0, 0
    while place < len(data):
        blocks.append(data[place : place + sizes[turn % len(sizes)]])
        place, turn = place + sizes[turn % len(sizes)], turn + 1
    return blocks


texts = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
sizes = st.lists(st.integers(1, 7), min_size=1, max_size=10)


@settings(max_examples=3000, deadline=None)
@given(data=texts, sizes=sizes, width=st.sampled_from([1, 2, 3]))
def test_what_the_fast_pass_calls_regular_is_read_alike_by_every_parser(data, sizes, width):
    """Each record has the width, line ends are of one kind, no line is blank: and the count is right."""
    scan = Scan(",", width)
    for block in blocks_of(data.encode(), sizes):
        scan.feed(block)
    scan.finish()
    if scan.regular:
        expected = slow_csv.parse(data, ",")
        assert expected is not None
        assert all(len(row.cells) == width for row in expected)
        assert scan.records == len(expected)
        assert [row.cells for row in expected] == list(csv.reader(io.StringIO(data, newline="")))


@settings(max_examples=1500, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.sampled_from(["", "a", "b c", 'say "x"', "1,2", "two\nlines", "é", "'q'"]), min_size=3, max_size=3),
        min_size=1, max_size=8,
    ),
    sizes=sizes, newline=st.sampled_from(["\n", "\r\n"]), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)  # fmt: skip
def test_a_well_written_file_is_regular(rows, sizes, newline, quoting):
    """So that the fast pass is the usual one: it finds a file irregular only if something in it is."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=newline, quoting=quoting)
    writer.writerow(["key", "head", "last"])
    writer.writerows(rows)
    scan = Scan(",", 3)
    for block in blocks_of(out.getvalue().encode(), sizes):
        scan.feed(block)
    scan.finish()
    assert scan.regular, scan.why
    assert scan.records == len(rows) + 1
    assert scan.crlf == (newline == "\r\n")


@settings(max_examples=3000, deadline=None)
@given(data=texts, sizes=sizes, width=st.sampled_from([2, 3]))
def test_the_careful_reader_reads_regular_records_as_they_are(data, sizes, width):
    """In any text: a record that strict quoting gives the right width is a row with just these cells, or rejected."""
    header = [f"h{n}" for n in range(1, width + 1)]
    content = (",".join(header) + "\n" + data).encode()
    reader = repair.Reader("x", Dialect(",", header=header))
    try:
        found = list(reader.read(iter(blocks_of(content, sizes))))
    except FileProblem as problem:
        assert "a second table seems to begin" in str(problem)
        return
    assert [item.number for item in found] == list(range(1, len(found) + 1))
    expected = slow_csv.parse(content.decode(), ",")
    if expected is not None and all(len(row.cells) in (0, width) for row in expected):
        wanted = [row.cells for row in expected[1:] if row.cells]
        for item in found:
            if isinstance(item, repair.Row):
                assert item.cells in wanted
        if not any(isinstance(item, repair.Reject) for item in found):
            blank = [cells for cells in wanted if len(cells) == 1]
            assert [item.cells for item in found] == [cells for cells in wanted if cells not in blank]


@settings(max_examples=2000, deadline=None)
@given(data=texts, sizes=sizes)
def test_lines_are_the_same_whatever_the_blocks(data, sizes):
    """Number, offset and content of every physical line."""
    whole = list(repair.physical_lines(iter([data.encode()])))
    assert list(repair.physical_lines(iter(blocks_of(data.encode(), sizes)))) == whole
    assert b"".join(line.content for line in whole) == data.encode()
    assert [line.offset for line in whole] == [
        sum(line.size for line in whole[:n]) for n in range(len(whole))
    ]


def test_a_line_without_end_is_cut_off_in_constant_memory(monkeypatch):
    """Lines after it keep their numbers and places."""
    monkeypatch.setattr(repair, "MAX_RECORD", 1000)
    monkeypatch.setattr(repair, "RAW", 100)
    content = b"a,b\n1," + b"x" * 5000 + b"\r\n2,y\n"
    for size in (1, 7, 64, 999, 6000):
        lines = list(repair.physical_lines(iter(blocks_of(content, [size]))))
        assert [(line.number, line.offset, line.size) for line in lines] == [
            (1, 0, 4),
            (2, 4, 5004),
            (3, 5008, 4),
        ] or size == 1
        assert all(len(line.content) <= 1001 for line in lines)
        reader = repair.Reader("x", Dialect(",", header=["a", "b"]))
        items = list(reader.read(iter(blocks_of(content, [size]))))
        assert [type(item).__name__ for item in items] == ["Reject", "Row"]
        assert "a line of 5,00" in items[0].reason


def test_one_unclosed_quote_costs_one_row():
    """Not the file: reading goes on with the next line."""
    lines = [f"{n},name {n},p{n}@x.com\n" for n in range(1, 50)]
    lines[9] = '10,"name 10,p10@x.com\n'
    lines[30] = '31,"name, 31",p31@x.com\n'
    content = ("id,name,mail\n" + "".join(lines)).encode()
    reader = repair.Reader("x", Dialect(",", header=["id", "name", "mail"]))
    items = list(reader.read(iter([content])))
    assert [item.number for item in items if isinstance(item, repair.Reject)] == [10]
    assert [item.line.number for item in items if isinstance(item, repair.Reject)] == [11]
    assert len(items) == 49


@settings(max_examples=300, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30_000), max_size=40),
    pieces=st.lists(st.integers(1, 5000), min_size=1, max_size=8),
)
def test_the_densest_rows_are_found_whatever_the_blocks(sizes, pieces):
    """Against the sum of each 2,048 rows; some rows come one by one, as the careful reader gives them."""
    rows = np.repeat(np.array(sizes, dtype=np.int64), 300)
    density, start = Density(), 0
    while start < len(rows):
        for size in pieces:
            if size % 3:
                density.add_all(rows[start : start + size])
            else:
                for row in rows[start : start + size]:
                    density.add(int(row))
            start += size
    most = max((int(rows[at : at + TOGETHER].sum()) for at in range(0, len(rows), TOGETHER)), default=0)
    assert density.found() == {
        "densest": math.ceil(most / TOGETHER),
        "long_bytes": int(rows[rows > LONG].sum()),
    }
