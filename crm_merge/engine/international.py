"""What of international addresses and domains goes through Python: registered with a connection to DuckDB."""

from __future__ import annotations

import sys
from typing import Any

from crm_merge.reading import international


def register_international(conn: Any) -> None:
    """Registers crm_address and crm_domain, which match keys need, with a connection to DuckDB."""
    if NoPandas not in sys.meta_path:
        sys.meta_path.insert(0, NoPandas)
    conn.create_function("crm_address", international.address, ["VARCHAR"], "VARCHAR")
    conn.create_function("crm_domain", international.domain, ["VARCHAR"], "VARCHAR")


class NoPandas:
    """Keeps pandas out of dbt's process: DuckDB asks for it at every value that a function returns, though no merge needs it.

    A search takes 40 µs where it is not installed, and importing it half a second where it is. What was imported before stays. Who
    adds a Python model or a plugin that needs pandas takes this out.
    """

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Finds nothing, and ends the search for pandas."""
        if name == "pandas":
            raise ModuleNotFoundError(
                "crm-merge keeps pandas out of dbt's process (NoPandas in crm_merge/engine/international.py)",
                name=name,
            )
