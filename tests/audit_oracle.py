"""The brute-force reference of the audit tables: where each cell came from, and what each vendor gave.

    result = audit(spec, original, [(name, table), ...], **load_seeds("seeds/reference"))

It takes from the oracle who is who and what survives; all that is counted here is counted anew, cell by cell.
"candidate": a cell of a vendor row of an entity that is not blank. "form": its comparison form. "taken": a
cell of the result that has a vendor's value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.oracle import (
    KEY_TYPES,
    Entity,
    Id,
    Link,
    Offer,
    Plan,
    Record,
    Seeds,
    Table,
    Work,
    added_columns,
    canonical,
    comparison_form,
    consolidated,
    find_header,
    is_empty,
    key_type,
    prepare,
    ranked_group,
    read_tiers,
    split_strategy,
    type_keys,
    winner,
    written,
)

Figures = dict[str, "int | float | None"]
ALL = "(all)"  # the row of the scorecard that sums up a vendor


@dataclass
class Audit:
    """The audit tables; a null text is '', any other null is None, row numbers are 1-based ints.

    provenance: (original_row, column_name, source, source_row, source_column, strategy, policy, old_value,
    new_value). changes: (record_id, original_row, column_name, old_value, new_value, source, source_row,
    is_new_column). ledger: row of either side -> (bucket, entity_id). unmatched: headers and rows, in order.
    conflicts: (original_row, entity_id, column_name) -> Conflict. scorecard: (vendor, column_name) -> figures.
    """

    provenance: set[tuple[int, str, str, int, str, str, str, str, str]]
    changes: set[tuple[str, int, str, str, str, str, int, bool]]
    ledger: dict[Id, tuple[str, str]]
    unmatched: tuple[list[str], list[list[str]]]
    conflicts: dict[tuple[int, str, str], tuple]
    scorecard: dict[tuple[str, str], Figures]


@dataclass
class Taken:
    """A cell of the result that has a vendor's value, here by the vendor's column."""

    original_row: int
    column: str
    offer: Offer


@dataclass
class Dispute:
    """An entity whose candidates in a column have two forms or more; winner and runner_up may be Offer()."""

    entity: Entity
    column: str
    candidates: list[Record]
    forms: set[str]
    winner: Offer
    runner_up: Offer


# -- Words of the contract --


def group_of(column: str, plan: Plan) -> dict | None:
    return next((group for group in plan.groups if column in group["columns"]), None)


def strategy_of(column: str, plan: Plan) -> str:
    """The name of the column's strategy, or of its group's."""
    group = group_of(column, plan)
    return split_strategy(group["strategy"] if group else plan.strategy(column))[0]


def own_cell(row: list[str], column: str, plan: Plan) -> str | None:
    """The CRM's raw cell in a vendor's column, whatever the policy; None when the CRM has no such column."""
    return row[plan.crm.index(column)] if column in plan.crm else None


def form_of(record: Record, column: str, value: str, seeds: Seeds) -> str:
    """The form that a value would have as a cell of a row."""
    return comparison_form(replace(record, values={column: value}), column, seeds)


def holders(records: list[Record], column: str) -> list[Record]:
    """The rows that have a candidate in a column."""
    return [record for record in records if column in record.values]


def record_id_index(spec: dict, headers: list[str]) -> int | None:
    """Which column of the CRM names its rows."""
    named = (spec.get("original") or {}).get("record_id")
    if named is not None:
        return find_header(headers, named)
    for tier in read_tiers(spec):
        if tier.get("type") == "external_id":
            return find_header(headers, tier["original"])
    names = [canonical(header, i + 1) for i, header in enumerate(headers)]
    return next((names.index(name) for name in ("record_id", "id") if name in names), None)


def taken_cells(work: Work, without: str | None = None) -> list[Taken]:
    """All taken cells; or those there would be without a vendor's rows: links and their order stay."""
    cells = []
    for original, row, links in zip(work.originals, work.original.rows, work.links, strict=True):
        rest = [replace(link, entity=without_vendor(link.entity, without)) for link in links]
        for column, offer in written(row, rest, work.plan).items():
            if offer.value:
                cells.append(Taken(original.row, column, offer))
    return cells


def without_vendor(entity: Entity, vendor: str | None) -> Entity:
    return replace(entity, records=[record for record in entity.records if record.source != vendor])


# -- cell_provenance and merge_changes --


