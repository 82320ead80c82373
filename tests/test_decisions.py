"""What people decide: assertions that are followed, those that can not be, and the review queue that asks for them."""

from __future__ import annotations

import csv

import pytest

from tests.conftest import MERGE
from tests.oracle import Table

SPEC = {"region": "US", "match_on": ["email", "phone"]}
QUEUE = [*MERGE, "+review_queue"]
HEADERS = ["decision", "a_source", "a_row", "a_key", "b_source", "b_row", "b_key"]
CRM = Table(
    ["Email", "Phone", "Last Name", "First Name"], [["a@x.com", "", "Doe", "Ann"], ["", "", "Roe", "Bob"]]
)
VENDOR = Table(
    ["email", "phone", "last_name", "first_name", "title"],
    [
        ["a@x.com", "2125550101", "Doe", "Ann", "CEO"],
        ["", "2125550101", "Doe", "Ann", "chief"],
        ["b@x.com", "", "Roe", "Bob", "cook"],
    ],
)
LINKS = "select original_row, source_row, match_tier, matched_on from crosswalk order by all"


def decisions(*lines):
    """Lines 'must_link original/1 email:b@x.com' as rows of an assertions file."""
    rows = []
    for line in lines:
        decision, *ends = line.split(" ")
        row = dict.fromkeys(HEADERS, "") | {"decision": decision}
        for name, end in zip("ab", ends, strict=False):
            if ":" in end:
                row[f"{name}_key"] = end
            else:
                row[f"{name}_source"], _, row[f"{name}_row"] = end.partition("/")
        rows.append(row)
    return rows


def test_without_decisions(merge):
    assert merge(SPEC, CRM, [("v", VENDOR)]).query(LINKS) == [(1, 1, 1, "email"), (1, 2, 1, "email")]


@pytest.mark.parametrize("b", ["v/3", "email:B@x.com"])
def test_a_must_link_comes_before_all_keys(merge, b):
    spec = SPEC | {"assertions": decisions(f"must_link original/2 {b}")}
    done = merge(spec, CRM, [("v", VENDOR)])
    assert done.query(LINKS) == [(1, 1, 1, "email"), (1, 2, 1, "email"), (2, 3, 0, "assertion")]
    assert done.query("select match_explanation from merged_result where match_tier = 0") == [
        ("Asserted to be v row 3.",)
    ]


def test_a_must_link_of_rows_without_keys_passes_every_check(merge):
    nobody = ["", "", "Poe", "Eve", "poet"]
    spec = SPEC | {"assertions": decisions("must_link original/2 v/4")}
    vendor = Table(VENDOR.headers, [*VENDOR.rows, nobody])
    done = merge(spec, CRM, [("v", vendor)], command="build", select=None)
    assert done.ok, done.problems
    assert done.query(LINKS)[-1] == (2, 4, 0, "assertion")


def test_a_cannot_link_keeps_an_original_from_an_entity(merge):
    spec = SPEC | {"assertions": decisions("cannot_link original/1 v/2")}
    done = merge(spec, CRM, [("v", VENDOR)])
    assert done.query(LINKS) == []
    assert done.query("select match_status from merged_result")[0] == ("possibly_related",)
    assert done.query("select guard, n_original, involved_rows from guard_events") == [
        ("cannot_link", 1, "original row 1")
    ]


def test_a_cannot_link_takes_an_entity_apart_at_its_weakest_key(merge):
    spec = SPEC | {"assertions": decisions("cannot_link v/1 v/2")}
    done = merge(spec, CRM, [("v", VENDOR)])
    assert done.query(LINKS) == [(1, 1, 1, "email")]
    assert [row[:2] for row in done.query("select guard, n_enriched, explanation from guard_events")] == [
        ("cannot_link", 2)
    ]


