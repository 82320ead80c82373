"""What the sensor remembers between two looks, in a file of the home: Dagster keeps every tick's cursor, and this may be megabytes.

What a look has seen counts only once Dagster has taken its cursor, together with the runs that the look asked for. So each is a file of its
own name, and the cursor says which one counts.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

Seen = dict[str, dict[str, Any]]


def load(home: Path, cursor: str | None) -> Seen:
    """Returns what counts, by the cursor; nothing if there is none, or the home is a new one."""
    try:
        return json.loads(_file(home, cursor).read_text(encoding="utf-8")) if cursor else {}
    except (FileNotFoundError, ValueError):
        return {}


def save(home: Path, cursor: str | None, before: Seen, after: Seen) -> str:
    """Keeps what is to count with the next cursor, which it returns: the same one if nothing has changed. Older files but the one
    that counts are removed."""
    if cursor and before == after and _file(home, cursor).exists():
        return cursor
    new = secrets.token_hex(8)
    file = _file(home, new)
    file.parent.mkdir(parents=True, exist_ok=True)
    for old in file.parent.glob("*.json"):
        if old != (_file(home, cursor) if cursor else None):
            old.unlink(missing_ok=True)
    part = file.with_suffix(".part")
    with part.open("w", encoding="utf-8") as written:
        json.dump(after, written, separators=(",", ":"))
        written.flush()
        os.fsync(written.fileno())
    os.replace(part, file)
    return new


def _file(home: Path, cursor: str) -> Path:
    return home / "seen" / f"{''.join(c for c in cursor if c.isalnum())[:32]}.json"
