"""What a sweep removes from a home, and above all what it does not: what is in use, outside, or the last there is."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import pytest

from crm_merge.home import history, retention
from crm_merge.home.folders import HomeProblem
from crm_merge.merging import lock
from tests.conftest import PROJECT
from tests.test_command_line import crm_merge
from tests.test_history import KILL, entry

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
DAY = 86400


def aged(path: Path, days: float) -> None:
    """Makes all in a folder as old as that, at NOW."""
    when = NOW.timestamp() - days * DAY
    for found in (*path.rglob("*"), path) if path.is_dir() and not path.is_symlink() else [path]:
        os.utime(found, (when, when), follow_symlinks=False)


def merge_in(home: Path, name: str, days: float, published: bool = False) -> Path:
    """A merge directory as a run leaves it, last used so many days before NOW."""
    place = home / "merges" / name
    for folder in ("logs", "target/compiled", ".crm-merge/landing", ".crm-merge/parts"):
        (place / folder).mkdir(parents=True)
    for file in ("merge.duckdb", ".crm-merge/landing/rows_0_0.parquet", "logs/dbt.log", ".lock"):
        (place / file).write_bytes(b"x" * 100 if file != ".lock" else b"")
    if published:
        result_in(place / "out", days)
    aged(place, days)
    return place


def result_in(folder: Path, days: float) -> Path:
    """A published result that finished so many days before NOW."""
    folder.mkdir(parents=True)
    (folder / "merged_result.csv").write_text("a\n")
    finished = datetime.fromtimestamp(NOW.timestamp() - days * DAY, timezone.utc).isoformat(
        timespec="seconds"
    )
    (folder / "manifest.json").write_text(json.dumps({"finished_at": finished}))
    aged(folder, days)
    return folder


def sweep(home: Path, keep_days: float = 30, keep_runs: int = 100, **options) -> retention.Swept:
    return retention.sweep(home, keep_days, keep_runs, NOW, **options)


def gone(swept: retention.Swept) -> list[str]:
    return sorted(item.path for item in swept.removed)


def why(swept: retention.Swept, path: str) -> str:
    [kept] = [kept for kept in swept.kept if kept.path == path]
    return kept.why


def tree(home: Path) -> dict[str, bytes | str]:
    """Everything in a home but its own lock files."""
    return {
        str(path.relative_to(home)): os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        for path in home.rglob("*")
        if path.name != ".sweeping"
    }  # fmt: skip


def test_by_age_and_by_count(tmp_path):
    for n in range(5):
        merge_in(tmp_path, f"acme/m{n}", n * 10)
    before = tree(tmp_path)
    dry = sweep(tmp_path, 25, 2, dry_run=True)
    assert tree(tmp_path) == before
    swept = sweep(tmp_path, 25, 2)
    assert gone(swept) == ["merges/acme/m2", "merges/acme/m3", "merges/acme/m4"]
    assert (dry.removed, dry.kept) == (swept.removed, swept.kept)
    assert swept.freed == 3 * 300 == sum(item.size for item in swept.removed)
    assert [item.why for item in sorted(swept.removed, key=lambda item: item.path)] == [
        "not among the 2 newest", "not used for 30.0 days, more than 25", "not used for 40.0 days, more than 25",
    ]  # fmt: skip
    assert why(swept, "merges/acme/m0") == "recent"
    assert sorted(os.listdir(tmp_path / "merges" / "acme")) == ["m0", "m1"]
    assert gone(sweep(tmp_path, 25, 2)) == []
    assert gone(sweep(tmp_path, 0, 0)) == ["merges/acme/m0", "merges/acme/m1"]
    assert sorted(os.listdir(tmp_path)) == [".sweeping", "merges"] and os.listdir(tmp_path / "merges") == []


def test_a_merge_at_work_is_kept_and_counts_as_used(tmp_path):
    place = merge_in(tmp_path, "a", 100)
    other = merge_in(tmp_path, "b", 100)
    with lock.held(place):
        aged(place, 100)
        for dry_run in (True, False):
            swept = sweep(tmp_path, dry_run=dry_run)
            assert "a run is at work in it" in why(swept, "merges/a")
            assert gone(swept) == ["merges/b"]
    assert place.exists() and not other.exists()
    assert lock.held(other)
    swept = sweep(tmp_path)  # its run has ended just now
    assert gone(swept) == [] and why(swept, "merges/a") == "recent"


def test_a_dbt_of_its_own_is_at_work(tmp_path):
    """`dbt build` knows no .lock, but DuckDB locks its file: of another process, as a lock has to be."""
    place = merge_in(tmp_path, "a", 100)
    (place / "merge.duckdb").unlink()
    (place / ".lock").unlink()
    code = "import duckdb, sys\nc = duckdb.connect(sys.argv[1])\nprint(1, flush=True)\nsys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, place / "merge.duckdb"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        process.stdout.readline()
        aged(place, 100)
        assert "a run is at work in it" in why(sweep(tmp_path), "merges/a")
    finally:
        process.communicate()
    aged(place, 100)
    assert gone(sweep(tmp_path)) == ["merges/a"]


def test_a_directory_that_never_had_a_lock(tmp_path):
    place = merge_in(tmp_path, "a", 20)
    (place / ".lock").unlink()
    assert gone(sweep(tmp_path)) == []
    (place / "out" / ".publishing-7").mkdir(parents=True)
    aged(place, 20)
    assert gone(sweep(tmp_path)) == ["merges/a/out/.publishing-7"]
    swept = retention.sweep(tmp_path, 30, 100, datetime(2026, 6, 15, tzinfo=timezone.utc))
    assert gone(swept) == ["merges/a"]  # the lock that a sweep made is no use of the merge


def test_the_last_published_result_is_kept(tmp_path):
    merge_in(tmp_path, "a", 100, published=True)
    merge_in(tmp_path, "b", 100, published=True)
    result_in(tmp_path / "published" / "b", 50)
    merge_in(tmp_path, "c", 50, published=True)
    result_in(tmp_path / "published" / "c", 100)  # from before it was published in its own directory
    swept = sweep(tmp_path)
    assert gone(swept) == ["merges/b"]
    for path in ("merges/a", "merges/c", "published/b", "published/c"):
        assert "last published result" in why(swept, path) and (tmp_path / path / "..").exists()
    swept = sweep(tmp_path, specs=["b", "c"])
    assert gone(swept) == ["merges/a"]
    swept = sweep(tmp_path, keep_latest=False)
    assert gone(swept) == ["merges/c", "published/b", "published/c"]


def test_superseded_copies_go_the_last_one_stays(tmp_path):
    for days in (1, 20, 40, 60):
        result_in(tmp_path / "published" / "acme" / "weekly" / f"2026-0{days // 20 + 1}-01T00", days)
    merge_in(tmp_path, "acme/weekly", 1)
    assert gone(sweep(tmp_path, 30, 1, dry_run=True)) == [
        f"published/acme/weekly/2026-0{n}-01T00" for n in (2, 3, 4)
    ]
    swept = sweep(tmp_path, 30, 100)
    assert gone(swept) == [f"published/acme/weekly/2026-0{n}-01T00" for n in (3, 4)]
    assert all(item.why.startswith("superseded and not used for") for item in swept.removed)
    later = datetime(2027, 6, 1, tzinfo=timezone.utc)
    assert [
        item.path for item in retention.sweep(tmp_path, 30, 100, later).removed if item.kind != "merge"
    ] == ["published/acme/weekly/2026-02-01T00"]
    assert (tmp_path / "published/acme/weekly/2026-01-01T00/manifest.json").exists()


def test_merges_in_one_folder_are_no_copies_of_one_another(tmp_path):
    for name in ("acme", "acme/weekly", "acme/daily", "other/x", "other/y"):
        result_in(tmp_path / "published" / name, 100 + len(name))
    assert gone(sweep(tmp_path)) == []
    merge_in(tmp_path, "acme", 0)
    assert gone(sweep(tmp_path)) == []
    assert gone(sweep(tmp_path, specs=["acme", "acme/weekly", "other/x", "other/y"])) == [
        "published/acme/daily"
    ]
    # a folder that holds another's result stays, even if its own could go
    assert "holds other results" in why(
        sweep(tmp_path, specs=["acme/weekly", "other/x", "other/y"]), "published/acme"
    )


def test_a_merge_that_holds_another_is_kept(tmp_path):
    merge_in(tmp_path, "acme", 100)
    merge_in(tmp_path, "acme/weekly", 1)
    swept = sweep(tmp_path)
    assert gone(swept) == [] and "holds the directory of another merge" in why(swept, "merges/acme")
    (tmp_path / "merges" / "acme2").mkdir()
    merge_in(tmp_path, "new", 100)
    (tmp_path / "merges" / "new" / "begins").mkdir()  # the first thing that a run makes
    aged(tmp_path / "merges" / "new", 100)
    assert "other folders" in why(sweep(tmp_path), "merges/new")


def test_leftovers_of_killed_runs(tmp_path):
    place = merge_in(tmp_path, "a", 1)
    busy = merge_in(tmp_path, "b", 1)
    paths = []
    for folder in (place, busy):
        for name in ("out/.publishing-12", "out/.publishing-12/x.parquet", ".crm-merge/spill", ".crm-merge/crm-merge-diff-x",
                     ".crm-merge/fetched"):  # fmt: skip
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("out/.publishing-12/x.csv", ".crm-merge/spill/s.tmp", ".crm-merge/fetched/a.part", "out/x.csv.part",
                     ".crm-merge/landing/keep.parquet"):  # fmt: skip
            (folder / name).write_text("x")
        aged(folder, 1)
    copy = result_in(tmp_path / "published" / "acme" / "c", 1)
    (copy / ".publishing-99").mkdir()
    (copy / "merged_result.csv.part").write_text("x")
    aged(tmp_path / "published", 1)
    paths = ["merges/a/.crm-merge/crm-merge-diff-x", "merges/a/.crm-merge/fetched/a.part", "merges/a/.crm-merge/spill",
             "merges/a/out/.publishing-12", "merges/a/out/x.csv.part", "published/acme/c/.publishing-99",
             "published/acme/c/merged_result.csv.part"]  # fmt: skip
    with lock.held(busy):
        before = tree(busy)
        swept = sweep(tmp_path)
        assert gone(swept) == paths
        assert {item.kind for item in swept.removed} == {"leftover"}
        assert tree(busy) == before
    assert sorted(os.listdir(place / ".crm-merge")) == ["fetched", "landing", "parts"]
    assert (place / ".crm-merge" / "landing" / "keep.parquet").exists()
    assert sorted(os.listdir(copy)) == ["manifest.json", "merged_result.csv"]


def test_what_changed_within_the_hour_is_no_leftover(tmp_path):
    copy = result_in(tmp_path / "published" / "a", 1)  # published from a directory outside the home
    (copy / ".publishing-1" / "deep").mkdir(parents=True)
    (copy / ".publishing-1" / "deep" / "x.parquet").write_text("x")
    aged(copy, 1)
    just = NOW.timestamp() - 60
    os.utime(copy / ".publishing-1" / "deep" / "x.parquet", (just, just))
    assert gone(sweep(tmp_path)) == []
    assert gone(retention.sweep(tmp_path, 30, 9, datetime(2026, 6, 1, 2, tzinfo=timezone.utc))) == [
        "published/a/.publishing-1"
    ]


def test_a_shared_spill_folder_in_the_home(tmp_path, monkeypatch):
    from crm_merge.engine import limits

    monkeypatch.setenv("DUCKDB_TEMP_DIR", str(tmp_path / "spill"))
    places = {name: merge_in(tmp_path, name, 1) for name in ("a", "b")}
    unknown = tmp_path / "spill" / ("crm-merge-" + "0" * 12)
    for folder in (*map(limits.spill_folder, places.values()), unknown, tmp_path / "spill" / "of_another"):
        folder.mkdir(parents=True)
    aged(tmp_path / "spill", 0.5)
    with lock.held(places["b"]):
        assert gone(sweep(tmp_path)) == [f"spill/{limits.spill_folder(places['a']).name}"]
    aged(unknown, 2)
    assert f"spill/{unknown.name}" in gone(sweep(tmp_path))
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    monkeypatch.setenv("DUCKDB_TEMP_DIR", str(outside))
    (outside / ("crm-merge-" + "1" * 12)).mkdir(parents=True)
    aged(outside, 9)
    assert gone(sweep(tmp_path)) == []
    assert len(os.listdir(outside)) == 1


# -- Attacks --


def test_symlinks_are_not_followed_but_told(tmp_path):
    home, outside = tmp_path / "home", tmp_path / "outside"
    merge_in(outside, "victim", 100)
    result_in(outside / "published", 100)
    (home / "merges" / "acme").mkdir(parents=True)
    (home / "published").mkdir()
    (home / "merges" / "link").symlink_to(outside / "merges" / "victim")
    (home / "merges" / "acme" / "up").symlink_to("..")
    (home / "published" / "link").symlink_to(outside / "published")
    (home / "merges" / f".removing-{'0' * 32}").symlink_to(outside)
    real = merge_in(home, "real", 100)
    (real / "out").symlink_to(outside / "published")
    (real / ".crm-merge" / "spill").symlink_to(outside)
    (real / "logs" / "link").symlink_to(outside)
    (real / "logs" / "broken").symlink_to("/none")
    aged(real, 100)
    before = tree(outside)
    swept = sweep(home)
    assert gone(swept) == ["merges/real"]
    for path in ("merges/link", "merges/acme/up", "published/link"):
        assert why(swept, path) == "a symbolic link, which is not followed"
        assert (home / path).is_symlink()
    assert tree(outside) == before


@pytest.mark.parametrize("top", ["merges", "published"])
def test_a_symlink_for_all_merges(tmp_path, top):
    home, outside = tmp_path / "home", tmp_path / "outside"
    merge_in(outside, "a", 100)
    result_in(outside / "published" / "a", 100)
    home.mkdir()
    (home / top).symlink_to(outside / top)
    before = tree(outside)
    swept = sweep(home, keep_latest=False)
    assert gone(swept) == [] and why(swept, top) == "a symbolic link, which is not followed"
    assert tree(outside) == before


@pytest.mark.parametrize("kind", ["symlink", "folder", "fifo"])
def test_a_lock_that_is_none(tmp_path, kind):
    home, victim = tmp_path / "home", tmp_path / "victim"
    victim.write_text("x")
    place = merge_in(home, "a", 100)
    lock = place / ".lock"
    lock.unlink()
    {"symlink": lambda: lock.symlink_to(victim), "folder": lock.mkdir, "fifo": lambda: os.mkfifo(lock)}[
        kind
    ]()
    aged(place, 100)
    stamp = victim.stat().st_mtime_ns
    assert gone(sweep(home)) == []
    assert (victim.read_text(), victim.stat().st_mtime_ns) == ("x", stamp)


def test_a_folder_swapped_for_a_symlink_meanwhile(tmp_path, monkeypatch):
    """Between the look and the removal, somebody puts a symlink in the way: nothing outside goes."""
    home, outside = tmp_path / "home", tmp_path / "outside"
    merge_in(outside, "weekly", 100)
    place = merge_in(home, "acme/weekly", 100)
    before = tree(outside)
    own = retention._Sweep.sweep_merge

    def swapped(self, *arguments):
        place.parent.rename(home / "moved")
        place.parent.symlink_to(outside / "merges")
        own(self, *arguments)

    monkeypatch.setattr(retention._Sweep, "sweep_merge", swapped)
    swept = sweep(home)
    assert gone(swept) == [] and len(swept.kept) == 1
    assert tree(outside) == before


def test_names_of_every_kind(tmp_path):
    odd = ["it's", 'say "hi"', "日本", "a b", "-rf", "a;b", "$(x)", "%s{0}", "merged.parquet"]
    for name in odd:
        merge_in(tmp_path, name, 100)
    not_ours = ["a\nb", ".hidden", "..x", "x\x7f"]
    for name in not_ours:
        merge_in(tmp_path, name, 100)
    os.mkdir(os.path.join(os.fsencode(tmp_path / "merges"), b"\xff\xfe"))
    assert gone(sweep(tmp_path)) == sorted(f"merges/{name}" for name in odd)
    assert sorted(os.listdir(tmp_path / "merges")) == sorted([*not_ours, os.fsdecode(b"\xff\xfe")])


def test_odd_manifests(tmp_path):
    for n, text in enumerate(
        [
            "",
            "[]",
            '{"finished_at": 5}',
            '{"finished_at": "x"}',
            "[" * 100_000,
            '{"finished_at": "9999-01-01T00:00:00"}',
        ]
    ):
        folder = tmp_path / "published" / "a" / f"2026-01-0{n + 1}"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(text)
        aged(folder, 100 + n)
    # the one from the future counts as of now, so it is the last
    assert gone(sweep(tmp_path, specs=["a"])) == [f"published/a/2026-01-0{n + 1}" for n in range(5)]


def test_history_and_all_else_stay(tmp_path):
    history.record(tmp_path, entry(1))
    (tmp_path / "history" / "old.part").write_text("x")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "a.part").write_text("x")
    (tmp_path / "merges").mkdir()
    (tmp_path / "merges" / "notes.txt").write_text("x")
    (tmp_path / "merges" / "empty").mkdir()
    aged(tmp_path, 1000)
    before = tree(tmp_path)
    assert sweep(tmp_path, 0, 0, keep_latest=False).removed == []
    assert tree(tmp_path) == before


def test_what_cannot_be_removed_is_told(tmp_path):
    place = merge_in(tmp_path, "a", 100)
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place / "logs"], capture_output=True)
    if done.returncode:
        pytest.skip("only root can mount")
    try:
        aged(place, 100)
        swept = sweep(tmp_path)
        assert gone(swept) == []
        assert "can't be removed: Device or resource busy" in why(swept, "merges/a")
    finally:
        for left in (tmp_path / "merges").rglob("logs"):
            subprocess.run(["umount", "--lazy", left], check=True)
    assert gone(sweep(tmp_path)) and os.listdir(tmp_path / "merges") == []


def test_hard_links_free_nothing(tmp_path):
    place = merge_in(tmp_path, "a", 100)
    os.link(place / "merge.duckdb", tmp_path / "kept.duckdb")
    assert sweep(tmp_path).freed == 200
    assert (tmp_path / "kept.duckdb").stat().st_size == 100


def test_many_merges(tmp_path):
    for n in range(3000):
        folder = tmp_path / "merges" / f"f{n % 10}" / f"m{n}"
        folder.mkdir(parents=True)
        (folder / ".lock").touch()
        aged(folder, n / 100)
    started = time.monotonic()
    assert len(sweep(tmp_path, 15, 10_000).removed) == 1499
    assert time.monotonic() - started < 20


# -- Killed, and at once --


def script(code: str, *arguments: object) -> subprocess.Popen:
    head = f"""
