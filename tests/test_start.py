"""A start that is paid once: one manifest for all merges, processes forked from one that has imported dbt, and what is said without dbt."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import duckdb
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm_merge import PROJECT
from crm_merge.engine import dbt_run, describe, forks, manifest, planning, rules
from crm_merge.engine.words import Words, opened
from crm_merge.plan.model import Unfit
from crm_merge.spec import yaml_file
from tests.conftest import write_csv
from tests.oracle import Table
from tests.random_merges import phone

EXAMPLE = PROJECT / "seeds" / "example" / "merge.yml"


# -- One manifest --


def parsed(place: Path, spec: dict) -> dict:
    """What dbt makes of the project for a spec in a merge directory, but for what names the run."""
    told = [
        *manifest.arguments(),
        "--target-path",
        place / "target",
        "--log-path",
        place,
        "--vars",
        json.dumps({"merge": spec}),
    ]
    command = [
        sys.executable,
        "-c",
        "from dbt.cli.main import cli; cli()",
        "parse",
        "--no-partial-parse",
        *map(str, told),
    ]
    done = subprocess.run(
        command, cwd=PROJECT, env={**os.environ, "CRM_MERGE_DIR": str(place)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    return without_times(json.loads((place / "target" / "manifest.json").read_text()) | {"metadata": None})


def without_times(value):
    if isinstance(value, dict):
        return {
            key: without_times(inner)
            for key, inner in value.items()
            if key not in ("created_at", "invocation_id")
        }
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def test_two_specs_have_one_manifest(tmp_path):
    other = {
        "original": {"path": "other.csv"}, "enriched": [{"name": "z", "path": "z.csv"}], "match_on": ["phone"],
        "strategies": {"default": "collect"}, "export": {"formats": ["parquet"]},
    }  # fmt: skip
    first, second = parsed(tmp_path / "a", yaml_file.load(EXAMPLE)), parsed(tmp_path / "b", other)
    assert first.keys() == second.keys()
    for name in first:
        assert first[name] == second[name], name


def test_the_manifest_follows_the_project(monkeypatch, tmp_path):
    for name in (*manifest.SOURCES, *manifest.FILES):
        source = PROJECT / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, (tmp_path / name).parent.mkdir(parents=True, exist_ok=True) or tmp_path / name)  # fmt: skip
    monkeypatch.setattr(manifest, "PROJECT", tmp_path)
    before = manifest.number("duckdb")
    assert before == manifest.number("duckdb") != manifest.number("spark")
    (tmp_path / "macros" / "mine.sql").write_text("{% macro prefer_mine(column) %}1{% endmacro %}")
    assert manifest.number("duckdb") != before


def test_a_manifest_that_is_cut_off_is_made_anew(monkeypatch, tmp_path):
    monkeypatch.setattr(manifest, "KEPT", tmp_path)
    file = manifest.file_of("duckdb")
    file.write_bytes(b"\x81\xa5nodes")
    code = (
        "from pathlib import Path; from crm_merge.engine import manifest;"
        f" manifest.KEPT = Path({str(tmp_path)!r}); print(len(manifest.load('duckdb').nodes))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout.splitlines()[-1]) > 100, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [file.name] and file.stat().st_size > 100_000


# -- Forks --


def merge(place: Path, address: str, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "crm_merge.cli", "run", str(EXAMPLE), "--dir", str(place), *more],
        cwd=PROJECT, env={**os.environ, forks.SOCKET: address}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def forked_by(server: forks.Server) -> list[int]:
    """The processes that a server has forked and that have not ended."""
    found = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True)
    forked = []
    for pid in map(int, found.stdout.split()):
        with suppress(FileNotFoundError):  # it has ended since
            if b"resource_tracker import main" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                forked.append(pid)
    return forked


def test_merges_forked_side_by_side_publish_what_a_cold_start_does(tmp_path):
    with forks.Server() as server:
        assert server.address
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        assert "\nThreads:\t1\n" in status
        runs = [merge(tmp_path / name, server.address) for name in ("a", "b")]
        cold = merge(tmp_path / "cold", "")
        said = [run.communicate()[0] for run in (*runs, cold)]
        assert [run.returncode for run in (*runs, cold)] == [0, 0, 0], said
        assert "peak memory" in said[0]
        for name in ("a", "b"):  # closed, as by a process that ends by itself
            assert not (tmp_path / name / "merge.duckdb.wal").exists()
            with duckdb.connect(str(tmp_path / name / "merge.duckdb"), read_only=True) as database:
                assert len(database.sql("show all tables").fetchall()) > 30
        open_files = [os.readlink(file) for file in Path(f"/proc/{server.process.pid}/fd").iterdir()]
        assert not any(".duckdb" in file for file in open_files)
        assert forked_by(server) == []
    for file in sorted((tmp_path / "cold" / "out").iterdir()):
        if file.name != "manifest.json":
            for name in ("a", "b"):
                assert file.read_bytes() == (tmp_path / name / "out" / file.name).read_bytes(), file.name


def test_a_fork_ends_with_who_asked_for_it(tmp_path):
    with forks.Server() as server:
        run = merge(tmp_path / "m", server.address)
        until = time.monotonic() + 60
        while not (tmp_path / "m" / "merge.duckdb").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert len(forked_by(server)) == 1
        run.send_signal(signal.SIGKILL)
        run.wait()
        while forked_by(server) and time.monotonic() < until:
            time.sleep(0.05)
        assert forked_by(server) == []
        with duckdb.connect(str(tmp_path / "m" / "merge.duckdb")):  # its lock is gone with it
            pass
        again = merge(tmp_path / "m", server.address, "--resume")
        assert again.wait() == 0, again.stdout.read()


def test_a_fork_can_be_ended_and_tells_how(tmp_path):
    with forks.Server() as server:
        for end, code in (("terminate", -15), ("kill", -9)):
            process = forks.Forked(server.address)
            getattr(process, end)()
            assert process.wait(20) == code and process.returncode == code
        process = forks.Forked(server.address)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.stdin.close()  # it was told nothing, and ends well
        assert process.wait(20) == 0 and process.peak_memory > 10_000_000
        process = forks.Forked(server.address)
    assert process.wait(20) == -9  # the server was ended, and its forks with it


def test_a_terminals_interrupt_ends_no_server(tmp_path):
    """Ctrl-C goes to all of a terminal's processes: who started the deployment ends it in order."""
    with forks.Server() as server:
        assert os.getpgid(server.process.pid) != os.getpgid(0)
        process = forks.Forked(server.address)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        assert process.wait(20) == -9 and process.lost
        server.keep_up()
        again = forks.Forked(server.address)
        again.stdin.close()
        assert again.wait(20) == 0 and not again.lost


