"""The engine's settings from the environment, checked in one place for dbt and for the command line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

MEMORY = re.compile(r"\d+(\.\d+)?\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)", re.IGNORECASE)


def problems() -> list[str]:
    """Returns what is wrong with the environment's settings, each as a sentence."""
    found = []
    memory, threads, spill = (
        os.environ.get(name) for name in ("DUCKDB_MEMORY_LIMIT", "DUCKDB_THREADS", "DUCKDB_TEMP_DIR")
    )
    if memory is not None and not MEMORY.fullmatch(memory.strip()):
        found.append(
            f"DUCKDB_MEMORY_LIMIT: '{memory}' is not an amount of memory. Accepted: such as 500MB or 2GB"
        )
    if threads is not None and not (threads.isdecimal() and 1 <= int(threads) <= 1024):
        found.append(
            f"DUCKDB_THREADS: '{threads}' is not a number of threads. Accepted: 1 to 1024, or leave it unset"
        )
    if spill is not None:
        try:
            Path(spill).mkdir(parents=True, exist_ok=True)
            if not os.access(spill, os.W_OK):
                raise PermissionError(13, "not writable")
        except OSError as error:
            found.append(f"DUCKDB_TEMP_DIR: '{spill}' can't be used to spill to: {error.strerror}")
    return found


def settings(directory: Path) -> dict[str, Any]:
    """Returns the settings of a DuckDB connection to a merge directory."""
    config: dict[str, Any] = {
        "memory_limit": os.environ.get("DUCKDB_MEMORY_LIMIT", "500MB"),
        "temp_directory": os.environ.get("DUCKDB_TEMP_DIR", str(directory / ".crm-merge" / "spill")),
        "autoinstall_known_extensions": False,
    }
    if threads := os.environ.get("DUCKDB_THREADS"):
        config["threads"] = int(threads)
    return config
