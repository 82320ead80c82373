"""What `validate` and `upload` say of files before a merge: how they are read, what their columns mean, how many rows have a key. Every file is
read once, and nothing is merged; DuckDB works in this process, without dbt."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from crm_merge.engine import planning, rules
from crm_merge.engine.landings import Landings, files_of, write_tables
from crm_merge.engine.words import Refused, Words, opened
from crm_merge.plan.model import Unfit
from crm_merge.spec.check import WrongSpec


def described(plan: dict[str, Any], directory: Path, preview: int = 3) -> list[dict[str, Any]]:
    """Returns what there is to say of each file of a plan, in order.

    source, path, format, compression, encoding, dialect, line_ends, bytes, sha256, rows, rejected, examples, notes; problems (sentences);
    columns [{header, column, key}]; keys [{label, share: of rows with a key that is not blocked}]; preview (the first rows' cells).
    Raises words.Refused if decisions can't be followed.
    """
    folder = directory / ".crm-merge" / "landing"
    folder.mkdir(parents=True, exist_ok=True)
    with opened(directory) as connection:
        files = Files(plan, Landings(plan, folder), Words(connection, plan))
        files.landings.register(connection)
        write_tables(plan, folder)
        files.words.say("land_assertions")
        files.read()
        return [files.description(file, preview) for file in plan["files"]]


class Files:
    """The files of a plan, read as a merge reads them: of each its problems, its rows, and by a key's label its rows with one that is not blocked."""

    def __init__(self, plan: dict[str, Any], landings: Landings, words: Words):
        self.plan, self.landings, self.words = plan, landings, words
        self.problems: dict[int, list[str]] = {file["k"]: [] for file in plan["files"]}
        self.rows: dict[int, int] = {}
        self.with_key: dict[str, dict[int, int]] = {}
        self.maps = {k: shape["column_map"] for shape in plan["shapes"] for k in files_of(shape)}

    def read(self) -> None:
        """Reads all files: counts their rows, and those with a key."""
        reads = {shape["number"]: list(self.reads(shape)) for shape in self.plan["shapes"]}
        for read in (read for of_shape in reads.values() for read in of_shape):
            counted = "select cast(_merge_record // 4294967296 as int), count(*)"  # of names of ours, as all SQL here
            self.rows |= dict(self.words.query_rows(f"{counted} from {read} group by 1"))
        sources = {
            shape["number"]: self.source(shape, reads[shape["number"]])
            for shape in self.plan["shapes"]
            if reads[shape["number"]]
        }
        for cells in self.plan["cells"]:
            cells["shapes"] = [shape for shape in cells["shapes"] if shape["number"] in sources]
            if cells["shapes"]:
                self.find_keys(cells, sources)
        for tier in self.plan["tiers"]:
            self.with_key[tier["label"]] = self.rows_with_key(tier)

    def reads(self, shape: dict[str, Any]) -> Iterator[str]:
        """Yields SQL of the rows of a shape's files, with the number of each record; files that can't be copied to be read are left out."""
        shape["keeps_record"] = True
        for landing in shape["landings"]:
            for k in landing["files"]:
                file = self.plan["files"][k]
                begun = json.loads(
                    self.landings.crm_landing_begun(json.dumps({"file": k, "way": file["way"]}))
                )
                self.problems[k] += begun["problems"]
            landing["files"] = [k for k in landing["files"] if not self.problems[k]]
            if landing["files"]:
                first = self.plan["files"][landing["files"][0]]
                self.words.say("enter_landing", {"landing": landing["k"]}, first["k"])
                yield self.words.say("read_landing", first, shape, len(landing["files"]) > 1)

    def source(self, shape: dict[str, Any], reads: list[str]) -> str:
        """Returns SQL of the cells of a shape's files that may hold keys, with ``record``."""
        only: set[int] = set()
        for cells in self.plan["cells"]:
            for of_shape in cells["shapes"]:
                if of_shape["number"] == shape["number"]:
                    only.update(of_shape["countries"], (column["position"] for column in of_shape["columns"]))
        landed = (self.words.say("landed_rows", shape, self.plan, read, only) for read in reads)
        return f"(select *, _merge_record as record from ({' union all '.join(landed)}))"  # noqa: S608

    def find_keys(self, cells: dict[str, Any], sources: dict[int, str]) -> None:
        """Finds the keys of all cells of a type, into a table of its own."""
        self.plan["rules_known"] = None
        asked = self.words.say("rules_request", cells, self.plan, sources)
        self.plan["rules_known"] = rules.needed(asked, self.words)
        keys = self.words.say("cell_keys", cells, self.plan, sources)
        self.words.say(
            "run_statement",
            f"create temp table keys_{cells['name']} as select record, tiers, keys from ({keys})",  # noqa: S608
        )

    def rows_with_key(self, tier: dict[str, Any]) -> dict[int, int]:
        """Returns, by the number of a file, how many of its rows have a key of a tier that is not blocked."""
        kind = self.words.say("tier_kind", tier)
        free = self.words.say("blocked_as", kind, "key_value", self.plan["guards"], tier["label"])
        found: dict[int, int] = {}
        for cells in self.plan["cells"]:
            if cells["kind"] == kind and cells["shapes"]:
                rows = self.words.query_rows(
                    f"""
                    select cast(record // 4294967296 as int), count(distinct record)
                    from (select record, unnest(keys) as key_value from keys_{cells["name"]} where list_contains(tiers, {tier["tier"]}))
                    where {free} is null
                    group by 1
                    """  # noqa: S608
                )
                for k, n in rows:
                    found[k] = found.get(k, 0) + n
        return found

    def description(self, file: dict[str, Any], preview: int) -> dict[str, Any]:
        """Returns what there is to say of one file."""
        k, problems = file["k"], self.problems[file["k"]]
        tiers = [tier for tier in self.plan["tiers"] if tier["tier"] in file["tiers"]]
        parsed, rows = self.rows.get(k, 0), []
        if not problems:
            path = str(self.landings.copy_of(file)) if self.landings.is_copied(file) else file["path"]
            read = self.words.say("read_file", file, path)
            cells = ", ".join(f"c{place}" for place in range(1, len(file["header"]) + 1))
            rows = [list(row) for row in self.words.query_rows(f"select {cells} from {read} limit {preview}")]  # noqa: S608
            if file["reject_problem"]:
                problems.append(file["reject_problem"])
            elif parsed + file["rejected_rows"] != file["physical_rows"] and file["way"] == "rewrite":
                problems.append(
                    f"{file['setting']}: only {parsed} of {file['physical_rows']} rows can be read with certainty"
                )
        shares = {
            label: with_key.get(k, 0) / parsed if parsed else None
            for label, with_key in self.with_key.items()
        }
        of_profile = ("format", "compression", "encoding", "dialect", "line_ends", "bytes", "sha256", "notes")
        return {name: file[name] for name in of_profile} | {
            "source": file["name"], "path": file["shown"], "rows": file["physical_rows"], "rejected": file["rejected_rows"],
            "examples": file["first_rejects"], "problems": problems, "columns": json.loads(self.maps[k]),
            "keys": [{"label": tier["label"], "share": shares[tier["label"]]} for tier in tiers], "preview": rows,
        }  # fmt: skip


def looked_at(spec: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Returns what keeps the files of a spec from being described, as sentences, or what there is to say of each."""
    with tempfile.TemporaryDirectory(prefix="crm-merge-") as folder:
        try:
            plan = planning.plan_of(spec, Path(folder))
            return [], described(json.loads(planning.as_json(plan)), Path(folder))
        except WrongSpec as wrong:
            return [mistake.sentence() for mistake in wrong.mistakes], []
        except Unfit as unfit:
            return list(unfit.problems), []
        except Refused as refused:
            return list(refused.problems), []
        except duckdb.OutOfMemoryException as error:
            return [
                f"the memory limit is too small to read these files; give DUCKDB_MEMORY_LIMIT more: {error}"
            ], []
        except duckdb.Error as error:
            return [f"the engine can't read these files: {error}"], []
