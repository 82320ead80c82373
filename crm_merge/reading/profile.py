"""What a careful person would note about one file before reading it, and the copy to read where it needs one."""

from __future__ import annotations

import codecs
import csv
import hashlib
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from crm_merge import reference
from crm_merge.canonical import canonical
from crm_merge.reading import (
    FileProblem,
    dialect,
    encoding,
    json_lines,
    lines,
    parquet,
    repair,
    scan,
    streams,
)

C1 = re.compile(rb"[\x80-\x9f]")
SAMPLE = 1 << 20  # bytes looked at for dialect and header
EXAMPLES = 3  # rejected rows that a message shows


def profile(file: dict[str, Any]) -> dict[str, Any]:
    """Profiles a file; raises FileProblem where it can't be read with certainty.

    ``file``: path (of a local file); if declared delimiter, encoding, header_line, quoted_newlines; role
    ('original': its cells are never tidied); partitions. The answer, JSON at all levels:

    format (csv, json, parquet), compression, encoding, dialect (see reading.dialect), line_ends, header (texts),
    physical_rows (data rows, from the bytes), rejected_rows, first_rejects, notes (sentences), bytes, sha256 (of the
    unpacked content), row_bytes (of a row's text, on average), densest (the same of 2,048 rows where they are longest),
    long_bytes (of all rows of over 2,000 bytes), fingerprint, and way: how to read it: 'direct', 'recode' (a UTF-8 copy) or 'rewrite' (a copy without its irregularities,
    with row numbers), 'parquet'.
    """
    path: Path = file["path"]
    before = fingerprint(path)
    kind = streams.kind_of(path)
    found: dict[str, Any] = {"format": "csv", "compression": kind, "encoding": "utf-8", "line_ends": None, "notes": [],
                             "dialect": None, "multiline": True, "rejected_rows": 0, "first_rejects": [], "way": "direct"}  # fmt: skip
    if kind == "parquet":
        found |= {"format": "parquet", "compression": "plain", "way": "parquet"} | parquet.profile(
            path, file.get("partitions") or {}
        )
        found |= hashed(streams.chunks(path, "plain"))
    else:
        sample, whole = streams.sample(path, kind, SAMPLE)
        if not sample:
            raise FileProblem(f"{path.name} is empty: it has no header")
        streams.refuse_contents(path, sample)
        if json_lines.looks_like(sample):
            declared = file.get("encoding")
            if declared and encoding.canonical_encoding(path.name, declared) not in ("utf-8", "utf-8-sig"):
                raise FileProblem(
                    f"{path.name} is JSON lines, which are UTF-8; leave out `encoding: {declared}`"
                )
            found |= profile_json(path, kind)
        else:
            found |= profile_csv(path, kind, sample, whole, file)
    if fingerprint(path) != before:
        raise FileProblem(f"{path.name} changed while it was read; run again when it is complete")
    if file.get("partitions") and found["format"] != "parquet":
        found["notes"] += ["the folders named key=value give no columns: only those of Parquet files do"]
    row_bytes = found.get("text_bytes", found["bytes"]) // max(found["physical_rows"], 1) + 1
    return found | {"fingerprint": before, "row_bytes": row_bytes}


def fingerprint(path: Path) -> list[int]:
    """Returns what changes when a file is written: size, modification time, inode."""
    try:
        stat = os.stat(path)
    except OSError as error:
        raise FileProblem(f"{path.name} can't be read: {error.strerror}") from None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


class Look:
    """What the lines of a regular file say: which may be no rows, and which only look strange."""

    def __init__(self, shape: dialect.Dialect):
        self.names = lines.Names(shape.header, known_columns(), canonical)
        self.usual = shape.usual
        self.strange, self.example = 0, []  # type: ignore[var-annotated]

    def is_no_row(self, cells: list[str]) -> bool:
        """Says whether a line without a digit and @ wants a careful look."""
        if self.names.once_more(cells) or self.names.names_columns(cells) or lines.is_rule(cells):
            return True
        if len(cells) != len(self.names.header):
            return False
        asked = [cells[place].strip() for place in self.usual if cells[place].strip()]
        unlike = [cell for cell in asked if cell.lower() not in lines.blank_words()]
        if len(unlike) < len(asked) or not unlike:
            return False
        if len(unlike) > 1 and all(cell.strip() for cell in cells):
            return True
        if "@" in self.usual.values():
            self.strange += 1
            self.example = self.example or cells
        return False


