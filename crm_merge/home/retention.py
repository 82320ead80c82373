"""What a home keeps: removes merge directories that are old, published copies that are superseded, and leftovers of killed runs.

A merge directory is removed under its own lock, and renamed first, so that no run can begin in what is half gone. Every path is
walked folder by folder from the home, without following a symlink, and nothing outside merges/ and published/ is touched.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from crm_merge.engine import limits
from crm_merge.home.folders import DEEPEST, HISTORY, MERGES, OWN, PUBLISHED, HomeProblem, is_name
from crm_merge.merging.lock import LOCK, MARKS

QUIET = 3600  # seconds without a change before an unfinished file counts as left over
DAY = 86400
TOMBSTONE = re.compile(r"\.removing-[0-9a-f]{32}")
STAGING = re.compile(r"\.publishing-[\w.-]{1,100}")
PART = re.compile(r".{0,200}\.part")
MANIFEST = "manifest.json"
# A published copy is named by its day, or by the id of its run; else only ``specs`` tells it from a merge of its own.
COPY = re.compile(r"\d{4}-?\d\d-?\d\d.*|[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.DOTALL)
SHARED_SPILL = re.compile(r"crm-merge-([0-9a-f]{12})")  # limits.spill_folder below a DUCKDB_TEMP_DIR
LONGEST_MANIFEST = 50_000_000  # bytes
# Whose times say when a merge directory was used last.
USED = (
    LOCK,
    "merge.duckdb",
    "logs",
    "target",
    "target_spark",
)  # not of folders from which a sweep takes leftovers
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Removed:
    """What was removed: its path below the home, its kind (merge, published copy, leftover), bytes of its files, why."""

    path: str
    kind: str
    size: int
    why: str


@dataclass(frozen=True)
class Kept:
    """What stays: its path below the home and why; ``told`` if a person should know, since it would have gone otherwise."""

    path: str
    why: str
    told: bool = False


@dataclass
class Swept:
    """What a sweep did, or would do: ``freed`` is the bytes of the files removed, a file with several names left out."""

    removed: list[Removed] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)

    @property
    def freed(self) -> int:
        """Bytes of all files removed."""
        return sum(item.size for item in self.removed)


@dataclass
class _Found:
    """A folder with a name of a merge: its path from merges/ or published/, when it was used last (Unix time)."""

    name: str
    used: float


def sweep(
    home: Path,
    keep_days: float,
    keep_runs: int,
    now: datetime,
    dry_run: bool = False,
    *,
    keep_latest: bool = True,
    specs: Iterable[str] | None = None,
) -> Swept:
    """Removes from a home what is old, superseded or left over; returns what was removed, what was kept, and why.

    - A merge directory goes if it was not used for ``keep_days``, or is not among the ``keep_runs`` that were used last. It stays
      while a run is at work in it, and, with ``keep_latest``, while it holds the only published result of a merge with a spec.
    - A published result is a folder with a manifest.json: ``published/<spec name>``, or ``published/<spec name>/<copy>``, where
      <copy> begins with a day or is a UUID, or ``specs`` is given and does not have it. A copy with a newer result beside it goes by the same two limits, counted for each merge. With ``keep_latest`` the last one stays.
    - A merge without a spec, by ``specs`` (names of all specs; None: every merge has one), keeps no last result by that rule.
    - Folders ``.publishing-*`` and ``.removing-*``, ``*.part`` files and spill folders (also in a DUCKDB_TEMP_DIR in the home) go if no run is at work in their merge, and
      but for ``.removing-*`` nothing in them has changed for an hour.

    ``now`` has a zone. With ``dry_run`` nothing is changed. If it is killed, the next one goes on. HomeProblem if a value is not
    accepted, there is no home, or another sweep is at work.
    """
    if not keep_days >= 0 or not keep_runs >= 0:
        raise HomeProblem(
            f"keep_days {keep_days!r}, keep_runs {keep_runs!r}: not accepted; accepted: 0 or more"
        )
    if now.tzinfo is None:
        raise HomeProblem(f"now: {now!r} has no zone; accepted: a datetime with one, such as UTC")
    try:
        place = Path(home).resolve()
        root = os.open(place, OPEN_FOLDER)
    except OSError as error:
        raise HomeProblem(f"there is no home '{home}': {error.strerror}") from None
    with ExitStack() as stack:
        stack.callback(os.close, root)
        alone = stack.enter_context(_locked(root, ".sweeping", make=not dry_run))
        if alone is None and not dry_run:
            raise HomeProblem(f"another sweep is at work in {home}; wait for it")
        return _Sweep(place, root, keep_days, keep_runs, now.timestamp(), dry_run, keep_latest, specs).run()


class _Sweep:
    """One sweep: its settings and what it found."""

    def __init__(
        self,
        place: Path,
        root: int,
        keep_days: float,
        keep_runs: int,
        now: float,
        dry_run: bool,
        keep_latest: bool,
        specs: Iterable[str] | None,
    ):
        self.place, self.root, self.now, self.dry_run = place, root, now, dry_run
        self.keep_days, self.keep_runs, self.keep_latest = keep_days, keep_runs, keep_latest
        self.specs = None if specs is None else frozenset(specs)
        self.swept = Swept()
        self.merges: dict[str, _Found] = {}
        self.inside: Counter[str] = Counter()  # merges or results below a path

    def run(self) -> Swept:
        """Sweeps leftovers, then merge directories, then published copies."""
        self.merges = {found.name: found for found in self.walk(MERGES)}
        published = {found.name: found for found in self.walk(PUBLISHED)}
        for top, names in ((MERGES, self.merges), (PUBLISHED, published)):
            for name in names:
                self.inside.update(_above(f"{top}/{name}"))
        copies = self.by_merge(published)
        for name in self.merges:
            self.sweep_merge_leftovers(name)
        self.sweep_shared_spill()
        newest = sorted(self.merges.values(), key=lambda found: (-found.used, found.name))
        for position, found in enumerate(newest):
            self.sweep_merge(found, position, copies)
        for merge, results in sorted(copies.items()):
            self.sweep_published(merge, results)
        return self.swept

    # -- What is there --

    def walk(self, top: str) -> Iterator[_Found]:
        """Yields the merge directories below merges/, or the results below published/; removes what killed sweeps left."""
        stack = [("", 0)]
        while stack:
            prefix, depth = stack.pop()
            with _folder(self.root, f"{top}/{prefix}".rstrip("/")) as folder:
                if folder is None:
                    self.note_link(f"{top}/{prefix}".rstrip("/"))
                    continue
                for entry in sorted(_entries(folder), key=lambda entry: entry[0]):
                    name, is_folder, is_link = entry
                    path = f"{prefix}/{name}".lstrip("/")
                    if TOMBSTONE.fullmatch(name) and is_folder:
                        self.remove(
                            f"{top}/{path}", "leftover", "a sweep that was killed left it", renamed=True
                        )
                    elif (top == PUBLISHED and is_folder and STAGING.fullmatch(name)) or (
                        top == PUBLISHED and not is_folder and not is_link and PART.fullmatch(name)
                    ):
                        self.sweep_unfinished(f"{top}/{path}", prefix)
                    elif is_link and is_name(path) and not _is_file(folder, name):
                        self.keep(f"{top}/{path}", "a symbolic link, which is not followed", told=True)
                    elif is_folder and is_name(path):
                        with _folder(folder, name) as inner:
                            if inner is None:
                                continue
                            marks = MARKS if top == MERGES else (MANIFEST,)
                            if any(_exists(inner, mark) for mark in marks):
                                yield _Found(path, self.used(inner, top))
                            # partitioned Parquet has a folder for each value, and is no merge
                        if depth + 1 < DEEPEST and not name.endswith(".parquet"):
                            stack.append((path, depth + 1))

    def note_link(self, path: str) -> None:
        """Says of merges/ or published/ itself that it is a symlink; that it is missing needs no word."""
        if "/" not in path and _is_link(self.root, path):
            self.keep(path, "a symbolic link, which is not followed", told=True)

    def used(self, folder: int, top: str) -> float:
        """Returns when a merge directory was used last, or a result finished."""
        if top == PUBLISHED and (finished := _finished(folder)) is not None:
            return min(finished, self.now)
        times = [os.fstat(folder).st_mtime] if top == PUBLISHED else []
        for name in (MANIFEST,) if top == PUBLISHED else USED:
            with suppress(OSError):
                times.append(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime)
        return min(max(times, default=self.now), self.now)

    def by_merge(self, published: dict[str, _Found]) -> dict[str, list[_Found]]:
        """Returns the results of each merge, the newest first. A folder below that of a known merge is a copy of it."""
        known = set(self.merges) | (self.specs or set())
        found: dict[str, list[_Found]] = {}
        for result in published.values():
            parent, _, last = result.name.rpartition("/")
            below = result.name not in known and parent and (parent in known or parent in published)
            copy = below and (self.specs is not None or COPY.fullmatch(last))
            found.setdefault(parent if copy else result.name, []).append(result)
        for results in found.values():
            results.sort(key=lambda result: (-result.used, result.name))
        return found

    def has_spec(self, merge: str) -> bool:
        """Says whether a merge still has a spec."""
        return self.specs is None or merge in self.specs

    def too_old(self, used: float, position: int) -> str:
        """Returns why something has to go, or ''."""
        days = (self.now - used) / DAY
        if days > self.keep_days:
            return f"not used for {days:.1f} days, more than {self.keep_days:g}"
        if position >= self.keep_runs:
            return f"not among the {self.keep_runs} newest"
        return ""

    def keep(self, path: str, why: str, told: bool = False) -> None:
        """Notes that something stays."""
        self.swept.kept.append(Kept(path, why, told))

    # -- What goes --

    def sweep_merge(self, found: _Found, position: int, copies: dict[str, list[_Found]]) -> None:
        """Removes a merge directory if it is too old and nothing speaks against it."""
        path = f"{MERGES}/{found.name}"
        why = self.too_old(found.used, position)
        if not why:
            self.keep(path, "recent")
            return
        if self.inside[path]:
            self.keep(path, f"{why}; but it holds the directory of another merge", told=True)
            return
        with self.lock_of(path) as locked:
            if not locked:
                self.keep(path, f"{why}; but a run is at work in it", told=True)
                return
            with _folder(self.root, path) as folder:
                if folder is None:
                    self.keep(path, f"{why}; but it is no folder any more", told=True)
                    return
                if self.used(folder, MERGES) > found.used:
                    self.keep(path, "a run was at work in it a moment ago")
                    return
                if any(
                    is_folder and name not in OWN and not name.startswith(".")
                    for name, is_folder, _ in _entries(folder)
                ):
                    self.keep(path, f"{why}; but it holds other folders than a merge's own", told=True)
                    return
                with _folder(folder, "out") as out:
                    others = copies.get(found.name)
                    finished = (
                        self.used(out, PUBLISHED) if out is not None and _exists(out, MANIFEST) else None
                    )
                    only_result = finished is not None and not (others and others[0].used >= finished)
                # still under its lock
                if only_result and self.keep_latest and self.has_spec(found.name):
                    self.keep(path, f"{why}; but it holds the last published result of the merge", told=True)
                elif self.remove(path, "merge", why):
                    self.inside.subtract(_above(path))
                    self.remove_empty_parents(path)

    def sweep_published(self, merge: str, results: list[_Found]) -> None:
        """Removes results of a merge that are superseded and too old; the last one only if it may go."""
        for position, result in enumerate(results):
            path = f"{PUBLISHED}/{result.name}"
            why = self.too_old(result.used, position)
            if not why:
                self.keep(path, "recent")
            elif position == 0 and self.keep_latest and self.has_spec(merge):
                self.keep(path, f"{why}; but it is the last published result of the merge", told=True)
            elif self.inside[path]:
                self.keep(path, f"{why}; but it holds other results", told=True)
            elif self.now - _changed(self.root, path) < QUIET:
                self.keep(path, f"{why}; but something in it changed within the last hour", told=True)
            else:
                with self.lock_of(f"{MERGES}/{merge}") as locked:
                    if not locked:
                        self.keep(path, f"{why}; but a run of its merge is at work", told=True)
                    elif self.remove(
                        path, "published copy", why if position == 0 else f"superseded and {why}"
                    ):
                        self.inside.subtract(_above(path))
                        self.remove_empty_parents(path)

    def sweep_merge_leftovers(self, name: str) -> None:
        """Removes what a killed run left in a merge directory."""
        path = f"{MERGES}/{name}"
        leftovers = []
        with _folder(self.root, path) as folder:
            if folder is None:
                return
            with _folder(folder, "out") as out:
                if out is not None:
                    leftovers += [
                        f"out/{n}"
                        for n, is_folder, _ in _entries(out)
                        if is_folder and (STAGING.fullmatch(n) or TOMBSTONE.fullmatch(n))
                    ]
                    leftovers += _parts(out, "out")
            with _folder(folder, ".crm-merge") as own:
                if own is not None:
                    for n, is_folder, _ in _entries(own):
                        if is_folder and (
                            n == "spill" or n.startswith("crm-merge-diff-") or TOMBSTONE.fullmatch(n)
                        ):
                            leftovers.append(f".crm-merge/{n}")
                        elif is_folder:
                            with _folder(own, n) as inner:
                                leftovers += _parts(inner, f".crm-merge/{n}") if inner is not None else []
                    leftovers += _parts(own, ".crm-merge")
        for leftover in leftovers:
            self.sweep_unfinished(f"{path}/{leftover}", name)

    def sweep_shared_spill(self) -> None:
        """Removes what killed runs spilled to a DUCKDB_TEMP_DIR that is in the home."""
        shared = os.environ.get("DUCKDB_TEMP_DIR")
        if not shared or self.place not in Path(shared).resolve().parents:
            return
        path = str(Path(shared).resolve().relative_to(self.place))
        if path.split("/")[0] in (MERGES, PUBLISHED, HISTORY):
            return
        owners = {limits.spill_folder(self.place / MERGES / name).name: name for name in self.merges}
        with _folder(self.root, path) as folder:
            for name, is_folder, _ in _entries(folder) if folder is not None else []:
                if is_folder and TOMBSTONE.fullmatch(name):
                    self.remove(f"{path}/{name}", "leftover", "a sweep that was killed left it", renamed=True)
                elif is_folder and SHARED_SPILL.fullmatch(name):
                    self.sweep_unfinished(
                        f"{path}/{name}", owners.get(name, ""), QUIET if name in owners else DAY
                    )

    def sweep_unfinished(self, path: str, merge: str, quiet: int = QUIET) -> None:
        """Removes an unfinished file or folder, unless its merge is at work or it was changed within ``quiet`` seconds."""
        with self.lock_of(f"{MERGES}/{merge}") as locked:
            if not locked:
                self.keep(path, "a run of its merge is at work")
            elif TOMBSTONE.fullmatch(path.rpartition("/")[2]):
                self.remove(path, "leftover", "a sweep that was killed left it", renamed=True)
            elif self.now - _changed(self.root, path) < quiet:
                self.keep(path, f"changed within {quiet // QUIET} hours: it may be at work elsewhere")
            else:
                self.remove(path, "leftover", "a run that was killed left it")

    @contextmanager
    def lock_of(self, path: str) -> Iterator[bool]:
        """Holds the lock of a merge directory, so that no run begins; False if a run, or a dbt of its own, is at work.

        True also where there is no merge directory, since no run is at work there.
        """
        with _folder(self.root, path) as folder:
            if folder is None:
                yield not _is_link(self.root, path)
                return
            with _locked(folder, LOCK, make=not self.dry_run) as lock:
                if lock is None and _exists(folder, LOCK):
                    yield False
                    return
                with _database_held(folder) as free:
                    yield free

    def remove(self, path: str, kind: str, why: str, renamed: bool = False) -> bool:
        """Removes a file or a folder, which is first renamed; says whether it is gone."""
        parent, _, name = path.rpartition("/")
        with _folder(self.root, parent) as folder:
            if folder is None:
                return False
            try:
                size = _size(folder, name)
                if not self.dry_run:
                    if not renamed and _is_folder(folder, name):
                        tombstone = f".removing-{uuid.uuid4().hex}"
                        os.rename(name, tombstone, src_dir_fd=folder, dst_dir_fd=folder)
                        name = tombstone
                    _remove(folder, name)
            except (OSError, RecursionError) as error:
                reason = error.strerror if isinstance(error, OSError) else "too many folders in one another"
                self.keep(path, f"{why}; but it can't be removed: {reason}", told=True)
                return False
        self.swept.removed.append(Removed(path, kind, size, why))
        return True

    def remove_empty_parents(self, path: str) -> None:
        """Removes the folders above, as far as they are empty; merges/ and published/ stay."""
        parts = path.split("/")[:-1]
        while len(parts) > 1 and not self.dry_run:
            with _folder(self.root, "/".join(parts[:-1])) as folder:
                if folder is None:
                    return
                try:
                    os.rmdir(parts[-1], dir_fd=folder)
                except OSError:
                    return
            parts.pop()


# -- Folders, without following a symlink --


@contextmanager
def _folder(start: int, path: str) -> Iterator[int | None]:
    """Opens a folder below an open one, part by part; None if a part is no folder, a symlink included."""
    handle = os.dup(start)
    try:
        for part in path.split("/"):
            try:
                inner = os.open(part, OPEN_FOLDER, dir_fd=handle)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES):
                    raise
                yield None
                return
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def _above(path: str) -> list[str]:
    """Returns the folders above a path, merges/ and published/ left out."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(2, len(parts))]


