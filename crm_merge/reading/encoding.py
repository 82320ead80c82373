"""Which encoding a file is in: byte order marks, then UTF-8 if it is, then Western one-byte text if it looks so."""

from __future__ import annotations

import codecs
import re

from crm_merge.reading import FileProblem

KINDS = "utf-8, utf-16, cp1252, latin-1, cp1250, cp1251, …"

# What Western text in cp1252 does not do. Each of these was seen in text of another encoding read as cp1252.
UNWESTERN = re.compile(
    rb"[\xc0-\xff]{3}"  # three accented letters in a row: Cyrillic, Greek, Asian
    rb"|[A-Za-z]\xff[a-z]"  # a stray byte
    rb"|[a-z][\x8a\x8c\x8e\x9f](?![a-z])"  # a capital after a small letter, at its end: Mac and DOS
    rb"|[A-Za-z][\x80\x82\x83\x84\x86-\x89\x8b\x91\x93-\x95\x98\x99\x9b][A-Za-z]"  # a sign inside a word: Mac, DOS
    rb"|[A-Za-z][\xa1-\xa9\xab-\xac\xae-\xb1\xb3\xb5\xb6\xb8\xb9\xbb-\xbf][a-z]"  # the same: Polish, Turkish, DOS
    rb"|(?<![A-Za-z0-9])[\xa3\xa5\xaf\xb9\xb3][a-z]"  # a sign before a small letter: Polish capitals
)
BEYOND = re.compile(rb"[\x80-\xff]")
UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")  # bytes without a meaning in cp1252; controls in latin-1


def canonical_encoding(name: str, declared: str) -> str:
    """Returns Python's name of a declared encoding; refuses what is not one."""
    try:
        found = codecs.lookup(declared)
        if found._is_text_encoding and found.name not in (
            "idna",
            "punycode",
            "undefined",
            "unicode_escape",
            "raw_unicode_escape",
        ):
            return found.name
    except (LookupError, ValueError):
        pass
    raise FileProblem(f"{name}: unknown encoding '{declared}'. Accepted: {KINDS}")


def detect(name: str, sample: bytes, declared: str | None) -> str:
    """Returns the encoding of a file by its first bytes; the whole file is held against it later.

    A declared one wins, but a byte order mark that contradicts it is said.
    """
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
             codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # fmt: skip
    marked = next((encoding for mark, encoding in marks.items() if sample.startswith(mark)), None)
    if declared:
        encoding = canonical_encoding(name, declared)
        if marked and encoding.split("-")[:2] != marked.split("-")[:2]:
            raise FileProblem(
                f"{name} is declared as {declared}, but begins with the mark of {marked}; correct `encoding:`"
            )
        return marked or encoding
    if marked:
        return marked
    if b"\0" in sample[:4096]:
        even, odd = sample[0:4096:2].count(0), sample[1:4096:2].count(0)
        if max(even, odd) > len(sample[:4096]) // 4:
            return "utf-16-le" if odd > even else "utf-16-be"
    if sample.isascii():
        return "utf-8"
    good, bad = lines_by_encoding(sample)
    return "utf-8" if good or not bad else western(name, bad)


def lines_by_encoding(block: bytes) -> tuple[list[bytes], list[bytes]]:
    """Returns the lines with other than ASCII bytes: those that are UTF-8, and those that are not."""
    good, bad = [], []
    lines = block.splitlines()
    for line in lines[:-1] if len(lines) > 1 and not block.endswith((b"\n", b"\r")) else lines:
        if not line.isascii():
            try:
                line.decode()
                good.append(line)
            except UnicodeDecodeError:
                bad.append(line)
    return good, bad


def telling(line: bytes) -> bytes:
    """Returns a line, cut to what lies around its first byte that is not ASCII."""
    place = BEYOND.search(line)
    return line if not place or len(line) <= 400 else line[max(place.start() - 100, 0) : place.start() + 300]


def western(name: str, lines: list[bytes]) -> str:
    """Returns 'cp1252' for lines that are not UTF-8; refuses them when they do not look like Western text.

    latin-1 text is cp1252 text: they differ in control characters only, which no text holds. No statistics are
    asked: they take Western names for Central European ones, and Russian ones for Korean.
    """
    sample = b"\n".join(lines[:2000])
    odd = UNDEFINED.search(sample) or None
    unwestern = [match for line in lines[:2000] if (match := UNWESTERN.search(line))]
    if odd or len(unwestern) > max(len(lines[:2000]) // 20, 0):
        line = next((line for line in lines if UNDEFINED.search(line) or UNWESTERN.search(line)), b"")
        shown = line.decode("cp1252", "backslashreplace").strip()[:60]
        raise FileProblem(
            f"{name} is not UTF-8 and does not look like Western text (as cp1252 it would read '{shown}'); "
            f"declare its encoding with `encoding:` ({KINDS})"
        )
    return "cp1252"
