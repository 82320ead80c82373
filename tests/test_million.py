"""A million rows within the default limit: of people, of one chain, of one hub; and fewer that are wide or long. No time is asserted: figures are in docs/limits.md."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import duckdb
import pytest

from crm_merge.engine import forks
from tests.conftest import PROJECT

ROWS = 1_000_000


def crm_merge(spec, folder, under=(), **settings):
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("DUCKDB_", forks.SOCKET))
    }
    return subprocess.run(
        [*under, PROJECT / ".venv/bin/crm-merge", "run", spec, "--dir", folder / "m"],
        capture_output=True,
        text=True,
        env=environment | settings,
        timeout=1200,
    )


@pytest.mark.slow
def test_a_million_rows_fit_the_default_limit(tmp_path):
    """1 M originals and 3 × 0.6 M vendor rows on three keys, every invariant checked, against a plain join on e-mail."""
    subprocess.run([sys.executable, PROJECT / "benchmarks" / "workload.py", str(ROWS), tmp_path], check=True)
    spec = tmp_path / "spec.yml"
    spec.write_text(spec.read_text().replace("[email]", "[email, phone, linkedin]"))
    done = crm_merge(spec, tmp_path)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert json.loads((tmp_path / "m/out/manifest.json").read_text())["rows"] == ROWS
    with duckdb.connect() as connection:
        connection.execute(f"create view crm as from read_csv('{tmp_path}/crm.csv', all_varchar=true)")
        connection.execute(
            f"create view result as from read_csv('{tmp_path}/m/out/merged_result.csv', all_varchar=true)"
        )
        # the same rows in the same order, their own cells unchanged where they were not blank
        assert connection.execute("""
            select count(*) from (select *, row_number() over () as n from crm) as c
            full join (select *, row_number() over () as n from result) as r on c.n = r.n
            where c."Id" is distinct from r."Id" or c."Notes" is distinct from r."Notes"
              or (c."Email" is not null and c."Email" is distinct from r."Email")""").fetchone() == (0,)
        # whoever shares an e-mail address with a vendor row is matched on it
        assert connection.execute(f"""
            select count(*) from crm as c join result as r on c."Id" = r."Id"
            where (lower(trim(c."Email")) in (select lower(work_email) from read_csv('{tmp_path}/v*.csv', all_varchar=true)))
              <> (coalesce(r.matched_on, '') like 'email%')""").fetchone() == (0,)


EVERYTHING = """strategies: {default: first, title: longest, industry: most_frequent, vendor_id: collect, employees: max}
groups: [{columns: [city, phone], strategy: most_complete, allow_fill: false}]
overwrite: {default: fill, title: update}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "more", "limit"), [("email", "", "80MB"), ("email, phone, linkedin", EVERYTHING, "150MB")]
)
def test_nothing_holds_all_rows_at_once(tmp_path, keys, more, limit):
    """200,000 originals in parts of a few thousand rows, within hardly more memory than landing them takes and with little to spill:
    whatever holds, sorts or groups the texts of all rows at once, a model, a check or the export, runs out of it."""
    script = PROJECT / "benchmarks" / "workload.py"
    subprocess.run([sys.executable, script, "200000", tmp_path], check=True)
    spec = tmp_path / "spec.yml"
    spec.write_text(spec.read_text().replace("[email]", f"[{keys}]") + more)
    done = crm_merge(spec, tmp_path, DUCKDB_MEMORY_LIMIT=limit, DUCKDB_TEMP_LIMIT="15MB", DUCKDB_THREADS="1")
    assert done.returncode == 0, done.stderr
    with duckdb.connect(str(tmp_path / "m" / "merge.duckdb"), read_only=True) as connection:
        slices = connection.execute(
            "select content from _merge_journal where entry = 'parts of originals'"
        ).fetchone()
    assert json.loads(slices[0])["n"] > 5


