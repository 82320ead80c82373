"""The dbt-duckdb plugin: the plan of a merge, what SQL can't do to the bytes of a file and to international domains, and nothing else.

Functions become callable from SQL, from text to text, most of them JSON:

``crm_plan(request)``
    Returns the plan of the merge (engine.planning), or what is wrong with its spec or files.
``crm_rules(request)``
    Says which rules of phone numbers or domains few cells can need (engine.rules).
``crm_parts(request)``
    Returns how many parts there are of a kind, by what was measured (plan.parts).
``crm_files_copy(request)``
    Writes the copy of a file that DuckDB reads where it can't read the file itself.
``crm_files_changed(nothing)``
    Says which files of the plan are no longer what was profiled.
``crm_landing_begun(request)``, ``crm_landing_files(request)``, ``crm_landing_misread(request)``
    Which files a statement lands, and what was read of them (engine.landings).
``crm_landing_cleared(beginning)``
    Removes what was landed: rows, rejects and keys, or files whose names begin so.
``crm_plan_landed(request)``
    Writes the plan, and what it says of files and columns, beside the landed files.
``crm_disk_problems(request)``
    Says where there is too little room on a disk for the merge.
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
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt_common.exceptions import DbtRuntimeError

from crm_merge import PROJECT
from crm_merge.engine import landings, limits, planning, rules, words
from crm_merge.engine.international import register_international
from crm_merge.plan import parts
from crm_merge.plan.model import Unfit, Widths
from crm_merge.reading import inputs
from crm_merge.spec.check import WrongSpec
from crm_merge.spec.names import of_macros


class Plugin(BasePlugin):
    """Registers the functions, and makes the merge directory before DuckDB opens its file there."""

    frozen = False  # once per process: another run in it would freeze what the one before has left behind

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Checks the environment and makes the merge directory."""
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
        self.inputs = inputs.Inputs(PROJECT, self.directory / ".crm-merge" / "inputs")
        self.landings = landings.Landings({}, self.directory / ".crm-merge" / "landing")

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
            self.crm_plan,
            self.crm_rules,
            self.crm_parts,
            self.crm_files_copy,
            self.crm_files_changed,
            self.crm_parts_cleared,
            self.crm_disk_problems,
            self.crm_project_number,
            self.crm_landing_cleared,
            self.crm_plan_landed,
        ):
            conn.create_function(function.__name__, function, ["VARCHAR"], "VARCHAR", side_effects=True)
        self.landings.register(conn)
        register_international(conn)

    def crm_plan(self, request: str) -> str:
        """Plans ``{"spec", "macros": names of macros, "lists": what those say that list strategies}``.

        Returns ``{"plan"}``, or ``{"title", "problems", "transient": do all problems pass by themselves?}``. The plan that the process
        which started dbt has made already is taken, if it is of this spec.
        """
        asked = json.loads(request)
        if kept := planning.kept(asked["spec"]):
            self.landings.plan = json.loads(kept)
            return f'{{"plan": {kept}}}'
        try:
            names = of_macros(asked["macros"], asked["lists"])
            plan = planning.plan_of(asked["spec"], self.directory, names, self.inputs)
        except WrongSpec as wrong:
            said = [mistake.sentence() for mistake in wrong.mistakes]
            return json.dumps({"title": planning.NOT_USABLE, "problems": said, "transient": False})
        except Unfit as unfit:
            return json.dumps(
                {"title": unfit.title, "problems": unfit.problems, "transient": unfit.transient}
            )
        text = planning.as_json(plan)
        self.landings.plan = json.loads(text)
        return f'{{"plan": {text}}}'

    def crm_rules(self, request: str) -> str:
        """Returns the rules that cells can need, null for all, of what engine.rules is asked."""
        asked = json.loads(request)
        if asked["most"] > rules.FEW:
            return "null"
        # a folder of its own to spill to: a connection that closes removes what is spilled in its folder
        with words.opened(self.directory / ".crm-merge" / "rules") as connection:
            return json.dumps(rules.needed(asked, words.Words(connection, {})))

    def crm_parts(self, request: str) -> str:
        """Counts the parts of ``{"kind", "measured", "widths": those of the plan}``; returns ``{"n", "firsts"}``."""
        asked = json.loads(request)
        widths, measured = Widths(**asked["widths"]), asked["measured"]
        if asked["kind"] == "disputes":
            found = parts.disputes(widths, measured["entity_parts"], measured)
        elif asked["kind"] == "entities":
            found = parts.entities(widths, measured["files"], measured)
        else:
            found = parts.without_a_large_one(widths, measured["n"], measured["largest"])
        return json.dumps(found)

    def crm_files_copy(self, request: str) -> str:
        """Writes the copy of ``{"file": one of the plan, "to", "rejects_to"}``; returns its problem or ''."""
        return inputs.copied_as_asked(request)

    def crm_files_changed(self, nothing: str) -> str:
        """Returns the problems of files of the plan that are not what they were."""
        return json.dumps(inputs.changed(self.landings.plan["files"]))

    def crm_landing_cleared(self, beginning: str) -> str:
        """Removes what was landed before, or what begins so; returns ''."""
        landings.clear(self.landings.folder, beginning)
        return ""

    def crm_plan_landed(self, request: str) -> str:
        """Writes the plan with ``{"spec": number, "references": values of seeds that models ask for, "fell_back": files that are read row by row}``;
        returns ''."""
        asked, plan = json.loads(request), dict(self.landings.plan)
        plan["files"] = [
            file | ({"way": "rewrite"} if file["k"] in asked["fell_back"] else {}) for file in plan["files"]
        ]
        landed = {"spec": asked["spec"], "plan": plan | {"references": asked["references"]}}
        landings.write_tables(plan, self.landings.folder, landed)
        return ""

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

    def crm_project_number(self, nothing: str) -> str:
        """Returns a hash of what a merge is made by: models, macros, reference seeds, the Python that reads, plans and lands, DuckDB."""
        found = hashlib.sha256(duckdb.__version__.encode())
        for pattern in (
            "models/**/*.sql",
            "macros/**/*.sql",
            "seeds/reference/*.csv",
            "crm_merge/reading/*.py",
            "crm_merge/spec/*.py",
            "crm_merge/engine/*.py",
            "crm_merge/plan/*.py",
            "crm_merge/*.py",
        ):
            for file in sorted(PROJECT.glob(pattern)):
                found.update(str(file.relative_to(PROJECT)).encode() + b"\0" + file.read_bytes())
        return found.hexdigest()
