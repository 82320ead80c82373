"""The plan, without dbt and without files: what columns are called, which tier has which, how the work is cut."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_merge.canonical import canonical
from crm_merge.engine import planning
from crm_merge.plan import parts
from crm_merge.plan.columns import named
from crm_merge.plan.make import Machine, made
from crm_merge.plan.model import Unfit, Widths
from crm_merge.spec.check import checked
from crm_merge.spec.names import of_project

VECTORS = json.loads((Path(__file__).parent / "vectors" / "canonical.json").read_text(encoding="utf-8"))


def profile(k: int, header: list[str], **more) -> dict:
    """A file as it is profiled."""
    vendor = "original" if k == 0 else f"v{k}"
    setting = "original" if k == 0 else f"enriched[{k - 1}]"
    return {
        "k": k, "name": vendor, "vendor": vendor, "setting": setting, "role": "original" if k == 0 else "enriched", "header": header,
        "shown": f"{vendor}.csv", "path": f"/{vendor}.csv", "notes": [], "physical_rows": 1000, "rejected_rows": 0, "first_rejects": [],
        "row_bytes": 100, "densest": 120, "long_bytes": 0, "region": None, "way": "direct", "dialect": {"delimiter": ","}, "compression": "plain",
    } | more  # fmt: skip


def plan(*headers: list[str], machine: Machine | None = None, **spec):
    """The plan of a spec for files of these headers, the original's first."""
    whole = {
        "original": {"path": "original.csv"},
        "enriched": [{"name": f"v{k}", "path": f"v{k}.csv"} for k in range(1, len(headers))],
        "match_on": ["email"],
    } | spec
    files = [profile(k, header) for k, header in enumerate(headers)]
    for file, written in zip(files, [whole["original"], *whole["enriched"]], strict=True):
        file |= {
            name: written[name] for name in ("columns", "max_reject_rate", "on_bad_row") if name in written
        }
    return made(checked(whole), files, [], of_project(), machine or Machine())


def test_a_name_is_what_the_engine_would_call_it():
    """Vectors frozen from DuckDB: final sigma, dotted capital I, marks in any order, letters of all scripts."""
    assert len(VECTORS) > 1500
    wrong = [(text, expected, canonical(text)) for text, expected in VECTORS if canonical(text) != expected]
    assert wrong == []


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Email", "email"), (" First Name ", "first_name"), ("E-mail (work):", "e_mail_work"), ("# Employees", "employees"),
        ("Te\u0301l", "tél"), ("Straße", "straße"), ("日本 語", "日本_語"), ("Email1", "email1"), ("a__b", "a_b"), ("***", ""),
        ("ΟΔΟΣ", "οδοσ"), ("İd", "id"), ("\ua7cb", "_"), ("x\ua7cby", "x_y"),
    ],
)  # fmt: skip
def test_canonical(header, name):
    assert canonical(header) == name.strip("_")


def names_of(headers: list[str], declared: dict[str, str] | None = None) -> list[str | None]:
    return [header.column for header in named([(1, headers, declared or {})])]


def test_which_header_takes_a_name():
    # the header that is the name itself goes before an alias, wherever it stands
    assert names_of(["Work Email", "Email"]) == ["work_email", "email"]
    # what is mapped goes before both; the other keeps its own name, which is taken
    assert names_of(["Mail", "Email"], {"Mail": "email"}) == ["email", None]
    # of two aliases the first; the second keeps its own
    assert names_of(["Work Email", "E-mail Address"]) == ["email", "e_mail_address"]
    assert names_of(["***", "Id"]) == ["column_1", "id"]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["Email", "Work Email", "E-Mail", "email", "Phone", "Mobile", "Id", "***", "a b", "A-B"]
        ),
        max_size=8,
    )
)
def test_no_two_headers_of_a_file_have_one_name(headers):
    found = [name for name in names_of(headers) if name is not None]
    assert len(found) == len(set(found))
    assert len(found) >= len({header.own for header in named([(1, headers, {})])}.intersection(found))


def test_what_a_column_is():
    [email, second, last, country, company] = named(
        [(0, ["Email", "Email 2", "Last Name", "Country", "Company Phone"], {})]
    )
    assert (email.key_type, second.key_type, last.is_name, country.is_country) == (
        "email",
        "email",
        True,
        True,
    )
    assert company.key_type is None


