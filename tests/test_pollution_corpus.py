"""The corpus of polluted files and its slow parser are themselves right."""

from __future__ import annotations

import csv
import io
from copy import deepcopy

import pytest

from tests import slow_csv
from tests.oracle import Table
from tests.pollution import (
    BOM,
    POLLUTIONS,
    STAGES,
    Incompatible,
    Polluted,
    Reading,
    clean,
    pairs,
    polluted,
    right,
    verdict,
)

SEEDS = range(5)
# Of kind 'same', but not by the letter of RFC 4180.
IRREGULAR = {"backslash escapes", "spaces before quotes"}


# -- The slow parser --

REGULAR = {
    "": [],
    "a,b\n1,2\n": [(1, 0, ["a", "b"]), (2, 4, ["1", "2"])],
    "a,b\r\n1,2": [(1, 0, ["a", "b"]), (2, 5, ["1", "2"])],
    "a\rb\r\rc": [(1, 0, ["a"]), (2, 2, ["b"]), (3, 4, []), (4, 5, ["c"])],
    "\n\na": [(1, 0, []), (2, 1, []), (3, 2, ["a"])],
    "a\n\r\n\n": [(1, 0, ["a"]), (2, 2, []), (3, 4, [])],
    ",\n": [(1, 0, ["", ""])],
    "a,\n,b": [(1, 0, ["a", ""]), (2, 3, ["", "b"])],
    '""\nx': [(1, 0, [""]), (2, 3, ["x"])],
    '"",""': [(1, 0, ["", ""])],
    '"a,b",c': [(1, 0, ["a,b", "c"])],
    '"say ""hi""",""""\n': [(1, 0, ['say "hi"', '"'])],
    '"one\ntwo\r\nthree\rfour",x\ny,z': [(1, 0, ["one\ntwo\r\nthree\rfour", "x"]), (5, 24, ["y", "z"])],
    ' a ,"\t"\n': [(1, 0, [" a ", "\t"])],
    "é,日本\nx\u2028y\x85z": [(1, 0, ["é", "日本"]), (2, 5, ["x\u2028y\x85z"])],
    "\ufeffa": [(1, 0, ["\ufeffa"])],
    "it's": [(1, 0, ["it's"])],
}
NOT_REGULAR = [
    '"',
    '"a',
    'a"',
    'a"b"',
    '"a"b',
    '"a" ,b',
    ' "a"',
    '"a""',
    '"a\nb',
    '"""',
    'x,"a\n"b"',
    '"a"""b"',
]


@pytest.mark.parametrize("text", REGULAR)
def test_regular_text_has_one_reading(text):
    assert slow_csv.parse(text, ",") == [slow_csv.Row(*row) for row in REGULAR[text]]


@pytest.mark.parametrize("text", NOT_REGULAR)
def test_other_text_has_none(text):
    assert slow_csv.parse(text, ",") is None


def test_delimiter_and_quote_are_the_callers():
    rows = slow_csv.parse("'a;''b''';c,\"d\"\n", ";", "'")
    assert rows == [slow_csv.Row(1, 0, ["a;'b'", 'c,"d"'])]


# -- The corpus --


def perfect(file: Polluted) -> Reading:
    """What the best reader gives."""
    if not file.truth.headers:
        return Reading("no table")
    return Reading(None, list(file.truth.headers), list(enumerate(deepcopy(file.truth.rows), 1)))


def slow_reading(file: Polluted) -> Table | None:
    """Headers and rows of a regular UTF-8 file by the slow parser, without what is no row."""
    parsed = slow_csv.parse(file.content.decode().lstrip(BOM), file.delimiter, file.quote)
    if parsed is None:
        return None
    rows = [row.cells for row in parsed if row.cells]
    no_rows = {text for text in file.extra_rows if text}
    rows = [cells for cells in rows if file.delimiter.join(cells) not in no_rows]
    width = len(file.truth.headers)
    rows = [cells[:width] if cells[width:] == [""] else cells for cells in rows]  # a trailing delimiter
    return Table(rows[0], rows[1:])