import os, signal, sys, time
from datetime import datetime, timezone
from pathlib import Path
from crm_merge.home import folders as homes, retention
from crm_merge.merging import lock
home, NOW = Path(sys.argv[1]), datetime.fromtimestamp({NOW.timestamp()}, timezone.utc)
"""
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, arguments)],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_sweep_killed_at_every_step_is_finished_by_the_next(tmp_path):
    for allowed in range(300):
        home = tmp_path / f"home{allowed}"
        merge_in(home, "acme/old", 100)
        merge_in(home, "acme/new", 1)
        merge_in(home, "last", 100, published=True)
        (home / "merges/acme/new/.crm-merge/spill").mkdir()
        aged(home / "merges/acme/new/.crm-merge/spill", 1)
        for days in (1, 50):
            result_in(home / "published" / "acme" / "new" / f"2026-0{days // 50 + 1}-01", days)
        history.record(home, entry(1))
        process = script(
            KILL + "watch(steps, int(sys.argv[2]))\nretention.sweep(home, 30, 100, NOW)", home, allowed
        )
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL), err
        # nothing that has to stay is touched; what is half gone is not at its place any more
        assert len(tree(home / "merges/acme/new")) >= 10 and len(tree(home / "merges/last")) == 13
        assert (home / "published/acme/new/2026-01-01/manifest.json").exists()
        old = home / "merges" / "acme" / "old"
        assert not old.exists() or len(tree(old)) == 10, f"half gone at its place after step {allowed}"
        if not old.exists():
            with lock.held(old):  # a new run begins where the old one was
                pass
            old.joinpath(".lock").unlink()
            old.rmdir()
        sweep(home)
        assert sorted(os.listdir(home / "merges" / "acme")) == ["new"]
        assert sorted(os.listdir(home / "merges" / "acme" / "new" / ".crm-merge")) == ["landing", "parts"]
        assert os.listdir(home / "published" / "acme" / "new") == ["2026-01-01"]
        assert not [path for path in home.rglob(".removing-*")]
        assert [found.run_id for found in history.rows(home)] == ["r1"]
        if process.returncode == 0:
            break
    assert process.returncode == 0 and allowed > 40


def test_a_folder_that_a_sweep_removes_while_it_is_made_is_made_again(tmp_path, monkeypatch):
    """mkdir found it there, and then did not; a file that stays is an error."""
    make, missed = os.mkdir, []

    def mkdir(path, *arguments):
        if not missed:
            missed.append(path)
            raise FileExistsError(17, "File exists", str(path))
        make(path, *arguments)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with lock.held(tmp_path / "m"):
        assert missed and (tmp_path / "m" / ".lock").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError), lock.held(tmp_path / "file"):
        pass


def test_runs_that_begin_while_sweeps_go_on(tmp_path):
    """A run has its directory to itself, whole, however often it was swept the moment before."""
    worker = """
