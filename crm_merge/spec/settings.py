"""The settings of a merge spec: type, default, meaning and example of each. The JSON Schema, docs/spec.md and the messages come from here."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    WrapValidator,
)
from pydantic.fields import FieldInfo

from crm_merge import reference
from crm_merge.spec.mistakes import error, shown, unknown

FORMATS = ("csv", "parquet")
# Keys that strangers share: a landline, a company's web site, its page on LinkedIn.
WEAK_TYPES = ("phone", "domain", "linkedin")
MOST_FILES = 2000
MOST_MINUTES = 10_080  # a week
DEFAULT_MINUTES = 30
CRON = re.compile(r"\s*([0-9A-Za-z*,/#-]+\s+){4}[0-9A-Za-z*,/#-]+\s*")


# -- How a setting is checked, and what is said of a value that it does not take --


def told(accepted: str = "", expected: str = "", missing: str = "") -> WrapValidator:
    """Says of any value that a type does not take: that it is not accepted, and what is; or what was expected; or that it is missing."""

    def check(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(value)
        except ValidationError as wrong:
            if any(found["loc"] or found["type"] == "setting" for found in wrong.errors()):
                raise  # it is about something inside
            if missing:
                raise error(f"missing; {missing}") from None
            if expected:
                raise error(f"expected {expected}, found {shown(value)}") from None
            raise error(f"{shown(value)} is not accepted", accepted) from None

    check.accepted = accepted or expected or missing  # type: ignore[attr-defined]
    return WrapValidator(check)


def as_written(value: Any, handler: Callable[[Any], Any]) -> Any:
    """Takes a number as it is written: 10 is not 10.0."""
    handler(value)
    return value


def accepts(what: str) -> Callable[[Any], Any]:
    """Says of a function that checks a setting what it accepts: for the page, and for a setting that is missing."""

    def marked(check: Any) -> Any:
        check.accepted = what
        return check

    return marked


def accepted(field: FieldInfo) -> str:
    """Returns what a setting accepts, as its messages say it; '' if its type says it all."""
    said = [getattr(getattr(rule, "func", None), "accepted", "") for rule in field.metadata]
    return next(filter(None, said), "")


def context_of(info: ValidationInfo) -> dict[str, Any]:
    """Returns what is known beside the spec: the names that macros give, and the vendors of the spec."""
    assert info.context is not None
    return info.context


@accepts("true, false")
def yes_or_no(value: Any) -> bool:
    """Takes true and false, and nothing that only looks like one."""
    if not isinstance(value, bool):
        quoted = isinstance(value, str) and value.lower() in ("true", "false", "yes", "no")
        raise error(
            f"{shown(value)} is not accepted", "true, false" + (" (without quotes)" if quoted else "")
        )
    return value


def one_word_of(*words: str) -> BeforeValidator:
    """Takes one of a few words."""

    @accepts(", ".join(words))
    def check(value: Any) -> Any:
        if value not in words:
            raise error(f"'{value}' is not accepted", ", ".join(words))
        return value

    return BeforeValidator(check)


def is_off(value: Any) -> bool:
    """Says whether a setting is switched off: ``off``, which YAML reads as false, or nothing."""
    return value is None or value is False or value == "off"


def or_off(value: Any) -> Any:
    """Takes what is switched off as None."""
    return None if is_off(value) else value


def as_text(value: Any) -> Any:
    """Takes a bare number of YAML where a name stands as that name."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


@accepts("a two-letter code such as US, GB, FR, DE")
def known_region(value: Any) -> str:
    """Takes a two-letter code of a region that has phone numbers."""
    regions = [name for name in reference.column("phone_regions", "region") if name != "001"]
    if value in regions:
        return str(value)
    hint = ""
    if value is False:
        hint = " (quote it: YAML reads a bare NO as false)"
    elif str(value).upper() in regions:
        hint = f"; did you mean {str(value).upper()}?"
    elif str(value).upper() == "UK":
        hint = "; the United Kingdom is GB"
    raise error(f"{shown(value)} is not a region", f"two-letter codes such as US, GB, FR, DE{hint}")


