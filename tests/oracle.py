"""The brute-force reference of a merge: slow, obvious, and written without a look at the SQL.

    result = merge(spec, original, [(name, table), ...], **load_seeds("seeds/reference"))

Rules are cited by their section of the merge semantics (§2 columns, §3 blank, §4 keys, §5 entities,
§6 survivorship, §7 output). Every step is a nested loop over small tables. It judges no spec: only
what would make an answer ambiguous (column names or labels that clash) raises ValueError.
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

# Unicode's White_Space property (str.isspace also takes U+001C..1F, which are not white space).
WHITE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
WHITE += "\u2028\u2029\u202f\u205f\u3000"
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"
MATCH_COLUMNS = ["match_quality", "match_status", "match_tier", "matched_on", "entity_id", "n_enriched_rows"]
GROUP_STRATEGIES = {"first", "last", "longest", "most_complete", "source_priority", "most_recent"}
KEY_TYPES = ("email", "phone", "linkedin")
POLICIES = {"fill", "update", "suffix", "replace"}


@dataclass
class Table:
    """A file as text: headers, and rows of as many cells; an empty cell is ''."""

    headers: list[str]
    rows: list[list[str]]


@dataclass
class Result:
    """merged_result (columns, rows in file order, '' for null) and crosswalk, a set of
    (source, source_row, original_row, entity_id, match_tier, matched_on), row numbers 1-based ints."""

    columns: list[str]
    rows: list[list[str]]
    crosswalk: set[tuple[str, int, int, str, int, str]]


@dataclass
class Seeds:
    """The reference seeds; without them each key type has the one column of its own name."""

    aliases: dict[str, str] = field(default_factory=dict)  # canonical header -> column
    key_types: dict[str, str] = field(default_factory=lambda: {t: t for t in KEY_TYPES})
    sentinels: dict[str, bool] = field(default_factory=dict)  # sentinel -> kept in name columns
    name_columns: set[str] = field(default_factory=set)
    role_mailboxes: set[str] = field(default_factory=set)  # local parts
    tag_providers: set[str] = field(default_factory=set)  # domains where +tag means nothing

    def __post_init__(self):
        self.sentinels = {normalized(sentinel): kept for sentinel, kept in self.sentinels.items()}


@dataclass
class File:
    """What the rows of a file need to be read: names are its columns, None for pass-through only."""

    headers: list[str]
    names: list[str | None]
    region: str | None
    is_original: bool


@dataclass
class Record:
    """One vendor row. values: column -> cell in NFC, non-blank cells only. keys: typed key -> tier."""

    source: str
    row: int
    ord: tuple[int, int]  # (file, row): unique, ends every order (§6)
    region: str | None
    values: dict[str, str]
    keys: dict[str, int]


@dataclass
class Link:
    """An original row touches an entity (its records, in ord) through a key of this tier."""

    records: list[Record]
    entity_id: str
    tier: int
    matched_on: str
    direct: bool  # every record of the entity shares a key with the original


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
        if local and local not in seeds.role_mailboxes:
            keys.append(f"{local}@{domain}")
    return keys


def phone_keys(cell: str, region: str | None) -> list[str]:
    """E.164 of a North American or French number: all that the tests generate."""
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
    country, national = ("1", american[1]) if american else ("33", french[1])
    steps = {(int(b) - int(a)) % 10 for a, b in pairwise(national)}
    if steps in ({0}, {1}, {9}):  # 222 222 2222, 234 567 8901, 987 654 3210
        return []
    return [f"+{country}{national}"]


def linkedin_keys(cell: str) -> list[str]:
    pattern = r"(https?://)?((www|[a-z]{2})\.)*linkedin\.com/(in|company)/([^/?#]+)"
    found = re.match(pattern, without_white(cell), re.IGNORECASE)
    if not found:
        return []
    kind, slug = found[4].lower(), found[5]
    return [f"{kind}/{slug if slug.startswith(('ACoAA', 'ACwAA')) else slug.lower()}"]


def type_keys(kind: str | None, cell: str, region: str | None, seeds: Seeds) -> list[str]:
    """The keys of a cell of a column of this key type; none for other columns."""
    if kind == "email":
        return email_keys(cell, seeds)
    if kind == "phone":
        return phone_keys(cell, region)
    if kind == "linkedin":
        return linkedin_keys(cell)
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


def row_keys(row: list[str], file: File, tiers: list[dict], seeds: Seeds) -> dict[str, int]:
    """A row's typed keys 'label:value' -> position of the tier, 1 the strongest."""
    keys = {}
    for position, tier in enumerate(tiers, start=1):
        for i in tier_columns(tier, file, seeds):
            if is_blank(row[i], file.names[i] or canonical(file.headers[i], i + 1), seeds):
                continue
            if tier.get("type") in KEY_TYPES:
                values = type_keys(tier["type"], row[i], file.region, seeds)
            else:  # external_id compares like exact
                values = [normalized(row[i]) if tier.get("compare") == "normalized" else exact(row[i])]
            for value in values:
                keys[f"{tier_label(tier)}:{value}"] = position
    return keys


