"""Guards on people that everybody knows: the switchboard, the role mailbox, the family; and what is told of each."""

from __future__ import annotations

import hashlib

import pytest

from tests.conftest import MERGE
from tests.oracle import Table

SPEC = {"region": "US", "match_on": ["email", "phone", "linkedin"]}
LINKS = "select original_row, source, source_row, match_tier from crosswalk order by all"


def people(n, phone="", email="p{}@firm.com", linkedin="", first="Given{}", last="Surname{}"):
    """n rows of a vendor, each its own person unless a text without {} is given."""
    cells = [email, phone, linkedin, first, last, "title {}"]
    headers = ["email", "phone", "linkedin", "first_name", "last_name", "title"]
    return Table(headers, [[cell.format(i) for cell in cells] for i in range(n)])


def crm(*rows):
    return Table(
        ["Email", "Phone", "LinkedIn", "First Name", "Last Name", "Title"], [list(row) for row in rows]
    )


def event(merge, guard):
    """The one event of this guard: value, count, limit, rows of the CRM and of vendors."""
    rows = merge.query(
        "select key_type, key_value, counted, accepted, n_original, n_enriched, involved_rows, explanation"
        f" from guard_events where guard = '{guard}'"
    )
    assert len(rows) == 1, rows
    return rows[0]


def test_a_switchboard_of_500_welds_nobody(merge):
    done = merge(
        SPEC, crm(["p7@firm.com", "(212) 555-0100", "", "", "", ""], ["", "(212) 555-0100", "", "", "", ""]),
        [("v", people(500, phone="212-555-0100"))],
    )  # fmt: skip
    assert done.ok, done.problems
    assert done.query(LINKS) == [(1, "v", 8, 1)]
    assert done.query("select count(distinct entity) from int_entities") == [(500,)]
    assert done.query("select match_status from merged_result") == [
        ("matched_direct",),
        ("possibly_related",),
    ]
    kind, value, counted, accepted, originals, vendors, rows, explanation = event(done, "hub")
    assert (kind, value, counted, accepted, originals, vendors) == ("phone", "+12125550100", 500, 3, 2, 500)
    assert rows.startswith("original row 1, original row 2, v row 1, v row 2, ")
    assert rows.endswith("v row 18 and 482 more")
    assert explanation == (
        "500 different values of another key meet on it, more than the limit of 3; it links nothing"
    )


def test_a_hub_by_names_alone_is_none(merge):
    """Distinct people are those with different other keys: many rows of one person are no hub."""
    done = merge(
        SPEC, crm(), [("v", people(40, phone="212-555-0100", email="jo@firm.com", first="Jo", last="Lee"))]
    )
    assert done.query("select count(distinct entity) from int_entities") == [(1,)]
    assert done.query("select count(*) from guard_events") == [(0,)]


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("email", "info@firm.com", "blocked: role mailbox; it links nothing"),
        ("email", "noreply@firm.com", "blocked: "),
        ("email", "test@test.com", "blocked: "),
        ("email", "jo@example.com", "blocked: "),
        ("phone", "000-000-0000", None),
        ("phone", "+33 6 66 66 66 66", "blocked: "),
        ("phone", "6.12E+11", "blocked: "),
        ("phone", "n/a", None),
        ("email", "n/a", None),
        ("linkedin", "-", None),
        ("email", "x@mailbox", None),
    ],
)
def test_values_that_are_nobodys_weld_nobody(merge, column, cell, said):
    cells = {"email": "", "phone": "", "linkedin": ""} | {column: cell}
    row = [cells["email"], cells["phone"], cells["linkedin"], "", "", "boss"]
    done = merge(SPEC, crm(row), [("v", Table(people(1).headers, [row, row])), ("w", people(1))])
    assert done.ok, done.problems
    assert done.query("select count(*) from crosswalk") == [(0,)]
    assert done.query("select match_status from merged_result") == [("no_valid_key",)]
    told = done.query("select n_original, n_enriched, explanation from guard_events")
    if said:
        assert [row[:2] for row in told] == [(1, 2)]
        assert told[0][2].startswith(said)


def test_test_addresses_may_be_allowed(merge):
    tables = crm(["jo@example.com", "", "", "", "", ""]), [("v", people(1, email="jo@example.com"))]
    assert merge(SPEC, *tables).query("select match_quality from merged_result") == [("unmatched",)]
    allowed = merge(SPEC | {"guards": {"allow_test_addresses": True}}, *tables)
    assert allowed.query("select match_quality from merged_result") == [("matched",)]


