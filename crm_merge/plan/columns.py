"""What columns are called: a header's canonical name, its alias, and which of several headers of a file takes a name."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from crm_merge import reference
from crm_merge.plan.letters import RANGES

# Capital letters that Python 3.14 knows, and the engine does not.
LATER_CAPITALS = frozenset("\ua7cb\ua7cc\ua7da\ua7dc") | {chr(code) for code in range(0x10D50, 0x10D66)}


@dataclass
class Header:
    """A header of a file: the file's number ``k`` (0: the original), its place there from 1, its text, its own canonical name, the name
    that it wants (mapped, by its alias, or its own), the name that it gets (None: another has it), what the spec maps it to, its key
    type, whether it holds names of people, whether it holds countries. Of the original's: the policy for its cells."""

    k: int
    position: int
    header: str
    own: str
    wanted: str
    column: str | None
    mapped: str | None
    key_type: str | None = None
    is_name: bool = False
    is_country: bool = False
    policy: str | None = None


@lru_cache(maxsize=1)
def _ranges() -> tuple[list[int], list[int]]:
    pairs = [part.partition("-") for part in RANGES.split()]
    return [int(first, 16) for first, _, _ in pairs], [int(last or first, 16) for first, _, last in pairs]


@lru_cache(maxsize=4096)
def is_letter(character: str) -> bool:
    """Says whether a character is a letter, a mark of one, or a digit."""
    firsts, lasts = _ranges()
    place = bisect_right(firsts, ord(character)) - 1
    return place >= 0 and ord(character) <= lasts[place]


def composed(text: str) -> str:
    """Returns a text as NFC; characters that the engine does not know stay as they are, and combine with nothing."""
    pieces: list[str] = [""]
    for character in text:
        if character > "\u02ff" and not is_letter(character) and unicodedata.category(character)[0] in "LM":
            pieces += [character, ""]
        else:
            pieces[-1] += character
    return "".join(unicodedata.normalize("NFC", piece) for piece in pieces)


def lowered(character: str) -> str:
    """Returns a character in lower case, always one: where it stands in a word counts for nothing."""
    if character in LATER_CAPITALS:
        return character
    return "i" if character == "\u0130" else character.lower()


def canonical(text: str) -> str:
    """Returns a name in lower case, with ``_`` for each run of what is no letter or digit, and none at its ends."""
    letters = [lowered(character) for character in composed(text)]
    return re.sub("_+", "_", "".join(c if is_letter(c) else "_" for c in letters)).strip("_")


def named(files: Iterable[tuple[int, list[str], dict[str, str]]]) -> list[Header]:
    """Returns the headers of files, with the name that each gets. ``files``: (number, headers, what the spec maps headers to).

    What the spec maps takes a name first, then the header that is the name itself, then aliases; among equals the first. The rest keep
    their own name if it is free.
    """
    found = []
    for k, headers, declared in files:
        of_file = [entry(k, place, header, declared.get(header)) for place, header in enumerate(headers, 1)]
        give_names(of_file)
        found += of_file
    for header in found:
        describe(header)
    return found


def word(text: str) -> Header:
    """Returns a name that the spec itself uses, as a header of no file."""
    found = entry(-1, 1, text, None)
    found.column = found.wanted
    return found


def entry(k: int, place: int, header: str, declared: str | None) -> Header:
    """Returns a header with the names that it may take."""
    own = canonical(header) or f"column_{place}"
    mapped = None if declared is None else canonical(declared)
    return Header(
        k, place, header, own, mapped if mapped is not None else aliases().get(own, own), None, mapped
    )


def give_names(headers: list[Header]) -> None:
    """Gives the headers of a file their names."""

    def claim(header: Header) -> tuple[int, int]:
        return (0 if header.mapped is not None else 1 if header.own not in aliases() else 2, header.position)

    taken: dict[str, Header] = {}
    for header in sorted(headers, key=claim):
        if header.wanted not in taken:
            taken[header.wanted] = header
            header.column = header.wanted
    own: set[str] = set()
    for header in headers:
        if header.column is None and header.own not in own:
            own.add(header.own)
            header.column = None if header.own in taken else header.own


def describe(header: Header) -> None:
    """Says of a header what its cells are."""
    if header.column is None:
        return
    stem = re.sub("_?[0-9]+$", "", header.column)
    header.key_type = key_columns().get(header.column) or key_columns().get(stem)
    header.is_name = stem in reference.column("name_columns", "column")
    header.is_country = header.column in reference.column("country_columns", "column")


@lru_cache(maxsize=1)
def aliases() -> dict[str, str]:
    """Returns the column that a header's own name is an alias of."""
    return {row["header"]: row["column"] for row in reference.rows("header_aliases")}


@lru_cache(maxsize=1)
def key_columns() -> dict[str, str]:
    """Returns the key type of columns that hold keys."""
    return {row["column"]: row["key_type"] for row in reference.rows("key_columns")}