@accepts("comma, semicolon, tab, pipe, or one ASCII sign")
def one_sign(value: Any) -> str:
    """Takes a delimiter by its name, or one sign that is ASCII, and no letter, digit, quote or line end."""
    if isinstance(value, str) and value in reference.DELIMITERS:
        return str(value)
    is_sign = isinstance(value, str) and len(value) == 1 and not value.isalnum()
    if not is_sign or value in "\"\n\r\\ '" or value > "~":
        raise error(f"{shown(value)} is not accepted", "comma, semicolon, tab, pipe, or one ASCII sign")
    return str(value)


@accepts("the name of a strategy")
def known_strategy(value: Any, info: ValidationInfo) -> Any:
    """Takes the name of a strategy, or {name: argument} of those that want one."""
    names, vendors = context_of(info)["names"].strategies, context_of(info)["vendors"]
    name = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else value
    argument = value[name] if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(name, str) or name not in names:
        raise unknown(f"unknown strategy {shown(name)}", name, names)
    if name == "source_priority":
        if not argument or not isinstance(argument, list):
            raise error(
                f"source_priority needs the files in order: {{source_priority: [{', '.join(vendors)}]}}"
            )
        for file in argument:
            if file not in vendors:
                raise unknown(f"source_priority: there is no file named '{file}'", file, vendors)
    elif name == "most_recent":
        if not isinstance(argument, str) or not argument:
            raise error("most_recent needs the timestamp column: {most_recent: updated_at}")
    elif isinstance(value, dict):
        raise error(f"{name} takes no argument; write it as a plain word")
    return value


@accepts("the name of a strategy that chooses a row")
def strategy_of_rows(value: Any, info: ValidationInfo) -> Any:
    """Takes a strategy that can choose a whole row."""
    names = context_of(info)["names"].group_strategies
    name = next(iter(value)) if isinstance(value, dict) and value else value
    if name not in names:
        raise unknown(f"'{name}' can not choose a row", name, names)
    return known_strategy(value, info)


def known_policy(value: Any, info: ValidationInfo) -> str:
    """Takes the name of a policy."""
    policies = context_of(info)["names"].policies
    if value not in policies:
        raise unknown(f"unknown policy '{value}'", value, policies)
    return str(value)


def known_format(value: Any) -> str:
    """Takes the name of a format that is written."""
    if value not in FORMATS:
        raise unknown(f"unknown format '{value}'", value, FORMATS)
    return str(value)


CRON_FORMS = (
    'the five fields of cron in quotes, such as "0 6 * * *", or {cron: "0 6 * * *", timezone: Europe/Berlin}'
)


@accepts(CRON_FORMS)
def five_fields(value: Any) -> str:
    """Takes the five fields of a cron that is due at some time."""
    if not isinstance(value, str) or not CRON.fullmatch(value):
        raise error(
            f"{shown(value)} is not accepted",
            CRON_FORMS,
        )
    try:
        next(CronSim(value.strip(), datetime.now(timezone.utc)))
    except (CronSimError, StopIteration):
        raise error(f"'{value}' is never due; accepted: the five fields of cron, such as 0 6 * * *") from None
    return value


@accepts("a name such as Europe/Berlin")
def time_zone(value: Any) -> str:
    """Takes the name of a time zone."""
    if not isinstance(value, str):
        raise error(f"{shown(value)} is not accepted", "a name such as Europe/Berlin; without one it is UTC")
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as Europe
        raise error(f"there is no time zone '{value[:80]}'; accepted: a name such as Europe/Berlin") from None
    return value


def weak_type(value: Any) -> Any:
    """Takes a key that strangers share."""
    if value not in WEAK_TYPES:
        raise unknown("only keys that strangers share can contradict", value, WEAK_TYPES)
    return value


def how_names_contradict(value: Any) -> Any:
    """Takes name, surname or off."""
    if is_off(value):
        return "off"
    if value not in ("name", "surname"):
        raise error(f"{shown(value)} is not accepted", "name, surname, off")
    return value