def test_values_of_ones_own_are_blocked_in_any_spelling(merge):
    spec = SPEC | {"guards": {"blocked": ["+1 (212) 555 0100", "@Reseller.com", "linkedin.com/in/Agent"]}}
    vendor = Table(
        people(1).headers,
        [
            ["", "212.555.0100", "", "", "", "1"],
            ["sam@reseller.com", "", "", "", "", "2"],
            ["", "", "https://www.linkedin.com/in/agent/", "", "", "3"],
            ["sam@notreseller.com", "", "", "", "", "4"],
        ],
    )
    done = merge(spec, Table(vendor.headers, vendor.rows), [("v", vendor)])
    assert done.query("select match_status from merged_result") == [("no_valid_key",)] * 3 + [
        ("matched_direct",)
    ]
    assert done.query("select key_type, key_value, explanation from guard_events order by all") == [
        ("email", "sam@reseller.com", "blocked: listed in guards.blocked; it links nothing"),
        ("linkedin", "in/agent", "blocked: listed in guards.blocked; it links nothing"),
        ("phone", "+12125550100", "blocked: listed in guards.blocked; it links nothing"),
    ]


FAMILY = [
    ["ann@mail.com", "212-555-0100", "", "Ann", "Miller", "nurse"],
    ["ben@mail.com", "212-555-0100", "", "Ben", "Miller", "cook"],
    ["cem@mail.com", "212-555-0100", "", "Cem", "Miller", "pupil"],
]


def test_a_family_on_one_landline_is_related_and_not_merged(merge):
    original = crm(
        ["", "(212) 555-0100", "", "Ann", "Miller", ""],
        ["", "(212) 555-0100", "", "Dora", "Miller", ""],
        ["", "(212) 555-0100", "", "", "", ""],
    )
    tables = original, [("v", Table(people(1).headers, FAMILY))]
    done = merge(SPEC, *tables, select=[*MERGE, "+review_queue"])
    # who has the same name as well is linked; the others are told as related
    assert done.query(LINKS) == [(1, "v", 1, 2)]
    assert done.query("select match_status from merged_result") == [
        ("matched_direct",),
        ("possibly_related",),
        ("possibly_related",),
    ]
    assert event(done, "contradiction")[:6] == ("phone", "+12125550100", 4, 1, 3, 3)
    queue = done.query("select kind, a_source, a_row, b_source, b_row, why from review_queue order by all")
    assert ("possibly_related", "v", 1, "v", 2) in [row[:5] for row in queue]
    assert ("possibly_related", "original", 2, "v", 1) in [row[:5] for row in queue]

    # unless the spec allows it
    for mode in ["surname", "off"]:
        allowed = merge(SPEC | {"guards": {"contradiction": {"phone": mode}}}, *tables)
        assert {row[2] for row in allowed.query(LINKS) if row[0] == 2} == {1, 2, 3}
    # a flat shared by two surnames is never welded by surname
    flat = Table(people(1).headers, [FAMILY[0], [*FAMILY[1][:4], "Okafor", "cook"]])
    spec = SPEC | {"guards": {"contradiction": {"phone": "surname"}}}
    assert merge(spec, crm(), [("v", flat)]).query("select count(distinct entity) from int_entities") == [
        (2,)
    ]


def test_a_company_domain_does_not_weld_its_staff(merge):
    spec = {"match_on": ["email", "domain"]}
    staff = Table(
        ["email", "website", "first_name", "last_name"],
        [[f"p{i}@firm.com", "https://www.firm.com/about", f"Given{i}", f"Surname{i}"] for i in range(3)],
    )
    done = merge(spec, crm(["p1@firm.com", "", "", "", "", ""]), [("v", staff)])
    assert done.query("select match_status, n_enriched_rows from merged_result") == [("matched_direct", 1)]
    assert done.query("select count(distinct entity) from int_entities") == [(3,)]


def chain(n):
    """Rows 0 … n-1 of which each shares a phone with the next; the e-mails are their own, the names one."""
    return Table(
        ["email", "phone", "mobile", "title"],
        [[f"p{i}@firm.com", f"21255501{i:02}", f"21255501{i + 1:02}", f"title {i}"] for i in range(n)],
    )


