"""The assets of a merge: its files, the dbt models with a check each, the export, the copy that analysts read.

Assets are thin: what they do is in dbt_run, publish, watch and history, which know nothing of Dagster.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster_dbt import DagsterDbtTranslator, dbt_assets

from crm_merge.engine import dbt_run
from crm_merge.engine import manifest as parsed
from crm_merge.home import folders, history, watch
from crm_merge.merging import analysts, steps
from crm_merge.reading import FileProblem
from crm_merge.spec import yaml_file

MERGES = dg.DynamicPartitionsDefinition(name="merges")
# Faults that pass (a server that is down, a network that breaks off): 10, 20, 40, … seconds, each with jitter.
PATIENTLY = dg.RetryPolicy(
    max_retries=5, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
SHOWN = 100  # problems that a page shows
CHECK = dbt_run.EVERY_CHECK  # the check that each model has in Dagster is called as the test of merge_checks
MAX_RUNTIME = "dagster/max_runtime"  # the tag of a run that has a time limit of its own, in seconds


class Translator(DagsterDbtTranslator):
    """Groups the models as their folders do."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """Returns the group: staging, intermediate, marts_merge, marts_audit, marts_report."""
        return "_".join(dbt_resource_props["fqn"][1:-1]) or "models"


@lru_cache(maxsize=1)
def manifest() -> dict[str, Any]:
    """Returns dbt's manifest of the project as it is now, parsed where no process has done so yet."""
    file = folders.folder() / "dbt" / f"manifest-{parsed.number('duckdb')}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as place:
            if wrong := dbt_run.of_project(["parse"], Path(place)):
                raise RuntimeError(f"dbt can't read the project: {wrong}")
            os.replace(Path(place) / "manifest.json", file)
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
    """Returns the asset of all dbt models: one merge from its files to its marts and its checks."""

    @dbt_assets(manifest=manifest(), selector="merge", dagster_dbt_translator=Translator())
    def as_dbt_sees_them(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from ()

    @dg.multi_asset(
        name="merge",
        specs=[
            spec.replace_attributes(partitions_def=MERGES, skippable=True) for spec in as_dbt_sees_them.specs
        ],
        check_specs=[check_of(relation, tests) for relation, tests in tests_of_relations().items()],
        # a merge is made whole or not at all: part of it may not fit the rest
        can_subset=False,
    )
    def merge(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        keys = {spec.metadata["dagster_dbt/unique_id"]: spec.key for spec in merge.specs}
        yield from results(context, keys)

    return merge


def tests_of_relations() -> dict[str, dict[str, str]]:
    """Returns the models that a merge checks, in order, each with its checks: {name: description}."""
    found: dict[str, dict[str, str]] = {}
    for node in sorted(manifest()["nodes"].values(), key=lambda node: node["name"]):
        if node["resource_type"] == "test" and (relation := checked_relation(node)):
            found.setdefault(relation, {})[node["name"]] = node.get("description") or ""
    return dict(sorted(found.items()))


def checked_relation(node: Mapping[str, Any]) -> str | None:
    """Returns the model that a test is about, which merge_checks says too (macros/checks.sql); None of one that it does not ask."""
    if attached := node.get("attached_node"):
        kind, _, relation = attached.split(".")
        return relation if kind == "model" and relation != "merge_checks" else None
    return node["config"]["meta"]["dagster"]["ref"]["name"] if node["fqn"][1] == "invariants" else None


def check_of(relation: str, tests: Mapping[str, str]) -> dg.AssetCheckSpec:
    """Returns the one check that Dagster shows of a model: that none of its tests complains."""
    listed = "\n".join(f"- `{name}`" + (f": {text}" if text else "") for name, text in tests.items())
    return dg.AssetCheckSpec(
        name=CHECK,
        asset=dg.AssetKey(relation),
        description=f"What merge_checks says of {relation}:\n\n{listed}",
        blocking=True,
    )


def results(
    context: dg.AssetExecutionContext, keys: Mapping[str, dg.AssetKey]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Runs the merge of the context's partition; yields what Dagster records of each model as it ends, and of its checks."""
    name, started, spec, outcome = context.partition_key, datetime.now(timezone.utc), None, None
    problems, transient = [], False
    try:
        spec = watch.load(name)
        # of a run that was started by hand; of others the sensor has said it
        context.instance.add_run_tags(
            context.run.run_id, {MAX_RUNTIME: str(round(watch.time_limit(spec) * 60))}
        )
        with steps.claimed(folders.merge_directory(folders.folder(), name)) as merge:
            events, since = merge.build(spec, watch.address(name)), time.monotonic()
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
                if isinstance(event, dbt_run.Check):
                    context.log.info(f"{event.name}: {event.status} in {event.seconds:.1f} s")
                    continue
                context.log.info(
                    f"{event.done} of {event.total}: {event.name} {event.status} in {event.seconds:.1f} s"
                )
                if event.unique_id in keys and event.status == "success":
                    yield dg.MaterializeResult(asset_key=keys[event.unique_id], metadata=figures_of(event))
            yield from check_results(outcome.checks, tests_of_relations())
            if outcome.resumed:
                context.log.info(
                    f"{'begun' if outcome.resumed.startswith('from the start') else 'resumed'}: {outcome.resumed}"
                )
            problems = [] if outcome.ok else watch.located(name, steps.problems_of(outcome, merge.place))
            transient = outcome.transient
    except (steps.Problem, FileProblem) as problem:
        problems, transient = [str(problem)], problem.transient
    except (watch.SpecMissing, yaml_file.SpecProblem, folders.HomeProblem) as problem:
        problems = [str(problem)]
    except Exception as error:
        context.log.exception("something that nobody has foreseen")
        problems = [f"{type(error).__name__}: {error}"]
    if not problems:
        return
    if not transient or context.retry_number == PATIENTLY.max_retries:
        record(
            context,
            lambda: history.of_failure(
                outcome, merge=name, run_id=context.run.run_id, started_at=started, problem=problems[0], spec=spec,
                attempt=context.retry_number + 1, spill_bytes=outcome.peak_spill if outcome else None,
            ),
        )  # fmt: skip
    raise failure(context, problems, transient)


def record(context: dg.AssetExecutionContext, entry: Callable[[], history.Entry]) -> history.Entry | None:
    """Records a run in the history; what goes wrong with that is logged, and changes nothing about the merge."""
    try:
        made = entry()
        history.record(folders.folder(), made)
        return made
    except (OSError, duckdb.Error, folders.HomeProblem, ValueError) as error:
        context.log.error(f"the run could not be recorded in the history: {error}")
        return None


def failure(
    context: dg.AssetExecutionContext, problems: Sequence[str], transient: bool
) -> dg.Failure | dg.RetryRequested:
    """Returns what ends a step: a failure; or, while PATIENTLY has tries left, the wish to be tried again if what happened may pass by itself.

    No asset has a retry policy of Dagster's: it would try again what somebody, or the time limit, has ended.
    """
    text = (problems[0] if problems else "the merge failed")[:2000]
    if transient and context.retry_number < PATIENTLY.max_retries:
        context.log.warning(f"{text}; it is tried again")
        return dg.RetryRequested(PATIENTLY.max_retries, PATIENTLY.calculate_delay(context.retry_number + 1))
    return dg.Failure(
        description=text,
        metadata={"problems": dg.MetadataValue.text("\n".join(problems[:SHOWN])[:20_000])},
        allow_retries=False,
    )


def figures_of(node: dbt_run.Node) -> dict[str, Any]:
    """Returns the metadata of a model that ended: seconds and, where it has rows, rows and rows/s."""
    figures: dict[str, Any] = {"seconds": round(node.seconds, 3)}
    if node.rows is not None:
        figures["dagster/row_count"] = node.rows
        figures["rows/s"] = round(node.rows / max(node.seconds, 0.001))
    return figures


def check_results(
    checks: Sequence[dbt_run.Check], tests: Mapping[str, Mapping[str, str]]
) -> Iterator[dg.AssetCheckResult]:
    """Yields what Dagster records of the checks of each model in ``tests``, {model: {name: description}}, with the names of those that complain;
    nothing of a model that is not known to be right, since not all of its checks were asked."""
    for relation, names in tests.items():
        asked = [check for check in checks if check.relation == relation]
        complain = [check for check in asked if check.status != "pass"]
        failed = [check for check in complain if check.status != "warn"]
        if not failed and len(asked) < len(names):
            continue
        told = ", ".join(
            f"{check.name} "
            + ("could not be asked" if check.failures is None else f"({check.failures} rows)")
            for check in complain
        )
        yield dg.AssetCheckResult(
            asset_key=dg.AssetKey(relation),
            check_name=CHECK,
            passed=not failed,
            severity=dg.AssetCheckSeverity.WARN if complain and not failed else dg.AssetCheckSeverity.ERROR,
            description=f"failed: {told}" if failed else f"warned: {told}" if complain else "all passed",
            metadata={
                "checks": len(asked),
                "failed": len(failed),
                "seconds": round(sum(check.seconds for check in asked), 3),
            },
        )


@dg.asset(
    deps=["merged_result", "merge_changes", "unmatched_enriched", "vendor_scorecard", "review_queue", "merge_summary", "file_summary"],
    partitions_def=MERGES,
    group_name="published",
    kinds={"csv", "parquet"},
)  # fmt: skip
def merged_export(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The files that a merge publishes: merged_result, the reports and the manifest, old or new, never half. Only of a merge whose checks all passed."""
    name, started, built = context.partition_key, datetime.now(timezone.utc), None
    known = {"merge": name, "run_id": context.run.run_id, "attempt": context.retry_number + 1}
    try:
        with steps.claimed(folders.merge_directory(folders.folder(), name)) as merge:
            built = merge.built()
            known |= {"started_at": built.started, "spill_bytes": built.outcome.peak_spill}
            manifest = merge.publish()
            entry = record(context, lambda: history.of_merge(merge.place, manifest, built.outcome, **known))
    except (steps.Problem, folders.HomeProblem) as problem:
        text, transient = str(problem), getattr(problem, "transient", False)
        if not transient or context.retry_number == PATIENTLY.max_retries:
            record(
                context,
                lambda: history.of_failure(
                    built.outcome if built else None, problem=text, spec=built.spec if built else None,
                    ended="published_nothing", **{"started_at": started} | known,
                ),
            )  # fmt: skip
        raise failure(context, [text], transient) from None
    shown = {key: value for key, value in manifest.items() if key != "columns"}
    return dg.MaterializeResult(
        metadata=plotted(entry)
        | {"manifest": dg.MetadataValue.json(shown), "dagster/row_count": manifest["rows"]}
    )


def plotted(entry: history.Entry | None) -> dict[str, Any]:
    """Returns the figures of a merge that its page plots over time."""
    if entry is None:
        return {}
    figures = {
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
        with steps.claimed(folders.merge_directory(folders.folder(), name)):
            path, rows = analysts.copy(
                folders.merge_directory(folders.folder(), name),
                folders.published_folder(folders.folder(), name),
            )
    except steps.Problem as problem:
        raise failure(context, [str(problem)], problem.transient) from None
    except folders.HomeProblem as problem:
        raise failure(context, [str(problem)], False) from None
    except (OSError, duckdb.Error) as error:
        raise failure(
            context, [f"the copy could not be made, the one before is untouched: {error}"], False
        ) from None
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(str(path)),
            "bytes": path.stat().st_size,
            "tables": dg.MetadataValue.json(rows),
        }
    )
