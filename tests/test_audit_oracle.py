"""The oracle of the audit tables, on examples worked by hand; each test holds a sentence of their contract."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.audit_oracle import Audit, audit
from tests.oracle import Table
from tests.random_merges import SEEDS, guarded, merges
from tests.test_oracle import ROLES, decide, md5, table

WORDS: dict[str, Any] = ROLES | {"sentinels": {"n/a": False}}
CRM = table("email", "a@x.com")
A, B, C = (md5(f"email:{letter}@x.com") for letter in "abc")  # entities


def audited(crm: Table, /, *vendors: Table, match_on: Any = ("email",), **spec: Any) -> Audit:
    """The vendors are v1, v2, …"""
    names = [f"v{n}" for n in range(1, len(vendors) + 1)]
    whole = {"match_on": list(match_on), "region": "US"} | spec
    return audit(whole, crm, list(zip(names, vendors, strict=True)), **WORDS)


def sources(result: Audit, column: str = "title") -> set[tuple[str, str, int, str]]:
    """(new_value, source, source_row, strategy) of a column."""
    return {
        (new, source, source_row, strategy)
        for _, name, source, source_row, _, strategy, _, _, new in result.provenance
        if name == column
    }


# -- cell_provenance and merge_changes --


@pytest.mark.parametrize(
    ("policy", "old", "cell", "taken", "is_change"),
    [
        ("fill", "_", "CEO", ("Title", "", "CEO"), True),
        ("fill", "~", "CEO", ("Title", " ", "CEO"), True),
        ("fill", "n/a", "CEO", None, False),
        ("fill", "CFO", "CEO", None, False),
        ("fill", "_", "n/a", None, False),
        ("update", "CFO", "CEO", ("Title", "CFO", "CEO"), True),
        ("update", "CEO", "CEO", ("Title", "CEO", "CEO"), False),
        ("update", "ceo", "CEO", ("Title", "ceo", "CEO"), True),
        ("update", "CFO", "n/a", None, False),
        ("replace", "CFO", "CEO", ("Title", "CFO", "CEO"), True),
        ("replace", "CEO", "CEO", ("Title", "CEO", "CEO"), False),
        ("replace", "CFO", "n/a", None, False),
        ("suffix", "CFO", "CEO", ("title_enriched", "", "CEO"), True),
        ("suffix", "CEO", "CEO", ("title_enriched", "", "CEO"), True),
        ("suffix", "CFO", "n/a", None, False),
        ("update", "Zoe\u0301", "Zoe\u0301", ("Title", "Zoe\u0301", "Zoé"), True),
        ("update", "Zoé", "Zoe\u0301", ("Title", "Zoé", "Zoé"), False),
    ],
)
def test_taken_cells_by_policy(policy, old, cell, taken, is_change):
    crm = table("Id email Title", f"R7 a@x.com {old}", f"R8 z@x.com {old}")
    result = audited(crm, table("email TITLE", f"a@x.com {cell}"), overwrite={"title": policy})
    expected = set()
    if taken:
        name, before, new = taken
        expected = {(1, name, "v1", 1, "TITLE", "first", policy, before, new)}
        changes = {("R7", 1, name, before, new, "v1", 1, policy == "suffix")}
    assert result.provenance == expected
    assert result.changes == (changes if is_change else set())


@pytest.mark.parametrize("policy", ["fill", "update", "suffix", "replace"])
def test_a_new_column_keeps_its_canonical_name_under_every_policy(policy):
    vendor = table("email Job~title", "a@x.com CEO", "b@x.com CTO")
    vendor.headers[1] = "Job title"
    result = audited(CRM, vendor, overwrite={"default": policy})
    provenance = {row for row in result.provenance if row[1] == "job_title"}
    assert provenance == {(1, "job_title", "v1", 1, "Job title", "first", policy, "", "CEO")}
    assert {row for row in result.changes if row[2] == "job_title"} == {
        ("", 1, "job_title", "", "CEO", "v1", 1, True)
    }


def test_source_column_is_the_header_of_that_file():
    result = audited(
        table("email Title", "a@x.com _", "b@x.com _"),
        table("email Job", "a@x.com CEO"),
        table("TITLE Email", "CTO b@x.com"),
        enriched=[{"name": "v1", "columns": {"Job": "title"}}, {"name": "v2"}],
    )
    assert {row[:5] for row in result.provenance} == {
        (1, "Title", "v1", 1, "Job"),
        (2, "Title", "v2", 1, "TITLE"),
    }


def test_every_crm_row_of_an_entity_takes_its_own_cells():
    crm = table("email title", "a@x.com _", "a@x.com CFO", "a@x.com _")
    result = audited(crm, table("email title", "a@x.com CEO"))
    assert {row[0] for row in result.provenance} == {1, 3}


# One entity: forms boss, ceo (two spellings) and chief.
V1 = table("email title note updated_at", "a@x.com Boss _ 2024-01-01", "a@x.com CEO x 2023-01-01")
V2 = table("email title note updated_at", "a@x.com ceo _ 2024-03-01", "a@x.com Chief _ _")


@pytest.mark.parametrize(
    ("strategy", "value", "source", "row", "second"),
    [
        ("first", "Boss", "v1", 1, ("CEO", "v1", 2)),
        ("last", "Chief", "v2", 2, ("ceo", "v2", 1)),
        ("longest", "Chief", "v2", 2, ("Boss", "v1", 1)),
        ("most_complete", "CEO", "v1", 2, ("Boss", "v1", 1)),  # 4 cells; ceo says the same; 3 cells
        ("most_frequent", "CEO", "v1", 2, ("Boss", "v1", 1)),
        ("min", "Boss", "v1", 1, ("CEO", "v1", 2)),
        ("max", "ceo", "v2", 1, ("Chief", "v2", 2)),
        ("collect", "Boss; CEO; Chief", "v1", 1, ("", "", None)),
        ("unanimous", "", "", None, ("", "", None)),
        ({"source_priority": ["v2"]}, "ceo", "v2", 1, ("Chief", "v2", 2)),
        ({"most_recent": "updated_at"}, "ceo", "v2", 1, ("Boss", "v1", 1)),
    ],
)
def test_source_and_runner_up_by_strategy(strategy, value, source, row, second):
    name = strategy if isinstance(strategy, str) else next(iter(strategy))
    result = audited(CRM, V1, V2, strategies={"title": strategy})
    assert sources(result) == ({(value, source, row, name)} if value else set())
    # four cells of three forms; the CRM has no such column; what was written was used
    conflict = (4, 3, name, value, source, row, *second, "", None, bool(value))
    assert result.conflicts[1, A, "title"] == conflict


def test_the_source_of_unanimous_is_the_first_row_with_the_value_written():
    v1 = table("email title", "a@x.com _", "a@x.com ceo", "a@x.com CEO")
    result = audited(CRM, v1, table("email title", "a@x.com CEO"), strategies={"title": "unanimous"})
    assert sources(result) == {("CEO", "v1", 3, "unanimous")}


def test_the_source_of_collect_is_the_first_candidate():
    v1 = table("email title", "a@x.com n/a", "a@x.com CTO", "a@x.com cto", "a@x.com CEO")
    result = audited(CRM, v1, strategies={"title": "collect"})
    assert sources(result) == {("CTO; CEO", "v1", 2, "collect")}


def test_the_source_of_min_is_the_first_of_equal_ones():
    v1 = table("email title", "a@x.com 2", "a@x.com 1", "a@x.com 1")
    assert sources(audited(CRM, v1, strategies={"title": "min"})) == {("1", "v1", 2, "min")}


# Rows of one entity: the last has no zip.
STREETS = table("email street zip", "a@x.com S1 Z1", "a@x.com S2 Z2", "a@x.com S3 _")


def grouped(crm: Table, /, *vendors: Table, strategy: Any = "last", **more: Any) -> Audit:
    """street and zip survive together; ungrouped they would survive by longest."""
    group = {"columns": ["street", "zip"], "strategy": strategy}
    allow = {"allow_fill": more.pop("allow_fill")} if "allow_fill" in more else {}
    return audited(crm, *vendors, groups=[group | allow], strategies={"default": "longest"}, **more)


def test_a_group_takes_one_row_and_names_its_own_strategy():
    result = grouped(CRM, STREETS)
    assert sources(result, "street") == {("S3", "v1", 3, "last")}
    assert sources(result, "zip") == set()
    result = grouped(CRM, STREETS, strategy={"source_priority": ["v1"]})
    assert sources(result, "zip") == {("Z1", "v1", 1, "source_priority")}


def test_a_group_with_allow_fill_takes_each_cell_of_the_best_row_that_has_it():
    result = grouped(CRM, STREETS, allow_fill=True)
    assert sources(result, "street") == {("S3", "v1", 3, "last")}
    assert sources(result, "zip") == {("Z2", "v1", 2, "last")}


def test_a_group_that_is_held_back_takes_nothing():
    crm = table("email street", "a@x.com Main")
    assert grouped(crm, STREETS, strategy="first").provenance == set()
    # nothing is held back where each cell is filled on its own
    filled = grouped(crm, STREETS, strategy="first", allow_fill=True)
    assert {row[1] for row in filled.provenance} == {"zip"}


def test_an_ambiguous_row_takes_cells_from_the_entity_that_has_them():
    crm = table("email email_2 title", "a@x.com b@x.com _")
    vendor = table("email title note", "b@x.com CEO n2", "a@x.com _ n1")
    result = audited(crm, vendor)
    # both touch it through e-mail; the entity of row 1 comes first
    assert sources(result) == {("CEO", "v1", 1, "first")}
    assert sources(result, "note") == {("n2", "v1", 1, "first")}
    result = audited(crm, Table(vendor.headers, vendor.rows[::-1]))
    assert sources(result) == {("CEO", "v1", 2, "first")}
    assert sources(result, "note") == {("n1", "v1", 1, "first")}


# -- Record ids --

CRM_ID = {"type": "external_id", "original": "Ref No", "enriched": "crm_ref"}


@pytest.mark.parametrize(
    ("headers", "match_on", "settings", "expected"),
    [
        (["Id", "Record ID", "Ref No", "Key"], ["email"], {"record_id": "Key"}, "4"),
        (["Id", "Record ID", "Ref No", "Key"], ["email", CRM_ID], {"record_id": "key"}, "4"),
        (["Id", "Record ID", "Ref No", "Key"], ["email", CRM_ID], {}, "3"),
        (["Id", "Record ID", "Ref No", "Key"], ["email"], {}, "2"),
        (["Foo", " ID ", "Ref No", "Key"], ["email"], {}, "2"),
        (["Foo", "Bar", "Ref No", "Key"], ["email"], {}, ""),
        # by its own name, not by one that the spec gives it
        (["Foo", "Id", "Bar", "Key"], ["email"], {"columns": {"Foo": "record_id"}}, "2"),
        # the previous merge's columns are not the CRM's
        ([*oracle.MATCH_COLUMNS, "Id"], ["email"], {}, "9"),
    ],
)
def test_which_column_is_the_record_id(headers, match_on, settings, expected):
    crm = Table([*headers, "email"], [[str(n + 1) for n in range(len(headers))] + ["a@x.com"]])
    vendor = table("email title crm_ref", "a@x.com CEO _")
    result = audited(crm, vendor, match_on=match_on, original=settings)
    assert {row[0] for row in result.changes} == {expected}


@pytest.mark.parametrize(("cell", "expected"), [("", ""), (" \t", ""), ("n/a", "n/a"), (" 7 ", " 7 ")])
def test_a_blank_record_id_is_null(cell, expected):
    crm = Table(["id", "email"], [[cell, "a@x.com"]])
    result = audited(crm, table("email title", "a@x.com CEO"))
    assert {row[0] for row in result.changes} == {expected}


# -- row_ledger --


def test_buckets_of_vendor_rows():
    vendor = table(
        "email name",
        *("a@x.com Ann", "a@x.com Ann", "a@x.com ann", "A@x.com Ann"),  # 1 to 4
        *("b@x.com Bob", "b@x.com Bob"),  # 5, 6
        *("info@x.com _", "info@x.com _", "_ Zoé", "_ Zoe\u0301"),  # 7 to 10
    )
    other = table("email name", "a@x.com Ann", "_ Max")
    lines = [decide("must_link", "original/2", "v1/9"), decide("cannot_link", "v2/2", "v1/1")]
    result = audited(table("email", "a@x.com", "_"), vendor, other, assertions=lines)
    assert {row: result.ledger["v1", row] for row in range(1, 11)} == {
        1: ("used", A),
        2: ("duplicate", A),
        3: ("used", A),
        4: ("used", A),
        5: ("unmatched", B),
        6: ("duplicate", B),
        7: ("no_valid_key", ""),
        8: ("no_valid_key", ""),  # before duplicate
        9: ("used", md5(f"record:{2**32 + 9}")),  # by the first decision
        10: ("no_valid_key", ""),
    }
    # a duplicate is one of its own file; that a row must not be linked to another gives it no entity
    assert result.ledger["v2", 1] == ("used", A)
    assert result.ledger["v2", 2] == ("no_valid_key", "")


def test_rows_that_only_unicode_tells_apart_are_no_duplicates():
    result = audited(CRM, table("email name", "a@x.com Zoé", "a@x.com Zoe\u0301", "a@x.com Zoé"))
    assert [result.ledger["v1", row][0] for row in (1, 2, 3)] == ["used", "used", "duplicate"]


QUARANTINED = table("email phone", "a@x.com 2125550100", "a@x.com _", "a@x.com _", "b@x.com _")


def test_quarantined_rows_have_no_entity():
    result = audited(table("email", "a@x.com", "b@x.com"), QUARANTINED, match_on=["email", "phone"],
                     guards={"max_entity_size": 1})  # fmt: skip
    # rows 1 and 2 have different keys; row 3 is a duplicate, but quarantined before that
    assert [result.ledger["v1", row] for row in (1, 2, 3)] == [("quarantined", "")] * 3
    assert result.ledger["v1", 4] == ("used", B)
    assert result.ledger["original", 1] == ("unmatched", "")


def test_buckets_of_crm_rows():
    crm = table("email email_2", "b@x.com a@x.com", "a@x.com _", "z@x.com _", "_ _", "info@x.com _")
    lines = [decide("cannot_link", "original/5", "v1/1")]
    result = audited(crm, table("email", "a@x.com", "b@x.com"), assertions=lines)
    assert {row: result.ledger["original", row] for row in range(1, 6)} == {
        1: ("matched", A),  # ambiguous: the first entity's
        2: ("matched", A),
        3: ("unmatched", ""),
        4: ("no_valid_key", ""),
        5: ("no_valid_key", ""),  # a decision names it, and still it has no key
    }


# -- unmatched_enriched --


def test_unmatched_entities():
    crm = table("Title Own email phone", "_ _ a@x.com 2125550100")
    v1 = table(
        "zip email Title phone",
        *("1 d@x.com CEO _", "2 a@x.com Boss _", "3 _ nobody _", "_ c@x.com _ _"),
        *("_ p1@x.com _ 2125550100", "_ p2@x.com _ 2125550100"),
    )
    v2 = table("email city Title", "p3@x.com Rome _", "d@x.com Oslo Chief")
    v2.headers.append("phone")
    v2.rows[0].append("2125550100")
    v2.rows[1].append("")
    result = audited(
        *(crm, v2, v1),
        match_on=["email", "phone"],
        guards={"hub": {"phone": 3}},
        strategies={"title": "last"},
        overwrite={"default": "suffix"},
    )
    headers, rows = result.unmatched
    first = ["entity_id", "enriched_by", "n_enriched_rows", "match_status"]
    assert headers == [*first, "Title", "email", "phone", "city", "zip"]
    # the phone is everybody's: it links nobody, and leaves a trace
    p3, d, c, p1, p2 = (md5(f"email:{name}@x.com") for name in ("p3", "d", "c", "p1", "p2"))
    assert rows == [
        [p3, "v1", "1", "possibly_related", "", "p3@x.com", "2125550100", "Rome", ""],
        [d, "v1+v2", "2", "unmatched", "CEO", "d@x.com", "", "Oslo", "1"],
        [c, "v2", "1", "unmatched", "", "c@x.com", "", "", ""],
        [p1, "v2", "1", "possibly_related", "", "p1@x.com", "2125550100", "", ""],
        [p2, "v2", "1", "possibly_related", "", "p2@x.com", "2125550100", "", ""],
    ]


def test_unmatched_entities_consolidate_groups():
    streets = Table(STREETS.headers, [["b@x.com", *row[1:]] for row in STREETS.rows])
    headers, rows = grouped(table("email street", "a@x.com Main"), streets).unmatched
    assert headers[4:] == ["email", "street", "zip"]
    assert rows == [[B, "v1", "3", "unmatched", "b@x.com", "S3", ""]]
    _, rows = grouped(CRM, streets, allow_fill=True).unmatched
    assert rows == [[B, "v1", "3", "unmatched", "b@x.com", "S3", "Z2"]]


def test_a_decision_that_refuses_a_key_leaves_net_new_people_related():
    lines = [decide("cannot_link", "v1/1", "original/1")]
    result = audited(CRM, table("email", "a@x.com", "b@x.com"), assertions=lines)
    assert [row[3] for row in result.unmatched[1]] == ["possibly_related", "unmatched"]


def test_neither_quarantined_nor_keyless_rows_are_net_new_people():
    vendor = Table(QUARANTINED.headers, [*QUARANTINED.rows, ["info@x.com", ""]])
    result = audited(table("email", "a@x.com"), vendor, match_on=["email", "phone"],
                     guards={"max_entity_size": 1})  # fmt: skip
    assert [row[0] for row in result.unmatched[1]] == [B]


# -- merge_conflicts --


def conflict_of(titles: list[str], strategy: Any = "first", own: str | None = None) -> tuple:
    """The conflict of one-row vendors' titles."""
    crm = CRM if own is None else Table(["email", "Title"], [["a@x.com", own]])
    vendors = [Table(["email", "title"], [["a@x.com", title]]) for title in titles]
    result = audited(crm, *vendors, strategies={"title": strategy})
    return result.conflicts[1, A, "title" if own is None else "Title"]


