"""What `validate` and `upload` say of files before a merge: how they are read, what their columns mean, how many rows have a key. Every file is
read once, and nothing is merged; DuckDB works in this process, without dbt."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb

from crm_merge.engine import phones, planning
from crm_merge.engine.words import Refused, Words, opened
from crm_merge.plan.model import Unfit
from crm_merge.spec.check import WrongSpec


def described(plan: dict[str, Any], directory: Path, preview: int = 3) -> list[dict[str, Any]]:
    """Returns what there is to say of each file of a plan, in order.

    source, path, format, compression, encoding, dialect, line_ends, bytes, sha256, rows, rejected, examples, notes; problems (sentences);
    columns [{header, column, key}]; keys [{label, share: of rows with a key that is not blocked}]; preview (the first rows' cells).
    Raises words.Refused if decisions can't be followed.
    """
    (directory / ".crm-merge" / "landing").mkdir(parents=True, exist_ok=True)
    with opened(directory) as connection:
        words = Words(connection, plan)
        words.say("land_assertions")
        return [of_file(file, plan, words, preview) for file in plan["files"]]


def of_file(file: dict[str, Any], plan: dict[str, Any], words: Words, preview: int) -> dict[str, Any]:
    """Returns what there is to say of one file."""
    problems: list[str] = []
    path = words.say("readable_path", file, plan, problems)
    tiers = [tier for tier in plan["tiers"] if file["k"] in tier["columns"]]
    shares: dict[str, Any] = {}
    rows: list[list[str | None]] = []
    if not problems:
        read = words.say("read_file", file, path)
        plan["phones_of_file"] = phones.rules(file, plan, read, words)
        parsed, shares = shares_of(file, plan, words, path, tiers)
        cells = ", ".join(f"c{place}" for place in range(1, len(file["header"]) + 1))
        rows = [list(row) for row in words.query_rows(f"select {cells} from {read} limit {preview}")]  # noqa: S608 -- made of names of ours
        if file["reject_problem"]:
            problems.append(file["reject_problem"])
        elif parsed + file["rejected_rows"] != file["physical_rows"] and file["way"] == "rewrite":
            problems.append(
                f"{file['setting']}: only {parsed} of {file['physical_rows']} rows can be read with certainty"
            )
    of_profile = ("format", "compression", "encoding", "dialect", "line_ends", "bytes", "sha256", "notes")
    return {name: file[name] for name in of_profile} | {
        "source": file["name"], "path": file["shown"], "rows": file["physical_rows"], "rejected": file["rejected_rows"],
        "examples": file["first_rejects"], "problems": problems, "columns": json.loads(file["column_map"]),
        "keys": [{"label": tier["label"], "share": shares.get(tier["label"])} for tier in tiers], "preview": rows,
    }  # fmt: skip


def shares_of(
    file: dict[str, Any], plan: dict[str, Any], words: Words, path: str, tiers: list[dict[str, Any]]
) -> tuple[int, dict[str, Any]]:
    """Returns how many rows of a file can be read, and by a key's label the share of them with a key that is not blocked."""
    kept = [f"_merge_keys_{tier['tier']}" for tier in tiers]
    counts = ["count(*)"]
    for tier, keys in zip(tiers, kept, strict=True):
        kind = words.say("tier_kind", tier)
        free = words.say("blocked_as", kind, "key_value", plan["guards"], tier["label"])
        counts.append(  # made of SQL and names of ours
            f"(select count(distinct n) from (select n, unnest({keys}) as key_value from landed) where {free} is null)"  # noqa: S608
        )
    columns = ", ".join(["row_number() over () as n", *kept])
    landed = words.say("landed_rows", file, plan, path)
    [found] = words.query_rows(
        f"with landed as materialized (select {columns} from ({landed})) select {', '.join(counts)} from landed"  # noqa: S608
    )
    parsed, *with_key = found
    shares = {tier["label"]: n / parsed if parsed else None for tier, n in zip(tiers, with_key, strict=True)}
    return parsed, shares


def looked_at(spec: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Returns what keeps the files of a spec from being described, as sentences, or what there is to say of each."""
    with tempfile.TemporaryDirectory(prefix="crm-merge-") as folder:
        try:
            plan = planning.plan_of(spec, Path(folder))
            return [], described(asdict(plan), Path(folder))
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
