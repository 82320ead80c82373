"""What publishing may write over: no input of the merge, and of the files that are there only its own earlier result.

A result is known by its manifest: the file stands in it with its bytes and sha256, and the manifest is of the same spec file. What
a run puts in place is noted in the merge directory as well, before the first rename: a run that is killed between two of them
leaves new files beside the old manifest, and the next run must know these too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from crm_merge.reading import FileProblem, places, storage

# Published beside merged_result, always as CSV: what people open, send on and import.
REPORTS = ["merge_changes", "unmatched_enriched", "vendor_scorecard", "review_queue"]
MANIFEST, PARQUET = "manifest.json", "merged_result.parquet"
# All that a merge may write or remove where it publishes.
PUBLISHED = ["merged_result.csv", PARQUET, *(f"{name}.csv" for name in REPORTS), "checks.csv", MANIFEST]
LARGEST_MANIFEST = 64_000_000  # bytes; one of 2,000 inputs has about a million
MOST_NOTED = 100_000  # files; more than ten times as many as a result may have
SAID = 5  # files that are named at once
# What a merge writes in its directory beside ``out`` while it works: folders, and files.
AT_WORK = (".crm-merge", "target", "target_spark", "logs")
DATABASE = ("merge.duckdb", "merge.duckdb.wal")
OF_NOBODY = (".DS_Store", "Thumbs.db", "desktop.ini")  # what file managers leave in folders


@dataclass(frozen=True)
class Input:
    """A file that a merge reads: the setting that names it, and what people call it."""

    setting: str
    shown: str


@dataclass(frozen=True)
class Entry:
    """A published file: its name below the place, its bytes and sha256, and where it was noted its times and its number on the disk."""

    name: str
    bytes: int
    sha256: str
    state: tuple[int, ...] | None = None


@dataclass
class Look:
    """What was found where a merge publishes: why it must not, each as a sentence that begins with the setting to change; and the
    files of its own earlier results."""

    problems: list[str] = field(default_factory=list)
    own: list[Entry] = field(default_factory=list)


def problems(directory: Path, spec: dict[str, Any], spec_file: str | None) -> list[str]:
    """Returns why a merge must not run, as ``look``."""
    return look(directory, spec, spec_file).problems


def look(directory: Path, spec: dict[str, Any], spec_file: str | None) -> Look:
    """Looks at what a merge would write over; changes nothing.

    ``spec_file`` is the spec's absolute path or URL, by which manifests know the merge, and is kept as an input is. What is wrong
    with the spec or a path itself is not said here: dbt says it. Raises FileProblem where S3 can't be asked.
    """
    to = export_to(spec)
    try:
        place = storage.at(to or str(directory / "out"))
    except FileProblem:
        return Look()
    local = [(Path(one.shown), one) for one in input_files(spec, remote=False)]
    if spec_file is not None and "://" not in spec_file:
        local.append((Path(spec_file), Input("", spec_file)))
    found = at_work(directory, local)
    if not found and to is not None:
        found = read_later(spec, place.url)
    if found:
        return Look(found[:SAID])
    if place.remote:
        return in_bucket(directory, spec, place, spec_file)
    inputs = {number: one for path, one in local if (number := number_of(path))}
    return in_folder(directory, spec, Path(place.url), inputs, spec_file)


def export_to(spec: dict[str, Any]) -> str | None:
    """Returns the ``export.to`` of a spec that may not be a valid one."""
    export = spec.get("export")
    to = export.get("to") if isinstance(export, dict) else None
    return to if isinstance(to, str) and to.strip() else None


# -- Inputs --


def named_inputs(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields (setting, path) of everything that a spec reads, as far as it is written as it should be."""
    enriched, assertions = spec.get("enriched"), spec.get("assertions")
    blocks = [("original", spec.get("original"))]
    if isinstance(enriched, list):
        blocks += [(f"enriched[{k}]", block) for k, block in enumerate(enriched)]
    for setting, block in blocks:
        if isinstance(block, dict) and isinstance(block.get("path"), str):
            yield f"{setting}.path", block["path"]
    for path in assertions if isinstance(assertions, list) else [assertions]:
        if isinstance(path, str):
            yield "assertions", path


def input_files(spec: dict[str, Any], remote: bool) -> Iterator[Input]:
    """Yields the files that the spec's paths mean now, those on S3 or those on this disk; raises FileProblem if S3 does not answer now."""
    for setting, path in named_inputs(spec):
        scheme, separator, _ = path.strip().partition("://")
        if remote != bool(separator) or (remote and scheme.lower() != "s3"):
            continue
        try:
            found = places.listed(path)
        except FileProblem as problem:
            if problem.transient:
                raise
            continue
        for shown, _, _ in found:
            yield Input(setting, shown)