def test_no_conflict_without_two_forms():
    assert audited(CRM, table("email title", "a@x.com CEO", "a@x.com ~ceo", "a@x.com _")).conflicts == {}


def test_conflicts_are_of_linked_entities_and_of_each_of_their_rows():
    vendor = table("email title", "a@x.com CEO", "a@x.com CTO", "b@x.com CEO", "b@x.com CTO")
    result = audited(table("email title", "a@x.com _", "z@x.com _", "a@x.com CTO"), vendor)
    conflict = (2, 2, "first", "CEO", "v1", 1, "CTO", "v1", 2)
    assert result.conflicts == {
        (1, A, "title"): (*conflict, "", None, True),
        (3, A, "title"): (*conflict, "CTO", True, False),  # the CRM's cell stays
    }


def test_an_ambiguous_row_uses_one_of_its_conflicts():
    vendor = table("email title", "a@x.com CEO", "a@x.com CTO", "b@x.com CFO", "b@x.com CIO")
    result = audited(table("email email_2", "b@x.com a@x.com"), vendor)
    assert result.conflicts == {
        (1, A, "title"): (2, 2, "first", "CEO", "v1", 1, "CTO", "v1", 2, "", None, True),
        (1, B, "title"): (2, 2, "first", "CFO", "v1", 3, "CIO", "v1", 4, "", None, False),
    }
    # where the first disagrees with itself, unanimous asks the second
    agreed = Table(vendor.headers, [*vendor.rows[:3], ["b@x.com", "CFO"]])
    result = audited(table("email email_2", "b@x.com a@x.com"), agreed, strategies={"title": "unanimous"})
    assert sources(result) == {("CFO", "v1", 3, "unanimous")}
    nothing = ("", "", None)
    assert result.conflicts == {(1, A, "title"): (2, 2, "unanimous", *nothing, *nothing, "", None, False)}


