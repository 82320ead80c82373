"""A home's merges as a scraper reads them, in OpenMetrics, and its health as JSON: from the history and the locks alone.

No merge's database is opened, so that figures come while merges run.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import duckdb
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from crm_merge.engine import limits
from crm_merge.home import folders as homes
from crm_merge.home import history
from crm_merge.home.folders import HomeProblem

MOST = 1_000  # merges that have series of their own, those that ran last
SHOWN = 100  # names in an answer about health
FRESH = 5  # seconds for which which merges are at work is not looked up again
AT_ONCE = 16  # requests
TIMEOUT = 10  # seconds for a request to come
ROOM = 1_000_000_000  # bytes of free disk, or 5 % of it where that is less, below which a home is not well

# What each merge's last run has: name, help, column.
LAST_RUN = [
    ("crm_merge_last_run_duration_seconds", "Seconds that the last run took, publishing included.", "seconds"),
    ("crm_merge_last_run_rows", "Rows of the CRM in the last run; none if it failed before.", "rows"),
    ("crm_merge_last_run_match_ratio", "Matched rows by rows of the CRM in the last run, 0 to 1.", "match_rate"),
    ("crm_merge_last_run_rejected_rows", "Rows that could not be read in the last run.", "rejected_rows"),
    ("crm_merge_last_run_peak_memory_bytes", "Memory of the largest process of the last run.", "peak_memory_bytes"),
]  # fmt: skip

OF_LAST = ("outcome", "finished_at", *(column for _, _, column in LAST_RUN))
BY_MERGE = f"""
create or replace table by_merge as
select merge, unnest(last), succeeded_at
from (
  select
    merge,
    max(case when outcome = 'succeeded' then finished_at end) as succeeded_at,
    arg_max({{{", ".join(f"'{name}': {name}" for name in OF_LAST)}}}, (finished_at, started_at, attempt)) as last
  from merge_history group by merge
)"""  # noqa: S608
TOTALS = "create or replace table totals as select outcome, count(*) as n from merge_history group by outcome"


class Figures(Collector):
    """The metrics of a home, for a prometheus_client registry; each collection reads what was recorded since the last."""

    def __init__(self, home: Path):
        self.home = home
        self._lock = threading.Lock()  # one DuckDB connection, one collection at a time
        self._history: history.History | None = None
        self._running: tuple[float, list[str]] = (float("-inf"), [])

    def running(self) -> list[str]:
        """Returns the names of the merges that are at work, as of the last few seconds."""
        with self._lock:
            if time.monotonic() - self._running[0] > FRESH:
                self._running = (time.monotonic(), homes.running(self.home))
            return self._running[1]

    def newest(self) -> str | None:
        """Returns when the last recorded run finished, None if there is none."""
        with self._lock:
            found = self._read().execute("select max(finished_at) from by_merge").fetchall()
        return found[0][0]

    def describe(self) -> Iterable[Metric]:
        """Returns nothing: what is there is known when it is collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yields every metric."""
        with self._lock:
            connection = self._read()
            merges = connection.execute(
                f"select merge, {', '.join(OF_LAST)}, succeeded_at from by_merge order by finished_at desc, merge limit {MOST}"  # noqa: S608
            ).fetchall()
            [[every_merge]] = connection.execute("select count(*) from by_merge").fetchall()
            totals = dict(connection.execute("select outcome, n from totals").fetchall())
            unreadable = len(self._history.unreadable) if self._history else 0
        yield from per_merge(merges)
        runs = CounterMetricFamily(
            "crm_merge_runs", "Recorded runs of all merges by outcome.", labels=["outcome"]
        )
        for outcome in history.OUTCOMES:
            runs.add_metric([outcome], totals.pop(outcome, 0))
        runs.add_metric(["other"], sum(totals.values()))
        yield runs
        yield gauge(
            "crm_merge_merges_left_out",
            f"Merges without series of their own: only the {MOST:,} that ran last have some.",
            max(0, every_merge - MOST),
        )
        yield gauge(
            "crm_merge_history_unreadable_files", "Files in the history that are no records.", unreadable
        )
        at_work = self.running()
        yield gauge("crm_merge_running_merges", "Merges that are at work now.", len(at_work))
        one = GaugeMetricFamily(
            "crm_merge_running", "1 for each merge that is at work now.", labels=["merge"]
        )
        for name in at_work[:MOST]:
            one.add_metric([name], 1)
        yield one

    def _read(self) -> duckdb.DuckDBPyConnection:
        """Brings the tables of figures up to date; the caller has the lock."""
        for left in (2, 1, 0):
            try:
                fresh = self._history is None
                self._history = self._history or history.History(self.home)
                if self._history.refresh() or fresh:
                    self._history.connection.execute(BY_MERGE)
                    self._history.connection.execute(TOTALS)
                return self._history.connection
            except (duckdb.IOException, FileNotFoundError):  # an edition was taken away
                self._history = None
                if not left:
                    raise
            except BaseException:
                self._history = None  # half of it may be new
                raise
        raise AssertionError


def per_merge(merges: list[tuple]) -> Iterator[Metric]:
    """Yields the metrics of each merge's last run: rows of (merge, *OF_LAST, succeeded_at)."""
    outcome = GaugeMetricFamily(
        "crm_merge_last_run_outcome",
        "1 for the outcome of the last run, 0 for the others.",
        labels=["merge", "outcome"],
    )
    finished = GaugeMetricFamily(
        "crm_merge_last_run_finished_timestamp_seconds",
        "When the last run finished, Unix time.",
        labels=["merge"],
    )
    success = GaugeMetricFamily(
        "crm_merge_last_success_timestamp_seconds",
        "When a run last succeeded, Unix time; none if none has.",
        labels=["merge"],
    )
    others = [(GaugeMetricFamily(name, words, labels=["merge"]), column) for name, words, column in LAST_RUN]
    for row in merges:
        last = dict(zip(("merge", *OF_LAST, "succeeded_at"), row, strict=True))
        for name in history.OUTCOMES:
            outcome.add_metric([last["merge"], name], int(last["outcome"] == name))
        for family, column in ((finished, "finished_at"), (success, "succeeded_at")):
            if (when := unix(last[column])) is not None:
                family.add_metric([last["merge"]], when)
        for family, column in others:
            if last[column] is not None:
                family.add_metric([last["merge"]], last[column])
    yield outcome
    yield finished
    yield success
    yield from (family for family, _ in others)


