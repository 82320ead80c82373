"""The files of a merge: found, fetched, profiled, each once. What is found first holds for the whole run: a file that is replaced meanwhile
must not lend its header to rows that were read before."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from crm_merge.reading import FileProblem
from crm_merge.reading import places as finding
from crm_merge.reading import profile as profiles

DECLARED = ("role", "delimiter", "encoding", "header_line", "quoted_newlines")


@dataclass
class Profiled:
    """Files as they are read, problems as sentences, and whether all of these pass by themselves."""

    files: list[dict[str, Any]]
    problems: list[str]
    transient: bool


class Inputs:
    """The files of one merge: relative paths are below ``base``; what is fetched goes to ``fetched``."""

    def __init__(self, base: Path, fetched: Path):
        self.base, self.fetched = base, fetched
        self.found: dict[str, list[finding.Place]] = {}
        self.known: dict[str, dict[str, Any]] = {}

    def profiled(self, wanted: list[dict[str, Any]]) -> Profiled:
        """Profiles files, each given as {setting, role, name, path} and what the spec says of it.

        Each comes back as it was given, with what was found (crm_merge.reading.profile) and ``vendor``, ``shown``, ``k``. A path of
        several files becomes one entry each, named ``<name>/<path below what they share>``; ``k`` is a file's position, the original's is 0.
        """
        causes: list[FileProblem] = []
        problems: list[str] = []
        asked: list[tuple[finding.Place, dict[str, Any], dict[str, Any]]] = []
        for block in wanted:
            try:
                for place, entry in self.entries(block):
                    asked.append((place, block, entry | {"k": len(asked)}))
            except FileProblem as problem:
                setting = block["setting"] + ("" if block["role"] == "assertions" else ".path")
                problems.append(f"{setting}: {problem}")
                causes.append(problem)
        files = []
        # hashing and counting leave Python to other threads most of the time
        with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 4)) as threads:
            profiles_of = [threads.submit(self.profile, place, block) for place, block, _ in asked]
            for (_, block, entry), profiled in zip(asked, profiles_of, strict=True):
                try:
                    files.append(entry | profiled.result())
                except FileProblem as problem:
                    problems.append(f"{block['setting']}: {problem}")
                    causes.append(problem)
        # one problem that stays makes waiting for the others useless
        return Profiled(files, problems, bool(causes) and all(problem.transient for problem in causes))

    def entries(self, block: dict[str, Any]) -> list[tuple[finding.Place, dict[str, Any]]]:
        """Returns the files that a block of the spec names, each with its entry; raises FileProblem."""
        found = self.places(block["path"])
        if block["role"] == "original" and len(found) > 1:
            raise FileProblem(f"'{block['path']}' means {len(found)} files; a merge has one original")
        levels = zip(*(place.shown.split("/")[:-1] for place in found), strict=False)
        shared = "/".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))
        entries = []
        for place in found:
            entry = block | {"vendor": block["name"], "path": str(place.path), "shown": place.shown}
            if len(found) > 1:
                entry["name"] += "/" + place.shown[len(shared) :].lstrip("/")
            entries.append((place, entry))
        return entries

    def places(self, path: str) -> list[finding.Place]:
        """Finds the files of a path, once."""
        if path not in self.found:
            self.found[path] = finding.find(path, self.base, self.fetched)
        return self.found[path]

    def profile(self, place: finding.Place, wanted: dict[str, Any]) -> dict[str, Any]:
        """Profiles a file, once."""
        declared = {name: wanted[name] for name in DECLARED if wanted.get(name) is not None}
        key = json.dumps([str(place.path), place.partitions, declared])
        if key not in self.known:
            self.known[key] = profiles.profile(
                declared | {"path": place.path, "partitions": place.partitions}
            )
        return json.loads(json.dumps(self.known[key]))


def copied(file: dict[str, Any], to: Path, rejects_to: Path) -> str:
    """Writes the copy of a profiled file that DuckDB reads where it can't read the file itself; returns its problem or ''."""
    try:
        profiles.copy(file, Path(file["path"]), file, to, rejects_to)
    except FileProblem as problem:
        return str(problem)
    except OSError as error:
        return f"a copy of {Path(file['path']).name} can't be written to {to}: {error.strerror}"
    return ""


def copied_as_asked(request: str) -> str:
    """Does what ``copied`` does for ``{"file", "to", "rejects_to"}``, JSON as SQL hands it on."""
    wanted = json.loads(request)
    return copied(wanted["file"], Path(wanted["to"]), Path(wanted["rejects_to"]))


def changed(files: list[dict[str, Any]]) -> list[str]:
    """Returns a sentence for each profiled file that is not what it was."""
    problems = []
    for file in files:
        try:
            same = profiles.fingerprint(Path(file["path"])) == file["fingerprint"]
            if "://" not in file["shown"]:
                finding.check_allowed(Path(file["path"]), file["shown"])
        except FileProblem:
            same = False
        if not same:
            problems.append(
                f"{file['setting']}: {Path(file['path']).name} changed while it was read; run again when it is complete"
            )
    return problems
