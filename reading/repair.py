"""Reads a file that is not regular, line by line: what is certain is repaired and said, the rest is rejected.

Nothing is guessed: a record is accepted when it has exactly the header's cells under strict quoting, or when only
one reading of it has. A record that goes wrong is rejected by its first line alone and reading goes on with the
next, so that one unclosed quote costs one line and not the file.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from reading import FileProblem
from reading.dialect import WORDS, Dialect, ends_inside, looks_like_data, parse, shape, standard_quotes, strong_shapes
from reading.scan import MAX_RECORD

RAW = 1 << 16  # bytes of a rejected line that are kept
MAX_LINES = 10_000  # lines that one record may span
FOOTER = 20  # lines that may stand after the table
SEEN = 100  # rows whose look is remembered

# What a last row says that has text in its first cell only, and is no row
TOTAL = re.compile(
    r"(grand |sub)?totals?\b|sums?\b|count\b|(number of )?(rows|records)\b|\d[\d.,]* (rows|records)|generated|exported|printed"
    r"|created|end of|page \d|source\b|copyright|©|[-=*#_]{3}",
    re.IGNORECASE,
)


@dataclass
class Line:
    """A physical line: number from 1, byte at which it starts, its bytes (cut at MAX_RECORD), its size in bytes."""

    number: int
    offset: int
    content: bytes
    size: int


@dataclass
class Row:
    """A data row that can be read: its number from 1 (rejected ones count), its line, its cells."""

    number: int
    line: Line
    cells: list[str]


@dataclass
class Reject:
    """A data row that can't be: the same, with the reason and the raw text (cut at RAW bytes)."""

    number: int
    line: Line
    reason: str
    raw: str
    rest: bool = False  # may it be the rest of the row before, after a line break that should be quoted?


