"""Random merges for property tests: a few people whose cells are shared, respelled, missing or nonsense."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from tests import oracle
from tests.oracle import Table

SEEDS = oracle.load_seeds(Path(__file__).parent.parent / "seeds/reference")
PEOPLE = 6
SENTINELS = ["n/a", "NULL", " - ", "unknown"]
BLANKS = ["", "", " ", "\t", "\u00a0", "\u200b"]
ODD = [
    "Zoë",
    "Zoe\u0308",
    " Zoë ",
    "zoë",
    "O'Neil",
    'say "hi"',
    "a,b",
    "two\nlines",
    "x;y",
    "Null",
    "Na",
    "0012",
    "1e5",
    "日本",
    "{{ x }}",
    "'; drop table x",
]
COLUMNS = ["title", "street", "zip", "city", "employees", "notes", "updated_at"]
# How files name people: one surname in two spellings, one given name in two, surnames that are sentinels.
SURNAMES = ["Doe", " DOE ", "Döe", "Roe", "O'Neil", "van Roe", "Null"]
GIVENS = ["Ann", "Ánn", "ann  marie", "Bob", "B."]
FULLS = ["Ann Doe", "Doe, Ann X", "Bob Marie Doe", "Roe", "Doe,", "O'Neil , Bob", "ann van Roe"]
NAMES = [
    ["first_name", "last_name"],
    ["full_name"],
    ["contact_name"],
    ["last_name", "full_name"],
    ["first_name"],
    [],
]
STRATEGIES = [
    "first",
    "last",
    "longest",
    "most_complete",
    "most_frequent",
    "unanimous",
    "collect",
    "min",
    "max",
]
WITH_ARGUMENT = ["source_priority", "most_recent"]
POLICIES = ["fill", "update", "suffix", "replace"]

EMAILS = [f"p{i}@firm{i % 3}.com" for i in range(PEOPLE)] + [f"p.{i}@gmail.com" for i in range(PEOPLE)]
PHONES = [f"21255501{i:02d}" for i in range(PEOPLE)]
SLUGS = [f"person-{i}" for i in range(PEOPLE)]
TAXES = [f"T {i}" for i in range(PEOPLE)]
TEST_EMAILS = ["info@firm1.com", "noreply@firm1.com", "test@test.com", "someone@example.com"]
FAKE_PHONES = ["2345678901", "7654321098", "+33 6 66 66 66 66", "2.125550101E+09", "6.12E+11"]

GUARDS_OFF: dict[str, Any] = {"hub": "off", "contradiction": "off", "max_entity_size": "off"}


@dataclass
class Case:
    """A spec without paths, the original, and the vendors' tables in order."""

    spec: dict[str, Any]
    original: Table
    enriched: list[tuple[str, Table]] = field(default_factory=list)


def blank() -> st.SearchStrategy[str]:
    return st.sampled_from(BLANKS + SENTINELS)


@st.composite
def email(draw: st.DrawFn) -> str:
    address = draw(st.sampled_from([*EMAILS, *TEST_EMAILS, "not an address", "a@b@c.com"]))
    spelling = draw(
        st.sampled_from(
            ["{}", " {} ", "mailto:{}", "Doe, J <{}>", "{}\u00a0", "\u200b{}", "{};", "{}, other@x.org"]
        )
    )
    address = address.upper() if draw(st.booleans()) else address
    if address.lower().endswith("@gmail.com") and draw(st.booleans()):
        address = address.replace("@", "+tag@").replace(".", "", 1).replace("gmail", "googlemail")
    return spelling.format(address)


@st.composite
def phone(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(FAKE_PHONES))
    number = draw(st.sampled_from(PHONES))
    spelling = draw(
        st.sampled_from(
            [
                "{0}",
                "+1{0}",
                "+1 ({1}) {2}-{3}",
                "({1}) {2}-{3}",
                "001{0}",
                "1-{1}-{2}-{3}",
                "{1}.{2}.{3}",
                "{1} {2} {3} x12",
            ]
        )
    )
    return spelling.format(number, number[:3], number[3:6], number[6:])


