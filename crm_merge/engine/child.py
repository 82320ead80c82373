"""The process that runs dbt for one merge: alone, or forked from one that has imported dbt already (engine.forks). Its memory and its lock on
the DuckDB file end with it.

It imports dbt at once and then waits for its request on standard input, JSON up to the end: {arguments, target, environment, directory, umask, cores,
said_by_engine: a file, or ''}.
So dbt is ready when the files have been profiled; a spec of many files is longer than a command line may be, too.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import json
import os
import random
import sys
import time
from typing import Any

from crm_merge.engine import compiled

DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def end_with_parent(number: int = 9) -> None:
    """Sees to it, on Linux, that this process ends with its parent even if that is killed: the merge directory would stay locked otherwise."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, number)


def settle() -> None:
    """What dbt imports stays until the process ends, and parsing makes objects that stay: a collector that goes through them again and again
    takes a tenth of the time of a small merge."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def close_databases() -> None:
    """Closes what dbt has open, which it does itself only when a process ends by itself: DuckDB puts its log into the database then."""
    if connections := sys.modules.get("dbt.adapters.duckdb.connections"):
        connections.DuckDBConnectionManager.close_all_connections()


def turn_aside(file: str) -> None:
    """Lets what other programs say beside dbt go to a file: a Java that warns in the middle of a line would spoil an event of dbt's."""
    os.makedirs(os.path.dirname(file), exist_ok=True)
    said = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(said, 2)
    os.close(said)


def leave_out_debug_events() -> None:
    """Drops dbt's debug events before they are made: thousands for a small merge, of which each of SQL holds all its text twice.

    CRM_MERGE_DEBUG=1 keeps them, in DIR/logs/dbt.log. It leans on two methods of dbt's; a test holds it.
    """
    from dbt_common.events import base_types, event_manager

    Event: Any = base_types.BaseEvent
    Manager: Any = event_manager.EventManager
    hidden = (base_types.EventLevel.DEBUG, base_types.EventLevel.TEST)
    make, fire = Event.__init__, Manager.fire_event

    def make_later(event: Any, *given: Any, **named: Any) -> None:
        if isinstance(event, base_types.DebugLevel):
            event.__dict__["given"] = (given, named)
        else:
            make(event, *given, **named)

    def made_now(event: Any) -> Any:
        given, named = event.__dict__["given"]
        make(event, *given, **named)
        return event.__dict__["pb_msg"]

    def fire_others(manager: Any, e: Any, level: Any = None, *given: Any, **named: Any) -> None:
        if (level or e.level_tag()) not in hidden:
            fire(manager, e, level, *given, **named)

    content = functools.cached_property(made_now)
    content.__set_name__(Event, "pb_msg")
    Event.pb_msg = content  # what an event holds, for whoever asks one that was left out
    Event.__init__ = make_later
    Manager.fire_event = fire_others


def read_calendars_once() -> None:
    """Lets the date parser of agate, which dbt asks for each answer of the engine, make its word lists once: a tenth of a small merge."""
    import parsedatetime

    parsedatetime.Constants = functools.lru_cache(parsedatetime.Constants)


def requested() -> dict[str, Any]:
    """Returns the request; ends the process if who started it has ended, or has no use for it any more."""
    text = sys.stdin.read()
    if not text:
        sys.exit(0)
    return json.loads(text)


def work(asked: dict[str, Any], held: dict[str, Any], kept: compiled.Kept) -> None:
    """Runs dbt as the request says, and ends the process with dbt's exit code. ``held``: manifests in hand, by their number; ``kept``:
    compiled Jinja."""
    from dbt.cli.main import cli

    from crm_merge.engine import manifest

    os.environ.clear()
    os.environ.update(asked["environment"])
    os.umask(asked["umask"])
    time.tzset()
    if asked["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, asked["cores"])
    os.chdir(asked["directory"])
    random.seed()
    if asked["said_by_engine"]:
        turn_aside(asked["said_by_engine"])
    if not os.environ.get("CRM_MERGE_DEBUG"):
        leave_out_debug_events()
    read_calendars_once()
    known = held.get(manifest.number(asked["target"]))
    settle()
    try:
        cli(asked["arguments"], obj={"manifest": known or manifest.load(asked["target"])})
    finally:
        kept.save()


def main() -> None:
    """Imports dbt, waits for the request, does it."""
    end_with_parent()
    import dbt.cli.main
    import dbt.parser.manifest  # noqa: F401

    kept = compiled.Kept()
    kept.install()
    work(requested(), {}, kept)


if __name__ == "__main__":
    main()
