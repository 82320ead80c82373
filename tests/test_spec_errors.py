"""Every mistake in a spec or a file ends before any work, in a sentence that says where, what and what instead."""

from __future__ import annotations

import copy
import gzip

import pytest

from crm_merge.engine import planning
from crm_merge.plan.make import unreadable
from crm_merge.plan.model import Unfit
from crm_merge.spec.check import WrongSpec
from tests.conftest import write_csv
from tests.oracle import Table

CRM = Table(["Id", "Email", "Title"], [["1", "a@x.com", "CEO"], ["2", "b@x.com", ""]])
VENDOR = Table(["email", "title", "industry"], [["a@x.com", "CTO", "ores"]])


@pytest.fixture
def spec(tmp_path):
    write_csv(tmp_path / "crm.csv", CRM)
    write_csv(tmp_path / "vendor.csv", VENDOR)
    return {
        "original": {"path": str(tmp_path / "crm.csv")},
        "enriched": [{"name": "apollo", "path": str(tmp_path / "vendor.csv")}],
        "match_on": ["email"],
    }


def changed(spec, place, value):
    """The spec with one setting replaced; place is a path such as ("enriched", 0, "name")."""
    spec = copy.deepcopy(spec)
    block = spec
    for step in place[:-1]:
        block = block[step]
    block[place[-1]] = value
    return spec


