"""Checks what was written against the settings: a typed spec, or every mistake in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from crm_merge.spec import names as spec_names
from crm_merge.spec import settings as of
from crm_merge.spec.mistakes import Mistake, nearest, shown
from crm_merge.spec.settings import MOST_FILES, Spec

REQUIRED = ("original", "enriched", "match_on")
# These may stand there empty, which is as if they did not.
MAY_BE_EMPTY = ("strategies", "groups", "overwrite", "guards", "assertions", "export")


class WrongSpec(Exception):
    """A spec that can't be used, with every mistake in it."""

    def __init__(self, mistakes: list[Mistake]):
        super().__init__("\n".join(mistake.sentence() for mistake in mistakes))
        self.mistakes = mistakes


def checked(written: Any, names: spec_names.Names | None = None) -> Spec:
    """Returns the spec of what was written, as JSON has it; raises WrongSpec with all mistakes, in the order of the settings.

    ``names`` are those of strategies and key types; without them those of the project's macros.
    """
    if nul := next(holds_nul(written, ()), None):
        raise WrongSpec([Mistake(nul, "it holds a NUL character, which no text may hold")])
    if not isinstance(written, dict):
        raise WrongSpec(
            [
                Mistake(
                    ("merge",),
                    f"expected settings such as original, enriched and match_on, found {shown(written)}",
                )
            ]
        )
    given = filled(written)
    enriched = given.get("enriched")
    files = enriched if isinstance(enriched, list) else []
    vendors = [file["name"] for file in files if isinstance(file, dict) and isinstance(file.get("name"), str)]
    context = {"names": names or spec_names.of_project(), "vendors": vendors}
    mistakes: list[Mistake] = []
    spec = None
    try:
        spec = Spec.model_validate(given, context=context)
    except ValidationError as wrong:
        found = wrong.errors(include_url=False)
        names_wrong = {error["loc"][:-1] for error in found if is_of_a_name(error["loc"])}
        mistakes += [mistake_of(error, written) for error in found if error["loc"] not in names_wrong]
    mistakes += repeated_names(files) + repeated_formats(given) + partitions_without_parquet(given)
    if mistakes or spec is None:
        raise WrongSpec(list(dict.fromkeys(mistakes)))
    return spec


