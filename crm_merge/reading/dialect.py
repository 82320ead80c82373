"""How a CSV file is written: delimiter, quotes, where the header is; settled once, from its first lines."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from crm_merge import reference
from crm_merge.reading import FileProblem
from crm_merge.reading.lines import ADDRESS, NUMBER, Names, blank_words, is_rule, looks_like_data

WORDS = {sign: word for word, sign in reference.DELIMITERS.items()}
LETTERS, DIGITS = re.compile(r"[^\W\d]+"), re.compile(r"\d+")
RARE = "^~:\x1f\x01"  # asked only where none of the usual four makes columns
SAMPLE_RECORDS = 1000
PREAMBLE = 30  # lines that may stand before a header
MULTI_LINES = 3000  # lines that one quoted cell of the sample may span; few if some were never closed

csv.field_size_limit(2**31 - 1)  # a cell may be larger than the csv module's 128 KiB


@dataclass
class Dialect:
    """How a file is written. ``header_line`` is the physical line of the header, from 1; 0: there is none."""

    delimiter: str
    quote: str = '"'
    escape: str = '"'  # what stands before a quote inside quotes: the quote itself, or a backslash
    header_line: int = 1
    header: list[str] = field(default_factory=list)
    spaced: bool = False  # are there spaces around quoted cells, throughout?
    before: list[list[str]] = field(default_factory=list)  # the cells of the lines before the header
    unnamed: int = 0  # last columns without a name that most rows leave empty: a cell there is in doubt
    extra: int = (
        0  # cells that every row has more than the header, all empty (a delimiter ends each row), or fewer
    )
    notes: list[str] = field(default_factory=list)
    usual: dict[int, str] = field(
        default_factory=dict
    )  # column → what nearly all of its cells in the sample look like

    def plain(self) -> bool:
        """Says whether it is what DuckDB is told to read: standard quotes, the header on the first line."""
        return (
            self.quote == '"'
            and self.escape == '"'
            and self.header_line == 1
            and not (self.extra or self.spaced or self.unnamed)
        )

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields that are recorded, as JSON takes them."""
        found = asdict(self)
        del found["usual"]  # asked by the first pass only
        return found


@dataclass
class Trial:
    """A dialect tried on the sample: its records, the width most of them have, and the share that has it."""

    dialect: Dialect
    records: list[tuple[int, list[str]]]  # (physical line, cells)
    width: int
    share: float
    broken: set[int]  # lines of records whose quotes do not fit


# -- Records of a sample, tolerantly: what does not parse is split at delimiters --