place = home / "merges" / "acme" / "m"
done, end = 0, time.monotonic() + 150
while time.monotonic() < end and (done < 100 or not (home / "enough").exists()):
    try:
        with lock.held(place):
            mine = place / f"mine-{os.getpid()}"
            assert not list(place.glob("mine-*")), "another is at work here"
            mine.write_text("x")
            (place / "merge.duckdb").write_text("x")
            for _ in range(3):
                assert mine.read_text() == "x"
            mine.unlink()
            os.utime(place / "merge.duckdb", (0, 0))
            done += 1
    except lock.InUse:
        pass
print(done)
"""
    runs = [script(worker, tmp_path) for _ in range(2)]
    swept = 0
    end = time.monotonic() + 120
    while any(process.poll() is None for process in runs):
        if swept > 10 or time.monotonic() > end:
            (tmp_path / "enough").touch()
        if (tmp_path / "merges").exists():
            found = retention.sweep(tmp_path, 0, 0, datetime(2100, 1, 1, tzinfo=timezone.utc))
            swept += len(found.removed)
    for process in runs:
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert int(out) >= 100
    assert swept > 10


def test_two_sweeps(tmp_path):
    merge_in(tmp_path, "a", 100)
    with (tmp_path / ".sweeping").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(HomeProblem, match="another sweep is at work"):
            sweep(tmp_path)
    assert gone(sweep(tmp_path)) == ["merges/a"]


# -- The command --


def test_the_command(tmp_path):
    place = tmp_path / "merges" / "old[red]"
    place.mkdir(parents=True)
    (place / "merge.duckdb").write_text("x")
    os.utime(place / "merge.duckdb", (0, 0))
    (tmp_path / "merges" / "link").symlink_to(tmp_path)
    code, out, err = crm_merge("sweep", "--home", tmp_path, "--dry-run")
    assert code == 0, err
    assert "would remove  merges/old[red] (merge, 1 B): not used for" in out and place.exists()
    assert "kept  merges/link: a symbolic link" in out
    code, out, err = crm_merge("sweep", CRM_MERGE_HOME=str(tmp_path))
    assert code == 0 and not place.exists(), err
    assert "removed  merges/old[red]" in out and "1 removed, 1 kept, 1 B freed" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 1, "give --home DIR"),
        (["--home", "/none"], 1, "there is no folder"),
        (["--home", ".", "--keep-days", "-1"], 2, "--keep-days"),
        (["--home", ".", "--keep-days", "nan", "--dry-run"], 2, "--keep-days"),
    ],
)
def test_mistakes_are_told(arguments, code, said):
    got, out, err = crm_merge("sweep", *arguments, CRM_MERGE_HOME="")
    assert got == code and said in err and "Traceback" not in out + err


def test_values_that_are_not_accepted(tmp_path):
    for days, runs, now in ((-1, 1, NOW), (1, -1, NOW), (float("nan"), 1, NOW), (1, 1, datetime(2026, 1, 1))):
        with pytest.raises(HomeProblem):
            retention.sweep(tmp_path, days, runs, now)


def test_a_real_database_is_swept(tmp_path):
    place = merge_in(tmp_path, "a", 100)
    (place / "merge.duckdb").unlink()
    with duckdb.connect(str(place / "merge.duckdb")) as connection:
        connection.execute("create table x as select 1")
    aged(place, 100)
    assert gone(sweep(tmp_path)) == ["merges/a"]
