"""Polluted CRM files, made from a seed, each with what a right reading of it gives.

    table = clean(seed=1)
    file = polluted(table, ["semicolons", "one row with too few cells"], seed=1)
    reading = ...                      # read file.content under a name that ends in file.suffix
    assert verdict(file, reading) is None, verdict(file, reading)

A file is made in four stages, and a pollution belongs to one of them, so that any two can be combined:

    table    changes headers and cells before anything is written
    dialect  how the table is written: delimiter, quotes, line ends
    line     changes, adds and removes written lines; each line knows the rows of the truth that it holds
    byte     encoding, marks at the file's ends, container

Whatever the order of the names, stages run in this order, and pollutions of one stage in the order in which they
stand here. Each draws from its own random numbers and no two touch the same row. A pollution takes slots (such as
'delimiter', 'encoding', 'container'), and two that want one slot are Incompatible, as is what can't be done to this
table (an emoji in cp1252).
"""

from __future__ import annotations

import io
import json
import random
import re
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from tests import slow_csv
from tests.oracle import Table

Kind = Literal["same", "changed", "broken"]
Stage = Literal["table", "dialect", "line", "byte"]
STAGES = ("table", "dialect", "line", "byte")
BOM = "\ufeff"
# One byte is one character, and nothing in the bytes says which.
ONE_BYTE_ENCODINGS = {"cp1252", "latin-1", "cp1251", "cp1250", "mac_roman", "cp437"}
SAYS_ENCODING = re.compile(
    r"encod|utf-?(8|16)|cp-?\d{3}|windows-?125|latin|iso-?8859|mac.?roman", re.IGNORECASE
)


class Incompatible(Exception):
    """These pollutions can't be combined, or not on this table."""


# -- The clean table --

# Only characters that ASCII, cp1252, Mac Roman and cp437 all have a place for.
PEOPLE = [
    ("Zoé", "Müller"),
    ("Ana", "Muñoz"),
    ("John", "O'Brien"),
    ("Jürgen", "Groß"),
    ("Mary Ann", "Smith"),
    ("André", "D'Angelo"),
    ("Li", "Wei"),
    ("Inés", "García"),
    ("Peter", "van der Berg"),
    ("Sören", "Lind"),
    ("Carol", "Null"),
    ("Françoise", "Lefèvre"),
    ("Bob", "Stone"),
    ("Iñigo", "López"),
]
COMPANIES = [
    "Acme, Inc.",
    "Müller & Söhne, GmbH",
    'Bäckerei "Zur Post"',
    "Globex",
    "O'Neil & Co.",
    "1-800 Flowers",
    "",
]
CITIES = ["München", "A Coruña", "New York", "Washington, D.C.", "Orléans", "Leeds", ""]
PHONES = ["+44 20 7946 0958", "0049 30 901820", "(212) 555-0101", "06 12 34 56 78", "020 7946 0000", ""]
POSTCODES = ["01067", "00501", "SW1A 1AA", "75001", "0800", ""]
NOTES = [
    'said "call me after 5", then hung up',
    "first line\nsecond line",
    "prefers e-mail; no calls",
    'wants a 5" pipe',
    "it's a lead, maybe two",
    "",
    'renewal 2024|2025, "gold" plan\n\nsee contract, page 2',
    'nickname is "Bear"',
    "señor de la vía, habla español",
    '"VIP" since 2019, once more "VIP"',
    "new contact since spring",
    "two\ttabs\there",
    "007",
    "'quoted' by hand, isn't it",
]
COLUMNS = ["First Name", "Last Name", "Email", "Phone", "Company", "City", "Postcode", "Notes"]


def clean(seed: int, rows: int = 12, columns: int = 6) -> Table:
    """A believable CRM: Id first, then `columns` - 1 others in any order, among them Notes."""
    rng = random.Random(f"clean {seed}")
    chosen = ["Notes", *rng.sample(COLUMNS[:-1], min(columns - 2, len(COLUMNS) - 1))] if columns > 1 else []
    chosen += [f"Custom {n + 1}" for n in range(columns - 1 - len(chosen))]
    rng.shuffle(chosen)
    pools = {name: rng.sample(pool, len(pool)) for name, pool in [("Notes", NOTES), ("people", PEOPLE)]}

    table = Table(["Id", *chosen], [])
    for n in range(rows):
        first, last = pools["people"][n % len(PEOPLE)]
        cells = {
            "First Name": first,
            "Last Name": last,
            "Email": re.sub("[ ']", "", f"{folded(first)}.{folded(last)}@example{n % 3}.com".lower()),
            "Phone": rng.choice(PHONES),
            "Company": rng.choice(COMPANIES),
            "City": rng.choice(CITIES),
            "Postcode": rng.choice(POSTCODES),
            "Notes": pools["Notes"][n % len(NOTES)],
        }
        table.rows.append([f"C-{n + 1:04d}", *(cells.get(name, f"value {n % 4}") for name in chosen)])
    return table


def folded(text: str) -> str:
    """Letters without their accents, other characters beyond ASCII dropped."""
    return unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()


# -- What a pollution works on, and what comes out --


@dataclass(eq=False)
class Line:
    """A written row: cells as they stand in the file, quotes included, and the rows of the truth that it holds."""

    cells: list[str]
    delimiter: str
    end: str
    rows: list[list[str]] = field(default_factory=list)
    damaged: bool = False
    touched: bool = False  # no second pollution picks it

    @property
    def text(self) -> str:
        return self.delimiter.join(self.cells)


