"""The names that a spec may use of what macros define: strategies and key types. A macro that is added is found by its name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from crm_merge import PROJECT

MACRO = re.compile(r"{%-?\s*macro\s+(\w+)\(")
LIST = re.compile(r"{%-?\s*macro\s+(\w+)\(\)\s*-?%}\s*{%-?\s*do return\((\[[^]]*\])\)")
LISTS = ("group_strategies", "needs_forms", "needs_extremes")  # macros that give names of strategies
COMPARISONS = ("exact", "normalized")  # of columns: how, not which


@dataclass(frozen=True)
class Names:
    """Names in order: all strategies, those that can choose a whole row, key types; strategies that make a value of all candidates, that compare what
    cells say, and that compare them with the least and the greatest; policies; key types that take several queries, and are told a region."""

    strategies: tuple[str, ...]
    group_strategies: tuple[str, ...]
    key_types: tuple[str, ...]
    folds: tuple[str, ...] = ()
    needs_forms: tuple[str, ...] = ()
    needs_extremes: tuple[str, ...] = ()
    policies: tuple[str, ...] = ("fill", "replace", "suffix", "update")
    staged: tuple[str, ...] = ()


def of_macros(macros: Iterable[str], lists: Mapping[str, Sequence[str]]) -> Names:
    """Returns the names that macros of these names give: ``prefer_<strategy>``, ``fold_<strategy>``, ``keys_<type>``, ``stages_<type>``,
    ``policy_<name>``; ``lists``
    are what the macros of LISTS say."""
    named: dict[str, set[str]] = {
        "prefer": set(), "fold": set(), "keys": set(), "stages": set(), "policy": set(),
    }  # fmt: skip
    for macro in macros:
        kind, _, name = macro.partition("_")
        named.get(kind, set()).add(name)
    types = (named["keys"] | named["stages"]).difference(COMPARISONS)
    return Names(
        tuple(sorted(named["prefer"] | named["fold"])),
        tuple(lists["group_strategies"]),
        tuple(sorted(types)),
        tuple(sorted(named["fold"])),
        tuple(lists["needs_forms"]),
        tuple(lists["needs_extremes"]),
        tuple(sorted(named["policy"])),
        tuple(sorted(named["stages"])),
    )


@lru_cache(maxsize=1)
def of_project(project: Path = PROJECT) -> Names:
    """Returns the names that the macros of the project give."""
    macros: list[str] = []
    lists: dict[str, list[str]] = {}
    for path in sorted((project / "macros").rglob("*.sql")):
        text = path.read_text(encoding="utf-8")
        macros += MACRO.findall(text)
        lists |= {name: ast.literal_eval(found) for name, found in LIST.findall(text) if name in LISTS}
    return of_macros(macros, lists)
