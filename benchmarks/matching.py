"""How well matching finds people whose truth is known: precision and recall per tier, over- and under-merge.

    python benchmarks/matching.py --n 2000 [--folder FOLDER] [--seed 1]

A link is a pair of a CRM row and a vendor row that the crosswalk holds; it is true when both are one person's.
All true links are the pairs of one person; those within reach hang together by valid keys of the tiers that are
matched on, through vendor rows of the same person. Recall of a tier is its true links among all.

- mixed entities (over-merge): entities with rows of two people or more;
- split people (under-merge): chains of one person's vendor rows that a CRM row shares a key with, but that came
  out in more than one piece. A vendor row that is linked with nothing is a piece.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks import people  # noqa: E402

EXTERNAL_ID = {"type": "external_id", "original": "Id", "enriched": "crm_id"}
OFF = {"hub": "off", "contradiction": "off", "max_entity_size": "off"}
ALL_TIERS = [EXTERNAL_ID, "email", "linkedin", "phone"]
RUNS: list[tuple[str, list[Any], dict[str, Any]]] = [  # name, match_on, guards
    ("email", ["email"], {}),
    ("linkedin", ["linkedin"], {}),
    ("external id", [EXTERNAL_ID], {}),
    ("phone, guards on", ["phone"], {}),
    ("phone, guards off", ["phone"], OFF),
    ("all tiers, guards on", ALL_TIERS, {}),
    ("all tiers, guards off", ALL_TIERS, OFF),
]
Row = tuple[str, int]  # (source, row)


def label(tier: Any) -> str:
    """The name of a tier of match_on."""
    return tier if isinstance(tier, str) else tier["type"]


def run(name: str, match_on: list[Any], guards: dict[str, Any], data: Path) -> Path | str:
    """Merges the data by this spec; returns the merge's database, or why it was refused."""
    folder = data / name.replace(",", "").replace(" ", "_")
    folder.mkdir(exist_ok=True)
    labels = {label(tier) for tier in match_on}
    vendors = [v for v in people.VENDOR_SHARES if labels & {people.LABELS.get(h) for h in people.HEADERS[v]}]
    spec: dict[str, Any] = {
        "original": {"path": str(data / "crm.csv")},
        # a file without any key column is refused
        "enriched": [{"name": vendor, "path": str(data / f"{vendor}.csv")} for vendor in vendors],
        "match_on": match_on,
        "region": "US",
    }
    if guards:
        spec["guards"] = guards
    (folder / "spec.yml").write_text(json.dumps(spec), encoding="utf-8")  # JSON is YAML
    command = [
        sys.executable,
        "-m",
        "crm_merge.cli",
        "run",
        str(folder / "spec.yml"),
        "--dir",
        str(folder),
    ]
    done = subprocess.run(
        command, cwd=PROJECT, env=os.environ | {"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True
    )
    if done.returncode:
        return " ".join((done.stderr or done.stdout).replace(str(data), "").split())[:200]
    return folder / "merge.duckdb"


# -- Truth --


def read(path: Path) -> list[list[str]]:
    """A file's rows without its header."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def chains(data: Path, labels: set[str]) -> tuple[dict[Row, Row], set[tuple[int, Row]]]:
    """The vendor rows of one person that hang together by keys of these labels, and who is within reach.

    Returns (vendor row -> the first row of its chain, pairs of a CRM row and the first row of a chain). Keys are
    typed with the person, so that what strangers share joins none of them.
    """
    person = {(source, int(row)): who for source, row, who in read(data / "truth.csv")}
    carriers: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for source, row, key_label, value in read(data / "keys.csv"):
        if key_label in labels:
            at = (source, int(row))
            carriers[person[at], key_label, value].append(at)

    parent: dict[Row, Row] = {}

    def first(row: Row) -> Row:
        while parent.setdefault(row, row) != row:
            row = parent[row]
        return row

    for rows in carriers.values():
        vendor_rows = [row for row in rows if row[0] != "original"]
        for row in vendor_rows:
            one, other = sorted([first(vendor_rows[0]), first(row)])
            parent[other] = one
    reached = {
        (crm[1], first(row))
        for rows in carriers.values()
        for crm in rows
        for row in rows
        if crm[0] == "original" and row[0] != "original"
    }
    return {row: first(row) for row in parent}, reached


# -- Figures --


def ratio(part: int, whole: int) -> str:
    """A share in per cent."""
    return f"{part / whole:8.2%}" if whole else "       -"


def line(*cells: object) -> str:
    """A line of the table: two columns of text, then numbers."""
    widths = (22, 12, 9, 9, 9, 10, 8)
    return "".join(
        f"{cell!s:<{w}}" if i < 2 else f"{cell!s:>{w}}"
        for i, (cell, w) in enumerate(zip(cells, widths, strict=False))
    )


def report(name: str, match_on: list[Any], database: Path, data: Path) -> None:
    """Prints the lines of one merge."""
    labels = [label(tier) for tier in match_on]
    chain_of, reached = chains(data, set(labels))
    connection = duckdb.connect(str(database), read_only=True)
    connection.execute(
        f"create temp table truth as from read_csv('{data / 'truth.csv'}', all_varchar = true)"
    )
    connection.execute("create temp table chains (source varchar, source_row bigint, chain varchar)")
    connection.execute("create temp table reached (original_row bigint, chain varchar)")
    insert(connection, "chains", [(*row, str(chain)) for row, chain in chain_of.items()])
    insert(connection, "reached", [(crm, str(chain)) for crm, chain in reached])

    true_links = one(connection, """
        select count(*) from truth as o join truth as v using (person)
        where o.source = 'original' and v.source <> 'original'""")  # fmt: skip
    connection.execute("""
        create temp view links as
        select c.*, v.person, o.person = v.person as is_true
        from crosswalk as c
        join truth as o on o.source = 'original' and o.row::bigint = c.original_row
        join truth as v on v.source = c.source and v.row::bigint = c.source_row""")
    tiers = connection.execute("""
        select match_tier, count(*), count(*) filter (is_true) from links group by all order by all""").fetchall()
    for tier, found, right in tiers:
        print(
            line(
                name,
                ["assertion", *labels][tier],
                found,
                right,
                ratio(right, found),
                ratio(right, true_links),
            )
        )
    found, right = sum(tier[1] for tier in tiers), sum(tier[2] for tier in tiers)
    within = one(connection, "select count(*) from reached join chains using (chain)")
    kept = one(connection, """
        select count(*) from reached join chains using (chain)
        semi join crosswalk using (original_row, source, source_row)""")  # fmt: skip
    print(line(name, "all", found, right, ratio(right, found), ratio(right, true_links), true_links))
    print(f"  within reach of these keys: {within} true links, {kept} found ({ratio(kept, within).strip()})")

    entities, mixed, most = connection.execute("""
        select count(*), count(*) filter (people > 1), max(people)
        from (select count(distinct person) as people from links group by entity_id)""").fetchone()
    print(f"  over-merge:  {mixed} of {entities} entities mix people, at most {most or 0} in one")
    persons, split = connection.execute("""
        select count(distinct person), count(distinct person) filter (pieces > 1)
        from (
          select chain, any_value(t.person) as person,
                 count(distinct coalesce(e.entity_id, c.source || c.source_row)) as pieces
          from chains as c
          semi join reached using (chain)
          join truth as t on t.source = c.source and t.row::bigint = c.source_row
          left join (select distinct source, source_row, entity_id from crosswalk) as e
            on e.source = c.source and e.source_row = c.source_row
          group by chain
          having count(*) > 1
        )""").fetchone()
    print(f"  under-merge: {split} of {persons} people with several rows within reach are split")


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[tuple]) -> None:
    """Inserts rows, columns at a time."""
    if rows:
        columns = ", ".join(f"unnest($c{i})" for i in range(len(rows[0])))
        values = {f"c{i}": list(column) for i, column in enumerate(zip(*rows, strict=True))}
        connection.execute(f"insert into {table} select {columns}", values)


def one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """The one number that a query returns."""
    return connection.execute(query).fetchone()[0]


def main() -> None:
    """Makes the people, merges them by each run's spec, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keeps the files and merges there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = (given.folder or Path(scratch)).resolve()
        people.write(given.n, data, given.seed)
        print(line("match_on", "tier", "links", "true", "precision", "recall", "of"))
        for name, match_on, guards in RUNS:
            database = run(name, match_on, guards, data)
            if isinstance(database, str):
                print(f"{name}: no merge. {database}")
            else:
                report(name, match_on, database, data)


if __name__ == "__main__":
    main()
