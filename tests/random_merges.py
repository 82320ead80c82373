"""Random merges for property tests: a few people whose cells are shared, respelled, missing or nonsense."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.oracle import Table

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
COLUMNS = ["first_name", "title", "street", "zip", "city", "employees", "notes", "updated_at"]
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
POLICIES = ["fill", "update", "suffix", "replace"]

EMAILS = [f"p{i}@firm{i % 3}.com" for i in range(PEOPLE)] + [f"p.{i}@gmail.com" for i in range(PEOPLE)]
PHONES = [f"21255501{i:02d}" for i in range(PEOPLE)]
SLUGS = [f"person-{i}" for i in range(PEOPLE)]
TAXES = [f"T {i}" for i in range(PEOPLE)]


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
    address = draw(st.sampled_from([*EMAILS, "info@firm1.com", "not an address", "a@b@c.com"]))
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
    return st.sampled_from(ODD + dates + ["CEO", "ceo ", "Chief  Executive", "10", "200"])


def cells(column: str) -> st.SearchStrategy[str]:
    """Cells of a column, blank about a third of the time."""
    kind = {"Email 1": email(), "email": email(), "work_email": email(), "Phone": phone(), "telephone": phone(),
            "LinkedIn": linkedin(), "linkedin_url": linkedin(), "Tax No": tax(), "tax_no": tax(),
            "crm_id": st.sampled_from(["1", "2", "3", "01"])}.get(column, value())  # fmt: skip
    return st.one_of(kind, kind, blank())


@st.composite
def tables(draw: st.DrawFn, keys: list[str], others: list[str], most: int) -> Table:
    headers = keys + draw(st.lists(st.sampled_from(others), unique=True, max_size=5))
    headers = draw(st.permutations(headers))
    n = draw(st.integers(0, most))
    return Table(list(headers), [[draw(cells(header)) for header in headers] for _ in range(n)])


@st.composite
def strategies_of(draw: st.DrawFn, vendors: list[str]) -> Any:
    name = draw(st.sampled_from([*STRATEGIES, "source_priority", "most_recent"]))
    if name == "source_priority":
        return {name: draw(st.lists(st.sampled_from(vendors), unique=True, min_size=1))}
    return {name: "updated_at"} if name == "most_recent" else name


@st.composite
def merges(draw: st.DrawFn, policies: list[str] | None = None, keys_only: bool = False) -> Case:
    """Random merges; the columns a spec names are in at least one vendor file."""
    vendors = draw(st.sampled_from([["a"], ["a", "b"], ["b", "a", "c"]]))
    original = draw(
        tables(
            ["Id", "Email 1", "Phone", "LinkedIn", "Tax No"],
            ["First Name", "Title", "Street", "ZIP", "City", "Employees", "own column"],
            8,
        )
    )
    for number, row in enumerate(original.rows, start=1):
        row[original.headers.index("Id")] = str(number)
    enriched = []
    for name in vendors:
        keys = draw(
            st.sampled_from(
                [
                    ["work_email", "telephone"],
                    ["email", "linkedin_url"],
                    ["email", "telephone", "linkedin_url", "tax_no", "crm_id"],
                ]
            )
        )
        enriched.append(
            (name, draw(tables([*keys, "updated_at"], [c for c in COLUMNS if c != "updated_at"], 8)))
        )
    present = sorted({header for _, table in enriched for header in table.headers if header in COLUMNS})
    tiers: list[Any] = ["email", "phone", "linkedin"]
    if any("tax_no" in table.headers for _, table in enriched):
        tiers.append({"column": "tax_no", "compare": draw(st.sampled_from(["exact", "normalized"]))})
        tiers.append({"type": "external_id", "original": "Id", "enriched": "crm_id"})
    chosen = [tier for tier in draw(st.permutations(tiers)) if tier == "email" or draw(st.booleans())]
    spec: dict[str, Any] = {
        "region": "US",
        "match_on": chosen,
        "enriched": [{"name": name} for name in vendors],
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