@dataclass
class Reader:
    """Reads one file. ``encoding`` is that of the bytes given, ``raw_cells`` that a cell's text may not be tidied
    (the original's). After reading, ``notes()`` says what was repaired or passed over.
    """  # fmt: skip

    name: str
    dialect: Dialect
    encoding: str = "utf-8"
    raw_cells: bool = False
    quoted_newlines: bool = False
    known: set[str] = field(default_factory=set)
    canonical: Callable[[str], str] = str.lower
    repairs: Counter = field(default_factory=Counter)
    first_line: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.width = len(self.dialect.header)
        self.encoding = "utf-8" if self.encoding == "utf-8-sig" else self.encoding
        self.cells = self.width + self.dialect.extra  # that a row has
        self.in_doubt = False  # may a quoted cell still be open, that began in a rejected line?
        # what a line may hold and still be blank: spaces, NULs and end marks, as long as they delimit nothing
        self.blank = b" \t\0\x1a".replace(self.dialect.delimiter.encode(), b"")

    # -- What was done --

    def said(self, what: str, line: int, example: str = "") -> None:
        """Counts a repair or an omission."""
        self.repairs[what] += 1
        self.first_line.setdefault(what, line)
        if example:
            self.examples.setdefault(what, example)

    def notes(self) -> list[str]:
        """Returns a sentence for each kind of repair or omission."""
        found = []
        for what, count in self.repairs.items():
            example = f": {self.examples[what][:120]}" if what in self.examples else ""
            found.append(
                f"{what} ({count:,} time{'s' * (count != 1)}, first on line {self.first_line[what]}{example})"
            )
        return found

    # -- Records --

    def read(self, blocks: Iterator[bytes], offset: int = 0) -> Iterator[Row | Reject]:
        """Yields the data rows of a file in order. ``blocks``: its bytes, as reading.streams.scannable gives them,
        ``offset``: how many bytes stood before them.

        A row whose last cell may go on in the next line is no certain row: both are rejected.
        """
        before: Row | Reject | None = None
        for item in self.rows(blocks, offset):
            if isinstance(before, Row) and isinstance(item, Reject) and item.rest:
                before = self.rejected(
                    before.number,
                    before.line,
                    "the last cell may go on in the next line, which has one cell only",
                )
            if before:
                yield before
            before = item
        if isinstance(before, Row) and is_footer(before.cells):
            before = self.rejected(before.number, before.line, "it seems to be a footer and no row of the table")
        if before:
            yield before

    def rows(self, blocks: Iterator[bytes], offset: int) -> Iterator[Row | Reject]:
        """Yields the rows, each judged by itself."""
        lines = Pushback(physical_lines(blocks, offset))
        self.skip_header(lines)
        number = 0
        empty: list[
            int
        ] = []  # [number of empty lines, first of them]: cells of a one-column file, if more follows
        held: list[Line] = []  # lines of one cell after a blank line: a footer, if nothing follows
        after_blank = False
        self.seen: list[list[str]] = []
        for line in lines:
            stripped = line.content.rstrip(b"\r\n")
            if (
                not stripped.strip(self.blank)
                and line.size < RAW
                and (self.width > 1 or not stripped.strip(b"\x1a"))
            ):
                if self.width == 1 and not stripped:
                    empty = [empty[0] + 1, empty[1]] if empty else [1, line.number]
                else:
                    self.said("end marks skipped" if stripped.strip() else "blank lines skipped", line.number)
                after_blank = True
                continue
            if (
                after_blank
                and self.width >= 3
                and len(held) < FOOTER
                and line.size < 1000
                and self.one_cell(stripped)
            ):
                held.append(line)
                continue
            for _ in range(empty[0] if empty else 0):
                number += 1
                yield Row(number, line, [""])
            for early in held:
                number += 1
                yield self.rejected(number, early, self.width_reason(1, early))
            empty, held = [], []
            number += 1
            cells, reason = self.record(line, lines)
            if not reason and cells[0] == self.dialect.header[0] and cells == self.dialect.header:
                reason = "the header once more"
            if reason:
                rest = self.width > 1 and not after_blank and self.one_cell(stripped)
                yield self.rejected(number, line, reason, rest)
            else:
                if after_blank:
                    self.refuse_second_header(line, cells)
                elif len(self.seen) < SEEN:
                    self.seen.append(cells)
                yield Row(number, line, cells)
            after_blank = False
        if empty:
            self.repairs["blank lines skipped"] += empty[0]
            self.first_line.setdefault("blank lines skipped", empty[1])
        for line in held:
            self.said("lines after the table skipped", line.number, self.text_of(line).strip())

    def skip_header(self, lines: Pushback) -> None:
        """Passes over the header and what stands before it."""
        if self.dialect.header_line == 0:
            return
        for line in lines:
            if line.number < self.dialect.header_line:
                continue
            parts = [line]
            text = line.content.decode(self.encoding, "replace").lstrip("\ufeff")
            inside = self.opens(text, False)
            while inside and (more := next(lines, None)) and len(parts) < MAX_LINES:
                parts.append(more)
                inside = self.opens(more.content.decode(self.encoding, "replace"), True)
            return
        raise FileProblem(f"{self.name} changed while it was read: its header is gone; run again")

    def opens(self, text: str, inside: bool) -> bool:
        """Says whether a line ends inside quotes."""
        dialect = self.dialect
        text = standard_quotes(text, dialect.quote) if dialect.escape != dialect.quote else text
        return ends_inside(text.rstrip("\r\n") + "\n", dialect.delimiter, dialect.quote, inside)

    def one_cell(self, content: bytes) -> bool:
        """Says whether a line has nothing after its first cell."""
        return not content.rstrip(self.dialect.delimiter.encode()).count(self.dialect.delimiter.encode())

    def record(self, line: Line, lines: Pushback) -> tuple[list[str], str]:
        """Returns the cells of the record that starts with a line, or the reason why it can not be read.

        Takes further lines only for a record that is read; else they stay.
        """
        text, reason = self.text(line)
        if reason:
            return [], reason
        dialect = self.dialect
        body = text.rstrip("\r\n")
        cells = parse(body, dialect.delimiter, dialect.quote, dialect.escape)
        doubted, self.in_doubt = self.in_doubt, self.in_doubt and dialect.quote not in body
        if cells is not None:
            if dialect.quote in body and (problem := self.stray_quotes(body, cells, doubted)):
                return self.one_reading(body, line, problem)
            return self.fitted(cells, line)
        if not self.opens(text, False):
            return self.one_reading(body, line, "quotes inside a quoted cell that are not doubled")
        taken, pieces, size, inside = [line], [text], line.size, True
        while inside and not reason:
            more = next(lines, None)
            if more is None or len(taken) >= MAX_LINES or size + more.size > MAX_RECORD:
                return self.unclosed(taken[1:] + ([more] if more else []), lines)
            taken.append(more)
            size += more.size
            piece, reason = self.text(more, first=False)
            pieces.append(piece)
            inside = self.opens(piece, True)
        cells = None if reason else parse("".join(pieces).rstrip("\r\n"), dialect.delimiter, dialect.quote, dialect.escape)
        if cells is None:
            return self.unclosed(taken[1:], lines)
        found, reason = self.fitted(cells, line)
        delimiter = dialect.delimiter.encode()
        counts = [part.content.count(delimiter) - (self.cells - 1) for part in taken]
        if reason and min(counts) >= 0:
            return self.unclosed(taken[1:], lines)
        if not reason and not any(counts) and not self.quoted_newlines:
            return self.unclosed(
                taken[1:], lines,
                "a quoted cell that seems to hold whole rows: a quote may not be closed (if line breaks in cells are "
                "meant, declare `quoted_newlines: true`)",
            )  # fmt: skip
        if not reason and (problem := self.stray_quotes("".join(pieces), found)):
            return [], problem
        return found, reason

    def unclosed(
        self, lines: list[Line], back: Pushback, reason: str = "a quote opens that is never closed"
    ) -> tuple[list[str], str]:
        """Gives lines back after one whose quote finds no end; which of them belong to its cell is in doubt."""
        back.give_back(lines)
        self.in_doubt = True
        return [], reason

    def text(self, line: Line, first: bool = True) -> tuple[str, str]:
        """Returns (the text of a line, ''), or ('', why it has none)."""
        if line.size > MAX_RECORD:
            return "", f"a line of {line.size:,} bytes; at most {MAX_RECORD:,} can be read"
        try:
            text = line.content.decode(self.encoding)
        except UnicodeDecodeError as error:
            return (
                "",
                f"bytes that are not {self.encoding} ({error.object[error.start]:#04x} at byte {line.offset + error.start:,})",
            )
        if "\0" in text:
            return "", "a NUL byte"
        if first and text.startswith("\ufeff"):
            self.said("byte order marks inside the file left out", line.number)
            text = text.lstrip("\ufeff")
        return text, ""

    def fitted(self, cells: list[str], line: Line) -> tuple[list[str], str]:
        """Returns (as many cells as the header has, ''), or ([], why a row has more or fewer)."""
        if len(cells) != self.cells or any(cells[self.width :]):
            return [], self.width_reason(len(cells), line)
        return (cells[: self.width] if self.dialect.extra >= 0 else cells + [""] * -self.dialect.extra), ""

    def width_reason(self, count: int, line: Line) -> str:
        """Returns the words for a row of another width."""
        text = self.text_of(line).rstrip("\r\n")
        hint = next(
            (
                f"; with {word} as delimiter it has {self.width}"
                for delimiter, word in WORDS.items()
                if delimiter != self.dialect.delimiter
                and self.width > 1
                and text.count(delimiter) == self.width - 1
            ),
            "",
        )
        cut = (
            ""
            if line.content.endswith((b"\n", b"\r")) or count > self.width
            else "; the file may be cut off here"
        )
        if count == self.cells:
            return "a cell after the last column"
        return f"too {'few' if count < self.cells else 'many'} cells: {count} of {self.cells}{hint or cut}"

    # -- Quotes that do not fit --

    def one_reading(self, text: str, line: Line, problem: str) -> tuple[list[str], str]:
        """Returns the cells of a line if just one reading of its quotes has the header's width; else the problem."""
        dialect = self.dialect
        if dialect.escape != dialect.quote:
            return [], problem
        cells = spaced_cells(text, dialect.delimiter, dialect.quote) if dialect.delimiter != "\t" else None
        if cells is not None and len(cells) == self.cells:
            if self.raw_cells:
                return [], "spaces between a quote and the cell's end; remove them, or the cell would change"
            self.said("spaces around quoted cells left out", line.number)
            return self.fitted(cells, line)
        cells = literal_quotes(text, dialect.delimiter, dialect.quote)
        if cells is not None and len(cells) == self.cells:
            self.said("quotes inside quoted cells taken as they stand", line.number, text.strip())
            return self.fitted(cells, line)
        return [], problem

    def stray_quotes(self, text: str, cells: list[str], doubted: bool = False) -> str:
        """Returns why quotes in unquoted cells are in doubt, or ''. Pairs and inch marks (5") are not, unless a quote
        is still open from a line before.
        """  # fmt: skip
        quote = self.dialect.quote
        text = standard_quotes(text, quote) if self.dialect.escape != quote else text
        if quote == "'" or quote not in "".join(cells):
            return ""
        for cell in unquoted_cells(text, self.dialect.delimiter, quote):
            if quote not in cell:
                continue
            if re.search(rf"^[ \t]+{quote}|{quote}[ \t]+$", cell):
                return "spaces between a quote and the cell's end"
            if doubted or re.sub(rf"(?<=\d){quote}", "", cell).count(quote) % 2:
                return "a quote that opens nowhere or closes nowhere"
        return ""

    # -- Other tables, rejects --

    def refuse_second_header(self, line: Line, cells: list[str]) -> None:
        """Refuses the file when a row after a blank line names columns."""
        if not all(cell.strip() for cell in cells) or looks_like_data(cells):
            return
        usual = strong_shapes(self.seen)
        unlike = bool(usual) and not any(shape(cells[place]) == kind for place, kind in usual.items())
        if unlike or len({self.canonical(cell) for cell in cells} & self.known) >= 2:
            raise FileProblem(
                f"{self.name}, line {line.number}: after a blank line a second table seems to begin "
                f"({', '.join(cells)[:80]}); put each table into a file of its own"
            )

    def text_of(self, line: Line) -> str:
        """Returns a line's text for people to read: what is no text in it is written as \\x.."""
        text = line.content[:RAW].decode(self.encoding, "backslashreplace").replace("\0", "\\x00")
        return text + (f" … ({line.size:,} bytes)" if line.size > RAW else "")

    def rejected(self, number: int, line: Line, reason: str, rest: bool = False) -> Reject:
        """Returns the reject of a line."""
        return Reject(number, line, reason, self.text_of(line).rstrip("\r\n"), rest)


