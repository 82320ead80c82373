"""JSON lines: one object a line; its keys are the columns, in order of first appearance."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from crm_merge.reading import FileProblem
from crm_merge.reading.dialect import named
from crm_merge.reading.repair import RAW, Line, Reject, Row, physical_lines
from crm_merge.reading.scan import MAX_RECORD

MAX_KEYS = 10_000


def looks_like(sample: bytes) -> bool:
    """Says whether a file is JSON lines: its first line that is not blank is an object."""
    for line in sample.removeprefix(b"\xef\xbb\xbf").splitlines():
        if line.strip():
            return bool(re.match(rb'\s*\{\s*("[^"]*"\s*:|\}\s*$)', line))
    return False


@dataclass
class Reader:
    """Reads one file: ``header`` grows as keys are met; ``read`` gives rows under the header known when it starts."""

    name: str
    header: list[str] = field(default_factory=list)
    repairs: Counter = field(default_factory=Counter)

    def notes(self) -> list[str]:
        """Returns what was passed over."""
        return [f"{what} ({count:,} time{'s' * (count != 1)})" for what, count in self.repairs.items()]

    def read(self, blocks: Iterator[bytes], offset: int = 0) -> Iterator[Row | Reject]:
        """Yields the objects as rows: texts as they are, numbers in their own spelling, null as '', the rest as JSON."""
        number, first_reason = 0, ""
        places = {key: place for place, key in enumerate(self.header)}
        for line in physical_lines(blocks, offset):
            if not line.content.strip():
                self.repairs["blank lines skipped"] += 1
                continue
            number += 1
            pairs, reason = self.pairs(line)
            if reason:
                first_reason = first_reason or f"line {line.number}: {reason}"
                raw = (
                    line.content[:RAW]
                    .decode("utf-8", "backslashreplace")
                    .replace("\0", "\\x00")
                    .rstrip("\r\n")
                )
                yield Reject(number, line, reason, raw)
                continue
            if line.size > MAX_RECORD // 2 and (size := self.written_size(pairs)) > MAX_RECORD:
                reason = f"a row of {size:,} bytes; at most {MAX_RECORD:,} can be read"
                yield Reject(number, line, reason, line.content[:RAW].decode("utf-8", "backslashreplace"))
                continue
            cells = [""] * len(places)
            for key, value in pairs:
                place = places.get(key)
                if place is None:
                    if len(places) >= MAX_KEYS:
                        raise FileProblem(
                            f"{self.name}, line {line.number}: more than {MAX_KEYS:,} different keys"
                        )
                    place = places[key] = len(places)
                    self.header.append(key)
                    cells.append("")
                cells[place] = cell(value)
            yield Row(number, line, cells)
        if number and not self.header:
            raise FileProblem(
                f"{self.name} has no columns: none of its lines is an object with keys that can be read"
                + (f" ({first_reason})" if first_reason else "")
            )

    def pairs(self, line: Line) -> tuple[list[tuple[str, Any]], str]:
        """Returns (keys and values of a line's object, ''), or ([], why it can not be read)."""
        if line.size > MAX_RECORD:
            return [], f"a line of {line.size:,} bytes; at most {MAX_RECORD:,} can be read"
        try:
            found = DECODER.decode(line.content.decode().strip().lstrip("\ufeff"))
        except UnicodeDecodeError as error:
            return (
                [],
                f"bytes that are not utf-8 ({error.object[error.start]:#04x} at byte {line.offset + error.start:,})",
            )
        except (ValueError, RecursionError) as error:
            said = re.sub(r": line 1 column (\d+).*", r" at character \1", str(error))[:100]
            return [], f"not a JSON object: {said or 'nested too deeply'}"
        if not isinstance(found, Pairs):
            return [], "not a JSON object"
        if len({key for key, _ in found}) != len(found):
            return [], "a key that stands twice in the object"
        try:
            if any("\0" in key or "\0" in cell(value) for key, value in found):
                return [], "a NUL character"
            "".join(key + cell(value) for key, value in found).encode()
        except UnicodeEncodeError:
            return [], "half of a character (a lone surrogate)"
        except RecursionError:
            return [], "nested too deeply"
        return list(found), ""

    def written_size(self, pairs: list[tuple[str, Any]]) -> int:
        """Returns the bytes that an object takes as a line of CSV."""
        return sum(len(cell(value).encode()) + cell(value).count('"') + 3 for _, value in pairs)

    def checked(self) -> list[str]:
        """Returns the header; refuses keys that differ only in case or spaces."""
        return named(self.name, 1, self.header)


class Number(str):
    """A number in its own spelling: 1e5 and 007.50 stay what they are."""


class Pairs(list):
    """The keys and values of an object, in order, twice where they stand twice."""


def no_constant(word: str) -> Any:
    """Refuses NaN and Infinity, which are no JSON."""
    raise ValueError(f"{word} is no JSON value")


DECODER = json.JSONDecoder(
    object_pairs_hook=Pairs, parse_int=Number, parse_float=Number, parse_constant=no_constant
)


def cell(value: Any) -> str:
    """Returns a value as the text of a cell."""
    if isinstance(value, str):
        return str(value)
    return "" if value is None else written(value)


def written(value: Any) -> str:
    """Returns a value as JSON, numbers in their own spelling."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{written(str(key))}: {written(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
