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

from crm_merge.reading import FileProblem
from crm_merge.reading.dialect import (
    WORDS,
    Dialect,
    opens,
    parse,
    shape,
    standard_quotes,
    strong_shapes,
)
from crm_merge.reading.lines import FOOTER, Names, holds_values, is_footer, is_rule, numbered_names
from crm_merge.reading.scan import MAX_RECORD

RAW = 1 << 16  # bytes of a rejected line that are kept
MAX_LINES = 10_000  # lines that one record may span
UNCLOSED = "a quote opens that is never closed"
LINES_AFTER = 20  # lines that may stand after the table
SEEN = 100  # rows whose look is remembered


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
        self.named = self.width - self.dialect.unnamed
        self.names = Names(self.dialect.header, self.known, self.canonical)
        self.firsts = {row[0] for row in self.dialect.before}
        self.seen: list[list[str]] = []
        self.usual: dict[int, str] = {}
        self.span: Line | None = None  # all lines of a record that is rejected whole
        self.each: list[Line] = []  # lines that may be one record or as many rows: each is rejected
        self.searches = 0  # for a closing quote, in vain
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
                reason = "the last cell may go on in the next line, which has one cell only"
                before = self.rejected(before.number, before.line, reason)
            if before:
                yield before
            before = item
        if before:
            yield before

    def rows(self, blocks: Iterator[bytes], offset: int) -> Iterator[Row | Reject]:
        """Yields the rows, each judged by itself."""
        lines = Pushback(physical_lines(blocks, offset))
        self.skip_header(lines)
        number = 0
        held: list[Line] = []  # lines of one cell after a blank line: a footer, if nothing follows
        after_blank = False
        for line in lines:
            stripped = line.content.rstrip(b"\r\n")
            if self.is_blank(line, stripped):
                self.said("end marks skipped" if stripped.strip() else "blank lines skipped", line.number)
                after_blank = True
                continue
            if after_blank and self.width == 1 and number:
                raise FileProblem(
                    f"{self.name}, line {line.number}: blank lines inside a file of one column: rows, or the end of the "
                    'table? Write blank cells as "", and put each table into a file of its own'
                )
            may_be_footer = after_blank and self.width >= 3 and len(held) < LINES_AFTER and line.size < 1000
            if may_be_footer and self.one_cell(stripped):
                held.append(line)
                continue
            for early in held:
                number += 1
                yield self.rejected(number, early, self.width_reason(1, early))
            held = []
            number += 1
            cells, reason = self.record(line, lines)
            reason = reason or self.no_row(cells)
            if reason:
                self.in_doubt = self.in_doubt or (
                    self.dialect.quote.encode() in line.content and self.span is None
                )
                rest = self.width > 1 and not after_blank and self.dialect.delimiter.encode() not in stripped
                rest = rest and self.one_cell(stripped) and not FOOTER.match(self.text_of(line).strip())
                yield self.rejected(number, self.span or line, reason, rest)
                for other in self.each[1:]:
                    number += 1
                    yield self.rejected(number, other, reason)
            else:
                self.refuse_second_header(line, cells, after_blank)
                if self.in_doubt and self.usual and self.unlike(cells, self.usual):
                    reason = "it looks unlike the other rows and may be the rest of a quoted cell in a row before it"
                    yield self.rejected(number, line, reason)
                else:
                    yield Row(number, line, cells)
            after_blank = False
        for line in held:
            if self.raw_cells:  # a CRM's row of one cell, or a footer? None of its rows may be lost
                number += 1
                yield self.rejected(
                    number, line, "text after the table and a blank line: a footer, or a row cut short"
                )
                continue
            self.said("lines after the table skipped", line.number, self.text_of(line).strip())

    def skip_header(self, lines: Pushback) -> None:
        """Passes over the header and what stands before it."""
        if self.dialect.header_line == 0:
            return
        for line in lines:
            if line.number < self.dialect.header_line:
                continue
            parts = 1
            inside = opens(
                line.content.decode(self.encoding, "replace").lstrip("\ufeff"), self.dialect, False
            )
            while inside and parts < MAX_LINES and (more := next(lines, None)):
                parts += 1
                inside = opens(more.content.decode(self.encoding, "replace"), self.dialect, True)
            return
        raise FileProblem(f"{self.name} changed while it was read: its header is gone; run again")

    def is_blank(self, line: Line, stripped: bytes) -> bool:
        """Says whether a line holds nothing: in a file of one column, spaces are a cell."""
        blank = self.blank if self.width > 1 else b"\0\x1a"
        return not stripped.strip(blank) and line.size < RAW

    def one_cell(self, content: bytes) -> bool:
        """Says whether a line has nothing after its first cell, whatever the delimiter."""
        delimiter = self.dialect.delimiter.encode()
        if content.rstrip(delimiter).count(delimiter):
            return False
        return not any(content.count(other.encode()) == self.cells - 1 for other in WORDS if self.cells > 1)

    def record(self, line: Line, lines: Pushback) -> tuple[list[str], str]:
        """Returns the cells of the record that starts with a line, or the reason why it can not be read.

        Takes further lines for a record whose quotes fit, read or not (then ``span`` is all of it); else they stay.
        """
        self.span, self.first, self.each = None, line, []
        dialect = self.dialect
        text, damage = self.text(line)
        if line.size > MAX_RECORD:
            return [], damage
        body = text.rstrip("\r\n")
        cells = parse(body, dialect.delimiter, dialect.quote, dialect.escape, dialect.spaced)
        doubted, self.in_doubt = self.in_doubt, self.in_doubt and dialect.quote not in body
        if cells is not None:
            if damage:
                return [], damage
            if dialect.quote in body and (problem := self.stray_quotes(line, body, cells, doubted)):
                return self.one_reading(body, line, lines, problem)
            return self.fitted(cells, line)
        if not opens(text, dialect, False):
            return (
                ([], damage)
                if damage
                else self.one_reading(body, line, lines, "quotes inside a quoted cell that are not doubled")
            )
        taken, pieces, size, inside = [line], [text], line.size, True
        while inside:
            more = next(lines, None)
            # each search reads on from its own line: after many in vain they must be short ones
            most = MAX_LINES if self.searches < 5 else 200 if self.searches < 500 else 5
            if more is None or len(taken) >= most or size + more.size > MAX_RECORD:
                self.searches += 1
                return self.unclosed(taken[1:] + ([more] if more else []), lines)
            piece, problem = self.text(more, first=False)
            damage = damage or problem
            taken.append(more)
            pieces.append(piece)
            size += more.size
            inside = opens(piece, dialect, True)
        joined = "".join(pieces)
        cells = parse(joined.rstrip("\r\n"), dialect.delimiter, dialect.quote, dialect.escape, dialect.spaced)
        if cells is None:
            return self.unclosed(taken[1:], lines)
        cells, reason = self.fitted(cells, line)
        counts = [
            self.delimiters(piece, bool(place)) - (self.cells - 1) for place, piece in enumerate(pieces)
        ]
        if self.cells > 1 and reason and min(counts) >= 0:
            return self.unclosed(taken[1:], lines)
        # a quote between a delimiter and the line's end may open as well as close
        d, q = re.escape(dialect.delimiter), re.escape(dialect.quote)
        either = any(re.match(f"[^{q}]*{d}{q}[\r\n{d}]", piece) for piece in pieces[1:])
        doubtful = not any(counts) or either
        if self.cells > 1 and not reason and doubtful and not self.quoted_newlines:
            reason = (
                "a quoted cell that seems to hold whole rows: a quote may not be closed (if line breaks in cells are "
                "meant, declare `quoted_newlines: true`)"
            )
            self.each = taken
            return [], reason
        reason = damage or reason or self.stray_quotes(line, joined, cells)
        if reason and self.rows_in(pieces[1:-1]):
            self.each = taken
        elif reason:
            self.span = Line(line.number, line.offset, b"".join(part.content for part in taken), size)
        return cells, reason

    def rows_in(self, pieces: list[str]) -> bool:
        """Says whether lines inside a rejected record have the delimiters of rows: then each counts as one."""
        return any(piece.count(self.dialect.delimiter) >= max(self.cells - 1, 1) for piece in pieces)

    def delimiters(self, text: str, inside: bool) -> int:
        """Returns how many delimiters a line of a record has, those in cells quoted within the line aside."""
        dialect = self.dialect
        text = standard_quotes(text, dialect.quote) if dialect.escape != dialect.quote else text
        d, q = re.escape(dialect.delimiter), re.escape(dialect.quote)
        head = re.match(f"(?:[^{q}]|{q}{q})*", text)[0] if inside else ""  # type: ignore[index]
        rest = re.sub(
            f"(^|{d})[ ]*{q}(?:[^{q}]|{q}{q})*{q}",
            r"\1",
            text[len(head) :].removeprefix(dialect.quote) if inside else text,
        )
        return head.count(dialect.delimiter) + rest.count(dialect.delimiter)

    def unclosed(self, lines: list[Line], back: Pushback, reason: str = UNCLOSED) -> tuple[list[str], str]:
        """Gives lines back after one whose quote finds no end that fits.

        If the next quote in them closes a cell, the lines up to it are the rest of that cell and rejected with it. If it
        opens one, they are rows of their own.
        """
        quote, delimiter = self.dialect.quote, self.dialect.delimiter
        for count, line in enumerate(lines, 1):
            text, _ = self.text(line, first=False)
            place = text.find(quote)
            if place >= 0:
                after = text[place + 1 : place + 2]
                if (
                    after in ("", "\r", "\n", delimiter, *WORDS)
                    and text[max(place - 1, 0) : place] != delimiter
                ):
                    whole = [self.first, *lines[:count]]
                    if self.rows_in([self.text(inner, first=False)[0] for inner in lines[: count - 1]]):
                        self.each, lines = whole, lines[count:]
                        break
                    self.span = Line(
                        self.first.number,
                        self.first.offset,
                        b"".join(part.content for part in whole),
                        sum(part.size for part in whole),
                    )
                    lines = lines[count:]
                break
        self.in_doubt = self.span is None and not self.each
        back.give_back(lines)
        return [], reason

    def text(self, line: Line, first: bool = True) -> tuple[str, str]:
        """Returns (the text of a line, why it can not be used or '')."""
        if line.size > MAX_RECORD:
            return "", f"a line of {line.size:,} bytes; at most {MAX_RECORD:,} can be read"
        content = line.content
        if content.endswith(b"\x1a"):
            content = content.rstrip(b"\x1a")
            self.said("end marks skipped", line.number)
        try:
            text = content.decode(self.encoding)
        except UnicodeDecodeError as error:
            what = f"bytes that are not {self.encoding} ({error.object[error.start]:#04x} at byte {line.offset + error.start:,})"
            return content.decode(self.encoding, "backslashreplace"), what
        if "\0" in text:
            return text, "a NUL byte"
        if first and text.startswith("\ufeff"):
            if self.width == 1:
                return (
                    text,
                    "a byte order mark inside the file: where two files were put together, or a part of the cell?",
                )
            self.said("byte order marks inside the file left out", line.number)
            text = text.lstrip("\ufeff")
        return text, ""

    def fitted(self, cells: list[str], line: Line) -> tuple[list[str], str]:
        """Returns (as many cells as the header has, ''), or ([], why a row has more or fewer)."""
        if len(cells) != self.cells or any(cells[self.named :]):
            return [], self.width_reason(len(cells), line)
        return (cells[: self.width] if self.dialect.extra >= 0 else cells + [""] * -self.dialect.extra), ""

    def width_reason(self, count: int, line: Line) -> str:
        """Returns the words for a row of another width."""
        if count == self.cells:
            return "a cell after the last column that has a name"
        text = self.text_of(line).rstrip("\r\n")
        others = [word for delimiter, word in WORDS.items() if delimiter != self.dialect.delimiter
                  and self.cells > 1 and text.count(delimiter) == self.cells - 1]  # fmt: skip
        hint = f"; with {others[0]} as delimiter it has {self.cells}" if others else ""
        if not hint and count < self.cells and not line.content.endswith((b"\n", b"\r")):
            hint = "; the file may be cut off here"
        return f"too {'few' if count < self.cells else 'many'} cells: {count} of {self.cells}{hint}"

    def no_row(self, cells: list[str]) -> str:
        """Returns why cells that can be read are no row of the table, or ''."""
        if self.names.once_more(cells):
            return "the header once more"
        if cells[0] in self.firsts and cells in self.dialect.before:
            return "a line before the header, once more"
        if is_footer(cells) or self.is_remark(cells):
            return "it seems to be a footer and no row of the table"
        if is_rule(cells):
            return "a drawn line and no row of the table"
        return ""

    def is_remark(self, cells: list[str]) -> bool:
        """Says whether a row has text in its first cell only that does not look like the column's other cells."""
        return (
            len(cells) > 2
            and not cells[1].strip()
            and bool(cells[0].strip())
            and not any(cell.strip() for cell in cells[1:])
            and 0 in self.usual
            and shape(cells[0]) != self.usual[0]
        )

    # -- Quotes that do not fit --

    def one_reading(self, text: str, line: Line, lines: Pushback, problem: str) -> tuple[list[str], str]:
        """Returns the cells of a line if just one reading of its quotes has the header's width; else the problem."""
        dialect = self.dialect
        if dialect.escape != dialect.quote:
            return [], problem
        cells = literal_quotes(text, dialect.delimiter, dialect.quote)
        if cells is None or len(cells) != self.cells:
            if text.count(dialect.quote) % 2 == 0:
                return [], problem
            ahead = [more for _ in range(50) if (more := next(lines, None))]
            return self.unclosed(ahead, lines, problem)
        cells, reason = self.fitted(cells, line)
        if not reason:
            self.said("quotes inside quoted cells taken as they stand", line.number, text.strip())
        return cells, reason

    def stray_quotes(self, line: Line, text: str, cells: list[str], doubted: bool = False) -> str:
        """Returns why quotes in unquoted cells are in doubt, or ''. Pairs and inch marks (5") are not, unless a quote
        is still open from a line before.
        """  # fmt: skip
        quote = self.dialect.quote
        if quote not in "".join(cells):
            return ""
        if self.dialect.spaced:  # what is not whole in quotes has none, or would not have been read
            return (
                "spaces between a quote and the cell's end; remove them, or the cell would change"
                if self.raw_cells
                else ""
            )
        text = standard_quotes(text, quote) if self.dialect.escape != quote else text
        doubtful = [cell for cell in unquoted_cells(text, self.dialect.delimiter, quote) if quote in cell]
        for cell in doubtful:
            if re.search(rf"^[ \t]+{quote}|{quote}[ \t]+$", cell):
                return "spaces between a quote and the cell's end; remove them, or the cell would change"
            if quote == "'":
                if quote * 2 in cell or cell.endswith(quote):
                    return "a quote that opens nowhere or closes nowhere"
                continue
            if doubted or quote * 2 in cell or re.sub(rf"(?<=\d){quote}", "", cell).count(quote) % 2:
                return "a quote that opens nowhere or closes nowhere"
        if doubtful and quote == '"':
            self.said("quotes inside unquoted cells taken as they stand", line.number, doubtful[0])
        return ""

    # -- Other tables, rejects --

    def refuse_second_header(self, line: Line, cells: list[str], after_blank: bool) -> None:
        """Refuses the file when a row names columns: one that looks unlike all rows before it, or has known names."""
        if self.names.names_columns(cells) and not any(
            row[place] == cell for row in self.seen for place, cell in enumerate(cells) if cell.strip()
        ):
            self.refuse_table(line, cells)
        if len(self.seen) < SEEN and not after_blank:
            self.seen.append(cells)
            self.usual = strong_shapes(self.seen, 0.8) if len(self.seen) in (3, 5, 20, SEEN) else self.usual
        if not after_blank and (len(self.usual) < 2 or len(self.seen) <= 5):
            return
        usual = strong_shapes(self.seen, 0.8) if after_blank else self.usual
        if usual and not self.unlike(cells, usual):
            return
        if not all(cell.strip() for cell in cells) or holds_values(cells):
            return
        # between rows the fast pass, too, takes a line with a digit for a row: it may well be `11-50` or `ext. 4`
        if not after_blank and any(map(str.isdigit, "".join(cells))) and not numbered_names(cells):
            return
        if usual or not self.seen or len({self.canonical(cell) for cell in cells} & self.known) >= 2:
            self.refuse_table(line, cells)

    def refuse_table(self, line: Line, cells: list[str]) -> None:
        """Refuses the file because a row names columns."""
        raise FileProblem(
            f"{self.name}, line {line.number}: a second table seems to begin ({', '.join(cells)[:80]}), or the columns "
            "change their order; put each table into a file of its own, or leave cells blank that hold no value, if this is a row"
        )

    def unlike(self, cells: list[str], usual: dict[int, str]) -> bool:
        """Says whether no cell of a row looks like its column does elsewhere."""
        return not any(shape(cells[place]) == kind for place, kind in usual.items())

    def text_of(self, line: Line) -> str:
        """Returns a line's text for people to read: what is no text in it is written as \\x.."""
        text = line.content[:RAW].decode(self.encoding, "backslashreplace").replace("\0", "\\x00")
        return text + (f" … ({line.size:,} bytes)" if line.size > RAW else "")

    def rejected(self, number: int, line: Line, reason: str, rest: bool = False) -> Reject:
        """Returns the reject of a line."""
        return Reject(number, line, reason, self.text_of(line).rstrip("\r\n"), rest)