@st.composite
def linkedin(draw: st.DrawFn) -> str:
    slug = draw(st.sampled_from(SLUGS))
    spelling = draw(
        st.sampled_from(
            [
                "https://www.linkedin.com/in/{}",
                "linkedin.com/in/{}/",
                "HTTPS://fr.LinkedIn.com/in/{}?trk=x",
                "linkedin.com/in/{}/en",
                "http://linkedin.com/",
            ]
        )
    )
    return spelling.format(slug.upper() if draw(st.booleans()) else slug)


def tax() -> st.SearchStrategy[str]:
    return st.sampled_from(TAXES + [f" {tax} " for tax in TAXES] + ["t 1", "T  1"])


def value() -> st.SearchStrategy[str]:
    dates = ["2024-01-01", "2023-05-06T07:08:09", "2024-01-01 00:00:01", "05/06/2024"]
    dates += [
        "2024-01-01T01:00+02:00",
        "2023-12-31T23:30:00.1234567-0100",
        "2024-01-01Z",
        "2024-01-01 00:00:01 UTC",
    ]
    return st.sampled_from(ODD + dates + ["CEO", "ceo ", "Chief  Executive", "10", "200"])


def cells(column: str) -> st.SearchStrategy[str]:
    """Cells of a column, blank about a third of the time."""
    kind = {"Email 1": email(), "email": email(), "work_email": email(), "Phone": phone(), "telephone": phone(),
            "LinkedIn": linkedin(), "linkedin_url": linkedin(), "Tax No": tax(), "tax_no": tax(),
            "crm_id": st.sampled_from(["1", "2", "3", "01"]),
            **dict.fromkeys(["First Name", "first_name"], st.sampled_from(GIVENS)),
            **dict.fromkeys(["Last Name", "last_name"], st.sampled_from(SURNAMES)),
            **dict.fromkeys(["Full Name", "full_name", "contact_name"], st.sampled_from(FULLS))}.get(column, value())  # fmt: skip
    return st.one_of(kind, kind, blank())


def crowded_cells(column: str) -> st.SearchStrategy[str]:
    """Cells that strangers share, so that guards have something to do: two numbers, few blanks, plain spellings."""
    emails = [*EMAILS[:PEOPLE], *EMAILS[:PEOPLE], *TEST_EMAILS[:2], ""]
    numbers = [*PHONES[:2] * 4, FAKE_PHONES[0], FAKE_PHONES[3], ""]
    slugs = [*(f"linkedin.com/in/{slug}" for slug in SLUGS[:3]), "", ""]
    kind = {"Email 1": emails, "email": emails, "work_email": emails, "Phone": numbers, "telephone": numbers,
            "LinkedIn": slugs, "linkedin_url": slugs}.get(column)  # fmt: skip
    return st.sampled_from(kind) if kind else cells(column)


@st.composite
def tables(draw: st.DrawFn, keys: list[str], others: list[str], most: int, crowded: bool = False) -> Table:
    headers = keys + draw(st.lists(st.sampled_from(others), unique=True, max_size=1 if crowded else 5))
    headers = draw(st.permutations(headers))
    n = draw(st.integers(3 if crowded else 0, most))
    kinds = [crowded_cells(header) if crowded else cells(header) for header in headers]
    rows = [[draw(kind) for kind in kinds] for _ in range(n)]
    return Table(list(headers), rows)


@st.composite
def strategies_of(draw: st.DrawFn, vendors: list[str]) -> Any:
    name = draw(st.sampled_from([*STRATEGIES, *WITH_ARGUMENT]))
    if name == "source_priority":
        return {name: draw(st.lists(st.sampled_from(vendors), unique=True, min_size=1))}
    return {name: "updated_at"} if name == "most_recent" else name


def labels_of(spec: dict[str, Any]) -> list[str]:
    return [oracle.tier_label(tier) for tier in oracle.read_tiers(spec)]


@st.composite
def guards(draw: st.DrawFn, labels: list[str]) -> dict[str, Any]:
    """Limits so small that a few rows break them; each may be left at its default or switched off."""
    limits = st.sampled_from([1, 1, 2, 3, "off"])
    modes = st.sampled_from(["name", "surname", "off"])
    blocks = ["P0@Firm0.com", "@firm1.com", "@googlemail.com"]
    blocks += ["(212) 555-0101", "+1 212 555 0102"] if "phone" in labels else []
    blocks += ["T 2", "1"] if "tax_no" in labels else []
    settings = {
        "hub": st.one_of(st.just("off"), st.dictionaries(st.sampled_from(labels), limits, min_size=1)),
        "max_entity_size": st.sampled_from([1, 2, 3, 4, 5, 6, "off"]),
        "blocked": st.lists(st.sampled_from(blocks), unique=True, max_size=2),
        "allow_test_addresses": st.booleans(),
    }
    if "phone" in labels:
        settings["contradiction"] = st.one_of(st.just("off"), st.fixed_dictionaries({"phone": modes}))
    return draw(st.fixed_dictionaries({}, optional=settings))


