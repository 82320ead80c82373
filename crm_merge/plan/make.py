"""Makes the plan: a typed spec held against what its files are. Everything in which the two do not fit is said at once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crm_merge.canonical import canonical
from crm_merge.plan import columns as naming
from crm_merge.plan import parts, shapes, sizes
from crm_merge.plan.columns import Header
from crm_merge.plan.guards import evidence_of, guards_of
from crm_merge.plan.model import Group, Plan, Strategy, Tier, Unfit, VendorColumn
from crm_merge.spec.mistakes import did_you_mean, nearest
from crm_merge.spec.names import Names
from crm_merge.spec.settings import MOST_FILES, ColumnKey, ExternalKey, Spec, TypeKey

MOST_COLUMNS = 300  # that vendors bring: the engine plans a query in memory that its limit does not count, gigabytes for 500 columns
# What the merge itself adds to a row, in this order, last in merged_result.
MATCH_COLUMNS = (
    "match_quality", "match_status", "match_tier", "matched_on", "entity_id", "n_enriched_rows", "duplicate_in_original", "match_explanation",
)  # fmt: skip
ASSERTION_COLUMNS = ("decision", "a_source", "a_row", "a_key", "b_source", "b_row", "b_key")


@dataclass(frozen=True)
class Machine:
    """What a plan has to know of where the merge is made: the merge directory, DuckDB's threads and memory limit in bytes, the most rows of a part."""

    directory: str = ""
    threads: int = 1
    memory: int = 400_000_000
    most_rows: int = parts.ALL_ROWS


def made(
    spec: Spec,
    files: list[dict[str, Any]],
    assertions: list[dict[str, Any]],
    names: Names,
    machine: Machine,
    problems: Iterable[str] = (),
) -> Plan:
    """Returns the plan of a spec for files as they were profiled; raises Unfit with all problems, those that are known already first.

    ``files`` and ``assertions`` are the profiles of the spec's files (crm_merge.reading.inputs); they get notes.
    """
    if len(files) > MOST_FILES + 1:
        said = f"enriched: the paths match {len(files) - 1} files; a merge takes {MOST_FILES}"
        raise Unfit("Too many files.", [said])
    planner = Planner(spec, files, list(problems))
    plan = planner.plan(assertions, machine.directory)
    if planner.problems:
        raise Unfit("The merge spec does not fit the files.", list(dict.fromkeys(planner.problems)))
    plan.needs = sizes.needs(plan, spec, machine.threads)
    plan.widths = parts.widths(plan, names, machine.memory, machine.most_rows)
    plan.parts = parts.settled(plan, plan.widths)
    plan.shapes = shapes.shapes_of(plan, machine.most_rows)
    plan.cells = shapes.cells_of(plan, names)
    plan.tiers_of_several = shapes.tiers_of_several(plan.cells)
    for file in plan.files:
        file["tiers"] = [tier.tier for tier in plan.tiers if file["k"] in tier.columns]
        file["reject_problem"] = reject_problem(file, plan.max_reject_rate)
    return plan