def test_a_key_that_no_row_has_is_told(merge):
    spec = SPEC | {"assertions": decisions("must_link original/1 email:gone@x.com")}
    done = merge(spec, CRM, [("v", VENDOR)])
    [(guard, explanation)] = done.query("select guard, explanation from guard_events")
    assert guard == "assertion_without_rows"
    assert explanation.endswith(
        "decisions.csv row 1: no row has the email key of end b, so it decides nothing"
    )


def test_a_decision_without_rows_at_one_end_decides_nothing_at_the_other(merge):
    vendor = Table(
        ["email", "phone", "last_name"], [[f"p{i}@x.com", "2125550101", f"Surname{i}"] for i in range(10)]
    )
    lines = decisions("must_link phone:2125550101 email:absent@x.com")
    done = merge(SPEC | {"assertions": lines}, CRM, [("v", vendor)])
    assert done.query("select count(distinct entity) from int_entities") == [(10,)]
    assert done.query("select count(*) from guard_events where guard = 'assertion_without_rows'") == [(1,)]


def test_a_row_that_could_not_be_read_is_told(merge, tmp_path):
    spec = SPEC | {"guards": {"max_reject_rate": 0.5}, "assertions": decisions("must_link original/2 v/3")}
    vendor = Table(VENDOR.headers, [*VENDOR.rows[:2], ["too", "few"]])
    done = merge(spec, CRM, [("v", vendor)])
    assert done.query(LINKS) == [(1, 1, 1, "email"), (1, 2, 1, "email")]
    [(explanation,)] = done.query("select explanation from guard_events")
    assert explanation.endswith("decisions.csv row 1: v row 3 could not be read, so it decides nothing")


def test_a_must_link_that_another_decision_undoes_is_told(merge):
    lines = decisions("must_link original/1 v/1", "cannot_link original/1 v/2")
    vendor = Table(["email"], [["b@x.com"], ["b@x.com"]])
    done = merge(SPEC | {"assertions": lines}, CRM, [("v", vendor)])
    assert done.query(LINKS) == []
    assert done.query("select count(*) from guard_events where guard = 'assertion_not_followed'") == [(1,)]


def test_what_people_joined_is_as_large_as_they_say(merge):
    spec = SPEC | {"guards": {"max_entity_size": 2}}
    vendor = Table(["email"], [[f"p{i}@x.com"] for i in range(4)])
    crm = Table(["Email"], [["p3@x.com"]])
    lines = decisions("must_link v/1 v/2", "must_link v/2 v/3", "must_link v/3 v/4")
    done = merge(spec | {"assertions": lines}, crm, [("v", vendor)])
    assert done.query("select n_enriched_rows, match_status from merged_result") == [
        (4, "matched_transitive")
    ]
    assert done.query("select count(*) from guard_events") == [(0,)]


def test_an_original_with_the_keys_of_both_ends_takes_both(merge):
    crm = Table(["Email", "Email 2"], [["a@x.com", "b@x.com"]])
    lines = decisions("cannot_link email:a@x.com email:b@x.com")
    done = merge(SPEC | {"assertions": lines}, crm, [("v", VENDOR)])
    assert done.query("select match_status from merged_result") == [("ambiguous",)]