def readable(file: Polluted) -> bool:
    """Certain, and plain UTF-8."""
    plain = "gz" not in file.suffix and "zst" not in file.suffix and file.content[:2] != b"\x1f\x8b"
    return file.kind != "broken" and file.encoding == "utf-8" and plain


def test_there_are_many():
    assert len(POLLUTIONS) >= 50
    assert {p.stage for p in POLLUTIONS.values()} == set(STAGES)
    assert len(pairs()) > 1000


def test_a_clean_table_has_what_makes_reading_hard():
    for seed in SEEDS:
        table = clean(seed)
        text = "\0".join(cell for row in table.rows for cell in row)
        assert len(table.rows) == 12 and {len(row) for row in [table.headers, *table.rows]} == {6}
        assert len({row[0] for row in table.rows}) == 12
        assert all(piece in text for piece in [",", '"', "\n", ";", "'", "\0\0", "\0000"]), seed
        assert text.encode("cp1252") and not text.isascii()
    assert clean(1) == clean(1) != clean(2)
    for rows, columns in [(0, 1), (1, 1), (1, 2), (30, 12)]:
        table = clean(1, rows, columns)
        assert len(table.rows) == rows and {len(row) for row in [table.headers, *table.rows]} == {columns}


@pytest.mark.parametrize("name", POLLUTIONS)
def test_every_pollution_applies(name):
    for seed in SEEDS:
        table = clean(seed)
        before = deepcopy(table)
        file, plain = polluted(table, [name], seed), polluted(table, [], seed)
        assert table == before and file == polluted(table, [name], seed)
        assert (file.content, file.suffix) != (plain.content, plain.suffix)
        assert verdict(file, perfect(file)) is None
        assert right(file, perfect(file)) == bool(file.truth.headers)
        if file.kind == "same":
            assert file.truth == table and not file.damaged
        elif file.kind == "changed":
            assert (file.truth != table) and not file.damaged
        if readable(file):
            assert slow_reading(file) == (None if name in IRREGULAR else perfect_table(file)), seed


def perfect_table(file: Polluted) -> Table:
    return Table([header.lstrip(BOM) for header in file.truth.headers], file.truth.rows)


def test_pairs():
    """Any two whose slots differ: the truth stays consistent, and the order of the names does not matter."""
    impossible = 0
    for n, names in enumerate(pairs()):
        try:
            file = polluted(clean(n % 7), list(names), n)
        except Incompatible:
            impossible += 1
            continue
        assert verdict(file, perfect(file)) is None, names
        assert len(file.texts) == len(file.truth.rows) and all(k < len(file.texts) for k in file.damaged), (
            names
        )
        if n % 20 == 0:
            assert file.content == polluted(clean(n % 7), [names[1], names[0]], n).content, names
        if readable(file) and not IRREGULAR & set(names):
            assert slow_reading(file) == perfect_table(file), names
    assert impossible < len(pairs()) / 20


@pytest.mark.parametrize(
    "names",
    [
        ["semicolons", "tabs"],
        ["cp1252", "UTF-16 LE"],
        ["gzip", "zstd"],
        ["an empty file", "semicolons"],
        ["cells with emoji and other scripts", "cp1252"],
        ["header only", "one row with too few cells"],
        ["a footer", "the file cut off in mid line"],
        ["gzip", "gzip"],
    ],
)
def test_what_does_not_go_together_says_so(names):
    with pytest.raises(Incompatible):
        polluted(clean(1), names, 1)


def test_damage_shows():
    """No reader could tell of a damaged row that is a regular row with other cells."""
    in_bytes = {
        "a byte order mark before a row in the middle",
        "one invalid byte in UTF-8",
        "one cp1252 line in UTF-8",
    }
    only_the_next_line_shows_it = {"a line break inside an unquoted last cell"}
    for name in POLLUTIONS.keys() - in_bytes - only_the_next_line_shows_it:
        for seed in SEEDS:
            file = polluted(clean(seed), [name], seed)
            for n in file.damaged:
                rows = slow_csv.parse(file.texts[n], file.delimiter, file.quote) or []
                full = [row.cells for row in rows if len(row.cells) == len(file.truth.headers)]
                assert all(cells in file.truth.rows for cells in full), (name, seed, file.texts[n])


