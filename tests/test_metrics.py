"""The metrics of a home as a scraper's own parser reads them, and its health, asked over HTTP of the real command."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from crm_merge.home import history, metrics
from crm_merge.merging import lock
from tests.test_command_line import COMMAND, crm_merge
from tests.test_history import MARCH, entry


def samples(text: str) -> dict[tuple, float]:
    """Every sample by its name and labels, as the library's strict parser reads the text."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(figures: metrics.Figures) -> dict[tuple, float]:
    registry = CollectorRegistry()
    registry.register(figures)
    return samples(generate_latest(registry).decode())


def of(name: str, **labels: str) -> tuple:
    return (f"crm_merge_{name}", *sorted(labels.items()))


@contextmanager
def served(home, *arguments):
    """The command at work on a free port; ended by SIGTERM, it has to exit with 0 and no word."""
    process = subprocess.Popen(
        [COMMAND, "metrics", "--home", home, "--port", "0", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/metrics", line)
        assert found, line + process.stderr.read()
        yield SimpleNamespace(port=int(found[1]), url=f"http://127.0.0.1:{found[1]}", process=process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=5)
        assert (process.returncode, out, err) == (0, "", "")
    finally:
        process.kill()
        process.communicate()


def ask(url: str, method: str = "GET", **headers: str):
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def test_the_last_run_of_each_merge_and_totals(tmp_path):
    history.record(
        tmp_path, entry(1, rows=10, match_rate=0.5, rejected_rows=2, peak_memory_bytes=10**9, seconds=3.5)
    )
    history.record(tmp_path, entry(2, outcome="failed", rows=None, seconds=1.0))
    history.record(tmp_path, entry(3, merge="b", rows=7, match_rate=None))
    figures = metrics.Figures(tmp_path)
    for folded in (False, True):
        found = scraped(figures)
        weekly = {"merge": "acme/weekly"}
        assert found[of("last_run_outcome", outcome="failed", **weekly)] == 1
        assert found[of("last_run_outcome", outcome="succeeded", **weekly)] == 0
        assert found[of("last_run_duration_seconds", **weekly)] == 1.0
        assert of("last_run_rows", **weekly) not in found
        assert (
            found[of("last_success_timestamp_seconds", **weekly)]
            == datetime(2026, 1, 1, 0, 1, 1, tzinfo=timezone.utc).timestamp()
        )
        assert (
            found[of("last_run_finished_timestamp_seconds", **weekly)]
            == datetime(2026, 1, 1, 0, 1, 2, tzinfo=timezone.utc).timestamp()
        )
        assert found[of("last_run_rows", merge="b")] == 7
        assert of("last_run_match_ratio", merge="b") not in found
        assert {name: found[of("runs_total", outcome=name)] for name in (*history.OUTCOMES, "other")} == {
            "succeeded": 2, "failed": 1, "published_nothing": 0, "interrupted": 0, "other": 0,
        }  # fmt: skip
        assert found[of("merges_left_out")] == 0
        if not folded:
            history.compact(tmp_path, MARCH)
    history.record(tmp_path, entry(4, 3, rows=11, match_rate=0.25, rejected_rows=1, peak_memory_bytes=5))
    found = scraped(figures)
    for name, value in {"rows": 11, "match_ratio": 0.25, "rejected_rows": 1, "peak_memory_bytes": 5}.items():
        assert found[of(f"last_run_{name}", **weekly)] == value
    assert found[of("last_run_outcome", outcome="succeeded", **weekly)] == 1
    assert found[of("runs_total", outcome="succeeded")] == 3
    # recorded again after it was folded: still one run
    history.record(tmp_path, entry(1, rows=12))
    assert scraped(figures)[of("runs_total", outcome="succeeded")] == 3


def test_a_home_without_history(tmp_path):
    found = scraped(metrics.Figures(tmp_path))
    assert found[of("runs_total", outcome="succeeded")] == 0
    assert found[of("running_merges")] == 0


def test_hostile_names_are_escaped(tmp_path):
    names = ['a"b', "a\\b", "a\\nb", '"} 1 # {', "日本/é", "a{b=c}", "# HELP x y"]
    for n, name in enumerate(names):
        history.record(tmp_path, entry(n, merge=name, rows=n))
        with lock.held(tmp_path / "merges" / name):
            pass
    # what a record can't hold, a foreign Parquet file may
    columns = "'x\n# EOF\nevil 1' as merge, 'r9' as run_id, 1 as attempt, '2025-01-01T00:00:00.000+00:00' as started_at, 'never' as finished_at, 'a\nb' as outcome, 5 as rows"
    duckdb.sql(f"copy (select {columns}) to '{tmp_path}/history/2025-01.parquet'")
    figures = metrics.Figures(tmp_path)
    with lock.held(tmp_path / "merges" / names[3]):
        found = scraped(figures)
        assert found[of("running", merge=names[3])] == 1 and found[of("running_merges")] == 1
    for n, name in enumerate(names):
        assert found[of("last_run_rows", merge=name)] == n
    assert found[of("last_run_rows", merge="x\n# EOF\nevil 1")] == 5
    assert found[of("runs_total", outcome="other")] == 1
    assert not any(name.startswith("evil") for name, *_ in found)


def test_series_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "MOST", 5)
    for n in range(12):
        history.record(tmp_path, entry(n, merge=f"m{n}"))
    figures = metrics.Figures(tmp_path)
    for _ in range(2):
        found = scraped(figures)
        assert {key[1][1] for key in found if key[0] == "crm_merge_last_run_rows"} == {
            "m7",
            "m8",
            "m9",
            "m10",
            "m11",
        }
        assert found[of("merges_left_out")] == 7
        assert found[of("runs_total", outcome="succeeded")] == 12
        history.compact(tmp_path, MARCH)


def test_an_edition_taken_away_between_two_scrapes(tmp_path):
    figures = metrics.Figures(tmp_path)
    for n in range(3):
        history.record(tmp_path, entry(n))
        assert scraped(figures)[of("runs_total", outcome="succeeded")] == n + 1
        history.compact(tmp_path, MARCH)
        for old in sorted((tmp_path / "history").glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)[
            :-1
        ]:
            old.unlink()
    assert scraped(figures)[of("runs_total", outcome="succeeded")] == 3


def test_many_merges_are_scraped_quickly(tmp_path):
    (tmp_path / "history").mkdir()
    duckdb.sql(f"""
        copy (
          select 'm' || i % 100000 as merge, 'r' || i as run_id, 1 as attempt, '2026-01-01T00:00:00.000+00:00' as started_at,
            strftime(timestamp '2026-01-01' + to_seconds(i), '%Y-%m-%dT%H:%M:%S.000+00:00') as finished_at, 'succeeded' as outcome, i as rows
          from range(1000000) as t(i)
        ) to '{tmp_path}/history/2026-01.parquet'""")
    figures = metrics.Figures(tmp_path)
    started = time.monotonic()
    found = scraped(figures)
    assert found[of("runs_total", outcome="succeeded")] == 1_000_000
    assert found[of("merges_left_out")] == 99_000
    assert found[of("last_run_rows", merge="m99999")] == 999_999
    assert time.monotonic() - started < 30
    started = time.monotonic()
    scraped(figures)
    assert time.monotonic() - started < 5


def test_over_http(tmp_path):
    history.record(tmp_path, entry(1, merge='a"b\\c'))
    with served(tmp_path) as server:
        status, headers, text = ask(f"{server.url}/metrics")
        assert status == 200 and headers["Content-Type"].startswith(
            "application/openmetrics-text; version=1.0.0"
        )
        assert text.endswith("# EOF\n")
        assert samples(text)[of("last_run_rows", merge='a"b\\c')] == 1
        for accept in ("text/plain", "application/openmetrics-text; version=x", "*/*", ""):
            assert ask(f"{server.url}/metrics?name[]=x", Accept=accept)[2] == text
        with lock.held(tmp_path / "merges" / "acme" / "weekly"):  # while a merge runs
            time.sleep(metrics.FRESH + 0.5)
            assert samples(ask(f"{server.url}/metrics")[2])[of("running", merge="acme/weekly")] == 1
            status, headers, text = ask(f"{server.url}/health")
        found = json.loads(text)
        assert status == 200 and headers["Content-Type"] == "application/json"
        assert found["ok"] and found["home_writable"] and found["problems"] == []
        assert found["running"] == ["acme/weekly"] and found["running_merges"] == 1
        age = datetime.now(timezone.utc) - datetime(2026, 1, 1, 0, 1, 1, tzinfo=timezone.utc)
        assert abs(timedelta(seconds=found["newest_record_age_seconds"]) - age) < timedelta(minutes=1)
        assert found["disk_free_bytes"] > 0
        assert not [path.name for path in tmp_path.iterdir() if path.name not in ("history", "merges")]
        assert ask(f"{server.url}/metrics", "POST")[0] == 405
        assert ask(f"{server.url}/metrics", "HEAD")[::2] == (200, "")
        assert ask(f"{server.url}/../../etc/passwd")[0] == 404


def test_it_listens_on_this_machine_only(tmp_path):
    with served(tmp_path) as server:
        table = [
            line.split()[1]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if line.split()[3] == "0A"
        ]
        assert [address for address in table if int(address.split(":")[1], 16) == server.port] == [
            f"0100007F:{server.port:04X}"
        ]


def test_slow_and_broken_clients_keep_nobody_out(tmp_path):
    with served(tmp_path) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(metrics.AT_ONCE - 2)]
        idle[0].sendall(b"\xff\x00 nonsense\r\n\r\n")
        idle[1].close()
        assert ask(f"{server.url}/health")[0] == 200
        # ended while they hang: at once, and without a word
        started = time.monotonic()
    assert time.monotonic() - started < 4
    for connection in idle[2:]:
        connection.close()


