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
from tests.random_merges import SEEDS, Case, guarded, labels_of, merges, raised

# No keys for any e-mail, phone or LinkedIn column, whatever the guards say; anything is one for the other tiers.
WORTHLESS = ["info@", "x", "info@firm1.com", "+33 6 66 66 66 66"]

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


def guard_events(merge) -> set[tuple]:
    """The values that link nothing, or only those who share a name."""
    return set(
        merge.query(
            "select guard, key_type, key_value from guard_events where key_value is not null"
            " and guard in ('blocked', 'hub', 'contradiction')"
            # a number that a spreadsheet has mangled has no key value in the oracle
            " and explanation not like '%mangled%'"
        )
    )


def told(table: Table) -> list[list[str]]:
    """merged_result's rows without the explanation, which the oracle doesn't write."""
    explanation = table.headers.index("match_explanation")
    rows = [list(row) for row in table.rows]
    for row in rows:
        row[explanation] = None
    return rows


@rules(20)
@given(case=st.one_of(merges(), guarded(), guarded()))
def test_the_merge_equals_the_oracle(runner, folder, seeds, case):
    """I1, I2, I5, I10, I11 at once: rows, order, every cell, every link; what guards stopped."""
    expected = oracle.merge(case.spec, case.original, case.enriched, **seeds)
    merge = run(runner, folder, case)
    result = merge.table("merged_result")
    assert result.headers == expected.columns
    assert told(result) == expected.rows
    assert crosswalk(merge) == expected.crosswalk
    assert guard_events(merge) == expected.guards


@rules(8)
@given(case=st.one_of(merges(), guarded()), rows=st.sampled_from(["1", "2", "5"]))
def test_a_merge_in_many_parts_equals_the_oracle(runner, folder, seeds, monkeypatch, case, rows):
    """Parts of entities, stretches of vendor rows and slices of the CRM of a few rows each."""
    monkeypatch.setenv("CRM_MERGE_PART_ROWS", rows)
    expected = oracle.merge(case.spec, case.original, case.enriched, **seeds)
    merge = run(runner, folder, case)
    monkeypatch.undo()
    assert told(merge.table("merged_result")) == expected.rows
    assert crosswalk(merge) == expected.crosswalk


def pairs(merge) -> set[tuple]:
    """The pairs of an original row and a vendor row, and of two vendor rows, that are one person."""
    links = crosswalk(merge)
    one = {(a[:2], b[:2]) for a in links for b in links if a[3] == b[3] and a[:2] < b[:2]}
    return one | {(("original", original), (source, row)) for source, row, original, *_ in links}


@rules(4)
@given(case=guarded(), data=st.data())
def test_a_raised_limit_loses_no_merge(runner, folder, case, data):
    """I12, first half: one limit raised or switched off, the others off."""
    case.spec.pop("assertions", None)
    low, high = data.draw(raised(labels_of(case.spec)))
    case.spec["guards"] = low
    before = pairs(run(runner, folder, case))
    case.spec["guards"] = high
    assert before <= pairs(run(runner, folder, case))


@rules(4)
@given(case=guarded())
def test_every_refused_match_is_written_down(runner, folder, case):
    """I12, second half, for originals; tests/test_oracle.py holds the oracle to it for vendor rows too.

    Usable keys and the entities that are too large come from the oracle; what was refused, and the events, do not.
    """
    expected = oracle.merge(case.spec, case.original, case.enriched, **SEEDS)
    merge = run(runner, folder, case)
    linked = pairs(merge)
    values = {(label, value) for _, label, value in guard_events(merge)}
    guards = {guard for (guard,) in merge.query("select guard from guard_events")}
    decided = any(line["decision"] == "cannot_link" for line in case.spec.get("assertions", []))
    for original, keys in expected.keys.items():
        for vendor_row, others in expected.keys.items():
            if original[0] != "original" or vendor_row[0] == "original" or (original, vendor_row) in linked:
                continue
            assert (
                (keys & others) <= values
                or any(vendor_row in ids and guard in guards for guard, ids in expected.entity_guards)
                or (decided and "cannot_link" in guards)
            )