WRONG = {
    "decision": (["maybe v/1 v/2"], "row 1: decision is maybe; accepted: must_link, cannot_link, or blank for undecided"),
    "source": (["must_link x/1 v/2"], "row 1: a_source: there is no file 'x'; accepted: original, v"),
    "row": (["must_link v/1 v/9"], "row 1: b_row: v has no row 9; its rows are 1 to 3"),
    "row zero": (["must_link v/0 v/1"], "row 1: a_row: v has no row 0; its rows are 1 to 3"),
    "row that is no number": (["must_link v/one v/1"], "row 1: a_row: 'one' is no row number"),
    "row of a fraction": (["must_link v/1.5 v/1"], "row 1: a_row: '1.5' is no row number"),
    "the same row": (["cannot_link v/1 v/01"], "row 1: both ends are the same; an assertion is about two rows or keys"),
    "end": (["must_link v/1"], "row 1: end b is missing: give b_key, or b_source and b_row"),
    "key": (["must_link v/1 fax:1"], "row 1: b_key: there is no key 'fax' in match_on; accepted: email: …, phone: …"),
    "the same": (["must_link v/1 v/1"], "row 1: both ends are the same; an assertion is about two rows or keys"),
    "the same key": (["cannot_link email:a@x.com email:A@X.com"], "row 1: both ends are the same"),
    "originals": (["must_link original/1 original/2"], "row 1: both ends are rows of the original; rows of the original are never merged with each other"),
    "contradiction": (["must_link v/1 v/3", "cannot_link v/3 v/1"], "decisions.csv row 2 says cannot_link, but must_link rows join the two: row 1"),
    "contradiction over others": (["must_link v/1 v/2", "must_link v/2 v/3", "cannot_link v/3 v/1"], "decisions.csv row 3 says cannot_link, but must_link rows join the two: row 1, row 2"),
    "contradiction of an original": (["must_link original/1 v/3", "cannot_link original/1 v/3"], "decisions.csv row 2 says cannot_link, but must_link rows join the two: row 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_can_not_be_followed_ends_the_run_by_name(merge, name):
    lines, said = WRONG[name]
    done = merge(SPEC | {"assertions": decisions(*lines)}, CRM, [("v", VENDOR)])
    assert not done.ok
    assert said in "\n".join(done.problems)
    assert "Traceback" not in "\n".join(done.problems)


def test_a_file_without_its_columns_is_refused(merge):
    done = merge(SPEC | {"assertions": [{"kind": "x", "decision": "must_link"}]}, CRM, [("v", VENDOR)])
    assert not done.ok
    assert "decisions.csv has no column 'a_source'; expected: decision, a_source, a_row, a_key" in "\n".join(
        done.problems
    )


AMBIGUOUS = Table(["Email", "Phone"], [["b@x.com", "2125550101"]])


def queue(done):
    return done.query("select kind, a_source, a_row, b_source, b_row from review_queue order by all")


def decided(done, wanted, tmp_path):
    """The review queue as its CSV file, each pair decided as wanted says."""
    with done.connect() as connection:
        connection.execute(f"copy review_queue to '{tmp_path / 'queue.csv'}' (header)")
    with (tmp_path / "queue.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["decision"] = wanted(row)
    return rows


def test_ambiguous_rows_are_asked_about_with_evidence(merge):
    done = merge(SPEC, AMBIGUOUS, [("v", VENDOR)], select=QUEUE)
    assert done.query("select match_status from merged_result") == [("ambiguous",)]
    assert queue(done) == [("ambiguous", "original", 1, "v", 1), ("ambiguous", "original", 1, "v", 3)]
    assert done.query("select decision, why, a_evidence, b_evidence from review_queue") == [
        (
            None,
            "the row of the original meets 2 entities; this is number 2, by phone",
            "email b@x.com; phone +12125550101",
            "email a@x.com; phone +12125550101; name ann doe",
        ),
        (
            None,
            "the row of the original meets 2 entities; this is number 1, by email",
            "email b@x.com; phone +12125550101",
            "email b@x.com; name bob roe",
        ),
    ]


def test_the_queue_with_decisions_reads_back(merge, tmp_path):
    done = merge(SPEC, AMBIGUOUS, [("v", VENDOR)], select=QUEUE)
    undecided = decided(done, lambda row: "", tmp_path)
    again = merge(SPEC | {"assertions": undecided}, AMBIGUOUS, [("v", VENDOR)], select=QUEUE)
    assert queue(again) == queue(done)
    lines = decided(done, lambda row: "must_link" if row["b_row"] == "3" else "cannot_link", tmp_path)
    settled = merge(SPEC | {"assertions": lines}, AMBIGUOUS, [("v", VENDOR)], select=QUEUE)
    assert settled.query(LINKS) == [(1, 3, 0, "assertion+email")]
    assert settled.query("select match_status from merged_result") == [("matched_direct",)]
    assert queue(settled) == []


def test_related_people_are_asked_about_and_can_be_linked(merge, tmp_path):
    crm = Table(["Phone", "Last Name", "First Name"], [["2125550101", "Miller", "Dora"]])
    family = Table(
        ["email", "phone", "last_name", "first_name"],
        [["ann@x.com", "2125550101", "Miller", "Ann"], ["ben@x.com", "2125550101", "Miller", "Ben"]],
    )
    done = merge(SPEC, crm, [("v", family)], select=QUEUE)
    assert queue(done) == [("possibly_related", "original", 1, "v", 1), ("possibly_related", "v", 1, "v", 2)]
    lines = decided(
        done, lambda row: "must_link" if row["a_source"] == "original" else "cannot_link", tmp_path
    )
    # vendors' rows are named by a key, which is theirs also when the files are delivered anew
    assert {row["b_key"] for row in lines} == {"email:ann@x.com", "email:ben@x.com"}
    family.rows.reverse()
    settled = merge(SPEC | {"assertions": lines}, crm, [("v", family)], select=QUEUE)
    assert settled.query(LINKS) == [(1, 2, 0, "assertion")]
    assert queue(settled) == []


def test_an_entity_taken_apart_is_asked_about(merge):
    spec = SPEC | {"guards": {"max_entity_size": 1}}
    done = merge(spec, CRM, [("v", VENDOR)], select=QUEUE)
    assert queue(done) == [("oversized", "v", 1, "v", 2)]


def test_the_queue_never_asks_by_a_key_that_a_guard_refused(merge, tmp_path):
    spec = SPEC | {"guards": {"max_entity_size": 2, "contradiction": "off"}}
    vendor = Table(["email", "phone"], [[f"p{i}@x.com", "2125550101"] for i in range(3)])
    crm = Table(["Email", "Phone"], [["", "2125550101"], ["p0@x.com", ""]])
    done = merge(spec, crm, [("v", vendor)], select=QUEUE)
    assert done.query("select match_status from merged_result")[1] == ("matched_direct",)
    for answer in ["cannot_link", "must_link"]:
        lines = decided(done, lambda row: answer if row["a_source"] == "original" else "", tmp_path)  # noqa: B023
        assert [row["a_key"] for row in lines if row["a_source"] == "original"] == [""]
        settled = merge(spec | {"assertions": lines}, crm, [("v", vendor)])
        assert settled.query("select match_status from merged_result")[1] == ("matched_direct",)


def test_the_queue_goes_on_when_twenty_are_decided(merge, tmp_path):
    vendor = Table(["email", "phone"], [[f"p{i}@x.com", "2125550101"] for i in range(10)])
    crm = Table(["Id", "Phone"], [[str(i), "2125550101"] for i in range(25)])
    done = merge(SPEC, crm, [("v", vendor)], select=QUEUE)
    assert len(queue(done)) == 20
    lines = decided(done, lambda row: "cannot_link", tmp_path)
    again = merge(SPEC | {"assertions": lines}, crm, [("v", vendor)], select=QUEUE)
    assert len(queue(again)) == 5


def test_the_queue_shows_who_has_the_same_name_first(merge):
    vendor = Table(
        ["email", "phone", "first_name", "last_name"],
        [[f"p{i}@x.com", "2125550101", f"Given{i}", "Lee"] for i in range(10)],
    )
    crm = Table(["Phone", "First Name", "Last Name"], [["2125550101", "Given7", "LEE"]])
    assert queue(merge(SPEC, crm, [("v", vendor)], select=QUEUE)) == [
        ("possibly_related", "original", 1, "v", 8)
    ]
