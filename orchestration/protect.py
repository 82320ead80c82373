"""What publishing may write over: no input of the merge, and of the files that are there only its own earlier result.

A result is known by its manifest: the file stands in it with its bytes and sha256, and it is of a merge of the same name. What a
run puts in place is noted in the merge directory as well, before the first rename: a run that is killed between two of them
leaves new files beside the old manifest, and the next run must know these too.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration import storage
from reading import FileProblem, places

# Published beside merged_result, always as CSV: what people open, send on and import.
REPORTS = ["merge_changes", "unmatched_enriched", "vendor_scorecard", "review_queue"]
MANIFEST = "manifest.json"
# All that a merge may write or remove where it publishes.
PUBLISHED = [
    "merged_result.csv",
    "merged_result.parquet",
    *(f"{name}.csv" for name in REPORTS),
    "checks.csv",
    MANIFEST,
]
LARGEST_MANIFEST = 64_000_000  # bytes; one of 2,000 inputs has about a million


@dataclass(frozen=True)
class Input:
    """A file that a merge reads: the setting that names it, and what people call it."""

    setting: str
    shown: str


def problems(directory: Path, spec: dict[str, Any], merge: str, spec_file: Path | None = None) -> list[str]:
    """Returns why a merge must not run, each as a sentence that begins with the setting to change; looks, and changes nothing.

    ``merge`` is the name by which its manifests know it. ``spec_file`` is kept as an input is. What is wrong with the spec or a path
    itself is not said here: dbt says it. Raises FileProblem where S3 can't be asked.
    """
    to = export_to(spec)
    try:
        place = storage.at(to or str(directory / "out"))
    except FileProblem:
        return []
    inputs = dict(local_inputs(spec, spec_file))
    found = [
        f"{one.setting}: '{one.shown}' lies where this merge keeps its own files, {directory}, so the run would remove it;"
        " copy it elsewhere, or use another --dir"
        for path, one in local_files(spec)
        if own_file(directory, path)
    ]
    if place.remote:
        return found + in_bucket(directory, spec, place, merge)
    return found + in_folder(directory, Path(place.url), inputs, merge, to is not None)


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
    blocks += [
        (f"enriched[{k}]", block) for k, block in enumerate(enriched if isinstance(enriched, list) else [])
    ]
    for setting, block in blocks:
        if isinstance(block, dict) and isinstance(block.get("path"), str):
            yield f"{setting}.path", block["path"]
    for path in (
        [assertions] if isinstance(assertions, str) else assertions if isinstance(assertions, list) else []
    ):
        if isinstance(path, str):
            yield "assertions", path


def input_files(spec: dict[str, Any], remote: bool) -> Iterator[Input]:
    """Yields the files that the spec's paths mean now, those on S3 or those on this disk."""
    for setting, path in named_inputs(spec):
        scheme, separator, _ = path.strip().partition("://")
        if remote != bool(separator) or (remote and scheme.lower() != "s3"):
            continue
        try:
            for shown, _, _ in places.listed(path):
                yield Input(setting, shown)
        except FileProblem:
            continue


def local_files(spec: dict[str, Any]) -> Iterator[tuple[Path, Input]]:
    """Yields the inputs on this disk."""
    for one in input_files(spec, remote=False):
        yield Path(one.shown), one


def local_inputs(spec: dict[str, Any], spec_file: Path | None) -> Iterator[tuple[tuple[int, int], Input]]:
    """Yields the inputs by what tells that two paths are one file, by whatever links: its disk and its number there."""
    if spec_file is not None and (number := number_of(spec_file)):
        yield number, Input("export.to", str(spec_file))
    for path, one in local_files(spec):
        if number := number_of(path):
            yield number, one