def _entries(folder: int) -> list[tuple[str, bool, bool]]:
    """Returns (name, is a folder, is a symlink) of what is in an open folder."""
    with os.scandir(folder) as found:
        return [(e.name, e.is_dir(follow_symlinks=False), e.is_symlink()) for e in found]


def _parts(folder: int, prefix: str) -> list[str]:
    """Returns the unfinished files in an open folder."""
    return [f"{prefix}/{name}" for name, is_folder, is_link in _entries(folder)
            if not is_folder and not is_link and PART.fullmatch(name)]  # fmt: skip


def _mode(folder: int, path: str) -> int:
    """Returns the kind of what is at a name in an open folder, 0 if nothing is."""
    try:
        return os.stat(path, dir_fd=folder, follow_symlinks=False).st_mode
    except OSError:
        return 0


def _exists(folder: int, name: str) -> bool:
    return _mode(folder, name) != 0


def _is_folder(folder: int, name: str) -> bool:
    return stat.S_ISDIR(_mode(folder, name))


def _is_link(folder: int, path: str) -> bool:
    return stat.S_ISLNK(_mode(folder, path))


def _is_file(folder: int, name: str) -> bool:
    """Says whether a name leads to a file, as a symlink to a result's file does."""
    with suppress(OSError):
        return stat.S_ISREG(os.stat(name, dir_fd=folder).st_mode)
    return False