def is_footer(cells: list[str]) -> bool:
    """Says whether a row has text in its first cell only, and that is what people write under a table."""
    return len(cells) >= 3 and bool(TOTAL.match(cells[0].strip())) and not any(cell.strip() for cell in cells[1:])


def spaced_cells(text: str, delimiter: str, quote: str) -> list[str] | None:
    """Returns the cells of a line some of whose quoted cells have spaces around the quotes; None if none has."""
    d, q = re.escape(delimiter), re.escape(quote)
    quoted = re.compile(f"([ \t]*){q}((?:[^{q}]|{q}{q})*){q}([ \t]*)(?={d}|$)")
    bare = re.compile(f"[^{d}{q}]*(?={d}|$)")
    cells, place, spaces = [], 0, False
    while True:
        if found := quoted.match(text, place):
            spaces = spaces or bool(found[1] or found[3])
            cells.append(found[2].replace(quote * 2, quote))
        elif found := bare.match(text, place):
            cells.append(found[0])
        else:
            return None
        if found.end() == len(text):
            return cells if spaces else None
        place = found.end() + len(delimiter)


def literal_quotes(text: str, delimiter: str, quote: str) -> list[str] | None:
    """Returns the cells of a line when a quoted cell ends only at a quote before a delimiter or the line's end.

    None where that is not the one reading: the quotes inside a cell must come in pairs that open after a space and
    close before one, and two quotes before a delimiter may mean either. Each cell ends as early as can be, so any
    other reading has fewer cells.
    """
    d, q = re.escape(delimiter), re.escape(quote)
    ending = re.compile(f"({q}+)(?={d}|$)")
    pairs = re.compile(f"(?:[^{q}]|{q}{q})*(?:(?<=[\\s(\\[]){q}(?=\\S)[^{q}]*(?<=\\S){q}(?=[\\s.,;:!?)\\]])(?:[^{q}]|{q}{q})*)*")
    cells, place = [], 0
    while True:
        if text.startswith(quote, place):
            if text.startswith(quote * 2 + delimiter, place) or text[place:] == quote * 2:
                cell, end = "", place + 2
            else:
                found = ending.search(text, place + 1)
                if found is None or len(found[1]) != 1:
                    return None
                cell, end = text[place + 1 : found.start()], found.end()
                if not pairs.fullmatch(cell):
                    return None
                cell = cell.replace(quote * 2, quote)
        else:
            end = text.find(delimiter, place)
            end = len(text) if end < 0 else end
            cell = text[place:end]
            if quote in cell:
                return None
        cells.append(cell)
        if end == len(text):
            return cells
        place = end + len(delimiter)