@st.composite
def raised(draw: st.DrawFn, labels: list[str]) -> tuple[dict, dict]:
    """The same guard twice, the second time with a higher limit; the others are off."""
    limits = [1, 2, 3, "off"]
    low = draw(st.integers(0, 2))
    high = draw(st.integers(low + 1, 3))
    label = draw(st.sampled_from(labels))
    modes = ["name", "surname", "off"]
    mode = draw(st.integers(0, 1))
    kinds = {
        "hub": ({label: limits[low]}, {label: limits[high]}),
        "max_entity_size": (limits[low], limits[high]),
        "blocked": (["@firm1.com", "P0@Firm0.com"], draw(st.sampled_from([["@firm1.com"], []]))),
        "allow_test_addresses": (False, True),
    }
    if "phone" in labels:
        kinds["contradiction"] = ({"phone": modes[mode]}, {"phone": modes[draw(st.integers(mode + 1, 2))]})
    kind = draw(st.sampled_from(list(kinds)))
    off = dict.fromkeys(labels, "off")
    before, after = kinds[kind]
    if kind == "hub":
        before, after = off | before, off | after
    return GUARDS_OFF | {kind: before}, GUARDS_OFF | {kind: after}


@st.composite
def ends(draw: st.DrawFn, case: Case, of_original: bool = True) -> tuple[str, str, str]:
    """(source, row, key) of an end of a decision: a row that exists, or a key that may be nobody's."""
    files = {"original": case.original} if of_original else {}
    rows = [(s, str(n + 1)) for s, t in (files | dict(case.enriched)).items() for n in range(len(t.rows))]
    if rows and draw(st.booleans()):
        return (*draw(st.sampled_from(rows)), "")
    cells = {"email": EMAILS, "phone": [f"({n[:3]}) {n[3:]}" for n in PHONES], "linkedin": [f"linkedin.com/in/{s}" for s in SLUGS],
             "tax_no": TAXES, "external_id": ["1", "2"]}  # fmt: skip
    label = draw(st.sampled_from(labels_of(case.spec)))
    return "", "", f"{label}:{draw(st.sampled_from(cells[label]))}"


@st.composite
def assertions(draw: st.DrawFn, case: Case) -> list[dict[str, str]]:
    """A few lines of decisions, as its file's rows; they may contradict each other."""
    lines = []
    for _ in range(draw(st.integers(0, 3))):
        decision = draw(st.sampled_from(["must_link", "must_link", "cannot_link", "cannot_link", ""]))
        a = draw(ends(case))
        b = draw(ends(case, of_original=a[0] != "original").filter(lambda b, a=a: b != a))
        names = ["a_source", "a_row", "a_key", "b_source", "b_row", "b_key"]
        lines.append({"decision": decision, **dict(zip(names, [*a, *b], strict=True)), "note": "who said so"})
    return lines


def is_refused(case: Case) -> bool:
    """Its decisions contradict each other."""
    try:
        oracle.merge(case.spec, case.original, case.enriched, **SEEDS)
    except ValueError:
        return True
    return False


@st.composite
def guarded(
    draw: st.DrawFn,
    policies: list[str] | None = None,
    keys_only: bool = False,
    match_on: list[str] | None = None,
) -> Case:
    """Random merges with guards of every kind, and decisions that don't contradict each other."""
    case = draw(merges(policies, keys_only, match_on, crowded=draw(st.integers(0, 3)) > 0))
    sizes = st.sampled_from([1, 2, 2, 3, 4, 6])
    case.spec["guards"] = draw(
        st.one_of(
            st.just({}),  # the defaults
            guards(labels_of(case.spec)),
            guards(labels_of(case.spec)),
            sizes.map(lambda size: GUARDS_OFF | {"max_entity_size": size}),  # hubs make entities that large
        )
    )
    lines = draw(assertions(case))
    if lines:
        case.spec["assertions"] = lines
        assume(not is_refused(case))
    return case


