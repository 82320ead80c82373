"""The history of a home: what is recorded is there, once, whoever records, folds or is killed beside it."""

from __future__ import annotations

import csv
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import pytest

from crm_merge.engine import dbt_run
from crm_merge.home import folders as homes
from crm_merge.home import history
from crm_merge.home.history import Entry, HomeProblem
from crm_merge.merging import lock, publish, steps
from crm_merge.spec import yaml_file
from tests.conftest import PROJECT, write_csv
from tests.oracle import Table
from tests.test_command_line import crm_merge

MARCH = datetime(2026, 3, 5, tzinfo=timezone.utc)


def entry(n: int = 0, month: int = 1, **values) -> Entry:
    whole = {
        "merge": "acme/weekly", "run_id": f"r{n}", "outcome": "succeeded", "seconds": 60.0, "rows": n,
        "started_at": f"2026-{month:02}-01T00:00:00.000+00:00",
        "finished_at": f"2026-{month:02}-01T00:01:{n % 60:02}.000+00:00",
    }  # fmt: skip
    return Entry(**(whole | values))


def runs(home: Path) -> list[str]:
    return sorted(found.run_id for found in history.rows(home, most=100_000))


def script(code: str, *arguments: object) -> subprocess.Popen:
    """A process with the project on its path, and names that the tests use."""
    head = (
        "import os, signal, sys\nfrom datetime import datetime, timezone\nfrom pathlib import Path\n"
        "from crm_merge.home import history\nfrom crm_merge.home.history import Entry\n"
        "home, MARCH = Path(sys.argv[1]), datetime(2026, 3, 5, tzinfo=timezone.utc)\n"
        f"{inspect.getsource(entry)}\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, arguments)],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


# The events of Python itself at which the child is killed: no test hook is in the code.
KILL = """
def watch(steps, allowed):
    seen = 0
    def hook(event, arguments):
        nonlocal seen
        if event in steps:
            seen += 1
            if seen > allowed:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
steps = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.scandir", "fcntl.flock", "os.utime"}
"""


def test_what_is_recorded_is_there_with_every_column(tmp_path):
    given = entry(
        7, attempt=2, resumed=True, enriched_rows=9, matched_rows=3, match_rate=3 / 7, rejected_rows=1, conflicts=4,
        changed_cells=5, net_new_people=6, rows_per_second=0.5, peak_memory_bytes=2**40, spill_bytes=0, checks_passed=84,
        checks_failed=0, problem='„quoted" \'text\', 日本', crm_merge_version="0.1.0", dbt_core_version="1", duckdb_version="2",
        spec_sha256="a" * 64, export_to="/out", bytes_out=10**12,
    )  # fmt: skip
    assert None not in vars(given).values()
    file = history.record(tmp_path, given)
    assert file.parent == tmp_path / "history" / "2026-01"
    assert history.rows(tmp_path) == [given]
    history.compact(tmp_path, MARCH)
    assert not file.exists()
    assert history.rows(tmp_path) == [given]
    with history.connect(tmp_path) as connection:
        names = [row[0] for row in connection.execute("describe merge_history").fetchall()]
    assert names == list(history.COLUMNS)
    for name in names:
        assert f"{name}" in (Entry.__doc__ or ""), f"{name} is not documented"


def test_nothing_json_parquet_and_both(tmp_path):
    assert history.rows(tmp_path) == []
    for n in range(10):
        history.record(tmp_path, entry(n, 1 + n % 3))
    assert len(runs(tmp_path)) == 10
    done = history.compact(tmp_path, MARCH)
    assert (done.months, done.records, done.removed) == (["2026-01", "2026-02"], 7, 7)
    assert sorted(path.name for path in (tmp_path / "history").iterdir() if not path.name.startswith(".")) == [
        "2026-01.parquet", "2026-02.parquet", "2026-03",
    ]  # fmt: skip
    assert len(runs(tmp_path)) == 10
    history.compact(tmp_path, datetime(2026, 4, 1, tzinfo=timezone.utc))
    assert not (tmp_path / "history" / "2026-03").exists()
    assert len(runs(tmp_path)) == 10
    assert history.compact(tmp_path, datetime(2026, 4, 1, tzinfo=timezone.utc)) == history.Compacted()


def test_newest_first_and_of_one_merge(tmp_path):
    for n in range(6):
        history.record(tmp_path, entry(n, merge="a" if n % 2 else "b/c'"))
    assert [found.run_id for found in history.rows(tmp_path, most=2)] == ["r5", "r4"]
    assert [found.run_id for found in history.rows(tmp_path, merge="b/c'")] == ["r4", "r2", "r0"]


def test_a_run_is_there_once(tmp_path):
    history.record(tmp_path, entry(1, rows=1))
    history.record(tmp_path, entry(1, rows=2))
    history.record(tmp_path, entry(1, attempt=2, rows=3))
    assert sorted(found.rows for found in history.rows(tmp_path)) == [2, 3]
    history.compact(tmp_path, MARCH)
    late = entry(1, rows=4)
    history.record(tmp_path, late)  # after its month was folded
    assert sorted(found.rows for found in history.rows(tmp_path)) == [3, 4]
    assert history.compact(tmp_path, MARCH).months == ["2026-01"]
    assert (tmp_path / "history" / "2026-01-2.parquet").exists()
    assert sorted(found.rows for found in history.rows(tmp_path)) == [3, 4]
    history.record(
        tmp_path, replace(late, started_at="2026-02-01T00:00:00+00:00")
    )  # the same run, in another month
    assert len(history.rows(tmp_path)) == 2
    history.compact(tmp_path, MARCH)
    assert len(history.rows(tmp_path)) == 2


def test_a_superseded_edition_goes_after_an_hour(tmp_path):
    for n in range(2):
        history.record(tmp_path, entry(n))
        history.compact(tmp_path, MARCH)
    first, second = (tmp_path / "history" / name for name in ("2026-01.parquet", "2026-01-2.parquet"))
    history.compact(tmp_path, MARCH)
    assert first.exists()
    os.utime(second, (time.time() - 4000,) * 2)
    history.compact(tmp_path, MARCH)
    assert not first.exists()
    assert runs(tmp_path) == ["r0", "r1"]


def test_foreign_and_half_written_files_break_nothing(tmp_path):
    good = history.record(tmp_path, entry(1))
    folder, names = good.parent, iter(f"{n:032x}.json" for n in range(100))
    whole = json.loads(good.read_text())
    broken = [
        good.read_text()[:40], "", "null", "[]", "[" * 20_000, '{"merge": 1}', "\x00" * 100, "{" + " " * 100_000 + "}",
        json.dumps(whole | {"merge": "../../etc"}), json.dumps(whole | {"merge": "a\nb"}), json.dumps(whole | {"rows": "5"}),
        json.dumps(whole | {"rows": True}), json.dumps(whole | {"rows": 2**70}), json.dumps(whole | {"rows": 10**400}),
        json.dumps(whole | {"seconds": float("nan")}), json.dumps(whole | {"outcome": "x"}),
        json.dumps(whole | {"started_at": "yesterday"}), json.dumps(whole | {"started_at": "2026-01-01T00:00:00"}),
        json.dumps(whole | {"attempt": 0}), json.dumps(whole | {"run_id": "x" * 1000}),
    ]  # fmt: skip
    for text in broken:
        (folder / next(names)).write_text(text)
    (folder / next(names)).write_bytes(b"\xff\xfe\x00{")
    (folder / next(names)).symlink_to(good)
    os.mkfifo(folder / next(names))
    (folder / next(names)).mkdir()
    n_bad = len(broken) + 4
    (folder / "notes.json").write_text("{}")
    (folder / ".00-half.part").write_text("{")
    (tmp_path / "history" / "2026-01-copy.parquet").write_text("x")
    (tmp_path / "history" / "2025-12.parquet").write_text("PAR1 half")
    duckdb.sql(f"copy (select 1 as x) to '{tmp_path}/history/2025-11.parquet'")
    # what may stand in a text; and a column that is not known
    odd = {"run_id": "nul \0 quote \" ' \\ \ud800", "colour": "blue"}
    (folder / next(names)).write_text(json.dumps(whole | odd))
    for _ in range(2):
        found = history.History(tmp_path)
        assert sorted(row[0] for row in found.connection.execute("select run_id from merge_history").fetchall()) == [
            "nul   quote \" ' \\ ?", "r1",
        ]  # fmt: skip
        assert len(found.unreadable) == n_bad + 2
        assert len(history.compact(tmp_path, MARCH).unreadable) == n_bad
    assert (tmp_path / "history" / "2025-12.parquet").read_text() == "PAR1 half"
    assert sum(1 for path in folder.iterdir() if not path.name.startswith(".")) == n_bad + 1


def test_a_damaged_edition_is_not_built_on_nor_removed(tmp_path):
    (tmp_path / "history").mkdir()
    damaged = tmp_path / "history" / "2026-01.parquet"
    damaged.write_text("PAR1")
    os.utime(damaged, (0, 0))
    history.record(tmp_path, entry(1))
    history.compact(tmp_path, MARCH)
    os.utime(tmp_path / "history" / "2026-01-2.parquet", (0, 0))
    history.compact(tmp_path, MARCH)
    assert runs(tmp_path) == ["r1"]
    assert damaged.read_text() == "PAR1"


def test_an_edition_of_an_earlier_version_lacks_columns(tmp_path):
    (tmp_path / "history").mkdir()
    columns = "'a' as merge, 'r9' as run_id, 1 as attempt, '2026-01-01T00:00:00.000+00:00' as started_at, '2026-01-01T00:00:01.000+00:00' as finished_at, 'failed' as outcome"
    duckdb.sql(f"copy (select {columns}) to '{tmp_path}/history/2026-01.parquet'")
    history.record(tmp_path, entry(1))
    assert runs(tmp_path) == ["r1", "r9"]
    history.compact(tmp_path, MARCH)
    assert runs(tmp_path) == ["r1", "r9"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"merge": "../x"}, "begins with a dot"),
        ({"merge": "/etc"}, "a slash"),
        ({"merge": "a//b"}, "a slash"),
        ({"merge": ""}, "merge: '' is not accepted"),
        ({"merge": "a\nb"}, "control character"),
        ({"merge": "a/\ud800"}, "not UTF-8"),
        ({"merge": "a/out"}, "a folder of its own"),
        ({"merge": "x" * 300}, "over 255 bytes"),
        ({"merge": "/".join("a" * 20)}, "16 folders"),
        ({"outcome": "fine"}, "accepted: succeeded, failed"),
        ({"rows": 1.5}, "a whole number"),
        ({"seconds": float("inf")}, "a number"),
        ({"match_rate": "1"}, "a number"),
        ({"started_at": "2026-01-01"}, "with a zone"),
        ({"run_id": ""}, "1 to 200 characters"),
    ],
)
def test_what_is_not_accepted_is_said_and_not_written(tmp_path, values, said):
    with pytest.raises(HomeProblem, match=said):
        history.record(tmp_path, entry(1, **values))
    assert list(tmp_path.iterdir()) == []