def _finished(folder: int) -> float | None:
    """Returns when the result in an open folder finished, by its manifest; None if it does not say."""
    try:
        handle = os.open(MANIFEST, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode) or os.fstat(handle).st_size > LONGEST_MANIFEST:
                return None
            finished = datetime.fromisoformat(re.sub("Z$", "+00:00", json.load(file)["finished_at"]))
            return (finished if finished.tzinfo else finished.replace(tzinfo=timezone.utc)).timestamp()
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _tree(folder: int, name: str) -> Iterator[os.stat_result]:
    """Yields the state of a file, or of a folder and all in it."""
    state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    yield state
    if stat.S_ISDIR(state.st_mode):
        for _, folders, files, inner in os.fwalk(name, dir_fd=folder, follow_symlinks=False):
            for found in (*folders, *files):
                with suppress(FileNotFoundError):
                    yield os.stat(found, dir_fd=inner, follow_symlinks=False)


def _size(folder: int, name: str) -> int:
    """Returns the bytes of the files that are gone with a name: those with another name somewhere stay."""
    return sum(
        state.st_size for state in _tree(folder, name) if stat.S_ISREG(state.st_mode) and state.st_nlink == 1
    )


def _changed(root: int, path: str) -> float:
    """Returns when a file, or anything in a folder, was changed last; 0 if it is gone."""
    parent, _, name = path.rpartition("/")
    with _folder(root, parent) as folder, suppress(FileNotFoundError):
        return max(state.st_mtime for state in _tree(folder, name)) if folder is not None else 0.0
    return 0.0


