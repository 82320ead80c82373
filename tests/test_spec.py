"""The typed spec: all mistakes at once, each with its place; YAML's own mistakes; the schema and the page that are made from it."""

from __future__ import annotations

import copy
import random
import subprocess
import sys

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_merge import PROJECT
from crm_merge.spec import check, schema, yaml_file
from crm_merge.spec.mistakes import Mistake, nearest, path, place
from crm_merge.spec.names import Names, of_project

WHOLE = {
    "original": {"path": "a.csv", "delimiter": "comma", "on_bad_row": "set_aside", "record_id": "Id"},
    "enriched": [
        {"name": "apollo", "path": "b.csv", "price": 10},
        {"name": "z", "path": "c.csv", "columns": {"M": "phone"}, "region": "FR"},
    ],
    "match_on": [
        {"type": "external_id", "original": "Id", "enriched": "crm_id"},
        "email",
        {"type": "domain"},
        {"column": "tax", "compare": "normalized"},
    ],
    "region": "US",
    "strategies": {"default": "first", "title": "longest", "p": {"source_priority": ["z", "apollo"]}, "u": {"most_recent": "u"}},
    "groups": [{"columns": ["a", "b"], "strategy": "most_complete", "allow_fill": False}],
    "overwrite": {"default": "fill", "x": "update"},
    "guards": {
        "hub": {"email": 3, "phone": "off"}, "contradiction": {"phone": "surname"}, "max_entity_size": 50, "blocked": ["x@y.com"],
        "allow_test_addresses": True, "max_reject_rate": 0.1,
    },
    "assertions": "d.csv",
    "export": {"formats": ["csv", "parquet"], "to": "/tmp/x", "partition_by": ["c"], "escape_formulas": True, "bom": False},
    "schedule": {"cron": "0 6 * * *", "timezone": "UTC"},
    "time_limit_minutes": 30,
}  # fmt: skip
VALUES = [
    None, True, False, 0, 1, -1, 2.5, 1e13, float("inf"), float("nan"), "", " ", "x", "off", "first", "longst", "email", "NO", "UK", "us", [], {},
    ["x"], {"x": 1}, ["email"], [None], [1], "0 6 * * *", "99 99 * * *", ";", {"source_priority": ["nobody"]}, {"most_recent": 3}, "csv", ["csv", "csv"],
    [["x"]], [{"x": []}], {"": ""}, "a" * 5000,
]  # fmt: skip