def provenance_row(cell: Taken, work: Work) -> tuple:
    plan, record = work.plan, cell.offer.record
    output = plan.outputs[cell.column]
    row = work.original.rows[cell.original_row - 1]
    file = work.files[record.source]
    return (
        *(cell.original_row, output, record.source, record.row, file.headers[file.names.index(cell.column)]),
        *(strategy_of(cell.column, plan), plan.policy(cell.column)),
        *("" if output in added_columns(plan) else row[plan.headers.index(output)], cell.offer.value),
    )


def changes_of(provenance: set[tuple], spec: dict, work: Work) -> set[tuple]:
    index = record_id_index(spec, work.plan.headers)
    changes = set()
    for original_row, output, source, source_row, _, _, _, old, new in provenance:
        record_id = "" if index is None else work.original.rows[original_row - 1][index]
        if new != old:
            is_new = output in added_columns(work.plan)
            name = "" if is_empty(record_id) else record_id
            changes.add((name, original_row, output, old, new, source, source_row, is_new))
    return changes


# -- row_ledger --


def entity_of(record: Record, work: Work) -> Entity | None:
    return next((entity for entity in work.entities if record in entity.records), None)


def is_linked(entity: Entity, work: Work) -> bool:
    return any(link.entity is entity for links in work.links for link in links)


def is_matched(record: Record, work: Work) -> bool:
    """Its entity is linked to a CRM row."""
    entity = entity_of(record, work)
    return entity is not None and is_linked(entity, work)


def vendor_bucket(record: Record, tables: dict[str, Table], work: Work) -> str:
    entity = entity_of(record, work)
    rows = tables[record.source].rows
    if entity is None:
        return "no_valid_key"
    if entity.level is None:
        return "quarantined"
    if rows[record.row - 1] in rows[: record.row - 1]:
        return "duplicate"
    return "used" if is_matched(record, work) else "unmatched"


def ledger_of(tables: dict[str, Table], work: Work) -> dict[Id, tuple[str, str]]:
    """row -> (bucket, entity_id); the first entity's of a CRM row."""
    ledger = {}
    for original, links in zip(work.originals, work.links, strict=True):
        if links:
            ledger[original.id] = ("matched", links[0].entity.entity_id)
        else:
            ledger[original.id] = ("unmatched" if original.keys else "no_valid_key", "")
    for record in work.vendor_rows:
        entity = entity_of(record, work)
        name = entity.entity_id if entity and entity.level is not None else ""
        ledger[record.id] = (vendor_bucket(record, tables, work), name)
    return ledger


# -- unmatched_enriched --


def unmatched_of(work: Work) -> tuple[list[str], list[list[str]]]:
    """The entities that no CRM row is linked to, in the order of their first rows."""
    plan = work.plan
    columns = [name for name in plan.crm if name in plan.columns]
    headers = [plan.headers[plan.crm.index(column)] for column in columns]
    new = [column for column in plan.columns if column not in plan.crm]
    rows = []
    for entity in sorted(work.entities, key=lambda entity: entity.records[0].ord):
        if entity.level is None or is_linked(entity, work):
            continue
        vendors = [vendor for vendor in work.files if any(r.source == vendor for r in entity.records)]
        # no CRM row is linked, so any key that is shared was refused
        shared = any(record.keys & original.keys for record in entity.records for original in work.originals)
        status = "possibly_related" if shared else "unmatched"
        values = consolidated(entity.records, plan)
        rows.append(
            [entity.entity_id, "+".join(vendors), str(len(entity.records)), status]
            + [values[column].value for column in columns + new]
        )
    return ["entity_id", "enriched_by", "n_enriched_rows", "match_status", *headers, *new], rows


# -- merge_conflicts --


def runner_up(records: list[Record], column: str, best: Offer, plan: Plan) -> Offer:
    """What the same ranking gives among the candidates whose form is not the winner's."""
    if strategy_of(column, plan) in ("unanimous", "collect"):
        return Offer()
    others = [r for r in holders(records, column) if not best.value or not has_form(r, column, best, plan)]
    group = group_of(column, plan)
    if group is None:
        # nobody's votes change: a vote is counted by form, and a form stays or goes as a whole
        return winner(others, column, plan.strategy(column), plan.seeds)
    ranking = [record for record in ranked_group(records, group) if record in others]
    return Offer(ranking[0].values[column], ranking[0]) if ranking else Offer()


def has_form(record: Record, column: str, best: Offer, plan: Plan) -> bool:
    """The record's cell has the form of the winner. A collected value is joined, and compared as it is."""
    return comparison_form(record, column, plan.seeds) == form_of(best.record, column, best.value, plan.seeds)