def ends_a_table(cells: list[str], shape: dialect.Dialect) -> bool:
    """Says whether one of the last rows may be a remark under the table, so that the file wants a careful look."""
    alone = len(cells) > 2 and not any(cell.strip() for cell in cells[1:])
    return cells != shape.header and (
        lines.is_footer(cells) or (alone and bool(re.fullmatch(r"[^\d@]*[^\d@\s][^\d@]*", cells[0])))
    )


class Digest:
    """Hash and size of the bytes that it is shown."""

    def __init__(self) -> None:
        self.sha256, self.bytes = hashlib.sha256(), 0

    def __call__(self, chunk: bytes) -> None:
        """Takes in one chunk."""
        self.sha256.update(chunk)
        self.bytes += len(chunk)

    def found(self) -> dict[str, Any]:
        """Returns bytes and sha256."""
        return {"bytes": self.bytes, "sha256": self.sha256.hexdigest()}


def hashed(blocks: Iterator[bytes]) -> dict[str, Any]:
    """Returns bytes and sha256 of blocks."""
    digest = Digest()
    for block in blocks:
        digest(block)
    return digest.found()


# -- CSV --


class Decodes:
    """Whether the bytes that it is shown decode; for UTF-8 also which lines do."""

    def __init__(self, codec: str):
        self.codec = "utf-8" if codec == "utf-8-sig" else codec
        self.decoder = codecs.getincrementaldecoder(self.codec)()
        self.valid = True
        self.good = False  # was there a line in UTF-8 that is not ASCII?
        self.as_utf8 = codecs.getincrementaldecoder("utf-8")() if self.codec != "utf-8" else None
        self.beyond = False  # were there bytes that are not ASCII?
        self.controls = b""  # bytes that are letters in cp1252 and mean nothing in latin-1
        self.bad: list[bytes] = []  # some of the lines that are not UTF-8

    def __call__(self, chunk: bytes) -> None:
        """Takes in one chunk."""
        if self.codec != "utf-8" and not chunk.isascii():
            self.beyond = True
            if self.codec == "iso8859-1" and not self.controls and (found := C1.search(chunk)):
                self.controls = found[0]
        if self.as_utf8 and self.beyond:
            try:
                self.as_utf8.decode(chunk)
            except UnicodeDecodeError:
                self.as_utf8 = None
        if self.valid:
            try:
                if not chunk.isascii() or self.decoder.getstate()[0]:
                    self.decoder.decode(chunk)
                    self.good = True
            except UnicodeDecodeError:
                self.valid = False
        if not self.valid and self.codec == "utf-8" and not chunk.isascii():
            good, bad = encoding.lines_by_encoding(chunk)
            self.good = self.good or bool(good)
            self.bad += map(encoding.telling, bad[: max(0, 2000 - len(self.bad))])

    def other_is_likely(self) -> str:
        """Returns why the declared encoding may be the wrong one, or ''."""
        if self.as_utf8 and self.beyond:
            return f"declared as {self.codec}, but all of its bytes are UTF-8: if names look wrong, leave out `encoding:`"
        if self.controls:
            return f"declared as latin-1, where {self.controls[0]:#04x} is no letter: if texts look wrong, declare cp1252"
        return ""

    def finish(self) -> bool:
        """Says whether all of it decoded."""
        try:
            if self.valid:
                self.decoder.decode(b"", True)
        except UnicodeDecodeError:
            self.valid = False
        return self.valid