def steps(value, before=()):
    """Every path in a spec."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*before, key)
        yield from steps(item, (*before, key))


def spoilt(seed: int):
    """A whole spec with one to three settings that are replaced, removed or added."""
    chance = random.Random(seed)
    spec = copy.deepcopy(WHOLE)
    for _ in range(chance.choice([1, 1, 2, 3])):
        where = chance.choice(list(steps(spec)))
        block = spec
        for step in where[:-1]:
            block = block[step]
        how = chance.random()
        if how < 0.6:
            block[where[-1]] = copy.deepcopy(chance.choice(VALUES))
        elif how < 0.75:
            del block[where[-1]]
        elif isinstance(block, dict):
            block[chance.choice(["pth", "nme", "foo", "hubs"])] = copy.deepcopy(chance.choice(VALUES))
    return spec


def mistakes(spec) -> list[Mistake]:
    try:
        check.checked(spec)
    except check.WrongSpec as wrong:
        return wrong.mistakes
    return []


def test_a_whole_spec_is_fine_and_is_typed():
    spec = check.checked(WHOLE)
    assert spec.original.record_id == "Id" and spec.enriched[1].columns == {"M": "phone"}
    assert spec.guards.hub == {"email": 3, "phone": None} and spec.assertions == ["d.csv"]
    assert spec.export.formats == ["csv", "parquet"] and spec.schedule.cron == "0 6 * * *"


def test_defaults_are_those_that_the_page_names():
    least = {"original": {"path": "a"}, "enriched": [{"name": "b", "path": "b"}], "match_on": ["email"]}
    spec = check.checked(least)
    assert (spec.guards.max_entity_size, spec.guards.max_reject_rate, spec.time_limit_minutes) == (
        50,
        0.01,
        30,
    )
    assert spec.export.formats == ["csv"] and spec.original.on_bad_row == "refuse"
    assert check.checked(least | {"strategies": None, "guards": {}, "export": None, "assertions": []}) == spec


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_a_spoilt_spec_is_taken_or_told_of(seed):
    """Never a traceback; each mistake is at a setting that stands there, or at one that should, or at its block."""
    spec = spoilt(seed)
    for mistake in mistakes(spec):
        sentence = mistake.sentence()
        assert sentence.startswith(f"{mistake.place}: ") and len(sentence) < 20_000
        assert "Input should" not in sentence and "validation" not in sentence, sentence


def test_all_mistakes_are_told_in_one_round():
    spec = copy.deepcopy(WHOLE)
    spec["enriched"][0]["pth"] = 1
    spec["match_on"][1] = "emial"
    spec["overwrite"]["x"] = "fil"
    spec["guards"]["max_entity_size"] = 0
    spec["schedule"] = "daily"
    spec["region"] = False
    places = {mistake.place for mistake in mistakes(spec)}
    assert places == {
        "enriched[0].pth",
        "match_on[1]",
        "overwrite.x",
        "guards.max_entity_size",
        "schedule",
        "region",
    }


def test_a_mistake_is_data():
    spec = copy.deepcopy(WHOLE)
    spec["strategies"]["title"] = "longst"
    [mistake] = mistakes(spec)
    assert mistake.path == ("strategies", "title") and mistake.nearest == "longest"
    assert "source_priority" in mistake.accepted and mistake.what == 'unknown strategy "longst"'
    [found] = yaml_file.placed([mistake], "a: 1\nstrategies:\n  default: first\n  title: longst\n")
    assert (found.line, found.column) == (4, 3)
    assert place(("enriched", 1, "columns", "A b")) == "enriched[1].columns.A b"
    assert path("enriched[1].columns.A b") == ("enriched", 1, "columns", "A b")


def test_numbers_have_bounds():
    for where, value in (
        (("guards", "max_entity_size"), 10**13), (("original", "header_line"), 10**10), (("time_limit_minutes",), 10_081),
        (("enriched", 0, "price"), float("inf")), (("guards", "max_reject_rate"), float("nan")), (("guards", "hub", "email"), True),
    ):  # fmt: skip
        spec = copy.deepcopy(WHOLE)
        block = spec
        for step in where[:-1]:
            block = block[step]
        block[where[-1]] = value
        assert [mistake.path for mistake in mistakes(spec)] == [where], where


def test_the_nearest_name():
    assert nearest("Longst", ["longest", "last"]) == "longest"
    assert nearest("xyz", ["longest", "last"]) == ""
    assert nearest("x", []) == ""


def test_names_come_from_the_macros_of_the_project():
    """What Python reads from the macros' files is what dbt knows."""
    from crm_merge.engine import manifest

    names = of_project()
    known = [
        macro.name for macro in manifest.load("duckdb").macros.values() if macro.package_name == "crm_merge"
    ]
    assert names.strategies == tuple(
        sorted(n.split("_", 1)[1] for n in known if n.startswith(("prefer_", "fold_")))
    )
    types = {n.split("_", 1)[1] for n in known if n.startswith(("keys_", "stages_"))} - {
        "exact",
        "normalized",
    }
    assert names.key_types == tuple(sorted(types)) == ("domain", "email", "linkedin", "phone")
    assert set(names.group_strategies) | set(names.needs_forms) | set(names.needs_extremes) <= set(
        names.strategies
    )


@pytest.mark.parametrize("name", of_project().strategies)
def test_every_strategy_is_described_and_tried(name):
    """A strategy that is added is described for analysts and readers, and random merges try it against the oracle."""
    from tests import random_merges

    described = (PROJECT / "macros" / "_macros.yml").read_text()
    assert f"- name: prefer_{name}\n" in described or f"- name: fold_{name}\n" in described
    page = (PROJECT / "docs" / "matching.md").read_text().split("## Strategies")[1].split("\n## ")[0]
    assert f"`{name}`" in page or f"`{{{name}: " in page
    assert name in (*random_merges.STRATEGIES, *random_merges.WITH_ARGUMENT)


def test_a_strategy_of_another_project_is_accepted():
    names = Names(("first", "mine"), ("first",), ("email",))
    least = {"original": {"path": "a"}, "enriched": [{"name": "b", "path": "b"}], "match_on": ["email"]}
    assert check.checked(least | {"strategies": {"x": "mine"}}, names).strategies == {"x": "mine"}
    with pytest.raises(check.WrongSpec):
        check.checked(least | {"strategies": {"x": "longest"}}, names)