def test_tiers_hold_columns_by_file():
    found = plan(["Id", "Email"], ["crm_id", "email", "Email 2"], match_on=[{"type": "external_id", "original": "Id", "enriched": "crm_id"}, "email"])  # fmt: skip
    external, email = found.tiers
    assert (external.label, external.kind, {k: [h.header for h in hs] for k, hs in external.columns.items()}) == (
        "external_id", "column", {0: ["Id"], 1: ["crm_id"]},
    )  # fmt: skip
    assert {k: [h.header for h in hs] for k, hs in email.columns.items()} == {
        0: ["Email"],
        1: ["email", "Email 2"],
    }
    assert found.record_id == "Id" and found.evidence == []


def test_guards_look_at_emails_also_where_match_on_does_not():
    found = plan(["Email", "Phone"], ["email", "phone"], match_on=["phone"])
    assert [(tier.tier, tier.label) for tier in found.evidence] == [(2, "email")]
    assert found.guards.hub == {1: 3} and found.guards.contradiction == {1: "name"}
    found = plan(
        ["Email", "Phone"],
        ["email", "phone"],
        match_on=["phone"],
        guards={"hub": "off", "contradiction": "off"},
    )
    assert found.evidence == [] and found.guards.hub == {1: None} and found.guards.contradiction == {1: "off"}


def test_places_in_the_result():
    found = plan(["Email", "Title"], ["email", "title", "industry"], overwrite={"title": "suffix"})
    assert [(v.column, v.header, v.output, v.name, v.place) for v in found.vendor] == [
        ("email", "Email", None, "Email", 1),
        ("title", "Title", "title_enriched", "title_enriched", 3),
        ("industry", None, "industry", "industry", 4),
    ]


def test_everything_that_does_not_fit_is_told_at_once():
    with pytest.raises(Unfit) as unfit:
        plan(
            ["Id", "Email"], ["email", "title"], strategies={"titel": "first"}, overwrite={"tytle": "fill"},
            guards={"hub": {"fone": 3}}, original={"path": "original.csv", "record_id": "Idd"},
        )  # fmt: skip
    told = "\n".join(unfit.value.problems)
    assert len(unfit.value.problems) == 4
    for sentence in (
        "'titel'; did you mean 'title'?",
        "'tytle'",
        "hub.fone: no key",
        "no column 'Idd'; did you mean 'Id'?",
    ):
        assert sentence in told


@pytest.mark.parametrize(
    ("header", "setting"),
    [
        (["Emial", "title"], 'columns: {"Emial": email}'),
        (['"Emial"', "title"], 'columns: {"\\"Emial\\"": email}'),
        (["name", "title"], 'columns: {"HEADER": email}'),
    ],
)
def test_a_file_without_a_key_is_told_how_to_map_one(header, setting):
    with pytest.raises(Unfit) as unfit:
        plan(["Email"], header)
    assert unfit.value.problems[0].endswith(f"or map one: {setting}")


def test_planning_takes_no_more_memory_than_the_plan():
    """300 vendor columns in 20 files."""
    header = ["email", *(f"column {n}" for n in range(299))]
    plan(["Email"], header)  # what is cached stays
    tracemalloc.start()
    found = plan(["Email"], *[header] * 20)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.headers) == 20 * 300 + 1
    assert peak < 1.5 * kept + 2_000_000
    assert len(planning.as_json(found)) < 4_000_000


def test_too_many_columns():
    with pytest.raises(Unfit, match="bring 301 different columns; a merge takes at most 300"):
        plan(["Email"], ["email", *(f"c {n}" for n in range(300))])


def test_a_plan_is_landed_as_it_is():
    found = plan(["Email", "City", "Zip"], ["email", "city", "zip"], groups=[{"columns": ["city", "zip"]}])
    again = json.loads(planning.as_json(found))
    assert (
        again["vendor"][1]["group"]["columns"] == ["city", "zip"] and again["vendor"][1]["is_first_of_group"]
    )
    whole = json.loads(json.dumps(asdict(found)))
    assert whole["shapes"] == again["shapes"] and whole["files"] == again["files"] and not again["headers"]
    assert [shape["headers"] for shape in again["shapes"]] == [
        [header for header in whole["headers"] if header["k"] == k] for k in (0, 1)
    ]


