"""What a merge says of itself, on random files, against the brute-force oracle of the audit tables.

I8 (provenance) is also held against the files themselves, read again by Python.
"""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests import oracle
from tests.audit_oracle import audit
from tests.conftest import as_text
from tests.random_merges import audited, merges
from tests.test_properties import folder, rules, run, told  # noqa: F401  (folder is a fixture)

TABLES = [
    "cell_provenance",
    "merge_changes",
    "row_ledger",
    "unmatched_enriched",
    "merge_conflicts",
    "vendor_scorecard",
]
AUDIT = [f"+{name}" for name in ["merged_result", *TABLES]]
PROVENANCE = ["original_row", "column_name", "source", "source_row", "source_column", "strategy", "policy",
              "old_value", "new_value"]  # fmt: skip
CHANGES = ["record_id", "original_row", "column_name", "old_value", "new_value", "source", "source_row",
           "is_new_column"]  # fmt: skip
CONFLICTS = ["n_candidates", "n_values", "strategy", "winner", "winner_source", "winner_row", "runner_up",
             "runner_up_source", "runner_up_row", "original_value", "original_disagrees", "is_used"]  # fmt: skip


def plain(value):
    """A text that is null is empty in the oracle."""
    return "" if value is None else value


def rows_of(merge, name: str, columns: list[str]) -> list[tuple]:
    return merge.query(f"select {', '.join(columns)} from {name}")


def conflicts_of(merge) -> dict[tuple, tuple]:
    texts = {"winner", "winner_source", "runner_up", "runner_up_source", "original_value"}
    found = rows_of(merge, "merge_conflicts", ["original_row", "entity_id", "column_name", *CONFLICTS])
    return {
        row[:3]: tuple(plain(v) if name in texts else v for name, v in zip(CONFLICTS, row[3:], strict=True))
        for row in found
    }


def scorecard_of(merge) -> dict[tuple[str, str], dict]:
    with merge.connect() as connection:
        cursor = connection.execute("select * from vendor_scorecard")
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {(row.pop("vendor"), row.pop("column_name")): row for row in rows}


@rules(24)
@given(case=audited())
def test_the_audit_equals_the_oracle(runner, folder, seeds, case):  # noqa: F811
    """Every row of every audit table, and of the result that they speak of."""
    equals_the_oracle(runner, folder, seeds, case)


@rules(8)
@given(case=audited(), rows=st.sampled_from(["1", "2", "5"]))
def test_the_audit_in_many_parts_equals_the_oracle(runner, folder, seeds, monkeypatch, case, rows):  # noqa: F811
    """What the audit does at once, unless rows are large, is done in parts as well."""
    monkeypatch.setenv("CRM_MERGE_PART_ROWS", rows)
    try:
        equals_the_oracle(runner, folder, seeds, case)
    finally:
        monkeypatch.undo()


def equals_the_oracle(runner, folder, seeds, case):  # noqa: F811
    expected = audit(case.spec, case.original, case.enriched, **seeds)
    merge = run(runner, folder, case, select=AUDIT)
    result = oracle.merge(case.spec, case.original, case.enriched, **seeds)
    assert told(merge.table("merged_result")) == result.rows
    found = rows_of(merge, "cell_provenance", PROVENANCE)
    assert {tuple(plain(v) for v in row) for row in found} == expected.provenance
    assert len(found) == len(expected.provenance)
    changes = rows_of(merge, "merge_changes", CHANGES)
    assert {tuple(plain(v) for v in row) for row in changes} == expected.changes
    assert len(changes) == len(expected.changes)
    ledger = rows_of(merge, "row_ledger", ["source", "source_row", "bucket", "entity_id"])
    assert {row[:2]: (row[2], plain(row[3])) for row in ledger} == expected.ledger
    assert len(ledger) == len(expected.ledger)
    net_new = merge.table("unmatched_enriched")
    assert (net_new.headers, net_new.rows) == expected.unmatched
    assert conflicts_of(merge) == expected.conflicts
    order = merge.query("select original_row from merge_conflicts")
    assert order == sorted(order) and len(order) == len(expected.conflicts)
    assert scorecard_of(merge) == expected.scorecard


@rules(6)
@given(case=merges())
def test_provenance_leads_back_to_the_file(runner, folder, case):  # noqa: F811
    """I8. Each cell of the result that is not the CRM's own has one row; file, row and column there hold the value."""
    merge = run(runner, folder, case, select=AUDIT)
    paths = dict(merge.query("select source, path from stg_files"))
    files = {source: read_again(path) for source, path in paths.items()}
    result = merge.table("merged_result")
    provenance = {}
    for row, column, source, source_row, source_column, strategy, value in rows_of(
        merge,
        "cell_provenance",
        ["original_row", "column_name", "source", "source_row", "source_column", "strategy", "new_value"],
    ):
        assert (row, column) not in provenance
        provenance[row, column] = value
        cell = nfc(files[source][source_row - 1][source_column])
        assert value.startswith(cell) if strategy == "collect" else value == cell
    policies = dict(merge.query("select column_name, policy from stg_columns where file_order > 0"))
    crm = files["original"]
    for number, row in enumerate(result.rows, start=1):
        for column, cell in zip(result.headers, row, strict=True):
            if (number, column) in provenance:
                assert cell == provenance[number, column]
            elif column in crm[number - 1]:
                blanked = policies.get(column) == "replace" and cell == ""
                assert cell == crm[number - 1][column] or blanked
            elif column in policies:
                assert cell == ""


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def read_again(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_null_is_no_text():
    assert as_text(None) == plain(None) == ""
