"""What lies where specs are dropped, and which merges are due because of it. Pure: Dagster's sensor asks, and does what this says.

A merge is due once for each state of its spec and files, and once for each tick of its cron. The state is that of the
spec's text and of every file that its paths mean: an ETag on S3; size, time and inode on a disk. What has no version, such as a
file at https://, counts by its name alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from crm_merge.home import folders
from crm_merge.merging import protect
from crm_merge.reading import FileProblem, NotThere, places, storage
from crm_merge.spec import yaml_file
from crm_merge.spec.check import schedule_mistakes
from crm_merge.spec.settings import DEFAULT_MINUTES, MOST_MINUTES

SUFFIXES = (".yml", ".yaml")
LONGEST_SPEC = 4_000_000  # bytes
MOST_SPECS, MOST_LISTED = 10_000, 200_000
FORGOTTEN = 90 * 86400.0  # seconds after which a spec that is gone is as one that never was
SETTLED = 5.0  # seconds that a file on a disk must have been left alone: nobody says when it is complete


class SpecMissing(Exception):
    """There is no spec of a name where specs are dropped; a sentence."""


@dataclass
class Dropped:
    """A spec as it was found: its name, what it is called in messages, the version of its text, and the spec or why it can't be read."""

    name: str
    shown: str
    version: str
    modified: float | None = None  # seconds since 1970; None where a file is complete as soon as it is there
    spec: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    may_pass: bool = False  # the problem may be gone though the file is the same


@dataclass
class State:
    """What a spec's files are now: {'original': {file: version}, 'enriched': …, 'assertions': …}, what it waits for, and what is wrong
    for good, as sentences."""

    files: dict[str, dict[str, str]] = field(default_factory=dict)
    waits: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Due:
    """A merge to run: why, the key that makes it one run however often it is asked for, its time limit in minutes, its files."""

    name: str
    key: str
    why: str
    minutes: float
    files: dict[str, dict[str, str]]


@dataclass
class Found:
    """What one look found: merges that are due, what others wait for, what to remember."""

    due: list[Due] = field(default_factory=list)
    waits: dict[str, list[str]] = field(default_factory=dict)
    memory: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Lying:
    """What lies where specs are dropped: the specs, {file: why} of those that are none, and {address: version} of every file there
    that a listing told of for free (S3; of the first MOST_LISTED)."""

    specs: list[Dropped] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def dropped(known: dict[str, Dropped]) -> Lying:
    """Returns what lies where specs are dropped. ``known``, by name, saves reading specs that did not change, and is renewed."""
    url = folders.specs()
    place = storage.at(url)
    lying = Lying()
    found: dict[str, Dropped] = {}
    for entry in place.list(() if place.remote else SUFFIXES):
        shown = f"{url.rstrip('/')}/{entry.name}"
        if place.remote and len(lying.versions) < MOST_LISTED:
            lying.versions[shown] = entry.version
        if not entry.name.lower().endswith(SUFFIXES):
            continue
        name = entry.name.rpartition(".")[0]
        if not entry.name.endswith(SUFFIXES):
            lying.refused[entry.name] = f"its name must end with {' or '.join(SUFFIXES)}, in small letters"
        elif wrong := name_problem(name):
            lying.refused[entry.name] = wrong
        elif name in found and entry.name.endswith(SUFFIXES[1]):
            lying.refused[entry.name] = f"{found[name].shown} is called '{name}' already"
        elif name not in found and len(found) == MOST_SPECS:
            lying.refused[entry.name] = f"there are more than {MOST_SPECS:,} specs"
        else:
            if name in found:
                lying.refused[found[name].shown.rpartition("/")[2]] = (
                    f"{shown} is called '{name}' as well, and goes first"
                )
            before = known.get(name)
            if before and before.version == entry.version and before.shown == shown and not before.may_pass:
                found[name] = before
            else:
                try:
                    found[name] = read(place, url, entry)
                except NotThere:  # it was taken away since it was listed
                    found.pop(name, None)
    known.clear()
    known.update(found)
    lying.specs = list(found.values())
    return lying


def name_problem(name: str) -> str:
    """Returns why a merge can't be called so, or ''."""
    if "..." in name:
        return f"'{name}' holds '...', by which Dagster names ranges; rename the file"
    try:
        folders.check_name(name)
    except folders.HomeProblem as problem:
        return str(problem)
    return ""