def number_of(path: Path) -> tuple[int, int] | None:
    """Returns disk and number of the file that a path leads to: they tell that two paths are one file, by whatever links."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def own_file(directory: Path, path: Path) -> bool:
    """Says whether a path leads to what a merge writes and removes in its directory while it works."""
    real, own = Path(os.path.realpath(path)), Path(os.path.realpath(directory))
    return any(real.is_relative_to(own / name) for name in (*AT_WORK, *DATABASE))


def at_work(directory: Path, inputs: list[tuple[Path, Input]]) -> list[str]:
    """Returns what a merge would write over in its own directory, before it publishes anything."""
    names = ("merge.duckdb", "target/manifest.json", "logs/dbt.log")
    taken = [directory / name for name in names if os.path.lexists(directory / name)]
    if taken and not is_merge_directory(directory):
        return [
            f"'{taken[0]}' is there already, and {directory} is no merge's directory, so the file would be written over;"
            " use another --dir"
        ]
    return [
        f"{called(one)} lies where this merge keeps its own files, {directory}, so the run would write over it or remove it;"
        " copy it elsewhere, or use another --dir"
        for path, one in inputs
        if own_file(directory, path)
    ]


def is_merge_directory(directory: Path) -> bool:
    """Says whether a merge has worked in a directory."""
    return (directory / ".crm-merge").is_dir() or as_manifest(
        content_of(directory / "out" / MANIFEST)
    ) is not None


def called(one: Input) -> str:
    """Returns how a message begins that is about an input: its setting and what it is called; the spec itself has no setting."""
    return f"{one.setting}: '{one.shown}'" if one.setting else f"the spec '{one.shown}'"


def read_later(spec: dict[str, Any], to: str) -> list[str]:
    """Returns the inputs whose folder or glob would mean what is published, so that the next run would read it."""
    return [
        f"export.to: the result would lie in '{path}', which is read ({setting}), so that the next merge would take it for an input;"
        " name another folder, or name the files that are read"
        for setting, path in named_inputs(spec)
        if not is_file(path) and reads(path, to)
    ]


def is_file(path: str) -> bool:
    """Says whether a path names one file: that it would be written over is said of the file."""
    if "://" in path:
        return not path.endswith("/") and not re.search(r"[*?[]", path)
    return os.path.isfile(path)


def reads(path: str, to: str) -> bool:
    """Says whether an input's path, a folder or a glob, means the files below the folder that the result goes to."""
    wanted, folder = path.rstrip("/").split("/"), to.rstrip("/").split("/")
    if "**" in wanted:
        wanted = wanted[: wanted.index("**")]
    # a glob may mean folders, and a folder all that is below it
    return len(folder) >= len(wanted) - 1 and any(
        all(fnmatchcase(part, pattern) for part, pattern in zip([*folder, name], wanted, strict=False))
        for name in PUBLISHED
    )


def of_another(directory: Path, spec_file: str) -> str:
    """Returns the spec file whose result a merge directory holds, if it is another one that is there; else ''."""
    manifest = as_manifest(content_of(directory / "out" / MANIFEST)) or {}
    other = manifest.get("spec_file")
    return other if isinstance(other, str) and other != spec_file and os.path.isfile(other) else ""


# -- What is known of earlier results --


class Known:
    """What earlier runs of a merge have put in place: by the manifest that is there, and by the note in the merge directory."""

    def __init__(
        self,
        directory: Path,
        spec: dict[str, Any],
        spec_file: str | None,
        content: bytes | None,
        at_home: bool,
    ):
        self.manifest = as_manifest(content)
        self.is_own = self.manifest is not None and (at_home or is_of(self.manifest, spec, spec_file))
        own = described_files(self.manifest) if self.manifest and self.is_own else []
        self.entries: dict[str, list[Entry]] = {}
        for entry in [*own, *noted(directory)]:
            self.entries.setdefault(entry.name, []).append(entry)

    def own(self) -> list[Entry]:
        """Returns all of it."""
        return [entry for entries in self.entries.values() for entry in entries]

    def why(self, name: str) -> str:
        """Returns what a file that is there is instead of a result of this merge."""
        if name in self.entries:
            return "is not as this merge has published it"
        if self.manifest is not None and not self.is_own:
            other = self.manifest.get("spec_file")
            return f"is the result of another merge{f', of {str(other)[:200]!r}' if other else ''}"
        if name == MANIFEST:
            return "is no manifest of a merge"
        return f"is no result of this merge, whose {MANIFEST} would name it"