@dataclass
class Draft:
    """A file in the making. The table stage works on headers and rows, the dialect stage on the settings after them,
    the line stage on lines, the byte stage on what is left."""

    rng: random.Random
    headers: list[str]
    rows: list[list[str]]
    has_header: bool = True

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""  # "" doubles the quote
    quoting: Literal["where needed", "all", "never"] = "where needed"
    before_quotes: str = ""
    trailing: Literal["", "every line", "rows"] = ""
    line_ends: tuple[str, ...] = ("\n",)
    last_line_end: bool = True
    first_line: str = ""

    header: Line | None = None
    lines: list[Line] = field(default_factory=list)

    encoding: str = "utf-8"
    boms: int = 0
    container: Callable[[bytes], bytes] = bytes
    suffix: str = ".csv"
    instead: bytes | None = None  # the whole file
    instead_lines: list[str] = field(default_factory=list)  # if it holds the rows in another format

    def need(self, columns: int = 1, rows: int = 1) -> None:
        """Raises Incompatible when the table is smaller."""
        if len(self.headers) < columns or len(self.rows) < rows:
            raise Incompatible(f"needs {columns} columns and {rows} rows")

    def scatter(self, values: Iterable[str]) -> None:
        """Puts each value into a random cell, never an id, unless that is the only column."""
        self.need()
        first = min(1, len(self.headers) - 1)
        places = [(row, k) for row in self.rows for k in range(first, len(self.headers))]
        for (row, k), value in zip(self.rng.sample(places, len(places)), values, strict=False):
            row[k] = value

    # writing

    def in_quotes(self, value: str) -> str:
        escape = self.escape or self.quote
        if self.escape:
            value = value.replace(escape, escape + escape)
        return self.quote + value.replace(self.quote, escape + self.quote) + self.quote

    def cell(self, value: str) -> str:
        """A value as it stands in the file."""
        special = self.delimiter + self.quote + self.escape + "\r\n"
        only_blank = value == "" and len(self.headers) == 1
        needed = only_blank or any(char in value for char in special)
        if self.quoting == "never" or (self.quoting == "where needed" and not needed):
            return value
        return self.before_quotes + self.in_quotes(value)

    def new_line(self, cells: list[str], rows: list[list[str]] | None = None) -> Line:
        return Line(cells, self.delimiter, self.rng.choice(self.line_ends), rows or [])

    def write(self) -> None:
        """From the table to lines. Who writes no quotes writes no line breaks in cells either."""
        if self.quoting == "never":
            for row in [self.headers, *self.rows]:
                row[:] = [re.sub("[\r\n]+", " ", value) for value in row]
        if self.has_header:
            self.header = self.new_line([self.cell(header) for header in self.headers])
            self.header.cells += [""] if self.trailing == "every line" else []
            self.lines.append(self.header)
        for row in self.rows:
            line = self.new_line([self.cell(value) for value in row], [row])
            line.cells += [""] if self.trailing else []
            self.lines.append(line)
        if self.quoting == "never":
            self.mark_unquoted()

    def mark_unquoted(self) -> None:
        """Rows that needed quotes and got none are damaged."""
        for line in self.lines:
            if not line.rows or slow_csv.parse(line.text, self.delimiter) == [slow_csv.Row(1, 0, line.cells)]:
                continue
            if line.text == "" or not self.shows(line.text):
                raise Incompatible(f"without quotes nothing shows that {line.text!r} is another row")
            line.damaged = line.touched = True

    # choosing lines

    def plain(self, value: str) -> bool:
        """Whether a value of two characters or more has nothing that any dialect would quote."""
        return len(value) > 1 and not set(value) & {self.delimiter, '"', "'", "\\", "\r", "\n"}

    def untouched(self) -> list[Line]:
        return [line for line in self.lines if len(line.rows) == 1 and not line.touched]

    def pick(self, suits: Callable[[Line], bool] = lambda line: True) -> Line:
        """A random row that no other pollution has touched."""
        return self.pick_cell(lambda line, k, value: k == 0 and suits(line))[0]

    def pick_cell(self, suits: Callable[[Line, int, str], bool]) -> tuple[Line, int]:
        """A random cell of such rows: its line and position."""
        places = [
            (line, k)
            for line in self.untouched()
            for k, value in enumerate(line.rows[0])
            if suits(line, k, value)
        ]
        if not places:
            raise Incompatible("no row suits")
        line, k = self.rng.choice(places)
        line.touched = True
        return line, k

    def damage(self, suits: Callable[[Line, int, str], bool], change: Callable[[str], str]) -> None:
        """Writes one value another way than the truth says."""
        line, k = self.pick_cell(suits)
        line.cells[k] = change(line.rows[0][k])
        line.damaged = True

    def middle(self) -> int:
        """A place between two lines with rows."""
        self.need(rows=2)
        places = [n for n, line in enumerate(self.lines) if line.rows][1:]
        if not places:
            raise Incompatible("no two rows are left")
        return self.rng.choice(places)

    def shows(self, text: str) -> bool:
        """Whether it shows that the text is not one row of the file: its quotes or its width."""
        rows = slow_csv.parse(text, self.delimiter, self.quote)
        widths = {len(line.cells) for line in self.lines}
        return rows is None or len(rows) != 1 or len(rows[0].cells) not in widths

    def append(self, text: str) -> None:
        """Text after everything; without a last line end it sticks to the last row."""
        if self.last_line_end or not self.lines:
            self.lines.append(Line([text], self.delimiter, ""))
        else:
            last = self.lines[-1]
            last.cells[-1:] = [(last.cells or [""])[-1] + text]
            last.damaged = True


@dataclass
class Polluted:
    """A file and the truth about it. Truth without headers: the file holds no table, only a problem is right."""

    names: list[str]
    kind: Kind
    content: bytes
    suffix: str
    truth: Table
    damaged: set[int]  # rows of the truth (from 0) that may be rejected
    extra_rows: list[str]  # the text of lines that hold no row of the truth
    texts: list[str]  # per row of the truth: the text of the line that holds it
    delimiter: str
    quote: str
    encoding: str


