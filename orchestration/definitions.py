"""What Dagster loads: the assets of merges, the sensor that turns dropped specs into runs, the upkeep of the deployment."""

import os
import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg

from crm_merge.engine import dbt_run, limits
from crm_merge.home import folders, history, operate, retention, watch
from crm_merge.reading import FileProblem
from orchestration import merge_assets, seen
from orchestration.merge_assets import MERGES

# One process a run: a step of its own would cost five seconds, and dbt works in a process of its own as it is.
IN_PROCESS = dg.in_process_executor
KNOWN: dict[
    str, watch.Dropped
] = {}  # the specs that the sensor has read, for as long as the code server runs
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
KEEP_RUNS, MOST_RUNS = 90, 20_000  # days that Dagster keeps a run with its log, runs that one sweep removes

SHOWN = 100  # lines of a list that a page shows

operate.confine()
merge = merge_assets.models()
merge_job = dg.define_asset_job(
    "merge_job",
    selection=dg.AssetSelection.assets(merge, merge_assets.merged_export, merge_assets.analysts_copy),
    description="One merge from its files to its export: build, check, publish.",
)


@dg.sensor(
    job=merge_job,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks where specs are dropped: a new or changed spec, a change of one of its files or a tick of its cron becomes one run.",
)
def dropped_specs(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Turns what is due into runs; the cursor names the file that holds what it has seen."""
    before = seen.load(folders.folder(), context.cursor)
    try:
        lying = watch.dropped(KNOWN)
        found = watch.look(lying, before, datetime.now(timezone.utc))
    except FileProblem as problem:
        return dg.SkipReason(f"{folders.specs()} can't be looked at now: {problem}")
    for name, why in lying.refused.items():
        context.log.warning(f"{name} is no spec: {why}")
    for name, waits in found.waits.items():
        context.log.info(f"{name} waits: {'; '.join(waits[:5])}")
    known = set(MERGES.get_partition_keys(dynamic_partitions_store=context.instance))
    new = sorted({due.name for due in found.due} - known)
    requests, events = [], []
    for due in found.due:
        context.log.info(f"{due.name} is due: {due.why}")
        tags = {"crm_merge/why": due.why, merge_assets.MAX_RUNTIME: str(round(due.minutes * 60))}
        requests.append(dg.RunRequest(run_key=due.key, partition_key=due.name, tags=tags))
        events += list(changes(due))
    waiting = [f"{name} waits: {waits[0]}" for name, waits in sorted(found.waits.items())]
    return dg.SensorResult(
        run_requests=requests,
        asset_events=events,
        dynamic_partitions_requests=[MERGES.build_add_request(new)] if new else [],
        cursor=seen.save(folders.folder(), context.cursor, before, found.memory),
        skip_reason=None
        if requests
        else "; ".join(waiting[:20])[:2000] or f"nothing new in {folders.specs()}",
    )


def changes(due: watch.Due) -> Iterator[dg.AssetMaterialization]:
    """Yields what Dagster records of the files of a merge that is due."""
    for role in ("original", "enriched"):
        files = due.files.get(role, {})
        yield dg.AssetMaterialization(
            asset_key=["files", role],
            partition=due.name,
            metadata={
                "files": len(files),
                "fingerprints": dg.MetadataValue.json(dict(list(files.items())[:SHOWN])),
            },
        )


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Records merges whose run was ended from outside: killed, or over its time limit.",
)
def ended_runs(context: dg.RunFailureSensorContext) -> None:
    """Records the failure of a run that could not do it itself."""
    errors = [event.step_failure_data.error for event in context.get_step_failure_events()]
    by_itself = [
        error for error in errors if not error or error.cls_name != "DagsterExecutionInterruptedError"
    ]
    record_end(context, "failed" if by_itself else "interrupted")


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.CANCELED,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Records merges whose run somebody ended.",
)
def canceled_runs(context: dg.RunStatusSensorContext) -> None:
    """Records a run that was canceled."""
    record_end(context, "interrupted")


def record_end(context: dg.RunStatusSensorContext, how: str) -> None:
    """Records in the history how a merge's run ended, unless the run has done so itself."""
    run = context.dagster_run
    name = run.tags.get("dagster/partition", "")
    if not folders.is_name(name) or any(
        entry.run_id == run.run_id for entry in history.rows(folders.folder(), name, 50)
    ):
        return
    record = context.instance.get_run_record_by_id(run.run_id)
    started = (record.start_time if record else None) or time.time()
    entry = history.of_failure(
        None, merge=name, run_id=run.run_id, started_at=datetime.fromtimestamp(started, timezone.utc),
        problem=context.dagster_event.message or "the run was ended from outside", ended=how,
    )  # fmt: skip
    history.record(folders.folder(), entry)


@dg.asset(group_name="upkeep", kinds={"parquet"})
def merge_history(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """All merges that were ever run here, one row each; past months are folded into one file each. `crm-merge history` shows it."""
    history.compact(folders.folder())
    with history.connect(folders.folder()) as connection:
        counts = connection.execute("select outcome, count(*) from merge_history group by outcome").fetchall()
    return dg.MaterializeResult(
        metadata={"dagster/row_count": sum(n for _, n in counts)} | {f"{outcome}": n for outcome, n in counts}
    )


@dg.asset(group_name="upkeep")
def swept_merges(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """What was removed because nobody has used it: merge directories by age and number, copies of merges that are gone. Never one in use."""
    try:
        keep_days = float(os.environ.get("CRM_MERGE_KEEP_DAYS") or 30)
        keep_merges = int(os.environ.get("CRM_MERGE_KEEP_MERGES") or 100)
        specs = names_of_specs()
        swept = retention.sweep(
            folders.folder(), keep_days, keep_merges, datetime.now(timezone.utc), specs=specs or None
        )
        # asked again: a spec may have come meanwhile
        there = names_of_specs() if specs else None
    except (ValueError, FileProblem, folders.HomeProblem) as problem:
        raise dg.Failure(f"nothing was swept: {problem}", allow_retries=False) from None
    for name in MERGES.get_partition_keys(dynamic_partitions_store=context.instance):
        is_gone = there is not None and name not in there
        if is_gone and not folders.merge_directory(folders.folder(), name).exists():
            context.instance.delete_dynamic_partition(str(MERGES.name), name)
    runs = context.instance.get_run_records(
        dg.RunsFilter(statuses=ENDED, created_before=datetime.now(timezone.utc) - timedelta(days=KEEP_RUNS)),
        limit=MOST_RUNS,
        ascending=True,
    )
    for run in runs:
        context.instance.delete_run(run.dagster_run.run_id)
    removed = [f"{item.path} ({item.kind}, {limits.amount(item.size)}): {item.why}" for item in swept.removed]
    return dg.MaterializeResult(
        metadata={
            "removed": len(swept.removed),
            "freed (MB)": round(swept.freed / 1e6),
            "kept": len(swept.kept),
            "runs removed": len(runs),
            "what": dg.MetadataValue.json(removed[:SHOWN]),
            "not removed": dg.MetadataValue.json(
                [f"{kept.path}: {kept.why}" for kept in swept.kept if kept.told][:SHOWN]
            ),
        }
    )


def names_of_specs() -> set[str]:
    """Returns the names of all specs; of none at all it is not known whether they are gone or only away, as a disk may be."""
    return {spec.name for spec in watch.dropped({}).specs}


@dg.asset(group_name="upkeep", kinds={"dbt"})
def project_docs(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """dbt's pages on every model, column and test of the project: one HTML file in the home's docs folder."""
    folder = folders.folder() / "dbt" / "docs"
    if wrong := dbt_run.of_project(["docs", "generate", "--static", "--empty-catalog"], folder):
        raise dg.Failure(f"dbt could not write its pages: {wrong}", allow_retries=False)
    page = folder / "static_index.html"
    target = (folders.folder() / "docs") / "index.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(page, target.with_suffix(".new"))
    os.replace(target.with_suffix(".new"), target)
    return dg.MaterializeResult(
        metadata={"path": dg.MetadataValue.path(str(target)), "bytes": target.stat().st_size}
    )


upkeep_job = dg.define_asset_job(
    "upkeep_job",
    selection=dg.AssetSelection.groups("upkeep"),
    description="Sweeps, folds the history, renews the docs.",
)
upkeep = dg.ScheduleDefinition(
    name="upkeep", job=upkeep_job, cron_schedule="0 3 * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)

defs = dg.Definitions(
    assets=[*merge_assets.files_of_a_merge(), merge, merge_assets.merged_export, merge_assets.analysts_copy, merge_history, swept_merges, project_docs],
    jobs=[merge_job, upkeep_job],
    sensors=[dropped_specs, ended_runs, canceled_runs],
    schedules=[upkeep],
    executor=IN_PROCESS,
)  # fmt: skip
