"""The oracle itself, on examples worked by hand: it is what the SQL is measured against.

Each test says which rule of matching it holds: blocked values, evidence, hubs, contradictions, decisions,
levels of entities, matches, statuses, ids.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.oracle import Result, Table
from tests.random_merges import SEEDS, Case, guarded, labels_of, raised

ROLES: dict[str, Any] = {
    "role_mailboxes": {"info"},
    "test_addresses": {"noreply@", "test@test.com", "@example.com"},
}


def table(headers: str, *rows: str) -> Table:
    """table('email phone', 'a@x.com 1') -> a Table; _ is a blank cell, ~ a space in one."""
    cells = [[("" if c == "_" else c.replace("~", " ")) for c in row.split()] for row in rows]
    return Table(headers.split(), cells)


def merged(
    match_on: list, original: Table, *vendors: Table, assertions: list[dict] | None = None, **guards: Any
) -> Result:
    """The vendors are v1, v2, …; keyword arguments are guards."""
    spec = {"match_on": match_on, "region": "US", "guards": guards, "assertions": assertions or []}
    return oracle.merge(spec, original, [(f"v{n}", t) for n, t in enumerate(vendors, start=1)], **ROLES)


def column(result: Result, name: str) -> list:
    return [row[result.columns.index(name)] for row in result.rows]


def together(result: Result) -> list[set[tuple[str, int]]]:
    """The entities as sets of vendor rows."""
    ids = set(result.entities.values())
    return sorted(({i for i, e in result.entities.items() if e == entity} for entity in ids), key=min)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def decide(decision: str, a: str, b: str) -> dict[str, str]:
    """An end is 'source/row' or 'label:value'."""
    line = {"decision": decision}
    for name, end in (("a", a), ("b", b)):
        source, _, row = end.partition("/")
        by_key = ":" in end
        line |= {f"{name}_key": end} if by_key else {f"{name}_source": source, f"{name}_row": row}
    return line


# -- R1: blocked values --


@pytest.mark.parametrize(
    ("cell", "guards", "is_blocked"),
    [
        ("ann@x.com", {}, False),
        ("Info@x.com", {}, True),
        ("info2@x.com", {}, False),
        ("Info@x.com", {"allow_test_addresses": True}, True),
        ("noreply@x.com", {}, True),
        ("test@test.com", {}, True),
        ("other@test.com", {}, False),
        ("ann@example.com", {}, True),
        ("ann@example.com", {"allow_test_addresses": True}, False),
        ("ann@x.com", {"blocked": ["mailto:ANN@X.com"]}, True),
        ("ann@x.com", {"blocked": ["@X.com"]}, True),
        ("ann@y.x.com", {"blocked": ["@x.com"]}, False),
    ],
)
def test_a_blocked_address_is_no_key_and_is_reported(cell, guards, is_blocked):
    result = merged(["email"], table("email", cell), table("email", cell), **guards)
    assert column(result, "match_status") == ["no_valid_key" if is_blocked else "matched_direct"]
    assert result.guards == ({("blocked", "email", cell.lower())} if is_blocked else set())


@pytest.mark.parametrize(
    ("cell", "event"),
    [
        ("2345678901", "+12345678901"),
        ("7654321098", "+17654321098"),
        ("+33666666666", "+33666666666"),
        ("6.12E+11", None),
    ],
)
def test_a_fake_phone_is_no_key(cell, event):
    result = merged(["phone"], table("phone", cell), table("phone", cell), allow_test_addresses=True)
    assert column(result, "match_status") == ["no_valid_key"]
    assert result.guards == ({("blocked", "phone", event)} if event else set())


def test_a_blocked_entry_is_normalised_by_each_tier():
    tiers = ["phone", {"column": "tax_no", "compare": "normalized"}]
    rows = table("phone tax_no", "2125550100 _", "_ T~~2")
    result = merged(tiers, rows, rows, blocked=["+1 212 555 0100", " t 2 "])
    assert result.guards == {("blocked", "phone", "+12125550100"), ("blocked", "tax_no", "t 2")}
    assert not result.crosswalk


def test_blocked_values_still_count_for_comparison():
    vendor = table("crm_id email", "1 INFO@x.com", "1 info@x.com")
    tiers = [{"type": "external_id", "original": "Id", "enriched": "crm_id"}]
    spec = {"match_on": tiers, "strategies": {"default": "unanimous"}}
    result = oracle.merge(spec, table("Id", "1"), [("v1", vendor)], **ROLES)
    assert column(result, "email") == ["INFO@x.com"]


# -- R2: evidence --


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        ({"last_name": "Ó Néill-Šá", "first_name": "Jean-Luc Marie"}, ("oneillsa", "jeanluc")),
        ({"last_name": "van der Berg"}, ("vanderberg", "")),
        ({"first_name": "Ann"}, None),
        ({"last_name": "Doe", "full_name": "Ann Roe"}, ("doe", "")),
        ({"first_name": "Ann", "full_name": "Bob X Roe"}, ("roe", "bob")),
        ({"full_name": "van Doe, Ann X"}, ("vandoe", "ann")),
        ({"full_name": "Doe,"}, ("doe", "")),
        ({"full_name": ", Ann"}, None),
        ({"full_name": "Cher"}, ("cher", "")),
        ({"full_name": "-"}, None),
        ({"name": "Ann Doe", "contact_name": "Bob Roe"}, ("doe", "ann")),
        ({"last_name": "山田", "first_name": "太郎"}, ("山田", "太郎")),
        ({}, None),
    ],
)
def test_names(cells, name):
    assert oracle.person_name(cells) == name


def test_a_blank_surname_falls_back_to_the_full_name():
    """Ann Doe and Doe are two people under the mode name only if both have given names: here one has none."""
    vendor = table(
        "phone email last_name full_name", "2125550100 a@x.com n/a Roe", "2125550100 b@x.com _ Doe"
    )
    result = oracle.merge(
        {"match_on": ["phone"], "region": "US"},
        table("phone"),
        [("v1", vendor)],
        **SEEDS,
    )
    assert result.guards == {("contradiction", "phone", "+12125550100")}


# -- R3: hubs --


def people_on_one_phone(n: int, column: str = "email", **more: str) -> Table:
    return table(f"{column} phone", *(f"p{i}@x.com 2125550100" for i in range(n)))


def test_a_hub_links_nothing_on_either_side():
    original = table("phone", "2125550100")
    for limit, status in (
        (2, "possibly_related"),
        (3, "ambiguous"),
        ("off", "ambiguous"),
        (False, "ambiguous"),
    ):
        result = merged(["email", "phone"], original, people_on_one_phone(3), hub={"phone": limit})
        if status == "ambiguous":
            assert column(result, "match_status") == ["matched_direct"] and len(together(result)) == 1
        else:
            assert column(result, "match_status") == [status] and len(together(result)) == 3
    assert result.guards == set()


def test_people_are_counted_on_both_sides_and_by_other_keys():
    crm = table("email phone", "p9@x.com 2125550100")
    assert merged(["email", "phone"], crm, people_on_one_phone(3)).guards == {
        ("hub", "phone", "+12125550100")
    }
    # e-mail is evidence where it is no tier
    assert merged(["phone"], crm, people_on_one_phone(3)).guards == {("hub", "phone", "+12125550100")}
    # the same person in four rows, and blocked addresses, are no crowd
    same = table("email phone", *["info@x.com 2125550100"] * 3, "p9@x.com 2125550100")
    assert {g for g, _, _ in merged(["phone"], crm, same).guards} == set()
    # with no other label there is nothing to count
    assert (
        merged(["email"], table("email", "a@x.com"), people_on_one_phone(9), hub={"email": 1}).guards == set()
    )


def test_a_domains_originals_are_not_counted():
    tier = {"column": "domain", "compare": "exact"}
    crm = table("email domain", *(f"p{i}@x.com x.com" for i in range(4)))
    vendor = table("email domain", "p0@x.com x.com")
    assert merged(["email", tier], crm, vendor).guards == set()
    assert merged(["email", tier], table("email domain"), Table(crm.headers, crm.rows)).guards == {
        ("hub", "domain", "x.com")
    }


def test_default_limits():
    def limits(**hub: Any) -> dict:
        spec = {"match_on": ["email", "phone", {"column": "Tax No"}], "guards": hub}
        return oracle.read_guards(spec, oracle.read_tiers(spec), oracle.Seeds()).hub

    assert limits() == {"email": 5, "phone": 3, "tax_no": 5}
    assert limits(hub={"phone": 9, "email": "off"}) == {"email": None, "phone": 9, "tax_no": 5}
    assert set(limits(hub=False).values()) == {None}


# -- R4: contradictions --

TWO_DOES = table(
    "email phone last_name first_name",
    *("a@x.com 2125550100 Doe Ann", "b@x.com 2125550100 doe Ánn~Marie", "c@x.com 2125550100 Roe Bob"),
)


def test_a_contradictory_phone_joins_who_shares_the_name():
    crm = table(
        "phone last_name first_name", "2125550100 DOE ann", "2125550100 Doe _", "2125550100 _ _", "_ Doe Ann"
    )
    result = merged(["email", "phone"], crm, TWO_DOES)
    assert result.guards == {("contradiction", "phone", "+12125550100")}
    assert together(result) == [{("v1", 1), ("v1", 2)}, {("v1", 3)}]
    statuses = ["matched_direct", "possibly_related", "possibly_related", "no_valid_key"]
    assert column(result, "match_status") == statuses
    assert column(result, "matched_on")[0] == "phone"
    # an e-mail sorts before the narrowed phone: 'email:a@x.com' < 'phone:+12125550100 doe ann'
    assert column(result, "entity_id")[0] == md5("email:a@x.com")


def test_families_are_told_apart_by_given_name_only_in_mode_name():
    family = Table(TWO_DOES.headers, [TWO_DOES.rows[0], ["b@x.com", "2125550100", "Doe", "Eve"]])
    crm = table("phone", "2125550100")
    by_name = merged(["phone"], crm, family)
    assert len(together(by_name)) == 2
    by_surname = merged(["phone"], crm, family, contradiction={"phone": "surname"})
    assert len(together(by_surname)) == 1 and by_surname.guards == set()
    # an empty given name contradicts none, but equals none either
    family.rows.append(["c@x.com", "2125550100", "Doe", ""])
    assert [len(e) for e in together(merged(["phone"], crm, family))] == [1, 1, 1]


def test_one_name_or_spellings_of_one_contradict_nothing():
    crm = table("phone", "2125550100")
    spellings = [("Null", "Jenny"), ("Null", "Jennifer"), ("", ""), ("Null", "")]
    swapped = [("Lee", "Ann"), ("Ann", "Lee")]
    for names in (spellings, swapped):
        vendor = Table(TWO_DOES.headers, [["a@x.com", "2125550100", *name] for name in names])
        result = merged(["phone"], crm, vendor)
        assert result.guards == set() and len(together(result)) == 1
    one_name = Table(TWO_DOES.headers, [[*row[:2], "Doe", ""] for row in TWO_DOES.rows])
    assert len(together(merged(["phone"], crm, one_name))) == 1
    assert merged(["phone"], crm, TWO_DOES, contradiction="off").guards == set()


def test_names_far_apart_contradict_without_addresses():
    crm = table("phone", "2125550100")
    vendor = Table(TWO_DOES.headers, [["", *row[1:]] for row in TWO_DOES.rows])
    result = merged(["phone"], crm, vendor)
    assert result.guards == {("contradiction", "phone", "+12125550100")} and len(together(result)) == 2
    assert merged(["phone"], crm, vendor, contradiction={"phone": "surname"}).guards == set()
    # one address for both joins them, where e-mail links
    vendor = Table(TWO_DOES.headers, [["a@x.com", *row[1:]] for row in TWO_DOES.rows])
    assert len(together(merged(["phone"], crm, vendor))) == 1
    assert len(together(merged(["email", "phone"], crm, vendor))) == 1


def test_where_email_is_no_tier_an_address_narrows_a_phone():
    crm = table("phone email", "2125550100 c@x.com", "2125550100 _")
    vendor = Table(TWO_DOES.headers, [*TWO_DOES.rows, ["c@x.com", "2125550100", "", ""]])
    result = merged(["phone"], crm, vendor)
    assert together(result) == [{("v1", 1), ("v1", 2)}, {("v1", 3), ("v1", 4)}]
    assert column(result, "match_status") == ["matched_direct", "possibly_related"]
    assert column(result, "entity_id")[0] == md5("phone:+12125550100 c@x.com")
    surname = merged(["phone"], crm, vendor, contradiction={"phone": "surname"})
    assert surname.entities["v1", 1] == md5("phone:+12125550100 a@x.com")


def test_a_hub_is_not_asked_for_contradictions():
    result = merged(["phone"], table("phone"), TWO_DOES, hub={"phone": 2})
    assert result.guards == {("hub", "phone", "+12125550100")} and len(together(result)) == 3


# -- R6: decisions --


def test_a_must_link_joins_rows_and_links_originals():
    crm = table("email", "_", "a@x.com")
    vendor = table("email", "a@x.com", "b@x.com", "_")
    lines = [decide("must_link", "email:A@x.com", "v1/2"), decide("must_link", "original/1", "v1/3")]
    result = merged(["email"], crm, vendor, assertions=[*lines, decide("", "nobody/7", "")])
    assert together(result) == [{("v1", 1), ("v1", 2)}, {("v1", 3)}]
    assert column(result, "match_tier") == ["0", "0"]  # row 2 carries the key of the first line
    assert column(result, "matched_on") == ["assertion", "assertion+email"]
    assert column(result, "match_status") == ["matched_direct", "matched_direct"]
    # an entity without any link value is called by its first record: file 1, row 3
    assert column(result, "entity_id") == [md5(f"record:{2**32 + 3}"), md5("email:a@x.com")]


def test_a_must_link_by_a_hubs_value_joins_all_its_carriers():
    vendor = people_on_one_phone(5)
    lines = [decide("must_link", "phone:(212) 555-0100", "phone:2125550100")]
    result = merged(["email", "phone"], table("phone", "2125550100"), vendor, assertions=lines)
    assert len(together(result)) == 1 and column(result, "matched_on") == ["assertion"]


def test_a_cannot_link_keeps_an_original_from_an_entity():
    crm = table("email", "a@x.com", "a@x.com")
    lines = [decide("cannot_link", "v1/1", "original/1")]
    result = merged(["email"], crm, table("email", "a@x.com", "a@x.com"), assertions=lines)
    assert column(result, "match_status") == ["possibly_related", "matched_direct"]


@pytest.mark.parametrize(
    "lines",
    [
        [decide("maybe", "v1/1", "v1/2")],
        [decide("must_link", "v9/1", "v1/2")],
        [decide("must_link", "v1/9", "v1/2")],
        [decide("must_link", "v1/", "v1/2")],
        [decide("must_link", "v1/1", "")],
        [decide("must_link", "v1/1", "v1/1")],
        [decide("cannot_link", "original/1", "original/1")],
        [decide("must_link", "original/1", "original/2")],
        [decide("must_link", "v1/1", "phone:2125550100")],
        [decide("must_link", "v1/1", "email:nonsense")],
        [decide("must_link", "v1/1", "v1/2"), decide("cannot_link", "v1/2", "v1/1")],
        [decide("must_link", "v1/1", "v1/2"), decide("must_link", "v1/2", "v1/3"),
         decide("cannot_link", "email:a@x.com", "v1/3")],
        [decide("must_link", "original/1", "v1/1"), decide("cannot_link", "original/1", "v1/1")],
        [decide("cannot_link", "email:a@x.com", "email:a@x.com")],
    ],
)  # fmt: skip
def test_decisions_that_are_refused(lines):
    vendor = table("email", "a@x.com", "b@x.com", "c@x.com")
    with pytest.raises(ValueError):
        merged(["email"], table("email", "a@x.com", "_"), vendor, assertions=lines)


def test_decisions_about_nobody_change_nothing():
    vendor = table("email", "a@x.com", "info@x.com")
    lines = [
        decide("must_link", "email:gone@x.com", "v1/1"),
        decide("cannot_link", "email:info@x.com", "v1/1"),
    ]
    result = merged(["email"], table("email", "a@x.com"), vendor, assertions=lines)
    assert result.crosswalk == merged(["email"], table("email", "a@x.com"), vendor).crosswalk | {
        ("v1", 1, 1, md5("email:a@x.com"), 1, "email")
    }


# -- R7: levels and quarantine --

CHAIN = table(  # rows 1 and 2 share an address, rows 2 and 3 a phone
    "email phone", "a@x.com _", "a@x.com 2125550100", "b@x.com 2125550100", "b@x.com _"
)


def test_a_component_that_is_too_large_is_resolved_without_its_weakest_tier():
    crm = table("email phone", "_ 2125550100", "a@x.com _")
    result = merged(["email", "phone"], crm, CHAIN, max_entity_size=3)
    assert together(result) == [{("v1", 1), ("v1", 2)}, {("v1", 3), ("v1", 4)}]
    assert result.entity_guards == {("max_entity_size", frozenset(("v1", n) for n in (1, 2, 3, 4)))}
    # the phone is above the level of both entities: it links no original either
    assert column(result, "match_status") == ["possibly_related", "matched_direct"]
    assert len(together(merged(["email", "phone"], crm, CHAIN, max_entity_size=4))) == 1


def test_only_the_bad_component_is_resolved_again():
    other = table("email phone", "x@x.com 3125550100", "y@x.com 3125550100")
    result = merged(["email", "phone"], table("email"), CHAIN, other, max_entity_size=3)
    assert len(together(result)) == 3
    assert result.entities["v2", 1] == result.entities["v2", 2] == md5("email:x@x.com")


def test_what_is_bad_at_level_1_is_quarantined():
    crm = table("email", "a@x.com")
    result = merged(["email", "phone"], crm, CHAIN, max_entity_size=1)
    assert together(result) == [] and result.crosswalk == set()
    assert column(result, "match_status") == ["possibly_related"]


def test_records_with_the_very_same_keys_count_once():
    vendor = table("email title", *(f"a@x.com t{n}" for n in range(9)))
    assert len(together(merged(["email"], table("email"), vendor, max_entity_size=1))) == 1


def test_a_cannot_link_splits_a_component():
    lines = [decide("cannot_link", "v1/1", "v1/4")]
    result = merged(["email", "phone"], table("email"), CHAIN, assertions=lines)
    assert together(result) == [{("v1", 1), ("v1", 2)}, {("v1", 3), ("v1", 4)}]
    assert {guard for guard, _ in result.entity_guards} == {"cannot_link"}
    lines = [decide("cannot_link", "v1/1", "v1/2")]
    result = merged(["email", "phone"], table("email"), CHAIN, assertions=lines)
    assert together(result) == [{("v1", 3), ("v1", 4)}]  # rows 1 and 2 are quarantined


def test_a_must_link_holds_at_every_level():
    lines = [decide("must_link", "v1/1", "v1/4")]
    result = merged(["email", "phone"], table("email", "a@x.com"), CHAIN, assertions=lines, max_entity_size=2)
    assert together(result) == []  # rows 1 to 4 hang together by e-mail and the must-link


def test_quarantined_entities_are_not_linked_by_must_link_either():
    lines = [decide("must_link", "original/1", "v1/1")]
    result = merged(["email", "phone"], table("email", "_"), CHAIN, assertions=lines, max_entity_size=1)
    assert result.crosswalk == set() and column(result, "match_status") == ["no_valid_key"]


# -- R8 and R9: matches and statuses --


def test_statuses():
    crm = table(
        "email phone", "a@x.com _", "_ 2125550100", "b@x.com _", "z@x.com _", "_ 1", "a@x.com 3125550100"
    )
    vendor = table("email phone", "a@x.com 2125550100", "a@x.com _", "b@x.com _", "_ 3125550100")
    result = merged(["email", "phone"], crm, vendor)
    assert column(result, "match_status") == [
        *("matched_direct", "matched_transitive", "matched_direct", "unmatched", "no_valid_key", "ambiguous")
    ]
    assert column(result, "match_quality") == ["matched"] * 3 + ["unmatched"] * 2 + ["matched"]
    # rows 1, 2 and 6 share an entity; row 3 has its own
    assert column(result, "duplicate_in_original") == ["true", "true", "false", "false", "false", "true"]
    assert result.columns[-8:] == oracle.MATCH_COLUMNS and column(result, "match_explanation") == [None] * 6


# -- I12: the laws of guards --


def pairs(result: Result) -> set[tuple]:
    """Everything that a merge holds to be one person: vendor rows among each other, originals with them."""
    rows = sorted(result.entities)
    one = {(a, b) for a in rows for b in rows if a < b and result.entities[a] == result.entities[b]}
    return one | {(("original", original), (source, row)) for source, row, original, *_ in result.crosswalk}


def answer(case: Case, **changes: Any) -> Result:
    return oracle.merge(case.spec | changes, case.original, case.enriched, **SEEDS)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=guarded(), data=st.data())
def test_a_raised_limit_loses_no_merge(case, data):
    low, high = data.draw(raised(labels_of(case.spec)))
    case.spec.pop("assertions", None)
    assert pairs(answer(case, guards=low)) <= pairs(answer(case, guards=high))


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=guarded())
def test_every_refused_merge_is_written_down(case):
    """Who shares a usable key is merged, or a guard says which value or which entity it refused."""
    result = answer(case)
    merged_pairs = pairs(result)
    refused = {(label, value) for _, label, value in result.guards}
    apart = bool(case.spec.get("assertions"))
    vendor_rows = [record for record in result.keys if record[0] != "original"]
    for a, keys in result.keys.items():
        is_original = a[0] == "original"
        for b in vendor_rows:
            shared = {key for key in keys & result.keys[b] if key not in refused}
            if shared and (is_original or a < b) and (a, b) not in merged_pairs:
                told = any(b in ids and (a in ids or is_original) for _, ids in result.entity_guards)
                assert told or (is_original and apart)
