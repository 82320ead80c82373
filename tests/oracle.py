"""The brute-force reference of a merge: slow, obvious, and written without a look at the SQL.

    result = merge(spec, original, [(name, table), ...], **load_seeds("seeds/reference"))

Rules are cited by their section of the merge semantics (§2 columns, §3 blank, §4 keys, §5 entities,
§6 survivorship, §7 output). Every step is a nested loop over small tables. It judges no spec: only
what would make an answer ambiguous (column names or labels that clash) raises ValueError, and what a
merge must refuse: decisions that are ill-formed or contradict each other.
"""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from publicsuffixlist import PublicSuffixList

# Unicode's White_Space property (str.isspace also takes U+001C..1F, which are not white space).
WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
WHITE += "\u2028\u2029\u202f\u205f\u3000"
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"
MATCH_COLUMNS = [
    *("match_quality", "match_status", "match_tier", "matched_on", "entity_id", "n_enriched_rows"),
    *("duplicate_in_original", "match_explanation"),
]
GROUP_STRATEGIES = {"first", "last", "longest", "most_complete", "source_priority", "most_recent"}
KEY_TYPES = ("email", "phone", "linkedin", "domain")
POLICIES = {"fill", "update", "suffix", "replace"}
HUB_LIMITS = {"email": 5, "phone": 3, "linkedin": 5, "external_id": 10, "domain": 3}
OTHER_HUB_LIMIT = 5
CONTRADICTION_MODES = {
    "phone": "name",
    "domain": "name",
    "linkedin": "name",
}  # the weak types: strangers share them rightly
MAX_ENTITY_SIZE = 50
# Columns that name a person, after aliases. The order of the last three is their precedence in a row.
SURNAME, GIVEN, FULL_NAMES = "last_name", "first_name", ("full_name", "name")

Key = tuple[str, str]  # (label of a tier, normalised value)
Id = tuple[str, int]  # (source, row) of a record; the original's source is 'original'


@dataclass
class Table:
    """A file as text: headers, and rows of as many cells; an empty cell is ''."""

    headers: list[str]
    rows: list[list[str]]


@dataclass
class Result:
    """What a merge leaves behind; row numbers are 1-based ints.

    merged_result is columns and rows (in file order, '' for null, None for match_explanation, which is
    not foretold). crosswalk: (source, source_row, original_row, entity_id, match_tier, matched_on).
    guards: (guard, label, value) of values that are blocked, hubs or contradictory. entity_guards: (guard,
    ids) of components that are bad when all tiers join. entities: vendor row -> entity_id, quarantined
    and keyless rows left out. keys: row of either side -> its usable keys.
    """

    columns: list[str]
    rows: list[list[str | None]]
    crosswalk: set[tuple[str, int, int, str, int, str]]
    guards: set[tuple[str, str, str]]
    entity_guards: set[tuple[str, frozenset[Id]]]
    entities: dict[Id, str]
    keys: dict[Id, set[Key]]


@dataclass
class Seeds:
    """The reference seeds; without them each key type has the one column of its own name."""

    aliases: dict[str, str] = field(default_factory=dict)  # canonical header -> column
    key_types: dict[str, str] = field(default_factory=lambda: {t: t for t in KEY_TYPES})
    sentinels: dict[str, bool] = field(default_factory=dict)  # sentinel -> kept in name columns
    name_columns: set[str] = field(default_factory=set)
    role_mailboxes: set[str] = field(default_factory=set)  # local parts
    tag_providers: set[str] = field(default_factory=set)  # domains where +tag means nothing
    test_addresses: set[str] = field(default_factory=set)  # test@test.com, noreply@ or @example.com
    mail_domains: set[str] = field(default_factory=set)  # of free and of disposable mailboxes

    def __post_init__(self):
        self.sentinels = {normalized(sentinel): kept for sentinel, kept in self.sentinels.items()}


@dataclass
class File:
    """What the rows of a file need to be read: names are its columns, None for pass-through only."""

    headers: list[str]
    names: list[str | None]
    region: str | None
    is_original: bool


@dataclass(eq=False)  # a record is itself, whatever it holds
class Record:
    """One row. values: column -> cell in NFC, non-blank cells only (vendor rows)."""

    source: str
    row: int
    ord: tuple[int, int]  # (file, row), the original is file 0: unique, ends every order (§6)
    region: str | None
    values: dict[str, str]
    keys: set[Key]  # usable ones
    blocked: set[Key]
    emails: set[str]  # usable ones, whether e-mail is a tier or not
    name: tuple[str, str] | None  # (surname, given), folded
    links: set[Key] = field(default_factory=set)  # (label, link value): what joins it with others

    @property
    def id(self) -> Id:
        return self.source, self.row


@dataclass
class Guards:
    """The spec's guards with their defaults; None is off."""

    hub: dict[str, int | None]  # label -> limit
    contradiction: dict[str, str | None]  # weak label -> 'name' or 'surname'
    max_entity_size: int | None
    blocked: set[Key]
    blocked_domains: set[str]
    allow_test_addresses: bool


@dataclass
class Decisions:
    """The assertions: ids of the records at the ends of each line that has a decision."""

    must: list[set[Id]]  # both ends together
    cannot: list[tuple[set[Id], set[Id]]]


@dataclass
class Rules:
    """What decides who is who: labels by tier (the first is tier 1), guards, decisions."""

    labels: list[str]
    guards: Guards
    decisions: Decisions

    def tier(self, key: Key) -> int:
        return self.labels.index(key[0]) + 1


@dataclass
class Entity:
    """Records, in ord, that are one person; level is None for a quarantined one, which has no id."""

    records: list[Record]
    level: int | None
    entity_id: str | None


