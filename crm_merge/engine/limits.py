"""The engine's settings from the environment and the disks that it writes to, checked in one place for dbt and for the command line."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)", re.IGNORECASE)
# DuckDB takes more memory than it counts: with this share of a limit of 500 MB for what it counts, a merge of ten million
# rows takes the process, dbt included, to 850 to 910 MB.
SHARE = 0.8
LEAST_MEMORY = 200_000_000  # bytes; the smallest limit that merges with their audit are tried with


def problems() -> list[str]:
    """Returns what is wrong with the environment's settings, each as a sentence."""
    found = []
    threads, spill = (os.environ.get(name) for name in ("DUCKDB_THREADS", "DUCKDB_TEMP_DIR"))
    for name, what in (("DUCKDB_MEMORY_LIMIT", "memory"), ("DUCKDB_TEMP_LIMIT", "disk")):
        limit = os.environ.get(name)
        if limit is not None and not MEMORY.fullmatch(limit.strip()):
            found.append(f"{name}: '{limit}' is not an amount of {what}. Accepted: such as 500MB or 2GB")
    if threads is not None and not (threads.isdecimal() and 1 <= int(threads) <= 1024):
        found.append(
            f"DUCKDB_THREADS: '{threads}' is not a number of threads. Accepted: 1 to 1024, or leave it unset"
        )
    rows = os.environ.get("CRM_MERGE_PART_ROWS")
    if rows is not None and not (rows.isdecimal() and int(rows) >= 1):
        found.append(
            f"CRM_MERGE_PART_ROWS: '{rows}' is not a number of rows. Accepted: 1 or more, or leave it unset"
        )
    if spill is not None:
        try:
            Path(spill).mkdir(parents=True, exist_ok=True)
            if not os.access(spill, os.W_OK):
                raise PermissionError(13, "not writable")
        except OSError as error:
            found.append(f"DUCKDB_TEMP_DIR: '{spill}' can't be used to spill to: {error.strerror}")
    return found


def own_memory(limit: str) -> str:
    """Returns the share of a memory limit that DuckDB is told, such as ``400MB`` for ``500MB``."""
    found = MEMORY.fullmatch(limit.strip())
    return f"{float(found[1]) * SHARE:g}{found[2]}" if found else limit


def in_bytes(limit: str) -> float:
    """Returns an amount of memory such as ``500MB`` in bytes; 0 for what is none."""
    found = MEMORY.fullmatch(limit.strip())
    if not found:
        return 0
    unit, base = found[2].upper(), 1024 if "I" in found[2].upper() else 1000
    return float(found[1]) * base ** "BKMGT".index(unit[0])


def spill_folder(directory: Path) -> Path:
    """Returns where a merge spills to: a folder of its own, also below a DUCKDB_TEMP_DIR that others use."""
    shared = os.environ.get("DUCKDB_TEMP_DIR")
    if not shared:
        return directory / ".crm-merge" / "spill"
    return Path(shared).absolute() / f"crm-merge-{hashlib.sha256(str(directory).encode()).hexdigest()[:12]}"


def disk_problems(needs: list[tuple[str, Path, int]]) -> list[str]:
    """Returns, a sentence for each disk, what it has too little room for. ``needs``: (what for, where, bytes)."""
    disks: dict[int, list[tuple[str, Path, int]]] = {}
    for what, path, size in needs:
        place = path.absolute()
        while not place.exists():
            place = place.parent
        disks.setdefault(place.stat().st_dev, []).append((what, place, size))
    problems = []
    for wanted in disks.values():
        need, free = sum(size for _, _, size in wanted), shutil.disk_usage(wanted[0][1]).free
        if need > free:
            shares = ", ".join(f"{amount(size)} for {what}" for what, _, size in wanted if size)
            problems.append(
                f"the disk of {wanted[0][1]} has {amount(free)} free, and this merge needs about {amount(need)} there ({shares});"
                " make room, or use another disk: --dir (CRM_MERGE_DIR) for the merge, DUCKDB_TEMP_DIR to spill to, export.to for the result"
            )
    return problems


def amount(size: float) -> str:
    """Returns a number of bytes in words, such as ``1.2 GB``."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def settings(directory: Path) -> dict[str, Any]:
    """Returns the settings of a DuckDB connection to a merge directory."""
    config: dict[str, Any] = {
        "memory_limit": own_memory(os.environ.get("DUCKDB_MEMORY_LIMIT", "500MB")),
        "temp_directory": str(spill_folder(directory)),
        "autoinstall_known_extensions": False,
    }
    if most := os.environ.get("DUCKDB_TEMP_LIMIT"):
        config["max_temp_directory_size"] = most
    if threads := os.environ.get("DUCKDB_THREADS"):
        config["threads"] = int(threads)
    return config