@dataclass
class Reading:
    """What a reader made of a file. problem: it refused, with this sentence."""

    problem: str | None
    header: list[str] = field(default_factory=list)
    rows: list[tuple[int, list[str]]] = field(default_factory=list)  # row number, cells
    # row number, line, byte position, reason, raw text
    rejects: list[tuple[int, int, int, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pollution:
    """One thing that goes wrong with files.

    kind: 'same' (a perfect reader gives the clean table's cells), 'changed' (the data was changed on purpose, and is
    as certain) or 'broken' (no reader can be sure; being told is fine).
    """

    name: str
    stage: Stage
    kind: Kind
    apply: Callable[[Draft], None]
    slots: frozenset[str] = frozenset()
    prepare: Callable[[Draft], None] | None = None  # what it needs in the table, before the table stage


POLLUTIONS: dict[str, Pollution] = {}


def add(
    stage: Stage,
    name: str,
    kind: Kind,
    apply: Callable[[Draft], None],
    slots: str = "",
    prepare: Callable[[Draft], None] | None = None,
) -> None:
    """Registers a pollution; slots are separated by commas."""
    assert name not in POLLUTIONS, name
    taken = frozenset(slot.strip() for slot in slots.split(",") if slot.strip())
    POLLUTIONS[name] = Pollution(name, stage, kind, apply, taken, prepare)


def pollution(stage: Stage, name: str, kind: Kind, slots: str = "", **options: Any) -> Callable:
    """The same as a decorator."""

    def register(apply: Callable[[Draft], None]) -> Callable[[Draft], None]:
        add(stage, name, kind, apply, slots, **options)
        return apply

    return register


def setting(**values: Any) -> Callable[[Draft], None]:
    """A pollution that sets attributes of the draft."""

    def apply(draft: Draft) -> None:
        for name, value in values.items():
            setattr(draft, name, value)

    return apply


def check_slots(chosen: list[Pollution]) -> None:
    """Raises Incompatible when two want one slot, or one replaces what another would change."""
    for one, other in combinations(chosen, 2):
        if one == other or one.slots & other.slots:
            raise Incompatible(f"{one.name}, {other.name}: only one at a time")
        for a, b in ((one, other), (other, one)):
            if "whole file" in a.slots and "container" not in b.slots:
                raise Incompatible(f"{a.name} leaves nothing for {b.name}")


def pairs() -> list[tuple[str, str]]:
    """All pairs of names whose slots allow it; a table may still make one Incompatible."""
    found = []
    for one, other in combinations(POLLUTIONS.values(), 2):
        try:
            check_slots([one, other])
        except Incompatible:
            continue
        found.append((one.name, other.name))
    return found


def polluted(table: Table, names: list[str], seed: int) -> Polluted:
    """The table as a file with these pollutions. The same arguments give the same bytes, in any order of names."""
    order = list(POLLUTIONS)
    chosen = sorted(
        (POLLUTIONS[name] for name in names), key=lambda p: (STAGES.index(p.stage), order.index(p.name))
    )
    check_slots(chosen)
    draft = Draft(random.Random(), list(table.headers), deepcopy(table.rows))

    def each(stage: str) -> Iterable[Pollution]:
        for one in chosen:
            draft.rng = random.Random(f"{seed} {stage} {one.name}")
            if one.stage == stage or (stage == "prepare" and one.prepare):
                yield one

    for one in each("prepare"):
        one.prepare(draft)  # type: ignore[misc]
    for one in each("table"):
        one.apply(draft)
    for one in each("dialect"):
        one.apply(draft)
    draft.rng = random.Random(f"{seed} write")
    draft.write()
    for one in each("line"):
        one.apply(draft)
    for one in each("byte"):
        one.apply(draft)

    # two harmless ones may damage a row together
    kinds = {one.kind for one in chosen} | {"broken" for line in draft.lines if line.damaged}
    kind: Kind = "broken" if "broken" in kinds else "changed" if "changed" in kinds else "same"
    return finished(draft, [one.name for one in chosen], kind)


def finished(draft: Draft, names: list[str], kind: Kind) -> Polluted:
    """From lines to bytes, and the truth about them."""
    if draft.instead is not None:
        truth = Table(draft.headers, draft.rows) if draft.instead_lines else Table([], [])
        content = draft.container(draft.instead)
        return Polluted(
            names, kind, content, draft.suffix, truth, set(), [], draft.instead_lines, ",", '"', "utf-8"
        )

    if not draft.last_line_end and draft.lines:
        draft.lines[-1].end = ""
    text = BOM * draft.boms + draft.first_line + "".join(line.text + line.end for line in draft.lines)
    errors = "surrogateescape" if draft.encoding == "utf-8" else "strict"  # for single wrong bytes
    try:
        content = text.encode(draft.encoding, errors)
    except UnicodeEncodeError as error:
        raise Incompatible(f"{error.object[error.start]!r} is not in {draft.encoding}") from None
    if draft.encoding in ONE_BYTE_ENCODINGS and not content.isascii() and is_utf8(content):
        raise Incompatible(f"as {draft.encoding} it happens to be UTF-8, too")

    rows = [(line, row) for line in draft.lines for row in line.rows]
    extra = [line.text for line in draft.lines if not line.rows and line is not draft.header]
    return Polluted(
        names=names,
        kind=kind,
        content=draft.container(content),
        suffix=draft.suffix,
        truth=Table(
            draft.headers if draft.has_header else ["" for _ in draft.headers], [row for _, row in rows]
        ),
        damaged={n for n, (line, _) in enumerate(rows) if line.damaged},
        extra_rows=([draft.first_line.rstrip("\r\n")] if draft.first_line else []) + extra,
        texts=[line.text for line, _ in rows],
        delimiter=draft.delimiter,
        quote=draft.quote,
        encoding=draft.encoding,
    )


def is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# -- Table stage: headers --


@pollution("table", "a header twice", "broken", "headers")
def header_twice(draft: Draft) -> None:
    draft.need(columns=3)
    one, other = draft.rng.sample(range(1, len(draft.headers)), 2)
    draft.headers[other] = draft.headers[one]


@pollution("table", "two headers that differ only in case", "broken", "headers")
def header_in_other_case(draft: Draft) -> None:
    draft.need(columns=3)
    one, other = draft.rng.sample(range(1, len(draft.headers)), 2)
    draft.headers[other] = draft.headers[one].upper()


@pollution("table", "a blank header", "changed", "headers")
def blank_header(draft: Draft) -> None:
    draft.need(columns=2)
    filled = [k for k in range(1, len(draft.headers)) if any(row[k] for row in draft.rows)]
    draft.headers[draft.rng.choice(filled or [1])] = ""


@pollution("table", "no header", "broken", "headers")
def no_header(draft: Draft) -> None:
    draft.need()
    draft.has_header = False


def with_header(change: Callable[[str], str]) -> Callable[[Draft], None]:
    """One header, not that of the ids, changed."""

    def apply(draft: Draft) -> None:
        k = draft.rng.randrange(min(1, len(draft.headers) - 1), len(draft.headers))
        draft.headers[k] = change(draft.headers[k])

    return apply


add("table", "a header with a line break", "changed", with_header("{}\n(as on the form)".format), "headers")
add(
    "table",
    "a header with delimiters and quotes",
    "changed",
    with_header('{}, the "legal"; one'.format),
    "headers",
)
add("table", "a header with spaces around it", "changed", with_header(" {}  ".format), "headers")
add(
    "table",
    "a header of 300 characters",
    "changed",
    with_header(lambda header: header + " long" * 60),
    "headers",
)


@pollution("table", "header only", "changed", "headers, rows")
def header_only(draft: Draft) -> None:
    draft.rows.clear()


# -- Table stage: shape --


@pollution("table", "one column", "changed", "columns")
def one_column(draft: Draft) -> None:
    k = draft.headers.index("Notes") if "Notes" in draft.headers else 0
    draft.headers = [draft.headers[k]]
    draft.rows = [[row[k]] for row in draft.rows]


@pollution("table", "300 columns", "changed", "columns")
def many_columns(draft: Draft) -> None:
    more = range(len(draft.headers), 300)
    draft.headers += [f"Custom field {k}" for k in more]
    for row in draft.rows:
        row += [draft.rng.choice(["", "", "yes", "a, b", "0"]) for _ in more]


@pollution("table", "a column without a value", "changed")
def empty_column(draft: Draft) -> None:
    draft.need(columns=2)
    k = draft.rng.randrange(1, len(draft.headers))
    for row in draft.rows:
        row[k] = ""


@pollution("table", "ids that begin with #", "changed")
def hash_ids(draft: Draft) -> None:
    draft.need()
    for row in draft.rows:
        row[0] = "#" + row[0].removeprefix("C-")


@pollution("table", "a last row that begins with Total", "changed")
def total_row(draft: Draft) -> None:
    draft.need()
    draft.rows[-1][0] = "Total Energies"


# -- Table stage: cells --


def cells(*values: str) -> Callable[[Draft], None]:
    """A pollution that puts these values into random cells."""
    return lambda draft: draft.scatter(values)


add("table", "a cell of 20,000 characters", "changed", cells("long, " * 3333 + "ok"))
add("table", "a cell of 20,000 characters on 2,000 lines", "changed", cells("a line, \n" * 2000 + "ok"))
add(
    "table",
    "cells that look like SQL",
    "changed",
    cells("'; drop table crm; --", "Robert'); DELETE FROM stg_files", "1 or 1=1", "/* x */ select 1"),
)
add(
    "table",
    "cells that look like Jinja",
    "changed",
    cells("{{ env_var('HOME') }}", "{% raw %}", "{# gone? #}", "{{ 7 * 7 }}, {{", "${x} $1 %s {0}"),
)
add(
    "table",
    "cells that look like formulas",
    "changed",
    cells(
        "=1+1", "+49 30 1", "-2", "@sum(a1)", '=HYPERLINK("http://x.com","click, here")', "=cmd|' /C calc'!A0"
    ),
)
add(
    "table",
    "cells that look like paths",
    "changed",
    cells(
        "C:\\new\\temp",
        "../../etc/passwd",
        "s3://bucket/a?b=c&d",
        "\\\\server\\share\\",
        "C:\\",
        "~/x.csv",
        "*.csv",
    ),
)
add(
    "table",
    "cells that look like numbers and dates",
    "changed",
    cells(
        "0012", "1e5", "6.12E+11", "01/02/2024", "TRUE", "1,234.50", "1.234,50", "NaN", "0x1F", "12:30", "-0"
    ),
)
add(
    "table",
    "cells that say NULL",
    "changed",
    cells("NULL", "null", "\\N", "n/a", "NA", "None", "-", "(null)", "#N/A"),
)
add("table", "cells of only spaces", "changed", cells(" ", "   ", "    ", "\t"))
add(
    "table",
    "cells with spaces around them",
    "changed",
    cells(" x", "y ", "  z  ", "\tw\t", ' "q" ', " a, b "),
)
add("table", "cells with NBSP", "changed", cells("\u00a0", "a\u00a0b", "\u00a0c\u00a0", "+33\u00a06\u00a012"))
add(
    "table",
    "cells with invisible characters",
    "changed",
    cells("\u200b", "a\u200bb", "\u2060c", "so\u00adft", "\ufeffd"),
)
add(
    "table",
    "cells with emoji and other scripts",
    "changed",
    cells("👩‍👩‍👧 ok", "日本語、東京", "Ελλάδα", "שלום", "𝒳, 𝒴", "ﷺ"),
)
add(
    "table",
    "cells with decomposed accents",
    "changed",
    cells("Zoe\u0308", "Mun\u0303oz, A.", "e\u0301", "A\u030a"),
)
add(
    "table",
    "cells that were decoded wrongly before",
    "changed",
    cells("ZoÃ©", "MÃ¼ller, GmbH", "donâ€™t", "Ã", "?????", "Mu\ufffdoz"),
)
add(
    "table",
    "cells with line separators that are no line ends",
    "changed",
    cells("a\u2028b", "c\u2029d", "e\x85f", "g\vh", "i\fj", "k\x1cl\x1dm\x1en", "\u2028"),
)
add(
    "table",
    "cells with control characters",
    "changed",
    cells("a\x01b", "c\x07", "\x1b[31mred", "d\x7f", "e\x08f"),
)
add(
    "table",
    "cells with CR LF",
    "changed",
    cells("one\r\ntwo", "three\r\n", "\r\nfour", "five\r\n\r\nsix, seven"),
)
add("table", "cells with CR", "changed", cells("one\rtwo", "three\r", "\rfour, five"))
add(
    "table",
    "cells with every kind of line end",
    "changed",
    cells("a\nb\r\nc\rd", "\n", "\r\n", "\n\r", "e\n"),
)
add(
    "table",
    "cells that look like other rows",
    "changed",
    cells("x\nC-9999,a,b,c,d,e\ny", "x\nId,Notes\ny", "\n,,,,,\n"),
)
add("table", "cells of only quotes", "changed", cells('"', '""', '"""', "'", "''", '"a"', "'b'"))
add(
    "table",
    "cells of quotes and delimiters",
    "changed",
    cells('","', '",', ',"', '"\n"', '",\n,"', '"";""', "','"),
)
add("table", "cells of only delimiters", "changed", cells(",", ";;", "|", "\t\t", "^", ",;|\t", ",,,,,"))
add(
    "table",
    "cells full of semicolons",
    "changed",
    lambda draft: draft.scatter(["a; b; c; d; e; f"] * len(draft.rows)),
)
add(
    "table",
    "cells with backslashes before quotes",
    "changed",
    cells('a 5\\" pipe', '\\"', 'x\\"",', "end\\", "\\,", "\\n"),
)


# -- Dialect stage --

add("dialect", "semicolons", "same", setting(delimiter=";"), "delimiter")
add("dialect", "tabs", "same", setting(delimiter="\t"), "delimiter")
add("dialect", "pipes", "same", setting(delimiter="|"), "delimiter")
add("dialect", "carets", "same", setting(delimiter="^"), "delimiter")
add("dialect", "CR LF line ends", "same", setting(line_ends=("\r\n",)), "line ends")
add("dialect", "CR line ends", "same", setting(line_ends=("\r",)), "line ends")
add("dialect", "mixed line ends", "same", setting(line_ends=("\n", "\r\n", "\r")), "line ends")
add("dialect", "all cells quoted", "same", setting(quoting="all"), "quotes")
add("dialect", "single quotes", "same", setting(quote="'"), "quotes")
add("dialect", "backslash escapes", "same", setting(escape="\\"), "quotes")
add("dialect", "spaces before quotes", "same", setting(before_quotes=" "), "before quotes")
add("dialect", "trailing delimiter on every line", "same", setting(trailing="every line"), "trailing")
add("dialect", "trailing delimiter on rows only", "same", setting(trailing="rows"), "trailing")
add("dialect", "no last line end", "same", setting(last_line_end=False), "last line end")


@pollution("dialect", "sep= line", "same", "delimiter")
def sep_line(draft: Draft) -> None:
    draft.delimiter = ";"
    draft.first_line = "sep=;" + draft.line_ends[-1]


add("dialect", "no quotes at all", "broken", setting(quoting="never"), "quotes, before quotes")


# -- Line stage: one row --


@pollution("line", "one row with too few cells", "broken")
def too_few_cells(draft: Draft) -> None:
    draft.need(columns=3)
    line = draft.pick()
    del line.cells[draft.rng.randrange(1, len(draft.headers) - 1)]
    line.damaged = True


@pollution("line", "one row with too many cells", "broken")
def too_many_cells(draft: Draft) -> None:
    draft.need(columns=2)
    line = draft.pick()
    line.cells.insert(draft.rng.randrange(1, len(draft.headers)), "extra")
    line.damaged = True


@pollution("line", "extra empty cells at a row's end", "broken")
def extra_empty_cells(draft: Draft) -> None:
    draft.need(columns=2)
    line = draft.pick()
    line.cells += ["", ""]
    line.damaged = True


def end_a_row_with_blanks(draft: Draft) -> None:
    draft.need(columns=3)
    draft.rng.choice(draft.rows)[-2:] = ["", ""]


@pollution("line", "a row's last empty cells left out", "broken", prepare=end_a_row_with_blanks)
def last_empty_cells_left_out(draft: Draft) -> None:
    draft.need(columns=3)
    line = draft.pick(lambda line: line.rows[0][-2:] == ["", ""])
    del line.cells[len(draft.headers) - 2 :]
    line.damaged = True


@pollution("line", "an unterminated quote at a cell's beginning", "broken")
def unterminated_quote(draft: Draft) -> None:
    draft.damage(lambda line, k, value: draft.plain(value), lambda value: draft.quote + value)


@pollution("line", "a missing opening quote", "broken")
def missing_opening_quote(draft: Draft) -> None:
    def suits(line: Line, k: int, value: str) -> bool:
        needed = draft.delimiter in value or draft.quote in value
        return needed and value[0] != draft.quote and not set(value) & set("\r\n")

    draft.damage(suits, lambda value: draft.in_quotes(value)[1:])


@pollution("line", "unescaped quotes inside a quoted cell", "broken")
def unescaped_quotes(draft: Draft) -> None:
    def written(value: str) -> str:
        return draft.quote + value + draft.quote

    def suits(line: Line, k: int, value: str) -> bool:
        if draft.quote not in value or set(value) & set("\r\n"):
            return False
        return draft.shows(line.delimiter.join([*line.cells[:k], written(value), *line.cells[k + 1 :]]))

    draft.damage(suits, written)


def broken_cell(draft: Draft, last: bool) -> None:
    width = len(draft.headers)

    def suits(line: Line, k: int, value: str) -> bool:
        return draft.plain(value) and (k == width - 1 if last else 0 < k < width - 1)

    line, k = draft.pick_cell(suits)
    value = line.rows[0][k]
    line.cells[k] = line.rows[0][k] = value[: len(value) // 2] + "\n" + value[len(value) // 2 :]
    line.damaged = True


@pollution("line", "a line break inside an unquoted cell", "broken")
def line_break_in_a_cell(draft: Draft) -> None:
    """Not in the first or last cell, where one of the two parts would be as wide as a row."""
    draft.need(columns=3)
    broken_cell(draft, last=False)


def plain_last_cell(draft: Draft) -> None:
    draft.need()
    draft.rng.choice(draft.rows)[-1] = "called twice in spring"


@pollution("line", "a line break inside an unquoted last cell", "broken", prepare=plain_last_cell)
def line_break_in_the_last_cell(draft: Draft) -> None:
    """The first part is a row of the right width; only the short line after it says that something is wrong."""
    draft.need(columns=3)
    broken_cell(draft, last=True)


@pollution("line", "another delimiter in one row", "broken")
def another_delimiter(draft: Draft) -> None:
    draft.need(columns=3)
    other = "," if draft.delimiter == ";" else ";"
    line = draft.pick(lambda line: draft.shows(other.join(line.cells)))
    line.delimiter = other
    line.damaged = True


@pollution("line", "one row wrapped in quotes as a whole", "broken")
def row_in_quotes(draft: Draft) -> None:
    draft.need(columns=2)
    line = draft.pick()
    line.cells = [draft.in_quotes(line.text)]
    line.damaged = True


@pollution("line", "a byte order mark before a row in the middle", "broken")
def bom_before_a_row(draft: Draft) -> None:
    line = draft.pick(lambda line: line is not draft.lines[0])
    line.cells[0] = BOM + line.cells[0]
    line.damaged = True


@pollution("line", "rows joined into one line", "broken")
def rows_joined(draft: Draft) -> None:
    draft.need(columns=2, rows=2)
    free = {id(line) for line in draft.untouched()}
    places = [n for n in range(len(draft.lines) - 1) if {id(line) for line in draft.lines[n : n + 2]} <= free]
    if not places:
        raise Incompatible("no two rows next to each other are left")
    n = draft.rng.choice(places)
    one, other = draft.lines[n : n + 2]
    one.cells = [*one.cells[:-1], one.cells[-1] + other.cells[0], *other.cells[1:]]
    one.rows += other.rows
    one.damaged = one.touched = True
    del draft.lines[n + 1]


@pollution("line", "NUL inside a cell", "broken")
def nul_in_a_cell(draft: Draft) -> None:
    line, k = draft.pick_cell(lambda line, k, value: draft.plain(value))
    line.rows[0][k] = line.rows[0][k][:1] + "\0" + line.rows[0][k][1:]
    line.cells[k] = draft.cell(line.rows[0][k])
    line.damaged = True


@pollution("line", "a row twice", "changed")
def row_twice(draft: Draft) -> None:
    line = draft.pick()
    draft.lines.insert(draft.lines.index(line), deepcopy(line))


# -- Line stage: many rows --


@pollution("line", "every line wrapped in quotes as a whole", "broken", "every line")
def lines_in_quotes(draft: Draft) -> None:
    draft.need(columns=2)
    for line in draft.lines:
        line.cells = [draft.in_quotes(line.text)]
        line.damaged = line.touched = bool(line.rows)


@pollution("line", "width changes midway", "broken", "every line")
def width_changes(draft: Draft) -> None:
    draft.need(columns=2)
    for line in draft.lines[draft.middle() :]:
        if line in draft.untouched():
            line.cells.insert(len(draft.headers) - 1, "2024-05-01")
            line.damaged = line.touched = True


# -- Line stage: lines that hold no row --


def insert(draft: Draft, place: int, *lines: list[str]) -> None:
    draft.lines[place:place] = [draft.new_line(cells) for cells in lines]


def header_again(draft: Draft, mark: str = "") -> None:
    if draft.header is None:
        raise Incompatible("there is no header")
    first, *others = draft.header.cells
    insert(draft, draft.middle(), [mark + first, *others])


add("line", "the header repeated in the middle", "broken", header_again)


@pollution("line", "two files with byte order marks, one after the other", "broken", "first mark")
def marked_files(draft: Draft) -> None:
    draft.boms = 1
    header_again(draft, mark=BOM)


@pollution("line", "a line of only delimiters", "broken")
def only_delimiters(draft: Draft) -> None:
    """By the letter a row of empty cells, so it is one of the truth; who calls it no row must say so."""
    draft.need(columns=2)
    row = ["" for _ in draft.headers]
    line = draft.new_line(list(row), [row])
    line.damaged = line.touched = True
    draft.lines.insert(draft.middle(), line)


@pollution("line", "blank lines in the middle", "same")
def blank_lines_in_the_middle(draft: Draft) -> None:
    insert(draft, draft.middle(), [])
    insert(draft, draft.middle(), [], [])


@pollution("line", "blank-looking lines of spaces", "same")
def lines_of_spaces(draft: Draft) -> None:
    draft.need(columns=2)
    insert(draft, draft.middle(), ["   "])
    insert(draft, draft.middle(), [" "])


def blanks(draft: Draft) -> list[str]:
    """Padding that makes a line of one cell as wide as the table."""
    draft.need(columns=3)
    return ["" for _ in draft.headers[1:]]


TITLE = "CRM export of 2024-05-01"


@pollution("line", "a title and a blank line first", "broken", "first line")
def title(draft: Draft) -> None:
    insert(draft, 0, [TITLE], [])


@pollution("line", "comment lines first", "broken", "first line")
def comments(draft: Draft) -> None:
    insert(draft, 0, ["# made by the CRM"], ["# 2024-05-01"])


@pollution("line", "a title padded with delimiters", "broken", "first line")
def padded_title(draft: Draft) -> None:
    insert(draft, 0, [TITLE, *blanks(draft)])


@pollution("line", "blank lines at the start", "same")
def blank_lines_at_the_start(draft: Draft) -> None:
    insert(draft, 0, [], [])


def last(draft: Draft, *lines: list[str]) -> None:
    insert(draft, len(draft.lines), *lines)


def total(draft: Draft) -> str:
    return f"Total: {len(draft.rows)} rows"


@pollution("line", "the same file twice", "broken", "copies")
def same_file_twice(draft: Draft) -> None:
    draft.lines += deepcopy(draft.lines)


@pollution("line", "a footer after a blank line", "broken", "footer")
def footer_after_a_blank_line(draft: Draft) -> None:
    last(draft, [], [total(draft)])


@pollution("line", "a footer", "broken", "footer")
def footer(draft: Draft) -> None:
    draft.need(columns=2)
    last(draft, [total(draft)])


@pollution("line", "a footer padded with delimiters", "broken", "footer")
def padded_footer(draft: Draft) -> None:
    last(draft, [total(draft), *blanks(draft)])


@pollution("line", "a second table of another width", "broken", "second table")
def second_table(draft: Draft) -> None:
    width = 2 if len(draft.headers) != 2 else 3
    last(
        draft,
        [],
        ["Order", "Amount", "Date"][:width],
        *([f"O-{n}", "9.90", "2024"][:width] for n in range(3)),
    )


@pollution("line", "a second table of the same width", "broken", "second table")
def second_table_of_the_same_width(draft: Draft) -> None:
    more = range(1, len(draft.headers))
    last(
        draft,
        [],
        ["Order", *(f"Line {k}" for k in more)],
        *([f"O-{n}", *("9.90" for _ in more)] for n in range(3)),
    )


add("line", "blank lines at the end", "same", lambda draft: last(draft, [], [], []), "blank end")


def cut(draft: Draft, suits: Callable[[Line, int, str], bool], change: Callable[[int, str], str]) -> None:
    """The file ends in a cell."""
    line, k = draft.pick_cell(lambda line, k, value: line not in draft.lines[:2] and suits(line, k, value))
    del draft.lines[draft.lines.index(line) + 1 :]
    line.cells[k:] = [change(k, line.rows[0][k])]
    line.end = ""
    line.damaged = True


END = "file end, last line end, copies, footer, second table, blank end"


@pollution("line", "the file cut off in mid line", "broken", END)
def cut_in_mid_line(draft: Draft) -> None:
    """Never in the last cell: that would be a file without a last line end, and nobody could know."""

    def suits(line: Line, k: int, value: str) -> bool:
        return 0 < k < len(draft.headers) - 1 and draft.plain(value)

    def change(k: int, value: str) -> str:
        return "" if draft.quoting == "all" else value[: draft.rng.randrange(len(value))]

    cut(draft, suits, change)


@pollution("line", "the file cut off inside quotes", "broken", END)
def cut_inside_quotes(draft: Draft) -> None:
    def beginning(value: str) -> str:
        return re.split("[\"'\\\\\r\n]", value)[0]

    def suits(line: Line, k: int, value: str) -> bool:
        return draft.quoting != "never" and draft.cell(value) != value and beginning(value) != ""

    def change(k: int, value: str) -> str:
        return draft.before_quotes + draft.quote + value[: draft.rng.randint(1, len(beginning(value)))]

    cut(draft, suits, change)


# -- Byte stage: marks --

add("byte", "a byte order mark", "same", setting(boms=1), "first mark")
add("byte", "two byte order marks", "same", setting(boms=2), "first mark")
add("byte", "NUL padding at the end", "same", lambda draft: draft.append("\0" * 512), "file end")
add("byte", "Ctrl-Z at the end", "same", lambda draft: draft.append("\x1a"), "file end")


# -- Byte stage: encodings --

add("byte", "UTF-16 LE", "same", setting(encoding="utf-16-le", boms=1), "encoding, first mark")
add("byte", "UTF-16 BE", "same", setting(encoding="utf-16-be", boms=1), "encoding, first mark")
add("byte", "UTF-16 LE without a mark", "same", setting(encoding="utf-16-le"), "encoding, first mark")
add("byte", "UTF-16 BE without a mark", "same", setting(encoding="utf-16-be"), "encoding, first mark")
add("byte", "cp1252", "same", setting(encoding="cp1252"), "encoding, first mark")
add("byte", "latin-1", "same", setting(encoding="latin-1"), "encoding, first mark")
add("byte", "Mac Roman", "broken", setting(encoding="mac_roman"), "encoding, first mark")
add("byte", "cp437", "broken", setting(encoding="cp437"), "encoding, first mark")


def names_of(encoding: str, *names: str) -> Callable[[Draft], None]:
    """Content for an encoding: these names in the cells, what it has no place for without accents."""

    def fit(value: str) -> str:
        try:
            value.encode(encoding)
        except UnicodeEncodeError:
            return folded(value)
        return value

    def prepare(draft: Draft) -> None:
        draft.rows = [[fit(value) for value in row] for row in draft.rows]
        draft.scatter(names)

    return prepare


add(
    "byte",
    "cp1252 with curly quotes and the euro sign",
    "changed",
    setting(encoding="cp1252"),
    "encoding, first mark",
    names_of("cp1252", "“the best”, he said", "don’t call", "5 € – 10 €", "Œuvre…", "Žižek™"),
)
add(
    "byte",
    "cp1251 with Russian names",
    "broken",
    setting(encoding="cp1251"),
    "encoding, first mark",
    names_of("cp1251", "Иван", "Ольга Петрова", "ООО «Ромашка», Москва", "Ёлкин", "Щукин", "№ 5"),
)
add(
    "byte",
    "cp1250 with Polish and Czech names",
    "broken",
    setting(encoding="cp1250"),
    "encoding, first mark",
    names_of("cp1250", "Łukasz", "Żółć, Gęśl", "Dvořák", "Škoda", "Győző", "Ştefan"),
)


@pollution("byte", "one invalid byte in UTF-8", "broken", "encoding")
def invalid_byte(draft: Draft) -> None:
    draft.damage(
        lambda line, k, value: draft.plain(value), lambda value: draft.cell(value[:1] + "\udcff" + value[1:])
    )


@pollution("byte", "one cp1252 line in UTF-8", "broken", "encoding")
def cp1252_line(draft: Draft) -> None:
    def in_cp1252(text: str) -> bytes:
        return text.encode("cp1252", "ignore")

    def suits(line: Line) -> bool:
        content = in_cp1252(line.text)
        return not is_utf8(content) and content.decode("cp1252") == line.text

    line = draft.pick(suits)
    line.cells = [in_cp1252(cell).decode("ascii", "surrogateescape") for cell in line.cells]
    line.damaged = True


# -- Byte stage: containers --


def zstd(content: bytes) -> bytes:
    """A zstd file, by the package if it is there, else of uncompressed blocks (RFC 8878)."""
    try:
        from backports import zstd as package
    except ImportError:
        frame = b"\x28\xb5\x2f\xfd\xa0" + len(content).to_bytes(4, "little")
        blocks = [content[n : n + 65536] for n in range(0, len(content), 65536)] or [b""]
        for n, block in enumerate(blocks, 1):
            frame += (len(block) << 3 | (n == len(blocks))).to_bytes(3, "little") + block
        return frame
    return package.compress(content)


def gzipped(content: bytes) -> bytes:
    """By zlib itself: what gzip.compress writes into the header differs between versions of Python."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush()


def in_two_members(content: bytes) -> bytes:
    half = len(content) // 2
    return gzipped(content[:half]) + gzipped(content[half:])


def cut_short(content: bytes) -> bytes:
    return content[: len(content) * 3 // 5]


def zipped(files: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def wrong_byte(content: bytes) -> bytes:
    """One bit of the checksum (gzip's last 8 bytes are checksum and length) turned."""
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


def in_zip(content: bytes) -> bytes:
    return zipped({"crm.csv": content})


for name, kind, container, suffix in [
    ("gzip", "same", gzipped, ".csv.gz"),
    ("gzip of two members", "same", in_two_members, ".csv.gz"),
    ("truncated gzip", "broken", lambda content: cut_short(gzipped(content)), ".csv.gz"),
    ("gzip without its last 8 bytes", "broken", lambda content: gzipped(content)[:-8], ".csv.gz"),
    ("gzip with a wrong byte", "broken", lambda content: wrong_byte(gzipped(content)), ".csv.gz"),
    ("gzip under a .csv name", "same", gzipped, ".csv"),
    ("plain text under a .csv.gz name", "same", bytes, ".csv.gz"),
    ("zstd", "same", zstd, ".csv.zst"),
    ("truncated zstd", "broken", lambda content: cut_short(zstd(content)), ".csv.zst"),
    ("zip archive under a .csv name", "broken", in_zip, ".csv"),
]:
    add("byte", name, kind, setting(container=container, suffix=suffix), "container")  # type: ignore[arg-type]


# -- Byte stage: another file altogether --


@pollution("byte", "an HTML page instead", "broken", "whole file")
def html_page(draft: Draft) -> None:
    page = "<!DOCTYPE html>\n<html>\n<head><title>Sign in, please</title></head>\n<body>\n"
    draft.instead = (page + "<p>Your session has expired, sign in again.</p>\n</body>\n</html>\n").encode()


def records(draft: Draft) -> list[dict[str, str]]:
    return [dict(zip(draft.headers, row, strict=True)) for row in draft.rows]


@pollution("byte", "a JSON array instead", "broken", "whole file")
def json_array(draft: Draft) -> None:
    draft.instead = json.dumps(records(draft), indent=1, ensure_ascii=False).encode()


@pollution("byte", "JSON lines instead", "broken", "whole file")
def json_lines(draft: Draft) -> None:
    """A reader may know the format: then the rows are the truth."""
    draft.instead_lines = [json.dumps(record) for record in records(draft)]
    draft.instead = "".join(line + "\n" for line in draft.instead_lines).encode()


@pollution("byte", "an xlsx workbook instead", "broken", "whole file")
def xlsx(draft: Draft) -> None:
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    row = "".join(f'<c t="inlineStr"><is><t>{header}</t></is></c>' for header in draft.headers)
    sheet = f'<worksheet xmlns="{main}"><sheetData><row>{row}</row></sheetData></worksheet>'
    draft.instead = zipped({"[Content_Types].xml": "<Types/>", "xl/worksheets/sheet1.xml": sheet})


add("byte", "an empty file", "broken", setting(instead=b""), "whole file")
add("byte", "only a byte order mark", "broken", setting(instead=BOM.encode()), "whole file")
add("byte", "only blank lines", "broken", setting(instead=b"\n\r\n\n"), "whole file")
add("byte", "only NUL bytes", "broken", setting(instead=bytes(512)), "whole file")


# -- Was it read right? --


def verdict(polluted: Polluted, reading: Reading) -> str | None:
    """None when the reading is right or the user was told; else the silent error as a sentence.

    Told is: a problem; a reject that accounts for a missing row (it shows the row's text, or there is one reject for
    each); for files in a one-byte encoding, a note about the encoding when nothing but letters beyond ASCII
    differs; and a note of blank lines, when white space at the ends of cells differs: a line of spaces may be the rest of
    one. An accepted row that is not the next row of the truth is an error whatever the notes say.
    """
    if reading.problem is not None:
        return None
    if not polluted.truth.headers:
        return "The file holds no table, and yet it was read without a problem."
    error = difference(polluted, reading, plainly=lambda cell: cell)
    if (
        error
        and polluted.encoding in ONE_BYTE_ENCODINGS
        and any(SAYS_ENCODING.search(n) for n in reading.notes)
    ):
        return difference(polluted, reading, plainly=lambda cell: re.sub("[^\x00-\x7f]+", "\ufffd", cell))
    if error and any("blank lines" in note for note in reading.notes):
        return difference(polluted, reading, plainly=str.strip)
    return error


def right(polluted: Polluted, reading: Reading) -> bool:
    """Whether everything was read that could be: exactly the truth, damaged rows aside, and no problem."""
    if reading.problem is not None or not polluted.truth.headers:
        return False
    if difference(polluted, reading, plainly=lambda cell: cell):
        return False
    sound = [tuple(row) for n, row in enumerate(polluted.truth.rows) if n not in polluted.damaged]
    _, rows = without_empty_tail(reading, len(polluted.truth.headers))
    return not Counter(sound) - Counter(map(tuple, rows))


def difference(polluted: Polluted, reading: Reading, plainly: Callable[[str], str]) -> str | None:
    """What is silently wrong; cells are compared as `plainly` has them."""

    def plain(row: list[str]) -> list[str]:
        return [plainly(cell) for cell in row]

    truth = Table(plain(polluted.truth.headers), [plain(row) for row in polluted.truth.rows])
    header, rows = without_empty_tail(reading, len(truth.headers))
    header, rows = plain(header), [plain(row) for row in rows]

    if len(header) != len(truth.headers):
        return f"The header has {len(header)} cells instead of {len(truth.headers)}: {short(header)}."
    for n, (found, expected) in enumerate(zip(header, truth.headers, strict=True), 1):
        if not same_header(found, expected, n):
            return f"Header {n} is {short(found)} instead of {short(expected)}."

    missing: list[int] = []
    next_row = 0
    for (number, _), row in zip(reading.rows, rows, strict=True):
        if row not in truth.rows[next_row:]:
            where = (
                "The accepted row"
                if row not in truth.rows
                else "Out of order or once too often: the accepted row"
            )
            return f"{where} {number} {nearest(row, truth)}."
        place = truth.rows.index(row, next_row)
        missing += range(next_row, place)
        next_row = place + 1
    missing += range(next_row, len(truth.rows))

    lost = unaccounted(polluted, reading, missing)
    if lost:
        first = short(polluted.truth.rows[lost[0]])
        return f"{len(lost)} rows are missing and no reject tells of them, the first may be row {lost[0] + 1}: {first}."
    return None


def without_empty_tail(reading: Reading, width: int) -> tuple[list[str], list[list[str]]]:
    """Without columns after the last of the truth that have no header and no value: nothing is lost with them."""
    header, rows = reading.header, [row for _, row in reading.rows]
    tail = range(width, len(header))
    if all(same_header(header[k], "", k + 1) for k in tail) and not any("".join(row[width:]) for row in rows):
        return header[:width], [row[:width] for row in rows]
    return header, rows


def same_header(found: str, expected: str, position: int) -> bool:
    found, expected = found.lstrip(BOM), expected.lstrip(BOM)
    return found == expected or (expected.strip() == "" and found.strip() in ("", f"column_{position}"))


def unaccounted(polluted: Polluted, reading: Reading, missing: list[int]) -> list[int]:
    """The missing rows that no reject tells of."""
    told: set[int] = set()
    others = 0  # rejects that are neither recognised nor a line without a row: each tells of some missing row
    for *_, raw in reading.rejects:
        shown = {n for n in missing if polluted.texts[n] and polluted.texts[n] in raw}
        part = [
            n for n in missing if raw.strip() and raw.strip() in polluted.texts[n] and n in polluted.damaged
        ]
        if shown or part:
            told |= shown or {min(part, key=lambda n: (n in told, n))}
        elif not raw.strip() or raw.strip() not in {text.strip() for text in polluted.extra_rows}:
            others += 1
    return [n for n in missing if n not in told][others:]


def nearest(row: list[str], truth: Table) -> str:
    """How an accepted row differs from the row of the truth that is most like it."""
    if row in truth.rows:
        return f"is row {truth.rows.index(row) + 1} of the truth: {short(row)}"
    alike = max(
        truth.rows, key=lambda other: sum(a == b for a, b in zip(row, other, strict=False)), default=[]
    )
    if not any(a == b and a for a, b in zip(row, alike, strict=False)):
        return f"is no row of the truth: {short(row)}"
    if len(row) != len(alike):
        return f"has {len(row)} cells instead of {len(alike)}: {short(row)}"
    k = next(k for k, (a, b) in enumerate(zip(row, alike, strict=True)) if a != b)
    return f"has in cell {k + 1} {short(row[k])} instead of {short(alike[k])}: {short(row)}"


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:140]} … {text[-50:]}"
