"""The dbt-duckdb plugin: what SQL can't do to the bytes of a file, and nothing else.

Two functions become callable from SQL, both from JSON text to JSON text:

``crm_files_profile(request)``
    Looks at every file of a merge, in one streaming pass over its bytes (constant memory): path,
    encoding, delimiter, header, rows counted independently of DuckDB's parser, sha256. Writes nothing.
``crm_files_copy(request)``
    Writes a clean UTF-8 copy of a file whose bytes DuckDB can't read as they are (another encoding,
    mixed line ends), cell contents untouched.

A user's mistake comes back as a sentence under ``problems``, never as an exception.
"""

from __future__ import annotations

import codecs
import csv
import glob
import gzip
import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt_common.exceptions import DbtRuntimeError

from orchestration import engine

PROJECT = Path(__file__).resolve().parent.parent
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
CHUNK = 4 << 20  # bytes read at a time
SAMPLE = 1 << 20  # bytes looked at for dialect and header
SAMPLE_RECORDS = 500
END = "crm-merge-end-of-file"
QUOTE, LF, CR = 34, 10, 13

csv.field_size_limit(2**31 - 1)  # a cell may be larger than the csv module's 128 KiB


class FileProblem(Exception):
    """What is wrong with one file, as a sentence for the user."""


# -- Paths --


def resolve(path: str) -> list[Path]:
    """Returns the files that a spec's path means: itself, or a glob's matches sorted by name."""
    if re.match(r"^(s3|https?|gs|az)://", path):
        raise FileProblem(f"'{path}' is a remote path, which is not supported yet; use a local file or glob")
    place = Path(path).expanduser()
    place = place if place.is_absolute() else PROJECT / place
    if glob.has_magic(str(place)) and not place.exists():
        found = [Path(p) for p in sorted(glob.glob(str(place))) if Path(p).is_file()]
        if not found:
            raise FileProblem(f"no file matches '{path}' (looked for {place})")
        return found
    if not place.exists():
        near = sorted(p.name for p in place.parent.glob("*.csv*"))[:5] if place.parent.is_dir() else []
        hint = f"; that folder holds {', '.join(near)}" if near else ""
        raise FileProblem(f"there is no file '{path}' (looked for {place}){hint}")
    if not place.is_file():
        raise FileProblem(f"'{path}' is not a file")
    return [place]


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file for reading bytes, unpacking gzip."""
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".json", ".jsonl", ".ndjson", ".zst", ".xlsx", ".xls", ".zip"):
        raise FileProblem(
            f"{path.name}: {suffix} files are not read yet; accepted: CSV, also gzipped (.csv.gz)"
        )
    try:
        return gzip.open(path, "rb") if suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise FileProblem(f"{path.name} can't be read: {error.strerror}") from None


def chunks(path: Path) -> Iterator[bytes]:
    """Yields a file's bytes, CHUNK at a time."""
    with open_bytes(path) as file:
        try:
            while chunk := file.read(CHUNK):
                yield chunk
        except (OSError, EOFError) as error:
            raise FileProblem(f"{path.name} can't be read to its end: {error}") from None


# -- Encoding --


def detect_encoding(path: Path, declared: str | None) -> str:
    """Returns the codec of a file: the declared one, else by byte order mark, else UTF-8 when all of it
    decodes, else cp1252, or latin-1 where bytes have no meaning in cp1252.
    """  # fmt: skip
    if declared:
        try:
            found = codecs.lookup(declared)
            if not found._is_text_encoding:
                raise LookupError(declared)
            codec = found.name
        except LookupError:
            raise FileProblem(
                f"unknown encoding '{declared}'; accepted: utf-8, utf-16, latin-1, cp1252, …"
            ) from None
        first = next(chunks(path), b"")
        return "utf-8-sig" if codec == "utf-8" and first.startswith(codecs.BOM_UTF8) else codec
    decoder = codecs.getincrementaldecoder("utf-8")()
    suspicious: list[bytes] = []  # the lines that tell one encoding from another
    first = b""
    utf8 = True
    for chunk in chunks(path):
        first = first or chunk
        if utf8:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                utf8 = False
        if not utf8 and not chunk.isascii():
            suspicious += [line for line in chunk.splitlines() if not line.isascii()][:2000]
        if not utf8 and sum(map(len, suspicious)) > 1 << 18:
            break
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if first.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if b"\0" in first:
        even, odd = first[0::2].count(0), first[1::2].count(0)
        if max(even, odd) > len(first) // 4:
            return "utf-16-le" if odd > even else "utf-16-be"
        line = first[: first.index(b"\0")].count(b"\n") + 1
        raise FileProblem(f"{path.name}, line {line}: a NUL byte; the file is damaged or not text")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        utf8 = False
    if utf8:
        return "utf-8"
    # Statistics mistake Western names for Central European ones, silently; another one-byte encoding is declared.
    sample = b"\n".join(suspicious)
    # latin-1 and cp1252 differ only in 0x80–0x9f, which are control characters in latin-1
    try:
        sample.decode("cp1252")
        return "cp1252"
    except UnicodeDecodeError:
        return "latin-1"