def read(place: storage.Place, url: str, entry: storage.Entry) -> Dropped:
    """Returns the spec of a file."""
    shown = f"{url.rstrip('/')}/{entry.name}"
    modified = None if place.remote else entry.modified.timestamp()
    spec = Dropped(entry.name.rpartition(".")[0], shown, entry.version, modified)
    try:
        text = text_of(place, entry)
        spec.spec = confined(
            yaml_file.anchored(yaml_file.written(text, shown), shown, shown.rpartition("/")[0]), shown
        )
        if "schedule" in spec.spec and (wrong := schedule_mistakes(spec.spec["schedule"])):
            spec.problem = yaml_file.told(wrong, shown, text)[0]
    except UnicodeDecodeError:
        spec.problem = f"{shown} is not UTF-8 text"
    except yaml_file.SpecProblem as problem:
        spec.problem = str(problem)
    except NotThere:
        raise
    except FileProblem as problem:
        if problem.transient:
            raise
        spec.problem, spec.may_pass = str(problem), True
    except Exception as error:  # one spec must not keep the others from being merged
        spec.problem = f"{shown} can't be used ({type(error).__name__}: {str(error)[:200]})"
    return spec


def confined(spec: dict[str, Any], shown: str) -> dict[str, Any]:
    """Returns a spec whose result goes where a spec that anyone may have dropped can send it: to S3, or below where specs are dropped.

    Without ``export.to`` the result goes beside the spec, to ``<spec>.out/``.
    """
    export = spec["export"] = spec.get("export") or {}
    if not isinstance(export, dict) or not isinstance(export.get("to") or "", str):
        return spec  # its run says what is wrong with it
    to = export["to"] = export.get("to") or shown.rpartition(".")[0] + ".out/"
    if "://" not in to:
        root = folders.specs()
        if "://" in root or not Path(to).resolve().is_relative_to(Path(root).resolve()):
            raise yaml_file.SpecProblem(
                f"{shown}: export.to: '{to}' is not where this deployment may write; accepted: s3://bucket/prefix/"
                + ("" if "://" in root else f", a folder below {root}")
            )
    for block in yaml_file.input_files(spec):
        if isinstance(block.get("path"), str) and protect.reads(block["path"], to):
            raise yaml_file.SpecProblem(
                f"{shown}: export.to: the result would lie in '{block['path']}', which is read, and each result would make the next merge due; "
                "accepted: a place outside of it, or a path that names the files"
            )
    return spec


def load(name: str) -> dict[str, Any]:
    """Returns the spec of a name; raises SpecMissing, yaml_file.SpecProblem or FileProblem."""
    url = folders.specs()
    place = storage.at(url)
    spec = read(place, url, found(place, url, name))
    if spec.problem:
        raise yaml_file.SpecProblem(spec.problem)
    return spec.spec


def address(name: str) -> str:
    """Returns the path or URL of the spec of a name; raises SpecMissing or FileProblem."""
    url = folders.specs()
    return f"{url.rstrip('/')}/{found(storage.at(url), url, name).name}"


def located(name: str, problems: list[str]) -> list[str]:
    """Returns what is wrong with the spec of a name, each with its place in the spec's file, as far as that can be read now."""
    url = folders.specs()
    try:
        place = storage.at(url)
        entry = found(place, url, name)
        text = text_of(place, entry)
    except (SpecMissing, FileProblem, UnicodeDecodeError):
        return problems
    return [yaml_file.located(problem, f"{url.rstrip('/')}/{entry.name}", text) for problem in problems]


def found(place: storage.Place, url: str, name: str) -> storage.Entry:
    """Returns the file of the spec of a name; raises SpecMissing or FileProblem."""
    for suffix in SUFFIXES:
        if folders.is_name(name) and (entry := place.entry(name + suffix)):
            return entry
    raise SpecMissing(f"there is no spec '{name}' in {url} (any more)")


def text_of(place: storage.Place, entry: storage.Entry) -> str:
    """Returns what stands in a spec's file."""
    return place.read(entry.name, LONGEST_SPEC).decode("utf-8-sig")


