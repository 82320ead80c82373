"""Makes the one plan of a merge, for whoever needs it: the spec checked, its files read, the two held against each other."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import duckdb

from crm_merge import PROJECT, reference
from crm_merge.engine import limits
from crm_merge.engine.words import Words, opened
from crm_merge.plan.make import Machine, made
from crm_merge.plan.model import Plan, Unfit
from crm_merge.plan.parts import ALL_ROWS
from crm_merge.reading import FileProblem, storage
from crm_merge.reading.inputs import Inputs
from crm_merge.spec.check import WrongSpec, checked
from crm_merge.spec.mistakes import Mistake
from crm_merge.spec.names import Names, of_project
from crm_merge.spec.settings import File, Spec

PLAN = "CRM_MERGE_PLAN"  # the environment variable that names the file of a plan
NOT_FIT = "The merge spec does not fit the files."
NOT_KEPT = "The plan can not be kept."
NOT_USABLE = "The merge spec can not be used."


def plan_of(written: Any, directory: Path, names: Names | None = None, inputs: Inputs | None = None) -> Plan:
    """Returns the plan of a spec as it was written, for a merge directory.

    Raises WrongSpec for a wrong spec, and Unfit where its files can't be read or do not fit it. ``names`` are those of strategies and key
    types, ``inputs`` what is known of the files already.
    """
    names = names or of_project()
    spec = usable(written, names)
    inputs = inputs or Inputs(PROJECT, directory / ".crm-merge" / "inputs")
    found = inputs.profiled(blocks_of(spec))
    if found.problems:
        raise Unfit("A file can not be read.", found.problems, found.transient)
    decisions = inputs.profiled(decisions_of(spec))
    if decisions.transient:
        raise Unfit("A file can not be read.", decisions.problems, True)
    plan = made(spec, found.files, decisions.files, names, machine(directory), decisions.problems)
    find_blocked_keys(plan, directory)
    return plan


def find_blocked_keys(plan: Plan, directory: Path) -> None:
    """Finds out what the entries of guards.blocked are as keys, which SQL alone says; raises Unfit for what is none.

    An address or a profile is no web site as well. E-mails are evidence for guards also where match_on does not name them.
    """
    guards, problems = plan.guards, []
    if not guards.blocked_texts:
        return
    tiers: list[dict[str, Any]] = [asdict(tier) for tier in plan.tiers]
    if not any(tier["label"] == "email" for tier in tiers):
        tiers.append({"kind": "email", "label": "email"})
    domains = [text for text in guards.blocked_texts if text.startswith("@")]
    entries = [text for text in guards.blocked_texts if not text.startswith("@")]
    with told_of_errors(), opened(directory) as connection:
        words = Words(connection, asdict(plan))
        of_domains = words.say(
            "texts_as_keys",
            [f"x{text}" for text in domains],
            [{"kind": "email", "label": "email"}],
            plan.region,
        )
        found = words.say("texts_as_keys", entries, tiers, plan.region)
    for text in domains:
        keys = of_domains.get(f"x{text}", {})
        if keys and " " not in text:
            guards.blocked_domains.append(keys["email"][0].split("@")[1])
        else:
            problems.append(
                f"guards.blocked: '{text}' is no domain of e-mail addresses. Accepted: @company.com"
            )
    for text in entries:
        if not found.get(text):
            labels = " or ".join(tier["label"] for tier in tiers)
            problems.append(
                f"guards.blocked: '{text}' is no valid {labels}. Accepted: a key value as it stands in a cell, or @company.com for every"
                " address there"
            )
    for keys in found.values():
        for label, values in keys.items():
            if not (label == "domain" and ("email" in keys or "linkedin" in keys)):
                guards.blocked.setdefault(label, []).extend(values)
    guards.blocked_texts = []
    if problems:
        raise Unfit(NOT_FIT, problems)


@contextmanager
def told_of_errors() -> Iterator[None]:
    """Makes an error of the engine one of guards.blocked: nothing else is asked of it here."""
    try:
        yield
    except duckdb.Error as error:
        raise Unfit(NOT_FIT, [f"guards.blocked: the engine can't read it: {error}"]) from None


def usable(written: Any, names: Names | None = None) -> Spec:
    """Returns the spec of what was written; raises WrongSpec."""
    mistakes: list[Mistake] = []
    try:
        spec = checked(written, names)
    except WrongSpec as wrong:
        mistakes = wrong.mistakes
    export = written.get("export") if isinstance(written, dict) else None
    to = export.get("to") if isinstance(export, dict) else None
    if isinstance(to, str) and to:
        try:
            storage.at(to)
        except FileProblem as problem:
            mistakes.append(Mistake(("export", "to"), str(problem)))
    if mistakes:
        raise WrongSpec(mistakes)
    return spec


def blocks_of(spec: Spec) -> list[dict[str, Any]]:
    """Returns what is asked of the original and the vendors' files."""
    blocks = [described(spec.original, "original", "original", "original", spec)]
    for number, file in enumerate(spec.enriched):
        blocks.append(described(file, "enriched", file.name, f"enriched[{number}]", spec))
    return blocks