# one row of the CRM; a million vendor rows, shuffled
SHAPES = {
    "chain": (
        "select 'p' || i || '@firm.com' as email, 'p' || (i + 1) || '@firm.com' as personal_email",
        "email",
        (1_000_000, 1, "matched_transitive", []),
    ),
    "chain under the default guards": (
        "select 'p' || i || '@firm.com' as email, 'p' || (i + 1) || '@firm.com' as personal_email",
        "email",
        (0, 1, "possibly_related", [("max_entity_size", ROWS)]),
    ),
    "hub": (
        "select 'p' || i || '@firm.com' as email, '212 555 0100' as phone",
        "email, phone",
        (1, ROWS, "matched_direct", [("hub", ROWS)]),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_a_million_rows_of_one_shape_fit_the_default_limit(tmp_path, shape):
    select, match_on, expected = SHAPES[shape]
    with duckdb.connect() as connection:
        rows = f"{select}, 't' || i as title from range({ROWS}) as t(i) order by hash(i)"
        connection.execute(f"copy ({rows}) to '{tmp_path}/v.csv' (header)")
    (tmp_path / "crm.csv").write_text("Email,Phone\np7@firm.com,(212) 555-0100\n")
    spec = tmp_path / "spec.yml"
    guards = "guards: {max_entity_size: off}" if shape == "chain" else ""
    spec.write_text(
        "original: {path: crm.csv}\nenriched: [{name: v, path: v.csv}]\n"
        f"match_on: [{match_on}]\nregion: US\n{guards}\n"
    )
    done = crm_merge(spec, tmp_path)
    assert done.returncode == 0, done.stderr
    with duckdb.connect(str(tmp_path / "m" / "merge.duckdb"), read_only=True) as connection:
        [(links,)] = connection.execute("select count(*) from crosswalk").fetchall()
        [(entities,)] = connection.execute("select count(distinct entity) from int_entities").fetchall()
        [(status,)] = connection.execute("select match_status from merged_result").fetchall()
        events = connection.execute("select guard, n_enriched from guard_events").fetchall()
    assert (links, entities, status, events) == expected


LONG = "repeat(md5('{file}' || i), 625)"  # 20,000 characters
MEGABYTES = "repeat(md5('{file}' || i), 110000)"  # 3.5 MB: a row may have 4
EVERY = "select 'p' || i || '@firm.com' as email, case when i % {n} = 0 then {long} else '{{file}}' end as bio from range({rows}) as t(i)"
# how many short rows the CRM has, of every how manieth person; the vendors' rows
UNEVENLY_LARGE = {
    # each row of the vendor is a person of its own, every other one a stranger to the CRM
    "nobody twice": (10_000, 1, {"v": f"select 'p' || i || '@firm.com' as email, {LONG} as bio from range(20000) as t(i)"}),
    # the last 2,000 rows of both vendors hold long cells on which they disagree
    "long at the end": (
        40_000, 1,
        dict.fromkeys(
            "vw", f"select 'p' || i || '@firm.com' as email, case when i < 38000 then '{{file}}' else {LONG} end as bio from range(40000) as t(i)"
        ),
    ),
    # a few texts, again and again: the file has 1 MB
    "in Parquet": (10_000, 1, dict.fromkeys("vw", f"select 'p' || i || '@firm.com' as email, {LONG.replace('|| i', '|| (i % 50)')} as bio from range(10000) as t(i)")),
    # so are all entities with long rows in one of so many parts, if parts go by the rest of a row's number
    "every eighth": (64_000, 1, {"v": EVERY.format(n=8, long=LONG, rows=64_000), "w": "select 'p' || i || '@firm.com' as email, 'w' as bio from range(64000) as t(i)"}),
    # long rows that stand apart, which a CRM of just these people brings together
    "far apart": (18_000, 12, {"v": EVERY.format(n=12, long=LONG, rows=216_000)}),
    # no row is longer than 20,000 characters, but those of the result
    "one column of each": (2_000, 1, {name: f"select 'p' || i || '@firm.com' as email, {LONG} as note_{{file}} from range(2000) as t(i)" for name in "abcdefghij"}),
    "megabytes": (20_000, 1, {"v": f"select 'p' || i || '@firm.com' as email, case when i between 9000 and 9059 then {MEGABYTES} else 'v' end as bio from range(20000) as t(i)"}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "rows"), [("wide", 20_000), ("long_cells", 10_000), *((kind, 0) for kind in UNEVENLY_LARGE)]
)
def test_large_rows_fit_the_default_limit(tmp_path, kind, rows):
    """Files of 200 columns and cells of 20,000 characters, with the audit and every invariant; below 1 GB."""
    if kind in UNEVENLY_LARGE:
        rows, every, vendors = UNEVENLY_LARGE[kind]
        suffix = "parquet" if kind == "in Parquet" else "csv"
        spec = "original: {path: crm.csv}\nmatch_on: [email]\nexport: {formats: [csv, parquet]}\nenriched:\n"
        with duckdb.connect() as connection:
            crm = f"select i as Id, 'p' || {every} * i || '@firm.com' as Email from range({rows}) as t(i)"
            connection.execute(f"copy ({crm}) to '{tmp_path}/crm.csv' (header)")
            for name, select in vendors.items():
                connection.execute(f"copy ({select.format(file=name)}) to '{tmp_path}/{name}.{suffix}'")
                spec += f"  - {{name: {name}, path: {name}.{suffix}}}\n"
        (tmp_path / "spec.yml").write_text(spec)
    else:
        skew = [sys.executable, PROJECT / "benchmarks" / "skew.py", kind, str(rows), tmp_path]
        subprocess.run(skew, check=True)
    measured = (
        "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode;"
        "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    done = crm_merge(tmp_path / "spec.yml", tmp_path, [sys.executable, "-c", measured])
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "m/out/manifest.json").read_text())["rows"] == rows
    # KB; it was 2 GB where aggregates held each column once for every other
    assert int(done.stdout.split()[-1]) < 1_000_000
    if kind == "nobody twice":
        with (tmp_path / "m/out/unmatched_enriched.csv").open() as file:
            assert [row["Email"] for row in csv.DictReader(file)] == [
                f"p{n}@firm.com" for n in range(10_000, 20_000)
            ]
