"""The project's macros, said without dbt: what `validate` shows of keys takes a second instead of dbt's start, and is the same SQL.

Only macros that make SQL and ask the database are said here; what dbt alone knows (models, materializations, hooks) is left to dbt. Each
macro is compiled when it is first called.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import jinja2

from crm_merge import PROJECT
from crm_merge.engine import limits
from crm_merge.engine.international import register_international
from crm_merge.engine.sql import sql_text
from crm_merge.reading import inputs

MACRO = re.compile(r"{%-?\s*macro\s+(\w+)\(.*?{%-?\s*endmacro\s*-?%}", re.DOTALL)


class Returned(Exception):
    """What a macro returns other than text."""

    def __init__(self, value: Any):
        self.value = value


class Refused(Exception):
    """Why a macro refuses to go on: problems as sentences."""

    def __init__(self, problems: list[str]):
        super().__init__("; ".join(problems))
        self.problems = problems


@lru_cache(maxsize=1)
def sources() -> dict[str, str]:
    """Returns the text of each macro of the project by its name."""
    found: dict[str, str] = {}
    for path in sorted((PROJECT / "macros").rglob("*.sql")):
        for macro in MACRO.finditer(path.read_text(encoding="utf-8")):
            found[macro[1]] = macro[0]
    return found


def compiled_before() -> jinja2.FileSystemBytecodeCache | None:
    """Returns where compiled macros are kept: it is code, so it lies inside the installation, by the versions of Python and Jinja. None if nobody
    may write there."""
    place = PROJECT / "target" / "words" / f"{sys.version_info[0]}.{sys.version_info[1]}-{jinja2.__version__}"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return jinja2.FileSystemBytecodeCache(str(place), "%s.words") if os.access(place, os.W_OK) else None


@contextmanager
def opened(directory: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yields a connection in memory, with the settings of a merge directory and the functions that keys need."""
    settings = limits.settings(directory) | {"file_search_path": str(PROJECT)}
    with duckdb.connect(":memory:", config=settings) as connection:
        connection.execute("set TimeZone = 'UTC'")
        register_international(connection)
        connection.create_function(
            "crm_files_copy", inputs.copied_as_asked, ["VARCHAR"], "VARCHAR", side_effects=True
        )
        yield connection


class Words:
    """The macros on a connection to DuckDB. ``plan`` is what merge_plan gives."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, plan: dict[str, Any]):
        self.connection = connection
        self.environment = jinja2.Environment(
            extensions=["jinja2.ext.do"],
            undefined=jinja2.ChainableUndefined,
            loader=jinja2.DictLoader(sources()),
            bytecode_cache=compiled_before(),
        )
        self.named: dict[str, Any] = {name: self.word(name) for name in sources()}
        self.named |= {
            "execute": True,
            "graph": {"merge_plan": plan},
            "merge_plan": lambda: plan,
            "return": self.give_back,
            "adapter": SimpleNamespace(dispatch=self.dispatch, quote=lambda name: f'"{name}"'),
            "modules": SimpleNamespace(re=re),
            "local_md5": lambda text: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
            "tojson": json.dumps,
            "fromjson": json.loads,
            "query_value": self.query_value,
            "query_rows": self.query_rows,
            "run_statement": self.connection.execute,
            "refuse": self.refuse,
            # asked for thousands of texts
            "sql_text": sql_text,
            "sql_list": lambda values: f"[{', '.join(map(sql_text, values))}]",
            "recall": lambda entry: None,
            "remember": lambda entry, content: None,
        }
        self.named["context"] = self.named
        self.environment.globals.update(self.named)

    def say(self, name: str, *arguments: Any) -> Any:
        """Returns what a macro gives: its text, or what it returns."""
        return self.named[name](*arguments)

    def word(self, name: str) -> Callable[..., Any]:
        """Returns a macro as a callable."""
        compiled: list[Any] = []

        def call(*arguments: Any, **named: Any) -> Any:
            if not compiled:
                compiled.append(getattr(self.environment.get_template(name).module, name))
            try:
                return compiled[0](*arguments, **named)
            except Returned as returned:
                return returned.value

        return call

    def give_back(self, value: Any = None) -> None:
        """What ``return`` does in a macro."""
        raise Returned(value)

    def refuse(self, title: str, problems: list[str], transient: bool = False) -> None:
        """What ``refuse`` does in a macro."""
        raise Refused(problems)

    def dispatch(self, name: str, package: str = "") -> Any:
        """Returns DuckDB's own macro of a name."""
        return self.named.get(f"duckdb__{name}") or self.named[f"default__{name}"]

    def query_rows(self, sql: str) -> list[tuple]:
        """Returns the rows that a query gives."""
        return self.connection.execute(sql).fetchall()

    def query_value(self, sql: str) -> Any:
        """Returns the one value that a query gives; None if it gives no row."""
        row = self.connection.execute(sql).fetchone()
        return row[0] if row else None
