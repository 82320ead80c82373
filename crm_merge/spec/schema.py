"""The JSON Schema of a spec, and docs/spec.md, both from the settings themselves.

python -m crm_merge.spec.schema > docs/spec.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from crm_merge.spec import settings as of
from crm_merge.spec.check import MAY_BE_EMPTY, settings_of
from crm_merge.spec.names import Names, of_project

TITLE = "A crm-merge spec"
WORDS = {
    "array": "list", "object": "block", "string": "text", "boolean": "yes or no", "number": "number", "integer": "whole number",
}  # fmt: skip
# What macros give: what it is called, which names, where docs/spec.md sends to.
NAMED = [
    ("a strategy", "strategies", "[Strategies](matching.md#strategies)"),
    ("a strategy of a field group", "group_strategies", "[Groups](matching.md#groups)"),
    ("a policy", "policies", "[Policies](matching.md#policies)"),
    ("a key type", "key_types", "[Match keys](matching.md#match-keys)"),
]
# The blocks of docs/spec.md: heading, block, what goes before its settings' names.
BLOCKS: list[tuple[str, type[BaseModel], str]] = [
    ("The spec", of.Spec, ""),
    ("Any file", of.File, "original. or enriched[]."),
    ("The original", of.Original, "original."),
    ("A vendor's file", of.Enriched, "enriched[]."),
    ("A key by its type", of.TypeKey, "match_on[]."),
    ("A key that is a column", of.ColumnKey, "match_on[]."),
    ("A key that is the CRM's own id", of.ExternalKey, "match_on[]."),
    ("A field group", of.Group, "groups[]."),
    ("Guards", of.Guards, "guards."),
    ("Export", of.Export, "export."),
    ("Schedule", of.Schedule, "schedule."),
]


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema of a spec, with the names of strategies, policies and key types that the project's macros give."""
    found = with_names(of.Spec.model_json_schema(), of_project())
    for name in MAY_BE_EMPTY:  # it may stand there with nothing behind it
        said = found["properties"][name]
        described = {
            key: said.pop(key) for key in ("description", "examples", "default", "title") if key in said
        }
        found["properties"][name] = {"anyOf": [said, {"type": "null"}]} | described
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | found | {"title": TITLE}


def with_names(found: Any, names: Names) -> Any:
    """Returns a schema with the names of macros where it asks for them: strategies that take an argument are not words alone."""
    if isinstance(found, list):
        return [with_names(one, names) for one in found]
    if not isinstance(found, dict):
        return found
    whole = {key: with_names(value, names) for key, value in found.items() if key != "names"}
    if isinstance(kind := found.get("names"), str):
        whole |= {
            "type": "string",
            "enum": [name for name in getattr(names, kind) if name not in of.WITH_ARGUMENT],
        }
    return whole


def markdown() -> str:
    """Returns docs/spec.md."""
    lines = [
        "# The merge spec",
        "",
        "<!-- Made from crm_merge/spec/settings.py by `make spec`; a test holds it. -->",
        "",
        "A spec is a YAML file. Only `original`, `enriched` and `match_on` are required. A name that is no setting is a mistake.",
        "All mistakes of a spec are told at once, each with its line. Then all misfits of its files are told at once.",
        "",
        "An editor completes and checks a spec by its JSON Schema. `crm-merge schema > spec.schema.json` writes it. The first line of",
        "the spec names it: `# yaml-language-server: $schema=spec.schema.json`.",
        "",
        "| what a spec may name | names | meaning |",
        "|---|---|---|",
        *(
            f"| {what} | {', '.join(f'`{name}`' for name in getattr(of_project(), kind))} | {page} |"
            for what, kind, page in NAMED
        ),
        "",
    ]
    for heading, block, before in BLOCKS:
        inherited = of.File.model_fields if block in (of.Original, of.Enriched) else {}
        lines += [f"## {heading}", "", (block.__doc__ or "").strip().splitlines()[0].replace("``", "`"), ""]
        lines += [
            "| setting | type | what it says | default | accepted | example |",
            "|---|---|---|---|---|---|",
        ]
        for name in settings_of(block):
            if name not in inherited:
                lines.append(row(before if " or " not in before else "", name, block.model_fields[name]))
        lines.append("")
    return "\n".join(lines)


def row(before: str, name: str, field: FieldInfo) -> str:
    """Returns the line of a setting in docs/spec.md."""
    cells = [
        f"`{before}{name}`", kind(field), str(field.description), default(field), re.sub("^(name|give the vendor) ", "", of.accepted(field)),
        f"`{json.dumps(field.examples[0], ensure_ascii=False)}`" if field.examples else "",
    ]  # fmt: skip
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def kind(field: FieldInfo) -> str:
    """Returns a setting's type in words."""
    return " or ".join(dict.fromkeys(kinds(schema_of(field))))


def kinds(found: dict[str, Any]) -> Iterator[str]:
    """Yields the words for the types that a schema takes; nothing at all is none."""
    for one in found.get("anyOf") or found.get("oneOf") or [found]:
        if "$ref" in one:
            yield "block"
        elif "enum" in one:
            yield "text"
        elif one.get("type") != "null":
            yield WORDS[one.get("type", "string")]


def schema_of(field: FieldInfo) -> Any:
    """Returns the schema of one setting, without those of blocks in it."""
    for _, block, _ in BLOCKS:
        for name, other in block.model_fields.items():
            if other is field:
                return block.model_json_schema()["properties"][name]
    return {}


def default(field: FieldInfo) -> str:
    """Returns a setting's default as it would be written; what is not set is detected, or follows from others."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value in (None, "", [], {}, -1, PydanticUndefined) or isinstance(value, BaseModel):
        return ""
    return f"`{json.dumps(value)}`"


if __name__ == "__main__":
    print(markdown(), end="")
