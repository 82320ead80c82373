"""The habits that let the same models run on DuckDB and on Spark, held against the SQL that dbt compiles.

Staging and landing are DuckDB's alone; everything after them must be common ground, apart from the words of
macros/engine, each of which has one translation per engine.
"""

from __future__ import annotations

import re
import subprocess

import duckdb
import pytest

from tests.conftest import PROJECT
from tests.random_merges import STRATEGIES

BANNED = {
    "union by name": r"\bunion\s+(all\s+)?by\s+name\b",
    "* exclude / * replace": r"\*\s*(exclude|replace)\b",
    "columns()": r"\bcolumns\s*\(",
    "qualify": r"\bqualify\b",
    ":: cast": r"::",
    "arg_min / arg_max": r"\barg_(min|max)\b",
    "row() / struct()": r"\b(row|struct|struct_pack)\s*\(",
    "strpos, starts_with": r"\b(strpos|starts_with|contains|prefix)\s*\(",
    "varchar / text cast": r"\bas\s+(varchar|text)\b",
    "plain trim": r"\b[lr]?trim\s*\((?!\s*both)",
    "from-first select": r"(\A|\()\s*from\s",
    "list or struct literal": r"(?<![\w\"\]])\[|\{",
    "group by all, order by all": r"\b(group|order)\s+by\s+all\b",
    "semi join": r"\bsemi\s+join\b",
    "asof join": r"\basof\b",
    "try()": r"\btry\s*\(",
    "backslash": r"\\",
}

# What the engine words become on DuckDB: allowed in compiled SQL, and only from macros/engine.
ENGINE_WORDS = [
    "regexp_full_match",
    "regexp_replace",
    "string_agg",
    "unnest",
    "epoch_us",
    "hash",
    "rowid",
    "getvariable",
]


def without_text(sql: str) -> str:
    """The SQL without literals, quoted names and comments."""
    sql = re.sub(r"/\*.*?\*/|--[^\n]*", " ", sql, flags=re.DOTALL)
    return re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", "x", sql)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The portable models and invariants as dbt compiles them for a spec that uses every strategy and policy."""
    folder = tmp_path_factory.mktemp("compiled")
    columns = [f"c{n}" for n in range(len(STRATEGIES) + 2)]
    (folder / "crm.csv").write_text("Id,Email,Phone," + ",".join(columns) + "\n")
    (folder / "v.csv").write_text(
        "crm_id,email,phone,tax_no,street,zip,updated_at," + ",".join(columns) + "\n"
    )
    strategies = [*STRATEGIES, {"source_priority": ["v"]}, {"most_recent": "updated_at"}]
    policies = ["fill", "update", "suffix", "replace"]
    spec = f"""
        original: {{path: crm.csv}}
        enriched: [{{name: v, path: v.csv}}]
        match_on: [{{type: external_id, original: Id, enriched: crm_id}}, email, phone, {{column: tax_no, compare: normalized}}]
        region: US
        strategies: {dict(zip(columns, strategies, strict=True))}
        overwrite: { ({name: policies[n % 4] for n, name in enumerate(columns)}) }
        groups: [{{columns: [street, zip], strategy: longest}}]
    """
    (folder / "spec.yml").write_text(spec)
    subprocess.run(
        [PROJECT / ".venv/bin/crm-merge", "run", folder / "spec.yml", "--dir", folder / "m"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    root = folder / "m" / "target" / "compiled" / "crm_merge"
    files = [
        *root.glob("models/intermediate/*.sql"),
        *root.glob("models/marts/**/*.sql"),
    ]
    assert len(files) > 12
    with duckdb.connect(str(folder / "m" / "merge.duckdb"), read_only=True) as connection:
        checks = dict(connection.execute("select name, query from merge_checks").fetchall())
    assert {path.stem for path in PROJECT.glob("tests/sql/invariants/*.sql")} < set(checks)
    return checks | {
        str(file.relative_to(root)): file.read_text() for file in files if file.stem != "merge_checks"
    }


@pytest.mark.parametrize("construct", BANNED)
def test_no_model_uses(compiled, construct):
    found = {}
    for file, sql in compiled.items():
        text = sql if construct == "backslash" else without_text(sql)
        if match := re.search(BANNED[construct], text, re.IGNORECASE | re.MULTILINE):
            found[file] = text[max(match.start() - 60, 0) : match.end() + 40]
    assert not found


def test_engine_words_come_from_one_folder():
    """A model or macro of the portable part never writes what differs per engine itself."""
    places = [
        *PROJECT.glob("models/intermediate/*.sql"),
        *PROJECT.glob("models/marts/**/*.sql"),
        *PROJECT.glob("tests/sql/invariants/*.sql"),
    ]
    places += [
        PROJECT / "macros" / name
        for name in (
            "blocked.sql",
            "guards.sql",
            "policies.sql",
            "records.sql",
            "strategies.sql",
            "survivorship.sql",
            "text.sql",
        )
    ]
    for place in places:
        sql = re.sub(r"\{#.*?#\}", " ", place.read_text(), flags=re.DOTALL)
        for word in ENGINE_WORDS:
            assert not re.search(rf"\b{word}\b(?!\w*')", without_text(sql)), f"{place.name} writes {word}"


def test_models_quote_names_through_the_adapter():
    for place in [*PROJECT.glob("models/intermediate/*.sql"), *PROJECT.glob("models/marts/**/*.sql")]:
        assert '"' not in place.read_text(), place.name


def test_the_check_itself_sees_what_is_banned():
    for construct, sample in {
        ":: cast": "select a::int",
        "qualify": "select 1 qualify true",
        "plain trim": "select trim(a)",
    }.items():
        assert re.search(BANNED[construct], without_text(sample))
    assert not re.search(BANNED[":: cast"], without_text("select '::' as \"a::b\""))