def disputes(work: Work) -> list[Dispute]:
    """Of entities that a CRM row is linked to."""
    plan = work.plan
    found = []
    for entity in work.entities:
        best = consolidated(entity.records, plan)
        for column in plan.columns if is_linked(entity, work) else []:
            candidates = holders(entity.records, column)
            forms = {comparison_form(record, column, plan.seeds) for record in candidates}
            if len(forms) >= 2:
                second = runner_up(entity.records, column, best[column], plan)
                found.append(Dispute(entity, column, candidates, forms, best[column], second))
    return found


def told(offer: Offer) -> tuple[str, str, int | None]:
    """(value, source, row)."""
    return (offer.value, *(offer.record.id if offer.record else ("", None)))


def disagrees(original: Record, dispute: Dispute, plan: Plan) -> bool | None:
    """The CRM's cell says something else than the winner; None where one of them says nothing.

    What is collected agrees with each of its values.
    """
    if dispute.column not in original.values or not dispute.winner.value:
        return None
    if strategy_of(dispute.column, plan) == "collect":
        return comparison_form(original, dispute.column, plan.seeds) not in dispute.forms
    return not has_form(original, dispute.column, dispute.winner, plan)


def conflicts_of(work: Work, taken: list[Taken]) -> dict[tuple[int, str, str], tuple]:
    plan = work.plan
    conflicts = {}
    for dispute in disputes(work):
        for original, row, links in zip(work.originals, work.original.rows, work.links, strict=True):
            if not any(link.entity is dispute.entity for link in links):
                continue
            column = dispute.column
            is_used = any(
                cell.original_row == original.row
                and cell.column == column
                and cell.offer.record in dispute.entity.records
                for cell in taken
            )
            conflicts[original.row, dispute.entity.entity_id, plan.outputs[column]] = (
                *(len(dispute.candidates), len(dispute.forms), strategy_of(column, plan)),
                *told(dispute.winner),
                *told(dispute.runner_up),
                *(own_cell(row, column, plan) or "", disagrees(original, dispute, plan), is_used),
            )
    return conflicts


# -- vendor_scorecard --


def ratio(part: float | None, whole: int) -> float | None:
    return None if part is None or whole == 0 else part / whole


def valid_keys(rows: list[Record], column: str, seeds: Seeds) -> int | None:
    """Cells with a valid key, blocked or not; None for a column that is of no key type."""
    kind = key_type(column, seeds)
    if kind not in KEY_TYPES:
        return None
    return sum(bool(type_keys(kind, r.values[column], r.region, seeds)) for r in holders(rows, column))


def is_exclusive(cell: Taken, links: list[list[Link]]) -> bool:
    """No other vendor has a candidate in the column in any entity of the CRM row."""
    records = [record for link in links[cell.original_row - 1] for record in link.records]
    return {record.source for record in holders(records, cell.column)} == {cell.offer.record.source}


def against_vendors(rows: list[Record], column: str, work: Work) -> tuple[int, int]:
    """Cells that another vendor has a candidate for in the entity; those of them that one of these agrees with."""
    seeds = work.plan.seeds
    compared = agreed = 0
    for record in holders(rows, column):
        if is_matched(record, work):
            entity = entity_of(record, work)
            others = [r for r in holders(entity.records, column) if r.source != record.source]
            form = comparison_form(record, column, seeds)
            compared += bool(others)
            agreed += any(comparison_form(other, column, seeds) == form for other in others)
    return compared, agreed


def against_original(vendor: str, column: str, work: Work) -> tuple[int, int]:
    """Pairs of a candidate and a linked CRM row whose cell is not blank; those of them that say the same."""
    seeds = work.plan.seeds
    same = [
        comparison_form(record, column, seeds) == comparison_form(original, column, seeds)
        for original, links in zip(work.originals, work.links, strict=True)
        if column in original.values
        for link in links
        for record in holders(link.records, column)
        if record.source == vendor
    ]
    return len(same), sum(same)


def outcome(dispute: Dispute, vendor: str, plan: Plan) -> str:
    """'' for a vendor that has no candidate, else 'won', 'lost' or, without a winner, 'neither'."""
    mine = [record for record in dispute.candidates if record.source == vendor]
    if not mine:
        return ""
    if strategy_of(dispute.column, plan) == "collect":
        return "won"
    if not dispute.winner.value:  # of a group whose row is blank here, or nobody's
        return "lost" if group_of(dispute.column, plan) else "neither"
    return "won" if any(has_form(r, dispute.column, dispute.winner, plan) for r in mine) else "lost"