def test_a_fork_makes_files_with_the_rights_of_who_asked(tmp_path):
    with forks.Server() as server:
        script = f"umask 077; exec {sys.executable} -m crm_merge.cli run {EXAMPLE} --dir {tmp_path / 'm'}"
        done = subprocess.run(
            ["sh", "-c", script], cwd=PROJECT, env={**os.environ, forks.SOCKET: server.address}, capture_output=True, text=True
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert not any(
        path.stat().st_mode & 0o077 for path in (tmp_path / "m").rglob("*") if path.name != ".lock"
    )


def test_where_nobody_listens_dbt_is_started_anew(tmp_path, monkeypatch):
    monkeypatch.setenv(forks.SOCKET, str(tmp_path / forks.name()))
    assert forks.started() is None
    monkeypatch.delenv(forks.SOCKET)
    assert forks.started() is None


def test_a_server_of_another_installation_is_not_used(tmp_path, monkeypatch):
    with forks.Server() as server:
        monkeypatch.setenv(forks.SOCKET, server.address)
        process = forks.started()
        assert process is not None
        process.kill()
        process.wait()
        monkeypatch.setattr(forks, "name", lambda: "of another.sock")
        assert forks.started() is None


def test_debug_events_are_left_out_unless_asked_for(tmp_path):
    for name, more, wanted in (("quiet", {}, False), ("loud", {"CRM_MERGE_DEBUG": "1"}, True)):
        run = subprocess.run(
            [sys.executable, "-m", "crm_merge.cli", "run", str(EXAMPLE), "--dir", str(tmp_path / name)], cwd=PROJECT,
            env={**os.environ, **more}, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        log = (tmp_path / name / "logs" / "dbt.log").read_text()
        assert ('"level": "debug"' in log) is wanted and '"level": "info"' in log


def test_compiled_jinja_is_kept_and_gives_the_same(tmp_path):
    file = tmp_path / "kept.marshal"
    code = (
        "import sys, jinja2; from pathlib import Path; from crm_merge.engine.compiled import Kept;"
        f" kept = Kept(Path({str(file)!r})); kept.install();"
        " say = lambda text: jinja2.Environment().from_string(text).render(x=3);"
        " print(say('{% set y = x + 1 %}{{ y }}'), say('{% if x %}yes{% endif %}'), kept.new); kept.save()"
    )
    said = []
    for before in (None, None, b"cut off", None):
        if before:
            file.write_bytes(before)
        done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert said == [["4", "yes", "2"], ["4", "yes", "0"], ["4", "yes", "2"], ["4", "yes", "0"]]
    assert [path.name for path in tmp_path.iterdir()] == ["kept.marshal"]


@pytest.mark.parametrize(
    "value", [1e-05, 1e300, "1e-05", "v 😀", "\x7f\x85\u2028", "no", "2024-01-01", "a: b # c", "{{ x }}", None, True, [], {"ü": [1, "0x1"]}, " x "]
)  # fmt: skip
def test_a_spec_comes_to_dbt_as_it_is(value):
    text = dbt_run.as_yaml({"merge": {"b": value, "a": 1}})
    assert "\n" not in text.rstrip("\n")
    found = yaml.safe_load(text)
    assert found == {"merge": {"b": value, "a": 1}} and list(found["merge"]) == ["b", "a"]


# -- Without dbt --


def test_validate_says_of_keys_what_a_merge_finds(runner, tmp_path):
    spec = yaml_file.load(EXAMPLE)
    problems, files = describe.looked_at(spec)
    assert problems == []
    done = runner(spec, select=["+file_profile"])
    assert done.ok, done.problems
    found = {row[0]: json.loads(row[1]) for row in done.query("select source, valid_keys from file_profile")}
    for file in files:
        for key in file["keys"]:
            assert found[file["source"]][key["label"]] == pytest.approx(key["share"], abs=1e-4), file[
                "source"
            ]


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(phone(), min_size=1, max_size=30))
def test_phones_of_few_rules_are_those_of_all(rows, tmp_path_factory):
    """Rules of country codes that do not occur change nothing."""
    odd = [
        "+44 (0)20 7946 0958",
        "0049 30 123456",
        "011 33 1 42 68 53 00",
        "+5491112345678",
        "8 10 49 30 901820",
        "00390612345678",
    ]
    place = tmp_path_factory.mktemp("phones")
    cells = [*rows, *odd]
    table = Table(
        ["email", "phone", "country"],
        [[f"p{n}@x.com", cell, ("US", "FR", "", "Russia", "n/a")[n % 5]] for n, cell in enumerate(cells)],
    )
    write_csv(place / "crm.csv", table)
    spec = {
        "original": {"path": str(place / "crm.csv"), "region": "AR"}, "match_on": ["phone"], "region": "DE",
        "enriched": [{"name": "v", "path": str(place / "crm.csv")}],
    }  # fmt: skip
    plan = asdict(planning.plan_of(spec, place))
    with opened(place) as connection:
        words = Words(connection, plan)
        sources = {}
        for shape, file in zip(plan["shapes"], plan["files"], strict=True):
            read = words.say("read_file", file, file["path"])
            sources[shape["number"]] = (
                f"(select *, row_number() over () as record, '' as _merge_surname, '' as _merge_given from {read})"
            )
        [cells] = [cells for cells in plan["cells"] if cells["kind"] == "phone"]
        few = rules.needed(words.say("rules_request", cells, plan, sources), words)
        assert len(few["codes"]) < 100 and "us" in few["countries"]
        keys = []
        for wanted in (few, None):
            plan["rules_known"] = wanted
            sql = words.say("cell_keys", cells, plan, sources)
            keys.append(words.query_rows(f"select record, keys from ({sql}) order by all"))
        assert keys[0] == keys[1] and any(found for _, found in keys[0])


def test_blocked_values_are_found_without_dbt(tmp_path):
    write_csv(tmp_path / "a.csv", Table(["Email", "Phone"], [["a@x.com", "+12125550100"]]))
    spec = {
        "original": {"path": str(tmp_path / "a.csv")}, "enriched": [{"name": "v", "path": str(tmp_path / "a.csv")}], "region": "US",
        "match_on": ["phone"], "guards": {"blocked": ["212 555 0100", "Info <A@X.com>", "@Reseller.com"]},
    }  # fmt: skip
    guards = planning.plan_of(spec, tmp_path / "m").guards
    assert guards.blocked == {"phone": ["+12125550100"], "email": ["a@x.com"]} and guards.blocked_domains == [
        "reseller.com"
    ]
    spec["guards"]["blocked"] = ["nobody", "@", "212 555 0100"]
    with pytest.raises(Unfit) as unfit:
        planning.plan_of(spec, tmp_path / "m")
    assert [problem[:29] for problem in unfit.value.problems] == [
        "guards.blocked: '@' is no dom",
        "guards.blocked: 'nobody' is n",
    ]
