"""Invariants of a merge (docs: "What a merge means") on random files, against the brute-force oracle."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.conftest import Runner, merge_tables
from tests.oracle import MATCH_COLUMNS, Table
from tests.random_merges import Case, merges

# A merge takes seconds: examples are few, and shrinking is bounded by leaving out its slowest phase.
EXAMPLES = int(os.environ.get("CRM_MERGE_EXAMPLES", "1"))


def rules(examples: int) -> settings:
    phases = (Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if EXAMPLES > 1 else []))
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(
        max_examples=examples * EXAMPLES,
        deadline=None,
        phases=phases,
        suppress_health_check=checks,
        derandomize=EXAMPLES == 1,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("random")


def run(runner: Runner, folder, case: Case, **options):
    merge = merge_tables(runner, folder, case.spec, case.original, case.enriched, **options)
    assert merge.ok, merge.problems
    return merge


def crosswalk(merge) -> set[tuple]:
    return set(
        merge.query(
            "select source, source_row, original_row, entity_id, match_tier, matched_on from crosswalk"
        )
    )


@rules(45)
@given(case=merges())
def test_the_merge_equals_the_oracle(runner, folder, seeds, case):
    """I1, I2, I5, I10, I11 at once: rows, order, every cell, every link."""
    expected = oracle.merge(case.spec, case.original, case.enriched, **seeds)
    merge = run(runner, folder, case)
    result = merge.table("merged_result")
    assert result.headers == expected.columns
    assert result.rows == expected.rows
    assert crosswalk(merge) == expected.crosswalk


@rules(5)
@given(case=merges(), threads=st.sampled_from(["1", "8"]), limit=st.sampled_from(["200MB", "4GB"]))
def test_threads_and_memory_change_no_byte(runner, folder, monkeypatch, case, threads, limit):
    """I3, first half."""
    usual = run(runner, folder, case).table("merged_result")
    monkeypatch.setenv("DUCKDB_THREADS", threads)
    monkeypatch.setenv("DUCKDB_MEMORY_LIMIT", limit)
    assert run(runner, folder, case).table("merged_result") == usual
    monkeypatch.undo()


@rules(6)
@given(
    case=merges(),
    random=st.randoms(use_true_random=False),
    strategy=st.sampled_from(["min", "max", "unanimous"]),
)
def test_shuffled_rows_keep_entities_and_folds(runner, folder, case, random, strategy):
    """I3, second half. An original of several entities is left out: they are ordered by their first row."""
    case.spec["strategies"] = {"default": strategy}
    case.spec.pop("groups", None)
    before = run(runner, folder, case).table("merged_result")
    for _, table in case.enriched:
        random.shuffle(table.rows)
    after = run(runner, folder, case).table("merged_result")
    status = before.headers.index("match_status")
    keep = [i for i, row in enumerate(before.rows) if row[status] != "ambiguous"]
    assert [after.rows[i] for i in keep] == [before.rows[i] for i in keep]


@rules(6)
@given(
    case=merges(keys_only=True),
    noise=st.sampled_from(["upper", "tab", "nbsp", "zero width", "nfd", "mailto"]),
)
def test_noise_in_keys_changes_no_link(runner, folder, case, noise):
    """I4, for e-mail, phone and LinkedIn, whose case and spaces say nothing."""
    case.spec["match_on"] = ["email", "phone", "linkedin"]
    before = run(runner, folder, case)
    change = {
        "upper": str.upper,
        "tab": lambda cell: f"\t{cell}\t" if cell else cell,
        "nbsp": lambda cell: f"\u00a0{cell}\u00a0" if cell else cell,
        "zero width": lambda cell: "\u200b".join(cell),
        "nfd": lambda cell: unicodedata.normalize("NFD", cell),
        "mailto": lambda cell: cell,
    }[noise]
    for _, table in case.enriched:
        for position, header in enumerate(table.headers):
            if header in ("email", "work_email", "telephone", "linkedin_url"):
                for row in table.rows:
                    row[position] = change(row[position])
                    if noise == "mailto" and "email" in header and row[position].startswith("p"):
                        row[position] = "mailto:" + row[position]
    after = run(runner, folder, case)
    assert crosswalk(after) == crosswalk(before)
    columns = "match_quality, match_status, match_tier, matched_on, entity_id, n_enriched_rows"
    assert after.query(f"select {columns} from merged_result") == before.query(
        f"select {columns} from merged_result"
    )


@rules(6)
@given(
    case=merges(),
    junk=st.lists(st.sampled_from(["", " ", "n/a", "NULL", "\u00a0", "info@", "x"]), min_size=1, max_size=4),
    last=st.booleans(),
)
def test_rows_without_a_valid_key_change_nothing_else(runner, folder, case, junk, last):
    """I6."""
    before = run(runner, folder, case)
    _name, table = case.enriched[-1 if last else 0]
    keys = {"email", "work_email", "telephone", "linkedin_url", "tax_no", "crm_id"}
    for text in junk:
        blank = "" if text in ("info@", "x") and {"tax_no", "crm_id"} & set(table.headers) else text
        table.rows.append([blank if header in keys else "noise" for header in table.headers])
    after = run(runner, folder, case)
    assert after.table("merged_result") == before.table("merged_result")
    assert crosswalk(after) == crosswalk(before)


@rules(3)
@given(order=st.permutations(range(6)))
def test_a_chain_through_files_in_any_order_is_one_entity(runner, folder, order):
    """I5: each file shares one key with the next only; blank keys in between join nothing."""
    keys = [(f"p{n}@x.com" if n % 2 else "", f"212555010{n}" if n % 2 == 0 else "") for n in range(7)]
    tables = []
    for n in range(6):
        row = [keys[n][0] or keys[n + 1][0], keys[n][1] or keys[n + 1][1], f"file {n}"]
        tables.append(
            (f"v{n}", Table(["email", "phone", "title"], [row, ["", "", "no key"], ["n/a", "-", "no key"]]))
        )
    original = Table(["Email", "Phone"], [["", "2125550100"], ["p5@x.com", ""], ["q@x.com", ""]])
    spec = {"region": "US", "match_on": ["email", "phone"]}
    merge = run(runner, folder, Case(spec, original, [tables[n] for n in order]))
    assert len({entity for _, _, _, entity, _, _ in crosswalk(merge)}) == 1
    assert merge.query("select n_enriched_rows from merged_result") == [(6,), (6,), (0,)]


@rules(6)
@given(case=merges(policies=["fill"]))
def test_merging_the_result_again_changes_no_data(runner, folder, case):
    """I7. `collect` and `unanimous` included: what filled a blank is not blank any more."""
    first = run(runner, folder, case).table("merged_result")
    data = len(first.headers) - len(MATCH_COLUMNS)
    again = run(runner, folder, Case(case.spec, first, case.enriched)).table("merged_result")
    assert again.headers == first.headers
    assert [row[:data] for row in again.rows] == [row[:data] for row in first.rows]


@rules(6)
@given(case=merges(policies=["fill"]))
def test_reversed_files_and_rows_swap_first_and_last(runner, folder, case):
    """I10. Entities of an ambiguous original are ordered by their first row, so those rows are left out."""
    case.spec.pop("groups", None)
    case.spec["strategies"] = {"default": "first"}
    first = run(runner, folder, case).table("merged_result")
    turned = [(name, Table(table.headers, table.rows[::-1])) for name, table in case.enriched[::-1]]
    spec = case.spec | {"strategies": {"default": "last"}, "enriched": case.spec["enriched"][::-1]}
    last = run(runner, folder, Case(spec, case.original, turned)).table("merged_result")
    status = first.headers.index("match_status")
    for one, other in zip(first.rows, last.rows, strict=True):
        if one[status] != "ambiguous":
            assert dict(zip(first.headers, one, strict=True)) == dict(zip(last.headers, other, strict=True))
