"""Which merges are due: specs and files in a folder, states that come and go, crons."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone

import pytest

from orchestration import spec_file, watch
from tests.servers import ACCESS_KEY, SECRET_KEY, s3_server

SPEC = "original: {path: a/crm.csv}\nenriched: [{name: v, path: 'a/v*.csv'}]\nmatch_on: [email]\n"
NOW = datetime(2026, 11, 27, 6, 30, tzinfo=timezone.utc)


@pytest.fixture
def specs(tmp_path, monkeypatch):
    folder = tmp_path / "specs"
    (folder / "a").mkdir(parents=True)
    monkeypatch.setenv("CRM_MERGE_SPECS", str(folder))
    monkeypatch.setenv("CRM_MERGE_HOME", str(tmp_path / "home"))
    return folder


def put(path, text, age=60.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    when = NOW.timestamp() - age
    os.utime(path, (when, when))


def complete(specs, name="m", spec=SPEC):
    put(specs / "a/crm.csv", "Email\na@x.com\n")
    put(specs / "a/v1.csv", "email\na@x.com\n")
    put(specs / f"{name}.yml", spec)


def look(memory, now=NOW):
    lying = watch.dropped({})
    return watch.look(lying, memory, now), lying.refused


def test_a_new_spec_is_due_once(specs):
    complete(specs)
    first, _ = look({})
    assert [(due.name, due.why, due.minutes) for due in first.due] == [("m", "it is new", 30)]
    assert set(first.due[0].files) == {"original", "enriched"}
    assert look(first.memory)[0].due == []
    # asked again with what was remembered before, as after a crash, it has the same key
    assert look({})[0].due[0].key == first.due[0].key


@pytest.mark.parametrize(
    "change",
    [
        lambda specs: put(specs / "a/v1.csv", "email\nb@x.com\nc@x.com\n"),
        lambda specs: put(specs / "a/v2.csv", "email\nb@x.com\n"),
        lambda specs: put(specs / "a/crm.csv", "Email\nb@x.com\nc@x.com\n"),
        lambda specs: put(specs / "m.yml", SPEC + "region: FR\n"),
        lambda specs: (specs / "a/v1.csv").rename(specs / "a/v3.csv"),
    ],
)
def test_a_change_of_the_spec_or_of_a_file_is_due_once(specs, change):
    complete(specs)
    first, _ = look({})
    change(specs)
    second, _ = look(first.memory)
    assert [due.why for due in second.due] == ["its spec or a file has changed"]
    assert second.due[0].key != first.due[0].key
    assert look(second.memory)[0].due == []


def test_a_state_that_comes_back_is_due_again(specs):
    complete(specs)
    keys, memory = [], {}
    for text in ("email\na@x.com\n", "email\nb@x.com\nc@x.com\n", "email\na@x.com\n"):
        with (specs / "a/v1.csv").open("r+") as file:  # the same inode
            file.truncate()
            file.write(text)
        os.utime(specs / "a/v1.csv", (NOW.timestamp() - 60,) * 2)
        found, _ = look(memory)
        memory = found.memory
        keys += [due.key for due in found.due]
    assert len(keys) == len(set(keys)) == 3


def test_files_that_are_not_there_are_waited_for(specs):
    put(specs / "m.yml", SPEC)
    found, _ = look({})
    assert (
        found.due == []
        and "there is no file" in found.waits["m"][0]
        and "no file matches" in found.waits["m"][1]
    )
    complete(specs)
    assert [due.name for due in look(found.memory)[0].due] == ["m"]


def test_a_file_that_is_being_written_is_waited_for(specs):
    complete(specs)
    put(specs / "a/v1.csv", "email\na@x", age=1)
    found, _ = look({})
    assert found.due == [] and found.waits["m"] == [f"'{specs / 'a/v1.csv'}' is being written"]
    assert [due.name for due in look(found.memory, NOW + timedelta(seconds=10))[0].due] == ["m"]


def test_a_cron_is_due_at_its_ticks(specs):
    complete(specs, spec=SPEC + 'schedule: {cron: "0 6 * * *", timezone: Europe/Berlin}\n')
    first, _ = look({})
    assert [due.why for due in first.due] == ["it is new"]  # the tick of this morning is not made up for
    assert look(first.memory, datetime(2026, 11, 28, 4, 59, tzinfo=timezone.utc))[0].due == []
    # 06:00 in Berlin is 05:00 in UTC; several days that were missed count once
    second, _ = look(first.memory, datetime(2026, 11, 30, 5, 1, tzinfo=timezone.utc))
    assert [due.why for due in second.due] == ["its cron's tick of 2026-11-30 05:00 UTC"]
    assert look(second.memory, datetime(2026, 11, 30, 5, 2, tzinfo=timezone.utc))[0].due == []


def test_a_tick_and_a_change_are_one_run(specs):
    complete(specs, spec=SPEC + 'schedule: "0 6 * * *"\n')
    first, _ = look({})
    put(specs / "a/v1.csv", "email\nb@x.com\nc@x.com\n")
    assert len(look(first.memory, NOW + timedelta(days=1))[0].due) == 1


def test_a_tick_waits_for_files(specs):
    complete(specs, spec=SPEC + 'schedule: "0 6 * * *"\n')
    first, _ = look({})
    (specs / "a/v1.csv").rename(specs / "a/away")
    waiting, _ = look(first.memory, NOW + timedelta(days=1))
    assert waiting.due == [] and list(waiting.waits) == ["m"]
    (specs / "a/away").rename(specs / "a/v1.csv")
    assert [due.why[:16] for due in look(waiting.memory, NOW + timedelta(days=1))[0].due] == [
        "its cron's tick "
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("original: [", "line 1: not valid YAML"),
        ("- 1", "expected settings such as original"),
        (SPEC + 'schedule: "0 25 * * *"', "is never due; accepted: the five fields of cron"),
        (SPEC + 'schedule: {cron: "0 6 * * *", timezone: Berlin}', "there is no time zone 'Berlin'"),
        (SPEC + "export: {to: /etc}", "export.to: '/etc' is not where this deployment may write"),
        (SPEC + "export: {to: ../elsewhere}", "is not where this deployment may write"),
    ],
)
def test_a_spec_that_is_wrong_is_due_so_that_its_run_says_why(specs, text, sentence):
    complete(specs, spec=text)
    found, _ = look({})
    assert [due.name for due in found.due] == ["m"]
    with pytest.raises(spec_file.SpecProblem, match=r"m\.yml") as problem:
        watch.load("m")
    assert sentence in str(problem.value)
    assert look(found.memory)[0].due == []


def test_the_result_goes_beside_the_spec_unless_it_says_where(specs):
    complete(specs, "acme/weekly", SPEC.replace("a/", "../a/"))
    assert watch.load("acme/weekly")["export"]["to"] == str(specs / "acme/weekly.out/") + "/"
    put(specs / "m.yml", SPEC + "export: {to: 's3://bucket/out/'}")
    assert watch.load("m")["export"]["to"] == "s3://bucket/out/"
    with pytest.raises(watch.SpecMissing, match="there is no spec 'gone'"):
        watch.load("gone")


@pytest.mark.parametrize(
    ("path", "to", "is_read"),
    [
        ("/s/in/crm.csv", "/s/m.out/", False),
        ("/s/in", "/s/m.out", False),
        ("/s/", "/s/m.out/", True),  # a folder is all that is below it
        ("/s/**/*.csv", "/s/m.out/", True),
        ("/s/*.csv", "/s/m.out/", False),
        ("/s/*", "/s/m.out/", True),  # it may mean folders
        ("/s/in/*.csv", "/s/in/", True),
        ("s3://b/in/v*.csv", "s3://b/in/", True),  # vendor_scorecard.csv
        ("s3://b/in/apollo*.csv", "s3://b/in/", False),  # nothing that is published is called so
        ("s3://b/in/", "s3://b/in/deep/out/", True),
        ("s3://b/in", "s3://b/inner/", False),
    ],
)
def test_a_result_that_would_be_read_again(path, to, is_read):
    assert watch.reads(path, to) == is_read


def test_a_spec_that_would_feed_itself_is_refused(specs):
    complete(specs, spec=SPEC.replace("'a/v*.csv'", "'.'"))
    assert "each result would make the next merge due" in watch.dropped({}).specs[0].problem


def test_names_that_can_not_be_names(specs):
    complete(specs)
    for name in ("a...b.yml", ".hidden.yml", "m.yaml"):
        put(specs / name, SPEC)
    found, refused = look({})
    assert [due.name for due in found.due] == ["m"]
    assert "by which Dagster names ranges" in refused["a...b.yml"]
    assert "is called 'm' already" in (refused.get("m.yaml") or refused["m.yml"])


def test_a_spec_that_did_not_change_is_not_read_again(specs):
    complete(specs)
    known = {}
    first = watch.dropped(known).specs
    assert watch.dropped(known).specs[0] is first[0]
    put(specs / "m.yml", SPEC + "region: FR\n")
    assert watch.dropped(known).specs[0].spec["region"] == "FR"
    (specs / "m.yml").unlink()
    assert watch.dropped(known).specs == [] and known == {}


def test_what_a_listing_told_of_is_not_asked_for_again(tmp_path, monkeypatch):
    (tmp_path / "crm/in/a").mkdir(parents=True)
    for name in ("crm.csv", "v1.csv"):
        (tmp_path / "crm/in/a" / name).write_text("email\na@x.com\n")
    (tmp_path / "crm/in/m.yml").write_text(SPEC.replace("v*", "v1"))
    with s3_server(tmp_path) as url:
        for name, value in {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1",
                            "AWS_ENDPOINT_URL_S3": url, "CRM_MERGE_SPECS": "s3://crm/in"}.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        lying = watch.dropped({})
        assert sorted(lying.versions) == [
            "s3://crm/in/a/crm.csv",
            "s3://crm/in/a/v1.csv",
            "s3://crm/in/m.yml",
        ]
        by_listing = watch.look(lying, {}, NOW).due[0]
        lying.versions.clear()
        assert (
            watch.look(lying, {}, NOW).due[0].key == by_listing.key
        )  # asked one by one, the versions are the same
        lying.specs[0].spec["enriched"][0]["path"] = "s3://crm/in/a/v9.csv"
        assert "there is no file 's3://crm/in/a/v9.csv'" in watch.look(lying, {}, NOW).waits["m"][0]


def test_time_limits(specs):
    assert [watch.time_limit({"time_limit_minutes": limit}) for limit in (5, 0.5, 0, "x", True, None)] == [
        5,
        0.5,
        30,
        30,
        30,
        30,
    ]
    assert watch.time_limit({}) == 30


def test_ten_thousand_files_are_looked_at_in_time(specs):
    """A bound on work, not on speed: one look lists each place once."""
    complete(specs, spec=SPEC)
    for k in range(2000):
        put(specs / f"a/v{k}.csv", "email\n")
    started = time.monotonic()
    found, _ = look({})
    assert len(found.due) == 1 and len(found.due[0].files["enriched"]) == 2000
    assert time.monotonic() - started < 60
