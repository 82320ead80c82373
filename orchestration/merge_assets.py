"""The assets of a merge: its files, the dbt models with their tests as checks, the export, the copy that analysts read.

Assets are thin: what they do is in dbt_run, publish, watch and history, which know nothing of Dagster.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, dbt_assets

from orchestration import analysts, dbt_run, history, home, merging, spec_file, watch
from reading import FileProblem

MERGES = dg.DynamicPartitionsDefinition(name="merges")
# Faults that pass (a server that is down, a network that breaks off): 10, 20, 40, … seconds, each with jitter.
PATIENTLY = dg.RetryPolicy(
    max_retries=5, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
TABLES_SHOWN = 100  # rows of a table that a page shows


class Translator(DagsterDbtTranslator):
    """Groups the models as their folders do; the seeds are one group."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Returns the group: staging, intermediate, marts_merge, marts_audit, marts_report, reference."""
        if dbt_resource_props["resource_type"] == "seed":
            return "reference"
        return "_".join(dbt_resource_props["fqn"][1:-1]) or "models"


@lru_cache(maxsize=1)
def manifest() -> dict[str, Any]:
    """Returns dbt's manifest of the project, parsed when it is older than a file of the project."""
    folder = home.folder() / "dbt"
    file = folder / "manifest.json"
    sources = [
        *(dbt_run.PROJECT / "dbt_project.yml", dbt_run.PROJECT / "selectors.yml"),
        *(path for room in ("models", "macros", "seeds/reference", "tests/sql") for path in (dbt_run.PROJECT / room).rglob("*")),
    ]  # fmt: skip
    if not file.exists() or file.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        folder.mkdir(parents=True, exist_ok=True)
        if wrong := dbt_run.of_project(["parse"], folder):
            raise RuntimeError(f"dbt can't read the project: {wrong}")
    return json.loads(file.read_text(encoding="utf-8"))


def files_of_a_merge() -> list[dg.AssetSpec]:
    """Returns the two assets that stand for what comes from outside; the sensor says when they change."""
    return [
        dg.AssetSpec(
            ["files", name],
            partitions_def=MERGES,
            group_name="files",
            kinds={"csv"},
            description=f"{what} of a merge spec. A materialization is recorded when one of them is new or changed; its fingerprints are in the metadata.",
        )
        for name, what in (("original", "The CRM export"), ("enriched", "The vendors' files"))
    ]