def gauge(name: str, words: str, value: float) -> Metric:
    """Returns a metric of one value."""
    family = GaugeMetricFamily(name, words)
    family.add_metric([], value)
    return family


def unix(text: str | None) -> float | None:
    """Returns an ISO time as seconds since 1970; None for what is none."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


# -- Health --


def health(figures: Figures) -> tuple[bool, dict[str, Any]]:
    """Says whether a home is well, and what is known of it.

    {ok, problems: sentences, home_writable, disk_free_bytes, newest_record_age_seconds (null if none), running_merges (count),
    running (the first 100 names)}.
    """
    place = figures.home
    problems: list[str] = []
    found: dict[str, Any] = {
        "ok": True, "problems": problems, "home_writable": False, "disk_free_bytes": None,
        "newest_record_age_seconds": None, "running_merges": None, "running": [],
    }  # fmt: skip
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"crm-merge")
            file.flush()
        found["home_writable"] = True
    except OSError as error:
        problems.append(f"the home can't be written to: {error.strerror}")
    try:
        disk = shutil.disk_usage(place)
        found["disk_free_bytes"] = disk.free
        if disk.free < (least := int(min(ROOM, disk.total / 20))):
            problems.append(
                f"the disk of the home has {limits.amount(disk.free)} free, less than {limits.amount(least)}"
            )
    except OSError as error:
        problems.append(f"the disk of the home can't be looked at: {error.strerror}")
    try:
        if (when := unix(figures.newest())) is not None:
            found["newest_record_age_seconds"] = round(max(0.0, time.time() - when), 3)
        at_work = figures.running()
        found |= {"running_merges": len(at_work), "running": at_work[:SHOWN]}
    except (OSError, duckdb.Error) as error:
        problems.append(f"the history can't be read: {type(error).__name__}")
    found["ok"] = not problems
    return not problems, found


# -- Serving --


def application(home: Path) -> Callable[[dict[str, Any], Callable], Iterable[bytes]]:
    """Returns the WSGI application: /metrics (OpenMetrics 1.0) and /health."""
    registry = CollectorRegistry(auto_describe=False)
    figures = Figures(home)
    registry.register(figures)
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Callable) -> Iterable[bytes]:
        def text(status: str, body: str, kind: str = "text/plain; charset=utf-8", *more: tuple[str, str]):
            data = body.encode()
            start(status, [("Content-Type", kind), ("Content-Length", str(len(data))), *more])
            return [b"" if environ.get("REQUEST_METHOD") == "HEAD" else data]

        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return text(
                "405 Method Not Allowed", "only GET\n", "text/plain; charset=utf-8", ("Allow", "GET, HEAD")
            )
        if environ.get("PATH_INFO") == "/health":
            well, found = health(figures)
            body = json.dumps(found, indent=2) + "\n"
            return text("200 OK" if well else "503 Service Unavailable", body, "application/json")
        if environ.get("PATH_INFO") != "/metrics":
            return text("404 Not Found", "there are /metrics and /health\n")
        # one format, whatever a client says it would take, and all of it
        asked = {
            "REQUEST_METHOD": "GET",
            "HTTP_ACCEPT": "application/openmetrics-text; version=1.0.0",
            "QUERY_STRING": "",
        }
        try:
            body = metrics(environ | asked, start)
            return [b""] if environ["REQUEST_METHOD"] == "HEAD" else body
        except (OSError, duckdb.Error) as error:
            return text(
                "503 Service Unavailable", f"the history can't be read: {type(error).__name__}; see /health\n"
            )

    return answer


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, not more than AT_ONCE at a time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *arguments: Any, **options: Any):
        self._free = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(*arguments, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a request in a thread of its own, or hangs up if all are taken."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves one request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def finish(self, seconds: float) -> None:
        """Waits, no longer than that, until the requests under way are answered."""
        end = time.monotonic() + seconds
        for _ in range(AT_ONCE):
            if not self._free.acquire(timeout=max(0.0, end - time.monotonic())):
                return

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leaves out of the log what a client did: it hung up, or sent no HTTP."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(WSGIRequestHandler):
    """Waits for a request no longer than TIMEOUT; writes no line for each."""

    timeout = TIMEOUT

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""


def server(home: Path, host: str, port: int) -> Server:
    """Returns a server of a home that listens (port 0: a free one, see ``server_port``). HomeProblem if it can't."""
    if not Path(home).is_dir():
        raise HomeProblem(
            f"--home: there is no folder '{home}'; make it first, or set CRM_MERGE_HOME to another"
        )

    class Family(Server):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        return make_server(host, port, application(Path(home)), server_class=Family, handler_class=Handler)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise HomeProblem(
            f"--host, --port: {host} port {port} can't be listened on: {reason}; use another"
        ) from None


def serve(listening: Server, on_ready: Callable[[], None] = lambda: None) -> None:
    """Serves until SIGTERM or SIGINT, then ends: the answers under way have a second to go out.

    ``on_ready`` is called once it answers and heeds signals. Call it in the main thread.
    """
    ended = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        on_ready()
        ended.wait()
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
        listening.finish(1.0)
        for number, handler in before.items():
            signal.signal(number, handler)