def test_votes_are_counted_before_the_winner_is_set_aside():
    # ceo has three votes, cto two, cfo one; cfo comes first
    v1 = table("email title", "a@x.com CFO", "a@x.com CEO", "a@x.com cfo")
    v2 = table("email title", "a@x.com CTO", "a@x.com CEO")
    v3 = table("email title", "a@x.com CEO", "a@x.com cto")
    conflict = audited(CRM, v1, v2, v3, strategies={"title": "most_frequent"}).conflicts[1, A, "title"]
    assert conflict[:9] == (7, 3, "most_frequent", "CEO", "v1", 2, "CTO", "v2", 1)


def test_the_runner_up_of_min_is_the_first_of_the_smallest_others():
    # b and B are one form; B is the smaller; c and C are one form too
    assert conflict_of(["C", "c", "c", "b", "B"], "min")[3:9] == ("B", "v5", 1, "C", "v1", 1)
    assert conflict_of(["b", "3", "3", "2", "B"], "min")[3:9] == ("2", "v4", 1, "3", "v2", 1)
    assert conflict_of(["a", "3", "3", "2", "A"], "max")[3:9] == ("a", "v1", 1, "3", "v2", 1)


@pytest.mark.parametrize(
    ("own", "disagrees"),
    [
        ("CEO", False),
        (" ceo ", False),
        ("CFO", True),
        ("cto", True),  # the runner-up's
        ("", None),
        ("\u00a0", None),
        ("N/A", None),
        (None, None),
    ],
)
def test_whether_the_crm_disagrees_with_the_winner(own, disagrees):
    conflict = conflict_of(["CEO", "CTO"], own=own)
    assert conflict[9:11] == (own or "", disagrees)


