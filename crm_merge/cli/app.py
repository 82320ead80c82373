"""The command line: which file each command is in. A file is imported when its command is asked for: a wrong spec is answered in half a second."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

# command → the file of this package that it is in
COMMANDS = {
    "run": "merge",
    "validate": "merge",
    "schema": "merge",
    "upload": "upload",
    "diff": "compare",
    "dagster": "home",
    "history": "home",
    "metrics": "home",
    "sweep": "home",
}


class Lazy(TyperGroup):
    """A group that finds its commands by COMMANDS."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        commands = import_module(f"crm_merge.cli.{COMMANDS[cmd_name]}").commands
        found = typer.main.get_command(commands)
        return found.commands[cmd_name] if hasattr(found, "commands") else found


app = typer.Typer(
    cls=Lazy,
    help="Merges a CRM export with enriched vendor files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Merges a CRM export with enriched vendor files."""
