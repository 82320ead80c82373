"""What columns are called: a header's canonical name, its alias, and which of several headers of a file takes a name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from crm_merge import reference
from crm_merge.canonical import canonical


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
    if header.column is not None:
        header.key_type, header.is_name, header.is_country = meaning(header.column)


@lru_cache(maxsize=10_000)
def meaning(column: str) -> tuple[str | None, bool, bool]:
    """Returns of a column's name which type of key its cells are, None for none, whether they are names, and whether they are countries."""
    stem = re.sub("_?[0-9]+$", "", column)
    return (
        key_columns().get(column) or key_columns().get(stem),
        stem in reference.column("name_columns", "column"),
        column in reference.column("country_columns", "column"),
    )


@lru_cache(maxsize=1)
def aliases() -> dict[str, str]:
    """Returns the column that a header's own name is an alias of."""
    return {row["header"]: row["column"] for row in reference.rows("header_aliases")}


@lru_cache(maxsize=1)
def key_columns() -> dict[str, str]:
    """Returns the key type of columns that hold keys."""
    return {row["column"]: row["key_type"] for row in reference.rows("key_columns")}
