"""Values from outside become SQL of DuckDB only through these words."""

from __future__ import annotations

from typing import Any


def sql_text(value: Any) -> str:
    """Returns a text as a literal, whatever it holds."""
    return "'" + str(value).replace("'", "''") + "'"


def sql_name(value: str) -> str:
    """Returns a name as an identifier, whatever it holds."""
    return '"' + value.replace('"', '""') + '"'
