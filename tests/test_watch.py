"""Which merges are due: specs and files in a folder, states that come and go, crons."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta, timezone

import pytest

from crm_merge.home import watch
from crm_merge.merging import protect
from crm_merge.reading import FileProblem, storage
from crm_merge.spec import yaml_file
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
    with pytest.raises(yaml_file.SpecProblem, match=r"m\.yml") as problem:
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


UNUSABLE = {
    "a day that is none": "as_of: 2024-02-30\n",
    "a list as a name": "? [a, b]\n: c\n",
    "a block as a name": "{a: b}: c\n",
    "a number of many digits": f"n: {'9' * 5000}\n",
    "a number that is none": "n: 0b_\n",
    "nobody's folder": "assertions: ~nobody-of-this-name/x.csv\n",
    "a zone that is a folder": 'schedule: {cron: "0 6 * * *", timezone: America}\n',
    "a zone that is long": f'schedule: {{cron: "0 6 * * *", timezone: {"x" * 5000}}}\n',
    "a null in a folder": 'export: {to: "a\\0b"}\n',
    "half a character": 'export: {to: "\\ud800"}\n',
    "aliases without end": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{n}: &{n} [{', '.join(['*' + p] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)
    ),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_spec_that_can_not_be_used_keeps_no_other_from_being_merged(specs, what):
    complete(specs)
    put(specs / "bad.yml", SPEC + UNUSABLE[what])
    found, _ = look({})
    assert [due.name for due in found.due] == ["bad", "m"]
    assert str(specs / "bad.yml") in next(
        spec.problem for spec in watch.dropped({}).specs if spec.name == "bad"
    )
    assert look(found.memory)[0].due == []


def test_a_spec_that_goes_and_comes_back_is_due_again(specs):
    """As while it is uploaded: A, then B, then A again, each time away for a while."""
    keys, memory = [], {}
    for text in ("A", "BB", "A"):
        complete(specs, spec=SPEC + f"# {text}\n")
        os.utime(specs / "m.yml", (NOW.timestamp() - 60,) * 2)
        found, _ = look(memory)
        keys += [due.key for due in found.due]
        (specs / "m.yml").unlink()
        memory = look(found.memory, NOW + timedelta(days=1))[0].memory
    assert len(keys) == len(set(keys)) == 3
    assert look(memory, NOW + timedelta(days=99))[0].memory == {}


@pytest.mark.parametrize(
    "path",
    ["http://example.com/x.csv", "ftp://example.com/x.csv", "s3://A_B/x.csv", "/etc/passwd", "a/\x01.csv"],
)
def test_what_is_wrong_for_good_is_not_waited_for(specs, monkeypatch, path):
    monkeypatch.setenv("CRM_MERGE_INPUT_ROOTS", str(specs))
    complete(specs, spec=SPEC.replace("a/crm.csv", json.dumps(path)))
    found, _ = look({})
    assert [due.name for due in found.due] == ["m"] and found.waits == {}
    assert look(found.memory)[0].due == []


def test_a_clock_that_is_put_back_gives_no_second_tick(specs):
    complete(specs, spec=SPEC + 'schedule: {cron: "30 2 * * *", timezone: Europe/Berlin}\n')
    start = datetime(2026, 10, 24, 20, 0, tzinfo=timezone.utc)
    for file in ("m.yml", "a/crm.csv", "a/v1.csv"):
        os.utime(specs / file, (start.timestamp() - 60,) * 2)
    memory, ticks = look({}, start)[0].memory, []
    for minutes in range(0, 2 * 24 * 60, 10):
        found, _ = look(memory, start + timedelta(minutes=minutes))
        memory = found.memory
        ticks += [due.why for due in found.due]
    assert ticks == [f"its cron's tick of 2026-10-{day} UTC" for day in ("25 00:30", "26 01:30")]


@pytest.mark.parametrize(
    "export", ["export: {to: }", "export: []", "export: {to: ''}", "export:", "export: false"]
)
def test_a_blank_export_is_none(specs, export):
    complete(specs, spec=SPEC + export)
    assert watch.load("m")["export"] == {"to": f"{specs}/m.out/"}


def test_a_spec_that_is_being_written_and_a_file_of_tomorrow(specs):
    complete(specs)
    put(specs / "m.yml", SPEC, age=1)
    put(specs / "a/v1.csv", "email\n", age=-86400)
    found, _ = look({})
    assert found.due == [] and found.waits == {"m": [f"'{specs / 'm.yml'}' is being written"]}


def test_a_spec_that_may_not_be_read_is_read_when_it_may(specs, monkeypatch):
    complete(specs)
    known = {}
    with monkeypatch.context() as patch:
        patch.setattr(storage._Folder, "read", lambda *_: (_ for _ in ()).throw(FileProblem("denied")))
        assert watch.dropped(known).specs[0].problem == "denied"
    assert watch.dropped(known).specs[0].problem == ""


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
    assert protect.reads(path, to) == is_read


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
    assert refused["m.yaml"].endswith("m.yml is called 'm' as well, and goes first")
    # what is watched is what is run
    put(specs / "m.yaml", SPEC + "region: FR\n")
    assert "region" not in watch.dropped({}).specs[0].spec and "region" not in watch.load("m")
    put(specs / "weekly.YML", SPEC)
    assert "must end with .yml or .yaml, in small letters" in watch.dropped({}).refused["weekly.YML"]


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


def test_two_thousand_files_are_looked_at_in_time(specs):
    """A bound on work, not on speed: one look lists each place once."""
    complete(specs, spec=SPEC)
    for k in range(2000):
        put(specs / f"a/v{k}.csv", "email\n")
    started = time.monotonic()
    found, _ = look({})
    assert len(found.due) == 1 and len(found.due[0].files["enriched"]) == 2000
    assert time.monotonic() - started < 60
