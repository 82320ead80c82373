"""Files made to hurt: each ends in the right answer or one clear sentence, within the memory limit."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys

import duckdb
import pytest

from crm_merge.engine import dbt_run
from crm_merge.reading.streams import zstd
from tests.conftest import PROJECT

PROBE = """
import json, sys
from pathlib import Path
from crm_merge.reading import FileProblem, profile
try:
    found = profile.profile({"path": Path(sys.argv[1]), "role": "enriched"})
    told = {key: found[key] for key in ("physical_rows", "rejected_rows", "first_rejects")}
except FileProblem as problem:
    told = {"problem": str(problem)}
# Not getrusage: its peak starts with that of the process that started this one.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps(told | {"peak": int(status["VmHWM"].split()[0]) // 1024}))
"""


def profiled(path):
    """Profiles a file in a process of its own; returns what was found, or the problem, and the peak memory in MB."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path)],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_line_of_a_gigabyte(tmp_path):
    path = tmp_path / "v.csv"
    with path.open("wb") as file:
        file.write(b"email,name\na@x.com,A\nb@x.com,")
        for _ in range(1000):
            file.write(b"x" * 1_000_000)
        file.write(b"\nc@x.com,C\n")
    told = profiled(path)
    assert (told["physical_rows"], told["rejected_rows"]) == (3, 1)
    assert told["first_rejects"][0].startswith(
        "line 3 (a line of 1,000,000,009 bytes; at most 4,000,000 can be read)"
    )
    assert told["peak"] < 300


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["gzip", "zstd"])
def test_a_bomb(tmp_path, pack):
    """Rows without end, from a few megabytes."""
    block = b"a@x.com,bbbb\n" * 80_000
    with (gzip if pack == "gzip" else zstd).open(tmp_path / "v.csv", "wb") as file:
        file.write(b"email,name\n")
        for _ in range(1200):
            file.write(block)
    told = profiled(tmp_path / "v.csv")
    assert "v.csv unpacks to more than 200 times its" in told["problem"]
    assert told["peak"] < 300


def test_a_line_over_the_limit_among_others(tmp_path):
    path = tmp_path / "v.csv"
    path.write_bytes(
        b"email,name\na@x.com,"
        + b"x" * 5_000_000
        + b"\nb@x.com,B\n"
        + b'c@x.com,"'
        + b"y\n" * 3_000_000
        + b'"\nd@x.com,D\n'
    )
    told = profiled(path)
    assert told["first_rejects"][0].startswith("line 2 (a line of 5,000,009 bytes")
    assert told["first_rejects"][1].startswith("line 4 (a quote opens that is never closed)")
    assert told["peak"] < 300


@pytest.mark.parametrize("what", ["folder", "fifo", "broken link", "device"])
def test_what_is_no_file_is_not_opened(tmp_path, what):
    """A named pipe would wait for ever."""
    from crm_merge.reading import FileProblem, places

    path = tmp_path / "v.csv"
    if what == "folder":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "broken link":
        path.symlink_to(tmp_path / "gone.csv")
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(FileProblem, match=r"v\.csv"):
        places.find(str(path), tmp_path, tmp_path / "fetched")


def test_a_hostile_cell_or_header_is_only_text(tmp_path):
    from tests.reader import read

    cells = [
        "'; drop table merged_result; --",
        "{{ env_var('HOME') }}",
        "../../etc/passwd",
        "=cmd|' /C calc'!A0",
        "\x1b[31mred",
        "x" * 20_000,
    ]
    path = tmp_path / "v'; drop table x; --{{ 1 }}[0-9].csv"
    path.write_text(
        "key," + ",".join(f"{{{{ {n} }}}}" for n in range(len(cells))) + "\n1," + ",".join(cells) + "\n"
    )
    reading = read(path)
    assert reading.problem is None, reading.problem
    assert reading.rows == [(1, ["1", *cells])]


def test_a_vendors_column_may_be_called_like_one_of_the_merge(tmp_path):
    """Matched On is the CRM's, matched_on the merge's; a vendor's matched_on fills the CRM's."""
    (tmp_path / "crm.csv").write_text("Email,Matched On,Match Tier,N Enriched Rows\na@corp.com,,,9\n")
    (tmp_path / "v.csv").write_text("email,matched_on,match_tier,n_enriched_rows\na@corp.com,x,y,z\n")
    spec = {
        "original": {"path": str(tmp_path / "crm.csv")},
        "enriched": [{"name": "v", "path": str(tmp_path / "v.csv")}],
        "match_on": ["email"],
    }
    place = tmp_path / "m"
    place.mkdir()
    outcome = dbt_run.run(["build"], place, spec)
    assert outcome.ok, outcome.problems
    with duckdb.connect(str(place / "merge.duckdb"), read_only=True) as connection:
        result = connection.execute("select * from merged_result")
        names = [column[0] for column in result.description]
        row = dict(zip(names, result.fetchone(), strict=True))
    assert [row[name] for name in ("Matched On", "Match Tier", "N Enriched Rows")] == ["x", "y", "9"]
    assert [row[name] for name in ("matched_on", "match_tier", "n_enriched_rows")] == ["email", 1, 1]