YesNo = Annotated[bool, BeforeValidator(yes_or_no)]
Region = Annotated[
    str, BeforeValidator(known_region), WithJsonSchema({"type": "string", "pattern": "^[A-Z][A-Z]$"})
]
Rate = Annotated[
    float,
    Field(ge=0, le=1, strict=True),
    WrapValidator(as_written),
    told("a share of rows from 0 to 1, such as 0.01 for one in a hundred"),
]
OFF: dict[str, Any] = {"enum": ["off", False, None]}
Limit = Annotated[
    Annotated[int, Field(ge=1, le=1_000_000_000_000, strict=True)] | None,
    BeforeValidator(or_off),
    told("a whole number from 1, or off"),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, OFF]}),
]
Word = Annotated[str, BeforeValidator(as_text), told(expected="the name of a column")]
# The names that macros give are not known here: the schema gets them where it says ``names``.
WITH_ARGUMENT: dict[str, Any] = {
    "source_priority": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    "most_recent": {"type": "string", "minLength": 1},
}
ARGUMENT_SCHEMA = {
    "type": "object", "properties": WITH_ARGUMENT, "additionalProperties": False, "minProperties": 1, "maxProperties": 1,
}  # fmt: skip
Strategy = Annotated[
    Any,
    BeforeValidator(known_strategy),
    WithJsonSchema({"anyOf": [{"names": "strategies"}, ARGUMENT_SCHEMA]}),
]
RowStrategy = Annotated[
    Any, BeforeValidator(strategy_of_rows), WithJsonSchema({"anyOf": [{"names": "group_strategies"}, ARGUMENT_SCHEMA]}),
]  # fmt: skip
Policy = Annotated[str, BeforeValidator(known_policy), WithJsonSchema({"names": "policies"})]
KeyType = Annotated[str, WithJsonSchema({"names": "key_types"})]
Format = Annotated[Literal["csv", "parquet"], BeforeValidator(known_format)]


class Block(BaseModel):
    """A block of settings: a name that is none of them is a mistake."""

    model_config = ConfigDict(extra="forbid")


# -- Inputs --


class File(Block):
    """What may be said of any file. All but ``path`` is detected, so it is set only where that fails or is refused."""

    path: Annotated[
        str, Field(min_length=1, strict=True), told(missing="name a file, a folder or a glob")
    ] = Field(
        description="A file, a folder (every data file in it) or a glob, here or on `s3://`; or one file at `https://`. Relative to the spec.",
        examples=["apollo.csv", "s3://bucket/apollo/*.parquet"],
    )
    delimiter: Annotated[str, BeforeValidator(one_sign)] = Field(
        default="",
        description="What separates cells: `comma`, `semicolon`, `tab`, `pipe`, or the sign itself.",
        examples=["semicolon"],
    )
    encoding: Annotated[str, Field(strict=True), told(expected="a name such as utf-8 or cp1252")] = Field(
        default="", description="How the text is encoded.", examples=["cp1252"]
    )
    header_line: Annotated[
        int,
        Field(ge=0, le=1_000_000_000, strict=True),
        told("the number of the line that holds the header, from 1, or 0 if there is none"),
    ] = Field(
        default=-1,
        description="The line that holds the header, counted from 1; 0 if there is none.",
        examples=[3],
    )
    quoted_newlines: YesNo = Field(
        default=False,
        description="Line breaks in cells are meant: a quote may go on over many lines.",
        examples=[True],
    )
    max_reject_rate: Rate | None = Field(
        default=None,
        description="The share of the file's rows that may be unreadable. For this file it holds instead of `guards.max_reject_rate`.",
        examples=[0.05],
    )
    region: Region = Field(
        default="",
        description="The two-letter region of phone numbers without `+`. It holds instead of the spec's `region`. Where a row names its country, that holds.",
        examples=["FR"],
    )
    columns: Annotated[
        dict[str, Annotated[str | None, BeforeValidator(as_text), told(expected="a column name")]],
        told(expected="{HEADER: column}, such as {Mobile: phone}"),
    ] = Field(
        default={},
        description="What a header means, where its name does not say so.",
        examples=[{"Mobile": "phone"}],
    )


class Original(File):
    """The CRM's export: its rows and columns are the result's."""

    on_bad_row: Annotated[Literal["refuse", "set_aside"], one_word_of("refuse", "set_aside")] = Field(
        default="refuse",
        description="What happens when a row can't be read: the merge is refused, or the row goes to `rejected_rows`.",
        examples=["set_aside"],
    )
    record_id: Annotated[
        str, Field(min_length=1, strict=True), told("the header of the CRM's own id, such as Id")
    ] = Field(
        default="",
        description="The header of the CRM's own id, by which `merge_changes` and `diff` know a row. Without it: the id of an `external_id`, else `record_id` or `id`.",
        examples=["Record ID"],
    )


