"""The merge spec as a YAML file: read, its paths made absolute, places in it turned into line numbers."""

from __future__ import annotations

import codecs
import json
import posixpath
import re
from pathlib import Path as File
from typing import Any

import yaml

from crm_merge.spec.mistakes import Mistake, Path

MOST_NODES = 200_000  # values of a spec


class SpecProblem(Exception):
    """What is wrong with a spec file, as a sentence for the user."""


def load(path: File) -> dict[str, Any]:
    """Returns the spec of a YAML file, paths relative to the file made absolute.

    Only what keeps the file from being read is checked here; the settings are checked by ``check.checked``.
    """
    return anchored(read(path), str(path), str(path.resolve().parent))


def read(path: File) -> dict[str, Any]:
    """Returns the spec of a YAML file as it is written; raises SpecProblem if it can't be read."""
    if is_remote(str(path)):
        raise SpecProblem(
            f"'{re.sub(':/+', '://', str(path))}' is not on this machine, where a spec must be; the files that it names may be elsewhere"
        )
    try:
        return written(decoded(path.read_bytes(), str(path)), str(path))
    except FileNotFoundError:
        raise SpecProblem(f"there is no spec file '{path}'") from None
    except IsADirectoryError:
        raise SpecProblem(f"'{path}' is a directory; name the spec file in it") from None
    except OSError as error:
        raise SpecProblem(f"the spec file '{path}' can't be read: {error.strerror}") from None


def decoded(content: bytes, shown: str) -> str:
    """Returns the text of a spec file; raises SpecProblem, with its line, for what is not UTF-8."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SpecProblem(f"{shown}: it is UTF-16, and a spec is UTF-8; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        meant = content[error.start : error.start + 1].decode("cp1252", "replace")
        raise SpecProblem(
            f"{shown}, line {line}, column {column}: the byte 0x{content[error.start]:02x} is not UTF-8"
            + (f" (in cp1252 it is '{meant}')" if meant.isprintable() and meant != "\ufffd" else "")
            + "; save the spec as UTF-8"
        ) from None


def written(text: str, shown: str) -> dict[str, Any]:
    """Returns the spec that a YAML text is; ``shown`` is what messages call it."""
    try:
        reject_duplicates(yaml.compose(text, Loader=yaml.SafeLoader), shown, [MOST_NODES])
        spec = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        raise SpecProblem(f"{shown}, {yaml_mistake(error, text)}") from None
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


def yaml_mistake(error: yaml.MarkedYAMLError, text: str) -> str:
    """Returns where YAML stopped and why, and what to do about the usual causes."""
    mark = error.problem_mark or error.context_mark
    number, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    line = lines[number - 1] if number <= len(lines) else ""
    problem = str(error.problem or error.context)
    hint = ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in problem:
        hint = "a tab stands where YAML takes spaces only; put spaces there"
    elif "mapping values are not allowed" in problem:
        hint = "a colon stands where none can; indent the line as its neighbours, or put a text that holds ': ' in quotes"
    elif "flow" in str(error.context) and error.context_mark:
        hint = f"the bracket that opens on line {error.context_mark.line + 1} is not closed, or a comma is missing in it"
    elif (
        "block end" in problem or "did not find expected" in problem or "block mapping" in str(error.context)
    ):
        hint = "its indentation does not fit the lines above, or a bracket or quote is not closed"
    elif "undefined alias" in problem or "alias" in str(error.context):
        hint = "a word that begins with * is an alias to YAML; put it in quotes"
    elif "cannot start any token" in problem:
        hint = "a text that begins with this sign goes in quotes"
    return f"line {number}: not valid YAML: {problem} (column {column})" + (f"; {hint}" if hint else "")


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
            return str(File(base) / File(path).expanduser())
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
        seen: dict[str, int] = {}  # line by name
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise SpecProblem(
                    f"{shown}, line {key.start_mark.line + 1}: the name of a setting must be a text, not a list or a block"
                )
            if key.value in seen:
                raise SpecProblem(
                    f"{shown}, line {key.start_mark.line + 1}: '{key.value}' stands twice in one block, first on line {seen[key.value]}"
                )
            seen[key.value] = key.start_mark.line + 1
            reject_duplicates(value, shown, left)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            reject_duplicates(item, shown, left)


def located(problem: str, shown: str, text: str) -> str:
    """Returns a problem that begins with a setting, such as ``enriched[1].columns: …``, with its file and line before it; others as they are.

    ``shown`` is what the file is called, ``text`` is what stands in it.
    """
    try:
        line = Positions(text).of_sentence(problem)
    except yaml.YAMLError:
        line = 0
    if line:
        return f"{shown}, line {line}: {problem}"
    return f"{shown}: {problem}" if re.match(r"[a-z_]+(\[\d+\]|\.[^:\s]+)*: ", problem) else problem


class Positions:
    """Where the settings of a YAML text stand."""

    def __init__(self, text: str):
        self.node = yaml.compose(text, Loader=yaml.SafeLoader)

    def of(self, path: Path) -> tuple[int, int]:
        """Returns line and column, from 1, of the setting at a path, or of the nearest block around it; (0, 0) if there is none."""
        node, found = self.node, (0, 0)
        for step in path:
            if isinstance(node, yaml.MappingNode):
                entry = next((pair for pair in node.value if pair[0].value == str(step)), None)
                if entry is None:
                    break
                mark, node = entry[0].start_mark, entry[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                mark = node.start_mark
            else:
                break
            found = (mark.line + 1, mark.column + 1)
        return found

    def of_sentence(self, said: str) -> int:
        """Returns the line of the setting that a sentence begins with, or of the nearest block around it; 0 if it begins with none.

        Names may hold spaces, dots and colons, so the settings themselves say where each ends.
        """
        node, line = self.node, 0
        while True:
            if isinstance(node, yaml.MappingNode):
                said = said.removeprefix(".") if line else said
                fitting = [
                    pair for pair in node.value if re.match(re.escape(str(pair[0].value)) + r"[.:\[]", said)
                ]
                if not fitting:
                    return line
                key, node = max(fitting, key=lambda pair: len(pair[0].value))
                said, line = said[len(key.value) :], key.start_mark.line + 1
            elif isinstance(node, yaml.SequenceNode) and (step := re.match(r"\[(\d+)\]", said)):
                if int(step[1]) >= len(node.value):
                    return line
                said, node = said[step.end() :], node.value[int(step[1])]
                line = node.start_mark.line + 1
            else:
                return line


def placed(mistakes: list[Mistake], text: str) -> list[Mistake]:
    """Returns mistakes with where they stand in the text of their spec."""
    try:
        positions = Positions(text)
    except yaml.YAMLError:
        return mistakes
    return [mistake.at(*positions.of(mistake.path)) for mistake in mistakes]


def told(mistakes: list[Mistake], shown: str, text: str) -> list[str]:
    """Returns mistakes as sentences in the order of their lines, each with the file and the line before it."""
    said = []
    for mistake in sorted(placed(mistakes, text), key=lambda mistake: mistake.line):
        line = f"{shown}, line {mistake.line}" if mistake.line else shown
        said.append(f"{line}: {mistake.sentence()}")
    return said
