"""The dbt-duckdb plugin: what SQL can't do to the bytes of a file and to international domains, and nothing else.

Seven functions become callable from SQL, from text to text, most of them JSON:

``crm_files_profile(request)``
    Finds the files of a merge, fetches remote ones, and says of each how it is to be read (reading.profile).
``crm_files_copy(request)``
    Writes the copy of a file that DuckDB reads where it can't read the file itself.
``crm_files_changed(request)``
    Says which files are no longer what was profiled.
``crm_disk_problems(request)``
    Says where there is too little room on a disk for the merge.
``crm_place_problem(url)``
    Says what is wrong with the address of a place that a result goes to.
``crm_project_number(nothing)``
    Returns a hash of the project's code and of DuckDB's version.
``crm_parts_cleared(name)``
    Removes the files of a relation that is kept in parts, before it is built anew.

Two more take an address or a domain that is not plain ASCII, and return its ASCII form or '' (reading.international):
``crm_address(text)`` and ``crm_domain(text)``.

A user's mistake comes back as a sentence under ``problems``, never as an exception.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt_common.exceptions import DbtRuntimeError

from crm_merge import PROJECT
from crm_merge.engine import limits
from crm_merge.reading import FileProblem, international, places, storage
from crm_merge.reading import profile as profiles

DECLARED = ("role", "delimiter", "encoding", "header_line", "quoted_newlines")


def register_international(conn: Any) -> None:
    """Registers crm_address and crm_domain, which match keys need, with a connection to DuckDB."""
    if NoPandas not in sys.meta_path:
        sys.meta_path.insert(0, NoPandas)
    conn.create_function("crm_address", international.address, ["VARCHAR"], "VARCHAR")
    conn.create_function("crm_domain", international.domain, ["VARCHAR"], "VARCHAR")


class NoPandas:
    """Keeps pandas out of dbt's process: DuckDB asks for it at every value that a function returns, though no merge needs it.

    A search takes 40 µs where it is not installed, and importing it half a second where it is. What was imported before stays. Who
    adds a Python model or a plugin that needs pandas takes this out.
    """

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Finds nothing, and ends the search for pandas."""
        if name == "pandas":
            raise ModuleNotFoundError(
                "crm-merge keeps pandas out of dbt's process (NoPandas in crm_merge/engine/plugin.py)",
                name=name,
            )