def open_text(path: Path, encoding: str) -> io.TextIOWrapper:
    """Opens a file as text, line ends untouched."""
    return io.TextIOWrapper(io.BufferedReader(open_bytes(path), CHUNK), encoding=encoding, newline="")  # type: ignore[type-var]


# -- Dialect and header --


def records(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Returns (line number, cells) of the sample's first records, blank lines left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, doublequote=True)
    found, line = [], 1
    for cells in reader:
        if cells:
            found.append((line, cells))
        line = reader.line_num + 1
        if len(found) > SAMPLE_RECORDS:
            break
    return found


def width(cells: list[str]) -> int:
    """Returns the number of cells, a trailing empty one (a delimiter at the line's end) left out."""
    return len(cells) - 1 if len(cells) > 1 and cells[-1] == "" else len(cells)


def detect_dialect(name: str, text: str, whole: bool, declared: str | None) -> tuple[str, list[str]]:
    """Returns (delimiter, header cells) of a sample; refuses a header that is not one.

    ``whole`` says that the sample is the whole file: otherwise its last record may be cut off.
    """
    best: tuple[float, int, str, list[tuple[int, list[str]]]] | None = None
    for delimiter in [declared] if declared else DELIMITERS:
        rows = records(text, delimiter)
        rows = rows if whole or len(rows) < 3 else rows[:-1]
        if not rows:
            raise FileProblem(f"{name} has no header: it holds only blank lines")
        header_width = len(rows[0][1])
        fitting = sum(len(cells) == header_width or width(cells) == header_width for _, cells in rows[1:])
        share = fitting / (len(rows) - 1) if len(rows) > 1 else 1.0
        if header_width == 1 and not declared:
            continue
        if best is None or (share, header_width) > (best[0], best[1]):
            best = (share, header_width, delimiter, rows)
    if best is None:
        # No delimiter in the header line: a file of one column, or a header that is not the first line.
        for delimiter, word in DELIMITERS.items():
            widths = Counter(width(cells) for _, cells in records(text, delimiter)[1:])
            if (
                widths
                and (common := widths.most_common(1)[0])[0] > 1
                and common[1] > sum(widths.values()) / 2
            ):
                raise FileProblem(
                    f"{name}, line 1 has one column, but the lines after it have {common[0]} separated by {word}: "
                    "the header is not on the first line; delete what stands before it"
                )
        best = (1.0, 1, ",", records(text, ","))
    share, header_width, delimiter, rows = best
    if share == 0 and len(rows) > 2:
        widths = Counter(width(cells) for _, cells in rows[1:])
        common_width, count = widths.most_common(1)[0]
        if count > len(rows[1:]) / 2:
            raise FileProblem(
                f"{name}, line {rows[0][0]} has {header_width} columns, but the lines after it have {common_width} "
                f"(separated by {DELIMITERS.get(delimiter, delimiter)}): the header is not on the first line, "
                "or the delimiter is another one; declare it with `delimiter:`"
            )
    header = rows[0][1]
    return delimiter, header


def check_header(name: str, header: list[str]) -> list[str]:
    """Returns the header texts (an empty one is called column_<position>); refuses what is not a header."""
    if header and header[0].startswith("\ufeff"):
        header = [header[0][1:], *header[1:]]
    if not any(cell.strip() for cell in header):
        raise FileProblem(f"{name} has no header: the first line's cells are all blank")
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
            raise FileProblem(f"{name}, line 1: the header '{cell}' stands there {same} (columns {seen[key]} and "
                              f"{position}); give each column a name of its own")  # fmt: skip
        seen[key] = position
        texts.append(text)
    return texts


# -- Physical rows --


class RowCounter:
    """Counts the records of CSV bytes in any ASCII-compatible encoding, independently of a CSV parser.

    A record ends at a line end outside quotes. Vectorised: it relies on every quote standing where a
    quoted cell begins or ends, checks that while it goes, and says ``regular = False`` when it does not
    hold; ``count_records`` then counts slowly and surely.
    """

    def __init__(self, delimiter: str):
        self.delimiter = ord(delimiter)
        self.regular = True
        self.quoted = False  # is the next byte inside quotes?
        self.previous = LF  # the byte before the next one; a file starts like a line
        self.before_previous = LF
        self.lines = {"lf": 0, "crlf": 0, "cr": 0}  # line ends outside quotes
        self.blank = 0  # lines with nothing in them
        self.starts_blank: bool | None = None

    def feed(self, chunk: bytes) -> None:
        """Counts one chunk."""
        if not self.regular or not chunk:
            return
        if self.starts_blank is None:
            self.starts_blank = chunk[0] in (LF, CR)
        data = np.frombuffer(chunk, dtype=np.uint8)
        padded = np.empty(len(data) + 2, dtype=np.uint8)
        padded[0], padded[1], padded[2:] = self.before_previous, self.previous, data
        quotes = np.flatnonzero(data == QUOTE)
        if len(quotes):
            order = np.arange(len(quotes)) + self.quoted
            opening, closing = quotes[order % 2 == 0], quotes[order % 2 == 1]
            before = padded[opening + 1]  # the byte before an opening quote
            after = closing[closing + 1 < len(data)] + 1  # the byte after a closing quote, within this chunk
            starts = np.isin(before, (self.delimiter, LF, CR, QUOTE))
            ends = np.isin(data[after], (self.delimiter, LF, CR, QUOTE))
            # a chunk that ends with a closing quote is judged by the next chunk's first byte
            if self.previous == QUOTE and not self.quoted:
                ends = np.append(ends, data[0] in (self.delimiter, LF, CR, QUOTE))
            if not (starts.all() and ends.all()):
                self.regular = False
                return
        elif self.previous == QUOTE and not self.quoted and data[0] not in (self.delimiter, LF, CR):
            self.regular = False
            return
        for byte in (LF, CR):
            places = np.flatnonzero(data == byte)
            if len(quotes):
                places = places[(np.searchsorted(quotes, places) + self.quoted) % 2 == 0]
            elif self.quoted:
                places = places[:0]
            if not len(places):
                continue
            before = padded[places + 1]
            if byte == CR:
                self.lines["cr"] += len(places)
                self.blank += int(np.isin(before, (LF, CR)).sum())
            else:
                pairs = before == CR
                self.lines["crlf"] += int(pairs.sum())
                self.lines["cr"] -= int(pairs.sum())
                self.lines["lf"] += int((~pairs).sum())
                self.blank += int((before == LF).sum())
        self.quoted = bool((len(quotes) + self.quoted) % 2)
        self.before_previous, self.previous = int(padded[-2]), int(padded[-1])

    def even(self, columns: int) -> bool:
        """Says whether DuckDB numbers the rows as we do: one kind of line end, no blank line but the last."""
        kinds = sum(count > 0 for count in self.lines.values())
        last = self.previous in (LF, CR) and self.before_previous in (LF, CR) and self.lines["crlf"] == 0
        return kinds <= 1 and not self.starts_blank and (columns == 1 or self.blank <= last)

    def finish(self, columns: int) -> int:
        """Returns the number of records, header included; lines with nothing in them count when the file
        has one column, since there they are a row with an empty cell.
        """  # fmt: skip
        total = sum(self.lines.values()) + (self.previous not in (LF, CR) or self.quoted)
        return total if columns == 1 else total - self.blank


def count_records(name: str, lines: Iterator[str], delimiter: str, columns: int) -> int:
    """Returns the number of records, header included, by the csv module: slow, for irregular quotes.

    Refuses a quote that is never closed. The line after the last one tells: it must be a record of its own.
    """

    def with_end() -> Iterator[str]:
        yield from lines
        yield END + "\n"

    reader = csv.reader(with_end(), delimiter=delimiter, doublequote=True)
    count, start, cells = 0, 1, []
    for cells in reader:
        start_of_this, start = start, reader.line_num + 1
        if cells or columns == 1:
            count += 1
    if cells != [END]:
        raise FileProblem(f"{name}, line {start_of_this}: a quote opens that is never closed")
    return count - 1


# -- Profile --


def profile(file: dict[str, Any]) -> dict[str, Any]:
    """Returns what a careful person would note about one file before reading it.

    ``file`` has path (a Path), name, delimiter, encoding. The answer: path, encoding, delimiter, header
    (list of texts), physical_rows (without the header), bytes, sha256, clean (False: needs crm_files_copy).
    """
    path: Path = file["path"]
    name = path.name
    if path.stat().st_size == 0:
        raise FileProblem(f"{name} is empty: it has no header")
    encoding = detect_encoding(path, file.get("encoding"))
    sample, whole = read_sample(path, encoding)
    delimiter, cells = detect_dialect(name, sample, whole, file.get("delimiter"))
    header = check_header(name, cells)

    digest, size = hashlib.sha256(), 0
    counter = RowCounter(delimiter)
    ascii_compatible = not encoding.startswith("utf-16") and not encoding.startswith("utf-32")
    decoder = codecs.getincrementaldecoder(encoding)()
    recode = not ascii_compatible or file.get("encoding")
    start_of_file = True
    for chunk in chunks(path):
        digest.update(chunk)
        size += len(chunk)
        if recode:  # a declared encoding is checked; UTF-16 is counted as UTF-8
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise FileProblem(
                    f"{name} is not {encoding}: byte {error.object[error.start]:#04x} near byte {size - len(chunk) + error.start} "
                    "does not decode; declare another with `encoding:` (utf-8, utf-16, cp1252, latin-1, …)"
                ) from None
            chunk = chunk if ascii_compatible else text.encode("utf-8", "surrogatepass")
        if start_of_file:
            chunk = chunk.removeprefix(codecs.BOM_UTF8)
            start_of_file = False
        counter.feed(chunk)
    if counter.regular and not counter.quoted:
        physical = counter.finish(len(header))
    else:
        with open_text(path, encoding) as lines:
            physical = count_records(name, iter(lines), delimiter, len(header))
        if file.get("role") == "original":
            refuse_spaces_around_quotes(path, encoding, delimiter)
    even = counter.even(len(header)) if counter.regular else has_even_lines(path, encoding)
    clean = encoding in ("utf-8", "utf-8-sig", "ascii") and even
    return {
        "path": str(path),
        "encoding": encoding,
        "delimiter": delimiter,
        "header": header,
        "physical_rows": physical - 1,
        "bytes": size,
        "sha256": digest.hexdigest(),
        "clean": clean,
    }


def read_sample(path: Path, encoding: str) -> tuple[str, bool]:
    """Returns (the file's first characters, is that all of it?)."""
    with open_text(path, encoding) as file:
        try:
            text = file.read(SAMPLE)
            return text, not file.read(1)
        except UnicodeError as error:
            raise FileProblem(
                f"{path.name} is not {encoding}: {error.__class__.__name__.replace('Unicode', '').lower()} near its "
                "start; declare another with `encoding:` (utf-8, utf-16, cp1252, latin-1, …)"
            ) from None
        except (OSError, EOFError) as error:
            raise FileProblem(f"{path.name} can't be read: {error}") from None


def has_even_lines(path: Path, encoding: str) -> bool:
    """Says whether all lines end alike and none is blank, by the lines that Python's reader met."""
    with open_text(path, encoding) as file:
        ends = {(line[len(line.rstrip("\r\n")):], not line.strip("\r\n")) for line in file}  # fmt: skip
    return len({end for end, _ in ends} - {""}) <= 1 and not any(blank for _, blank in ends)


def ends_in_quotes(line: str, delimiter: str, quoted: bool) -> bool:
    """Says whether the text after a line is inside quotes; a quote opens only where a cell begins."""
    place = 0
    while True:
        if quoted:
            place = line.find('"', place)
            if place < 0:
                return True
            doubled = line[place + 1 : place + 2] == '"'
            quoted, place = doubled, place + 1 + doubled
        elif place == 0 and line.startswith('"'):
            quoted, place = True, 1
        else:
            place = line.find(delimiter + '"', place)
            if place < 0:
                return False
            quoted, place = True, place + 2


def refuse_spaces_around_quotes(path: Path, encoding: str, delimiter: str) -> None:
    """Refuses a cell such as ␠"x" of the original: parsers disagree on it, and its cells must stay as they are."""
    mark = re.escape(delimiter)
    outside = re.compile(
        rf'(?:^|{mark})[ \t]+"(?:[^"]|"")*"[ \t]*(?:{mark}|$)|(?:^|{mark})"(?:[^"]|"")*"[ \t]+(?:{mark}|$)'
    )
    quoted = False
    with open_text(path, encoding) as lines:
        for number, line in enumerate(lines, start=1):
            if not quoted and outside.search(line.rstrip("\r\n")):
                raise FileProblem(
                    f"{path.name}, line {number}: spaces between a quote and the cell's end; remove them, or the cell would change"
                )
            quoted = ends_in_quotes(line, delimiter, quoted)


def write_clean_copy(source: Path, encoding: str, delimiter: str, columns: int, target: Path) -> None:
    """Writes a UTF-8 copy whose line ends outside quotes are all LF; cells keep theirs. Blank lines are left
    out where they are no rows: before the header, and anywhere in a file of several columns.
    """  # fmt: skip
    target.parent.mkdir(parents=True, exist_ok=True)
    quoted, started = False, False
    with open_text(source, encoding) as lines, target.open("w", encoding="utf-8", newline="") as copy:
        for line in lines:
            text = line.rstrip("\r\n")
            if not quoted and not text and (columns > 1 or not started):
                continue
            started = True
            quoted = ends_in_quotes(line, delimiter, quoted)
            copy.write(line if quoted else text + ("\n" if text != line else ""))


# -- What SQL calls --


class Plugin(BasePlugin):
    """Registers the functions, and makes the merge directory before DuckDB opens its file there."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Checks the environment and makes the merge directory."""
        self.profiles: dict[str, dict[str, Any]] = {}
        if wrong := engine.problems():
            raise DbtRuntimeError(
                "crm-merge: The environment's settings can not be used.\n- " + "\n- ".join(wrong)
            )
        if self.creds and self.creds.path and self.creds.path != ":memory:":
            (Path(self.creds.path).resolve().parent / ".crm-merge" / "landing").mkdir(
                parents=True, exist_ok=True
            )

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:
        """Leaves the number of threads to DuckDB unless DUCKDB_THREADS is set; finds seeds by the project."""
        if config.get("threads") == "auto":
            del config["threads"]
        config["file_search_path"] = str(PROJECT)

    def configure_connection(self, conn: Any) -> None:
        """Registers the functions with DuckDB."""
        for function in (self.crm_files_profile, self.crm_files_copy):
            conn.create_function(function.__name__, function, ["VARCHAR"], "VARCHAR", side_effects=True)

    def crm_files_profile(self, request: str) -> str:
        """Profiles ``{"files": [{setting, role, name, path, delimiter, encoding, …}]}``.

        Returns ``{"files": […], "problems": […]}``; a glob becomes one file per match, named
        ``<name>/<path below what the matches share>`` when there are several; ``k`` is a file's position, the original's is 0.
        """
        files: list[dict[str, Any]] = []
        problems: list[str] = []
        for wanted in json.loads(request)["files"]:
            try:
                paths = resolve(wanted["path"])
                for path in paths:
                    found = dict(wanted, vendor=wanted["name"])
                    if len(paths) > 1:
                        found["name"] = (
                            f"{wanted['name']}/{path.relative_to(os.path.commonpath([p.parent for p in paths]))}"
                        )
                    found.update(self.profile_once(dict(wanted, path=path)))
                    files.append(dict(found, k=len(files)))
                if wanted["role"] == "original" and len(paths) > 1:
                    problems.append(
                        f"{wanted['setting']}.path: '{wanted['path']}' matches {len(paths)} files; a merge has one original"
                    )
            except FileProblem as problem:
                problems.append(f"{wanted['setting']}: {problem}")
        directory = Path(self.creds.path).resolve().parent if self.creds else PROJECT
        return json.dumps({"files": files, "problems": problems, "directory": str(directory)})

    def profile_once(self, file: dict[str, Any]) -> dict[str, Any]:
        """Profiles a file once per process, as long as it does not change."""
        try:
            stat = os.stat(file["path"])
        except OSError as error:
            raise FileProblem(f"{file['path'].name} can't be read: {error.strerror}") from None
        key = json.dumps(
            [str(file["path"]), stat.st_size, stat.st_mtime_ns, file.get("delimiter"), file.get("encoding")]
        )
        if key not in self.profiles:
            self.profiles[key] = profile(file)
        return self.profiles[key]

    def crm_files_copy(self, request: str) -> str:
        """Writes the clean copy that ``{"path", "encoding", "delimiter", "columns", "to"}`` asks for; returns its path."""
        wanted = json.loads(request)
        write_clean_copy(
            Path(wanted["path"]),
            wanted["encoding"],
            wanted["delimiter"],
            wanted["columns"],
            Path(wanted["to"]),
        )
        return str(wanted["to"])
