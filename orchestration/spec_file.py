"""The merge spec as a YAML file: read, its paths made absolute, places in it turned into line numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml


class SpecProblem(Exception):
    """What is wrong with a spec file, as a sentence for the user."""


def load(path: Path) -> dict[str, Any]:
    """Returns the spec of a YAML file, paths relative to the file made absolute.

    Only what keeps the file from being read is checked here; the spec itself is checked by dbt.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecProblem(f"there is no spec file '{path}'") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecProblem(f"the spec file '{path}' can't be read: {error}") from None
    try:
        reject_duplicates(yaml.compose(text, Loader=yaml.SafeLoader), path)
        spec = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecProblem(f"{path}, line {line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise SpecProblem(f"{path}: not valid YAML: {error}") from None
    if not isinstance(spec, dict):
        raise SpecProblem(
            f"{path}: expected settings such as original, enriched and match_on at the top level"
        )
    if set(spec) == {"merge"} and isinstance(spec["merge"], dict):
        raise SpecProblem(
            f"{path}, line 1: write the settings at the top level, without `merge:` around them"
        )
    for file in input_files(spec):
        if isinstance(file.get("path"), str):
            file["path"] = absolute(path, file["path"])
    if isinstance(assertions := spec.get("assertions"), str | list):
        paths = [assertions] if isinstance(assertions, str) else assertions
        spec["assertions"] = [absolute(path, file) if isinstance(file, str) else file for file in paths]
    export = spec.get("export")
    if isinstance(export, dict) and isinstance(export.get("to"), str):
        export["to"] = absolute(path, export["to"])
    return plain(spec)


def absolute(spec: Path, path: str) -> str:
    """Returns a path of the spec file made absolute; remote ones are absolute already."""
    return path if "://" in path else str(spec.resolve().parent / Path(path).expanduser())


def input_files(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the blocks of a spec that name a file: the original's, then each enriched one's."""
    enriched = spec.get("enriched")
    blocks = [spec.get("original"), *(enriched if isinstance(enriched, list) else [])]
    return [block for block in blocks if isinstance(block, dict)]


def plain(value: Any) -> Any:
    """Returns the value as JSON knows it: dates (which YAML makes of a bare 2024-01-01) become text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def reject_duplicates(node: yaml.Node | None, path: Path) -> None:
    """Refuses a setting that stands twice in one block: YAML would silently take the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise SpecProblem(
                    f"{path}, line {key.start_mark.line + 1}: '{key.value}' stands twice in one block"
                )
            seen.add(key.value)
            reject_duplicates(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            reject_duplicates(item, path)


def line_of(path: Path, place: str) -> int | None:
    """Returns the line of a setting such as ``enriched[1].columns``, or of the nearest block around it."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    line = None
    for step in re.findall(r"\[(\d+)\]|([^.\[\]]+)", place):
        index, name = step
        if isinstance(node, yaml.MappingNode) and name:
            found = next(((key, value) for key, value in node.value if key.value == name), None)
            if found is None:
                return line
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line + 1
        else:
            return line
    return line