class Plugin(BasePlugin):
    """Registers the functions, and makes the merge directory before DuckDB opens its file there."""

    frozen = False  # once per process: another run in it would freeze what the one before has left behind

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Checks the environment and makes the merge directory."""
        # What is found first holds for the whole run: a file that is replaced meanwhile must not lend its
        # header to rows that were landed before.
        self.found: dict[str, list[places.Place]] = {}
        self.profiled: dict[str, dict[str, Any]] = {}
        if not Plugin.frozen:
            # dbt has parsed the project, into a few hundred thousand objects that stay: the collector need not go through them again and again
            gc.freeze()
            Plugin.frozen = True
        if wrong := limits.problems():
            raise DbtRuntimeError(
                "crm-merge: The environment's settings can not be used.\n- " + "\n- ".join(wrong)
            )
        self.directory = PROJECT
        if self.creds and self.creds.path and self.creds.path != ":memory:":
            self.directory = Path(self.creds.path).resolve().parent
            for folder in ("landing", "parts"):
                (self.directory / ".crm-merge" / folder).mkdir(parents=True, exist_ok=True)

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:
        """Leaves the number of threads to DuckDB unless DUCKDB_THREADS is set; finds seeds by the project."""
        if config.get("threads") == "auto":
            del config["threads"]
        if "memory_limit" in config:
            config["memory_limit"] = limits.own_memory(str(config["memory_limit"]))
        config["file_search_path"] = str(PROJECT)
        if self.directory != PROJECT:
            config["temp_directory"] = str(limits.spill_folder(self.directory))
        if most := os.environ.get("DUCKDB_TEMP_LIMIT"):
            config["max_temp_directory_size"] = most

    def configure_connection(self, conn: Any) -> None:
        """Registers the functions with DuckDB."""
        conn.execute("set TimeZone = 'UTC'")  # the text of a time must not depend on the machine
        if self.directory != PROJECT:
            # this process has the database now: what lies there is of a run that was killed
            shutil.rmtree(limits.spill_folder(self.directory), ignore_errors=True)
        for function in (
            self.crm_files_profile,
            self.crm_files_copy,
            self.crm_files_changed,
            self.crm_parts_cleared,
            self.crm_disk_problems,
            self.crm_place_problem,
            self.crm_project_number,
        ):
            conn.create_function(function.__name__, function, ["VARCHAR"], "VARCHAR", side_effects=True)
        register_international(conn)

    def crm_files_profile(self, request: str) -> str:
        """Profiles ``{"files": [{setting, role, name, path, delimiter, encoding, …}]}``.

        Returns ``{"files": […], "problems": […], "transient": do all problems pass by themselves?}``: each file as it was asked for, with what was found. A path of several
        files becomes one entry each, named ``<name>/<path below what they share>``; ``k`` is a file's position, the
        original's is 0.
        """
        files: list[dict[str, Any]] = []
        problems: list[str] = []
        causes: list[FileProblem] = []
        asked: list[tuple[places.Place, dict[str, Any], dict[str, Any]]] = []
        for wanted in json.loads(request)["files"]:
            try:
                found = self.places_of(wanted["path"])
                if wanted["role"] == "original" and len(found) > 1:
                    raise FileProblem(
                        f"'{wanted['path']}' means {len(found)} files; a merge has one original"
                    )
            except FileProblem as problem:
                place = "" if wanted["role"] == "assertions" else ".path"
                problems.append(f"{wanted['setting']}{place}: {problem}")
                causes.append(problem)
                continue
            levels = zip(*(place.shown.split("/")[:-1] for place in found), strict=False)
            shared = "/".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))
            for place in found:
                entry = dict(
                    wanted, vendor=wanted["name"], k=len(asked), path=str(place.path), shown=place.shown
                )
                if len(found) > 1:
                    entry["name"] += "/" + place.shown[len(shared) :].lstrip("/")
                asked.append((place, wanted, entry))
        # hashing and counting leave Python to other threads most of the time
        with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 4)) as threads:
            profiles_of = [threads.submit(self.profile_once, place, wanted) for place, wanted, _ in asked]
            for (_, wanted, entry), profiled in zip(asked, profiles_of, strict=True):
                try:
                    files.append(entry | profiled.result())
                except FileProblem as problem:
                    problems.append(f"{wanted['setting']}: {problem}")
                    causes.append(problem)
        # one problem that stays makes waiting for the others useless
        transient = bool(causes) and all(problem.transient for problem in causes)
        return json.dumps(
            {
                "files": files,
                "problems": problems,
                "transient": transient,
                "directory": str(self.directory),
            }
        )

    def places_of(self, path: str) -> list[places.Place]:
        """Finds the files of a path, once per run."""
        if path not in self.found:
            self.found[path] = places.find(path, PROJECT, self.directory / ".crm-merge" / "inputs")
        return self.found[path]

    def profile_once(self, place: places.Place, wanted: dict[str, Any]) -> dict[str, Any]:
        """Profiles a file once per run."""
        declared = {name: wanted[name] for name in DECLARED if wanted.get(name) is not None}
        key = json.dumps([str(place.path), place.partitions, declared])
        if key not in self.profiled:
            self.profiled[key] = profiles.profile(
                declared | {"path": place.path, "partitions": place.partitions}
            )
        return json.loads(json.dumps(self.profiled[key]))

    def crm_files_copy(self, request: str) -> str:
        """Writes the copy of ``{"file": an entry of crm_files_profile, "to", "rejects_to"}``; returns its problem or ''."""
        wanted = json.loads(request)
        file = wanted["file"]
        try:
            profiles.copy(file, Path(file["path"]), file, Path(wanted["to"]), Path(wanted["rejects_to"]))
        except FileProblem as problem:
            return str(problem)
        except OSError as error:
            return f"a copy of {Path(file['path']).name} can't be written to {wanted['to']}: {error.strerror}"
        return ""

    def crm_files_changed(self, request: str) -> str:
        """Returns the problems of the files (entries of crm_files_profile) that are not what they were."""
        problems = []
        for file in json.loads(request):
            try:
                same = profiles.fingerprint(Path(file["path"])) == file["fingerprint"]
                if "://" not in file["shown"]:
                    places.check_allowed(Path(file["path"]), file["shown"])
            except FileProblem:
                same = False
            if not same:
                problems.append(
                    f"{file['setting']}: {Path(file['path']).name} changed while it was read; run again when it is complete"
                )
        return json.dumps(problems)

    def crm_parts_cleared(self, name: str) -> str:
        """Removes the parts ``<name>.<anything>`` of a relation; returns ''."""
        for part in (self.directory / ".crm-merge" / "parts").glob(f"{name}.*"):
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        return ""

    def crm_disk_problems(self, request: str) -> str:
        """Returns the problems of ``{"merge", "spill", "result": bytes, "to": the folder of the result or null}``."""
        wanted = json.loads(request)
        # what an earlier run left is replaced
        folders = (self.directory / ".crm-merge" / name for name in ("landing", "parts"))
        there = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
        database = self.directory / "merge.duckdb"
        there += database.stat().st_size if database.exists() else 0
        # what goes to S3 is first written beside the merge
        local = wanted["to"] and "://" not in wanted["to"]
        result = Path(wanted["to"]) if local else self.directory / "out"
        return json.dumps(
            limits.disk_problems(
                [
                    ("the merge", self.directory, max(wanted["merge"] - there, 0)),
                    ("spilling", limits.spill_folder(self.directory), wanted["spill"]),
                    ("the result", result, wanted["result"]),
                ]
            )
        )

    def crm_place_problem(self, url: str) -> str:
        """Returns what is wrong with a place that a result may be put to, a folder or s3://bucket/prefix, or ''."""
        try:
            storage.at(url)
        except FileProblem as problem:
            return str(problem)
        return ""

    def crm_project_number(self, nothing: str) -> str:
        """Returns a hash of what a merge is made by: models, macros, reference seeds, readers, DuckDB."""
        found = hashlib.sha256(duckdb.__version__.encode())
        for pattern in (
            "models/**/*.sql",
            "macros/**/*.sql",
            "seeds/reference/*.csv",
            "crm_merge/reading/*.py",
            "crm_merge/plan/*.py",
        ):
            for file in sorted(PROJECT.glob(pattern)):
                found.update(str(file.relative_to(PROJECT)).encode() + b"\0" + file.read_bytes())
        return found.hexdigest()