def number_of(path: Path) -> tuple[int, int] | None:
    """Returns disk and number of the file that a path leads to."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def own_file(directory: Path, path: Path) -> bool:
    """Says whether a path leads to what a merge writes and removes in its directory while it works."""
    real, own = Path(os.path.realpath(path)), Path(os.path.realpath(directory))
    return real.is_relative_to(own / ".crm-merge") or real in (own / "merge.duckdb", own / "merge.duckdb.wal")


# -- A folder --


def in_folder(
    directory: Path, out: Path, inputs: dict[tuple[int, int], Input], merge: str, named: bool
) -> list[str]:
    """Returns what a merge would write over in a folder."""
    setting, elsewhere = (
        ("export.to: ", "set export.to to another folder") if named else ("", "use another --dir")
    )
    if os.path.lexists(out) and not out.is_dir():
        kind = "a link to a folder that is not there" if out.is_symlink() else "not a folder"
        return [f"{setting}'{out}', where the result goes, is {kind}; {elsewhere}"]
    there = [name for name in PUBLISHED if os.path.lexists(out / name)]
    found = []
    for name in there:
        for path in files_of(out / name):
            if one := inputs.get(number_of(path) or (0, 0)):
                found.append(
                    f"{one.setting}: '{one.shown}' is read by this merge, whose result would be written over it, as {out / name}; {elsewhere},"
                    " or move the file"
                )
    if found:
        return found
    known = Known(directory, read_manifest(out / MANIFEST), merge, own_place(directory, out))
    for name in there:
        if why := known.objection(name, out / name):
            found.append(
                f"{setting}'{out / name}' {why}; it is not written over: move it away, or {elsewhere}"
            )
    return found


def own_place(directory: Path, out: Path) -> bool:
    """Says whether a folder is the ``out`` of a merge directory itself, to which every spec merged there publishes."""
    return os.path.realpath(out) == os.path.join(os.path.realpath(directory), "out")


def files_of(path: Path) -> list[Path]:
    """Returns a file, or what a folder holds, links included but not followed."""
    if path.is_dir() and not path.is_symlink():
        return sorted(Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return [path]


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Returns a manifest, None if there is none that a merge wrote."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode) or path.stat().st_size > LARGEST_MANIFEST:
            return None
        return as_manifest(path.read_bytes())
    except OSError:
        return None


def as_manifest(content: bytes) -> dict[str, Any] | None:
    """Returns what a manifest says, None if no merge wrote it."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    is_one = isinstance(found, dict) and {"rows", "columns", "files", "inputs", "spec"} <= set(found)
    return found if is_one and isinstance(found["files"], list) and isinstance(found["spec"], dict) else None


class Known:
    """What earlier runs of a merge have put in place: by their manifest, and by the note in the merge directory."""

    def __init__(
        self, directory: Path, manifest: dict[str, Any] | None, merge: str, is_own_place: bool = False
    ):
        self.manifest = manifest
        # manifests of earlier versions have no name in them
        self.is_own = manifest is not None and (is_own_place or manifest.get("merge", merge) == merge)
        self.entries: dict[str, list[dict[str, Any]]] = {}
        for entry in [*(described_files(manifest) if self.is_own and manifest else []), *noted(directory)]:
            self.entries.setdefault(str(entry["name"]), []).append(entry)

    def objection(self, name: str, path: Path) -> str:
        """Returns why a file or folder is not what this merge has put there, or ''."""
        if path.is_symlink():
            return "is a link, which no merge has put there"
        if name == MANIFEST and self.is_own:
            return ""
        unlike = [
            part
            for part in files_of(path)
            if not any(is_same(entry, part) for entry in self.entries.get(name_below(name, path, part), []))
        ]
        if not unlike:
            return ""
        of_folder = f" (its {unlike[0].relative_to(path)})" if unlike[0] != path else ""
        listed = any(name_below(name, path, part) in self.entries for part in unlike)
        return (self.why(name, listed)) + of_folder

    def why(self, name: str, listed: bool) -> str:
        """Returns what a file that is there is instead of a result of this merge."""
        if listed:
            return "is not as this merge has published it"
        if self.manifest is not None and not self.is_own:
            return f"is the result of another merge, {str(self.manifest['merge'])[:100]!r}"
        if name == MANIFEST:
            return "is no manifest of a merge"
        return "is no result of this merge, whose manifest.json would name it"


