"""The small facts of seeds/reference, as Python reads them: regions of phone numbers, aliases of headers, words for blank."""

from __future__ import annotations

import csv
from functools import cache

from crm_merge import PROJECT

# The delimiters that have a name.
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
FOLDER = PROJECT / "seeds" / "reference"


@cache
def rows(seed: str) -> tuple[dict[str, str], ...]:
    """Returns the rows of a seed by its columns' names, in the order of the file."""
    with (FOLDER / f"{seed}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def column(seed: str, name: str) -> tuple[str, ...]:
    """Returns one column of a seed, in the order of the file."""
    return tuple(row[name] for row in rows(seed))