class Enriched(File):
    """A vendor's file, or a folder or glob of files that are one vendor's."""

    name: Annotated[
        str, Field(pattern=r"\S", strict=True), told(missing="give the vendor a name, such as apollo")
    ] = Field(
        description="What the vendor is called in reports and in `source_priority`.", examples=["apollo"]
    )
    price: Annotated[
        float,
        Field(ge=0, le=1e12, allow_inf_nan=False, strict=True),
        WrapValidator(as_written),
        told("what the file cost, a number such as 1200, in any currency"),
    ] = Field(
        default=0,
        description="What the file cost, for the scorecard's cost per exclusive fill.",
        examples=[1200],
    )


# -- Matching --


class TypeKey(Block):
    """A key by its type, the long way of writing ``email``."""

    type: KeyType = Field(description="The type of the key.", examples=["email"])


class ColumnKey(Block):
    """A column whose cells are a key."""

    column: Annotated[str, Field(strict=True), told(expected="a column name")] = Field(
        description="The column, in the CRM's file and in vendors'.", examples=["tax_no"]
    )
    compare: Annotated[Literal["exact", "normalized"], one_word_of("exact", "normalized")] = Field(
        default="exact",
        description="`exact` ignores outer white space only; `normalized` also case and extra white space.",
        examples=["normalized"],
    )


BOTH = "an external id names both columns: {type: external_id, original: Id, enriched: crm_id}"


class ExternalKey(Block):
    """The CRM's own id, as vendors know it."""

    type: Literal["external_id"] = Field(description="`external_id`.", examples=["external_id"])
    original: Annotated[str, Field(strict=True), told(missing=BOTH)] = Field(
        description="The CRM's column that holds the id.", examples=["Id"]
    )
    enriched: Annotated[str, Field(strict=True), told(missing=BOTH)] = Field(
        description="The vendors' column that holds it.", examples=["crm_id"]
    )


def forms_of_a_key(types: tuple[str, ...]) -> str:
    """Returns how a key may be written."""
    return f"{', '.join(types)}, {{type: external_id, original: Id, enriched: crm_id}}, {{column: tax_no, compare: exact|normalized}}"


def known_key(value: Any, info: ValidationInfo) -> Any:
    """Takes the name of a key type."""
    types = context_of(info)["names"].key_types
    if value not in types:
        raise error(f"unknown key '{value}'; accepted: {forms_of_a_key(types)}")
    return value


def form_of_key(value: Any) -> str:
    """Says which of the ways of writing a key this is; their names are no part of a setting's path."""
    if isinstance(value, str):
        return "~word"
    if isinstance(value, dict) and "column" in value:
        return "~column"
    if isinstance(value, dict) and value.get("type") == "external_id":
        return "~external"
    return "~type"


def type_key(value: Any, handler: Callable[[Any], Any], info: ValidationInfo) -> Any:
    """Takes {type: a key type}."""
    types = context_of(info)["names"].key_types
    if not isinstance(value, dict) or value.get("type") not in types:
        raise error(f"expected a key, found {shown(value)}; accepted: {forms_of_a_key(types)}")
    return handler(value)


Key = Annotated[
    Annotated[KeyType, BeforeValidator(known_key), Tag("~word")]
    | Annotated[TypeKey, WrapValidator(type_key), Tag("~type")]
    | Annotated[ColumnKey, Tag("~column")]
    | Annotated[ExternalKey, Tag("~external")],
    Discriminator(form_of_key),
]


# -- Conflicts --


class Group(Block):
    """Columns that survive together, from one row: an address is not mixed from two."""

    columns: Annotated[
        list[Word], Field(min_length=1), told(expected="a list such as [street, zip, city]")
    ] = Field(description="The columns; each is in one group at most.", examples=[["street", "zip", "city"]])
    strategy: RowStrategy = Field(
        default="first", description="The strategy that chooses the row.", examples=["most_complete"]
    )
    allow_fill: YesNo = Field(
        default=False,
        description="Blank CRM cells of the group may be filled one by one. Without it only if all of them are blank.",
        examples=[True],
    )