def name_below(name: str, path: Path, part: Path) -> str:
    """Returns the name of a published file, or of one in a published folder."""
    return name if part == path else f"{name}/{part.relative_to(path).as_posix()}"


def described_files(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields name, bytes and sha256 of each file that a manifest names, those of folders too."""
    for entry in manifest["files"]:
        if isinstance(entry, dict) and isinstance(entry.get("files"), list):
            yield from (part | {"name": f"{entry['name']}/{part['name']}"} for part in entry["files"])
        elif isinstance(entry, dict) and {"name", "bytes", "sha256"} <= set(entry):
            yield entry


def is_same(entry: dict[str, Any], path: Path) -> bool:
    """Says whether a file holds what an entry says; its bytes are read only where its time and number are not those that were noted."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry.get("bytes"):
            return False
        if entry.get("state") == [found.st_mtime_ns, found.st_ino]:
            return True
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError:
        return False
    return digest.hexdigest() == entry.get("sha256")


# -- S3 --


def in_bucket(directory: Path, spec: dict[str, Any], place: storage.Place, merge: str) -> list[str]:
    """Returns what a merge would write over below a prefix on S3."""
    taken = {place.shown(name): name for name in PUBLISHED}
    folder = place.shown("merged_result.parquet/")
    found = []
    for one in input_files(spec, remote=True):
        if one.shown in taken or one.shown.startswith(folder):
            found.append(
                f"{one.setting}: '{one.shown}' is read by this merge, whose result would be written over it;"
                " set export.to to another prefix, or move the file"
            )
    if found:
        return found
    there = {name: entry for name in PUBLISHED if (entry := place.entry(name))}
    parts = list(storage.at(folder).list((".parquet",)))
    manifest = None
    if MANIFEST in there and there[MANIFEST].size <= LARGEST_MANIFEST:
        manifest = as_manifest(place.read(MANIFEST, LARGEST_MANIFEST))
    known = Known(directory, manifest, merge)
    there |= {f"merged_result.parquet/{part.name}": part for part in parts}
    for name, entry in there.items():
        said = known.entries.get(name, [])
        # a listing knows no sha256
        same = any(entry.size == one.get("bytes") and entry.sha256 in ("", one.get("sha256")) for one in said)
        if not same and not (name == MANIFEST and known.is_own):
            found.append(
                f"export.to: '{place.shown(name)}' {known.why(name, bool(said))}; it is not written over:"
                " move it away, or set export.to to another prefix"
            )
            if len(found) == 5:
                break
    return found


# -- The note --


def note_of(directory: Path) -> Path:
    """Returns the file in a merge directory that says what the merge has put in place."""
    return directory / ".crm-merge" / "published.json"


def note(directory: Path, files: list[dict[str, Any]], staging: Path) -> None:
    """Notes what is about to be put in place: files as a manifest describes them, lying in ``staging``. A rename keeps their time and
    number. What the note before says of other files stays for this once: a run that is killed may not have removed them yet.
    """
    entries = []
    for entry in described_files({"files": files}):
        found = (staging / entry["name"]).stat()
        entries.append(entry | {"state": [found.st_mtime_ns, found.st_ino]})
    names = {entry["name"] for entry in entries}
    entries += [
        entry | {"earlier": True}
        for entry in noted(directory)
        if entry["name"] not in names and not entry.get("earlier")
    ]
    path = note_of(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(entries), encoding="utf-8")
    os.replace(unfinished, path)


def noted(directory: Path) -> list[dict[str, Any]]:
    """Returns what was noted, nothing if there is no note that can be read."""
    try:
        found = json.loads(note_of(directory).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return (
        [entry for entry in found if isinstance(entry, dict) and "name" in entry]
        if isinstance(found, list)
        else []
    )