def is_of(manifest: dict[str, Any], spec: dict[str, Any], spec_file: str | None) -> bool:
    """Says whether a manifest is of a spec file. Those of earlier versions name none: they are if the CRM's file is the same."""
    if manifest.get("spec_file") and spec_file:
        return manifest["spec_file"] == spec_file
    then, now = manifest["spec"].get("original"), spec.get("original")
    return isinstance(then, dict) and isinstance(now, dict) and then.get("path") == now.get("path")


def as_manifest(content: bytes | None) -> dict[str, Any] | None:
    """Returns what a manifest says, None if no merge wrote it."""
    try:
        found = json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
    is_one = isinstance(found, dict) and {"rows", "columns", "files", "inputs", "spec"} <= set(found)
    if not is_one or not isinstance(found["spec"], dict) or not isinstance(found["files"], list):
        return None
    return found


def described_files(manifest: dict[str, Any]) -> Iterator[Entry]:
    """Yields each file that a manifest names, those in folders too; what is not as a merge writes it is left out."""
    for whole in manifest["files"]:
        parts = whole.get("files") if isinstance(whole, dict) else None
        for part in parts if isinstance(parts, list) else [whole]:
            if entry := as_entry(part, f"{whole.get('name')}/" if isinstance(parts, list) else ""):
                yield entry


def as_entry(said: Any, above: str = "") -> Entry | None:
    """Returns a file as a manifest or a note describes it, None if it does not."""
    if not isinstance(said, dict):
        return None
    name, size, digest, state = (said.get(key) for key in ("name", "bytes", "sha256", "state"))
    if not isinstance(name, str) or not isinstance(size, int) or not isinstance(digest, str):
        return None
    is_state = isinstance(state, list) and all(isinstance(part, int) for part in state)
    return Entry(above + name, size, digest, tuple(state) if isinstance(state, list) and is_state else None)


# -- A folder --


def in_folder(
    directory: Path,
    spec: dict[str, Any],
    out: Path,
    inputs: dict[tuple[int, int], Input],
    spec_file: str | None,
) -> Look:
    """Looks at a folder."""
    named = export_to(spec) is not None
    setting, elsewhere = (
        ("export.to: ", "set export.to to another folder") if named else ("", "use another --dir")
    )
    if own_file(directory, out):
        return Look([f"{setting}'{out}' is where this merge keeps its own files while it works; {elsewhere}"])
    if os.path.lexists(out) and not out.is_dir():
        kind = "a link to a folder that is not there" if out.is_symlink() else "not a folder"
        return Look([f"{setting}'{out}', where the result goes, is {kind}; {elsewhere}"])
    there = [name for name in PUBLISHED if os.path.lexists(out / name)]
    found = [
        f"{called(one)} is read by this merge, whose result would be written over it, as {out / name}; {elsewhere},"
        " or move the file"
        for name in there
        for path in files_of(out / name)
        if (one := inputs.get(number_of(path) or (0, 0)))
    ]
    if found:
        return Look(found[:SAID])
    # out itself is the merge directory's own, whatever spec was merged there before
    at_home = os.path.realpath(out) == os.path.join(os.path.realpath(directory), "out")
    known = Known(directory, spec, spec_file, content_of(out / MANIFEST), at_home)
    for name in there:
        for path, why in objections(known, name, out / name):
            found.append(f"{setting}'{path}' {why}; it is not written over: move it away, or {elsewhere}")
    return Look(found[:SAID], known.own())


def objections(known: Known, name: str, path: Path) -> Iterator[tuple[Path, str]]:
    """Yields each file of a published name that this merge has not put there, and why."""
    for part in files_of(path):
        below = name if part == path else f"{name}/{part.relative_to(path).as_posix()}"
        if part.is_symlink():
            yield part, "is a link, which no merge has put there"
        elif (name == MANIFEST and known.is_own) or (part != path and part.name in OF_NOBODY):
            continue
        elif not any(is_same(entry, part) for entry in known.entries.get(below, [])):
            yield part, known.why(below)


def files_of(path: Path) -> list[Path]:
    """Returns a file, or what a folder holds; links are files, wherever they lead."""
    if path.is_symlink() or not path.is_dir():
        return [path]
    return sorted(
        Path(folder) / name
        for folder, folders, names in os.walk(path)
        for name in [*names, *(inner for inner in folders if os.path.islink(os.path.join(folder, inner)))]
    )


def content_of(path: Path) -> bytes | None:
    """Returns what a file holds, None if it is none that may be a manifest."""
    try:
        if stat.S_ISREG(path.lstat().st_mode) and path.stat().st_size <= LARGEST_MANIFEST:
            return path.read_bytes()
    except OSError:
        pass
    return None