# -- Guards --


class Guards(Block):
    """What keeps strangers apart. `hub`, `contradiction` and `max_entity_size` are on unless they are set to `off`."""

    hub: Annotated[
        dict[str, Limit] | None,
        BeforeValidator(or_off),
        told("{KEY: LIMIT}, such as {phone: 3}, or off"),
        WithJsonSchema(
            {
                "anyOf": [
                    {
                        "type": "object",
                        "additionalProperties": {"anyOf": [{"type": "integer", "minimum": 1}, OFF]},
                    },
                    OFF,
                ]
            }
        ),
    ] = Field(
        default={},
        description="A key value on which more different values of another key meet links nothing: the limit by key. Without it: email 5, phone 3, linkedin 5, external_id 10, domain 3, any column 5.",
        examples=[{"phone": 3}],
    )
    contradiction: Annotated[
        dict[
            Annotated[str, BeforeValidator(weak_type)], Annotated[str, BeforeValidator(how_names_contradict)]
        ]
        | None,
        BeforeValidator(or_off),
        told("{phone: name, domain: name, linkedin: name}, or off"),
        WithJsonSchema(
            {
                "anyOf": [
                    {
                        "type": "object",
                        "propertyNames": {"enum": list(WEAK_TYPES)},
                        "additionalProperties": {"enum": ["name", "surname", "off", False, None]},
                    },
                    OFF,
                ]
            }
        ),
    ] = Field(
        default={},
        description="Where names of several people meet on a phone, domain or LinkedIn page, it links only rows of one name: `name`, `surname` or `off` by key. Without it `name`.",
        examples=[{"phone": "surname"}],
    )
    max_entity_size: Limit = Field(
        default=50, description="An entity of more rows with different keys is taken apart.", examples=[100]
    )
    blocked: Annotated[
        list[Annotated[str, Field(pattern=r"\S", strict=True), told(expected="a text in quotes")]],
        told(expected='a list of key values, such as ["+1 212 555 0100", "@reseller.com"]'),
    ] = Field(
        default=[],
        description="Key values that link nothing, as they stand in a cell; `@company.com` is every address there.",
        examples=[["+1 212 555 0100", "@reseller.com"]],
    )
    allow_test_addresses: YesNo = Field(
        default=False, description="Test addresses (`noreply@`, `@example.com`) are keys.", examples=[True]
    )
    max_reject_rate: Rate = Field(
        default=0.01,
        description="The share of a vendor file's rows that may be unreadable before the merge is refused.",
        examples=[0.05],
    )


# -- Running --


class Export(Block):
    """What is written, and where to."""

    formats: Annotated[list[Format], Field(min_length=1), told(expected="a list such as [csv, parquet]")] = (
        Field(default=["csv"], description="The formats of the result.", examples=[["csv", "parquet"]])
    )
    to: Annotated[str, Field(strict=True), told(expected="a folder or s3://bucket/prefix")] = Field(
        default="",
        description="The folder, or `s3://bucket/prefix/`, that the result goes to. Without it `DIR/out`.",
        examples=["s3://bucket/out/"],
    )
    partition_by: Annotated[list[Word], told(expected="a list of columns")] = Field(
        default=[],
        description="Columns by which the Parquet result is cut into folders.",
        examples=[["Country"]],
    )
    escape_formulas: YesNo = Field(
        default=False,
        description="An apostrophe goes before each cell of a CSV that a spreadsheet would take for a formula.",
        examples=[True],
    )
    bom: YesNo = Field(
        default=False, description="Each CSV begins with the UTF-8 mark, for Excel.", examples=[True]
    )


class Schedule(Block):
    """When a deployment runs the merge."""

    cron: Annotated[str, BeforeValidator(five_fields)] = Field(
        description="The five fields of cron.", examples=["0 6 * * *"]
    )
    timezone: Annotated[str, BeforeValidator(time_zone)] = Field(
        default="UTC", description="The time zone that they are in.", examples=["Europe/Berlin"]
    )


SCHEDULE_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object", "additionalProperties": False, "required": ["cron"],
            "properties": {"cron": {"type": "string"}, "timezone": {"type": "string"}},
        },
    ]
}  # fmt: skip