# -- Entities and links (§5) --


def components(records: list[Record]) -> list[list[Record]]:
    """Records that share a key, over any number of steps; those without keys are in none."""
    groups = [[record] for record in records if record.keys]
    joined = True
    while joined:
        joined = False
        for a in groups:
            for b in groups:
                if a is not b and any(p.keys.keys() & q.keys.keys() for p in a for q in b):
                    a.extend(b)
                    b.clear()
                    joined = True
        groups = [group for group in groups if group]
    return [sorted(group, key=lambda record: record.ord) for group in groups]


def entity_id(records: list[Record]) -> str:
    smallest = min((key for record in records for key in record.keys), key=lambda key: key.encode())
    return hashlib.md5(smallest.encode()).hexdigest()


def links_of(keys: dict[str, int], entities: list[list[Record]], labels: list[str]) -> list[Link]:
    """The entities an original touches, in the order in which they may fill its cells."""
    links = []
    for records in entities:
        shared = {tier for record in records for key, tier in record.keys.items() if key in keys}
        if shared:
            matched_on = "+".join(label for tier, label in enumerate(labels, start=1) if tier in shared)
            direct = all(record.keys.keys() & keys.keys() for record in records)
            links.append(Link(records, entity_id(records), min(shared), matched_on, direct))
    return sorted(links, key=lambda link: (link.tier, link.records[0].ord))


def match_status(keys: dict[str, int], links: list[Link]) -> str:
    if len(links) > 1:
        return "ambiguous"
    if links:
        return "matched_direct" if links[0].direct else "matched_transitive"
    return "unmatched" if keys else "no_valid_key"


# -- Survivorship (§6) --


def instant(text: str) -> int | None:
    """Microseconds of an ISO date or timestamp (UTC when it names no offset); None when it is not one."""
    pattern = r"(\d{4}-\d\d-\d\d)([T ](\d\d:\d\d)(:\d\d)?(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?"
    found = re.fullmatch(pattern, text.strip(WHITE), re.ASCII)
    if not found:
        return None
    date, _, minutes, seconds, fraction, zone = found.groups()
    zone = "+0000" if zone in (None, "Z") else zone.replace(":", "")
    clock = f"{date} {minutes or '00:00'}{seconds or ':00'}{(fraction or '.0').ljust(7, '0')} {zone}"
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


def winner(records: list[Record], column: str, strategy: str | dict, seeds: Seeds) -> str:
    """The value of one column of one entity; '' for none."""
    candidates = [r for r in records if column in r.values]  # in ord
    if not candidates:
        return ""
    name, _ = split_strategy(strategy)
    values = [r.values[column] for r in candidates]
    forms = [comparison_form(r, column, seeds) for r in candidates]
    if name == "unanimous":
        # which of the equal ones is written must not depend on the order of rows (I3)
        return min(values) if len(set(forms)) == 1 else ""
    if name == "collect":
        return "; ".join(value for i, value in enumerate(values) if forms[i] not in forms[:i])
    if name == "min":
        return min(values)
    if name == "max":
        return max(values)
    if name == "most_frequent":  # one vote per file
        votes = [len({r.source for i, r in enumerate(candidates) if forms[i] == form}) for form in forms]
        return values[votes.index(max(votes))]
    return ranked(candidates, [column], strategy)[0].values[column]


def group_winner(records: list[Record], group: dict) -> dict[str, str]:
    """column -> value of one group of one entity: all of one row, or each of the best row that has it."""
    columns = group["columns"]
    rows = ranked([r for r in records if any(c in r.values for c in columns)], columns, group["strategy"])
    values = {column: "" for column in columns}
    for row in rows if group["allow_fill"] else rows[:1]:
        for column in columns:
            values[column] = values[column] or row.values.get(column, "")
    return values


def enrichment(
    links: list[Link], columns: list[str], strategies: dict, groups: list[dict], seeds: Seeds
) -> dict[str, str]:
    """column -> the value that an original's entities offer, '' for none: blanks fall through (§5)."""
    offer = {column: "" for column in columns}
    grouped = [column for group in groups for column in group["columns"]]
    for link in links:
        for column in columns:
            if column not in grouped and offer[column] == "":
                strategy = strategies.get(column, strategies["default"])
                offer[column] = winner(link.records, column, strategy, seeds)
        for group in groups:
            values = group_winner(link.records, group)
            # without allow_fill the whole group comes from the first entity that has any of it
            whole = all(offer[column] == "" for column in values)
            for column in values:
                if (whole or group["allow_fill"]) and offer[column] == "":
                    offer[column] = values[column]
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