@dataclass
class Link:
    """An original row touches an entity through a link value of this tier, or 0: by assertion."""

    entity: Entity
    tier: int
    matched_on: str
    direct: bool  # every record of the entity shares a link value or a must-link line with the original

    @property
    def records(self) -> list[Record]:
        return self.entity.records


class Offer(NamedTuple):
    """A value and the row that it came from; '' and None where there is none."""

    value: str = ""
    record: Record | None = None


@dataclass
class Plan:
    """What decides which of the vendors' values survive, and where they are written."""

    seeds: Seeds
    headers: list[str]  # of the CRM, without the match columns of an earlier merge
    crm: list[str | None]  # their column names
    columns: list[str]  # of all vendors, in order of first appearance
    strategies: dict
    groups: list[dict]
    policies: dict
    outputs: dict[str, str] = field(default_factory=dict)  # vendor column -> column of the result

    def strategy(self, column: str) -> str | dict:
        """Of a column that is in no group."""
        return self.strategies.get(column, self.strategies["default"])

    def policy(self, column: str) -> str:
        return self.policies.get(column, self.policies["default"])


@dataclass
class Work:
    """What a merge knows before it writes; links has an item for each CRM row."""

    plan: Plan
    original: Table
    originals: list[Record]
    files: dict[str, File]  # by vendor
    vendor_rows: list[Record]
    rules: Rules
    events: set[tuple[str, str, str]]
    entity_events: set[tuple[str, frozenset[Id]]]
    entities: list[Entity]
    links: list[list[Link]]