def test_an_entity_that_is_too_large_falls_apart_at_its_weakest_key(merge):
    spec = SPEC | {"guards": {"max_entity_size": 5}}
    done = merge(spec, crm(["p2@firm.com", "", "", "", "", ""]), [("v", chain(6))])
    assert done.query("select count(distinct entity) from int_entities") == [(6,)]
    assert done.query(LINKS)[0] == (1, "v", 3, 1)
    kind, value, counted, accepted, originals, vendors, rows, explanation = event(done, "max_entity_size")
    assert (kind, value, counted, accepted, originals, vendors) == (None, None, 6, 5, 0, 6)
    assert rows == ", ".join(f"v row {i}" for i in range(1, 7))
    assert explanation == (
        "the entity of email:p0@firm.com holds too many rows with different keys;"
        " without its weakest keys it falls into 6"
    )
    fits = merge(spec, crm(), [("v", chain(5))])
    assert fits.query("select count(distinct entity) from int_entities") == [(1,)]


def test_what_the_strongest_key_alone_makes_too_large_is_quarantined(merge):
    spec = {"region": "US", "match_on": ["phone"], "guards": {"max_entity_size": 5}}
    done = merge(
        spec, crm(["", "2125550102", "", "", "", ""]), [("v", chain(6))], select=[*MERGE, "+review_queue"]
    )
    assert done.query("select match_status, entity_id from merged_result") == [("possibly_related", None)]
    assert done.query("select count(*) from int_entities where is_quarantined") == [(6,)]
    assert event(done, "max_entity_size")[7].endswith("it links to no row of the original")
    kinds = done.query("select kind, count(*) from review_queue group by kind order by kind")
    assert kinds == [("possibly_related", 1), ("quarantined", 5)]


def test_byte_identical_rows_do_not_make_an_entity_large(merge):
    done = merge(SPEC, crm(), [("v", people(200, email="jo@firm.com", phone="2125550100"))])
    assert done.query("select count(distinct entity), count(*) from int_entities") == [(1, 200)]


def test_an_entitys_size_counts_the_keys_of_match_on_only(merge):
    """E-mails that only a contradiction is judged by do not make rows of one phone different."""
    vendor = Table(
        ["phone", "email", "last_name"],
        [["2125550101", f"p{n}@firm.com", "Doe"] for n in range(3)] + [["2125550101", "r@firm.com", "Roe"]],
    )
    guards = {"hub": "off", "contradiction": {"phone": "surname"}, "max_entity_size": 2}
    spec = {"region": "US", "match_on": ["phone"], "guards": guards}
    done = merge(spec, Table(["Phone", "Last Name"], [["2125550101", "Doe"]]), [("v", vendor)])
    assert done.query("select n_enriched_rows, match_status from merged_result") == [(3, "matched_direct")]


def test_an_entity_keeps_its_id_while_it_keeps_its_smallest_key(merge):
    vendor = Table(["email", "phone"], [["b@firm.com", "2125550100"]])
    first = merge(SPEC, crm(), [("v", vendor)])
    wanted = hashlib.md5(b"email:b@firm.com").hexdigest()
    assert first.query("select entity_id from int_entity_ids") == [(wanted,)]
    more = Table(
        ["email", "phone"], [["c@firm.com", "2125550199"], ["B@firm.com", "2125550199"], *vendor.rows]
    )
    later = merge(SPEC, crm(["", "2125550199", "", "", "", ""]), [("w", people(3)), ("v", more)])
    assert later.query("select distinct entity_id, source from crosswalk") == [(wanted, "v")]


def explanation(merge, spec, original, *vendors):
    done = merge(spec, original, list(vendors))
    assert done.ok, done.problems
    return [cell for (cell,) in done.query("select match_explanation from merged_result")]


def test_explanations_name_keys_files_and_rows(merge):
    apollo = Table(["email", "phone"], [["x@firm.com", ""], ["jo@firm.com", "2125550101"]])
    clearbit = Table(["phone", "title"], [["2125550109", ""], ["2125550101", "CEO"]])
    said = explanation(
        merge, SPEC,
        crm(["jo@firm.com", "", "", "", "", ""], ["x@firm.com", "2125550109", "", "", "", ""], ["q@firm.com"] + [""] * 5),
        ("apollo", apollo), ("clearbit", clearbit),
    )  # fmt: skip
    assert said == [
        "E-mail equals apollo row 2; its phone led to clearbit row 2; 2 vendor rows in all.",
        "E-mail equals apollo row 1; 1 other entity is linked as well.",
        None,
    ]


def test_duplicates_of_the_original_are_flagged(merge):
    done = merge(
        SPEC,
        crm(["jo@firm.com"] + [""] * 5, ["JO@firm.com"] + [""] * 5, ["al@firm.com"] + [""] * 5),
        [("v", Table(["email"], [["jo@firm.com"], ["al@firm.com"]]))],
    )
    assert done.query("select duplicate_in_original from merged_result") == [(True,), (True,), (False,)]