def test_the_crms_cell_is_compared_in_nfc_by_keys_and_in_its_own_region():
    assert conflict_of(["Zoé", "CTO"], own="Zoe\u0301")[9:11] == ("Zoe\u0301", False)
    vendor = table("email phone", "a@x.com +33~123456789", "a@x.com 2125550100")
    for region, disagrees in (("FR", False), ("US", True)):
        crm = Table(["email", "phone"], [["a@x.com", "01 23 45 67 89"]])
        result = audited(crm, vendor, original={"region": region})
        assert result.conflicts[1, A, "phone"][9:11] == ("01 23 45 67 89", disagrees)


def test_what_is_collected_agrees_with_each_of_its_values():
    assert conflict_of(["CEO", "CTO"], "collect", own="cto")[10] is False
    assert conflict_of(["CEO", "CTO"], "collect", own="ceo;  cto")[10] is True
    assert conflict_of(["CEO", "CTO"], "collect", own="n/a")[10] is None


def test_without_a_winner_nobody_disagrees():
    assert conflict_of(["CEO", "CTO"], "unanimous", own="CFO")[9:] == ("CFO", None, False)


def test_conflicts_under_update_and_suffix():
    crm = table("email Title", "a@x.com CFO")
    vendor = table("email title", "a@x.com CEO", "a@x.com CTO")
    conflict = (2, 2, "first", "CEO", "v1", 1, "CTO", "v1", 2, "CFO", True, True)
    assert audited(crm, vendor, overwrite={"title": "update"}).conflicts == {(1, A, "Title"): conflict}
    # the CRM's cell is not overwritten, and still it is what the vendors can be compared with
    assert audited(crm, vendor, overwrite={"title": "suffix"}).conflicts == {
        (1, A, "title_enriched"): conflict
    }