def test_a_home_that_is_not_well(tmp_path, monkeypatch):
    figures = metrics.Figures(tmp_path / "none")
    well, found = metrics.health(figures)
    assert not well and not found["ok"]
    assert any("can't be written to: No such file" in problem for problem in found["problems"])
    monkeypatch.setattr(metrics, "ROOM", 10**18)
    monkeypatch.setattr(metrics.shutil, "disk_usage", lambda path: SimpleNamespace(total=10**12, free=10**9))
    well, found = metrics.health(metrics.Figures(tmp_path))
    assert not well and found["problems"] == ["the disk of the home has 1.0 GB free, less than 50.0 GB"]


def test_a_home_that_goes_away_is_503(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    with served(home) as server:
        assert ask(f"{server.url}/health")[0] == 200
        home.rmdir()
        status, _, text = ask(f"{server.url}/health")
        assert status == 503 and "can't be written to" in json.loads(text)["problems"][0]
        assert ask(f"{server.url}/metrics")[0] == 200


def test_a_damaged_history_is_503_and_a_sentence(tmp_path):
    (tmp_path / "history").mkdir()
    columns = "'a' as merge, 'r' || i as run_id, 1 as attempt, '2026-01-01T00:00:00.000+00:00' as started_at, '2026-01-01T00:00:01.000+00:00' as finished_at, 'failed' as outcome"
    path = tmp_path / "history" / "2026-01.parquet"
    duckdb.sql(f"copy (select {columns} from range(100000) as t(i)) to '{path}' (compression zstd)")
    whole = bytearray(path.read_bytes())
    whole[4 : len(whole) // 2] = bytes(len(whole) // 2 - 4)  # its footer is whole
    path.write_bytes(whole)
    with served(tmp_path) as server:
        status, _, text = ask(f"{server.url}/metrics")
        assert status == 503 and text.startswith("the history can't be read")
        status, _, text = ask(f"{server.url}/health")
        assert status == 503 and "the history can't be read" in text
    code, out, err = crm_merge("history", "--home", tmp_path)
    assert code == 1 and "can't be read" in err and "Traceback" not in out + err


def test_interrupted_from_the_keyboard(tmp_path):
    process = subprocess.Popen(
        [COMMAND, "metrics", "--home", tmp_path, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=5) == ("", "")
    assert process.returncode == 0


def test_mistakes_are_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for arguments, said in (
            (["--port", port], f"127.0.0.1 port {port} can't be listened on: Address already in use"),
            (["--host", "no.such.host.invalid", "--port", 0], "can't be listened on"),
            (["--home", "/none"], "there is no folder '/none'"),
        ):
            code, out, err = crm_merge("metrics", *arguments, CRM_MERGE_HOME=str(tmp_path))
            assert code == 1 and said in err and "Traceback" not in out + err
    assert crm_merge("metrics", "--home", tmp_path, "--port", "70000")[0] == 2


@pytest.mark.parametrize("name", ["crm_merge_runs_total", "crm_merge_last_run_outcome"])
def test_help_says_what_each_metric_is(tmp_path, name):
    families = {family.name: family for family in text_string_to_metric_families(
        generate_latest(registered(tmp_path)).decode())}  # fmt: skip
    assert families[name.removesuffix("_total")].documentation


def registered(home) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(metrics.Figures(home))
    return registry