def profile_csv(
    path: Path, kind: str, sample: bytes, whole: bool, file: dict[str, Any], codec: str = ""
) -> dict[str, Any]:
    """Profiles a CSV file: one fast pass over its bytes, and a careful one where that finds it irregular."""
    name = path.name
    codec = codec or encoding.detect(name, sample, file.get("encoding"))
    if (
        codec.startswith(("utf-16", "utf-32"))
        and file.get("encoding")
        and b"\0" not in sample[:4096]
        and sample.isascii()
    ):
        raise FileProblem(
            f"{name} is declared as {file['encoding']}, but its bytes are plain text; correct `encoding:`"
        )
    if b"\0" in sample[:4096] and codec.split("-")[0] not in ("utf",):
        raise FileProblem(
            f"{name} holds NUL bytes near its start: it is damaged, or in an encoding to be declared"
        )
    text = sample.decode("utf-8" if codec == "utf-8-sig" else codec, "replace")
    shape = dialect.detect(name, text, whole, file, known_columns(), canonical)
    width = len(shape.header)
    digest, decodes = Digest(), Decodes(codec)
    as_it_is = codec in ("utf-8", "utf-8-sig") or streams.is_single_byte(codec)
    look = Look(shape)
    quick = scan.Scan(
        shape.delimiter,
        width,
        bool(file.get("quoted_newlines")),
        look.is_no_row,
    )
    if not shape.plain():
        quick.stop("its dialect")
    last = b""
    for block in streams.scannable(path, kind, codec, [digest, decodes] if as_it_is else [digest]):
        quick.feed(block)
        last = block[-1:] or last
    quick.finish()
    edges = [quick.cells(record) for record in [*quick.first, *quick.last]]
    if quick.records > 1 and any(ends_a_table(cells, shape) for cells in edges):
        quick.stop("a footer")
    if as_it_is and not decodes.finish():
        if codec == "utf-8" and not decodes.good and not file.get("encoding"):
            return profile_csv(
                path, kind, sample, whole, file, encoding.western(name, decodes.bad or [sample])
            )
        quick.stop("bytes that do not decode")
    found = {
        "encoding": codec,
        "dialect": shape.as_dict(),
        "header": shape.header,
        "notes": list(shape.notes),
    } | digest.found()
    if quick.regular:
        direct = (
            codec in ("utf-8", "utf-8-sig")
            and (kind == "plain" or streams.is_simple_gzip(path, kind, digest.bytes))
            # in a path with both, DuckDB takes the backslash for a part of the pattern
            and not (re.search(r"[*?\[]", str(path)) and "\\" in str(path))
        )
        found |= {"multiline": quick.multiline, "physical_rows": quick.records - 1, "way": "direct" if direct else "recode",
                  "line_ends": "CR LF" if quick.crlf else "LF"} | quick.density.found()  # fmt: skip
    else:
        found |= counted(found | {"compression": kind}, path, file) | {
            "line_ends": "see notes",
            "way": "rewrite",
            "multiline": True,
        }
        found["notes"] = shape.notes + found["notes"]
    if codec not in ("utf-8", "utf-8-sig") and not codec.startswith("utf-") and not file.get("encoding"):
        found["notes"].append(
            f"read as {codec}, which is not certain; if names look wrong, declare its encoding"
        )
    if quick.empty and quick.regular:
        found["notes"].append(f"rows of empty cells only: {quick.empty:,}")
    if look.strange and quick.regular:
        found["notes"].append(
            f"rows that look unlike the others: {look.strange:,}, such as {', '.join(look.example)[:80]}"
        )
    if quick.odd:
        found["notes"].append(
            "the text holds characters that were damaged before it came here (\ufffd, Ã©, â€™): the file was once read in a wrong encoding"
        )
    if not found["physical_rows"]:
        found["notes"].append("it holds a header and no rows")
    if file.get("encoding") and as_it_is and decodes.other_is_likely():
        found["notes"].append(decodes.other_is_likely())
    if last not in (b"\n", b"\r") and found["physical_rows"]:
        found["notes"].append("the last line has no line end: complete if the file was not cut off there")
    return found


def reader(found: dict[str, Any], name: str, file: dict[str, Any]) -> repair.Reader | json_lines.Reader:
    """Returns the careful reader of a profiled file."""
    if found.get("format") == "json":
        return json_lines.Reader(name, list(found["header"]))
    codec = found["encoding"] if streams.is_single_byte(found["encoding"]) else "utf-8"
    return repair.Reader(
        name, dialect.Dialect(**found["dialect"]), codec, file.get("role") == "original",
        bool(file.get("quoted_newlines")), known_columns(), canonical,
    )  # fmt: skip