def test_the_row_of_a_group_may_be_blank_where_others_disagree():
    result = grouped(CRM, STREETS)
    assert result.conflicts == {
        (1, A, "street"): (3, 3, "last", "S3", "v1", 3, "S2", "v1", 2, "", None, True),
        (1, A, "zip"): (2, 2, "last", "", "", None, "Z2", "v1", 2, "", None, False),
    }
    result = grouped(table("email zip", "a@x.com _"), STREETS, allow_fill=True)
    assert result.conflicts[1, A, "zip"] == (2, 2, "last", "Z2", "v1", 2, "Z1", "v1", 1, "", None, True)


def test_the_runner_up_of_a_group_is_ranked_by_its_rows():
    # lengths of the rows: 10, 7, 14; the second street is longer than the first
    vendor = table("email street zip", "a@x.com S 123456789", "a@x.com Street2 _", "a@x.com LongestStreet 1")
    result = grouped(CRM, vendor, strategy="longest")
    assert result.conflicts[1, A, "street"][3:9] == ("LongestStreet", "v1", 3, "S", "v1", 1)
    # a row without a candidate in the column is passed over, and one that says the same too
    vendor = table("email street zip", "a@x.com S1 _", "a@x.com _ 9", "a@x.com s1 8", "a@x.com S4 _")
    result = grouped(CRM, vendor, strategy="first")
    assert result.conflicts[1, A, "street"][3:9] == ("S1", "v1", 1, "S4", "v1", 4)


# -- vendor_scorecard --

SCORED = audited(
    table("email Title", "a@x.com _", "b@x.com CFO", "c@x.com _", "z@x.com _"),
    table("email title", "a@x.com CEO", "b@x.com CFO", "c@x.com n/a", "d@x.com Boss", "_ X"),
    table("email title city", "a@x.com ceo Rome", "b@x.com CTO _", "c@x.com Chief Oslo"),
    enriched=[{"name": "v1", "price": 10}, {"name": "v2", "price": 6}],
)
# Taken: the titles of rows 1 (v1, or else v2) and 3 (v2 alone), the cities of the same rows (v2).
FIGURES = [
    *("valid_keys", "filled_cells", "fill_rate", "cells_given", "exclusive_fills"),
    *("compared_with_vendors", "agreed_with_vendors", "agreement_with_vendors"),
    *("compared_with_original", "agreed_with_original", "agreement_with_original"),
    *("conflicts", "conflicts_won", "conflicts_lost", "lift_cells", "lift"),
    *("price", "cost_per_exclusive_fill"),
]