def _remove(folder: int, name: str) -> None:
    """Removes a file or a folder with all in it; what another sweep removed is no problem."""
    if _is_folder(folder, name):
        for _, folders, files, inner in os.fwalk(name, topdown=False, dir_fd=folder, follow_symlinks=False):
            for found in files:
                with suppress(FileNotFoundError):
                    os.unlink(found, dir_fd=inner)
            for found in folders:
                with suppress(FileNotFoundError):
                    if _is_folder(inner, found):
                        os.rmdir(found, dir_fd=inner)
                    else:  # a symlink to a folder
                        os.unlink(found, dir_fd=inner)
        with suppress(FileNotFoundError):
            os.rmdir(name, dir_fd=folder)
    else:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


@contextmanager
def _locked(folder: int, name: str, make: bool) -> Iterator[int | None]:
    """Holds the lock file of an open folder; None if another holds it, it is no file, or is not there and not to be made."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_RDWR | os.O_CREAT if make else os.O_RDONLY)
    new = make and not _exists(folder, name)
    try:
        lock = os.open(name, flags, 0o666, dir_fd=folder)
        if new:
            os.utime(lock, (0, 0))  # its time is that of a merge's last use, and this is none
    except OSError:
        yield None
        return
    try:
        # to look is not to hold: a run that begins meanwhile is let in (home.held is patient)
        fcntl.flock(lock, (fcntl.LOCK_EX if make else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        yield lock if stat.S_ISREG(os.fstat(lock).st_mode) else None
    except BlockingIOError:
        yield None
    finally:
        os.close(lock)


@contextmanager
def _database_held(folder: int) -> Iterator[bool]:
    """Holds a merge's database against a dbt that was started by hand, which knows of no other lock; False if it is open."""
    try:
        database = os.open(
            "merge.duckdb", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder
        )
    except OSError:
        yield True
        return
    try:
        fcntl.lockf(database, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
        return
    else:
        yield True
    finally:
        os.close(database)