def described(file: File, role: str, name: str, setting: str, spec: Spec) -> dict[str, Any]:
    """Returns what the spec says of a file, with what it is in the merge."""
    block = file.model_dump(exclude_unset=True) | {"role": role, "name": name, "setting": setting}
    if file.delimiter:
        block["delimiter"] = reference.DELIMITERS.get(file.delimiter, file.delimiter)
    return block | {"region": file.region or spec.region or None}


def decisions_of(spec: Spec) -> list[dict[str, Any]]:
    """Returns what is asked of the files of decisions."""
    several = len(spec.assertions) > 1
    return [
        {"path": path, "role": "assertions", "name": "assertions", "setting": f"assertions[{number}]" if several else "assertions"}
        for number, path in enumerate(spec.assertions)
    ]  # fmt: skip


def machine(directory: Path) -> Machine:
    """Returns what a plan has to know of where the merge is made."""
    limit = limits.own_memory(os.environ.get("DUCKDB_MEMORY_LIMIT", "500MB"))
    return Machine(
        str(directory),
        int(os.environ.get("DUCKDB_THREADS") or cores()),
        int(limits.in_bytes(limit)),
        int(os.environ.get("CRM_MERGE_PART_ROWS") or ALL_ROWS),
    )


def cores() -> int:
    """Returns how many cores this process may use, which are DuckDB's threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_json(plan: Plan) -> str:
    """Returns a plan as text, without what it says of each column of each file: of those its shapes tell."""
    told = replace(
        plan,
        headers=[],
        tiers=[replace(tier, columns={}) for tier in plan.tiers],
        evidence=[replace(tier, columns={}) for tier in plan.evidence],
    )
    return json.dumps(asdict(told), ensure_ascii=False)


def keep(plan: Plan, written: Any, directory: Path) -> Path:
    """Keeps a plan, with the spec that it is of, for the dbt process that is to build it; returns its file."""
    file = file_of(directory)
    part = file.with_suffix(".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(f'{{"spec": {json.dumps(written)}, "plan": {as_json(plan)}}}', encoding="utf-8")
        os.replace(part, file)
    except OSError as error:
        raise Unfit(
            NOT_KEPT, [f"the merge directory {directory} can't be written to: {error.strerror}"]
        ) from None
    return file


def file_of(directory: Path) -> Path:
    """Returns where the plan of a merge directory is kept."""
    return directory / ".crm-merge" / "plan.json"


def kept(written: Any) -> str | None:
    """Returns the plan, as text, that the process which started this one has made of a spec; None if there is none."""
    file = os.environ.get(PLAN)
    if not file:
        return None
    found = json.loads(Path(file).read_text(encoding="utf-8"))
    return json.dumps(found["plan"]) if found["spec"] == written else None
