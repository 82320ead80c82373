"""What a line under the header may be other than a row: the header once more, another header, a total, a rule."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from crm_merge import reference

ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|https?://\S+|www\.\S+", re.IGNORECASE)
NUMBER = re.compile(r"[-+(]?[\d][\d\s().,/:+-]*")

LONG_NUMBER = re.compile(r"\d{5}|\d[\d\s().-]{7,}\d")
NUMBERED = re.compile(r"(\D*[^\W\d]\D*)\d{1,2}")

# What a row says that has text in its first cell only, and is no row
FOOTER = re.compile(
    r"(grand |sub)?totals?\b|sums?\b|count\b|(number of )?(rows|records)\b|\(?\d[\d.,]* (rows|records|results)|generated|exported|printed"
    r"|created|end of|page \d|source\b|copyright|©|[-=*#_]{3}",
    re.IGNORECASE,
)
# What its first cell says where only numbers follow
TOTAL = re.compile(
    r"(grand |sub[- ]?)?totals?|sums?|averages?|avg|mean|count|summe|gesamt(summe)?|mittelwert|durchschnitt|anzahl"
    r"|somme|moyenne|total général|suma|media|promedio|totale",
    re.IGNORECASE,
)
RULE = re.compile(r"[-=*_.:|#~+ ]{3,}")


def looks_like_data(cells: list[str]) -> bool:
    """Says whether a line holds values rather than names: an address, or numbers in half of its cells."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    if any(ADDRESS.fullmatch(cell) for cell in filled):
        return True
    numbers = sum(bool(NUMBER.fullmatch(cell)) for cell in filled)
    return numbers * 2 >= len(filled) and numbers > 0


def holds_values(cells: list[str]) -> bool:
    """Says whether a line holds what no line of names does: values, an address anywhere, a long number, a word for a blank."""
    text = "\0".join(cells)
    return (
        looks_like_data(cells)
        or "@" in text
        or bool(LONG_NUMBER.search(text))
        or any(cell.strip().lower() in blank_words() for cell in cells)
    )


def numbered_names(cells: list[str]) -> bool:
    """Says whether all cells with digits are one name, numbered: `Line 1, Line 2`, as columns are and values are not."""
    numbered = [cell.strip() for cell in cells if any(map(str.isdigit, cell))]
    names = {found[1] if (found := NUMBERED.fullmatch(cell)) else "" for cell in numbered}
    return len(set(numbered)) == len(numbered) > 1 and len(names) == 1 and "" not in names


def is_footer(cells: list[str]) -> bool:
    """Says whether a row is a remark or a total as people write them under a table: text, and numbers at most."""
    first = cells[0].strip()
    if len(cells) < 3 or not (FOOTER.match(first) or TOTAL.match(first)):
        return False
    rest = [cell.strip() for cell in cells[1:] if cell.strip()]
    if not rest:
        return bool(FOOTER.match(first))
    return (
        len(rest) < len(cells) - 1
        and all(NUMBER.fullmatch(cell) for cell in rest)
        and bool(TOTAL.fullmatch(first.rstrip(":")))
    )


def is_rule(cells: list[str]) -> bool:
    """Says whether a row is drawn, not written: `---,---,---`."""
    return len(cells) > 1 and all(RULE.fullmatch(cell.strip()) for cell in cells)


class Names:
    """The names of a file's columns, and those that people use: what a line that names columns is known by."""

    def __init__(self, header: list[str], known: set[str], canonical: Callable[[str], str]):
        self.canonical = lru_cache(maxsize=1 << 12)(canonical)
        self.header = [self.canonical(cell) for cell in header]
        self.all = known | set(self.header)

    def once_more(self, cells: list[str]) -> bool:
        """Says whether a row is the header, in other quotes, case or spaces perhaps."""
        if len(cells) != len(self.header) or (
            cells[0].strip() and self.begins(cells[0]) != self.begins(self.header[0])
        ):
            return False
        names = zip(cells, self.header, strict=True)
        return all((self.canonical(cell) or f"column_{n}") == name for n, (cell, name) in enumerate(names, 1))

    def begins(self, cell: str) -> str:
        """Returns a cell's first letter or digit, lower-case: what tells most rows from the header."""
        return cell.lstrip(" \t_#*\"'([-.")[:1].lower()

    def names_columns(self, cells: list[str]) -> bool:
        """Says whether a row names columns, of this table or another: half of its texts are names of columns."""
        # nearly every row ends here: it holds an address, or none of its cells is a name as it stands
        if "@" in "".join(cells) or not any(
            cell.strip().lower().replace(" ", "_") in self.all for cell in cells
        ):
            return False
        filled = [cell for cell in cells if cell.strip()]
        if len(filled) < 2 or len(filled) * 2 < len(cells):
            return False
        names = [self.canonical(cell) for cell in filled]
        if len(set(names)) < len(names):
            return False
        hits = sum(name in self.all for name in names)
        return hits >= 2 and hits * 2 >= len(names) and not looks_like_data(cells)


@lru_cache(maxsize=1)
def blank_words() -> set[str]:
    """Returns the words that stand for a blank cell, lower-case."""
    return {word.lower() for word in reference.column("blank_sentinels", "sentinel")}