@pytest.mark.parametrize(
    ("vendor", "column", "rest"),
    [
        ("v1", "email", (4, 4, 4 / 5, 0, 0, 3, 3, 1, 3, 3, 1, 0, 0, 0, 0, 0, None, None)),
        ("v1", "Title", (None, 4, 4 / 5, 1, 0, 2, 1, 1 / 2, 1, 1, 1, 1, 1, 0, 0, 0, None, None)),
        ("v1", "(all)", (None, 8, 8 / 10, 1, 0, 5, 4, 4 / 5, 4, 4, 1, 1, 1, 0, 0, 0, 10, None)),
        ("v2", "email", (3, 3, 1, 0, 0, 3, 3, 1, 3, 3, 1, 0, 0, 0, 0, 0, None, None)),
        ("v2", "Title", (None, 3, 1, 1, 1, 2, 1, 1 / 2, 1, 0, 0, 1, 0, 1, 1, 1 / 4, None, None)),
        ("v2", "city", (None, 2, 2 / 3, 2, 2, 0, 0, None, 0, 0, None, 0, 0, 0, 2, 2 / 4, None, None)),
        ("v2", "(all)", (None, 8, 8 / 9, 3, 3, 5, 4, 4 / 5, 4, 3, 3 / 4, 1, 0, 1, 3, 3 / 12, 6, 2)),
    ],
)
def test_figures(vendor, column, rest):
    repeated = {
        "v1": {"n_rows": 5, "rows_with_key": 4, "rows_matched": 3, "match_rate": 3 / 5},
        "v2": {"n_rows": 3, "rows_with_key": 3, "rows_matched": 3, "match_rate": 1},
    }
    expected = repeated[vendor] | dict(zip(FIGURES, rest, strict=True))
    assert SCORED.scorecard[vendor, column] == expected


def test_the_scorecard_has_the_columns_of_each_vendor_and_all():
    assert set(SCORED.scorecard) == {
        *(("v1", "email"), ("v1", "Title"), ("v1", "(all)")),
        *(("v2", "email"), ("v2", "Title"), ("v2", "city"), ("v2", "(all)")),
    }


def figures(result: Audit, name: str, column: str = "title") -> list:
    """One figure of a column, whatever it is called in the result, of each vendor that has it."""
    return [
        card[name]
        for (_, of), card in result.scorecard.items()
        if of.lower().removesuffix("_enriched") == column
    ]


def test_nothing_is_divided_by_zero():
    result = audited(table("email title"), table("email title"))
    for (_, column), card in result.scorecard.items():
        assert [card[name] for name in ("match_rate", "fill_rate", "lift")] == [None] * 3
        assert card["agreement_with_vendors"] is None and card["agreement_with_original"] is None
        assert card["valid_keys"] == (0 if column == "email" else None)


def test_valid_keys_are_counted_by_cell_also_blocked_ones_and_of_no_tier():
    vendor = table(
        "email phone_2 linkedin title",
        *("a@x.com;b@x.com 2345678901 linkedin.com/in/ann _", "info@x.com nonsense linkedin.com/ _"),
        *("nonsense (212)~555-0100 _ _", "_ n/a _ _", "a@x.com _ _ _"),
    )
    result = audited(CRM, vendor)
    for column, expected in (("email", 3), ("phone_2", 2), ("linkedin", 1), ("title", None), ("(all)", None)):
        assert figures(result, "valid_keys", column) == [expected]
    # of e-mail, the only tier, rows 1 and 5 have a key that is not blocked
    assert figures(result, "rows_with_key") == [2]


def test_rows_of_matched_entities_are_matched_without_a_key_of_the_crms():
    # row 2 hangs on row 1 by phone; rows 3 and 4 are nobody's
    vendor = table("email phone", "a@x.com 2125550100", "_ 2125550100", "b@x.com _", "_ _")
    result = audited(CRM, vendor, match_on=["email", "phone"])
    for column in ("email", "(all)"):
        assert figures(result, "rows_matched", column) == [2]
        assert figures(result, "rows_with_key", column) == [3]


def test_fills_are_exclusive_where_no_entity_of_the_row_has_another_vendors_candidate():
    crm = table("email email_2", "a@x.com b@x.com", "c@x.com _", "a@x.com _")
    v1 = table("email title", "a@x.com CEO", "c@x.com CFO", "c@x.com CFO")
    v2 = table("email title", "b@x.com CTO", "c@x.com n/a")
    result = audited(crm, v1, v2)
    # row 1 would have v2's CTO from its second entity; rows 2 and 3 have nothing else
    assert figures(result, "cells_given") == [3, 0]
    assert figures(result, "exclusive_fills") == [2, 0]