def models() -> dg.AssetsDefinition:
    """Returns the asset of all dbt models, seeds and tests: one merge from its files to its marts."""

    @dbt_assets(manifest=manifest(), selector="merge", dagster_dbt_translator=Translator())
    def as_dbt_sees_them(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from ()

    @dg.multi_asset(
        name="merge",
        specs=[
            spec.replace_attributes(partitions_def=MERGES, skippable=True) for spec in as_dbt_sees_them.specs
        ],
        check_specs=list(as_dbt_sees_them.check_specs),
        retry_policy=PATIENTLY,
        # a merge is made whole or not at all: part of it may not fit the rest
        can_subset=False,
    )
    def merge(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        keys = {spec.metadata["dagster_dbt/unique_id"]: spec.key for spec in merge.specs}
        checks = {spec.metadata["dagster_dbt/unique_id"]: spec for spec in merge.check_specs}
        yield from results(context, keys, checks)

    return merge


def results(
    context: dg.AssetExecutionContext,
    keys: Mapping[str, dg.AssetKey],
    checks: Mapping[str, dg.AssetCheckSpec],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Runs the merge of the context's partition; yields what Dagster records of each model and test as it ends."""
    name, started, spec, outcome = context.partition_key, datetime.now(timezone.utc), None, None
    transient = False
    try:
        spec = watch.load(name)
        with merging.claimed(home.merge_directory(home.folder(), name)) as merge:
            events, since = merge.build(spec), time.monotonic()
            while True:
                try:
                    event = next(events)
                except StopIteration as ended:
                    outcome = ended.value
                    break
                seconds, since = time.monotonic() - since, time.monotonic()
                if isinstance(event, str):
                    context.log.info(f"{event} begins; {seconds:.1f} s since the last message")
                    continue
                context.log.info(
                    f"{event.done} of {event.total}: {event.name} {event.status} in {event.seconds:.1f} s"
                )
                if event.unique_id in checks:
                    yield check_result(event, checks[event.unique_id])
                elif event.unique_id in keys and event.status == "success":
                    yield dg.MaterializeResult(asset_key=keys[event.unique_id], metadata=figures_of(event))
            if outcome.resumed:
                context.log.info(f"resumed: {outcome.resumed}")
            problems = [] if outcome.ok else merging.problems_of(outcome, merge.place)
            transient = outcome.transient
    except (merging.Problem, FileProblem) as problem:
        problems, transient = [str(problem)], problem.transient
    except (watch.SpecMissing, spec_file.SpecProblem) as problem:
        problems = [str(problem)]
    if not problems:
        return
    if not transient or context.retry_number == PATIENTLY.max_retries:
        entry = history.of_failure(
            outcome, merge=name, run_id=context.run.run_id, started_at=started, problem=problems[0], spec=spec,
            attempt=context.retry_number + 1, spill_bytes=outcome.peak_spill if outcome else None,
        )  # fmt: skip
        history.record(home.folder(), entry)
    raise failure(problems, transient)


def failure(problems: Sequence[str], transient: bool) -> dg.Failure:
    """Returns the failure that ends a step: tried again only if what happened may pass by itself."""
    shown = "\n".join(f"- {problem}" for problem in problems[:TABLES_SHOWN])
    return dg.Failure(
        description=(problems[0] if problems else "the merge failed")[:2000],
        metadata={"problems": dg.MetadataValue.md(shown)},
        allow_retries=transient,
    )


def figures_of(node: dbt_run.Node) -> dict[str, Any]:
    """Returns the metadata of a model that ended: seconds and, where it has rows, rows and rows/s."""
    figures: dict[str, Any] = {"seconds": round(node.seconds, 3)}
    if node.rows is not None:
        figures["dagster/row_count"] = node.rows
        figures["rows/s"] = round(node.rows / max(node.seconds, 0.001))
    return figures


def check_result(node: dbt_run.Node, check: dg.AssetCheckSpec) -> dg.AssetCheckResult:
    """Returns what Dagster records of a dbt test."""
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=node.status in ("pass", "warn"),
        severity=dg.AssetCheckSeverity.WARN if node.status == "warn" else dg.AssetCheckSeverity.ERROR,
        metadata={"seconds": round(node.seconds, 3)}
        | ({"failing rows": node.failures} if node.failures is not None else {}),
    )


@dg.asset(
    deps=["merged_result", "merge_changes", "unmatched_enriched", "vendor_scorecard", "review_queue", "merge_summary", "file_summary"],
    partitions_def=MERGES,
    group_name="published",
    retry_policy=PATIENTLY,
    kinds={"csv", "parquet"},
)  # fmt: skip
def merged_export(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The files that a merge publishes: merged_result, the reports and the manifest, old or new, never half. Only of a merge whose checks all passed."""
    name = context.partition_key
    with_spec = {"merge": name, "run_id": context.run.run_id, "attempt": context.retry_number + 1}
    try:
        with merging.claimed(home.merge_directory(home.folder(), name)) as merge:
            built = merge.built()
            with_spec |= {"started_at": built.started, "spill_bytes": built.outcome.peak_spill}
            try:
                manifest = merge.publish()
            except merging.Problem as problem:
                if not problem.transient or context.retry_number == PATIENTLY.max_retries:
                    failed = history.of_merge(
                        merge.place, None, built.outcome, problem=str(problem), spec=built.spec, **with_spec
                    )
                    history.record(home.folder(), failed)
                raise
            entry = history.of_merge(merge.place, manifest, built.outcome, **with_spec)
            history.record(home.folder(), entry)
    except merging.Problem as problem:
        raise failure([str(problem)], problem.transient) from None
    table = [
        "| file | bytes |",
        "|---|---|",
        *(f"| {file['name']} | {file['bytes']:,} |" for file in manifest["files"]),
    ]
    shown = {key: value for key, value in manifest.items() if key != "columns"}
    return dg.MaterializeResult(
        metadata=plotted(entry)
        | {"files": dg.MetadataValue.md("\n".join(table)), "manifest": dg.MetadataValue.json(shown)}
    )


def plotted(entry: history.Entry) -> dict[str, Any]:
    """Returns the figures of a merge that its page plots over time."""
    figures = {
        "dagster/row_count": entry.rows,
        "seconds": entry.seconds,
        "rows/s": entry.rows_per_second,
        "match rate": entry.match_rate,
        "matched rows": entry.matched_rows,
        "rejected rows": entry.rejected_rows,
        "conflicts": entry.conflicts,
        "changed cells": entry.changed_cells,
        "new people": entry.net_new_people,
        "peak memory (MB)": round(entry.peak_memory_bytes / 1e6) if entry.peak_memory_bytes else None,
        "spill (MB)": round(entry.spill_bytes / 1e6) if entry.spill_bytes is not None else None,
        "checks passed": entry.checks_passed,
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


@dg.asset(deps=[merged_export], partitions_def=MERGES, group_name="published", kinds={"duckdb"})
def analysts_copy(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """A DuckDB file of the marts that anyone may open while the next merge runs: `published/<merge>/merge.duckdb` in the home, replaced by rename."""
    name = context.partition_key
    try:
        with merging.claimed(home.merge_directory(home.folder(), name)):
            path, rows = analysts.copy(
                home.merge_directory(home.folder(), name), home.published_folder(home.folder(), name)
            )
    except merging.Problem as problem:
        raise failure([str(problem)], problem.transient) from None
    except (OSError, duckdb.Error) as error:
        raise failure([f"the copy could not be made, the one before is untouched: {error}"], False) from None
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(str(path)),
            "bytes": path.stat().st_size,
            "tables": dg.MetadataValue.md(
                "\n".join(f"- {table}: {count:,} rows" for table, count in rows.items())
            ),
        }
    )
