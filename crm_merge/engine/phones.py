"""Which country codes the phone numbers of a file can have, and which countries it names: where cells are few, only their rules need to be
written into SQL. Those of all take a megabyte for each column, which takes longer to plan than a small file to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from crm_merge import reference
from crm_merge.engine.words import Words

FEW = 100_000  # cells; above, the rules are a small part of the work, and all are written


def rules(file: dict[str, Any], plan: dict[str, Any], read: str, words: Words) -> dict[str, list[str]] | None:
    """Returns the country codes that numbers of a file may begin with, and the names of countries in it; None for all. ``read`` is SQL of
    the file's rows.

    The codes are those of its region and of its rows' countries, and what follows a + or an international prefix.
    """
    headers = [header for header in plan["headers"] if header["k"] == file["k"]]
    cells = [f"c{header['position']}" for header in headers if header["key_type"] == "phone"]
    if not cells or file["physical_rows"] * len(cells) > FEW:
        return None
    named: set[str] = set()
    for header in headers:
        if header["is_country"]:
            word = words.say("country_word", f"c{header['position']}")
            named |= {row[0] for row in words.query_rows(f"select distinct {word} from {read}") if row[0]}  # noqa: S608
    region_of = words.say("regions_by_word") if named else {}
    regions = {region_of[word] for word in named if word in region_of} | {file["region"]}
    known = reference.rows("phone_regions")
    own = [row for row in known if row["region"] in regions]
    prefixes = {row["international_prefix"] for row in own if row["international_prefix"]} | {"00", "011"}
    wanted = {row["country_code"] for row in own}
    for cell in cells:
        digits = words.say("phone_digits", cell)
        for (number,) in words.query_rows(f"select distinct {digits} from {read}"):  # noqa: S608
            for reading in readings(number or "", prefixes):
                wanted.update(reading[:length] for length in (1, 2, 3))
    codes = wanted & {row["country_code"] for row in known}
    return {"codes": sorted(codes) or ["1"], "countries": sorted(named)}


def readings(number: str, prefixes: set[str]) -> Iterator[str]:
    """Yields what may be a number that begins with its country code."""
    if number.startswith("+"):
        yield number.lstrip("+")
    for prefix in prefixes:
        if found := re.match(f"[+]*(?:{prefix})([1-9].*)", number):
            yield found[1]
