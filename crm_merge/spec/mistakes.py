"""A mistake in a spec is data: where, what, what would be accepted, and what was probably meant. The sentence comes last."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import PydanticCustomError

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Mistake:
    """One mistake: the path of the setting such as ``("enriched", 1, "path")``, what is wrong, what would be accepted ('' if ``what`` says
    it), the nearest accepted name ('' if none is near), and where that stands in the spec's file, counted from 1 (0: not known)."""

    path: Path
    what: str
    accepted: str = ""
    nearest: str = ""
    line: int = 0
    column: int = 0

    @property
    def place(self) -> str:
        """The setting as people write it: ``enriched[1].path``."""
        return place(self.path)

    def sentence(self) -> str:
        """Returns the mistake as one sentence, which begins with the setting."""
        said = f"{self.place}: {self.what}" if self.path else self.what
        if self.nearest:
            said += f"; did you mean '{self.nearest}'?"
        elif self.accepted:
            said += "."
        return said + (f" Accepted: {self.accepted}" if self.accepted else "")

    def at(self, line: int, column: int) -> Mistake:
        """Returns the mistake with where it stands in its file."""
        return replace(self, line=line, column=column)


def place(path: Path) -> str:
    """Returns a path as people write it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def path(place: str) -> Path:
    """Returns the path of a setting as people write it."""
    steps = re.findall(r"\[(\d+)\]|([^.\[\]]+)", place)
    return tuple(int(index) if index else name for index, name in steps)


def error(what: str, accepted: str = "", nearest: str = "") -> PydanticCustomError:
    """Returns what a validator raises for a mistake of its own."""
    return PydanticCustomError("setting", "{what}", {"what": what, "accepted": accepted, "nearest": nearest})


def unknown(what: str, word: Any, valid: Sequence[str]) -> PydanticCustomError:
    """Returns what a validator raises for a name that is not among the valid ones; ``what`` says what it is called."""
    return error(what, ", ".join(dict.fromkeys(valid)), nearest(str(word), valid))


def nearest(word: str, valid: Iterable[str]) -> str:
    """Returns the valid name that was probably meant, '' if none is near; case does not count."""
    names = {name.lower(): name for name in reversed(list(valid))}
    found = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return names[found[0]] if found else ""


def did_you_mean(word: str, valid: Sequence[str]) -> str:
    """Returns the end of a sentence about a name that is not valid: the nearest one, and all of them."""
    if not valid:
        return ""
    near = nearest(word, valid)
    return (f"; did you mean '{near}'?" if near else ".") + f" Accepted: {', '.join(dict.fromkeys(valid))}"


def shown(value: Any) -> str:
    """Returns a value of a spec as messages show it: as JSON, not endless."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 2000 else text[:2000] + "…"