def load_seeds(folder: str | Path) -> dict:
    """seeds/reference -> the keyword arguments of merge()."""

    def read(name: str) -> list[dict[str, str]]:
        with open(Path(folder) / name, encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    sentinels = read("blank_sentinels.csv")
    return {
        "aliases": {r["header"]: r["column"] for r in read("header_aliases.csv")},
        "key_types": {r["column"]: r["key_type"] for r in read("key_columns.csv")},
        "sentinels": {r["sentinel"]: r["kept_in_names"].lower() == "true" for r in sentinels},
        "name_columns": {r["column"] for r in read("name_columns.csv")},
        "role_mailboxes": {r["local_part"] for r in read("role_mailboxes.csv")},
        "tag_providers": {r["domain"] for r in read("tag_providers.csv")},
        "test_addresses": {
            {"local part": "{}@", "domain": "@{}", "address": "{}"}[r["part"]].format(r["value"])
            for r in read("test_addresses.csv")
        },
        "mail_domains": {r["domain"] for r in read("mail_domains.csv")},
    }


# -- Text and blanks (§3) --


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def collapse(text: str) -> str:
    """Trimmed, each inner run of white space one blank."""
    return re.sub(f"[{WHITE}]+", " ", text.strip(WHITE))


def exact(text: str) -> str:
    """The 'exact' comparison of a key column: case kept, inner white space kept."""
    return re.sub(f"[{ZERO_WIDTH}]", "", nfc(text)).strip(WHITE)


def normalized(text: str) -> str:
    """The 'normalized' comparison of a key column."""
    return collapse(exact(text)).casefold()


def without_white(text: str) -> str:
    """NFC without any white space or zero-width character."""
    return re.sub(f"[{WHITE}{ZERO_WIDTH}]", "", nfc(text))


def is_empty(cell: str) -> bool:
    """Blank for a cell of the original under a policy: sentinels are data there."""
    return cell.strip(WHITE + ZERO_WIDTH) == ""


def without_number(column: str) -> str:
    """email_2, email2 -> email."""
    return re.sub("_?[0-9]+$", "", column)


def is_blank(cell: str, column: str, seeds: Seeds) -> bool:
    """Blank for a key or a candidate value: empty, or a sentinel; Null and Na survive as surnames."""
    if is_empty(cell):
        return True
    is_name = column in seeds.name_columns or without_number(column) in seeds.name_columns
    kept_in_names = seeds.sentinels.get(normalized(cell))  # None: not a sentinel
    return kept_in_names is not None and not (kept_in_names and is_name)


# -- Columns (§2) --


def canonical(header: str, position: int = 0) -> str:
    """'  E-Mail (work)' -> 'e_mail_work'. Letters, marks and digits are categories L*, M*, Nd."""
    out = ""
    for char in nfc(header).strip(WHITE).lower():
        category = unicodedata.category(char)
        out += char if category[0] in "LM" or category == "Nd" else "_"
    return re.sub("_+", "_", out).strip("_") or f"column_{position}"


def find_header(headers: list[str], wanted: str) -> int:
    """Index of the header that a spec names: the same text, or else the same canonical name."""
    for i, header in enumerate(headers):
        if header == wanted:
            return i
    for i, header in enumerate(headers):
        if canonical(header, i + 1) == canonical(wanted):
            return i
    raise ValueError(f"no header {wanted!r}")


def column_names(headers: list[str], mapping: dict[str, str], seeds: Seeds) -> list[str | None]:
    """headers -> their column names in a file; None where no name was left."""
    own = [canonical(header, i + 1) for i, header in enumerate(headers)]
    wanted = [seeds.aliases.get(name, name) for name in own]
    mapped = set()
    for header, name in mapping.items():
        i = find_header(headers, header)
        wanted[i] = canonical(name)
        mapped.add(i)

    names: list[str | None] = [None] * len(headers)
    for rank in ("mapped", "own", "alias"):  # who takes a name first; among equals the first header
        for i in range(len(headers)):
            how = "mapped" if i in mapped else "own" if wanted[i] == own[i] else "alias"
            if how == rank and wanted[i] not in names:
                names[i] = wanted[i]
    for i in range(len(headers)):  # the rest keep their own names, when these are still free
        if names[i] is None and own[i] not in names:
            names[i] = own[i]
    return names


def key_type(column: str, seeds: Seeds) -> str | None:
    return seeds.key_types.get(column) or seeds.key_types.get(without_number(column))


# -- Keys (§4): a cell -> its valid keys --


def email_keys(cell: str, seeds: Seeds) -> list[str]:
    """All valid addresses, those of roles and tests too: whether one is usable is blocked()'s to say."""
    label = r"[^\W_]+(-+[^\W_]+)*"
    angled = re.findall("<([^<>]*@[^<>]*)>", nfc(cell))
    keys = []
    for part in re.split(r"[;,|\r\n]", ";".join(angled) if angled else nfc(cell)):
        address = without_white(part).strip("\"'()").lower()
        address = address.removeprefix("mailto:").split("?")[0].strip("\"'()")
        local, _, domain = address.partition("@")
        if not re.fullmatch(rf"{label}(\.{label})+", domain):
            continue
        if not re.fullmatch(r'[^\x00-\x20@"(),:;<>\[\]\\]+', local):
            continue
        if local.startswith(".") or local.endswith(".") or ".." in local:
            continue
        if domain == "googlemail.com":
            domain = "gmail.com"
        if domain in seeds.tag_providers:
            local = local.split("+")[0]
        if domain == "gmail.com":  # and nowhere else: a.b@corp.com is not ab@corp.com
            local = local.replace(".", "")
        if local:
            keys.append(f"{local}@{domain}")
    return keys


def phone_keys(cell: str, region: str | None) -> list[str]:
    """E.164 of a North American or French number, fake ones too: all that the tests generate."""
    text = normalized(cell)
    text = re.sub(r"[ ,;]*(extension|ext\.?|x|#)[ .:]*[0-9]+$", "", text)
    if not re.fullmatch(r"[ (]*\+?[0-9 ().\-/\u2010-\u2015]+", text):
        return []
    digits = re.sub("[^0-9]", "", text)
    if "+" in text:
        number = digits
    elif digits.startswith("00") and region:
        number = digits[2:]
    elif region == "US" and len(digits) == 10:
        number = "1" + digits
    elif region == "US" and len(digits) == 11 and digits[0] == "1":
        number = digits
    elif region == "FR" and len(digits) == 10 and digits[0] == "0":
        number = "33" + digits[1:]
    else:
        return []
    american = re.fullmatch("1([2-9][0-9]{2}[2-9][0-9]{6})", number)
    french = re.fullmatch("330?([1-9][0-9]{8})", number)  # +33 (0)6 …
    if not american and not french:
        return []
    return [f"+1{american[1]}" if american else f"+33{french[1]}"]


def is_fake_phone(number: str) -> bool:
    """222 222 2222, 234 567 8901, 987 654 3210: all digits equal, or counting up or down."""
    national = number.removeprefix("+1") if number.startswith("+1") else number.removeprefix("+33")
    return {(int(b) - int(a)) % 10 for a, b in pairwise(national)} in ({0}, {1}, {9})


def linkedin_keys(cell: str) -> list[str]:
    pattern = r"(https?://)?((www|[a-z]{2})\.)*linkedin\.com/(in|company)/([^/?#]+)"
    found = re.match(pattern, without_white(cell), re.IGNORECASE)
    if not found:
        return []
    kind, slug = found[4].lower(), found[5]
    return [f"{kind}/{slug if slug.startswith(('ACoAA', 'ACwAA')) else slug.lower()}"]


def domain_keys(cell: str) -> list[str]:
    """The registrable domain of an ASCII host, URL or address: all that the tests generate."""
    host = re.sub("^[a-z]+:/*", "", without_white(cell).lower())
    host = re.split("[/?#]", host)[0].rpartition("@")[2].partition(":")[0].removesuffix(".")
    found = PublicSuffixList(accept_unknown=False).privatesuffix(host)
    return [found] if found else []


def is_test_domain(domain: str, seeds: Seeds) -> bool:
    """A domain of the seed, or one below it."""
    labels = domain.split(".")
    return any("@" + ".".join(labels[i:]) in seeds.test_addresses for i in range(len(labels)))


def type_keys(kind: str | None, cell: str, region: str | None, seeds: Seeds) -> list[str]:
    """The keys of a cell of a column of this key type; none for other columns."""
    if kind == "email":
        return email_keys(cell, seeds)
    if kind == "phone":
        return phone_keys(cell, region)
    if kind == "linkedin":
        return linkedin_keys(cell)
    if kind == "domain":
        return domain_keys(cell)
    return []


def tier_label(tier: dict) -> str:
    return tier["type"] if "type" in tier else canonical(tier["column"])


def tier_columns(tier: dict, file: File, seeds: Seeds) -> list[int]:
    """Indexes of the columns that feed a tier. A type takes every column of that type."""
    if "column" in tier:
        return [i for i, name in enumerate(file.names) if name == canonical(tier["column"])]
    if tier["type"] == "external_id":
        if file.is_original:
            return [find_header(file.headers, tier["original"])]
        return [i for i, name in enumerate(file.names) if name == canonical(tier["enriched"])]
    return [i for i, name in enumerate(file.names) if name and key_type(name, seeds) == tier["type"]]


def tier_values(tier: dict, cell: str, region: str | None, seeds: Seeds) -> list[str]:
    """The valid values of a cell that is not blank, blocked ones too."""
    if tier.get("type") in KEY_TYPES:
        return type_keys(tier["type"], cell, region, seeds)
    # external_id compares like exact
    return [normalized(cell) if tier.get("compare") == "normalized" else exact(cell)]


def column_name(file: File, i: int) -> str:
    return file.names[i] or canonical(file.headers[i], i + 1)


def row_values(row: list[str], file: File, tiers: list[dict], seeds: Seeds) -> set[Key]:
    """All valid (label, value) of a row, blocked ones too."""
    found = set()
    for tier in tiers:
        for i in tier_columns(tier, file, seeds):
            if not is_blank(row[i], column_name(file, i), seeds):
                found |= {(tier_label(tier), v) for v in tier_values(tier, row[i], file.region, seeds)}
    return found


# -- Blocked values (§4) and evidence (§5): who a row says it is --


def is_off(setting: object) -> bool:
    return setting is False or setting == "off"


def blocked(label: str, kind: str | None, value: str, guards: Guards, seeds: Seeds) -> bool:
    """A value that is valid and still says nothing about who somebody is. kind: the tier's key type."""
    if (label, value) in guards.blocked:
        return True
    if kind == "email":
        local, _, domain = value.partition("@")
        if local in seeds.role_mailboxes or domain in guards.blocked_domains:
            return True
        is_test = bool({f"{local}@", value} & seeds.test_addresses) or is_test_domain(domain, seeds)
        return is_test and not guards.allow_test_addresses
    if kind == "domain":
        is_test = is_test_domain(value, seeds) and not guards.allow_test_addresses
        return is_test or value in seeds.mail_domains
    return kind == "phone" and is_fake_phone(value)


def folded(text: str) -> str:
    """Lower case, accents folded, nothing but letters and digits: 'Ó Néill-Šá' -> 'oneillsa'."""
    lower = "".join(char.lower() for char in text)  # letter by letter: a final sigma is a sigma
    kept = ""
    for char in unicodedata.normalize("NFD", lower):  # where an accent is a mark of its own
        category = unicodedata.category(char)
        kept += char if category[0] == "L" or category == "Nd" else ""
    return nfc(kept)


def words(text: str) -> list[str]:
    """The folded words of a text; '-' is none."""
    return [folded(word) for word in re.split(f"[{WHITE}]+", text) if folded(word)]


def person_name(cells: dict[str, str]) -> tuple[str, str] | None:
    """(surname, given) from a row's non-blank cells by column; None without a surname."""
    if SURNAME in cells:
        surname, given = folded(cells[SURNAME]), words(cells.get(GIVEN, ""))[:1]
    else:
        full = next((cells[column] for column in FULL_NAMES if column in cells), "")
        before, comma, after = full.partition(",")
        if comma:  # Doe, John X
            surname, given = folded(before), words(after)[:1]
        else:  # John X Doe; a single word is a surname
            surname, given = (words(full) or [""])[-1], words(full)[:-1][:1]
    return (surname, given[0] if given else "") if surname else None


# -- Guards of values (§5): hubs and contradictions; what is left links --


def people(carriers: list[Record], label: str, labels: list[str]) -> int:
    """How many people carry a value, at least: the most distinct values under any other label."""
    counts = [
        len({value for record in carriers for found, value in record.keys if found == other})
        for other in labels
        if other != label
    ]
    if "email" not in labels:
        counts.append(len({address for record in carriers for address in record.emails}))
    return max(counts, default=0)


def is_contradictory(carriers: list[Record], mode: str) -> bool:
    """Names of more than one person meet under one value; unless two e-mail addresses say so, the names must be far apart."""
    names = {record.name for record in carriers if record.name}
    surnames = {surname for surname, _ in names}
    full = {(surname, given) for surname, given in names if given}
    givens = {given for _, given in full}
    if len({address for record in carriers for address in record.emails}) >= 2:
        return len(surnames) >= 2 or (mode == "name" and len(givens) >= 2)
    # neither Jenny and Jennifer Null, nor Ann Lee and Lee Ann
    return (
        mode == "name"
        and len(givens) >= 2
        and (len({given[0] for given in givens}) >= 2 or len({surname for surname, _ in full}) >= 2)
        and len({frozenset(name) for name in full}) >= 2
    )


def may_be_shared(label: str, value: str, holders: list[Record]) -> bool:
    """Is it a value that strangers share? Of domains those of rows about companies are not."""
    if label == "domain":
        return any(record.name for record in holders if record.source != "original")
    return label != "linkedin" or value.startswith("company/")


def narrowed(record: Record, value: str, mode: str, labels: list[str]) -> set[str]:
    """The link values that stand in for a contradictory value: it joins only who shares the name too."""
    values = set()
    if record.name:
        values.add(" ".join([value, *record.name] if mode == "name" else [value, record.name[0]]))
    if "email" not in labels:  # otherwise the address links by its own tier
        values |= {f"{value} {address}" for address in record.emails}
    return values


def link_records(records: list[Record], rules: Rules) -> set[tuple[str, str, str]]:
    """Gives every record of both sides its links; returns (guard, label, value) of the values that don't link."""
    events = {("blocked", *key) for record in records for key in record.blocked}
    for label, value in {key for record in records for key in record.keys}:
        holders = [record for record in records if (label, value) in record.keys]
        # a domain is shared by every colleague in the CRM: only vendor rows are counted
        carriers = [r for r in holders if label != "domain" or r.source != "original"]
        limit = rules.guards.hub.get(label)
        mode = rules.guards.contradiction.get(label)
        if limit is not None and people(carriers, label, rules.labels) > limit:
            events.add(("hub", label, value))
        elif mode is not None and may_be_shared(label, value, holders) and is_contradictory(holders, mode):
            events.add(("contradiction", label, value))
            for record in holders:
                record.links |= {(label, v) for v in narrowed(record, value, mode, rules.labels)}
        else:
            for record in holders:
                record.links.add((label, value))
    return events


# -- Decisions (§5): assertions of a person --


def read_end(
    line: dict, end: str, records: list[Record], tiers: list[dict], region: str | None, seeds: Seeds
) -> tuple[Id | None, set[Id]]:
    """An end of a line: the row it names, if it names one; and the ids of all records that it means."""
    key, source, row = (exact(line.get(f"{end}_{part}") or "") for part in ("key", "source", "row"))
    if key:
        label, _, cell = key.partition(":")
        tier = next((tier for tier in tiers if tier_label(tier) == label), None)
        values = (
            [] if tier is None or is_blank(cell, label, seeds) else tier_values(tier, cell, region, seeds)
        )
        if not values:
            raise ValueError(f"not a key: {key!r}")
        return None, {r.id for r in records if any((label, value) in r.keys for value in values)}
    if not source or not row:
        raise ValueError(f"end {end} is missing in {line}")
    found = [r.id for r in records if r.source == source and str(r.row) == row]
    if not found:
        raise ValueError(f"no row {row} of {source!r}")
    return found[0], set(found)


def read_decisions(
    lines: list[dict], records: list[Record], tiers: list[dict], region: str | None, seeds: Seeds
) -> Decisions:
    """The assertions file's rows -> decisions. records: of both sides."""
    decisions = Decisions([], [])
    for line in lines:
        decision = exact(line.get("decision") or "")
        if decision == "":  # undecided yet
            continue
        if decision not in ("must_link", "cannot_link"):
            raise ValueError(f"unknown decision {decision!r}")
        a_row, a = read_end(line, "a", records, tiers, region, seeds)
        b_row, b = read_end(line, "b", records, tiers, region, seeds)
        if a_row and a_row == b_row:
            raise ValueError(f"both ends are row {a_row}")
        if decision == "cannot_link" and a and a == b:
            raise ValueError("both ends are the same key")
        if not a or not b:  # a key that no row has: nothing is decided
            continue
        if decision == "cannot_link":
            if not a_row and not b_row:  # an original that has both keys takes both entities
                both = {one for one in a & b if one[0] == "original"}
                a, b = a - both, b - both
            decisions.cannot.append((a, b))
            continue
        if a_row and b_row and a_row[0] == b_row[0] == "original":
            raise ValueError("rows of the original are never joined")
        decisions.must.append(a | b)
    return decisions


def forbidden(ids: set[Id], decisions: Decisions) -> bool:
    """These records hold both ends of a cannot-link line."""
    return any(ids & a and ids & b for a, b in decisions.cannot)


def check_decisions(originals: list[Record], vendor_rows: list[Record], rules: Rules) -> None:
    """Must-links that a cannot-link forbids can't both be true: the merge is refused."""
    decisions = rules.decisions
    for component in components(vendor_rows, 0, rules):
        ids = {record.id for record in component}
        asserted = any(ids & line for line in decisions.must)  # else it is quarantined
        if asserted and forbidden(ids, decisions):
            raise ValueError("must-links join what a cannot-link keeps apart")
        for o in originals:
            linked = any(o.id in line and line & ids for line in decisions.must)
            if linked and kept_apart(o, component, decisions):
                raise ValueError(f"a must-link links original row {o.row} with what a cannot-link keeps away")


# -- Entities and links (§5) --


def joined(a: Record, b: Record, level: int, rules: Rules) -> bool:
    """An edge: a shared link value of a tier up to this level, or must-link lines (tier 0): one of both records, or
    two that each link one of them to the same original, for what is the same person is one entity."""
    if any(rules.tier(key) <= level for key in a.links & b.links):
        return True
    lines_a = [line for line in rules.decisions.must if a.id in line]
    lines_b = [line for line in rules.decisions.must if b.id in line]
    return any(
        b.id in line or any(source == "original" for source, _ in line & other)
        for line in lines_a
        for other in lines_b
    )


def components(records: list[Record], level: int, rules: Rules) -> list[list[Record]]:
    """Records that are joined, over any number of steps."""
    rest = sorted(records, key=lambda record: record.ord)
    groups = []
    while rest:
        group = [rest.pop(0)]
        for a in group:  # which grows meanwhile
            found = [b for b in rest if joined(a, b, level, rules)]
            group += found
            rest = [b for b in rest if b not in found]
        groups.append(sorted(group, key=lambda record: record.ord))
    return groups


def faults(component: list[Record], rules: Rules) -> set[str]:
    """The guards that a component breaks. Records with the very same keys count once."""
    limit = rules.guards.max_entity_size
    found = set()
    size = len({frozenset(record.keys) for record in component})
    # what people joined is as large as they say
    if limit is not None and size > limit and len(components(component, 0, rules)) > 1:
        found.add("max_entity_size")
    if forbidden({record.id for record in component}, rules.decisions):
        found.add("cannot_link")
    return found


def resolve(records: list[Record], level: int, rules: Rules) -> list[Entity]:
    """Components up to this level; a bad one is resolved again without its weakest tier."""
    entities = []
    for component in components(records, level, rules):
        if not faults(component, rules):
            entities.append(Entity(component, level, entity_id(component, level, rules)))
        elif level > 1:
            entities += resolve(component, level - 1, rules)
        else:
            entities.append(Entity(component, None, None))
    return entities


def entity_id(records: list[Record], level: int, rules: Rules) -> str:
    """The smallest typed key that links; a whole one before one that a name or an address narrows."""
    links = [
        (key not in r.keys, f"{key[0]}:{key[1]}".encode())
        for r in records
        for key in r.links
        if rules.tier(key) <= level
    ]
    if not links:  # joined by assertion only, or all that it carries is shared by too many
        file, row = records[0].ord
        links = [(True, f"record:{file * 2**32 + row}".encode())]
    return hashlib.md5(min(links)[1]).hexdigest()


def kept_apart(original: Record, records: list[Record], decisions: Decisions) -> bool:
    """A cannot-link line has the original at one end and one of the records at the other."""
    ids = {record.id for record in records}
    return any(
        (original.id in one and ids & other) or (original.id in other and ids & one)
        for one, other in decisions.cannot
    )


def links_of(original: Record, entities: list[Entity], rules: Rules) -> list[Link]:
    """The entities an original touches, in the order in which they may fill its cells."""
    links = []
    for entity in entities:
        if entity.level is None or kept_apart(original, entity.records, rules.decisions):
            continue
        tiers = set()
        sharers = 0
        for record in entity.records:
            by = {rules.tier(key) for key in original.links & record.links}
            by = {tier for tier in by if tier <= entity.level}
            if any(original.id in line and record.id in line for line in rules.decisions.must):
                by.add(0)
            tiers |= by
            sharers += bool(by)
        if tiers:
            names = ["assertion", *rules.labels]
            matched_on = "+".join(names[tier] for tier in sorted(tiers))
            links.append(Link(entity, min(tiers), matched_on, sharers == len(entity.records)))
    return sorted(links, key=lambda link: (link.tier, link.records[0].ord))


def match_status(original: Record, links: list[Link], vendor_rows: list[Record]) -> str:
    if len(links) > 1:
        return "ambiguous"
    if links:
        return "matched_direct" if links[0].direct else "matched_transitive"
    if any(original.keys & record.keys for record in vendor_rows):  # a guard or a decision refused it
        return "possibly_related"
    return "unmatched" if original.keys else "no_valid_key"


# -- Survivorship (§6) --


def instant(text: str) -> int | None:
    """Microseconds of an ISO date or timestamp (UTC when it names no offset); None when it is not one."""
    pattern = r"(\d{4}-\d\d-\d\d)([T ](\d\d:\d\d)((:\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?"
    found = re.fullmatch(pattern, text.strip(WHITE), re.ASCII)
    if not found:
        return None
    date, _, minutes, _, seconds, fraction, zone, _ = found.groups()
    zone = "+0000" if zone in (None, "Z") else zone.replace(":", "").ljust(5, "0")
    clock = f"{date} {minutes or '00:00'}{seconds or ':00'}{(fraction or '.0')[:7].ljust(7, '0')} {zone}"
    try:
        moment = datetime.strptime(clock, "%Y-%m-%d %H:%M:%S.%f %z")
    except ValueError:  # 2024-02-30
        return None
    return (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)


def length(cell: str) -> int:
    return len(nfc(cell).strip(WHITE))


def split_strategy(strategy: str | dict) -> tuple[str, object]:
    """'first' -> ('first', None); {'most_recent': 'updated_at'} -> ('most_recent', 'updated_at')."""
    return next(iter(strategy.items())) if isinstance(strategy, dict) else (strategy, None)


def ranked(records: list[Record], columns: list[str], strategy: str | dict) -> list[Record]:
    """Candidates, best first; ord decides what the strategy leaves open."""
    name, argument = split_strategy(strategy)
    records = sorted(records, key=lambda r: r.ord)
    if name == "first":
        return records
    if name == "last":
        return records[::-1]
    if name == "longest":
        return sorted(records, key=lambda r: -sum(length(r.values.get(c, "")) for c in columns))
    if name == "most_complete":
        return sorted(records, key=lambda r: -len(r.values))
    if name == "source_priority":
        files = [*argument, None]  # unlisted files rank after
        return sorted(records, key=lambda r: files.index(r.source if r.source in argument else None))
    if name == "most_recent":
        moments = {r.ord: instant(r.values.get(canonical(argument), "")) for r in records}
        return sorted(records, key=lambda r: (moments[r.ord] is None, -(moments[r.ord] or 0)))
    raise ValueError(f"unknown strategy {name!r}")


def comparison_form(record: Record, column: str, seeds: Seeds) -> str:
    """Two values are the same value when this is equal."""
    cell = record.values[column]
    keys = type_keys(key_type(column, seeds), cell, record.region, seeds)
    return " ".join(sorted(set(keys))) if keys else collapse(cell).casefold()


def winner(records: list[Record], column: str, strategy: str | dict, seeds: Seeds) -> Offer:
    """The value of one column of one entity."""
    candidates = [r for r in records if column in r.values]  # in ord
    if not candidates:
        return Offer()
    name, _ = split_strategy(strategy)
    values = [r.values[column] for r in candidates]
    forms = [comparison_form(r, column, seeds) for r in candidates]
    if name == "collect":
        parts = [value for i, value in enumerate(values) if forms[i] not in forms[:i]]
        return Offer("; ".join(parts), candidates[0])
    if name == "unanimous" and len(set(forms)) > 1:
        return Offer()
    if name in ("unanimous", "min", "max"):
        # which of the equal ones unanimous writes must not depend on the order of rows (I3)
        best = values.index(max(values) if name == "max" else min(values))
    elif name == "most_frequent":  # one vote per file
        votes = [len({r.source for i, r in enumerate(candidates) if forms[i] == form}) for form in forms]
        best = votes.index(max(votes))
    else:
        best = candidates.index(ranked(candidates, [column], strategy)[0])
    return Offer(values[best], candidates[best])


def ranked_group(records: list[Record], group: dict) -> list[Record]:
    """The rows that have any of a group's columns, best first."""
    columns = group["columns"]
    return ranked([r for r in records if any(c in r.values for c in columns)], columns, group["strategy"])


def group_winner(records: list[Record], group: dict) -> dict[str, Offer]:
    """column -> value of one group of one entity: all of one row, or each of the best row that has it."""
    rows = ranked_group(records, group)
    values = {column: Offer() for column in group["columns"]}
    for row in rows if group["allow_fill"] else rows[:1]:
        for column in values:
            if column in row.values and not values[column].value:
                values[column] = Offer(row.values[column], row)
    return values


def consolidated(records: list[Record], plan: Plan) -> dict[str, Offer]:
    """column -> the value of one entity."""
    grouped = [column for group in plan.groups for column in group["columns"]]
    values = {
        column: winner(records, column, plan.strategy(column), plan.seeds)
        for column in plan.columns
        if column not in grouped
    }
    for group in plan.groups:
        values |= group_winner(records, group)
    return values


def enrichment(links: list[Link], plan: Plan) -> dict[str, Offer]:
    """column -> the value that an original's entities offer: blanks fall through (§5)."""
    offer = {column: Offer() for column in plan.columns}
    whole = [group["columns"] for group in plan.groups if not group["allow_fill"]]
    for link in links:
        # without allow_fill the whole group comes from the first entity that has any of it
        closed = [c for columns in whole if any(offer[c].value for c in columns) for c in columns]
        for column, value in consolidated(link.records, plan).items():
            if column not in closed and not offer[column].value:
                offer[column] = value
    return offer


# -- The merge (§7) --


def read_groups(spec: dict, vendor_columns: list[str]) -> list[dict]:
    """The spec's groups: 'columns' those that vendors have, 'named' all that the spec names."""
    groups = []
    for group in spec.get("groups") or []:
        if split_strategy(group["strategy"])[0] not in GROUP_STRATEGIES:
            raise ValueError(f"not a strategy for a group: {group['strategy']!r}")
        named = [canonical(column) for column in group["columns"]]
        if any(column in other["named"] for other in groups for column in named):
            raise ValueError("a column in two groups")
        columns = [column for column in named if column in vendor_columns]
        groups.append({"allow_fill": False} | group | {"named": named, "columns": columns})
    return groups


def read_file(table: Table, spec: dict, settings: dict, is_original: bool, seeds: Seeds) -> File:
    """settings: the file's own part of the spec."""
    names = column_names(table.headers, settings.get("columns") or {}, seeds)
    return File(table.headers, names, settings.get("region") or spec.get("region"), is_original)


def limit_of(setting: object) -> int | None:
    return None if is_off(setting) else int(setting)


def by_label(setting: object, defaults: dict) -> dict:
    """A guard's setting by label, over its defaults; off is off for all."""
    if is_off(setting):
        return {label: "off" for label in defaults}
    return defaults | {canonical(label): value for label, value in (setting or {}).items()}


def read_guards(spec: dict, tiers: list[dict], seeds: Seeds) -> Guards:
    given = spec.get("guards") or {}
    hub = by_label(
        given.get("hub"), {label: HUB_LIMITS.get(label, OTHER_HUB_LIMIT) for label in map(tier_label, tiers)}
    )
    modes = by_label(given.get("contradiction"), CONTRADICTION_MODES)
    guards = Guards(
        {label: limit_of(limit) for label, limit in hub.items()},
        {label: None if is_off(mode) else mode for label, mode in modes.items()},
        limit_of(given.get("max_entity_size", MAX_ENTITY_SIZE)),
        set(),
        set(),
        bool(given.get("allow_test_addresses")),
    )
    for entry in given.get("blocked") or []:
        if exact(entry).startswith("@"):  # every address of the domain, spelled as its addresses are
            guards.blocked_domains |= {key.split("@")[1] for key in email_keys(f"x{exact(entry)}", seeds)}
            continue
        for tier in [*tiers, {"type": "email"}]:  # e-mail is evidence, also where it is no tier
            values = tier_values(tier, entry, spec.get("region"), seeds)
            guards.blocked |= {(tier_label(tier), value) for value in values}
    return guards


def read_records(
    source: str, number: int, file: File, table: Table, tiers: list[dict], guards: Guards, seeds: Seeds
) -> list[Record]:
    """The rows of a file as records; number is 0 for the original."""
    kinds = {tier_label(tier): tier.get("type") for tier in tiers}
    records = []
    for row_number, row in enumerate(table.rows, start=1):
        named = {column_name(file, i): cell for i, cell in enumerate(row) if file.names[i]}
        values = {name: nfc(cell) for name, cell in named.items() if not is_blank(cell, name, seeds)}
        found = row_values(row, file, tiers, seeds)
        unusable = {(label, v) for label, v in found if blocked(label, kinds[label], v, guards, seeds)}
        addresses = {v for _, v in row_values(row, file, [{"type": "email"}], seeds)}
        emails = {v for v in addresses if not blocked("email", "email", v, guards, seeds)}
        records.append(
            Record(source, row_number, (number, row_number), file.region, values,
                   found - unusable, unusable, emails, person_name(values))
        )  # fmt: skip
    return records


def read_vendors(
    spec: dict, tiers: list[dict], enriched: list[tuple[str, Table]], guards: Guards, seeds: Seeds
) -> tuple[dict[str, File], list[Record]]:
    """The vendors' files in order, and all their rows in ord."""
    files, records = {}, []
    for number, (source, table) in enumerate(enriched, start=1):
        settings = spec["enriched"][number - 1] if spec.get("enriched") else {}
        if settings.get("name", source) != source:
            raise ValueError(f"file {number} is {source!r} here and not in the spec")
        file = read_file(table, spec, settings, False, seeds)
        if None in file.names:
            raise ValueError(f"{source}: no name left for {table.headers[file.names.index(None)]!r}")
        files[source] = file
        records += read_records(source, number, file, table, tiers, guards, seeds)
    return files, records


def read_tiers(spec: dict) -> list[dict]:
    tiers = [{"type": tier} if isinstance(tier, str) else tier for tier in spec["match_on"]]
    labels = [tier_label(tier) for tier in tiers]
    if any(tier.get("type", "external_id") not in (*KEY_TYPES, "external_id") for tier in tiers):
        raise ValueError(f"unknown key type in {tiers}")
    if len(set(labels)) < len(labels):
        raise ValueError(f"match_on names a label twice: {labels}")
    return tiers


def without_match_columns(original: Table) -> Table:
    """A previous merge's result without its match columns: they are not the CRM's."""
    if not set(MATCH_COLUMNS) <= set(original.headers):
        return original
    kept = [i for i, header in enumerate(original.headers) if header not in MATCH_COLUMNS]
    rows = [[row[i] for i in kept] for row in original.rows]
    return Table([original.headers[i] for i in kept], rows)


def output_columns(plan: Plan) -> dict[str, str]:
    """vendor column -> the column of the result that it is written to."""
    outputs = {}
    for column in plan.columns:
        if column not in plan.crm:
            outputs[column] = column
        elif plan.policy(column) == "suffix":
            if f"{column}_enriched" in plan.columns:
                raise ValueError(f"two columns {column}_enriched")
            outputs[column] = f"{column}_enriched"
        else:
            outputs[column] = plan.headers[plan.crm.index(column)]
    return outputs


def added_columns(plan: Plan) -> list[str]:
    """The columns of the result that the CRM has not: of new columns and of those under suffix."""
    return [
        output
        for column, output in plan.outputs.items()
        if column not in plan.crm or plan.policy(column) == "suffix"
    ]


def result_columns(plan: Plan) -> list[str]:
    return plan.headers + added_columns(plan) + MATCH_COLUMNS


def read_plan(spec: dict, crm: File, files: dict[str, File], seeds: Seeds) -> Plan:
    columns = list(dict.fromkeys(name for file in files.values() for name in file.names))
    strategies = {"default": "first"} | {canonical(c): s for c, s in (spec.get("strategies") or {}).items()}
    policies = {"default": "fill"} | {canonical(c): p for c, p in (spec.get("overwrite") or {}).items()}
    if not set(policies.values()) <= POLICIES:
        raise ValueError(f"unknown policy in {policies}")
    groups = read_groups(spec, columns)
    plan = Plan(seeds, crm.headers, crm.names, columns, strategies, groups, policies)
    plan.outputs = output_columns(plan)
    result = result_columns(plan)
    if len({column.lower() for column in result}) < len(result):
        raise ValueError(f"column names clash: {result}")
    return plan


def prepare(spec: dict, original: Table, enriched: list[tuple[str, Table]], seeds: Seeds) -> Work:
    """Everything up to who is linked with whom."""
    tiers = read_tiers(spec)
    guards = read_guards(spec, tiers, seeds)
    original = without_match_columns(original)
    crm = read_file(original, spec, spec.get("original") or {}, True, seeds)
    originals = read_records("original", 0, crm, original, tiers, guards, seeds)
    files, vendor_rows = read_vendors(spec, tiers, enriched, guards, seeds)
    plan = read_plan(spec, crm, files, seeds)

    both = originals + vendor_rows
    decisions = read_decisions(spec.get("assertions") or [], both, tiers, spec.get("region"), seeds)
    rules = Rules([tier_label(tier) for tier in tiers], guards, decisions)
    events = link_records(both, rules)
    check_decisions(originals, vendor_rows, rules)
    asserted = set().union(*decisions.must)
    members = [record for record in vendor_rows if record.keys or record.id in asserted]
    entities = resolve(members, len(tiers), rules)
    entity_events = {
        (guard, frozenset(record.id for record in component))
        for component in components(members, len(tiers), rules)
        for guard in faults(component, rules)
    }
    links = [links_of(record, entities, rules) for record in originals]
    return Work(plan, original, originals, files, vendor_rows, rules, events, entity_events, entities, links)


def held_back(row: list[str], plan: Plan) -> set[str]:
    """§6 groups under fill: one cell of the CRM's own holds the vendor's whole group back."""
    held = set()
    for group in plan.groups:
        own = [i for i, name in enumerate(plan.crm) if name in group["named"]]
        under_fill = [plan.crm[i] for i in own if plan.policy(plan.crm[i]) == "fill"]
        if not group["allow_fill"] and under_fill and not all(is_empty(row[i]) for i in own):
            held |= {c for c in group["named"] if c in under_fill or c not in plan.crm}
    return held


def written(row: list[str], links: list[Link], plan: Plan) -> dict[str, Offer]:
    """vendor column -> what it writes to a CRM row; without a value where replace blanks the cell."""
    offer = enrichment(links, plan)
    held = held_back(row, plan)
    added = added_columns(plan)
    cells = {}
    for column, output in plan.outputs.items():
        policy = plan.policy(column)
        own = row[plan.headers.index(output)] if output not in added else ""
        writes = offer[column].value != "" and (policy != "fill" or is_empty(own))
        if column not in held and (writes or (policy == "replace" and links)):
            cells[column] = offer[column]
    return cells


def merge(spec: dict, original: Table, enriched: list[tuple[str, Table]], **seeds_) -> Result:
    """spec and tables -> Result. Keyword arguments: the fields of Seeds, as load_seeds() gives them."""
    work = prepare(spec, original, enriched, Seeds(**seeds_))
    plan = work.plan
    added = added_columns(plan)
    ids = {r.id: entity.entity_id for entity in work.entities if entity.level for r in entity.records}
    keys = {record.id: record.keys for record in work.originals + work.vendor_rows}
    result = Result(result_columns(plan), [], set(), work.events, work.entity_events, ids, keys)
    touched = [link.entity.entity_id for links in work.links for link in links]
    for record, row, links in zip(work.originals, work.original.rows, work.links, strict=True):
        cells = dict(zip(plan.headers, row, strict=True)) | dict.fromkeys(added, "")
        cells |= {plan.outputs[column]: offer.value for column, offer in written(row, links, plan).items()}

        first = links[0] if links else None
        result.rows.append(
            list(cells.values())
            + ["matched" if first else "unmatched", match_status(record, links, work.vendor_rows)]
            + ([str(first.tier), first.matched_on, first.entity.entity_id] if first else ["", "", ""])
            + [str(sum(len(link.records) for link in links))]
            + ["true" if any(touched.count(link.entity.entity_id) > 1 for link in links) else "false"]
            + [None]
        )
        for link in links:
            for r in link.records:
                ends = (r.source, r.row, record.row)
                result.crosswalk.add((*ends, link.entity.entity_id, link.tier, link.matched_on))
    return result