@st.composite
def merges(
    draw: st.DrawFn,
    policies: list[str] | None = None,
    keys_only: bool = False,
    match_on: list[str] | None = None,
    crowded: bool = False,
) -> Case:
    """Random merges, guards off; the columns a spec names are in at least one vendor file."""
    vendors = draw(st.sampled_from([["a"], ["a", "b"], ["b", "a", "c"]]))
    keys = ["Id", "Email 1", "Phone", "LinkedIn", "Tax No"]
    people = ["First Name", "Last Name", "Full Name"]
    data = ["Title", "Street", "ZIP", "City", "Employees", "own column"]
    if crowded:
        keys, people = keys + people[:2], people[2:]
    original = draw(tables(keys, people + data, 8, crowded))
    for number, row in enumerate(original.rows, start=1):
        row[original.headers.index("Id")] = str(number)
    enriched = []
    vendor_keys = [
        ["work_email", "telephone"],
        ["email", "linkedin_url", *(["telephone"] if crowded else [])],  # a file needs a key of match_on
        ["email", "telephone", "linkedin_url", "tax_no", "crm_id"],
    ]
    for name in vendors:
        keys = draw(st.sampled_from(vendor_keys)) + draw(st.sampled_from(NAMES[:4] if crowded else NAMES))
        enriched.append((name, draw(tables([*keys, "updated_at"], COLUMNS[:-1], 8, crowded))))
    others = [*COLUMNS, "first_name", "last_name"]
    present = sorted({header for _, table in enriched for header in table.headers if header in others})
    tiers: list[Any] = ["email", "phone", "linkedin"]
    if any("tax_no" in table.headers for _, table in enriched):
        tiers.append({"column": "tax_no", "compare": draw(st.sampled_from(["exact", "normalized"]))})
        tiers.append({"type": "external_id", "original": "Id", "enriched": "crm_id"})
    always = "phone" if crowded else "email"
    chosen = [tier for tier in draw(st.permutations(tiers)) if tier == always or draw(st.booleans())]
    spec: dict[str, Any] = {
        "region": "US",
        "match_on": match_on or chosen,
        "enriched": [{"name": name} for name in vendors],
        "guards": dict(GUARDS_OFF),
    }
    if keys_only:
        return Case(spec, original, enriched)
    grouped = [c for c in ("street", "zip", "city") if c in present]
    if len(grouped) > 1 and draw(st.booleans()):
        strategy = draw(
            st.sampled_from(
                [
                    "first",
                    "last",
                    "longest",
                    "most_complete",
                    {"most_recent": "updated_at"},
                    {"source_priority": vendors[::-1]},
                ]
            )
        )
        spec["groups"] = [{"columns": grouped, "strategy": strategy, "allow_fill": draw(st.booleans())}]
    free = [c for c in [*present, "email", "phone"] if c not in grouped or "groups" not in spec]
    free = [
        c
        for c in free
        if c in present
        or any(
            h in ("email", "work_email") if c == "email" else h == "telephone"
            for _, t in enriched
            for h in t.headers
        )
    ]
    spec["strategies"] = {"default": draw(strategies_of(vendors))} | {
        c: draw(strategies_of(vendors)) for c in free if draw(st.booleans())
    }
    allowed = policies or POLICIES
    spec["overwrite"] = {"default": draw(st.sampled_from(allowed))} | {
        c: draw(st.sampled_from(allowed)) for c in present if draw(st.booleans())
    }
    return Case(spec, original, enriched)


@st.composite
def audited(draw: st.DrawFn) -> Case:
    """Random merges with what only the audit asks for: prices, a record id, rows that repeat an earlier one."""
    case = draw(st.one_of(merges(), merges(), guarded()))
    blocks = case.spec.setdefault("enriched", [{"name": name} for name, _ in case.enriched])
    for block, (_, table) in zip(blocks, case.enriched, strict=True):
        if draw(st.booleans()):
            block["price"] = draw(st.sampled_from([0, 10, 99.5]))
        if table.rows and not case.spec.get("assertions"):
            table.rows += [list(draw(st.sampled_from(table.rows))) for _ in range(draw(st.integers(0, 2)))]
    if draw(st.booleans()):
        case.spec["original"] = {"record_id": draw(st.sampled_from(["Email 1", "Id"]))}
    return case