def test_vendors_are_compared_within_matched_entities():
    crm = table("email email_2", "a@x.com b@x.com")
    v1 = table("email title", *("a@x.com CEO", "a@x.com CTO", "a@x.com CTO"),
               *("b@x.com CEO", "b@x.com CEO", "d@x.com CEO"))  # fmt: skip
    v2 = table("email title", "a@x.com ceo", "d@x.com CEO")
    v3 = table("email title", "a@x.com CFO", "b@x.com _")
    result = audited(crm, v1, v2, v3)
    # b has candidates of one vendor, which agree with nobody else's; d is unmatched
    assert figures(result, "compared_with_vendors") == [3, 1, 1]
    assert figures(result, "agreed_with_vendors") == [1, 1, 0]
    assert figures(result, "agreement_with_vendors") == [1 / 3, 1, 0]


def test_the_original_is_compared_by_pairs():
    crm = table(
        "email email_2 Title",
        *("a@x.com b@x.com CEO", "a@x.com _ n/a", "a@x.com _ cto", "z@x.com _ CEO", "a@x.com _ _"),
    )
    v1 = table("email title", "a@x.com ceo", "a@x.com CTO", "a@x.com _")
    v2 = table("email title", "b@x.com CEO", "b@x.com CEO")
    for policy in ("fill", "update", "suffix"):
        result = audited(crm, v1, v2, overwrite={"title": policy})
        # rows 1 and 3 have a word of their own: two candidates of v1 each; row 1 has the two of v2
        assert figures(result, "compared_with_original") == [4, 2]
        assert figures(result, "agreed_with_original") == [2, 2]
        assert figures(result, "agreement_with_original") == [1 / 2, 1]


def outcomes(result: Audit, column: str = "title") -> list[tuple[int, int, int]]:
    """(conflicts, won, lost) of each vendor that has the column."""
    names = ("conflicts", "conflicts_won", "conflicts_lost")
    return list(zip(*(figures(result, name, column) for name in names), strict=True))


def one_each(*titles: str) -> list[Table]:
    return [table("email title", f"a@x.com {title}") for title in titles]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("first", [(1, 1, 0), (1, 0, 1), (1, 1, 0)]),
        ({"source_priority": ["v2"]}, [(1, 0, 1), (1, 1, 0), (1, 0, 1)]),
        ("collect", [(1, 1, 0), (1, 1, 0), (1, 1, 0)]),
        ("unanimous", [(1, 0, 0), (1, 0, 0), (1, 0, 0)]),
    ],
)
def test_conflicts_won_and_lost(strategy, expected):
    """The third vendor says the same as the first; the fourth has no candidate."""
    vendors = one_each("CEO", "CTO", "ceo", "n/a")
    assert outcomes(audited(CRM, *vendors, strategies={"title": strategy})) == [*expected, (0, 0, 0)]


def test_a_conflict_counts_once_for_each_linked_entity():
    crm = table("email email_2", "a@x.com b@x.com", "a@x.com _")
    vendor = table("email title", *(f"{e}@x.com {title}" for e in "abd" for title in ("CEO", "CTO")))
    assert outcomes(audited(crm, vendor)) == [(2, 2, 0)]


def test_a_conflict_is_lost_where_the_groups_row_is_blank():
    v1 = table("email street zip", "a@x.com S1 Z1")
    v2 = table("email street zip", "a@x.com S2 Z2", "a@x.com S3 _")
    result = grouped(CRM, v1, v2)
    assert outcomes(result, "street") == [(1, 0, 1), (1, 1, 0)]
    assert outcomes(result, "zip") == [(1, 0, 1), (1, 0, 1)]
    result = grouped(CRM, v1, v2, allow_fill=True)
    assert outcomes(result, "zip") == [(1, 0, 1), (1, 1, 0)]


def test_lift_is_negative_where_disagreement_blanks_a_column():
    result = audited(CRM, *one_each("CEO", "CTO"), strategies={"title": "unanimous"})
    assert figures(result, "lift_cells") == [-1, -1]
    # without the second the others agree; without one of these there is no peace
    result = audited(CRM, *one_each("CEO", "CTO", "CEO"), strategies={"title": "unanimous"})
    assert figures(result, "lift_cells") == [0, -1, 0]
    assert figures(result, "lift") == [0, -1, 0]


def test_lift_where_another_vendors_row_takes_over_a_group():
    v1 = table("email street zip note", "a@x.com S1 _ n")
    v2 = table("email street zip", "a@x.com S2 Z2")
    result = grouped(CRM, v1, v2, strategy="first")
    assert figures(result, "lift_cells", "street") == [0, 0]
    assert figures(result, "lift_cells", "zip") == [-1, 0]
    # the note is v1's alone: +1; four columns of one row
    assert figures(result, "lift_cells", "(all)") == [0, 0]
    result = grouped(CRM, v1, v2, strategy="first", allow_fill=True)
    assert figures(result, "lift_cells", "zip") == [0, 1]
    assert figures(result, "lift", "(all)") == [1 / 4, 1 / 3]