def read_vendors(
    spec: dict, tiers: list[dict], enriched: list[tuple[str, Table]], seeds: Seeds
) -> tuple[list[str], list[Record]]:
    """All vendor columns in order of first appearance, and all vendor rows in ord."""
    columns, records = [], []
    for number, (source, table) in enumerate(enriched):
        settings = spec["enriched"][number] if spec.get("enriched") else {}
        if settings.get("name", source) != source:
            raise ValueError(f"file {number + 1} is {source!r} here and not in the spec")
        file = read_file(table, spec, settings, False, seeds)
        if None in file.names:
            raise ValueError(f"{source}: no name left for {table.headers[file.names.index(None)]!r}")
        columns += [name for name in file.names if name not in columns]
        for row_number, row in enumerate(table.rows, start=1):
            cells = dict(zip(file.names, row, strict=True))
            values = {name: nfc(cell) for name, cell in cells.items() if not is_blank(cell, name, seeds)}
            keys = row_keys(row, file, tiers, seeds)
            records.append(Record(source, row_number, (number, row_number), file.region, values, keys))
    return columns, records


def merge(spec: dict, original: Table, enriched: list[tuple[str, Table]], **seeds_) -> Result:
    """spec and tables -> Result. Keyword arguments: the fields of Seeds, as load_seeds() gives them."""
    seeds = Seeds(**seeds_)
    tiers = [{"type": tier} if isinstance(tier, str) else tier for tier in spec["match_on"]]
    labels = [tier_label(tier) for tier in tiers]
    if any(tier.get("type", "external_id") not in (*KEY_TYPES, "external_id") for tier in tiers):
        raise ValueError(f"unknown key type in {tiers}")
    if len(set(labels)) < len(labels):
        raise ValueError(f"match_on names a label twice: {labels}")
    strategies = {"default": "first"} | {canonical(c): s for c, s in (spec.get("strategies") or {}).items()}
    policies = {"default": "fill"} | {canonical(c): p for c, p in (spec.get("overwrite") or {}).items()}
    if not set(policies.values()) <= POLICIES:
        raise ValueError(f"unknown policy in {policies}")

    if set(MATCH_COLUMNS) <= set(original.headers):  # a previous merge: these are not the CRM's
        kept = [i for i, header in enumerate(original.headers) if header not in MATCH_COLUMNS]
        rows = [[row[i] for i in kept] for row in original.rows]
        original = Table([original.headers[i] for i in kept], rows)
    file = read_file(original, spec, spec.get("original") or {}, True, seeds)
    crm = file.names

    vendor_columns, records = read_vendors(spec, tiers, enriched, seeds)
    entities = components(records)
    groups = read_groups(spec, vendor_columns)
    policy = {name: policies.get(name, policies["default"]) for name in crm if name in vendor_columns}
    added = {}  # output column -> vendor column
    for column in vendor_columns:
        if column not in crm:
            added[column] = column
        elif policy[column] == "suffix":
            if f"{column}_enriched" in vendor_columns:
                raise ValueError(f"two columns {column}_enriched")
            added[f"{column}_enriched"] = column
    columns = original.headers + list(added) + MATCH_COLUMNS
    if len({column.lower() for column in columns}) < len(columns):
        raise ValueError(f"column names clash: {columns}")

    result = Result(columns, [], set())
    for number, row in enumerate(original.rows, start=1):
        keys = row_keys(row, file, tiers, seeds)
        links = links_of(keys, entities, labels)
        offer = enrichment(links, vendor_columns, strategies, groups, seeds)

        # §6 groups under fill: one cell of the CRM's own holds the vendor's whole group back
        held = set()
        for group in groups:
            own = [i for i, name in enumerate(crm) if name in group["named"]]
            under_fill = [crm[i] for i in own if policies.get(crm[i], policies["default"]) == "fill"]
            if not group["allow_fill"] and under_fill and not all(is_empty(row[i]) for i in own):
                held |= {column for column in group["named"] if column in under_fill or column not in crm}

        cells = []
        for cell, name in zip(row, crm, strict=True):
            rule = policy.get(name)  # None: no vendor has this column
            writes = (
                (rule == "fill" and is_empty(cell) and name not in held and offer[name] != "")
                or (rule == "update" and offer[name] != "")
                or (rule == "replace" and bool(links))
            )
            cells.append(offer[name] if writes else cell)
        cells += ["" if column in held else offer[column] for column in added.values()]

        first = links[0] if links else None
        result.rows.append(
            cells
            + ["matched" if first else "unmatched", match_status(keys, links)]
            + ([str(first.tier), first.matched_on, first.entity_id] if first else ["", "", ""])
            + [str(sum(len(link.records) for link in links))]
        )
        for link in links:
            for r in link.records:
                result.crosswalk.add((r.source, r.row, number, link.entity_id, link.tier, link.matched_on))
    return result
