"""Which rules the cells of a key type can need, where they are few: only those are written into SQL then. The phone rules of all countries take a
megabyte and all public suffixes 200 KB, which takes longer to plan than a small file to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from crm_merge import reference
from crm_merge.engine.words import Words

FEW = 100_000  # cells; above, all rules are a small part of the work


def needed(asked: dict[str, Any], words: Words) -> dict[str, list[str]] | None:
    """Returns the rules that cells can need: all, which is None, where they are many or of a type that has none.

    ``asked``: kind, a key type; cells, SQL of them; most, how many there are; for phones also countries and regions.
    """
    if asked["most"] > FEW:
        return None
    if asked["kind"] == "phone":
        return of_phones(asked["cells"], asked["countries"], asked["regions"], words)
    return of_domains(asked["cells"], words) if asked["kind"] == "domain" else None


def of_domains(cells: str, words: Words) -> dict[str, list[str]]:
    """Returns the last labels of the hosts in cells, such as com and uk."""
    host, ascii_host = words.say("domain_host", "cell"), words.say("domain_in_ascii", "host")
    found = words.query_rows(
        f"select distinct split_part({ascii_host}, '.', -1) from (select {host} as host from ({cells}))"  # noqa: S608
    )
    return {"endings": sorted(ending for (ending,) in found if ending)}


def of_phones(cells: str, countries: int, regions: list[str | None], words: Words) -> dict[str, list[str]]:
    """Returns the country codes that numbers may begin with, and the names of countries beside them.

    ``cells`` is SQL of the cells and of their rows' country_1, country_2, …, so many as ``countries`` says; ``regions`` are those of files.
    The codes are those of the regions and of the countries, and what follows a + or an international prefix.
    """
    named: set[str] = set()
    for n in range(1, countries + 1):
        word = words.say("country_word", f"country_{n}")
        named |= {row[0] for row in words.query_rows(f"select distinct {word} from ({cells})") if row[0]}  # noqa: S608 -- made of names of ours
    region_of = words.say("regions_by_word") if named else {}
    found = {region_of[word] for word in named if word in region_of} | set(regions)
    known = reference.rows("phone_regions")
    own = [row for row in known if row["region"] in found]
    prefixes = {row["international_prefix"] for row in own if row["international_prefix"]} | {"00", "011"}
    wanted = {row["country_code"] for row in own}
    digits = words.say("phone_digits", "cell")
    for (number,) in words.query_rows(f"select distinct {digits} from ({cells})"):  # noqa: S608
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
