"""Which country codes the phone numbers of a file can have: where cells are few, only their rules need to be written into SQL.

The rules of all countries take a megabyte of SQL for each column, which takes longer to plan than a small file to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from crm_merge import reference
from crm_merge.engine.words import Words

FEW = 100_000  # cells; above, the rules are a small part of the work, and all are written


def codes(file: dict[str, Any], plan: dict[str, Any], read: str, words: Words) -> list[str] | None:
    """Returns the country codes that numbers of a file may begin with; None for all. ``read`` is SQL of the file's rows.

    They are those of its region and of its rows' countries, and what follows a + or an international prefix.
    """
    headers = [header for header in plan["headers"] if header["k"] == file["k"]]
    cells = [f"c{header['position']}" for header in headers if header["key_type"] == "phone"]
    if not cells or file["physical_rows"] * len(cells) > FEW:
        return None
    regions = {file["region"]} if file["region"] else set()
    for header in headers:
        if header["is_country"]:
            region = words.say("region_of_country", f"c{header['position']}")
            regions |= {row[0] for row in words.query_rows(f"select distinct {region} from {read}")}  # noqa: S608
    rules = reference.rows("phone_regions")
    own = [row for row in rules if row["region"] in regions]
    prefixes = {row["international_prefix"] for row in own if row["international_prefix"]} | {"00", "011"}
    wanted = {row["country_code"] for row in own}
    for cell in cells:
        digits = words.say("phone_digits", cell)
        for (number,) in words.query_rows(f"select distinct {digits} from {read}"):  # noqa: S608
            for reading in readings(number or "", prefixes):
                wanted.update(reading[:length] for length in (1, 2, 3))
    known = wanted & {row["country_code"] for row in rules}
    return sorted(known) or ["1"]


def readings(number: str, prefixes: set[str]) -> Iterator[str]:
    """Yields what may be a number that begins with its country code."""
    if number.startswith("+"):
        yield number.lstrip("+")
    for prefix in prefixes:
        if found := re.match(f"[+]*(?:{prefix})([1-9].*)", number):
            yield found[1]
