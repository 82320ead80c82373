"""The merge spec as a YAML file: read, its paths made absolute, places in it turned into line numbers."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

import yaml

MOST_NODES = 200_000  # values of a spec


class SpecProblem(Exception):
    """What is wrong with a spec file, as a sentence for the user."""


def load(path: Path) -> dict[str, Any]:
    """Returns the spec of a YAML file, paths relative to the file made absolute.

    Only what keeps the file from being read is checked here; the spec itself is checked by dbt.
    """
    return anchored(read(path), str(path), str(path.resolve().parent))


def read(path: Path) -> dict[str, Any]:
    """Returns the spec of a YAML file as it is written; raises SpecProblem if it can't be read."""
    if is_remote(str(path)):
        raise SpecProblem(
            f"'{re.sub(':/+', '://', str(path))}' is not on this machine, where a spec must be; the files that it names may be elsewhere"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecProblem(f"there is no spec file '{path}'") from None
    except IsADirectoryError:
        raise SpecProblem(f"'{path}' is a directory; name the spec file in it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecProblem(f"the spec file '{path}' can't be read: {error}") from None
    return written(text, str(path))


def written(text: str, shown: str) -> dict[str, Any]:
    """Returns the spec that a YAML text is; ``shown`` is what messages call it."""
    try:
        reject_duplicates(yaml.compose(text, Loader=yaml.SafeLoader), shown, [MOST_NODES])
        spec = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecProblem(f"{shown}, line {line}: not valid YAML: {error.problem}") from None
    except (
        yaml.YAMLError,
        RecursionError,
        ValueError,
        TypeError,
    ) as error:  # of dates and numbers that are none, too
        raise SpecProblem(f"{shown}: not valid YAML: {str(error)[:300]}") from None
    if not isinstance(spec, dict):
        kind = (
            "nothing"
            if spec is None
            else "a list"
            if isinstance(spec, list)
            else f"'{str(spec).strip()[:60]}'"
        )
        raise SpecProblem(
            f"{shown}: expected settings such as original, enriched and match_on at the top level, found {kind}"
        )
    if set(spec) == {"merge"} and isinstance(spec["merge"], dict):
        raise SpecProblem(
            f"{shown}, line 1: write the settings at the top level, without `merge:` around them"
        )
    spec = plain(spec)
    try:
        json.dumps(spec, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise SpecProblem(
            f"{shown}: it holds half a character (a lone surrogate, such as \\ud800), which no text may hold"
        ) from None
    return spec


def anchored(spec: dict[str, Any], shown: str, base: str) -> dict[str, Any]:
    """Returns the spec with its paths made absolute; ``base`` is the folder or the s3:// prefix that it lies in."""
    for file in input_files(spec):
        if isinstance(file.get("path"), str):
            file["path"] = absolute(file["path"], shown, base)
    if isinstance(assertions := spec.get("assertions"), str | list):
        paths = [assertions] if isinstance(assertions, str) else assertions
        spec["assertions"] = [
            absolute(file, shown, base) if isinstance(file, str) else file for file in paths
        ]
    export = spec.get("export")
    if isinstance(export, dict) and isinstance(export.get("to"), str) and export["to"].strip():
        export["to"] = absolute(export["to"], shown, base)
    return spec


def absolute(path: str, shown: str, base: str) -> str:
    """Returns a path of a spec made absolute: what a spec on S3 names lies there too; remote ones are absolute already."""
    if is_remote(path):
        return path
    if not is_remote(base):
        try:
            return str(Path(base) / Path(path).expanduser())
        except RuntimeError:
            raise SpecProblem(
                f"{shown}: '{path}': there is no such user on this machine; write the path out"
            ) from None
    bucket, _, prefix = base.partition("://")[2].partition("/")
    key = posixpath.normpath(posixpath.join(prefix, path))
    if path.startswith(("/", "~")) or key.startswith(".."):
        raise SpecProblem(
            f"{shown}: '{path}' is not in the bucket {bucket}; accepted: a path relative to the spec, s3://, https://"
        )
    return f"s3://{bucket}/{key}" + ("/" if path.endswith("/") else "")


def is_remote(path: str) -> bool:
    """Says whether a path is a URL; with one slash it is a mistake, which is told by who reads it."""
    return bool(re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]+:/", path))


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


def reject_duplicates(node: yaml.Node | None, shown: str, left: list[int]) -> None:
    """Refuses a setting that stands twice in one block, of which YAML would silently take the last; settings whose name is no text; and
    a spec that is endless when its aliases are written out (``left``: [how many nodes it may have])."""
    left[0] -= 1
    if left[0] < 0:
        raise SpecProblem(
            f"{shown}: it has more than {MOST_NODES:,} values with its aliases written out; write fewer"
        )
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise SpecProblem(
                    f"{shown}, line {key.start_mark.line + 1}: the name of a setting must be a text, not a list or a block"
                )
            if key.value in seen:
                raise SpecProblem(
                    f"{shown}, line {key.start_mark.line + 1}: '{key.value}' stands twice in one block"
                )
            seen.add(key.value)
            reject_duplicates(value, shown, left)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            reject_duplicates(item, shown, left)


def located(problem: str, shown: str, text: str) -> str:
    """Returns a problem that begins with a setting, such as ``enriched[1].columns: …``, with its file and line before it; others as they are.

    ``shown`` is what the file is called, ``text`` is what stands in it.
    """
    found = re.match(r"([a-z_]+(?:\[\d+\]|\.[^:\s]+)*): ", problem)
    if not found:
        return problem
    line = line_of(text, found[1])
    return f"{shown}, line {line}: {problem}" if line else f"{shown}: {problem}"


def line_of(text: str, place: str) -> int | None:
    """Returns the line of a setting such as ``enriched[1].columns``, or of the nearest block around it."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
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