def is_same(entry: Entry, path: Path) -> bool:
    """Says whether a file holds what an entry says; its bytes are read only where its times and number are not those that were noted."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry.bytes:
            return False
        return entry.state == state_of(found) or digest_of(path) == entry.sha256
    except OSError:
        return False


def state_of(found: os.stat_result) -> tuple[int, ...]:
    """Returns what changes with a file: the time of its content, the time of anything about it, which nobody can set, and its number."""
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def digest_of(path: Path) -> str:
    """Returns the sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


# -- S3 --


def in_bucket(directory: Path, spec: dict[str, Any], place: storage.Place, spec_file: str | None) -> Look:
    """Looks at a prefix on S3."""
    taken = {place.shown(name) for name in PUBLISHED}
    found = [
        f"{one.setting}: '{one.shown}' is read by this merge, whose result would be written over it;"
        " set export.to to another prefix, or move the file"
        for one in input_files(spec, remote=True)
        if one.shown in taken or one.shown.startswith(place.shown(f"{PARQUET}/"))
    ]
    if found:
        return Look(found[:SAID])
    # a listing knows no sha256, so each object is asked for
    parts = [f"{PARQUET}/{part.name}" for part in storage.at(place.shown(PARQUET)).list((".parquet",))]
    with ThreadPoolExecutor(8) as threads:
        there = [entry for entry in threads.map(place.entry, [*PUBLISHED, *parts]) if entry]
    manifest = next((entry for entry in there if entry.name == MANIFEST), None)
    small = manifest is not None and manifest.size <= LARGEST_MANIFEST
    known = Known(
        directory, spec, spec_file, place.read(MANIFEST, LARGEST_MANIFEST) if small else None, False
    )
    for entry in there:
        own = known.entries.get(entry.name, [])
        if not (entry.name == MANIFEST and known.is_own) and not is_same_object(directory, place, entry, own):
            found.append(
                f"export.to: '{place.shown(entry.name)}' {known.why(entry.name)}; it is not written over:"
                " move it away, or set export.to to another prefix"
            )
            if len(found) == SAID:
                break
    return Look(found, known.own())


def is_same_object(directory: Path, place: storage.Place, there: storage.Entry, own: list[Entry]) -> bool:
    """Says whether an object holds what one of the entries says; one that was put by others, without its sha256, is read."""
    alike = {entry.sha256 for entry in own if entry.bytes == there.size}
    if not alike or there.sha256:
        return there.sha256 in alike
    copy = directory / ".crm-merge" / "compared"
    try:
        place.get(there.name, copy)
        return digest_of(copy) in alike
    finally:
        copy.unlink(missing_ok=True)


# -- The note --


def note_of(directory: Path) -> Path:
    """Returns the file in a merge directory that says what the merge has put in place."""
    return directory / ".crm-merge" / "published.json"


def in_place(entries: Iterable[Entry], out: Path) -> Iterator[Entry]:
    """Yields the entries of files that were just put into a folder, with their states there."""
    for entry in entries:
        yield replace(entry, state=state_of((out / entry.name).lstat()))


def note(directory: Path, to: str, entries: Iterable[Entry]) -> None:
    """Notes where a merge publishes, and which files there are its own: before the first rename those of before and the new ones,
    after the last the new ones."""
    kept = list(dict.fromkeys(entries))[-MOST_NOTED:]
    said = {
        "to": to,
        "files": [
            {"name": one.name, "bytes": one.bytes, "sha256": one.sha256, "state": one.state} for one in kept
        ],
    }
    path = note_of(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(said), encoding="utf-8")
    os.replace(unfinished, path)


def noted(directory: Path) -> list[Entry]:
    """Returns the files that were noted, none if there is no note that can be read."""
    found = read_note(directory).get("files")
    return [entry for said in found if (entry := as_entry(said))] if isinstance(found, list) else []


def read_note(directory: Path) -> dict[str, Any]:
    """Returns the note, {} if there is none that can be read."""
    try:
        found = json.loads(note_of(directory).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_of_merge(directory: Path, path: Path) -> bool:
    """Says whether a file is one that a merge keeps, or has published on this disk."""
    real, own = Path(os.path.realpath(path)), Path(os.path.realpath(directory))
    if own_file(directory, path) or real.is_relative_to(own / "out"):
        return True
    out = Path(os.path.realpath(published_in(directory)))
    return real != out and real.is_relative_to(out) and real.relative_to(out).parts[0] in PUBLISHED


def published_in(directory: Path) -> Path:
    """Returns the folder that a merge has published to last: ``out``, unless it was noted that it was another on this disk."""
    to = read_note(directory).get("to")
    if not isinstance(to, str) or re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", to):
        return directory / "out"
    return Path(to)