WRONG_SPECS = {
    "unknown setting": (("matchon",), [], ["matchon: unknown setting 'matchon'; did you mean 'match_on'?"]),
    "unknown setting of a file": (("enriched", 0, "pth"), "x", ["enriched[0].pth: unknown setting 'pth'; did you mean 'path'?"]),
    "unknown strategy": (("strategies",), {"title": "longst"}, ["strategies.title: unknown strategy \"longst\"; did you mean 'longest'?", "most_complete"]),
    "unknown policy": (("overwrite",), {"title": "fil"}, ["overwrite.title: unknown policy 'fil'; did you mean 'fill'?"]),
    "unknown column of a strategy": (("strategies",), {"titel": "first"}, ["strategies.titel: no file has a column 'titel'; did you mean 'title'?"]),
    "unknown column of a policy": (("overwrite",), {"tytle": "fill"}, ["overwrite.tytle: no file has a column 'tytle'"]),
    "unknown key": (("match_on",), ["emial"], ["match_on[0]: unknown key 'emial'; accepted: domain, email, linkedin, phone"]),
    "key column that no file has": (("match_on",), [{"column": "tax_no"}], ["match_on[0].column: no file has a column 'tax_no'"]),
    "unknown comparison": (("match_on",), [{"column": "title", "compare": "fuzzy"}], ["match_on[0].compare: 'fuzzy' is not accepted. Accepted: exact, normalized"]),
    "external id without its columns": (("match_on",), [{"type": "external_id"}], ["match_on[0].original: missing", "match_on[0].enriched: missing"]),
    "external id of no CRM column": (("match_on",), [{"type": "external_id", "original": "Idd", "enriched": "industry"}], ["match_on[0].original: the original has no column 'Idd'; did you mean 'Id'?"]),
    "key twice": (("match_on",), ["email", "email"], ["match_on[1]: 'email' stands twice in match_on"]),
    "source_priority of an unknown file": (("strategies",), {"title": {"source_priority": ["apolo"]}}, ["there is no file named 'apolo'; did you mean 'apollo'?"]),
    "source_priority without files": (("strategies",), {"title": "source_priority"}, ["source_priority needs the files in order"]),
    "most_recent without a column": (("strategies",), {"default": "most_recent"}, ["most_recent needs the timestamp column"]),
    "group that a fold would choose": (("groups",), [{"columns": ["title", "industry"], "strategy": "collect"}], ["groups[0].strategy: 'collect' can not choose a row"]),
    "a column under two spellings": (("strategies",), {"title": "first", "Title": "last"}, ["strategies.Title: column 'title' has a strategy already"]),
    "a format twice": (("export",), {"formats": ["csv", "csv"]}, ["export.formats: a format stands twice"]),
    "a codec that is no encoding": (("enriched", 0, "encoding"), "hex", ["unknown encoding 'hex'"]),
    "a column that is a list": (("match_on",), [{"column": ["x"]}], ["match_on[0].column: expected a column name"]),
    "missing path": (("enriched", 0, "path"), None, ["enriched[0].path: missing"]),
    "name taken": (("enriched", 0, "name"), "original", ["enriched[0].name: 'original' is taken"]),
    "region": (("region",), "UK", ["region: \"UK\" is not a region"]),
    "delimiter": (("enriched", 0, "delimiter"), ",,", ["enriched[0].delimiter: \",,\" is not accepted"]),
    "on_bad_row": (("original", "on_bad_row"), "skip", ["original.on_bad_row: 'skip' is not accepted. Accepted: refuse, set_aside"]),
    "export format": (("export",), {"formats": ["xlsx"]}, ["export.formats[0]: unknown format 'xlsx'", "csv, parquet"]),
    "escaping in quotes": (("export",), {"escape_formulas": "true"}, ["export.escape_formulas: \"true\" is not accepted. Accepted: true, false (without quotes)"]),
    "escaping as a number": (("export",), {"escape_formulas": 1}, ["export.escape_formulas: 1 is not accepted. Accepted: true, false"]),
    "mark as a word": (("export",), {"bom": "utf-8"}, ["export.bom: \"utf-8\" is not accepted. Accepted: true, false"]),
    "escaping misspelt": (("export",), {"escape_formula": True}, ["export.escape_formula: unknown setting 'escape_formula'; did you mean 'escape_formulas'?"]),
    "partition of no Parquet": (("export",), {"formats": ["csv"], "partition_by": ["title"]}, ["export.partition_by: only Parquet is partitioned, and export.formats is [\"csv\"]; add parquet to it"]),
    "partition by no column": (("export",), {"formats": ["parquet"], "partition_by": ["titel"]}, ["export.partition_by: the result has no column 'titel'"]),
    "header to map that is not there": (("enriched", 0, "columns"), {"Mobil": "phone"}, ["enriched[0].columns: there is no header 'Mobil' in the file"]),
    "hub of no key": (("guards",), {"hub": {"fone": 3}}, ["guards.hub.fone: no key of match_on is called 'fone'", "email"]),
    "hub limit": (("guards",), {"hub": {"email": 0}}, ["guards.hub.email: 0 is not accepted. Accepted: a whole number from 1, or off"]),
    "hubs as a number": (("guards",), {"hub": 3}, ["guards.hub: 3 is not accepted. Accepted: {KEY: LIMIT}, such as {phone: 3}, or off"]),
    "contradiction of a strong key": (("guards",), {"contradiction": {"email": "name"}}, ["guards.contradiction.email: only keys that strangers share can contradict", "phone, domain"]),
    "contradiction by something else": (("guards",), {"contradiction": {"phone": "company"}}, ["guards.contradiction.phone: \"company\" is not accepted. Accepted: name, surname, off"]),
    "entity size": (("guards",), {"max_entity_size": "many"}, ["guards.max_entity_size: \"many\" is not accepted. Accepted: a whole number from 1, or off"]),
    "blocked as a text": (("guards",), {"blocked": "x@y.com"}, ["guards.blocked: expected a list of key values", "found \"x@y.com\""]),
    "blocked number without quotes": (("guards",), {"blocked": [12125550100]}, ["guards.blocked[0]: expected a text in quotes, found 12125550100"]),
    "blocked value that is no key": (("guards",), {"blocked": ["nobody"]}, ["guards.blocked: 'nobody' is no valid email. Accepted: a key value as it stands in a cell, or @company.com"]),
    "test addresses": (("guards",), {"allow_test_addresses": "no"}, ["guards.allow_test_addresses: \"no\" is not accepted. Accepted: true, false"]),
    "unknown guard": (("guards",), {"max_reject": 0.1}, ["guards.max_reject: unknown setting 'max_reject'; did you mean 'max_reject_rate'?"]),
    "reject rate": (("guards",), {"max_reject_rate": 2}, ["guards.max_reject_rate: 2 is not accepted", "a share of rows from 0 to 1"]),
    "reject rate of a file": (("enriched", 0, "max_reject_rate"), "5 %", ["enriched[0].max_reject_rate: \"5 %\" is not accepted"]),
    "header line": (("enriched", 0, "header_line"), -1, ["enriched[0].header_line: -1 is not accepted"]),
    "quoted newlines": (("original", "quoted_newlines"), "yes", ["original.quoted_newlines: \"yes\" is not accepted. Accepted: true, false"]),
    "assertions as a mapping": (("assertions",), {"path": "x.csv"}, ["assertions: expected a CSV file or a list of them"]),
    "assertions that are not there": (("assertions",), "/none/x.csv", ["assertions: there is no file '/none/x.csv'"]),
    "a schedule in words": (("schedule",), "daily", ['schedule: "daily" is not accepted. Accepted: the five fields of cron']),
    "a schedule with seconds": (("schedule",), "0 0 6 * * *", ['schedule: "0 0 6 * * *" is not accepted']),
    "a schedule's unknown setting": (("schedule",), {"cron": "0 6 * * *", "zone": "UTC"}, ["schedule.zone: unknown setting 'zone'", "Accepted: cron, timezone"]),
    "a time limit in words": (("time_limit_minutes",), "30 min", ['time_limit_minutes: "30 min" is not accepted. Accepted: a number of minutes']),
    "no time at all": (("time_limit_minutes",), 0, ["time_limit_minutes: 0 is not accepted"]),
    "export to another store": (("export",), {"to": "gs://bucket/x?t0p=1"}, ["export.to: gs:// is not supported here; accepted: a local folder, s3://bucket/prefix"]),
    "export with a password": (("export",), {"to": "s3://me:t0p@bucket/x"}, ["export.to: a s3:// path must not hold a user name or password"]),
    "export out of its prefix": (("export",), {"to": "s3://bucket/x/../y"}, ["export.to: a s3:// path must not hold '.' or '..'"]),
    "export to a list": (("export",), {"to": ["a"]}, ["export.to: expected a folder or s3://bucket/prefix"]),
    "plain http": (("enriched", 0, "path"), "http://example.com/x.csv", ["enriched[0].path: ", "is not encrypted; use https://"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_SPECS)
def test_a_wrong_spec_is_explained(spec, tmp_path, name):
    place, value, sentences = WRONG_SPECS[name]
    refused(changed(spec, place, value), tmp_path, sentences)


def refused(spec, tmp_path, sentences):
    """What planning says of a spec; no dbt is needed to be told."""
    try:
        told = "\n".join(unreadable(planning.plan_of(spec, tmp_path / "m")))
    except WrongSpec as wrong:
        told = "\n".join(mistake.sentence() for mistake in wrong.mistakes)
    except Unfit as unfit:
        told = "\n".join(unfit.problems)
    for sentence in sentences:
        assert sentence in told


@pytest.mark.parametrize(
    "name", ["unknown setting", "key column that no file has", "blocked value that is no key"]
)
def test_plain_dbt_says_the_same(runner, spec, name):
    place, value, sentences = WRONG_SPECS[name]
    merge = runner(changed(spec, place, value))
    told = "\n".join(merge.problems)
    assert not merge.ok and "Traceback" not in told
    assert all(sentence in told for sentence in sentences)
    assert not (merge.directory / ".crm-merge" / "landing" / "rows_0_0.parquet").exists(), (
        "something was written"
    )


def test_a_column_has_a_group_or_a_strategy(spec, tmp_path):
    spec |= {"groups": [{"columns": ["title", "industry"]}], "strategies": {"title": "last"}}
    refused(spec, tmp_path, ["strategies.title: the column is in groups[0]"])


def test_all_mistakes_are_told_at_once(spec, tmp_path):
    spec |= {"overwrite": {"title": "x"}, "match_on": ["emial"]}
    refused(spec, tmp_path, ["overwrite.title", "match_on[0]"])


@pytest.mark.parametrize("missing", ["original", "enriched", "match_on"])
def test_a_spec_needs_its_three_parts(spec, missing, tmp_path):
    del spec[missing]
    refused(spec, tmp_path, [f"{missing}: missing"])


WRONG_FILES = {
    "empty": (b"", "is empty: it has no header"),
    "only blank lines": (b"\n\n", "it holds only blank lines"),
    "duplicate headers": (b"email,name,email\na@x.com,b,c\n", "the header 'email' stands there twice (columns 1 and 3)"),
    "headers that differ in case": (b"email,name,EMAIL\na@x.com,b,c\n", "differ only in case"),
    "no usable key": (b"name,title\na,b\n", "no usable key column: none of name, title feeds email"),
    "header not on the first line": (b"Report of May\nmail of work,wage,tee\na@x.com,b,c\nb@x.com,b,c\n", "the header is not on the first line"),
    "unterminated quote": (b'email,name\na@x.com,"b\nb@x.com,c\n', "line 2 (a quote opens that is never closed)"),
    "NUL bytes": (b"email,name\na@x.com,b\0c\n", "line 2 (a NUL byte)"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_FILES)
@pytest.mark.parametrize("role", ["original", "enriched"])
def test_a_file_that_can_not_be_read_is_refused_by_name(spec, tmp_path, name, role):
    content, sentence = WRONG_FILES[name]
    (tmp_path / "bad.csv").write_bytes(content)
    block = spec["original"] if role == "original" else spec["enriched"][0]
    block["path"] = str(tmp_path / "bad.csv")
    refused(spec, tmp_path, [sentence, "original" if role == "original" else "enriched[0]"])


def test_a_missing_file_is_named_with_its_neighbours(spec, tmp_path):
    spec["enriched"][0]["path"] = str(tmp_path / "vendr.csv")
    refused(spec, tmp_path, ["there is no file", "vendr.csv", "that folder holds vendor.csv, crm.csv"])


def test_a_declared_encoding_that_does_not_decode(spec, tmp_path):
    (tmp_path / "vendor.csv").write_bytes("email,name\na@x.com,Zoë\n".encode("cp1252"))
    spec["enriched"][0]["encoding"] = "utf-8"
    refused(
        spec,
        tmp_path,
        ["vendor.csv: 1 of 1 rows can not be read", "bytes that are not utf-8 (0xeb at byte 21)"],
    )
    (tmp_path / "vendor.csv").write_bytes("email,name\na@x.com,Zoë\n".encode("utf-16"))
    refused(spec, tmp_path, ["is declared as utf-8, but begins with the mark of utf-16"])
    spec["enriched"][0]["encoding"] = "utf-88"
    refused(spec, tmp_path, ["unknown encoding 'utf-88'"])


def test_output_names_never_clash(spec, tmp_path):
    write_csv(tmp_path / "vendor.csv", Table(["email", "match_tier"], [["a@x.com", "1"]]))
    refused(
        spec,
        tmp_path,
        ["'match_tier' would become the column 'match_tier', a name that the merge's own column has"],
    )
    write_csv(tmp_path / "vendor.csv", Table(["email", "First Name", "first_name"], [["a@x.com", "1", "2"]]))
    refused(spec, tmp_path, ["'first_name' means 'first_name', which another column of the file has already"])
    spec["enriched"][0]["columns"] = {"First Name": "nick", "first_name": "Nick"}
    refused(spec, tmp_path, ["'first_name' can not be the column 'nick', which 'First Name' is mapped to"])
    del spec["enriched"][0]["columns"]
    write_csv(tmp_path / "vendor.csv", VENDOR)
    write_csv(tmp_path / "crm.csv", Table(["Id", "Email", "entity_id"], [["1", "a@x.com", "x"]]))
    spec["original"]["columns"] = {"Id": "key", "Email": "key"}
    refused(
        spec, tmp_path, ["original.columns: 'Email' can not be the column 'key', which 'Id' is mapped to"]
    )
    del spec["original"]["columns"]
    refused(spec, tmp_path, ["the header 'entity_id' is a name that the merge itself gives"])


def test_a_key_that_the_original_lacks_is_said(runner, spec, tmp_path):
    write_csv(tmp_path / "vendor.csv", Table(["email", "phone"], [["a@x.com", "+12125550100"]]))
    spec["match_on"] = ["email", "phone"]
    merge = runner(spec)
    assert merge.ok, merge.problems
    [(said,)] = merge.query("select notes from stg_files where file_order = 0")
    assert "no column for the key 'phone' of match_on" in said and "'email'" not in said


def test_columns_of_an_earlier_merge_are_said(runner, spec, tmp_path):
    merge = runner(spec)
    write_csv(tmp_path / "crm.csv", merge.table("merged_result"))
    again = runner(spec)
    assert again.ok, again.problems
    [(said,)] = again.query("select notes from stg_files where file_order = 0")
    assert "its columns match_quality, match_status, " in said and "are those of an earlier merge" in said


def test_a_policy_that_changes_nothing_is_said(runner, spec, tmp_path):
    write_csv(tmp_path / "crm.csv", Table(["Id", "Email", "Notes"], [["1", "a@x.com", ""]]))
    write_csv(tmp_path / "vendor.csv", Table(["email", "industry"], [["a@x.com", "IT"]]))
    spec["overwrite"] = {"industry": "update", "notes": "suffix", "email": "update"}
    merge = runner(spec)
    assert merge.ok, merge.problems
    [(said,)] = merge.query("select notes from stg_files where file_order = 0")
    assert "overwrite.industry changes nothing: it has no column 'industry'" in said
    assert "overwrite.notes changes nothing: no vendor file has a column for it" in said
    assert "overwrite.email" not in said


def test_a_bad_row_of_the_original_is_refused_or_set_aside(runner, spec, tmp_path):
    (tmp_path / "crm.csv").write_text("Id,Email,Title\n1,a@x.com,CEO\n2,b@x.com\n3,a@x.com,\n")
    merge = runner(spec)
    assert not merge.ok
    assert "line 3 (too few cells: 2 of 3): 2,b@x.com" in "\n".join(merge.problems)
    spec["original"]["on_bad_row"] = "set_aside"
    merge = runner(spec, command="build", select=None)
    assert merge.ok, merge.problems
    assert merge.query("select source, source_row, line, byte_position, raw_text from rejected_rows") == [
        ("original", 2, 3, 29, "2,b@x.com")
    ]
    assert [row[:3] for row in merge.query("select * from merged_result")] == [
        ("1", "a@x.com", "CEO"),
        ("3", "a@x.com", "CTO"),
    ]
    # row numbers are those of the file, the rejected row counted
    assert merge.query("select original_row from crosswalk order by 1") == [(1,), (3,)]


def test_few_bad_rows_of_a_vendor_are_rejected_and_many_refused(runner, spec, tmp_path):
    good = [f"p{n}@x.com,t,i" for n in range(300)]
    lines = ["email,title,industry", *good[:150], "only@x.com,two", *good[150:], "a@x.com,CTO,ores"]
    (tmp_path / "vendor.csv").write_text("\n".join(lines) + "\n")
    merge = runner(spec, command="build", select=None)
    assert merge.ok, merge.problems
    assert merge.query("select source, source_row, reason from rejected_rows") == [
        ("apollo", 151, "too few cells: 2 of 3")
    ]
    assert merge.query("select source_row from crosswalk") == [(302,)]
    (tmp_path / "vendor.csv").write_text("email,title,industry\na@x.com,CTO\nb@x.com,x,y\n")
    merge = runner(spec)
    assert not merge.ok
    assert "enriched[0]: vendor.csv: 1 of 2 rows can not be read" in "\n".join(merge.problems)


def test_gzipped_and_header_only_files_are_fine(runner, spec, tmp_path):
    with gzip.open(tmp_path / "vendor.csv.gz", "wt") as file:
        file.write("email,title,industry\na@x.com,CTO,ores\n")
    (tmp_path / "empty.csv").write_text("email,title")
    spec["enriched"] = [
        {"name": "a", "path": str(tmp_path / "vendor.csv.gz")},
        {"name": "b", "path": str(tmp_path / "empty.csv")},
    ]
    merge = runner(spec, command="build", select=None)
    assert merge.ok, merge.problems
    assert merge.query("select original_row from crosswalk") == [(1,)]


def test_a_glob_is_one_vendor_of_several_files(runner, spec, tmp_path):
    for number in (1, 2):
        write_csv(tmp_path / f"part{number}.csv", Table(["email", "title"], [["b@x.com", f"T{number}"]]))
    spec["enriched"] = [{"name": "parts", "path": str(tmp_path / "part*.csv")}]
    merge = runner(spec)
    assert merge.ok, merge.problems
    assert merge.query("select source, source_row from crosswalk order by 1") == [
        ("parts/part1.csv", 1),
        ("parts/part2.csv", 1),
    ]
    assert merge.query('select "Title" from merged_result') == [("CEO",), ("T1",)]


def test_files_of_one_name_in_two_folders_are_told_apart(runner, spec, tmp_path):
    for folder in ("may", "june"):
        (tmp_path / folder).mkdir()
        write_csv(tmp_path / folder / "x.csv", Table(["email", "title"], [["b@x.com", folder]]))
    spec["enriched"] = [{"name": "parts", "path": str(tmp_path / "*" / "x.csv")}]
    merge = runner(spec, command="build", select=None)
    assert merge.ok, merge.problems
    assert merge.query("select source from crosswalk order by 1") == [
        ("parts/june/x.csv",),
        ("parts/may/x.csv",),
    ]