class Planner:
    """The steps of planning, and the problems that they find."""

    def __init__(self, spec: Spec, files: list[dict[str, Any]], problems: list[str]):
        self.spec, self.files, self.problems = spec, files, problems
        self.known_before = len(problems)
        numbers = {file.name: number for number, file in enumerate(spec.enriched, 1)}
        for file in files:
            file["vendor_number"] = numbers[file["vendor"]] if file["k"] else 0
        self.headers = naming.named((file["k"], file["header"], self.declared(file)) for file in files)
        self.refuse_two_of_a_name()
        self.crm: list[Header] = []
        self.header_of: dict[str, str] = {}  # of a column, the CRM's header
        self.found: dict[str, Header] = {}  # of a column, the first header of a vendor that brings it
        self.at: dict[tuple[int, str], Header] = {}  # by file and column
        self.sort_headers()
        self.known = [*self.header_of, *self.found]

    def plan(self, assertions: list[dict[str, Any]], directory: str) -> Plan:
        """Returns the plan as far as it can be made."""
        groups = self.groups()
        strategies = self.strategies(groups)
        policies = self.policies(groups)
        for header in self.crm:
            header.policy = policies.get(str(header.column), self.spec.overwrite.get("default", "fill"))
        vendor = self.vendor_columns(groups, strategies, policies)
        self.name_outputs(vendor)
        tiers = self.tiers()
        guards = guards_of(self.spec.guards, tiers, self.problems)
        evidence = evidence_of(guards, tiers, self.headers)
        self.check_assertions(assertions)
        record_id = self.record_id(tiers)
        for group, written in zip(groups, self.spec.groups, strict=True):
            group.strategy = self.strategy(written.strategy, f"groups[{group.index}].strategy")
        vendors = [file.model_dump(exclude_unset=True) for file in self.spec.enriched]
        return Plan(
            self.files, self.crm, vendor, tiers, groups, self.headers, directory, evidence, guards, assertions, vendors,
            record_id, self.spec.guards.max_reject_rate, self.spec.region,
        )  # fmt: skip

    # -- Columns of files --

    def declared(self, file: dict[str, Any]) -> dict[str, str]:
        """Returns {header: column} of what the spec maps; a header may be written in another case."""
        declared = {}
        for written, column in (file.get("columns") or {}).items():
            texts = [text for text in file["header"] if text.strip().lower() == written.strip().lower()]
            if written in file["header"] or texts:
                header = written if written in file["header"] else texts[0]
                if column is not None:
                    declared[header] = column
                if column is not None and not canonical(column):
                    self.problems.append(
                        f"{file['setting']}.columns: '{written}' is mapped to '{column}', which holds no letter or digit"
                    )
            else:
                hint = did_you_mean(written, file["header"])
                self.problems.append(
                    f"{file['setting']}.columns: there is no header '{written}' in the file{hint}"
                )
        return declared

    def refuse_two_of_a_name(self) -> None:
        """Refuses two headers of a file that the spec maps to one column."""
        mapped: dict[tuple[int, str], str] = {}
        for header in self.headers:
            if not header.mapped:
                continue
            if other := mapped.get((header.k, header.mapped)):
                self.problems.append(
                    f"{self.files[header.k]['setting']}.columns: '{header.header}' can not be the column '{header.mapped}', which '{other}' is"
                    " mapped to; give one of them another name"
                )
            mapped.setdefault((header.k, header.mapped), header.header)

    def sort_headers(self) -> None:
        """Tells the CRM's columns from those that vendors bring. The match columns of an earlier merge are replaced, not taken for the CRM's."""
        own = {header.header.lower() for header in self.headers if header.k == 0}
        merged_before = own.issuperset(MATCH_COLUMNS)
        if merged_before:
            self.note(
                f"its columns {', '.join(MATCH_COLUMNS)} are those of an earlier merge: this one writes them anew, behind all others"
            )
        for header in self.headers:
            if header.k > 0:
                self.take_vendor_header(header)
            elif not (merged_before and header.header.lower() in MATCH_COLUMNS):
                if header.header.lower() in MATCH_COLUMNS or header.header.lower().startswith("_merge_"):
                    self.problems.append(
                        f"original: the header '{header.header}' is a name that the merge itself gives; rename it in the file"
                    )
                self.crm.append(header)
                if header.column:
                    self.header_of[header.column] = header.header
            if header.column:
                self.at[header.k, header.column] = header

    def take_vendor_header(self, header: Header) -> None:
        """Takes a vendor's header for the column that it is called by."""
        if header.column is None:
            self.problems.append(
                f"{self.files[header.k]['setting']}.columns: '{header.header}' means '{header.wanted}', which another column of the file has"
                f" already; map one of them: {mapped(header.header, 'another_name')}"
            )
        else:
            self.found.setdefault(header.column, header)

    def note(self, text: str) -> None:
        """Adds a sentence to what is said of the original."""
        self.files[0]["notes"].append(text)

    def resolved(self, word: str, known: Iterable[str], place: str) -> str | None:
        """Returns the column that a word of the spec means: by its own name, else by its alias."""
        known = list(known)
        if not canonical(word):
            self.problems.append(f"{place}: '{word}' is no name of a column: it holds no letter or digit")
            return None
        entry = naming.word(word)
        for name in (entry.own, entry.wanted):
            if name in known:
                return name
        self.problems.append(f"{place}: no file has a column '{entry.own}'{did_you_mean(entry.own, known)}")
        return None

    # -- Conflicts --

    def groups(self) -> list[Group]:
        """Returns field groups with their columns; their strategies are resolved later."""
        groups: list[Group] = []
        taken: set[str] = set()
        for index, group in enumerate(self.spec.groups):
            place, columns = f"groups[{index}].columns", []
            for written in group.columns:
                column = self.resolved(written, self.known, place)
                if column in taken:
                    self.problems.append(
                        f"{place}: '{written}' stands in a group already; a column survives with one group"
                    )
                elif column:
                    taken.add(column)
                    columns.append(column)
            groups.append(Group(index, columns, Strategy("first"), group.allow_fill))
        return groups

    def strategies(self, groups: list[Group]) -> dict[str, Any]:
        """Returns what the spec says of columns."""
        strategies, places = self.of_columns("strategies", self.spec.strategies, "a strategy")
        for column in strategies:
            if group := group_of(groups, column):
                self.problems.append(
                    f"{places[column]}: the column is in groups[{group.index}], whose strategy rules; remove one of the two"
                )
        return strategies

    def of_columns(
        self, setting: str, written: dict[str, Any], what: str
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Returns what a setting says of columns, and where it says so."""
        said: dict[str, Any] = {}
        places: dict[str, str] = {}
        for word, value in written.items():
            if word == "default":
                continue
            place = f"{setting}.{word}"
            column = self.resolved(word, self.known, place)
            if column in said:
                self.problems.append(f"{place}: column '{column}' has {what} already")
            if column:
                said[column], places[column] = value, place
        return said, places

    def policies(self, groups: list[Group]) -> dict[str, str]:
        """Returns the policies of columns; says which change nothing."""
        policies, _ = self.of_columns("overwrite", self.spec.overwrite, "a policy")
        for column in policies:
            if group_of(groups, column):
                continue
            if column not in self.found:
                self.note(f"overwrite.{column} changes nothing: no vendor file has a column for it")
            elif column not in self.header_of:
                self.note(
                    f"overwrite.{column} changes nothing: it has no column '{column}', and the result gets one with what the vendors say"
                )
        return policies

    def strategy(self, written: Any, place: str) -> Strategy:
        """Returns a strategy with its argument resolved."""
        if not isinstance(written, dict):
            return Strategy(written)
        name, argument = next(iter(written.items()))
        if name == "most_recent":
            return Strategy(name, self.resolved(argument, self.found, f"{place}.most_recent"))
        ranks: list[list[int]] = []
        for vendor, files in itertools.groupby(self.files, key=lambda file: file["vendor"]):
            if vendor in argument:
                numbers = [file["k"] for file in files]
                ranks.append([numbers[0], numbers[-1], len(argument) - argument.index(vendor)])
        return Strategy(name, None, ranks)

    def vendor_columns(
        self, groups: list[Group], strategies: dict[str, Any], policies: dict[str, str]
    ) -> list[VendorColumn]:
        """Returns the columns that vendors bring, in order of first appearance, with what the spec says of each."""
        vendor: list[VendorColumn] = []
        seen: set[int] = set()
        for index, (column, header) in enumerate(self.found.items(), 1):
            of_crm = self.header_of.get(column)
            policy = policies.get(column, self.spec.overwrite.get("default", "fill"))
            group = group_of(groups, column)
            written = strategies.get(column, self.spec.strategies.get("default", "first"))
            strategy = self.strategy(written, f"strategies.{column}")
            output = f"{column}_enriched" if of_crm and policy == "suffix" else None if of_crm else column
            is_first = group is not None and group.index not in seen
            if group:
                seen.add(group.index)
            vendor.append(
                VendorColumn(
                    index, column, of_crm, output, policy, header.key_type, group, strategy, is_first
                )
            )
        if len(vendor) > MOST_COLUMNS:
            self.problems.append(
                f"enriched: the files bring {len(vendor)} different columns; a merge takes at most {MOST_COLUMNS}. Leave out of the files what"
                " you do not need"
            )
        return vendor

    def name_outputs(self, vendor: list[VendorColumn]) -> None:
        """Gives each column of vendors its place in the result; names never clash silently."""
        taken = {header.header.lower(): f"the CRM's column '{header.header}'" for header in self.crm}
        taken |= {name: "the merge's own column" for name in MATCH_COLUMNS}
        for column in vendor:
            first = self.found[column.column]
            setting = self.files[first.k]["setting"]
            remedy = f"; map it: {mapped(first.header, 'another_name')}"
            if str(column.header or column.output).lower() == "enriched_by":
                self.problems.append(
                    f"{setting}.columns: '{first.header}' has a name that unmatched_enriched itself gives{remedy}"
                )
        for column in vendor:
            if not column.output:
                continue
            first = self.found[column.column]
            if other := taken.get(column.output.lower()):
                self.problems.append(
                    f"{self.files[first.k]['setting']}.columns: '{first.header}' would become the column '{column.output}', a name that {other}"
                    f" has; map it: {mapped(first.header, 'another_name')}"
                )
            taken[column.output.lower()] = f"column '{column.output}'"
        outputs = [header.header for header in self.crm]
        outputs += [column.output for column in vendor if column.output]
        outputs += MATCH_COLUMNS
        places = {name: place for place, name in reversed(list(enumerate(outputs, 1)))}
        for column in vendor:
            column.name = str(column.output or column.header)
            column.place = places[column.name]
        for name in self.spec.export.partition_by:
            if name not in places:
                hint = did_you_mean(name, outputs)
                self.problems.append(f"export.partition_by: the result has no column '{name}'{hint}")

    # -- Matching --

    def tiers(self) -> list[Tier]:
        """Returns match_on, resolved; every file needs one usable key."""
        tiers: list[Tier] = []
        for number, key in enumerate(self.spec.match_on, 1):
            place = f"match_on[{number - 1}]"
            if isinstance(key, ColumnKey):
                tier = self.column_tier(number, key, place)
            elif isinstance(key, ExternalKey):
                tier = self.external_tier(number, key, place)
            else:
                kind = key.type if isinstance(key, TypeKey) else key
                tier = Tier(number, kind, "exact", kind, columns_of_type(self.headers, kind))
            if tier.label and any(other.label == tier.label for other in tiers):
                self.problems.append(f"{place}: '{tier.label}' stands twice in match_on")
            tiers.append(tier)
        if len(self.problems) == self.known_before:
            self.refuse_keyless_files(tiers)
        for tier in tiers:
            if tier.label and 0 not in tier.columns:
                self.note(
                    f"it has no column for the key '{tier.label}' of match_on, which matches none of its rows; if one has it, map it:"
                    f" original.{mapped('HEADER', tier.label)}"
                )
        return tiers

    def column_tier(self, number: int, key: ColumnKey, place: str) -> Tier:
        """Returns the tier of a column."""
        column = self.resolved(key.column, self.known, f"{place}.column")
        tier = Tier(number, "column", key.compare, column)
        for file in self.files:
            if column and (header := self.at.get((file["k"], column))):
                tier.columns[file["k"]] = [header]
        return tier

    def external_tier(self, number: int, key: ExternalKey, place: str) -> Tier:
        """Returns the tier of the CRM's own id."""
        tier = Tier(number, "column", "exact", "external_id")
        if header := self.original_header(key.original, f"{place}.original"):
            tier.columns[0] = [header]
        column = self.resolved(key.enriched, self.found, f"{place}.enriched")
        for file in self.files[1:]:
            if column and (header := self.at.get((file["k"], column))):
                tier.columns[file["k"]] = [header]
        return tier

    def refuse_keyless_files(self, tiers: list[Tier]) -> None:
        """Refuses files of which no column feeds a key."""
        usable = {k for tier in tiers for k in tier.columns}
        for file in self.files:
            if file["k"] not in usable:
                labels = ", ".join(str(tier.label) for tier in tiers)
                self.problems.append(
                    f"{file['setting']}: {file['shown'].split('/')[-1]} has no usable key column: none of {', '.join(file['header'])} feeds"
                    f" {labels}; name one in match_on, or map one: {self.mapping(file['k'], tiers)}"
                )

    def mapping(self, k: int, tiers: list[Tier]) -> str:
        """Returns how a header of a file would be mapped to a key: the one that is called like a key, if there is one."""
        labels = [str(tier.label) for tier in tiers]
        for header in self.headers:
            if header.k == k and (label := nearest(header.wanted, labels)):
                return mapped(header.header, label)
        return mapped("HEADER", labels[0])

    def original_header(self, text: str, place: str) -> Header | None:
        """Returns the CRM's column that the spec names: by its header's text, else by its name."""
        own = [header for header in self.headers if header.k == 0]
        for header in own:
            if header.header == text:
                return header
        name = naming.word(text).own
        for header in own:
            if name in (header.column, header.own):
                return header
        hint = did_you_mean(text, self.files[0]["header"])
        self.problems.append(f"{place}: the original has no column '{text}'{hint}")
        return None

    def record_id(self, tiers: list[Tier]) -> str | None:
        """Returns the header of the CRM's own id: the one the spec names, else an external id's, else ``record_id`` or ``id``."""
        if written := self.spec.original.record_id:
            header = self.original_header(written, "original.record_id")
            if header and header not in self.crm:
                self.problems.append(
                    f"original.record_id: '{written}' is a column of an earlier merge, not the CRM's"
                )
            return header.header if header else None
        for tier in tiers:
            if tier.label == "external_id" and 0 in tier.columns:
                return tier.columns[0][0].header
        for name in ("record_id", "id"):
            for header in self.crm:
                if header.own == name:
                    return header.header
        return None

    def check_assertions(self, files: list[dict[str, Any]]) -> None:
        """Finds the columns of files of decisions; refuses files that lack some, or can't be read whole."""
        for file in files:
            places: dict[str, str] = {}
            for place, header in enumerate(file["header"], 1):
                places.setdefault(header.strip().lower().replace(" ", "_"), f"c{place}")
            file |= {"k": f"assertions_{file['k']}", "places": places}
            for name in ("decision", "a_source", "a_row", "b_source", "b_row"):
                by_key = name != "decision" and f"{name[:2]}key" in places
                if name not in places and not by_key:
                    self.problems.append(
                        f"{file['setting']}: {file['shown']} has no column '{name}'; expected: {', '.join(ASSERTION_COLUMNS)}"
                    )
            if file["rejected_rows"]:
                self.problems.append(
                    f"{file['setting']}: {file['shown']}: {file['rejected_rows']} rows can not be read, and assertions tolerate none:"
                    f" {'; '.join(file['first_rejects'])}"
                )


def mapped(header: str, name: str) -> str:
    """Returns the setting that gives a file's header another name, as YAML and as JSON."""
    return f"columns: {{{json.dumps(header, ensure_ascii=False)}: {name}}}"


def group_of(groups: list[Group], column: str) -> Group | None:
    """Returns the group that a column is in."""
    return next((group for group in groups if column in group.columns), None)


def columns_of_type(headers: list[Header], kind: str) -> dict[int, list[Header]]:
    """Returns {number of a file: its columns of a key type}."""
    columns: dict[int, list[Header]] = {}
    for header in headers:
        if header.key_type == kind:
            columns.setdefault(header.k, []).append(header)
    return columns


def reject_problem(file: dict[str, Any], max_reject_rate: float) -> str | None:
    """Returns why a file has too many rows that can't be read; None if it has not."""
    of_file, is_original = file.get("max_reject_rate"), file["k"] == 0
    tolerated = max_reject_rate if of_file is None else of_file
    if is_original:
        refuses = file.get("on_bad_row", "refuse") == "refuse"
        tolerated = 0 if refuses else 1 if of_file is None else of_file
    if file["rejected_rows"] <= file["physical_rows"] * tolerated:
        return None
    if is_original and tolerated == 0:
        remedy = "the original tolerates none; repair them, or set original.on_bad_row: set_aside"
    else:
        share = round(tolerated * 100, 4)
        remedy = f"more than {share} %; repair them, or raise {file['setting']}.max_reject_rate"
    return (
        f"{file['setting']}: {file['path'].split('/')[-1]}: {file['rejected_rows']} of {file['physical_rows']} rows can not be read ({remedy}):"
        f" {'; '.join(file['first_rejects'])}"
    )


def unreadable(plan: Plan) -> list[str]:
    """Returns why files of a plan have too many rows that can't be read: a merge is refused then."""
    return [file["reject_problem"] for file in plan.files if file["reject_problem"]]