# -- The verdict --


def dropped(reading: Reading) -> None:
    del reading.rows[4]


def dropped_last(reading: Reading) -> None:
    del reading.rows[-1]


def swapped(reading: Reading) -> None:
    reading.rows[3:5] = reading.rows[4:2:-1]


def shifted(reading: Reading) -> None:
    cells = reading.rows[5][1]
    cells[:] = [*cells[1:], cells[0]]


def short_row(reading: Reading) -> None:
    del reading.rows[5][1][-1]


def trimmed(reading: Reading) -> None:
    reading.rows[5][1][0] += " "


def line_end(reading: Reading) -> None:
    cells = next(cells for _, cells in reading.rows if "\n" in "".join(cells))
    cells[:] = [cell.replace("\n", "\r\n") for cell in cells]


def invented(reading: Reading) -> None:
    reading.rows.append((13, ["C-0013", *reading.rows[0][1][1:]]))


def doubled(reading: Reading) -> None:
    reading.rows.insert(2, reading.rows[1])


def wrong_header(reading: Reading) -> None:
    reading.header[1] += "_1"


def header_lost(reading: Reading) -> None:
    del reading.header[-1]


def extra_column(reading: Reading) -> None:
    reading.header.append("column_7")
    for n, (_, cells) in enumerate(reading.rows):
        cells.append("x" if n == 3 else "")


ERRORS = [
    dropped,
    dropped_last,
    swapped,
    shifted,
    short_row,
    trimmed,
    line_end,
    invented,
    doubled,
    wrong_header,
    header_lost,
    extra_column,
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    "names", [[], ["semicolons", "gzip"], ["cp1252"], ["a footer"], ["width changes midway"]], ids=str
)
def test_a_silent_error_is_found(names, error):
    file = polluted(clean(3), names, 3)
    reading = perfect(file)
    error(reading)
    reading.notes += ["encoding cp1252 was assumed", "something may be wrong"]
    reading.rejects += [
        (13, 14, 999, "too few cells", text) for text in file.extra_rows
    ]  # tells of no missing row
    assert verdict(file, reading) and not right(file, reading)


def test_a_reject_tells_of_one_missing_row_or_of_those_it_shows():
    file = polluted(clean(3), [], 3)
    reading = perfect(file)
    del reading.rows[4:6]
    reading.rejects = [(5, 6, 0, "bad", "")]
    assert verdict(file, reading)
    reading.rejects *= 2
    assert verdict(file, reading) is None and not right(file, reading)  # told, although the rows were sound
    reading.rejects = [(5, 6, 0, "bad", "\n".join(file.texts[4:6]))]
    assert verdict(file, reading) is None


def test_a_damaged_row_may_be_rejected_or_repaired_but_not_altered():
    file = polluted(clean(3), ["one row with too few cells"], 3)
    (n,) = file.damaged
    assert right(file, perfect(file))
    rejected = perfect(file)
    rejected.rejects = [(n + 1, n + 2, 0, "too few cells", file.texts[n])]
    del rejected.rows[n]
    assert verdict(file, rejected) is None and right(file, rejected)
    altered = perfect(file)
    altered.rows[n][1][:] = [*file.texts[n].split(","), ""]
    altered.notes = ["row padded"]
    assert verdict(file, altered)


def test_rows_joined_into_one_line_need_one_reject():
    file = polluted(clean(3), ["rows joined into one line"], 3)
    assert len(file.damaged) == 2
    reading = perfect(file)
    first = min(file.damaged)
    del reading.rows[first : first + 2]
    assert verdict(file, reading)
    reading.rejects = [(first + 1, first + 2, 0, "too many cells", file.texts[first] + "\n")]
    assert verdict(file, reading) is None and right(file, reading)