def test_times_are_kept_in_utc(tmp_path):
    history.record(
        tmp_path, entry(1, started_at="2026-02-01T00:30:00+01:00", finished_at="2026-02-01T00:40:00Z")
    )
    [found] = history.rows(tmp_path)
    assert (found.started_at, found.finished_at) == (
        "2026-01-31T23:30:00.000+00:00",
        "2026-02-01T00:40:00.000+00:00",
    )
    assert (tmp_path / "history" / "2026-01").is_dir()


def test_problems_are_one_short_sentence_without_credentials(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    monkeypatch.setenv("CRM_MERGE_VENDOR", "hunter2hunter2")
    for text, wanted in {
        "people.yml, line 3: crm.csv: 1 of 2 rows can not be read. Fix them.": "people.yml, line 3: crm.csv: 1 of 2 rows can not be read.",
        "first\nsecond": "first",
        "a https://me:pw@x.com/a.csv?X-Amz-Signature=abc&y#z is gone": "a https://x.com/a.csv is gone",
        "key wJalrXUtnFEMI/K7MDENG and hunter2hunter2!": "key … and …!",
        "AKIAIOSFODNN7EXAMPLE was refused": "… was refused",
        "Authorization: Bearer abcdef.123456": "Authorization: …",
        "secret_key='a b', password=x": "secret_key=…, password=…",
        "\x1b[31mred\x07": "[31mred",
        "": "",
    }.items():  # fmt: skip
        got = history.told(text)
        for secret in ("wJalr", "hunter2", "AKIA", "abcdef.123", "a b'", ":pw@", "Signature=abc"):
            assert secret not in got
        assert got == wanted or "Authorization" in text
    assert len(history.told("x" * 100_000)) == 300
    started = time.process_time()
    (
        history.told("token" * 4000),
        history.told("://" * 7000),
        history.told("a" * 20_000),
        history.told("-_key" * 4000),
    )
    assert time.process_time() - started < 2


def test_many_processes_record_at_once_while_one_folds(tmp_path):
    code = """
for n in range(60):
    history.record(home, entry(int(sys.argv[2]) * 1000 + n, 1 + n % 3))
"""
    processes = [script(code, tmp_path, n) for n in range(4)]
    folds = 0
    seen = 0
    while any(process.poll() is None for process in processes):
        history.compact(tmp_path, MARCH)
        folds += 1
        now = len(runs(tmp_path))
        assert now >= seen, "a record that was there is gone"
        seen = now
    for process in processes:
        assert process.wait() == 0, process.stderr.read()
    assert folds > 1
    assert runs(tmp_path) == sorted(f"r{k * 1000 + n}" for k in range(4) for n in range(60))
    history.compact(tmp_path, MARCH)
    assert len(runs(tmp_path)) == 240


def test_readers_miss_nothing_while_a_month_is_folded(tmp_path):
    for n in range(600):
        history.record(tmp_path, entry(n))
    process = script("history.compact(home, MARCH)", tmp_path)
    counts = set()
    reader = history.History(tmp_path)
    while process.poll() is None:
        reader.refresh()
        counts.add(reader.connection.execute("select count(*) from merge_history").fetchone()[0])
        counts.add(len(runs(tmp_path)))
    assert process.wait() == 0, process.stderr.read()
    assert counts == {600}
    assert not (tmp_path / "history" / "2026-01").exists()


def test_a_record_replaced_while_its_month_is_folded_is_not_removed(tmp_path):
    """The compaction has read the file; before it removes it, the run is recorded anew."""
    history.record(tmp_path, entry(1, rows=1))
    found = dict(history._records(tmp_path / "history", "2026-01"))
    history.record(tmp_path, entry(1, rows=2))
    assert history._remove_folded(tmp_path / "history", found) == 0
    assert [entry.rows for entry in history.rows(tmp_path)] == [2]


def test_two_compactions(tmp_path):
    import fcntl

    history.record(tmp_path, entry(1))
    with (tmp_path / "history" / ".compacting").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(HomeProblem, match="another compaction is at work"):
            history.compact(tmp_path, MARCH)


def test_a_compaction_killed_at_every_step_loses_nothing(tmp_path):
    wanted = [f"r{n}" for n in range(6)]
    ended = 0
    for allowed in range(200):
        home = tmp_path / f"home{allowed}"
        for n in range(6):
            history.record(home, entry(n, 1 + n % 2))
        if allowed % 2:  # a folded month, and what comes late
            history.compact(home, MARCH)
            history.record(home, entry(0, 1, rows=99))
            history.record(home, entry(6, 2))
        process = script(KILL + "watch(steps, int(sys.argv[2]))\nhistory.compact(home, MARCH)", home, allowed)
        process.communicate(timeout=60)
        expected = wanted + (["r6"] if allowed % 2 else [])
        assert runs(home) == expected, f"after step {allowed}"
        history.compact(home, MARCH)
        assert runs(home) == expected, f"after step {allowed} and another compaction"
        if allowed % 2:
            assert next(found.rows for found in history.rows(home) if found.run_id == "r0") == 99
        assert not list((home / "history").glob("2026-*/*.json"))
        if process.returncode == 0:
            ended += 1
            if ended == 2:
                break
        else:
            assert process.returncode == -signal.SIGKILL
    assert ended == 2 and allowed > 15


def test_a_recorder_killed_at_every_step_leaves_all_or_nothing(tmp_path):
    for allowed in range(50):
        home = tmp_path / f"home{allowed}"
        process = script(
            KILL + "watch(steps | {'open'}, int(sys.argv[2]))\nhistory.record(home, entry(1))", home, allowed
        )
        process.communicate(timeout=60)
        assert runs(home) in ([], ["r1"])
        history.record(home, entry(2))
        history.compact(home, MARCH)
        assert "r2" in runs(home)
        if process.returncode == 0:
            assert "r1" in runs(home)
            break
    assert process.returncode == 0 and allowed > 4


def test_what_killed_recorders_leave_goes_after_a_day(tmp_path):
    file = history.record(tmp_path, entry(1))
    old, new = (file.with_name(f".{'0' * 32}-{n * 32}.part") for n in "ab")
    for path in (old, new):
        path.write_text("{")
    os.utime(old, (0, 0))
    history.compact(tmp_path, datetime(2026, 1, 5, tzinfo=timezone.utc))
    assert not old.exists() and new.exists()


def test_a_stopped_compaction_holds_no_merge_up(tmp_path, monkeypatch):
    import fcntl

    history.record(tmp_path, entry(1))
    monkeypatch.setattr(history, "PATIENCE", 0.2)
    with (tmp_path / "history" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        history.record(tmp_path, entry(2))
    assert runs(tmp_path) == ["r1", "r2"]


# -- The lock of a merge directory --


def test_a_lock_counts_only_at_its_place(tmp_path):
    place = tmp_path / "merges" / "acme" / "weekly"
    with lock.held(place):
        assert homes.running(tmp_path) == ["acme/weekly"]
        with pytest.raises(lock.InUse), lock.held(place):
            pass
        moved = tmp_path / "merges" / "acme" / "gone"
        place.rename(moved)  # as a sweep does
        with lock.held(place):  # a new directory, and a lock of its own
            assert homes.running(tmp_path) == ["acme/gone", "acme/weekly"]
    assert homes.running(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_place_where_no_directory_can_be_made_is_not_in_use():
    with (
        pytest.raises(FileNotFoundError, match="no directory can be made there"),
        lock.held(Path("/proc/none/weekly")),
    ):
        pass


def test_who_looks_keeps_no_merge_from_starting(tmp_path):
    place = tmp_path / "merges" / "a"
    with lock.held(place):
        pass
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            lock.at_work(place)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            with lock.held(place):
                pass
    finally:
        ended.set()
        for looker in lookers:
            looker.join()


def test_places_in_a_home_lead_nowhere_else(tmp_path):
    assert homes.merge_directory(tmp_path, "acme/it's") == tmp_path / "merges" / "acme" / "it's"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "merges").mkdir()
    (tmp_path / "merges" / "acme").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HomeProblem, match="symbolic link"):
        homes.merge_directory(tmp_path, "acme/weekly")
    with pytest.raises(HomeProblem, match="not the name of a merge"):
        homes.published_folder(tmp_path, "../../etc")
    (tmp_path / "elsewhere" / "x").mkdir()
    (tmp_path / "elsewhere" / "x" / ".lock").touch()
    assert list(homes.merge_names(tmp_path)) == []


# -- Of a real merge --


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """A merge by the command line's own pieces: its directory, spec, outcome, manifest."""
    folder = tmp_path_factory.mktemp("merged")
    write_csv(
        folder / "crm.csv",
        Table(["Id", "Email", "Title"], [["1", "a@x.com", "CEO"], ["2", "b@x.com", ""], ["3", "", ""]]),
    )
    write_csv(folder / "apollo.csv", Table(["email", "title"], [["B@X.com", "CTO"], ["z@x.com", "?"]]))
    (folder / "people.yml").write_text(
        "original: {path: crm.csv}\nenriched:\n  - {name: apollo, path: apollo.csv}\nmatch_on: [email]\nexport: {bom: true}\n"
    )
    spec = yaml_file.load(folder / "people.yml")
    outcome = dbt_run.run(["build"], folder / "m", spec)
    assert outcome.ok, outcome.problems
    manifest = publish.publish(folder / "m", spec, 1.0, steps.checks(outcome))
    return folder, spec, outcome, manifest


def test_a_merge_as_an_entry(merged, tmp_path):
    folder, spec, outcome, manifest = merged
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    end = datetime(2026, 1, 1, 0, 0, 10, tzinfo=timezone.utc)
    got = history.of_merge(
        folder / "m", manifest, outcome, merge="acme/weekly", run_id="x", started_at=start, finished_at=end
    )
    history.record(tmp_path, got)
    assert history.rows(tmp_path) == [got]
    assert (got.outcome, got.rows, got.enriched_rows, got.matched_rows, got.rejected_rows) == (
        "succeeded",
        3,
        2,
        1,
        0,
    )
    assert got.match_rate == pytest.approx(1 / 3)
    assert (got.changed_cells, got.net_new_people, got.conflicts, got.seconds) == (1, 1, 0, 10.0)
    assert got.rows_per_second == 0.5
    assert got.checks_passed > 50 and got.checks_failed == 0
    assert got.peak_memory_bytes > 50_000_000 and got.spill_bytes is None
    assert got.bytes_out == sum(
        file.stat().st_size for file in (folder / "m" / "out").iterdir() if file.suffix == ".csv"
    )
    assert got.export_to == str(folder / "m" / "out")
    assert got.spec_sha256 == history.spec_digest(dict(reversed(spec.items())))
    assert got.duckdb_version == duckdb.__version__
    unpublished = history.of_merge(
        folder / "m",
        None,
        outcome,
        merge="a",
        run_id="x",
        started_at=start,
        spec=spec,
        problem="the disk is full. Now what?",
    )
    assert (unpublished.outcome, unpublished.rows, unpublished.bytes_out) == ("published_nothing", 3, None)
    assert unpublished.problem == "the disk is full."
    assert unpublished.spec_sha256 == got.spec_sha256


def test_checks_are_published_beside_the_exports(merged):
    folder, spec, outcome, manifest = merged
    checks = steps.checks(outcome)
    assert len(checks) == len(outcome.checks) > 50
    assert {check["status"] for check in checks} == {"pass"}
    assert all(check["failures"] == 0 and check["seconds"] >= 0 for check in checks)
    text = (folder / "m" / "out" / "checks.csv").read_bytes()
    assert text.startswith(b"\xef\xbb\xbf")
    found = list(csv.DictReader(text.decode("utf-8-sig").splitlines()))
    assert [row["name"] for row in found] == sorted(check["name"] for check in checks)
    assert set(map(lambda row: (row["status"], row["failures"]), found)) == {("pass", "0")}
    [listed] = [file for file in manifest["files"] if file["name"] == "checks.csv"]
    assert listed["bytes"] == len(text)
    # who does not hand them over publishes none, and leaves none of before
    assert all(file["name"] != "checks.csv" for file in publish.publish(folder / "m", spec, 1.0)["files"])
    assert not (folder / "m" / "out" / "checks.csv").exists()
    publish.publish(folder / "m", spec, 1.0, [])
    assert (folder / "m" / "out" / "checks.csv").read_text("utf-8-sig") == "name,status,failures\n"


def test_a_failed_run_as_an_entry(merged, tmp_path):
    outcome = dbt_run.Outcome(
        ok=False,
        checks=[dbt_run.Check("one", "a", "pass", 0, 0.1), dbt_run.Check("two", "a", "fail", 3, 0.1)],
        resumed="from the start, since there is no earlier run",
    )  # fmt: skip
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    got = history.of_failure(outcome, merge="a", run_id="x", started_at=start)
    assert (got.outcome, got.problem, got.checks_passed, got.checks_failed) == (
        "failed",
        "the check 'two' failed",
        1,
        1,
    )
    assert not got.resumed
    outcome.resumed = "5 finished steps are kept"
    outcome.problems = ["original: crm.csv: no such file. Look."]
    got = history.of_failure(outcome, merge="a", run_id="x", started_at=start, ended="interrupted")
    assert (got.problem, got.resumed, got.outcome) == (
        "original: crm.csv: no such file.",
        True,
        "interrupted",
    )
    nothing = history.of_failure(
        None, merge="a", run_id="y", started_at=start, problem="there is no spec file"
    )
    for found in (got, nothing):
        history.record(tmp_path, found)
    assert len(history.rows(tmp_path)) == 2
    with pytest.raises(HomeProblem, match="with a zone"):
        history.of_failure(None, merge="a", run_id="y", started_at=datetime(2026, 1, 1))


# -- The command --


def test_the_command_shows_and_writes(tmp_path):
    code, out, err = crm_merge("history", "--home", tmp_path)
    assert code == 0 and "No run is recorded." in out
    history.record(
        tmp_path,
        entry(1, merge="=cmd()", match_rate=0.5, checks_passed=84, checks_failed=1, peak_memory_bytes=10**9),
    )
    history.record(
        tmp_path, entry(2, merge="b", outcome="failed", rows=None, problem='[red]=HYPERLINK("x")[/red]')
    )
    code, out, err = crm_merge("history", CRM_MERGE_HOME=str(tmp_path), COLUMNS="250")
    assert code == 0, err
    for said in ("=cmd()", "50.0%", "84 passed, 1 failed", "1.0 GB", "failed", '[red]=HYPERLINK("x")[/red]'):
        assert said in out
    assert out.index("2026-01-01 00:01:02") < out.index("2026-01-01 00:01:01")
    code, out, _ = crm_merge("history", "--home", tmp_path, "--merge", "b", "--csv", tmp_path / "b.csv")
    assert code == 0
    [row] = csv.DictReader((tmp_path / "b.csv").open())
    assert row["merge"] == "b" and row["rows"] == "" and list(row) == list(history.COLUMNS)
    assert crm_merge("history", "--home", tmp_path, "--csv", tmp_path / "all.csv")[0] == 0
    assert [row["merge"] for row in csv.DictReader((tmp_path / "all.csv").open())] == ["b", "'=cmd()"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.csv", "b.csv", "history"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --home DIR, or set CRM_MERGE_HOME"),
        (["--home", "/none"], "there is no folder '/none'"),
        (["--home", ".", "--merge", "../x"], "'../x' is not the name of a merge"),
        (["--home", ".", "--csv", "/none/x.csv"], "there is no folder '/none'"),
    ],
)
def test_mistakes_are_told(arguments, said):
    code, out, err = crm_merge("history", *arguments, CRM_MERGE_HOME="")
    assert code == 1
    assert said in err and "Traceback" not in out + err
