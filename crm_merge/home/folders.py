"""The home of many merges: where it is and where specs are dropped, the names of specs, where each one's merge directory is, and
which of them are at work.

A home has ``merges/<spec name>/`` (one merge directory each), ``history/``, ``published/<spec name>/``, ``docs/`` and what Dagster
keeps.

Read from the environment when they are asked for, never at import:

``CRM_MERGE_HOME``   the home; ``merges/home`` below the working directory if it is not set
``CRM_MERGE_SPECS``  where specs and their files are dropped: a folder or ``s3://bucket/prefix``; ``<home>/specs`` if it is not set
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from crm_merge.merging.lock import MARKS, at_work

MERGES, HISTORY, PUBLISHED = "merges", "history", "published"
LONGEST = 400  # characters of a spec name
DEEPEST = 16  # folders of a spec name
# What a merge makes in its own directory: acme/out would lie in what the merge acme publishes.
OWN = frozenset({"out", "target", "target_spark", "logs"})


class HomeProblem(Exception):
    """What is wrong with a home, a spec name or an option, as a sentence for the user."""


def folder() -> Path:
    """Returns the home of this environment."""
    return Path(os.environ.get("CRM_MERGE_HOME") or "merges/home").absolute()


def specs() -> str:
    """Returns where specs are dropped: an absolute folder, or a URL."""
    place = os.environ.get("CRM_MERGE_SPECS") or str(folder() / "specs")
    return place if "://" in place else str(Path(place).absolute())


def check_name(name: str) -> str:
    """Returns a spec name such as ``acme/weekly``; HomeProblem if it is none, or would lead out of the home.

    Parts between slashes are names of folders: not empty, no dot in front, no control characters, 255 bytes at most.
    """
    shown = repr(name[:80]) if isinstance(name, str) else repr(name)[:80]
    wrong = f"{shown} is not the name of a merge: "
    accepted = "; accepted: a relative path such as acme/weekly"
    if not isinstance(name, str) or not name:
        raise HomeProblem(f"{wrong}it is {'empty' if name == '' else 'no text'}{accepted}")
    parts = name.split("/")
    if len(name) > LONGEST or len(parts) > DEEPEST:
        raise HomeProblem(f"{wrong}it has over {LONGEST} characters or {DEEPEST} folders{accepted}")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        raise HomeProblem(f"{wrong}it is not UTF-8{accepted}") from None
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name):
        raise HomeProblem(f"{wrong}it holds a control character, such as a line break{accepted}")
    if not all(sizes):
        raise HomeProblem(f"{wrong}it begins or ends with a slash, or has two in a row{accepted}")
    if max(sizes) > 255:
        raise HomeProblem(f"{wrong}a folder in it has over 255 bytes{accepted}")
    if any(part.startswith(".") for part in parts):
        raise HomeProblem(
            f"{wrong}'{next(p for p in parts if p.startswith('.'))}' begins with a dot{accepted}"
        )
    if own := OWN.intersection(parts[1:]):
        raise HomeProblem(f"{wrong}'{min(own)}' is what a merge calls a folder of its own{accepted}")
    return name


def is_name(name: str) -> bool:
    """Says whether ``check_name`` accepts a spec name."""
    try:
        check_name(name)
    except HomeProblem:
        return False
    return True


def check_outside(home: Path, path: Path) -> None:
    """Refuses a file to write that lies among what a home keeps; raises HomeProblem."""
    real, own = Path(os.path.realpath(path)), Path(os.path.realpath(home))
    if any(real.is_relative_to(own / folder) for folder in (MERGES, HISTORY, PUBLISHED)):
        raise HomeProblem(f"'{path}' lies where the home {home} keeps its own files; name another file")


def merge_directory(home: Path, name: str) -> Path:
    """Returns the merge directory of a spec, which need not exist; HomeProblem if the name is none or a part is a symlink."""
    return _below(home, MERGES, name)


def published_folder(home: Path, name: str) -> Path:
    """Returns the folder for what a spec publishes, which need not exist; HomeProblem as ``merge_directory``."""
    return _below(home, PUBLISHED, name)


def _below(home: Path, folder: str, name: str) -> Path:
    place = Path(home)
    for part in (folder, *check_name(name).split("/")):
        place = place / part
        if place.is_symlink():
            raise HomeProblem(f"'{place}' is a symbolic link, which a home does not follow; use a folder")
    return place


def merge_names(home: Path) -> Iterator[str]:
    """Yields the name of every merge directory below ``home``, in order of folders; follows no symlink."""
    yield from _names(Path(home) / MERGES, "", DEEPEST)


def _names(folder: Path, prefix: str, deeper: int) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            inner = sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
    except OSError:
        return  # it is gone, or is nothing that may be read: no merge can be at work in it either
    for name in inner:
        whole = f"{prefix}{name}"
        if is_name(whole):
            if any(os.path.lexists(folder / name / mark) for mark in MARKS):
                yield whole
            if deeper > 1:
                yield from _names(folder / name, f"{whole}/", deeper - 1)


def running(home: Path) -> list[str]:
    """Returns the names of the merges that are at work now."""
    return [name for name in merge_names(home) if at_work(Path(home) / MERGES / name)]
