"""Rewrites countries.csv from CLDR's names of countries, as the `babel` package has them.

    python seeds/reference/make_countries.py

One row per spelling: ISO codes of two and three letters, the names in the languages below and in the country's own,
and what people write besides. A spelling that two countries share is left out.

    country     as people write it; the macro country_word says which spellings count as equal
    region      the region of phone numbers there, an ISO 3166 code
"""

import csv
import unicodedata
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.languages import get_official_languages
from phonenumbers import SUPPORTED_REGIONS

FILE = Path(__file__).with_name("countries.csv")
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl")

# What CLDR does not say: abbreviations, parts of a country, names of yesterday.
ALSO = {
    "AE": ["U.A.E.", "Emirates"],
    "BO": ["Plurinational State of Bolivia"],
    "CD": ["DR Congo", "DRC", "Democratic Republic of the Congo"],
    "CG": ["Republic of the Congo"],
    "CI": ["Ivory Coast"],
    "CN": ["PRC", "P.R. China", "People's Republic of China", "Mainland China"],
    "CZ": ["Czech Republic", "Tschechische Republik"],
    "DE": ["Federal Republic of Germany", "BRD"],
    "GB": ["UK", "U.K.", "Great Britain", "Britain", "England", "Scotland", "Wales", "Northern Ireland", "G.B."],
    "HK": ["Hong Kong", "Hong Kong SAR", "Hongkong"],
    "IE": ["Republic of Ireland", "Eire"],
    "IR": ["Islamic Republic of Iran"],
    "KR": ["Korea, Republic of", "Republic of Korea", "Korea (South)", "Korea"],
    "KP": ["Korea (North)", "DPRK"],
    "LA": ["Lao PDR"],
    "MD": ["Republic of Moldova"],
    "MK": ["Macedonia", "Republic of North Macedonia", "FYROM"],
    "MM": ["Burma"],
    "MO": ["Macao", "Macau"],
    "NL": ["Holland", "The Netherlands", "Nederland"],
    "PH": ["The Philippines"],
    "PS": ["Palestine"],
    "RU": ["Russian Federation"],
    "SY": ["Syrian Arab Republic"],
    "SZ": ["Swaziland"],
    "TR": ["Turkey", "Türkiye", "Turkiye"],
    "TW": ["Taiwan, Province of China", "Taiwan ROC"],
    "TZ": ["United Republic of Tanzania"],
    "US": ["U.S.", "USA", "U.S.A.", "United States of America", "The United States", "America", "Estados Unidos de América",
           "Vereinigte Staaten von Amerika", "États-Unis d'Amérique", "EE.UU.", "EEUU", "EUA"],
    "VA": ["Holy See", "Vatican"],
    "VE": ["Bolivarian Republic of Venezuela"],
    "VN": ["Viet Nam"],
}  # fmt: skip


def rows() -> list[tuple[str, str]]:
    """The rows of countries.csv, in its order."""
    spellings: dict[str, dict[str, set[str]]] = {}  # word → spelling → regions
    for region in SUPPORTED_REGIONS:
        for text in _spellings(region):
            spellings.setdefault(_word(text), {}).setdefault(text, set()).add(region)
    found = []
    for same in spellings.values():
        regions = set().union(*same.values())
        if len(regions) == 1:
            found.append((min(same), regions.pop()))
    return sorted(found)


def write(path: Path = FILE) -> None:
    """Writes rows() as CSV: UTF-8, a header line, LF at line ends."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["country", "region"])
        writer.writerows(rows())


def _spellings(region: str) -> set[str]:
    found = {region, *ALSO.get(region, [])}
    found |= {
        code
        for code, now in get_global("territory_aliases").items()
        if now == [region] and len(code) == 3 and code.isalpha()
    }
    for language in {*LANGUAGES, *get_official_languages(region, de_facto=True)}:
        try:
            names = Locale.parse(language).territories
        except UnknownLocaleError:
            continue
        for key in (region, f"{region}-alt-short", f"{region}-alt-variant"):
            if key in names:
                found |= {names[key], names[key].replace("&", "and"), names[key].replace("St. ", "Saint ")}
    return found


def _word(text: str) -> str:
    """What is left of a name without case, accents and punctuation: about what the macro country_word leaves."""
    letters = unicodedata.normalize("NFD", text.lower())
    return "".join(c for c in letters if unicodedata.category(c)[0] == "L")


if __name__ == "__main__":
    write()