@accepts(CRON_FORMS)
def as_schedule(value: Any) -> Any:
    """Takes a bare cron as {cron: …}."""
    return value if isinstance(value, dict) else {"cron": value}


def a_list(of: str) -> BeforeValidator:
    """Takes a list; says of all else what was expected."""

    def check(value: Any) -> Any:
        if not isinstance(value, list):
            raise error(f"expected a list{of} {shown(value)}")
        return value

    return BeforeValidator(check)


@accepts("a CSV file or a list of them")
def files_of_decisions(value: Any) -> Any:
    """Takes a path, or a list of them."""
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not all(isinstance(item, str) for item in paths):
        raise error(f"expected a CSV file or a list of them, found {shown(value)}")
    return paths


class Spec(Block):
    """A merge: the CRM's file, the vendors' files in order of priority, how they match, and what happens where they disagree."""

    original: Annotated[Original, told(expected="{path: FILE, …}")] = Field(
        description="The CRM's export.", examples=[{"path": "crm_export.csv"}]
    )
    enriched: Annotated[
        list[Annotated[Enriched, told(expected="{name: …, path: FILE}")]],
        Field(min_length=1, max_length=MOST_FILES),
        a_list(" of {name: …, path: FILE}, found"),
    ] = Field(
        description="The vendors' files; their order is their priority.",
        examples=[[{"name": "apollo", "path": "apollo.csv"}]],
    )
    match_on: Annotated[
        list[Key], Field(min_length=1), a_list(", strongest key first, such as [email, phone]; found")
    ] = Field(
        description="The keys, strongest first: a key type, an external id, or a column.",
        examples=[["email", "phone", {"column": "tax_no", "compare": "exact"}]],
    )
    region: Region = Field(
        default="",
        description="The two-letter region of phone numbers without `+`. Without it only those with `+` are keys.",
        examples=["US"],
    )
    strategies: Annotated[dict[str, Strategy], told(expected="{default: first, COLUMN: STRATEGY}")] = Field(
        default={},
        description="Which vendor's value wins: `default`, then by column. Without it `first`.",
        examples=[{"default": "first", "title": "longest"}],
    )
    groups: Annotated[
        list[
            Annotated[
                Group,
                told(expected="{columns: [street, zip, city], strategy: most_complete, allow_fill: false}"),
            ]
        ],
        a_list(" of {columns: [...], strategy: …}, found"),
    ] = Field(
        default=[],
        description="Columns that survive together.",
        examples=[[{"columns": ["street", "zip", "city"], "strategy": "most_complete"}]],
    )
    overwrite: Annotated[dict[str, Policy], told(expected="{default: fill, COLUMN: POLICY}")] = Field(
        default={},
        description="What may happen to the CRM's own cell: `default`, then by column. Without it `fill`.",
        examples=[{"default": "fill", "status": "update"}],
    )
    guards: Annotated[Guards, told(expected="settings such as {hub: {phone: 3}, max_entity_size: 50}")] = (
        Field(
            default_factory=Guards,
            description="What keeps strangers apart.",
            examples=[{"hub": {"phone": 5}}],
        )
    )
    assertions: Annotated[
        list[str],
        BeforeValidator(files_of_decisions),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = Field(
        default=[],
        description="A CSV file, or a list of them, with what people decided: rows that must, or must not, be linked.",
        examples=["decisions.csv"],
    )
    export: Annotated[Export, told(expected="{formats: [csv, parquet]}")] = Field(
        default_factory=Export,
        description="What is written, and where to.",
        examples=[{"formats": ["csv", "parquet"]}],
    )
    schedule: Annotated[Schedule | None, BeforeValidator(as_schedule), WithJsonSchema(SCHEDULE_SCHEMA)] = (
        Field(
            default=None,
            description="When a deployment runs the merge: a cron (UTC), or `{cron: …, timezone: …}`.",
            examples=["0 6 * * *"],
        )
    )
    time_limit_minutes: Annotated[
        float,
        Field(gt=0, le=MOST_MINUTES, strict=True, allow_inf_nan=False),
        told("a number of minutes above 0, at most 10080, which is a week; without it 30"),
    ] = Field(
        default=DEFAULT_MINUTES,
        description="How many minutes a run of a deployment may take.",
        examples=[120],
    )
