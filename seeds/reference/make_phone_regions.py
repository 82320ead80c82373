"""Rewrites phone_regions.csv from the metadata of the `phonenumbers` package.

    python seeds/reference/make_phone_regions.py

One row per region and country code, sorted by both. Every pattern is a bare alternation without
anchors, in RE2's syntax: wrap it in `(?:…)` before putting anything around it.

    region                          ISO 3166 code; 001 = a network without a country (+800, +881, …)
    country_code                    digits after the +
    is_main                         whose prefix rules hold for `+<country_code>…` (one per country code)
    international_prefix            what is dialled before a foreign country code; null = none
    national_prefix                 the trunk prefix that people write: 0, 1, 8 or 06; null = none
    national_prefix_for_parsing     what may precede a national number and is no part of it; null = none
    national_prefix_transform_rule  RE2 rewrite of that match, used only where its last group took part
    national_pattern                a valid national significant number of exactly this region
    national_frame                  a second pattern that it must fit too; null = national_pattern says it all

A number is valid when it fits *any* region of its country code: Canada's numbers are no less valid
in a US file. An empty field loads as null.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from phonenumbers import (
    COUNTRY_CODES_FOR_NON_GEO_REGIONS,
    REGION_CODE_FOR_NON_GEO_ENTITY,
    SUPPORTED_REGIONS,
    PhoneMetadata,
    region_code_for_country_code,
)

FILE = Path(__file__).with_name("phone_regions.csv")

# The kinds of number that libphonenumber counts as valid.
KINDS = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "voip",
    "pager",
    "uan",
    "voicemail",
)

# Each kind must fit `general_desc` as well. It excludes something in these two regions only: numbers
# that start with the region's own country code, which are +43… and +49… written without their +.
FRAMED = ("AT", "DE")

# RE2 has neither look-around nor backreferences.
NOT_RE2 = re.compile(r"\(\?[=!<]|\\[1-9]")


class Region(NamedTuple):
    """One row of the file, all text; the module's docstring says what each field holds."""

    region: str
    country_code: str
    is_main: str
    international_prefix: str
    national_prefix: str
    national_prefix_for_parsing: str
    national_prefix_transform_rule: str
    national_pattern: str
    national_frame: str


def rows() -> list[Region]:
    """The rows of phone_regions.csv, in its order."""
    return sorted(_region(metadata) for metadata in _all_metadata())


def write(path: Path = FILE) -> None:
    """Writes rows() as CSV: UTF-8, a header line, LF at line ends."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Region._fields)
        writer.writerows(rows())


def _all_metadata() -> Iterator[PhoneMetadata]:
    for region in SUPPORTED_REGIONS:
        yield PhoneMetadata.metadata_for_region(region)
    for country_code in COUNTRY_CODES_FOR_NON_GEO_REGIONS:
        yield PhoneMetadata.metadata_for_nongeo_region(country_code)


def _region(metadata: PhoneMetadata) -> Region:
    country_code = metadata.country_code
    no_country = metadata.id == REGION_CODE_FOR_NON_GEO_ENTITY
    is_main = no_country or metadata.id == region_code_for_country_code(country_code)
    kinds = (getattr(metadata, kind) for kind in KINDS)
    patterns = (_re2(kind.national_number_pattern) for kind in kinds if kind is not None)
    frame = metadata.general_desc.national_number_pattern
    return Region(
        region=metadata.id,
        country_code=str(country_code),
        is_main=str(is_main).lower(),
        international_prefix=_re2(metadata.international_prefix),
        national_prefix=metadata.national_prefix or "",
        national_prefix_for_parsing=_re2(metadata.national_prefix_for_parsing),
        national_prefix_transform_rule=metadata.national_prefix_transform_rule or "",
        national_pattern="|".join(dict.fromkeys(filter(None, patterns))),
        national_frame=_re2(frame) if metadata.id in FRAMED else "",
    )


def _re2(pattern: str | None) -> str:
    """The pattern on one line, without white space; raises ValueError where RE2 cannot run it."""
    text = re.sub(r"\s+", "", pattern or "")
    if NOT_RE2.search(text):
        raise ValueError(f"RE2 has no such construct: {text}")
    return text


if __name__ == "__main__":
    write()