def state_of(spec: dict[str, Any], now: float, versions: dict[str, str]) -> State:
    """Returns the state of a spec's files: their versions (those in ``versions`` are known), and what is not there or not complete yet."""
    state = State()
    assertions = spec.get("assertions") or []
    wanted = [
        ("original", spec.get("original")),
        *(("enriched", block) for block in _list(spec.get("enriched"))),
    ]
    wanted += [
        ("assertions", {"path": path})
        for path in _list([assertions] if isinstance(assertions, str) else assertions)
    ]
    for role, block in wanted:
        path = block.get("path") if isinstance(block, dict) else None
        if not isinstance(path, str):
            continue  # its run says what is wrong with it
        if path in versions:
            state.files.setdefault(role, {})[path] = versions[path]
            continue
        try:
            for file, version, modified in places.listed(path):
                if is_fresh(modified, now):
                    state.waits.append(f"'{file}' is being written")
                state.files.setdefault(role, {})[file] = version
        except FileProblem as problem:
            may_come = isinstance(problem, NotThere) or problem.transient
            (state.waits if may_come else state.wrong).append(str(problem))
        except Exception as error:  # its run says what is wrong with it; the other specs go on
            state.wrong.append(f"{type(error).__name__}: {str(error)[:200]}")
    return state


def is_fresh(modified: float | None, now: float) -> bool:
    """Says whether a file on a disk was written just now, so that it may not be complete."""
    return modified is not None and 0 <= now - modified < SETTLED


def look(lying: Lying, memory: dict[str, dict[str, Any]], now: datetime) -> Found:
    """Returns which merges are due, given what was remembered of each at the last look."""
    found = Found()
    for spec in lying.specs:
        before = memory.get(spec.name, {})
        after = dict(before)
        found.memory[spec.name] = after
        after.pop("gone", None)
        state = State() if spec.problem else state_of(spec.spec, now.timestamp(), lying.versions)
        if is_fresh(spec.modified, now.timestamp()):
            state.waits.insert(0, f"'{spec.shown}' is being written")
        cron = None if spec.problem else spec.spec.get("schedule")
        tick = last_tick(cron, now)
        if tick is not None and before.get("tick") is not None and before.get("cron") == digest(cron):
            tick = max(tick, before["tick"])  # a clock that is put back does not undo a tick
            ticked = tick > before["tick"]
        else:
            ticked = False
        after["cron"] = digest(cron)
        # what is wrong for good makes it due, so that its run says so
        if state.waits and not state.wrong:
            # what it waits for makes it due when it is there; a tick is kept for then
            found.waits[spec.name] = state.waits
            if not ticked:
                after["tick"] = tick
            continue
        number = fingerprint(spec, state)
        changed = number != before.get("state")
        if changed or ticked:
            # a state may come back: what is counted tells it from when it was there before
            after["count"] = before.get("count", 0) + 1
            why = (
                f"its cron's tick of {datetime.fromtimestamp(tick, timezone.utc):%Y-%m-%d %H:%M} UTC"
                if not changed and tick is not None
                else "it is new" if "state" not in before else "its spec or a file has changed"
            )  # fmt: skip
            key = f"{spec.name}:{after['count']}:{number}" + (f":{int(tick)}" if ticked and tick else "")
            found.due.append(Due(spec.name, key, why, time_limit(spec.spec), state.files))
        after |= {"state": number, "tick": tick}
    # one that is gone may come back, as while it is uploaded anew: its count goes on
    for name, before in memory.items():
        if name not in found.memory and now.timestamp() - before.get("gone", now.timestamp()) < FORGOTTEN:
            found.memory[name] = {"gone": now.timestamp()} | before
    return found


def fingerprint(spec: Dropped, state: State) -> str:
    """Returns the number of a spec's text and files."""
    return digest([spec.version, spec.problem, state.files, state.wrong])


def digest(value: Any) -> str:
    """Returns a short number of what JSON can hold."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def last_tick(schedule: Any, now: datetime) -> float | None:
    """Returns when a spec's cron was last due, in seconds since 1970; None without a cron, or for one that is none."""
    block = schedule if isinstance(schedule, dict) else {"cron": schedule}
    if not isinstance(block.get("cron"), str):
        return None
    try:
        zone = ZoneInfo(str(block.get("timezone") or "UTC"))
        # it goes backwards from the next minute, and gives up after some years
        ticks = CronSim(block["cron"].strip(), now.astimezone(zone), reverse=True)
        return next(ticks).timestamp()
    except (CronSimError, StopIteration, ZoneInfoNotFoundError, ValueError, OSError):
        return None


def time_limit(spec: dict[str, Any]) -> float:
    """Returns how many minutes a merge may take."""
    minutes = spec.get("time_limit_minutes", DEFAULT_MINUTES)
    is_number = isinstance(minutes, int | float) and not isinstance(minutes, bool)
    return float(minutes) if is_number and 0 < minutes <= MOST_MINUTES else float(DEFAULT_MINUTES)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