WRONG_YAML = {
    "a tab": ("original:\n\tpath: a.csv\n", ["line 2: not valid YAML", "(column 1)", "a tab stands where YAML takes spaces only"]),
    "indentation": ("original: {path: a}\n  region: US\n", ["line 2: not valid YAML", "(column 3)", "its indentation does not fit the lines above"]),
    "a bracket": ("match_on: [email\nregion: US\n", ["line 2", "not valid YAML", "the bracket that opens on line 1 is not closed"]),
    "a bracket of a block": ("original: {path: a\n\nregion: US\n", ["not valid YAML", "the bracket that opens on line 1 is not closed"]),
    "twice": ("region: US\nregion: FR\n", ["line 2: 'region' stands twice in one block, first on line 1"]),
    "an alias": ("original: {path: *.csv}\n", ["line 1", "not valid YAML", "quotes"]),
    "a list for a name": ("[a, b]: 1\n", ["line 1: the name of a setting must be a text"]),
    "nothing": ("", ["expected settings such as original, enriched and match_on at the top level, found nothing"]),
    "a block around": ("merge: {original: {path: a}}\n", ["line 1: write the settings at the top level, without `merge:` around them"]),
    "half a character": ('region: "\\ud800"\n', ["half a character"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_YAML)
def test_yaml_is_explained(tmp_path, name):
    text, sentences = WRONG_YAML[name]
    (tmp_path / "s.yml").write_text(text)
    with pytest.raises(yaml_file.SpecProblem) as said:
        yaml_file.load(tmp_path / "s.yml")
    assert all(sentence in str(said.value) for sentence in sentences), str(said.value)


def test_another_encoding_is_explained(tmp_path):
    (tmp_path / "s.yml").write_bytes("region: US\n# für Zoë\n".encode("cp1252"))
    with pytest.raises(
        yaml_file.SpecProblem,
        match=r"line 2, column 4: the byte 0xfc is not UTF-8 \(in cp1252 it is 'ü'\); save",
    ):
        yaml_file.load(tmp_path / "s.yml")
    (tmp_path / "s.yml").write_bytes("region: US\n".encode("utf-16"))
    with pytest.raises(yaml_file.SpecProblem, match="it is UTF-16, and a spec is UTF-8"):
        yaml_file.load(tmp_path / "s.yml")
    (tmp_path / "s.yml").write_bytes(b"\xef\xbb\xbfregion: US\r\n")
    assert yaml_file.load(tmp_path / "s.yml") == {"region": "US"}


def test_the_command_line_tells_all_at_their_lines(tmp_path):
    (tmp_path / "s.yml").write_text(
        "original: {path: a.csv}\nenriched:\n  - name: b\n    path: b.csv\n    pth: 1\nmatch_on:\n  - emial\nregion: UK\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "crm_merge.cli", "validate", str(tmp_path / "s.yml")], cwd=PROJECT, text=True, capture_output=True
    )  # fmt: skip
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and len(lines) == 3, done.stderr
    for line, sentence in zip(
        lines, ("line 5: enriched[0].pth", "line 7: match_on[0]", "line 8: region"), strict=True
    ):
        assert f"s.yml, {sentence}" in line
    assert "dbt" not in done.stderr


def test_a_sentence_of_the_plan_finds_its_line_whatever_a_name_holds():
    text = (
        "strategies:\n  Job: last\n  Job Title (v2.0): first\n  'a: b[0]': last\n"
        "match_on:\n  - email\n  - {column: x}\nenriched:\n  - {path: a, columns: {A.B: c}}\n"
    )
    for begins, line in {
        "strategies.Job Title (v2.0)": 3, "strategies.Job": 2, "strategies.a: b[0]": 4, "strategies.c": 1, "match_on[1].column": 7,
        "match_on[7]": 5, "enriched[0].columns.A.B": 9, "enriched[0]": 9,
    }.items():  # fmt: skip
        problem = f"{begins}: is wrong"
        assert yaml_file.located(problem, "s.yml", text) == f"s.yml, line {line}: {problem}"
    assert yaml_file.located("export.to: is wrong", "s.yml", text) == "s.yml: export.to: is wrong"
    assert yaml_file.located("the disk is full", "s.yml", text) == "the disk is full"
    assert yaml_file.located("original: is wrong", "s.yml", "a: [") == "s.yml: original: is wrong"


def test_mistakes_are_told_in_the_order_of_their_lines():
    text = "region: US\nmatch_on: [emial]\nenriched: [{name: a, path: a, x: 1}]\noriginal: {path: a, y: 1}\n"
    with pytest.raises(check.WrongSpec) as wrong:
        check.checked(yaml.safe_load(text))
    said = yaml_file.told(wrong.value.mistakes, "s.yml", text)
    assert [sentence.split(":")[0] for sentence in said] == [
        "s.yml, line 2",
        "s.yml, line 3",
        "s.yml, line 4",
    ]


def test_what_is_there_and_empty_is_not_called_missing():
    said = [mistake.sentence() for mistake in mistakes({"enriched": [], "match_on": None})]
    assert said == [
        "original: missing; a merge needs original, enriched and match_on",
        "enriched: empty; a merge needs original, enriched and match_on",
        "match_on: empty; a merge needs original, enriched and match_on",
    ]


# -- What is made from the settings --


def test_the_page_is_made_from_the_settings():
    assert (PROJECT / "docs" / "spec.md").read_text() == schema.markdown(), "make spec"


def test_every_setting_has_a_meaning_and_an_example_that_is_right():
    for _, block, _ in schema.BLOCKS:
        for name, field in block.model_fields.items():
            assert field.description and field.description.endswith((".", ")")), (block, name)
            assert field.examples, (block, name)
    for name, field in schema.of.Spec.model_fields.items():
        least = {
            "original": {"path": "a"},
            "enriched": [{"name": "apollo", "path": "b"}],
            "match_on": ["email"],
        }
        assert mistakes(least | {name: field.examples[0]}) == [], name


def test_the_schema_takes_what_is_right_and_refuses_a_name_that_is_no_setting():
    found = schema.json_schema()
    takes = jsonschema.Draft202012Validator(found).is_valid
    least = {"original": {"path": "a"}, "enriched": [{"name": "apollo", "path": "b"}], "match_on": ["email"]}
    assert (
        takes(yaml.safe_load((PROJECT / "seeds/example/merge.yml").read_text()))
        and takes(WHOLE)
        and takes(least)
    )
    for name, field in schema.of.Spec.model_fields.items():
        for example in field.examples:
            assert takes(least | {name: example}), (name, example)
    for more in (
        {"guards": {"hub": False, "max_entity_size": "off", "contradiction": {"phone": False}}}, {"strategies": None}, {"guards": None},
        {"schedule": {"cron": "0 6 * * *", "timezone": "Europe/Berlin"}}, {"assertions": ["a.csv", "b.csv"]}, {"export": {"to": "out"}},
    ):  # fmt: skip
        assert mistakes(least | more) == [] and takes(least | more), more
    for more in (
        {"foo": 1},
        {"guards": {"hubs": {}}},
        {"region": "us"},
        {"strategies": {"title": "longst"}},
        {"strategies": {"title": "most_recent"}},
        {"strategies": {"title": {"most_frequent": 1}}},
        {"groups": [{"columns": ["a"], "strategy": "collect"}]},
        {"overwrite": {"title": "keep"}},
        {"match_on": ["emial"]},
        {"match_on": [{"type": "emial"}]},
        {"guards": {"max_entity_size": 0}},
        {"enriched": []},
    ):
        assert mistakes(least | more) and not takes(least | more), more
    assert set(found["properties"]) == set(schema.of.Spec.model_fields)


def test_names_that_look_like_tags_keep_their_place():
    spec = copy.deepcopy(WHOLE)
    spec["strategies"] = {"~odd": "longst", "[key]": "longst"}
    assert [mistake.path for mistake in mistakes(spec)] == [("strategies", "~odd"), ("strategies", "[key]")]


def test_a_schedule_without_its_cron_is_told_of():
    for schedule in ({"timezone": "Europe/Berlin"}, {}):
        [mistake] = mistakes(WHOLE | {"schedule": schedule})
        assert mistake.sentence().startswith("schedule: missing; the five fields of cron")


def test_a_nul_is_told_of():
    [mistake] = mistakes(WHOLE | {"guards": {"blocked": ["a\0b"]}})
    assert mistake.path == ("guards", "blocked", 0) and "NUL" in mistake.what