PERSON = ["email", "phone", "linkedin", "website", "first_name", "last_name"]


def strangers(merge, key, value, spec=SPEC, crm_name=("Maria", "Garcia"), vendor_name=("Mohamed", "Ali")):
    """Merges two people who share one value, only one of whom has an e-mail; returns the statuses and the guards that fired."""
    one, other = ({key: value, "first_name": a, "last_name": b} for a, b in (crm_name, vendor_name))
    other["email"] = "mo@mail.com"
    rows = [Table(PERSON, [[row.get(column, "") for column in PERSON]]) for row in (one, other)]
    done = merge(spec, rows[0], [("v", rows[1])])
    assert done.ok, done.problems
    guards = done.query("select guard, key_type from guard_events")
    return done.query("select match_status, email from merged_result"), guards


def test_strangers_of_whom_one_e_mail_is_known_are_told_apart_by_their_names(merge):
    assert strangers(merge, "phone", "212-555-0100") == (
        [("possibly_related", None)],
        [("contradiction", "phone")],
    )
    # but not what may be one name: a short form, a new surname, the parts swapped
    for name in [("Mary", "Garcia"), ("Maria", "Lopez"), ("Garcia", "Maria"), ("", "Ali")]:
        assert strangers(merge, "phone", "212-555-0100", vendor_name=name) == (
            [("matched_direct", "mo@mail.com")],
            [],
        )


def test_the_page_of_a_company_is_shared_by_its_people(merge):
    page = "linkedin.com/company/acme"
    assert strangers(merge, "linkedin", page) == (
        [("possibly_related", None)],
        [("contradiction", "linkedin")],
    )
    assert strangers(merge, "linkedin", "linkedin.com/in/acme")[0] == [("matched_direct", "mo@mail.com")]
    off = SPEC | {"guards": {"contradiction": {"linkedin": "off"}}}
    assert strangers(merge, "linkedin", page, off)[0] == [("matched_direct", "mo@mail.com")]


def test_a_domain_links_companies_and_people_of_one_name(merge):
    spec = {"match_on": ["email", "domain"]}
    site = "www.widget.com"
    assert strangers(merge, "website", site, spec) == (
        [("possibly_related", None)],
        [("contradiction", "domain")],
    )
    # a vendor's row about the company is everybody's
    staff = Table(PERSON, [["", "", "", site, "Ann", "Lee"], ["", "", "", site, "Bo", "Fox"]])
    company = Table(["website", "industry"], [["https://widget.com", "Widgets"]])
    done = merge(spec, staff, [("v", company)])
    assert (
        done.query("select match_status, industry from merged_result") == [("matched_direct", "Widgets")] * 2
    )


def test_a_blocked_address_blocks_no_domain(merge):
    spec = {"match_on": ["email", "domain"], "guards": {"blocked": ["jo@widget.com", " @Rival.com "]}}
    vendor = Table(
        ["email", "website", "industry"], [["jo@widget.com", "widget.com", "1"], ["al@rival.com", "", "2"]]
    )
    original = Table(["Email", "Website"], [["", "widget.com"], ["al@rival.com", ""], ["jo@widget.com", ""]])
    done = merge(spec, original, [("v", vendor)])
    assert done.query("select industry from merged_result") == [("1",), (None,), (None,)]


def test_an_entity_keeps_its_id_when_strangers_come_to_its_phone(merge):
    vendor = Table(
        ["email", "phone", "first_name", "last_name"], [["z@mail.com", "2125550100", "Ann", "Lee"]]
    )
    spec = {"region": "US", "match_on": [{"column": "a_code"}, "phone", "email"]}
    vendor = Table(["email", "phone", "first_name", "last_name", "a_code"], [[*vendor.rows[0], ""]])
    first = merge(spec, Table(["Email", "A Code"], [["z@mail.com", ""]]), [("v", vendor)])
    more = Table(vendor.headers, [*vendor.rows, ["y@mail.com", "2125550100", "Bo", "Fox", ""]])
    later = merge(spec, Table(["Email", "A Code"], [["z@mail.com", ""]]), [("v", more)])
    wanted = hashlib.md5(b"email:z@mail.com").hexdigest()
    assert first.query("select entity_id from merged_result") == [(wanted,)]
    assert later.query("select entity_id from merged_result") == [(wanted,)]