def test_both_parts_of_a_broken_row_tell_of_that_row_only():
    file = polluted(clean(3), ["a line break inside an unquoted cell"], 3)
    (n,) = file.damaged
    reading = perfect(file)
    del reading.rows[n]
    reading.rejects = [(n + 1, n + 2, 0, "too few cells", part) for part in file.texts[n].split("\n")]
    assert verdict(file, reading) is None and right(file, reading)
    del reading.rows[0 if n else 1]
    assert verdict(file, reading)


def test_a_problem_is_told_but_not_right():
    for names in [[], ["an empty file"], ["a footer"]]:
        file = polluted(clean(3), names, 3)
        assert verdict(file, Reading("can't be read")) is None and not right(file, Reading("can't be read"))
    empty = Reading(None)
    assert verdict(polluted(clean(3), ["an empty file"], 3), empty)


def test_a_note_about_the_encoding_tells_of_wrong_letters_only():
    file = polluted(clean(3), ["cp437"], 3)
    reading = perfect(file)
    for _, cells in reading.rows:
        cells[:] = [cell.encode("cp437").decode("cp1252", "replace") for cell in cells]
    reading.notes = ["12 rows"]
    assert verdict(file, reading)
    reading.notes = ["it is not UTF-8 and was read as cp1252"]
    assert verdict(file, reading) is None and not right(file, reading)
    reading.rows[3][1][0] = "C-9999"
    assert verdict(file, reading)


def test_headers_may_lose_a_mark_and_get_a_name():
    file = polluted(clean(3), ["a blank header", "a byte order mark"], 3)
    reading = perfect(file)
    k = reading.header.index("")
    reading.header[k] = f"column_{k + 1}"
    reading.header[0] = BOM + reading.header[0]
    assert verdict(file, reading) is None and right(file, reading)
    reading.header[k] = f"column_{k}"
    assert verdict(file, reading)


def test_empty_columns_after_the_last_lose_nothing():
    file = polluted(clean(3), ["trailing delimiter on every line"], 3)
    reading = perfect(file)
    reading.header.append("column_7")
    for _, cells in reading.rows:
        cells.append("")
    assert verdict(file, reading) is None and right(file, reading)


# -- A reader that believes everything --

# What Python's csv module, told the delimiter and that it is UTF-8, reads wrongly without a word.
BELIEVED = {
    "no header",
    "single quotes",
    "backslash escapes",
    "spaces before quotes",
    "sep= line",
    "no quotes at all",
    "one row with too few cells",
    "one row with too many cells",
    "an unterminated quote at a cell's beginning",
    "a missing opening quote",
    "a line break inside an unquoted cell",
    "a line break inside an unquoted last cell",
    "another delimiter in one row",
    "one row wrapped in quotes as a whole",
    "every line wrapped in quotes as a whole",
    "rows joined into one line",
    "width changes midway",
    "the header repeated in the middle",
    "a title and a blank line first",
    "a title padded with delimiters",
    "the same file twice",
    "a footer",
    "a footer padded with delimiters",
    "a second table of another width",
    "a second table of the same width",
    "the file cut off in mid line",
    "the file cut off inside quotes",
    "Ctrl-Z at the end",
    "an HTML page instead",
    "a JSON array instead",
}
TAKEN_WELL = {
    "semicolons",
    "CR LF line ends",
    "a byte order mark",
    "blank lines in the middle",
    "a row twice",
}


@pytest.mark.parametrize("name", sorted(BELIEVED | TAKEN_WELL))
def test_a_reader_that_believes_everything_is_found_out(name):
    for seed in SEEDS:
        file = polluted(clean(seed), [name], seed)
        text = io.StringIO(file.content.decode("utf-8-sig"), newline="")
        header, *rows = (row for row in csv.reader(text, delimiter=file.delimiter) if row)
        found = verdict(file, Reading(None, header, list(enumerate(rows, 1))))
        assert (found is not None) == (name in BELIEVED), found