def unquoted_cells(text: str, delimiter: str, quote: str) -> list[str]:
    """Returns the raw cells of a line that do not begin with a quote."""
    found, place = [], 0
    quoted = re.compile(
        f"{re.escape(quote)}(?:[^{re.escape(quote)}]|{re.escape(quote * 2)})*{re.escape(quote)}"
    )
    while place <= len(text):
        match = quoted.match(text, place)
        if match:
            end = text.find(delimiter, match.end())
            end = len(text) if end < 0 else end
        else:
            end = text.find(delimiter, place)
            end = len(text) if end < 0 else end
            found.append(text[place:end])
        place = end + len(delimiter)
    return found


class Pushback:
    """An iterator of lines that takes lines back."""

    def __init__(self, lines: Iterator[Line]):
        self.lines, self.waiting = lines, deque[Line]()

    def __iter__(self) -> Pushback:
        """Returns itself."""
        return self

    def __next__(self) -> Line:
        """Returns the next line."""
        return self.waiting.popleft() if self.waiting else next(self.lines)

    def give_back(self, lines: list[Line]) -> None:
        """Puts lines before those that come."""
        self.waiting.extendleft(reversed(lines))


def physical_lines(blocks: Iterator[bytes], offset: int = 0) -> Iterator[Line]:
    """Yields the lines of a file, with their ends: LF, CR LF or CR. Of a line over MAX_RECORD only the beginning is kept."""
    number = 1
    kept, size = b"", 0  # a line whose end may not have come yet, and how long it is so far
    for block in blocks:
        if size > len(kept):  # in the middle of a line that is too long
            ends = [place for place in (block.find(b"\n"), block.find(b"\r")) if place >= 0]
            if not ends:
                size += len(block)
                continue
            place = min(ends) + 1 + (block[min(ends) : min(ends) + 2] == b"\r\n")
            yield Line(number, offset, kept, size + place)
            number, offset = number + 1, offset + size + place
            kept, size, block = b"", 0, block[place:]
        lines = (kept + block).splitlines(keepends=True)
        # the last line may go on in the next block; so may a CR, with the LF of a CR LF
        kept = lines.pop() if lines else b""
        size = len(kept)
        for content in lines:
            yield Line(number, offset, content[: MAX_RECORD + 1], len(content))
            number, offset = number + 1, offset + len(content)
        if size > MAX_RECORD:
            if kept.endswith((b"\n", b"\r")):
                yield Line(number, offset, kept[:RAW], size)
                number, offset, kept, size = number + 1, offset + size, b"", 0
            else:
                kept = kept[:RAW]
    if size:
        yield Line(number, offset, kept, size)
