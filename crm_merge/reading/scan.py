"""One fast pass over the bytes: is the file regular, and how many records does it hold?

Regular means that every parser reads it alike: each record has as many cells as the header, quotes stand at
the ends of cells only (or doubled inside), all records end alike, no line is blank. The count does not come from
a CSV parser; it is what the rows that DuckDB reads are held against. Anything else is left to reading.repair.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable

import numpy as np

LF, CR = 10, 13
MAX_RECORD = 4_000_000  # bytes; DuckDB is told 4 MiB
TOGETHER = 2048  # rows that DuckDB reads and hands on at once, whatever they hold
LONG = 2000  # bytes of a row that is long
BOM = b"\xef\xbb\xbf"
# U+FFFD, and UTF-8 that was taken for cp1252 and encoded once more (Ã©, â€™)
LOST = (b"\xef\xbf\xbd", b"\xc3\x83\xc2", b"\xc3\xa2\xe2\x82\xac")


class Density:
    """How long rows are where they are longest, which says how much a few of them take as they stand in their file, and what all long
    ones hold together: a merge may bring those together that stand apart.
    """  # fmt: skip

    def __init__(self) -> None:
        self.most = self.bytes = self.rows = (
            0  # of the largest TOGETHER rows, and of those that are being gathered
        )
        self.long = 0  # bytes of long rows

    def add(self, size: int) -> None:
        """Takes in the bytes of the next row."""
        self.bytes += size
        self.rows += 1
        self.long += size if size > LONG else 0
        if self.rows == TOGETHER:
            self.most = max(self.most, self.bytes)
            self.bytes = self.rows = 0

    def add_all(self, sizes: np.ndarray) -> None:
        """Takes in the bytes of each of the next rows."""
        self.long += int(sizes[sizes > LONG].sum())
        for start in range(0, len(sizes), TOGETHER):
            some = sizes[start : start + TOGETHER]
            room = TOGETHER - self.rows
            self.bytes += int(some[:room].sum())
            self.rows += len(some[:room])
            if self.rows == TOGETHER:
                self.most = max(self.most, self.bytes)
                self.bytes, self.rows = int(some[room:].sum()), len(some[room:])

    def found(self) -> dict[str, int]:
        """Returns densest, the bytes of a row among the largest TOGETHER rows, rounded up (rows that a smaller file lacks count as empty),
        and long_bytes, those of all rows of over LONG bytes.
        """  # fmt: skip
        return {"densest": -(max(self.most, self.bytes) // -TOGETHER), "long_bytes": self.long}


class Scan:
    """Scans blocks of bytes that hold quotes, delimiters and line ends as single bytes; constant memory.

    ``regular`` turns False for good as soon as something is not (``why`` says what); then counts mean nothing.
    """

    def __init__(
        self,
        delimiter: str,
        width: int,
        quoted_newlines: bool = False,
        no_row: Callable[[list[str]], bool] = lambda cells: False,
    ):
        self.no_row = (
            no_row  # may these cells be another line than a row? Asked where a line has no digit and no @
        )
        self.delimiter, self.width, self.quoted_newlines = ord(delimiter), width, quoted_newlines
        self.records = 0  # header included
        self.regular = True
        self.why = ""
        self.crlf: bool | None = None  # do records end with CR LF?
        self.rest = b""  # the beginning of a record whose end has not come yet
        self.header: bytes | None = None
        self.multiline = False  # does a quoted cell hold a line break?
        self.density = Density()
        self.first: list[bytes] = []  # the first records after the header
        self.last: deque[bytes] = deque(maxlen=5)  # the last records
        self.empty = 0  # records that hold delimiters only
        self.odd = False  # does the text hold characters that stand for what was lost before?
        self.tells = bytes(48 <= byte < 58 or byte == ord("@") for byte in range(256))
        self.table = bytes(byte in (LF, ord('"'), self.delimiter) for byte in range(256))

    def feed(self, chunk: bytes) -> None:
        """Scans one more block."""
        if not self.regular or not chunk:
            return
        block = self.rest + chunk if self.rest else chunk
        end = self.scan(block)
        self.rest = block[end:]
        if self.regular and len(self.rest) > MAX_RECORD:
            self.stop("a line that is too long")

    def finish(self) -> None:
        """Scans what stands after the last line end."""
        if self.regular and self.rest:
            end = b"\r\n" if self.crlf else b"\n"
            whole = self.rest + end
            if self.scan(whole) != len(whole):
                self.stop("a quote that is never closed")
            self.rest = b""

    def stop(self, why: str) -> int:
        """Says that the file is not regular."""
        self.regular, self.why = False, self.why or why
        return 0

    def scan(self, block: bytes) -> int:
        """Scans a block that begins with a record; returns where its last whole record ends."""
        if b"\0" in block:
            return self.stop("a NUL byte")
        if b"\n" + BOM in block or b"\x1a" in block:
            return self.stop("a mark inside the file")
        if self.header is not None and (self.header in block or block.startswith(self.header[1:])):
            return self.stop("the header once more")
        data = np.frombuffer(block, dtype=np.uint8)
        # One array of what gives a record its shape: quotes, delimiters and line ends.
        places = np.flatnonzero(np.frombuffer(block.translate(self.table), dtype=bool))
        kinds = data[places]
        is_end = kinds == LF
        has_quotes = b'"' in block
        if has_quotes:
            is_quote = kinds == 34
            inside = (np.cumsum(is_quote, dtype=np.uint8) & 1).view(
                bool
            )  # after each of these bytes: in quotes?
            if not self.quotes_fit(data, places, is_quote, inside):
                return self.stop("a quote inside a cell")
            line_feeds = is_end
            self.multiline = self.multiline or bool((is_end & inside).any()) or lone_carriage(block)
            is_end = is_end & ~inside
            shape = kinds[~(is_quote | inside)]
        else:
            shape = kinds
        places_of_ends = places[is_end]
        count = len(places_of_ends)
        if not count:
            return 0
        last = int(places_of_ends[-1]) + 1
        whole = shape[: count * self.width]
        if len(whole) < count * self.width or not (whole[self.width - 1 :: self.width] == LF).all():
            return self.stop("a row with more or fewer cells")
        starts = np.concatenate(([0], places_of_ends[:-1] + 1))
        if int((places_of_ends - starts).max()) > MAX_RECORD:
            return self.stop("a line that is too long")
        if not self.line_ends_fit(block[:last], data, places_of_ends):
            return self.stop("line ends of several kinds")
        if self.width == 1 and bool((places_of_ends - starts <= bool(self.crlf)).any()):
            return self.stop("a blank line")
        if (
            has_quotes
            and self.width > 1
            and not self.quoted_newlines
            and self.swallows(kinds, places, line_feeds, inside, last)
        ):
            return self.stop("a quoted cell that seems to hold whole rows")
        if self.header is None:
            header = block[: int(places_of_ends[0]) + 1]
            while header.startswith(BOM):
                header = header[len(BOM) :]
            self.header = b"\n" + header
            if self.crlf and b"\n" in block[: int(places_of_ends[0]) - 1]:
                return self.stop("a line break in the header")
            if self.header in block:
                return self.stop("the header once more")
            whole_records = slice(1, None)
        else:
            whole_records = slice(0, None)
        lengths = places_of_ends - starts - bool(self.crlf)
        self.density.add_all(lengths[whole_records])
        if self.width > 1:
            self.empty += int((lengths[whole_records] == self.width - 1).sum())
        self.odd = self.odd or (not block.isascii() and any(mark in block for mark in LOST))
        telling = np.logical_or.reduceat(
            np.frombuffer(block.translate(self.tells), dtype=bool)[:last], starts
        )
        for at in np.flatnonzero(~telling)[(self.records == 0 and not telling[0]) :]:
            record = block[int(starts[at]) : int(places_of_ends[at])]
            if lengths[at] >= self.width and self.no_row(self.cells(record)):
                return self.stop("a line that may be no row")
        if self.records == 0:
            spans = zip(starts[1:4], places_of_ends[1:4], strict=True)
            self.first = [block[int(start) : int(end)] for start, end in spans]
        self.records += count
        for start, end in zip(starts[-5:], places_of_ends[-5:], strict=True):
            self.last.append(block[int(start) : int(end)])
        return last

    def cells(self, record: bytes) -> list[str]:
        """Returns the cells of a record roughly, quotes left out: for a look at its words."""
        text = record.decode("utf-8", "replace").strip("\r\n")
        if '"' in text:
            return next(csv.reader([text], delimiter=chr(self.delimiter)), [""])
        return text.split(chr(self.delimiter))

    def quotes_fit(
        self, data: np.ndarray, places: np.ndarray, is_quote: np.ndarray, inside: np.ndarray
    ) -> bool:
        """Says whether each quote opens a cell, closes one, or is doubled; the block begins a record.

        That is, whether its neighbour on that side is one of the bytes that give a record its shape, too.
        """
        apart = np.diff(places) != 1
        opening, closing = is_quote & inside, is_quote & ~inside
        if (opening[0] and places[0] > 0) or (opening[1:] & apart).any():
            return False
        # CR ends a cell when LF follows. The block's last byte is looked at again, with the next block.
        odd = closing[:-1] & apart
        after = places[:-1][odd] + 1
        if closing[-1] and places[-1] + 1 < len(data):
            after = np.append(after, places[-1] + 1)
        if not len(after):
            return True
        if not (data[after] == CR).all():
            return False
        after = after[after + 1 < len(data)]
        return bool((data[after + 1] == LF).all())

    def line_ends_fit(self, block: bytes, data: np.ndarray, ends: np.ndarray) -> bool:
        """Says whether all records end alike, with LF or with CR LF, and no CR stands elsewhere outside quotes."""
        if b"\r" not in block:
            crlf = False
            fits = True
        else:
            before = data[ends - 1][ends > 0] == CR
            crlf = bool(before.any())
            carriage = np.flatnonzero(data[: len(block)] == CR)
            # Each CR outside quotes must end a record; those inside are the cell's own, and rare.
            fits = (bool(before.all()) and int(ends[0]) > 0 if crlf else True) and (
                len(carriage) == len(ends) * crlf or self.spare_are_quoted(data, carriage, ends, crlf)
            )
        if self.crlf is None:
            self.crlf = crlf
        return fits and crlf == self.crlf

    def spare_are_quoted(self, data: np.ndarray, carriage: np.ndarray, ends: np.ndarray, crlf: bool) -> bool:
        """Says whether every CR that ends no record stands inside quotes."""
        spare = np.setdiff1d(carriage, ends - 1) if crlf else carriage
        quotes = np.flatnonzero(data == 34)
        return bool((np.searchsorted(quotes, spare) % 2 == 1).all())

    def swallows(
        self, kinds: np.ndarray, places: np.ndarray, line_feeds: np.ndarray, inside: np.ndarray, last: int
    ) -> bool:
        """Says whether a record of several lines has, in each of them, the delimiters of a whole row.

        An unclosed quote looks so when another one closes it by chance.
        """
        whole = places < last
        at = np.flatnonzero(line_feeds & whole)
        ending = np.flatnonzero(~inside[at])
        if len(at) == len(ending):
            return False
        # Delimiters in cells that are quoted within one line count in no reading: a run of quotes without a line end.
        runs = np.cumsum(kinds == 34, dtype=np.int32)
        broken = np.zeros(int(runs[-1]) + 1, dtype=bool)
        broken[runs[line_feeds & inside]] = True
        so_far = np.cumsum((kinds == self.delimiter) & (~inside | broken[runs]), dtype=np.int32)[at]
        full = np.diff(so_far, prepend=0) == self.width - 1
        starts = np.concatenate(([0], ending[:-1] + 1))
        several = ending > starts
        return bool((np.logical_and.reduceat(full, starts) & several).any())


def lone_carriage(block: bytes) -> bool:
    """Says whether a CR stands without an LF: in a regular file, inside a cell."""
    return b"\r" in block and block.count(b"\r") != block.count(b"\r\n")
