"""A CSV parser that is slow and obvious: the reference for property tests of how files are read.

RFC 4180 to the letter, one character after the other. Text that breaks its rules has no reading: None.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Row:
    """A row, where it starts (physical line from 1, characters from 0), and its cells; a blank line has none."""

    line: int
    offset: int
    cells: list[str]


def parse(text: str, delimiter: str, quote: str = '"') -> list[Row] | None:
    """The rows of a regular text, or None.

    Regular: a quote stands only at a cell's beginning, at its end (then a delimiter, a line end or the end of
    the text follows) or doubled inside quotes. Line ends are \\n, \\r\\n and \\r; inside quotes they belong to
    the cell.
    """
    rows: list[Row] = []
    line = 1  # the physical line we are in
    at = 0

    while at < len(text):
        row = Row(line, at, [])
        rows.append(row)
        cell = ""
        state = "cell begins"

        while True:
            char = text[at : at + 1]  # "" at the end of the text
            pair = text[at : at + 2]

            if state == "in quotes":
                if char == "":
                    return None
                if pair == quote + quote:
                    cell += quote
                    at += 2
                elif char == quote:
                    state = "quotes closed"
                    at += 1
                elif pair == "\r\n":
                    cell += pair
                    line += 1
                    at += 2
                else:
                    cell += char
                    line += char in ("\n", "\r")
                    at += 1

            elif char == delimiter:
                row.cells.append(cell)
                cell = ""
                state = "cell begins"
                at += 1

            elif char in ("", "\n", "\r"):
                if row.cells or at > row.offset:  # else a blank line
                    row.cells.append(cell)
                line += char != ""
                at += 2 if pair == "\r\n" else 1
                break

            elif char == quote:
                if state != "cell begins":
                    return None
                state = "in quotes"
                at += 1

            else:
                if state == "quotes closed":
                    return None
                cell += char
                state = "in a cell without quotes"
                at += 1

    return rows