def holds_nul(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Yields the settings that hold a NUL character: neither engine nor system takes one in a text."""
    if isinstance(value, str) and "\0" in value:
        yield path
    for step, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        if isinstance(step, str) and "\0" in step:
            yield path
        yield from holds_nul(inner, (*path, step))


def filled(written: dict[str, Any]) -> dict[str, Any]:
    """Returns what was written without settings that stand there empty."""
    given = {
        name: value for name, value in written.items() if value or name not in (*REQUIRED, *MAY_BE_EMPTY)
    }
    if isinstance(given.get("export"), dict):
        given["export"] = {
            name: value
            for name, value in given["export"].items()
            if value or name not in ("to", "partition_by")
        }
    return given


def mistake_of(found: Any, written: Any) -> Mistake:
    """Returns the mistake that an error of pydantic is; ``written`` is the whole spec."""
    path = found["loc"]
    if path[:1] == ("match_on",):  # the way in which a key is written is no setting
        path = tuple(step for place, step in enumerate(path) if place != 2 or not str(step).startswith("~"))
    path = path[:-1] if is_of_a_name(path) else path
    path = ("schedule",) if path == ("schedule", "cron") else path
    context = found.get("ctx") or {}
    if found["type"] == "setting":
        what = context["what"]
        # it says itself which of a strategy's arguments is wrong
        if what.startswith("source_priority: "):
            path, what = (*path, "source_priority"), what.removeprefix("source_priority: ")
        return Mistake(path, what, context["accepted"], context["nearest"])
    if found["type"] == "extra_forbidden":
        valid = settings_of(block_at(found["loc"][:-1]))
        name = str(path[-1])
        return Mistake(path, f"unknown setting '{name}'", ", ".join(valid), nearest(name, valid))
    if found["type"] == "missing":
        return Mistake(path, what_is_missing(found["loc"], written))
    if found["type"] == "too_long":
        return Mistake(path, f"at most {MOST_FILES} files")
    return Mistake(path, f"{shown(found.get('input'))} is not accepted ({found['msg']})")


def is_of_a_name(path: tuple[str | int, ...]) -> bool:
    """Says whether a path of pydantic's is that of a setting's name, not of what it holds; one may be called so itself."""
    return path[:2] == ("guards", "contradiction") and path[3:] == ("[key]",)


def what_is_missing(path: tuple[str | int, ...], written: Any) -> str:
    """Returns what is said of a setting that has to be there and is not."""
    if len(path) == 1:
        return (
            f"{'empty' if path[0] in written else 'missing'}; a merge needs original, enriched and match_on"
        )
    accepted = of.accepted(block_at(path[:-1]).model_fields[str(path[-1])])
    return f"missing; {accepted}" if accepted else "missing"


def settings_of(block: type[BaseModel]) -> list[str]:
    """Returns the names of a block's settings: its own, then those that all blocks of its kind have."""
    own = [name for name in block.model_fields if name in block.__annotations__]
    return own + [name for name in block.model_fields if name not in own]


def block_at(path: tuple[str | int, ...]) -> type[BaseModel]:
    """Returns the block of settings at a path of pydantic's: it names the way in which a key is written."""

    blocks: dict[tuple[str, ...], type[BaseModel]] = {
        (): of.Spec,
        ("original",): of.Original,
        ("match_on", "~type"): of.TypeKey,
        ("match_on", "~column"): of.ColumnKey,
        ("match_on", "~external"): of.ExternalKey,
        ("enriched",): of.Enriched,
        ("groups",): of.Group,
        ("guards",): of.Guards,
        ("export",): of.Export,
        ("schedule",): of.Schedule,
    }
    return blocks[tuple(step for step in path if isinstance(step, str))]


def repeated_names(files: Any) -> list[Mistake]:
    """Returns the files whose name another has, in any case of letters."""
    mistakes, seen = [], {"original"}
    for number, file in enumerate(files):
        name = file.get("name") if isinstance(file, dict) else None
        if not isinstance(name, str) or not name.strip():
            continue
        if name.lower() in seen:
            said = f"'{name}' is taken; each file needs a name of its own (and `original` is the CRM's)"
            mistakes.append(Mistake(("enriched", number, "name"), said))
        seen.add(name.lower())
    return mistakes


def repeated_formats(given: dict[str, Any]) -> list[Mistake]:
    """Returns a format that is to be written twice."""
    formats = given["export"].get("formats") if isinstance(given.get("export"), dict) else None
    if not isinstance(formats, list) or len({shown(name) for name in formats}) == len(formats):
        return []
    return [Mistake(("export", "formats"), f"a format stands twice in {shown(formats)}")]


def partitions_without_parquet(given: dict[str, Any]) -> list[Mistake]:
    """Returns partitions of a result that has no Parquet."""
    export = given["export"] if isinstance(given.get("export"), dict) else {}
    formats = export.get("formats", ["csv"])
    if (
        not isinstance(export.get("partition_by"), list)
        or not isinstance(formats, list)
        or "parquet" in formats
    ):
        return []
    said = f"only Parquet is partitioned, and export.formats is {shown(formats)}; add parquet to it"
    return [Mistake(("export", "partition_by"), said)]


def schedule_mistakes(schedule: Any) -> list[Mistake]:
    """Returns what is wrong with a schedule alone, as a spec has it."""
    try:
        of.Schedule.model_validate(of.as_schedule(schedule))
    except ValidationError as wrong:
        said = {"schedule": schedule}
        return [mistake_of(error | {"loc": ("schedule", *error["loc"])}, said) for error in wrong.errors()]
    return []