def test_lift_of_an_ambiguous_row_that_falls_through_to_its_second_entity():
    crm = table("email email_2", "a@x.com b@x.com")
    v1 = table("email title note", "a@x.com CEO n1", "a@x.com Boss _")
    v2 = table("email title", "b@x.com CTO")
    result = audited(crm, v1, v2)
    assert sources(result) == {("CEO", "v1", 1, "first")}
    assert figures(result, "lift_cells") == [0, 0]
    assert figures(result, "lift_cells", "note") == [1]
    # a group as a whole
    v1 = table("email street zip", "a@x.com S1 Z1")
    v2 = table("email street zip", "b@x.com S2 _")
    result = grouped(crm, v1, v2)
    assert figures(result, "lift_cells", "street") == [0, 0]
    assert figures(result, "lift_cells", "zip") == [1, 0]
    # and nothing of the second entity's while the first has any of it
    v1, v2 = table("email street zip", "a@x.com S1 _"), table("email street zip", "b@x.com S2 Z2")
    assert sources(grouped(crm, v1, v2), "zip") == set()
    assert figures(grouped(crm, v1, v2), "lift_cells", "zip") == [-1, 0]
    assert figures(grouped(crm, v1, v2, allow_fill=True), "lift_cells", "zip") == [0, 1]


def test_lift_of_an_ambiguous_row_keeps_the_order_of_entities():
    """Without v1 the first entity would have no row before the second's; it is still asked first."""
    crm = table("email email_2 street", "a@x.com b@x.com _")
    v1 = table("email street zip", "a@x.com S1 Z1")
    v2 = table("email street zip", "b@x.com S2 _", "a@x.com S3 Z3")
    result = grouped(crm, v1, v2)
    # entity a: S3 Z3 of its last row, or S1 Z1 without v2; entity b has no zip
    assert sources(result, "zip") == {("Z3", "v2", 2, "last")}
    assert figures(result, "lift_cells", "zip") == [0, 0]


def test_lift_holds_links_and_entities_fixed():
    """The CRM knows the address of v1 only; v2's row hangs on it by phone."""
    v1 = table("email phone", "a@x.com 2125550100")
    v2 = table("phone title", "2125550100 CEO")
    result = audited(CRM, v1, v2, match_on=["email", "phone"])
    assert sources(result) == {("CEO", "v2", 1, "first")}
    assert result.scorecard["v1", "(all)"]["lift_cells"] == 0  # the phone would still be v2's
    assert result.scorecard["v2", "title"]["lift_cells"] == 1


@pytest.mark.parametrize(
    ("policy", "own", "expected"),
    [("fill", "CFO", 0), ("fill", "_", 1), ("update", "CEO", 1), ("replace", "CFO", 1), ("suffix", "CEO", 1)],
)
def test_lift_counts_taken_cells(policy, own, expected):
    crm = table("email Title", f"a@x.com {own}", "z@x.com _")
    result = audited(crm, table("email title", "a@x.com CEO"), overwrite={"title": policy})
    assert figures(result, "lift_cells") == [expected]
    assert figures(result, "lift") == [expected / 2]


def test_a_price_is_said_once_and_divided_by_exclusive_fills():
    vendor = table("email title", "a@x.com CEO", "b@x.com CTO", "d@x.com _")
    crm = table("email title", "a@x.com _", "b@x.com _")
    for price, cost in ((3, 1.5), (0, 0), (None, None)):
        settings = {"name": "v1"} if price is None else {"name": "v1", "price": price}
        result = audited(crm, vendor, enriched=[settings])
        assert figures(result, "price", "(all)") == [price]
        assert figures(result, "cost_per_exclusive_fill", "(all)") == [cost]
        assert figures(result, "price") == figures(result, "cost_per_exclusive_fill") == [None]


# -- The audit against the merge, on random files --


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=st.one_of(merges(), guarded()))
def test_the_audit_tells_of_the_merge(case):
    """What merge() wrote is what changed; its entities are in the ledger or net-new; no cell is given twice."""
    result = oracle.merge(case.spec, case.original, case.enriched, **SEEDS)
    told = audit(case.spec, case.original, case.enriched, **SEEDS)
    own = case.original.headers
    before = [dict(zip(own, row, strict=True)) for row in case.original.rows]
    after = [
        dict(zip(result.columns, row[: -len(oracle.MATCH_COLUMNS)], strict=False)) for row in result.rows
    ]
    changed = {
        (number, name, old.get(name, ""), new[name], name not in own)
        for number, (old, new) in enumerate(zip(before, after, strict=True), start=1)
        for name in new
        if new[name] not in ("", old.get(name, ""))
    }
    assert {(row, name, old, new, is_new) for _, row, name, old, new, _, _, is_new in told.changes} == changed
    assert all(after[row - 1][name] == new for row, name, *_, new in told.provenance)
    assert len({(row, name) for row, name, *_ in told.provenance}) == len(told.provenance)

    linked = {entity for _, _, _, entity, _, _ in result.crosswalk}
    vendor_rows = {row: said for row, said in told.ledger.items() if row[0] != "original"}
    assert {row: entity for row, (_, entity) in vendor_rows.items() if entity} == result.entities
    assert {entity for bucket, entity in vendor_rows.values() if bucket == "used"} == linked
    assert {row[0] for row in told.unmatched[1]} == set(result.entities.values()) - linked

    given = [card["cells_given"] for (_, column), card in told.scorecard.items() if column == "(all)"]
    assert sum(given) == len(told.provenance)
    for (vendor, _), card in told.scorecard.items():
        assert card["exclusive_fills"] <= card["cells_given"]
        assert card["conflicts_won"] + card["conflicts_lost"] <= card["conflicts"]
        if len(case.enriched) == 1:
            assert card["lift_cells"] == card["exclusive_fills"] == card["cells_given"], vendor