def parse(text: str, delimiter: str, quote: str, escape: str, spaced: bool = False) -> list[str] | None:
    """Returns the cells of one whole record, without its line end, or None when its quotes do not fit."""
    if quote not in text:
        return text.split(delimiter)
    if spaced:
        return spaced_cells(text, delimiter, quote)
    if escape != quote:
        text = standard_quotes(text, quote)
    try:
        rows = list(csv.reader([text], delimiter=delimiter, quotechar=quote, strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def standard_quotes(text: str, quote: str) -> str:
    """Returns a record whose quotes are escaped with backslashes as one with doubled quotes."""
    return re.sub(rf"\\([{quote}\\])", lambda found: quote * 2 if found[1] == quote else "\\", text)


def spaced_cells(text: str, delimiter: str, quote: str) -> list[str] | None:
    """Returns the cells of a record whose quoted cells may have spaces around the quotes."""
    d, q = re.escape(delimiter), re.escape(quote)
    quoted = re.compile(f"[ \t]*{q}((?:[^{q}]|{q}{q})*){q}[ \t]*(?={d}|$)")
    bare = re.compile(f"[^{d}{q}]*(?={d}|$)")
    cells, place = [], 0
    while True:
        if found := quoted.match(text, place):
            cells.append(found[1].replace(quote * 2, quote))
        elif found := bare.match(text, place):
            cells.append(found[0])
        else:
            return None
        if found.end() == len(text):
            return cells
        place = found.end() + len(delimiter)


def ends_inside(text: str, delimiter: str, quote: str, inside: bool) -> bool:
    """Says whether a line of standard quoting ends inside quotes; a quote opens only where a cell begins."""
    place = 0
    while True:
        if inside:
            place = text.find(quote, place)
            if place < 0:
                return True
            doubled = text[place + 1 : place + 2] == quote
            inside, place = doubled, place + 1 + doubled
        elif place == 0 and text.startswith(quote):
            inside, place = True, 1
        else:
            place = text.find(delimiter + quote, place)
            if place < 0:
                return False
            inside, place = True, place + 2


def opens(text: str, dialect: Dialect, inside: bool) -> bool:
    """Says whether a line, with its end, ends inside quotes."""
    text = standard_quotes(text, dialect.quote) if dialect.escape != dialect.quote else text
    if dialect.spaced:  # inside quotes this changes nothing that counts
        text = re.sub(f"(^|{re.escape(dialect.delimiter)})[ \t]+{dialect.quote}", rf"\1{dialect.quote}", text)
    return ends_inside(text.rstrip("\r\n") + "\n", dialect.delimiter, dialect.quote, inside)


def sample_records(lines: list[str], dialect: Dialect) -> tuple[list[tuple[int, list[str]]], set[int]]:
    """Returns (line number, cells) of the records in the sample, blank lines left out, and the lines that do not parse."""
    found: list[tuple[int, list[str]]] = []
    how = (dialect.delimiter, dialect.quote, dialect.escape, dialect.spaced)
    at, unclosed = 0, 0
    broken: set[int] = set()
    while at < len(lines) and len(found) < SAMPLE_RECORDS:
        line = lines[at].rstrip("\r\n")
        number, at = at + 1, at + 1
        if not line.strip("\0\x1a \t" if dialect.delimiter != "\t" else "\0\x1a "):
            continue
        cells = parse(line, *how)
        if cells is None and opens(line, dialect, False):
            parts, inside, ahead = [lines[at - 1]], True, at
            while inside and ahead < min(len(lines), at + (MULTI_LINES if unclosed < 5 else 20)):
                inside = opens(lines[ahead], dialect, True)
                parts.append(lines[ahead])
                ahead += 1
            if not inside and (cells := parse("".join(parts).rstrip("\r\n"), *how)):
                at = ahead
            else:
                unclosed += 1
        if cells is None:
            broken.add(number)
        found.append((number, cells if cells is not None else line.split(dialect.delimiter)))
    return found, broken


def width(cells: list[str]) -> int:
    """Returns the number of cells up to the last one that is not empty."""
    count = len(cells)
    while count > 1 and not cells[count - 1]:
        count -= 1
    return count


# -- Which dialect --


def detect(
    name: str, text: str, whole: bool, settings: dict[str, Any], known: set[str], canonical: Any
) -> Dialect:
    """Returns the dialect of a file by its first characters; what ``settings`` declares wins.

    ``whole`` says that the text is the whole file: otherwise its last line may be cut off. ``known`` holds
    canonical names of columns that people use, ``canonical`` makes one of a header. Raises FileProblem for what
    is not a table, or where the header can not be told with certainty.
    """
    start = text.lstrip("\ufeff \t\r\n")[:200].lower()
    if start.startswith(("<!doctype", "<html", "<?xml", "<head", "<body")):
        raise FileProblem(
            f"{name} is a web page or XML, not a CSV file (often an error or log-in page saved under its name)"
        )
    if re.match(r"\{\s*\n", start):
        raise FileProblem(
            f"{name} is JSON over several lines; write it as JSON lines: one object a line, no line breaks in it"
        )
    if re.match(r"\[\s*(\{|\])", start):
        raise FileProblem(
            f"{name} is a JSON array; write it as JSON lines: one object a line, no brackets around them"
        )
    # one search for each is many times faster than one for any of them
    lines = (
        split_lines(text)
        if any(end in text for end in "\v\f\x1c\x1d\x1e\x85\u2028\u2029")
        else text.splitlines(keepends=True)
    )
    lines = lines if whole or len(lines) < 3 else lines[:-1]
    notes = []
    skipped = 0
    declared = settings.get("delimiter")
    if match := re.fullmatch(r"\ufeff*\"?sep=(.)\"?[\r\n]*", lines[0] if lines else "", re.IGNORECASE):
        skipped = 1
        notes.append(f"line 1 names the delimiter ({lines[0].strip()})")
        declared = declared or match[1]
    if not any(line.strip("\ufeff \t\r\n") for line in lines[skipped:]):
        raise FileProblem(f"{name} has no header: it holds only blank lines")
    lines[0] = lines[0].lstrip("\ufeff")
    body = ["\n"] * skipped + lines[skipped:]
    tried: dict[str, Trial] = {}
    trial = best_trial(body, declared, tried)
    while len(trial.records) > 1 and not any(cell.strip() for cell in trial.records[0][1]):
        notes.append(f"line {trial.records[0][0]} holds delimiters only and is skipped")
        del trial.records[0]
    if not trial.records:
        raise FileProblem(f"{name} has no header: it holds only blank lines")
    dialect = trial.dialect
    dialect.notes += notes
    if not declared:
        refuse_two_delimiters(name, trial, tried)
    elif trial.width == 1:
        refuse_delimiter(name, trial, declared)
    place_header(name, trial, settings.get("header_line"), known, canonical)
    refuse_header_of_rows(name, trial)
    dialect.before = [cells for line, cells in trial.records if line < dialect.header_line]
    dialect.extra = extra_cells(trial)
    dialect.unnamed = unnamed_cells(trial) if dialect.header_line else 0
    if dialect.extra > 0:
        dialect.notes.append("every row ends with a delimiter after its last cell")
    if trial.width == 1 and settings.get("header_line") is None:
        refuse_one_column(name, body, trial)
    if settings.get("header_line") is None:
        refuse_line_after(name, trial, known, canonical)
    note_unnamed(trial)
    rows = [cells for line, cells in trial.records if line > dialect.header_line]
    dialect.usual = strong_shapes(rows, 0.95) if len(rows) >= 5 else {}
    if odd := [cell for cell in dialect.header if '"' in cell or "\\" in cell]:
        dialect.notes.append(f"the header holds quotes or backslashes ({', '.join(odd)[:80]})")
    if dialect.spaced:
        dialect.notes.append("spaces around quoted cells are left out")
    if dialect.quote == "'":
        dialect.notes.append("cells are quoted with '…'")
    if dialect.escape == "\\":
        dialect.notes.append('quotes inside cells are written \\" and backslashes \\\\')
    if dialect.delimiter not in WORDS:
        dialect.notes.append(f"the delimiter is {dialect.delimiter!r}")
    return dialect


def split_lines(text: str) -> list[str]:
    """Splits at LF, CR LF and CR only: str.splitlines knows more line ends than CSV does."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", text)


def best_trial(lines: list[str], declared: str | None, tried: dict[str, Trial]) -> Trial:
    """Returns the dialect under which the most records of the sample have one width, wider before narrower.

    Keeps in ``tried`` the trials of the declared delimiter, or of the usual ones.
    """
    delimiters = [declared] if declared else [*WORDS]
    tried |= {delimiter: trial(lines, Dialect(delimiter)) for delimiter in delimiters}
    best = max(tried.values(), key=merit)
    if not declared and (best.share < 1.0 or best.width == 1):
        rare = [trial(lines, Dialect(delimiter)) for delimiter in RARE]
        enough = 1.0 if best.width > 1 else 0.5
        best = max(
            [*(other for other in rare if other.share >= enough and other.width >= 3), best], key=merit
        )
    text = "".join(lines)
    if '\\"' in text:
        better = max((trial(lines, Dialect(delimiter, escape="\\")) for delimiter in delimiters), key=merit)
        if regular(better) > regular(best) and better.width > 1:
            best = better
    if "'" in text and re.search("(?:^|[^\\w\\s])'", text, re.MULTILINE):
        asked = sorted({*delimiters, best.dialect.delimiter})
        better = max((trial(lines, Dialect(delimiter, "'", "'")) for delimiter in asked), key=merit)
        if (
            (better.width > 1 or best.width == 1)
            and regular(better) >= regular(best)
            and single_quoted(text, better.dialect.delimiter)
        ):
            best = better
    d = re.escape(best.dialect.delimiter)
    if best.dialect.quote == '"' and d != "\t":
        spaced, tight = re.findall(f'{d}[ \t]+"', text), re.findall(f'{d}"[^"]', text)
        if len(spaced) >= 3 and not tight:
            better = trial(lines, Dialect(best.dialect.delimiter, spaced=True))
            if better.width > 1 and regular(better) >= regular(best):
                best = better
    return best


def single_quoted(text: str, delimiter: str) -> bool:
    """Says whether '…' quotes cells here: more of them than "…" does, and some hold a delimiter or a doubled quote."""
    d = re.escape(delimiter)
    single = re.findall(f"(?:^|{d})('(?:[^']|'')*')(?=$|{d})", text, re.MULTILINE)
    double = re.findall(f'(?:^|{d})"(?:[^"]|"")*"(?=$|{d})', text, re.MULTILINE)
    telling = [cell for cell in single if delimiter in cell or "\n" in cell or "''" in cell[1:-1]]
    return len(single) > len(double) and bool(telling)


def trial(lines: list[str], dialect: Dialect) -> Trial:
    """Reads the sample under one dialect."""
    records, broken = sample_records(lines, dialect)
    widths = Counter(width(cells) for _, cells in records)
    full = Counter(len(cells) for _, cells in records)
    # rows end in empty cells now and then: the width is the header's if that is what most rows fit
    first = len(records[0][1]) if records else 1
    fits = sum(len(cells) == first or width(cells) == first for _, cells in records)
    common = full.most_common(1)[0][0] if full else 1
    if fits * 2 >= len(records) and first > 1:
        chosen = first
    else:
        chosen = common if common > 1 else max(widths, key=lambda w: (widths[w], w), default=1)
    share = sum(len(cells) == chosen or width(cells) == chosen for _, cells in records) / max(len(records), 1)
    return Trial(dialect, records, chosen, share, broken)


def merit(trial: Trial) -> tuple[float, int]:
    """Returns what ranks a trial: one column fits anything, so it ranks last."""
    return (trial.share if trial.width > 1 else 0.0, trial.width)


def regular(trial: Trial) -> int:
    """Returns how many records of the sample have one number of cells, less those whose quotes do not fit."""
    return max(Counter(len(cells) for _, cells in trial.records).values(), default=0) - len(trial.broken)


# -- Where the header is --


def place_header(name: str, trial: Trial, declared: int | None, known: set[str], canonical: Any) -> None:
    """Sets the header of a trial's dialect: the declared line, else the first line, else a later one if certain."""
    dialect, records = trial.dialect, trial.records
    if declared is not None:
        if declared == 0:
            dialect.header_line, dialect.header = 0, [f"column_{n}" for n in range(1, trial.width + 1)]
            return
        found = next((record for record in records if record[0] == declared), None)
        if found is None:
            raise FileProblem(
                f"{name}: header_line {declared} is blank, inside a quoted cell, or not in the file's first lines"
            )
        dialect.header_line, dialect.header = declared, named(name, declared, found[1])
        if skipped := [" ".join(filter(None, row)) for line, row in records if line < declared]:
            dialect.notes.append(f"skipped before the declared header line: {' / '.join(skipped)[:120]}")
        return
    number, cells = records[0]
    refuse_wrapped(name, trial)
    if len(cells) == trial.width or (width(cells) == trial.width) or trial.width == 1:
        filled = [cell for cell in cells if cell.strip()]
        if len(filled) > 1 or len(cells) < 3:
            refuse_data(name, number, cells, records[1:], known, canonical)
            dialect.header_line, dialect.header = number, named(name, number, cells)
            if number > 1 and not dialect.notes:
                dialect.notes.append(f"the header is on line {number}, after blank lines")
            return
    # Lines of one cell, then a line as wide as the rows: a title before the table, if that line is surely a header.
    for number, cells in records[:PREAMBLE]:
        if width(cells) == 1:
            continue
        names = {canonical(cell) for cell in cells}
        certain = (
            len(cells) >= trial.width >= 3
            and all(cell.strip() for cell in cells[: trial.width])
            and not looks_like_data(cells)
            and len(names & known) >= 2
            and trial.share > 0.5
        )
        if certain:
            dialect.header_line, dialect.header = number, named(name, number, cells)
            before = " / ".join(" ".join(cell for cell in row if cell) for at, row in records if at < number)
            dialect.notes.append(f"the header is on line {number}; skipped before it: {before[:120]}")
            return
        break
    first, row = records[0]
    wide = next(((line, row) for line, row in records if len(row) == trial.width), (first, row))
    advice = f"declare `header_line: {wide[0]}` if that is the header, or `delimiter:`"
    if looks_like_data(wide[1]):
        advice = (
            f"repair line {first} (line {wide[0]} holds values and is no header), or declare `delimiter:`"
        )
    if width(row) == 1 and len(row) == trial.width:
        raise FileProblem(
            f"{name}, line {first} has text in its first cell only, so it may be a title and not the header; "
            f"declare the header's line: `header_line: {first}` if it is this one"
        )
    raise FileProblem(
        f"{name}, line {first} has {len(row)} column{'s' * (len(row) != 1)}, but most lines after it have {trial.width} "
        f"(separated by {WORDS.get(dialect.delimiter, repr(dialect.delimiter))}): the header is not on the first line or is "
        f"damaged, or the delimiter is another one; {advice}"
    )


def extra_cells(trial: Trial) -> int:
    """Returns how many cells most rows of the sample have more than the header, all empty, or fewer, all unnamed; else 0.

    Then that many make a row: one that lacks the empty cell has lost another.
    """
    dialect = trial.dialect
    rows = [cells for line, cells in trial.records if line > dialect.header_line]
    count = len(dialect.header)
    counts = Counter(len(cells) for cells in rows).most_common(1)
    if not counts or counts[0][0] == count or counts[0][1] * 2 <= len(rows):
        return 0
    other = counts[0][0]
    if other > count and dialect.header[-1] == f"column_{count}":
        return 0  # the header has its delimiter at the end, too: the rows are wider
    filled = sum(any(cells[count:]) for cells in rows if len(cells) == other)
    if other > count and filled * 20 <= len(rows):  # a row that has text there is rejected
        return other - count
    unnamed = all(dialect.header[place] == f"column_{place + 1}" for place in range(other, count))
    return other - count if other < count and unnamed else 0


def unnamed_cells(trial: Trial) -> int:
    """Returns how many of the last headers are blank over columns that most, but not all, rows of the sample leave empty."""
    dialect = trial.dialect
    rows = [cells for line, cells in trial.records if line > dialect.header_line]
    count = 0
    for place in range(len(dialect.header) - 1, 0, -1):
        filled = sum(bool(cells[place].strip()) for cells in rows if place < len(cells))
        if dialect.header[place] != f"column_{place + 1}" or not rows or filled * 2 > len(rows):
            break
        count += 1
    return (
        count
        if any(any(cells[-count:]) for cells in rows if count and len(cells) == len(dialect.header))
        else 0
    )


def refuse_two_delimiters(name: str, best: Trial, tried: dict[str, Trial]) -> None:
    """Refuses a file whose header and rows two delimiters split equally well; ``tried`` has the trial of each usual one."""
    if best.share < 1.0 or best.width == 1 or len(best.records) < 2:
        return
    for delimiter, word in WORDS.items():
        if delimiter == best.dialect.delimiter:
            continue
        other = tried[delimiter]
        if other.share == 1.0 and other.width > 1 and not other.broken:
            raise FileProblem(
                f"{name}: {WORDS.get(best.dialect.delimiter, repr(best.dialect.delimiter))} splits every line into {best.width} "
                f"cells, and {word} into {other.width}; declare which it is with `delimiter:`"
            )


def refuse_delimiter(name: str, trial: Trial, declared: str) -> None:
    """Refuses a declared delimiter (or that of a `sep=` line) that the header lacks while it has another."""
    line, cells = trial.records[0]
    for delimiter, word in WORDS.items():
        if delimiter != declared and len(parse(cells[0], delimiter, '"', '"') or []) > 1:
            raise FileProblem(
                f"{name}, line {line}: the declared delimiter {WORDS.get(declared, declared)} does not stand in the header "
                f"({cells[0][:60]}), but {word} does; correct `delimiter:` or leave it out"
            )


def refuse_header_of_rows(name: str, trial: Trial) -> None:
    """Refuses a header whose quotes do not fit, or one cell of which holds what looks like rows: an unclosed quote."""
    dialect = trial.dialect
    place = dialect.header_line
    if place in trial.broken:
        raise FileProblem(
            f"{name}, line {place}: a quote in the header is not closed, or stands inside a cell without being doubled "
            f"({dialect.delimiter.join(dialect.header)[:80]}); repair the header line"
        )
    for cell in dialect.header:
        inner = [line for line in re.split(r"\r\n|\r|\n", cell) if line.strip()]
        if len(inner) > 1 and (
            len(inner) > 4
            or any(line.count(dialect.delimiter) >= max(1, len(dialect.header) - 1) for line in inner)
            or any(ADDRESS.search(line) for line in inner)
        ):
            raise FileProblem(
                f"{name}, line {place}: a cell of the header seems to hold whole rows ({' / '.join(inner)[:80]}): a quote "
                "of the header is not closed; repair the header line"
            )
    if len(dialect.header) > 3 and all(
        text == f"column_{position}" for position, text in enumerate(dialect.header, 1) if position % 2 == 0
    ):
        rows = [cells for line, cells in trial.records if line > place]
        if rows and not any(any(cells[1::2]) for cells in rows):
            raise FileProblem(
                f"{name}, line {place}: every second column has no name and no values: the delimiter seems to be "
                f"{dialect.delimiter * 2!r}; export the file with a delimiter of one character"
            )


def refuse_line_after(name: str, trial: Trial, known: set[str], canonical: Any) -> None:
    """Refuses a file whose first row is no row: a second header line, types, descriptions or a rule under the header."""
    dialect = trial.dialect
    after = [(line, cells) for line, cells in trial.records if line > dialect.header_line]
    if not after or not dialect.header_line:
        return
    line, cells = after[0]
    names = Names(dialect.header, known, canonical)
    filled = [cell for cell in cells if cell.strip() and cell.strip().lower() not in blank_words()]
    usual = strong_shapes([row for _, row in after[1:201]], 0.9) if len(after) > 3 else {}
    asked = [place for place in usual if place < len(cells) and cells[place] in filled]
    strange = (
        len(filled) > 1
        and len(asked) > 0
        and ("@" in usual.values() or len(usual) > 1)
        and not any(shape(cells[place]) == usual[place] for place in asked)
        and not any(re.search(r"[\d@]", cell) for cell in filled)
        and len(filled) * 2 > len(cells)
    )
    if (
        is_rule(cells)
        or strange
        or (len(after) > 1 and names.names_columns(cells) and not names.once_more(cells))
    ):
        raise FileProblem(
            f"{name}, line {line} looks like a part of the header, not like the rows after it ({', '.join(cells)[:80]}); "
            f"remove the line that is not the header, or declare `header_line: {line}` if it is this one, or "
            f"`header_line: {dialect.header_line}` if it is the line before"
        )


def note_unnamed(trial: Trial) -> None:
    """Says which columns have no name although they hold values."""
    dialect = trial.dialect
    rows = [cells for line, cells in trial.records if line > dialect.header_line]
    for place, text in enumerate(dialect.header[: len(dialect.header) - dialect.unnamed], 1):
        filled = sum(place <= len(cells) and bool(cells[place - 1].strip()) for cells in rows)
        if dialect.header_line and text == f"column_{place}" and filled:
            dialect.notes.append(
                f"column {place} has no name and holds values ({filled:,} of the first {len(rows):,} rows): "
                f"it is called {text}; see that each value stands under its own header"
            )
        elif dialect.header_line and text == f"column_{place}" and place < len(dialect.header):
            dialect.notes.append(
                f"column {place} has neither a name nor values: are there two tables side by side?"
            )


def refuse_wrapped(name: str, trial: Trial) -> None:
    """Refuses a file each of whose lines stands in quotes as a whole: it would be one column."""
    line, cells = trial.records[0]
    if (
        len(cells) > 1
        and re.match("['\"]", cells[0])
        and cells[0][0] == cells[-1][-1:]
        and cells[0].count(cells[0][0]) == 1
    ):
        raise FileProblem(
            f"{name}, line {line}: the header line seems to be quoted as a whole; export the file again without that"
        )
    if trial.width > 1 or len(cells) > 1:
        return
    for delimiter, word in WORDS.items():
        if len(parse(cells[0], delimiter, '"', '"') or []) > 1:
            raise FileProblem(
                f"{name}, line {line}: the header is one cell in quotes that holds {word}s ({cells[0][:60]}): each line "
                "seems to be quoted as a whole; export the file again without that"
            )


def refuse_one_column(name: str, lines: list[str], trial: Trial) -> None:
    """Refuses a first line that may be a title, or a line of columns that nothing here tells apart."""
    line, cells = trial.records[0]
    signs = re.findall(r"[;\t|^~:\x01\x1f#&!]", cells[0])
    if (len(trial.records) > 1 and any(not other.strip() for other in lines[line : line + 1])) or cells[
        0
    ].startswith("# "):
        raise FileProblem(
            f"{name}, line {line} stands alone ({cells[0][:60]}): a title, or the name of the only column? Declare "
            f"`header_line: {line}` if it is the header, else the header's line, or `delimiter:`"
        )
    if re.search(r"[^\w \t\-./()#]", cells[0]) and not signs:
        raise FileProblem(
            f"{name}, line {line} looks like data, not like the name of the only column ({cells[0][:60]}); declare "
            f"`header_line: {line}` if it is one, or `header_line: 0` if there is none"
        )
    if len(signs) > 1 and max(signs.count(sign) for sign in signs) > 1:
        raise FileProblem(
            f"{name}, line {line}: the header seems to hold several columns ({cells[0][:60]}) that no usual delimiter "
            "tells apart; declare it with `delimiter:`"
        )


def shape(cell: str) -> str:
    """Returns what kind of value a cell is: '@' an address, '9' a number, else its letters, digits and signs in short."""
    cell = cell.strip()
    if ADDRESS.fullmatch(cell):
        return "@"
    if NUMBER.fullmatch(cell):
        return "9"
    return LETTERS.sub("a", DIGITS.sub("9", cell))[:12]


def strong_shapes(rows: list[list[str]], share: float = 1.0) -> dict[int, str]:
    """Returns column → shape for the columns of whose filled cells (three or more) that share has one, with digits or an address."""
    found = {}
    for place in range(max(map(len, rows), default=0)):
        shapes = [shape(row[place]) for row in rows if place < len(row) and row[place].strip()]
        kind, count = Counter(shapes).most_common(1)[0] if shapes else ("", 0)
        if count >= max(3, share * len(shapes)) and ("9" in kind or "@" in kind):
            found[place] = kind
    return found


def refuse_data(
    name: str,
    line: int,
    cells: list[str],
    after: list[tuple[int, list[str]]],
    known: set[str],
    canonical: Any,
) -> None:
    """Refuses a first line that holds values: by its own look, or because it looks like the rows after it."""
    alike = strong_shapes([row for _, row in after[:200]], 0.8)
    same = [place for place, kind in alike.items() if place < len(cells) and shape(cells[place]) == kind]
    names = sum(canonical(cell) in known for cell in cells)
    like_rows = names < 2 and (len(same) > 1 or any(alike[place] != "9" for place in same))
    if looks_like_data(cells) or like_rows:
        shown = ", ".join(cells)[:80]
        raise FileProblem(
            f"{name}, line {line} looks like data, not like a header ({shown}); add a header line, or declare "
            f"`header_line: 0` if there is none (its columns are then column_1, column_2, …) or `header_line: {line}` if it is one"
        )


def named(name: str, line: int, header: list[str]) -> list[str]:
    """Returns the header texts (an empty one is called column_<position>); refuses what can not be told apart."""
    header = [cell.lstrip("\ufeff") if position == 0 else cell for position, cell in enumerate(header)]
    if not any(cell.strip() for cell in header):
        raise FileProblem(f"{name} has no header: the cells of line {line} are all blank")
    if any("\0" in cell or "\ufffd" in cell for cell in header):
        raise FileProblem(
            f"{name}, line {line}: the header holds a NUL byte or bytes that mean nothing in its encoding"
        )
    seen: dict[str, int] = {}
    texts = []
    for position, cell in enumerate(header, start=1):
        text = cell if cell.strip() else f"column_{position}"
        key = text.strip().lower()
        if key in seen:
            first = header[seen[key] - 1]
            same = (
                "twice"
                if first == cell
                else f"as '{first}' and '{cell}', which differ only in case or spaces"
            )
            raise FileProblem(
                f"{name}, line {line}: the header '{cell}' stands there {same} (columns {seen[key]} and {position}); "
                "give each column a name of its own"
            )
        seen[key] = position
        texts.append(text)
    return texts