# -- Parts --


def widths(**more) -> Widths:
    return Widths(**{
        "room": 1000, "most_rows": parts.ALL_ROWS, "entity": 10, "row": 10, "id": 0, "compared": 0, "original": 10, "buffers": 5, "newcomer": 10,
        "any_row": 10, "rows_together": 5000, "rows_are_large": False,
    } | more)  # fmt: skip


def test_small_files_are_one_part():
    found = plan(["Email"], ["email"])
    assert found.parts["originals"] == {"n": 1, "firsts": [1]} and found.parts["records"]["n"] == 1


@pytest.mark.parametrize(
    ("columns", "rows", "are_large"),
    [(10, 2000, False), (100, 2000, False), (100, 200_000, True), (200, 10, True)],
)
def test_small_files_are_done_at_once_whatever_their_width(columns, rows, are_large):
    files = [
        profile(0, ["Email"]),
        profile(1, ["email", *(f"c {n}" for n in range(columns))], physical_rows=rows, row_bytes=500),
    ]
    spec = {
        "original": {"path": "crm.csv"},
        "enriched": [{"name": "v1", "path": "v.csv"}],
        "match_on": ["email"],
    }
    found = made(checked(spec), files, [], of_project(), Machine())
    assert found.widths.rows_are_large == are_large


def test_slices_of_ten_million_rows_keep_within_the_room():
    spec = checked(
        {"original": {"path": "a"}, "enriched": [{"name": "v1", "path": "b"}], "match_on": ["email"]}
    )
    files = [profile(0, ["Email"], physical_rows=10_000_000), profile(1, ["email"], physical_rows=10_000_000)]
    found = made(spec, files, [], of_project(), Machine(memory=400_000_000))
    slices = found.parts["originals"]["firsts"]
    assert slices[0] == 1 and slices == sorted(set(slices)) and slices[-1] <= 10_000_000
    assert max(b - a for a, b in itertools.pairwise(slices)) * found.widths.original <= found.widths.room
    assert not found.widths.rows_are_large


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=12), st.integers(1000, 3000))
def test_stretches_hold_at_most_so_many_rows_and_all_of_them(rows, most):
    files = [{"k": k, "physical_rows": n} for k, n in enumerate(rows, 1)]
    firsts = parts.stretches(files, most)["firsts"]
    everything = [k * parts.RECORDS + row for k, n in enumerate(rows, 1) for row in range(1, n + 1)]
    held = [
        sum(first <= record < last for record in everything)
        for first, last in zip(firsts, [*firsts[1:], 1 << 62], strict=True)
    ]
    assert sum(held) == len(everything) and max(held) <= most and firsts == sorted(firsts)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
def test_parts_of_entities_keep_within_the_room(several, alone, large):
    measured = {
        "several": several,
        "several_rows": 2 * several,
        "all_rows": 2 * several + alone,
        "held": 20 * several,
    }
    of = widths(rows_are_large=large)
    n = parts.entities(of, 3, measured)["n"]
    assert several * of.entity + several * 20 <= n * of.room
    assert n == 1 or several * 30 > (n - 1) * of.room
    disputes = parts.disputes(of, n, {"n": several, "bytes": 300 * several})["n"]
    assert disputes % n == 0 and 300 * several <= disputes * of.room * 1.25


def test_few_large_entities_do_not_meet():
    of = widths()
    assert parts.without_a_large_one(of, 2, [1400, 900, 800, 700])["n"] == 2
    assert parts.without_a_large_one(of, 2, [9000, 1600, 1500, 700])["n"] == 6
    assert parts.without_a_large_one(of, 2, [9000, 9000, 9000, 9000])["n"] == 8


def test_many_files_are_read_in_two_parts_at_least():
    measured = {"several": 10, "several_rows": 10_001, "all_rows": 10_001}
    assert parts.entities(widths(row=0), 12, measured)["n"] == 2
    assert parts.entities(widths(row=0), 9, measured)["n"] == 1