@rules(4)
@given(case=guarded(), threads=st.sampled_from(["1", "8"]), limit=st.sampled_from(["200MB", "4GB"]))
def test_threads_and_memory_change_no_byte(runner, folder, monkeypatch, case, threads, limit):
    """I3, first half."""
    usual = run(runner, folder, case).table("merged_result")
    monkeypatch.setenv("DUCKDB_THREADS", threads)
    monkeypatch.setenv("DUCKDB_MEMORY_LIMIT", limit)
    assert run(runner, folder, case).table("merged_result") == usual
    monkeypatch.undo()


@rules(4)
@given(
    case=guarded(),
    random=st.randoms(use_true_random=False),
    strategy=st.sampled_from(["min", "max", "unanimous"]),
)
def test_shuffled_rows_keep_entities_and_folds(runner, folder, case, random, strategy):
    """I3, second half. An original of several entities is left out: they are ordered by their first row.

    So are decisions: they name rows by number, and an entity that they alone hold together is called by its row.
    """
    case.spec.pop("assertions", None)
    case.spec["strategies"] = {"default": strategy}
    case.spec.pop("groups", None)
    before = run(runner, folder, case).table("merged_result")
    for _, table in case.enriched:
        random.shuffle(table.rows)
    after = run(runner, folder, case).table("merged_result")
    status = before.headers.index("match_status")
    keep = [i for i, row in enumerate(before.rows) if row[status] != "ambiguous"]
    before, after = told(before), told(after)
    assert [after[i] for i in keep] == [before[i] for i in keep]


@rules(4)
@given(
    case=guarded(keys_only=True, match_on=["email", "phone", "linkedin"]),
    noise=st.sampled_from(["upper", "tab", "nbsp", "zero width", "nfd", "mailto"]),
)
def test_noise_in_keys_changes_no_link(runner, folder, case, noise):
    """I4, for e-mail, phone and LinkedIn, whose case and spaces say nothing."""
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
    assert guard_events(after) == guard_events(before)
    columns = "match_quality, match_status, match_tier, matched_on, entity_id, n_enriched_rows, duplicate_in_original"
    assert after.query(f"select {columns} from merged_result") == before.query(
        f"select {columns} from merged_result"
    )


@rules(4)
@given(
    case=guarded(),
    junk=st.lists(st.sampled_from(["", " ", "n/a", "NULL", "\u00a0", *WORTHLESS]), min_size=1, max_size=4),
    last=st.booleans(),
)
def test_rows_without_a_valid_key_change_nothing_else(runner, folder, case, junk, last):
    """I6: blank, invalid and blocked keys."""
    before = run(runner, folder, case)
    _name, table = case.enriched[-1 if last else 0]
    keys = {"email", "work_email", "telephone", "linkedin_url", "tax_no", "crm_id"}
    for text in junk:
        blank = "" if text in WORTHLESS and {"tax_no", "crm_id"} & set(table.headers) else text
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


@rules(4)
@given(case=merges(policies=["fill"]))
def test_merging_the_result_again_changes_no_data(runner, folder, case):
    """I7, with guards off: one that fired may not fire again. `collect` and `unanimous` included: what filled a blank is not blank any more."""
    first = run(runner, folder, case).table("merged_result")
    data = len(first.headers) - len(MATCH_COLUMNS)
    again = run(runner, folder, Case(case.spec, first, case.enriched)).table("merged_result")
    assert again.headers == first.headers
    assert [row[:data] for row in again.rows] == [row[:data] for row in first.rows]


@rules(4)
@given(case=guarded(policies=["fill"]))
def test_reversed_files_and_rows_swap_first_and_last(runner, folder, case):
    """I10. Entities of an ambiguous original are ordered by their first row, so those rows are left out; decisions name rows."""
    case.spec.pop("assertions", None)
    case.spec.pop("groups", None)
    case.spec["strategies"] = {"default": "first"}
    first = run(runner, folder, case).table("merged_result")
    turned = [(name, Table(table.headers, table.rows[::-1])) for name, table in case.enriched[::-1]]
    spec = case.spec | {"strategies": {"default": "last"}, "enriched": case.spec["enriched"][::-1]}
    last = run(runner, folder, Case(spec, case.original, turned)).table("merged_result")
    status = first.headers.index("match_status")
    for one, other in zip(first.rows, last.rows, strict=True):
        if one[status] != "ambiguous":
            one, other = (
                dict(zip(first.headers, one, strict=True)),
                dict(zip(last.headers, other, strict=True)),
            )
            assert one | {"match_explanation": ""} == other | {"match_explanation": ""}
