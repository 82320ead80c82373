"""What a header is called, however it is written: the one rule by which files, specs and reference seeds meet."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache

from crm_merge.letters import CAPITALS, MARKS, RANGES

LONGEST_KNOWN = 100  # characters of a header that is kept with its name
# Capital letters that Python 3.14 knows, and the engine does not.
LATER_CAPITALS = frozenset("\ua7cb\ua7cc\ua7da\ua7dc") | {chr(code) for code in range(0x10D50, 0x10D66)}


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


@lru_cache(maxsize=1)
def capitals() -> dict[str, str]:
    """Returns the small letters of capitals that an older Python does not know."""
    pairs = [part.split("-") for part in CAPITALS.split()]
    return {chr(int(capital, 16)): chr(int(small, 16)) for capital, small in pairs}


@lru_cache(maxsize=1)
def marks() -> dict[str, int]:
    """Returns the combining classes of marks that an older Python does not know."""
    pairs = [part.split("-") for part in MARKS.split()]
    return {chr(int(mark, 16)): int(number) for mark, number in pairs}


def composed(text: str) -> str:
    """Returns a text as NFC; characters that the engine does not know stay as they are, and combine with nothing."""
    pieces: list[str] = [""]
    for character in text:
        if character > "\u02ff" and not is_letter(character) and unicodedata.category(character)[0] in "LM":
            pieces += [character, ""]
        else:
            pieces[-1] += character
    return "".join(unicodedata.normalize("NFC", in_order(piece)) for piece in pieces)


def in_order(text: str) -> str:
    """Returns a text with its marks in order, where there are some that this Python does not know."""
    unknown = {mark for mark in set(text) & marks().keys() if not unicodedata.combining(mark)}
    if not unknown:
        return text
    ordered: list[str] = []
    run: list[tuple[int, str]] = []
    for character in unicodedata.normalize("NFD", text):
        number = unicodedata.combining(character) or (marks()[character] if character in unknown else 0)
        if number:
            run.append((number, character))
        else:
            ordered += [mark for _, mark in sorted(run, key=lambda pair: pair[0])]
            run = []
            ordered.append(character)
    return "".join(ordered + [mark for _, mark in sorted(run, key=lambda pair: pair[0])])


def lowered(character: str) -> str:
    """Returns a character in lower case, always one: where it stands in a word counts for nothing."""
    if character in LATER_CAPITALS:
        return character
    if character > "\u2c00" and (small := capitals().get(character)):
        return small
    return "i" if character == "\u0130" else character.lower()


def canonical(text: str) -> str:
    """Returns a name in lower case, with ``_`` for each run of what is no letter or digit, and none at its ends."""
    return known(text) if len(text) <= LONGEST_KNOWN else made(text)


def made(text: str) -> str:
    """Returns what ``canonical`` does, worked out anew."""
    if text.isascii():
        return re.sub("[^a-z0-9]+", "_", text.lower()).strip("_")
    letters = [lowered(character) for character in composed(text)]
    return re.sub("_+", "_", "".join(c if is_letter(c) else "_" for c in letters)).strip("_")


known = lru_cache(maxsize=10_000)(made)  # thousands of files have the same headers
