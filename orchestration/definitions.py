"""What Dagster loads: the assets of merges, the sensor that turns dropped specs into runs, the upkeep of the deployment."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg

from orchestration import dbt_run, engine, history, home, merge_assets, retention, watch
from orchestration.merge_assets import MERGES
from reading import FileProblem

# One process a run: a step of its own would cost five seconds, and dbt works in a process of its own as it is.
IN_PROCESS = dg.in_process_executor
KNOWN: dict[
    str, watch.Dropped
] = {}  # the specs that the sensor has read, for as long as the code server runs
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
KEEP_RUNS, MOST_RUNS = 90, 1000  # days that Dagster keeps a run with its log, runs that one sweep removes

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
    """Turns what is due into runs; remembers what it has seen in the cursor."""
    memory = json.loads(context.cursor) if context.cursor else {}
    try:
        lying = watch.dropped(KNOWN)
        found = watch.look(lying, memory, datetime.now(timezone.utc))
    except FileProblem as problem:
        return dg.SkipReason(f"{home.specs()} can't be looked at now: {problem}")
    for name, why in lying.refused.items():
        context.log.warning(f"{name} is no spec: {why}")
    for name, waits in found.waits.items():
        context.log.info(f"{name} waits: {'; '.join(waits[:5])}")
    known = set(MERGES.get_partition_keys(dynamic_partitions_store=context.instance))
    new = sorted({due.name for due in found.due} - known)
    requests, events = [], []
    for due in found.due:
        context.log.info(f"{due.name} is due: {due.why}")
        tags = {"crm_merge/why": due.why, "dagster/max_runtime": str(round(due.minutes * 60))}
        requests.append(dg.RunRequest(run_key=due.key, partition_key=due.name, tags=tags))
        events += list(changes(due))
    waiting = [f"{name} waits: {waits[0]}" for name, waits in sorted(found.waits.items())]
    return dg.SensorResult(
        run_requests=requests,
        asset_events=events,
        dynamic_partitions_requests=[MERGES.build_add_request(new)] if new else [],
        cursor=json.dumps(found.memory, separators=(",", ":")),
        skip_reason=None if requests else "; ".join(waiting[:20]) or f"nothing new in {home.specs()}",
    )


def changes(due: watch.Due) -> Iterator[dg.AssetMaterialization]:
    """Yields what Dagster records of the files of a merge that is due."""
    for role in ("original", "enriched"):
        files = due.files.get(role, {})
        table = [
            "| file | fingerprint |",
            "|---|---|",
            *(f"| {file} | {version} |" for file, version in list(files.items())[:100]),
        ]
        yield dg.AssetMaterialization(
            asset_key=["files", role],
            partition=due.name,
            metadata={"files": len(files), "fingerprints": dg.MetadataValue.md("\n".join(table))},
        )


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    description="Records merges whose run was ended from outside: killed, over its time limit, canceled.",
)
def ended_runs(context: dg.RunFailureSensorContext) -> None:
    """Records the failure of a run that could not do it itself."""
    run = context.dagster_run
    name = run.tags.get("dagster/partition", "")
    if not home.is_name(name) or any(
        entry.run_id == run.run_id for entry in history.rows(home.folder(), name, 50)
    ):
        return
    record = context.instance.get_run_record_by_id(run.run_id)
    started = (record.start_time if record else None) or time.time()
    entry = history.of_failure(
        None, merge=name, run_id=run.run_id, started_at=datetime.fromtimestamp(started, timezone.utc),
        problem=context.failure_event.message or "the run was ended from outside", ended="interrupted",
    )  # fmt: skip
    history.record(home.folder(), entry)


@dg.asset(group_name="upkeep", kinds={"parquet"})
def merge_history(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """All merges that were ever run here, one row each; past months are folded into one file each. `crm-merge history` shows it."""
    history.compact(home.folder())
    with history.connect(home.folder()) as connection:
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
        specs = watch.dropped({}).specs
        swept = retention.sweep(
            home.folder(),
            keep_days,
            keep_merges,
            datetime.now(timezone.utc),
            specs=[spec.name for spec in specs],
        )
    except (ValueError, FileProblem, home.HomeProblem) as problem:
        raise dg.Failure(f"nothing was swept: {problem}", allow_retries=False) from None
    gone = set(MERGES.get_partition_keys(dynamic_partitions_store=context.instance)) - {
        spec.name for spec in specs
    }
    for name in gone:
        if not home.merge_directory(home.folder(), name).exists():
            context.instance.delete_dynamic_partition(str(MERGES.name), name)
    runs = context.instance.get_run_records(
        dg.RunsFilter(statuses=ENDED, created_before=datetime.now(timezone.utc) - timedelta(days=KEEP_RUNS)),
        limit=MOST_RUNS,
        ascending=True,
    )
    for run in runs:
        context.instance.delete_run(run.dagster_run.run_id)
    lines = [
        f"- {item.path} ({item.kind}, {engine.amount(item.size)}): {item.why}" for item in swept.removed[:200]
    ]
    return dg.MaterializeResult(
        metadata={
            "removed": len(swept.removed),
            "freed (MB)": round(swept.freed / 1e6),
            "kept": len(swept.kept),
            "runs removed": len(runs),
            "what": dg.MetadataValue.md("\n".join(lines) or "nothing"),
            "not removed": dg.MetadataValue.md(
                "\n".join(f"- {kept.path}: {kept.why}" for kept in swept.kept if kept.told)
                or "nothing of note"
            ),
        }
    )


@dg.asset(group_name="upkeep", kinds={"dbt"})
def project_docs(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """dbt's pages on every model, column and test of the project: one HTML file in the home's docs folder."""
    folder = home.folder() / "dbt" / "docs"
    if wrong := dbt_run.of_project(["docs", "generate", "--static", "--empty-catalog"], folder):
        raise dg.Failure(f"dbt could not write its pages: {wrong}", allow_retries=False)
    page = folder / "static_index.html"
    target = (home.folder() / "docs") / "index.html"
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
    sensors=[dropped_specs, ended_runs],
    schedules=[upkeep],
    executor=IN_PROCESS,
)  # fmt: skip
