"""The history of a home: one record for each merge run, to query while merges run.

A run is one small JSON file, ``history/2026-01/<key>.json``, named by its run and attempt and put there by rename, so any number of
processes record at once. ``compact`` folds the files of past months into one Parquet a month, ``history/2026-01.parquet``. What
comes later for such a month makes the next edition, ``2026-01-2.parquet``, which holds all of the month; an edition is never
changed, and the newest one counts.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import re
import resource
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from crm_merge.engine import dbt_run, limits
from crm_merge.engine.sql import sql_name, sql_text
from crm_merge.home.folders import HISTORY, HomeProblem, check_name
from crm_merge.merging import publish, steps
from crm_merge.reading.parquet import pattern

OUTCOMES = {
    "succeeded": "merged, every check passed, published",
    "failed": "ended by a problem of the spec, a file, a model or a check; nothing was published",
    "published_nothing": "merged, every check passed, but the result could not be published",
    "interrupted": "stopped from outside: a signal, a cancelled run, a machine that went down",
}
LONGEST = {"merge": 400, "run_id": 200, "problem": 300, "export_to": 1000}  # characters; of other texts SHORT
SHORT = 100
RECORD = 64_000  # bytes of a record's file at most; longer ones are none of ours
BATCH = 2_000  # records that are read at a time
REMOVED = 200  # files that are removed at a time: nothing is recorded meanwhile
OLD_EDITION = 3600  # seconds for which an edition stays after the next: a query may be reading it
OLD_PART = 86400  # seconds after which an unfinished file is one of a process that was killed
PATIENCE = 10  # seconds that a record waits for a compaction to remove files

MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])")
NAME = re.compile(r"[0-9a-f]{32}\.json")
EDITION = re.compile(r"(\d{4}-(?:0[1-9]|1[0-2]))(?:-([1-9]\d{0,5}))?\.parquet")
SECRET = re.compile(r"token|key|sig|secret|pass|pwd|auth|credential", re.IGNORECASE)
SETTING = re.compile(
    r"([\w-]{0,40}(?:token|secret|passw(?:or)?d|pwd|api_?key|access_?key(?:_?id)?|signature|credentials?|authorization)[\w-]{0,20}['\"]?\s{0,3}[=:]\s{0,3})"
    r"(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s,;&'\"]+)",
    re.IGNORECASE,
)
PLAIN = {
    "CRM_MERGE_DIR",
    "CRM_MERGE_HOME",
    "CRM_MERGE_INPUT_ROOTS",
    "CRM_MERGE_PART_ROWS",
    "CRM_MERGE_RESUME",
}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Entry:
    """One run of one merge: a row of the view ``merge_history``.

    | column | unit | |
    |---|---|---|
    | merge | | name of the spec, such as acme/weekly |
    | run_id, attempt | count | together they name a run once; attempts from 1 |
    | started_at, finished_at | UTC, ISO 8601 | 2026-01-31T23:59:59.000+00:00; as texts they sort by time |
    | outcome | | one of OUTCOMES |
    | resumed | | whether it went on from what an earlier run had finished |
    | seconds | seconds | of the whole run, publishing included |
    | rows | rows | of the original that could be read |
    | enriched_rows | rows | of all vendors' files that could be read |
    | matched_rows, match_rate | rows, 0 to 1 | of the original's |
    | rejected_rows | rows | of all files, that could not be read |
    | conflicts, changed_cells, net_new_people | cells, cells, people | as in merge_summary |
    | rows_per_second | rows / second | rows of all files, read or not, by seconds |
    | peak_memory_bytes | bytes | of the largest process of the run |
    | spill_bytes | bytes | written to spill at most; null if unknown |
    | checks_passed, checks_failed | checks | a check that warns has passed |
    | problem | | its first sentence, at most 300 characters, without credentials |
    | crm_merge_version, dbt_core_version, duckdb_version | | what ran |
    | spec_sha256 | hexadecimal | of the spec as JSON with sorted keys |
    | export_to | | where it was published |
    | bytes_out | bytes | of all published files but the manifest |

    Figures that a run did not come to are null.
    """

    merge: str
    run_id: str
    started_at: str
    finished_at: str
    outcome: str
    attempt: int = 1
    resumed: bool = False
    seconds: float = 0.0
    rows: int | None = None
    enriched_rows: int | None = None
    matched_rows: int | None = None
    match_rate: float | None = None
    rejected_rows: int | None = None
    conflicts: int | None = None
    changed_cells: int | None = None
    net_new_people: int | None = None
    rows_per_second: float | None = None
    peak_memory_bytes: int | None = None
    spill_bytes: int | None = None
    checks_passed: int | None = None
    checks_failed: int | None = None
    problem: str | None = None
    crm_merge_version: str | None = None
    dbt_core_version: str | None = None
    duckdb_version: str | None = None
    spec_sha256: str | None = None
    export_to: str | None = None
    bytes_out: int | None = None


KINDS = {part.name: str(part.type).split(" ")[0] for part in fields(Entry)}
NULLABLE = {part.name for part in fields(Entry) if "None" in str(part.type)}
SQL_TYPES = {"str": "VARCHAR", "int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN"}
COLUMNS = {name: SQL_TYPES[kind] for name, kind in KINDS.items()}
LIST = ", ".join(map(sql_name, COLUMNS))
NEEDED = {"merge", "run_id", "attempt", "started_at", "finished_at", "outcome"}  # what names a run


# -- A run as an entry --


def of_merge(
    directory: Path,
    manifest: dict[str, Any] | None,
    outcome: dbt_run.Outcome,
    *,
    merge: str,
    run_id: str,
    started_at: datetime,
    attempt: int = 1,
    finished_at: datetime | None = None,
    spill_bytes: int | None = None,
    export_to: str | None = None,
    problem: str | None = None,
    spec: dict[str, Any] | None = None,
) -> Entry:
    """Returns the entry of a merge whose checks all passed, with the figures in its directory's merge.duckdb.

    ``manifest`` is what ``publish.publish`` returned; None says that publishing failed (``problem`` and ``spec`` then say the
    rest). Times have a zone; without ``finished_at`` it is now. duckdb.Error if the database can't be read.
    """
    with publish.connect(directory) as connection:
        [found] = connection.execute(
            "select original_rows, enriched_rows, matched_rows, match_rate, rejected_rows, conflicts, changed_cells, net_new_people"
            " from merge_summary"
        ).fetchall()
        [[every_row]] = connection.execute("select sum(physical_rows) from file_summary").fetchall()
    figures = ("rows", "enriched_rows", "matched_rows", "match_rate", "rejected_rows", "conflicts", "changed_cells",
               "net_new_people")  # fmt: skip
    values: dict[str, Any] = {
        name: value if value is None else float(value) if name == "match_rate" else int(value)
        for name, value in zip(figures, found, strict=True)
    }
    export = (manifest or {}).get("spec", spec or {}).get("export") or {}
    entry = of_failure(
        outcome, merge=merge, run_id=run_id, started_at=started_at, attempt=attempt, finished_at=finished_at,
        spill_bytes=spill_bytes, problem=problem or "", spec=(manifest or {}).get("spec", spec),
    )  # fmt: skip
    values["outcome"] = "published_nothing" if manifest is None else "succeeded"
    if manifest is not None:
        values["bytes_out"] = sum(file["bytes"] for file in manifest["files"])
        place = without_credentials(str(export_to or export.get("to") or directory / "out"))
        values["export_to"] = CONTROL.sub(" ", place)[: LONGEST["export_to"]]
    if entry.seconds > 0:
        values["rows_per_second"] = round(int(every_row or 0) / entry.seconds, 3)
    return Entry(**(vars(entry) | values))


def of_failure(
    outcome: dbt_run.Outcome | None,
    *,
    merge: str,
    run_id: str,
    started_at: datetime,
    attempt: int = 1,
    finished_at: datetime | None = None,
    spill_bytes: int | None = None,
    problem: str | None = None,
    spec: dict[str, Any] | None = None,
    ended: str = "failed",
) -> Entry:
    """Returns the entry of a run that published nothing; ``ended`` is one of OUTCOMES.

    ``outcome`` is None if dbt was not run, as with a spec that can't be read. Without ``problem`` it is the outcome's first, or
    the first check that failed.
    """
    start, end = moment(started_at), moment(finished_at or datetime.now(timezone.utc))
    found = steps.checks(outcome) if outcome else []
    failed = [check["name"] for check in found if check["status"] not in ("pass", "warn")]
    if problem is None:
        problem = next(iter(outcome.problems), "") if outcome else ""
        if failed and not problem:
            problem = f"the check '{failed[0]}' failed"
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Entry(
        merge=merge,
        run_id=run_id,
        started_at=start,
        finished_at=end,
        outcome=ended,
        attempt=attempt,
        # dbt also says of a run that it had nothing to go on from
        resumed=bool(outcome and outcome.resumed and not outcome.resumed.startswith("from the start")),
        seconds=round(max(0.0, (_time(end) - _time(start)).total_seconds()), 3),
        peak_memory_bytes=max(outcome.peak_memory, own) if outcome and outcome.peak_memory else None,
        spill_bytes=spill_bytes,
        checks_passed=len(found) - len(failed) if outcome else None,
        checks_failed=len(failed) if outcome else None,
        problem=told(problem, LONGEST["problem"]) or None,
        crm_merge_version=version("crm-merge"),
        dbt_core_version=version("dbt-core"),
        duckdb_version=version("duckdb"),
        spec_sha256=spec_digest(spec) if spec is not None else None,
    )


def spec_digest(spec: dict[str, Any]) -> str:
    """Returns the sha256 of a spec: of its JSON with sorted keys, so that the order of settings does not count."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True, default=str).encode()).hexdigest()