def counts_of(
    vendor: str, column: str, work: Work, taken: list[Taken], left: list[Taken], disputed: list[Dispute]
) -> dict[str, int | None]:
    """What is counted by column. left: the cells that would be taken without the vendor."""
    rows = [record for record in work.vendor_rows if record.source == vendor]
    here = [cell for cell in taken if cell.column == column]
    given = [cell for cell in here if cell.offer.record.source == vendor]
    compared, agreed = against_vendors(rows, column, work)
    compared_with_original, agreed_with_original = against_original(vendor, column, work)
    outcomes = [outcome(dispute, vendor, work.plan) for dispute in disputed if dispute.column == column]
    return {
        "valid_keys": valid_keys(rows, column, work.plan.seeds),
        "filled_cells": len(holders(rows, column)),
        "cells_given": len(given),
        "exclusive_fills": sum(is_exclusive(cell, work.links) for cell in given),
        "compared_with_vendors": compared,
        "agreed_with_vendors": agreed,
        "compared_with_original": compared_with_original,
        "agreed_with_original": agreed_with_original,
        "conflicts": len(outcomes) - outcomes.count(""),
        "conflicts_won": outcomes.count("won"),
        "conflicts_lost": outcomes.count("lost"),
        "lift_cells": len(here) - sum(cell.column == column for cell in left),
    }


def ratios_of(counts: dict, n_rows: int, n_originals: int, n_columns: int = 1) -> Figures:
    """The ratios that belong to counts over so many columns."""
    return {
        "fill_rate": ratio(counts["filled_cells"], n_rows * n_columns),
        "agreement_with_vendors": ratio(counts["agreed_with_vendors"], counts["compared_with_vendors"]),
        "agreement_with_original": ratio(counts["agreed_with_original"], counts["compared_with_original"]),
        "lift": ratio(counts["lift_cells"], n_originals * n_columns),
    }


def vendor_figures(vendor: str, work: Work) -> Figures:
    """What is repeated on all rows of a vendor."""
    rows = [record for record in work.vendor_rows if record.source == vendor]
    matched = [record for record in rows if is_matched(record, work)]
    return {
        "n_rows": len(rows),
        "rows_with_key": sum(bool(record.keys) for record in rows),
        "rows_matched": len(matched),
        "match_rate": ratio(len(matched), len(rows)),
    }


def price_of(spec: dict, vendor: str, work: Work) -> float | None:
    settings = spec.get("enriched") or [{} for _ in work.files]
    return settings[list(work.files).index(vendor)].get("price")


def scorecard_of(spec: dict, work: Work, taken: list[Taken]) -> dict[tuple[str, str], Figures]:
    """(vendor, column or '(all)') -> figures."""
    scorecard = {}
    disputed = disputes(work)
    n_originals = len(work.originals)
    for vendor, file in work.files.items():
        left = taken_cells(work, without=vendor)
        repeated = vendor_figures(vendor, work)
        n_rows = repeated["n_rows"]
        total: dict = {}
        for column in file.names:
            counts = counts_of(vendor, column, work, taken, left, disputed)
            total = {name: total.get(name, 0) + (count or 0) for name, count in counts.items()}
            scorecard[vendor, work.plan.outputs[column]] = (
                repeated
                | counts
                | ratios_of(counts, n_rows, n_originals)
                | {"price": None, "cost_per_exclusive_fill": None}
            )
        price = price_of(spec, vendor, work)
        cost = ratio(price, total["exclusive_fills"])
        scorecard[vendor, ALL] = (
            repeated
            | total
            | {"valid_keys": None}
            | ratios_of(total, n_rows, n_originals, len(file.names))
            | {"price": price, "cost_per_exclusive_fill": cost}
        )
    return scorecard


def audit(spec: dict, original: Table, enriched: list[tuple[str, Table]], **seeds_) -> Audit:
    """spec and tables, as for merge() -> the audit tables."""
    work = prepare(spec, original, enriched, Seeds(**seeds_))
    taken = taken_cells(work)
    provenance = {provenance_row(cell, work) for cell in taken}
    return Audit(
        provenance,
        changes_of(provenance, spec, work),
        ledger_of(dict(enriched), work),
        unmatched_of(work),
        conflicts_of(work, taken),
        scorecard_of(spec, work, taken),
    )