def literal_quotes(text: str, delimiter: str, quote: str) -> list[str] | None:
    """Returns the cells of a line when a quoted cell ends only at a quote before a delimiter or the line's end.

    None where that is not the one reading: the quotes inside a cell must come in pairs that open after a space and
    close before one, and two quotes before a delimiter may mean either. Each cell ends as early as can be, so any
    other reading has fewer cells.
    """
    d, q = re.escape(delimiter), re.escape(quote)
    ending = re.compile(f"({q}+)(?={d}|$)")
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
                if not paired(cell, quote):
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


def paired(cell: str, quote: str) -> bool:
    """Says whether a cell's quotes, doubled ones aside, come in pairs that open after a space and close before one."""
    inside, place = False, cell.find(quote)
    while place >= 0:
        before, after = cell[place - 1 : place] if place else "", cell[place + 1 : place + 2]
        if not inside and after == quote:
            place += 1  # a doubled one is a character of the text
        elif inside:
            if before.isspace() or not re.match(r"[\s.,;:!?)\]]", after):
                return False
            inside = False
        else:
            if not re.match(r"[\s(\[]", before) or not after or after.isspace():
                return False
            inside = True
        place = cell.find(quote, place + 1)
    return not inside


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
    cut = False  # did the last block end with the CR of a line that is too long? Its LF may come now
    for block in blocks:
        if cut and block:
            size += block.startswith(b"\n")
            yield Line(number, offset, kept, size)
            number, offset, block = number + 1, offset + size, block.removeprefix(b"\n")
            kept, size, cut = b"", 0, False
        if size > len(kept):  # in the middle of a line that is too long
            ends = [place for place in (block.find(b"\n"), block.find(b"\r")) if place >= 0]
            if not ends:
                size += len(block)
                continue
            place = min(ends) + 1 + (block[min(ends) : min(ends) + 2] == b"\r\n")
            if place == len(block) and block.endswith(b"\r"):
                cut, size = True, size + place
                continue
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