def moment(time: datetime) -> str:
    """Returns a time as the history has it: UTC, ISO 8601, milliseconds. HomeProblem if it has no zone."""
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise HomeProblem(f"{time!r} is no time of a run; accepted: a datetime with a zone")
    return time.astimezone(timezone.utc).isoformat(timespec="milliseconds")


def told(text: str, most: int = 300) -> str:
    """Returns the first sentence of a text, at most ``most`` characters, without credentials or control characters."""
    text = CONTROL.sub(" ", without_credentials(text).strip().partition("\n")[0]).strip()
    text = text.encode("utf-8", "replace").decode()
    if found := re.match(r"(.+?[.!?])\s+[^a-z\s]", text):
        text = found[1]
    return text if len(text) <= most else text[: most - 1] + "…"


def without_credentials(text: str) -> str:
    """Returns the first 20,000 characters of a text without what may be a credential.

    Gone are the user and the query of a URL, values of settings that are called like secrets, access key ids, and every value of
    an environment variable that is called like a secret or that the query of a spec's URL may refer to (``CRM_MERGE_…``).
    """
    text = text[:20_000]
    for name, value in os.environ.items():
        secret = SECRET.search(name) or (name.startswith("CRM_MERGE_") and name not in PLAIN)
        if secret and len(value) >= 6:
            text = text.replace(value, "…")
    text = re.sub(r"([a-z][a-z0-9+.-]{0,20}://)[^/\s'\"@]*@", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"([a-z][a-z0-9+.-]{0,20}://[^\s?#'\"]*)[?#][^\s'\"]*", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}", "…", text)
    text = re.sub(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", r"\1 …", text, flags=re.IGNORECASE)
    return SETTING.sub(r"\1…", text)


# -- Writing --


def record(home: Path, entry: Entry) -> Path:
    """Adds an entry to the history of ``home``; returns its file. HomeProblem, before anything is written, if a value is not accepted.

    The file is there whole or not at all, and on disk when this returns. The same run and attempt given again replaces it.
    """
    entry = _checked(vars(entry))
    text = json.dumps(vars(entry), ensure_ascii=False) + "\n"
    history = Path(home) / HISTORY
    folder = history / entry.started_at[:7]
    key = hashlib.sha256(json.dumps([entry.run_id, entry.attempt]).encode()).hexdigest()[:32]
    target = folder / f"{key}.json"
    for left in range(20, -1, -1):
        staging = folder / f".{key}-{uuid.uuid4().hex}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with staging.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            with _removing(history, exclusive=False):
                os.replace(staging, target)
            for changed in (folder, history):
                _settle(changed)
            return target
        except FileNotFoundError:  # a compaction took the empty folder of the month away
            if not left:
                raise
        finally:
            staging.unlink(missing_ok=True)
    raise AssertionError


@contextmanager
def _removing(history: Path, exclusive: bool) -> Iterator[None]:
    """Keeps apart who puts a record's file in place and who removes one that is folded: it may be replaced in between."""
    with (history / ".lock").open("a") as lock:
        if exclusive:
            fcntl.flock(lock, fcntl.LOCK_EX)
        else:
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                with suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    break
                time.sleep(0.005)
            # a compaction that was stopped at this very place must not stop the merges; it removes next to nothing then
        yield


def _settle(folder: Path) -> None:
    """Waits until the names in a folder are safely on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != 22:  # EINVAL: the file system has no such thing
            raise
    finally:
        os.close(handle)


def _checked(values: dict[str, Any]) -> Entry:
    """Returns the entry of values whose types, sizes and words are accepted; HomeProblem if one is not."""
    clean: dict[str, Any] = {}
    for name, kind in KINDS.items():
        value = values.get(name)
        if value is None and name in NULLABLE:
            continue
        wrong = f"history: {name}: {str(value)[:80]!r} is not accepted; accepted: "
        if kind == "bool":
            if not isinstance(value, bool):
                raise HomeProblem(f"{wrong}true, false")
        elif kind == "str":
            most = LONGEST.get(name, SHORT)
            if not isinstance(value, str) or not value or len(value) > most:
                raise HomeProblem(f"{wrong}a text of 1 to {most} characters")
            if name != "merge":
                value = CONTROL.sub(" ", value).encode("utf-8", "replace").decode()
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise HomeProblem(f"{wrong}a number")
        elif kind == "int" and (value != int(value) or abs(value) >= 2**63):
            raise HomeProblem(f"{wrong}a whole number")
        clean[name] = int(value) if kind == "int" else float(value) if kind == "float" else value
    check_name(clean["merge"])
    if clean["outcome"] not in OUTCOMES:
        raise HomeProblem(
            f"history: outcome: {clean['outcome']!r} is not accepted; accepted: {', '.join(OUTCOMES)}"
        )
    for name in ("started_at", "finished_at"):
        clean[name] = moment(_time(clean[name]))
    if clean["attempt"] < 1:
        raise HomeProblem(f"history: attempt: {clean['attempt']} is not accepted; accepted: 1 or more")
    return Entry(**clean)


def _time(text: str) -> datetime:
    """Returns the time of an ISO text with a zone; HomeProblem if it is none."""
    try:
        found = datetime.fromisoformat(re.sub("Z$", "+00:00", text))
        return found.astimezone(timezone.utc) if found.tzinfo else datetime.fromisoformat("")
    except (ValueError, OverflowError):
        raise HomeProblem(
            f"history: {text!r} is not a time; accepted: ISO 8601 with a zone, such as 2026-01-31T23:59:59+00:00"
        ) from None


# -- Reading --


@dataclass
class History:
    """A connection with the view ``merge_history`` on all records of a home; ``refresh`` brings it up to date.

    ``unreadable`` has the files that are no records: half-written, damaged or of someone else. They are left alone.
    """

    home: Path
    connection: duckdb.DuckDBPyConnection = field(init=False)
    unreadable: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.connection = _connection()
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._bad: set[str] = set()
        self._editions: list[tuple[str, int, int]] | None = None
        self.refresh()

    def refresh(self) -> bool:
        """Reads what is new since the last time; says whether there is anything."""
        history = Path(self.home) / HISTORY
        # records first: a compaction in between puts them into a Parquet file that is then found
        now = dict(_records(history))
        gone = [name for name, state in self._seen.items() if now.get(name) != state]
        new = [name for name, state in now.items() if self._seen.get(name) != state]
        for batch in _batches(gone):
            self.connection.execute("delete from recent_files where file in (select unnest($1))", [batch])
        self._bad.difference_update(gone)
        for batch in _batches(new):
            self._bad.update(_load(self.connection, history, batch))
        self._seen = now
        found, bad = _editions(self.connection, history)
        self.unreadable = sorted([*self._bad, *bad])
        editions = [(path.name, state.st_ino, state.st_mtime_ns) for path in found for state in [path.stat()]]
        if editions != self._editions:
            self._editions = editions
            _make_view(self.connection, found)
            return True
        return bool(gone or new)


def connect(home: Path) -> duckdb.DuckDBPyConnection:
    """Opens a DuckDB connection, in memory, with the view ``merge_history``: a row per run and attempt, columns as in Entry.

    It holds what was recorded until now. An edition that it reads may be taken away an hour after a compaction: connect again then.
    """
    return History(Path(home)).connection


def rows(home: Path, merge: str | None = None, most: int = 100) -> list[Entry]:
    """Returns the last runs, of all merges or of one, the newest first (by finished_at)."""
    for left in (2, 1, 0):
        try:
            with connect(home) as connection:
                found = connection.execute(
                    f"select {LIST} from merge_history where $1 is null or merge = $1 {NEWEST} limit $2",  # noqa: S608
                    [merge, most],
                ).fetchall()
            return [Entry(*row) for row in found]
        except (duckdb.IOException, FileNotFoundError):  # an edition was taken away
            if not left:
                raise
    raise AssertionError


NEWEST = "order by finished_at desc, started_at desc, run_id, attempt desc"


def _connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        config={
            "memory_limit": limits.own_memory(os.environ.get("DUCKDB_MEMORY_LIMIT", "500MB")),
            "temp_directory": f"{tempfile.gettempdir()}/crm-merge-history-{uuid.uuid4().hex}",
            "autoinstall_known_extensions": False,
        }
    )
    columns = ", ".join(f"{sql_name(name)} {kind}" for name, kind in COLUMNS.items())
    connection.execute(f"create table recent_files ({columns}, file varchar)")
    return connection


def _batches(names: list[str], size: int = BATCH) -> Iterator[list[str]]:
    for start in range(0, len(names), size):
        yield names[start : start + size]


def _records(history: Path, month: str | None = None) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yields the name (2026-01/….json) and the state (inode, time, size) of every record's file."""
    for folder in [month] if month else _months(history):
        with suppress(OSError), os.scandir(history / folder) as found:
            for entry in found:
                if NAME.fullmatch(entry.name):
                    with suppress(FileNotFoundError):
                        state = entry.stat(follow_symlinks=False)
                        yield f"{folder}/{entry.name}", (state.st_ino, state.st_mtime_ns, state.st_size)


def _months(history: Path) -> list[str]:
    try:
        with os.scandir(history) as found:
            return sorted(
                e.name for e in found if MONTH.fullmatch(e.name) and e.is_dir(follow_symlinks=False)
            )
    except OSError:
        return []


def _load(connection: duckdb.DuckDBPyConnection, history: Path, names: list[str]) -> list[str]:
    """Puts the records of files into the table recent_files; returns those that hold none."""
    good, bad = [], []
    for name in names:
        try:
            good.append(vars(_read(history / name)) | {"file": name})
        except FileNotFoundError:
            continue  # folded in between
        except (OSError, ValueError, OverflowError, HomeProblem):
            bad.append(name)
    if good:
        shape = json.dumps([COLUMNS | {"file": "VARCHAR"}])
        connection.execute(
            f"insert into recent_files select unnest(from_json($1, {sql_text(shape)}), recursive := true)",
            [json.dumps(good)],
        )
    return bad


def _read(path: Path) -> Entry:
    """Returns the entry in a file; OSError, ValueError or HomeProblem if it holds none."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode) or state.st_size > RECORD:
            raise ValueError(f"{path} is no record")
        try:
            values = json.loads(file.read(RECORD + 1))
        except RecursionError:
            raise ValueError(f"{path} is no record") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} is no record")
    return _checked(values)


def _editions(connection: duckdb.DuckDBPyConnection, history: Path) -> tuple[list[Path], list[str]]:
    """Returns the Parquet file of each month, its newest edition that can be read, and the names of those that can't."""
    of_month: dict[str, list[tuple[int, str]]] = {}
    with suppress(OSError), os.scandir(history) as found:
        for entry in found:
            name = EDITION.fullmatch(entry.name)
            if name and entry.is_file(follow_symlinks=False):
                of_month.setdefault(name[1], []).append((int(name[2] or 1), entry.name))
    good: list[Path] = []
    bad: list[str] = []
    for _, editions in sorted(of_month.items()):
        for _, file in sorted(editions, reverse=True):
            if _is_ours(connection, history / file):
                good.append(history / file)
                break
            if (history / file).exists():
                bad.append(file)
    return good, bad


def _is_ours(connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
    """Says whether a Parquet file can be opened and has what names a run."""
    try:
        found = connection.execute(f"describe from {_parquet(path)}").fetchall()
    except duckdb.Error:
        return False
    return {row[0] for row in found} >= NEEDED


def _parquet(path: Path) -> str:
    return f"read_parquet({sql_text(pattern(path))}, hive_partitioning = false)"


def _folded(connection: duckdb.DuckDBPyConnection, paths: list[Path]) -> str:
    """Returns the query of all records in Parquet files; a column that an earlier crm-merge did not have is null."""
    queries = []
    for path in paths:
        there = {row[0] for row in connection.execute(f"describe from {_parquet(path)}").fetchall()}
        columns = ", ".join(
            f"try_cast({sql_name(name) if name in there else 'null'} as {kind}) as {sql_name(name)}"
            for name, kind in COLUMNS.items()
        )
        whole = " and ".join(f"{sql_name(name)} is not null" for name in sorted(NEEDED))
        queries.append(f"select {columns} from {_parquet(path)} where {whole}")  # noqa: S608
    empty = ", ".join(f"cast(null as {kind}) as {sql_name(name)}" for name, kind in COLUMNS.items())
    return " union all ".join(queries) or f"select {empty} where false"


# A run that was recorded in two months, or again while it was folded, is there once.
RECENT = f"""
select {LIST} from recent_files
qualify row_number() over (partition by run_id, attempt order by finished_at desc, file desc) = 1"""  # noqa: S608
SAME_RUN = "r.run_id = f.run_id and r.attempt = f.attempt"


def _make_view(connection: duckdb.DuckDBPyConnection, editions: list[Path]) -> None:
    connection.execute(f"create or replace view recent as {RECENT}")
    connection.execute(f"create or replace view folded as {_folded(connection, editions)}")
    connection.execute(f"""
        create or replace view merge_history as
        select {LIST} from recent
        union all
        select {LIST} from folded as f where not exists (from recent as r where {SAME_RUN})""")  # noqa: S608


# -- Folding --


@dataclass
class Compacted:
    """What a compaction did: the months it wrote, records in them that were small files, files removed, names left since they are no records."""

    months: list[str] = field(default_factory=list)
    records: int = 0
    removed: int = 0
    unreadable: list[str] = field(default_factory=list)


def compact(home: Path, now: datetime | None = None) -> Compacted:
    """Folds the small files of months before ``now``'s (UTC) into one Parquet file each.

    A record's file is removed only once its record is in a Parquet file that is on disk, so nothing is lost if this is killed;
    the next one goes on. Records may be added meanwhile. HomeProblem if another compaction is at work.
    """
    history = Path(home) / HISTORY
    done = Compacted()
    if not history.is_dir():
        return done
    with (history / ".compacting").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeProblem(f"another compaction is at work in {history}; wait for it") from None
        _tidy(history)
        this_month = moment(now or datetime.now(timezone.utc))[:7]
        for month in _months(history):
            if month < this_month:
                _fold(history, month, done)
    return done


def _fold(history: Path, month: str, done: Compacted) -> None:
    """Folds the small files of one month."""
    with _connection() as connection:
        found = dict(_records(history, month))
        for batch in _batches(list(found)):
            bad = _load(connection, history, batch)
            done.unreadable += bad
            for name in bad:
                del found[name]
        editions, _ = _editions(connection, history)
        _make_view(connection, editions)
        own = [path for path in editions if path.name.startswith(month)]
        others = [path for path in editions if path not in own]
        connection.execute(f"create view own as {_folded(connection, own)}")
        connection.execute(f"create view others as {_folded(connection, others)}")
        # a run that another month has already stays there
        connection.execute(f"""
            create table new as
            select {LIST} from recent as r where not exists (from others as f where {SAME_RUN})
            except select {LIST} from own""")  # noqa: S608
        [[count]] = connection.execute("select count(*) from new").fetchall()
        if count:
            _write_edition(connection, history, month)
            done.months.append(month)
            done.records += count
        done.removed += _remove_folded(history, found)
    with suppress(OSError):  # not empty: a record came, or something that is no record
        (history / month).rmdir()


def _write_edition(connection: duckdb.DuckDBPyConnection, history: Path, month: str) -> None:
    """Writes all of a month, ``own`` and ``new``, as its next edition, and waits until it is on disk."""
    taken = [
        int(m[2] or 1) for name in os.listdir(history) if (m := EDITION.fullmatch(name)) and m[1] == month
    ]
    number = max(taken, default=0) + 1
    target = history / (f"{month}.parquet" if number == 1 else f"{month}-{number}.parquet")
    staging = history / f".{month}-{uuid.uuid4().hex}.part"
    everything = f"select {LIST} from new union all select {LIST} from own as f where not exists (from new as r where {SAME_RUN})"  # noqa: S608
    try:
        connection.execute(
            f"copy (from ({everything}) order by started_at, run_id, attempt) to {sql_text(staging)} (format parquet, compression zstd)"
        )
        [[wanted]] = connection.execute(f"select count(*) from ({everything})").fetchall()  # noqa: S608
        [[there]] = connection.execute(f"select count(merge) from {_parquet(staging)}").fetchall()  # noqa: S608
        if there != wanted:
            raise OSError(f"{target}: {there} of {wanted} records were written; nothing was removed")
        publish.settle(staging)
        os.replace(staging, target)
        _settle(history)
    finally:
        staging.unlink(missing_ok=True)


def _remove_folded(history: Path, found: dict[str, tuple[int, int, int]]) -> int:
    """Removes files whose records are folded, but one that was replaced since it was read; returns how many."""
    removed = 0
    for batch in _batches(list(found), REMOVED):
        time.sleep(0.02 if removed else 0)  # for those who wait to record
        with _removing(history, exclusive=True):
            for name in batch:
                with suppress(FileNotFoundError):
                    state = os.stat(history / name, follow_symlinks=False)
                    if (state.st_ino, state.st_mtime_ns, state.st_size) == found[name]:
                        os.unlink(history / name)
                        removed += 1
    return removed


def _tidy(history: Path) -> None:
    """Removes unfinished files of processes that were killed, and editions of which there has been a newer one for an hour."""
    now = time.time()
    for folder in (history, *(history / month for month in _months(history))):
        with suppress(OSError), os.scandir(folder) as found:
            for entry in found:
                ours = re.fullmatch(r"\.[0-9a-f-]{30,80}\.part", entry.name)
                with suppress(FileNotFoundError):
                    if ours and entry.stat(follow_symlinks=False).st_mtime < now - OLD_PART:
                        os.unlink(entry.path)
    with _connection() as connection:
        newest = {path.name[:7]: path for path in _editions(connection, history)[0]}
        for path in history.iterdir():
            name = EDITION.fullmatch(path.name)
            last = newest.get(name[1]) if name else None
            newest_name = EDITION.fullmatch(last.name) if last else None
            if (
                not name
                or not last
                or not newest_name
                or path == last
                or int(name[2] or 1) > int(newest_name[2] or 1)
            ):
                continue
            # one that can't be read holds nothing of the newer one, so it is left for a person
            if last.stat().st_mtime < now - OLD_EDITION and _is_ours(connection, path):
                path.unlink()


# -- As a file --


def save(connection: duckdb.DuckDBPyConnection, path: Path, merge: str | None, most: int) -> None:
    """Writes the last runs as CSV, whole or not at all; a text that a spreadsheet would run gets an apostrophe (``publish.escape``).

    OSError if it can't be written.
    """
    staging = path.with_name(f".crm-merge-history-{uuid.uuid4().hex}")
    # a view takes no parameters
    wanted = "" if merge is None else f"where merge = {sql_text(merge)}"
    connection.execute(
        f"create or replace temp view last_runs as select {LIST} from merge_history {wanted} {NEWEST} limit {int(most)}"  # noqa: S608
    )
    try:
        staging.mkdir()
        file = publish.write(connection, staging, "last_runs", "csv", [], {"escape_formulas": True})
        publish.settle(staging / file)
        publish.put(staging / file, path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