def rows(
    found: dict[str, Any], path: Path, file: dict[str, Any]
) -> tuple[Any, Iterator[repair.Row | repair.Reject]]:
    """Returns a profiled file's careful reader and what it reads."""
    careful = reader(found, path.name, file)
    marked = found["encoding"] == "utf-8-sig" and streams.has_mark(path, found["compression"])
    start = 3 if marked else 0
    return careful, careful.read(streams.scannable(path, found["compression"], found["encoding"]), start)


def counted(found: dict[str, Any], path: Path, file: dict[str, Any]) -> dict[str, Any]:
    """Returns physical_rows, rejected_rows, first_rejects and notes of a careful pass."""
    careful, items = rows(found, path, file)
    density = scan.Density()
    physical = rejected = empty = 0
    first: list[str] = []
    for item in items:
        physical += 1
        density.add(sum(len(cell.encode()) for cell in item.cells) if isinstance(item, repair.Row) else 0)
        empty += isinstance(item, repair.Row) and len(item.cells) > 1 and not any(item.cells)
        if isinstance(item, repair.Reject):
            rejected += 1
            if len(first) < EXAMPLES:
                first.append(f"line {item.line.number} ({item.reason}): {item.raw[:80]}")
    return {
        "physical_rows": physical,
        "rejected_rows": rejected,
        "first_rejects": first,
        "notes": careful.notes() + ([f"rows of empty cells only: {empty:,}"] if empty else []),
    } | density.found()


# -- JSON lines --


def profile_json(path: Path, kind: str) -> dict[str, Any]:
    """Profiles a file of JSON lines in one pass."""
    digest, density = Digest(), scan.Density()
    careful = json_lines.Reader(path.name)
    physical = rejected = 0
    first: list[str] = []
    for item in careful.read(streams.scannable(path, kind, "utf-8", [digest])):
        physical += 1
        density.add(item.line.size)
        if isinstance(item, repair.Reject):
            rejected += 1
            if len(first) < EXAMPLES:
                first.append(f"line {item.line.number} ({item.reason}): {item.raw[:80]}")
    return {"format": "json", "header": careful.checked(), "physical_rows": physical, "rejected_rows": rejected,
            "first_rejects": first, "notes": careful.notes(), "way": "rewrite"} | density.found() | digest.found()  # fmt: skip


# -- Copies --


def copy(found: dict[str, Any], path: Path, file: dict[str, Any], to: Path, rejects_to: Path) -> None:
    """Writes the copy that a profile's way asks for, and what is rejected on the way.

    'recode': the same text in UTF-8. 'rewrite': plain CSV, row numbers (``_merge_row``) first, cells as they are; and
    ``rejects_to``, CSV of source_row, line, byte_position, reason, raw_text. Both files exist afterwards.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    with (
        rejects_to.open("w", encoding="utf-8", newline="") as rejects,
        to.open("w", encoding="utf-8", newline="") as copied,
    ):
        refused = csv.writer(rejects)
        refused.writerow(["source_row", "line", "byte_position", "reason", "raw_text"])
        if found["way"] == "recode":
            decoder = codecs.getincrementaldecoder(found["encoding"])()
            size = 0
            for block in streams.chunks(path, found["compression"]):
                copied.write(streams.decode(path.name, decoder, block, found["encoding"], size))
                size += len(block)
            copied.write(streams.decode(path.name, decoder, b"", found["encoding"], size, final=True))
            return
        # CR LF ends the rows: then the csv module quotes cells with either of the two, in any version of Python
        plain = csv.writer(copied, lineterminator="\r\n")
        plain.writerow(["_merge_row", *(f"c{n}" for n in range(1, len(found["header"]) + 1))])
        _, items = rows(found, path, file)
        for item in items:
            if isinstance(item, repair.Reject):
                refused.writerow([item.number, item.line.number, item.line.offset, item.reason, item.raw])
            else:
                plain.writerow([item.number, *item.cells])


# -- Names that people give to columns: what makes sure that a line is a header --


@lru_cache(maxsize=1)
def known_columns() -> set[str]:
    """Returns the names in the reference seeds, and a few that every CRM has."""
    names = {"id", "name", "company", "country", "city", "zip", "street", "notes", "status", "title"}
    for seed, columns in (("header_aliases", (0, 1)), ("key_columns", (0,)), ("name_columns", (0,))):
        for row in reference.rows(seed):
            names.update(list(row.values())[column] for column in columns)
    return names
