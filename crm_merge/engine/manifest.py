"""dbt's manifest of the project, parsed once for all merges: what a spec says is in the plan, so every merge has the same manifest.

It is kept below the project's ``target`` by a hash of the project, of dbt's version and of the target, and put there by rename. Who may
not write there parses for each merge, as dbt itself does.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from crm_merge import PROJECT

KEPT = PROJECT / "target" / "parsed"
NEWEST = 3  # states of the project whose manifests are kept
SOURCES = ("models", "macros", "seeds/reference", "tests/sql", "profiles")
FILES = ("dbt_project.yml", "selectors.yml")
PACKAGES = ("dbt-core", "dbt-adapters", "dbt-common", "dbt-duckdb", "dbt-spark", "mashumaro")


def sources() -> list[Path]:
    """Returns the files that dbt parses, in order."""
    found = [path for name in SOURCES for path in (PROJECT / name).rglob("*") if path.is_file()]
    return sorted(path for path in [*found, *(PROJECT / name for name in FILES)] if path.suffix != ".pyc")


def number(target: str) -> str:
    """Returns a hash of all that a manifest follows from: the project's files, its place, versions, and dbt's target."""
    found = hashlib.sha256(f"{target} {PROJECT} {sys.version_info[:2]}".encode())
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found.update(f" {package} {version(package)}".encode())
    for path in sources():
        content = path.read_bytes()
        found.update(f"\n{path.relative_to(PROJECT)} {len(content)}\n".encode() + content)
    return found.hexdigest()[:20]


def arguments() -> list[str]:
    """Returns what dbt is told of where the project is."""
    return ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT / "profiles")]


def load(target: str) -> Any:
    """Returns the manifest for a target, parsed now if nobody has done so yet. Opens no database."""
    file = file_of(target)
    try:
        return read(file.read_bytes())
    except (FileNotFoundError, ImportError):
        pass
    except Exception:  # cut off: it is made anew
        file.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="crm-merge-parse-") as place:
        manifest, content = parsed(target, Path(place))
    if manifest is not None and content:
        keep(file, content)
    return manifest


def file_of(target: str) -> Path:
    """Returns where the manifest for a target is kept."""
    return KEPT / f"{target}-{sys.implementation.cache_tag}-{number(target)}.msgpack"


def read(content: bytes) -> Any:
    """Returns a manifest from its bytes."""
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    manifest = Manifest.from_msgpack(content, decoder=extended_mashumuro_decoder)
    manifest.build_flat_graph()
    return manifest


def parsed(target: str, place: Path) -> tuple[Any, bytes]:
    """Lets dbt parse the project, with its files in a place of its own; returns the manifest and its bytes: (None, b'') if it can't."""
    from dbt.cli.main import dbtRunner

    told = ["--quiet", "--log-level", "none", "--log-level-file", "none"]
    where = ["--target-path", str(place), "--log-path", str(place), "--target", target]
    result = dbtRunner().invoke([*told, "parse", *arguments(), *where])
    if not result.success:
        return None, b""  # the run itself says what is wrong
    return result.result, (place / "partial_parse.msgpack").read_bytes()


def keep(file: Path, content: bytes) -> None:
    """Keeps a manifest for later runs, and removes those of other states of the project."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        part.write_bytes(content)
        os.replace(part, file)
        others = [*file.parent.glob(f"{file.name.rpartition('-')[0]}-*.msgpack"), *file.parent.glob("*.part")]
        for other in sorted(others, key=lambda other: -other.stat().st_mtime)[NEWEST:]:
            other.unlink(missing_ok=True)
    except OSError:
        return  # a project that may not be written to is parsed for each merge
