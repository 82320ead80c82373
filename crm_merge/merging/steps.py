"""One merge in its directory: claimed, built, published, recorded. What the command line and Dagster's assets both do."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb

from crm_merge.engine import dbt_run, limits, spark
from crm_merge.merging import lock, protect, publish
from crm_merge.reading import FileProblem

FAILED_CHECKS = Path("logs") / "failed_checks"  # the queries of the checks that failed in the last run


class Problem(Exception):
    """Why a merge can't go on, as a sentence; ``transient``: it may pass by itself."""

    def __init__(self, text: str, transient: bool = False):
        super().__init__(text)
        self.transient = transient


@dataclass
class Built:
    """A build that ended well: its spec, the spec's path or URL, when it began, seconds, outcome."""

    spec: dict[str, Any]
    spec_file: str
    started: datetime
    seconds: float
    outcome: dbt_run.Outcome


@dataclass
class Merge:
    """A merge directory that this process holds."""

    place: Path

    @property
    def unfinished(self) -> Path:
        """The mark of a merge that was begun and not published: the next run resumes it."""
        return self.place / ".crm-merge" / "unfinished"

    @property
    def ended(self) -> Path:
        """Where the outcome of the last build is kept for the step that publishes it."""
        return self.place / ".crm-merge" / "outcome.json"

    def build(self, spec: dict[str, Any], spec_file: str) -> Generator[dbt_run.Event, None, dbt_run.Outcome]:
        """Builds and checks everything, by the spec of a file or URL; goes on from what an earlier run of the same merge finished and did not publish.

        Yields each node as it ends, each check as it is asked and the name of each part as it begins; returns the outcome.
        """
        target = spark.target()
        if wrong := limits.problems() + spark.problems(target, self.place):
            raise Problem("; ".join(wrong))
        try:
            if wrong := protect.problems(self.place, spec, spec_file):
                raise Problem("; ".join(wrong))
        except FileProblem as problem:
            if not problem.transient:
                raise Problem(f"export.to: {problem}") from None
            # the merge need not wait for the server: it is asked again before the result is put there
        began, started = time.time(), time.monotonic()
        resume = self.unfinished.exists()
        self.unfinished.parent.mkdir(parents=True, exist_ok=True)
        self.unfinished.touch()
        self.ended.unlink(missing_ok=True)
        try:
            outcome = yield from stages(self.place, spec, resume, target)
        finally:
            shutil.rmtree(limits.spill_folder(self.place), ignore_errors=True)
        if any(check.status == "fail" for check in outcome.checks):
            # what a check complains of must not be kept: the next run starts anew
            self.unfinished.unlink(missing_ok=True)
        if outcome.ok:
            kept = {
                "spec": spec,
                "spec_file": spec_file,
                "started": began,
                "seconds": time.monotonic() - started,
                "outcome": asdict(outcome),
            }
            self.ended.write_text(json.dumps(kept), encoding="utf-8")
        return outcome

    def forget(self) -> None:
        """Takes the marks away that say what was built here: somebody builds something else."""
        self.ended.unlink(missing_ok=True)
        self.unfinished.unlink(missing_ok=True)

    def built(self) -> Built:
        """Returns the build that is to be published."""
        try:
            kept = json.loads(self.ended.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise Problem(
                f"there is no finished merge in {self.place}: run the whole merge, not its export alone"
            ) from None
        outcome = kept["outcome"] | {
            "nodes": [dbt_run.Node(**node) for node in kept["outcome"]["nodes"]],
            "checks": [dbt_run.Check(**check) for check in kept["outcome"]["checks"]],
        }
        started = datetime.fromtimestamp(kept["started"], timezone.utc)
        return Built(
            kept["spec"],
            kept["spec_file"],
            started,
            kept["seconds"],
            dbt_run.Outcome(**outcome),
        )

    def publish(self) -> dict[str, Any]:
        """Publishes what was built; returns the manifest. What was published before stays until all of it is there."""
        built = self.built()
        try:
            manifest = publish.publish(
                self.place,
                built.spec,
                built.seconds,
                checks(built.outcome),
                made_by=built.outcome.target,
                spec_file=built.spec_file,
            )
        except FileProblem as problem:
            raise Problem(str(problem), problem.transient) from None
        except (OSError, duckdb.Error) as error:
            raise Problem(
                f"the result could not be published, what was published before is untouched: {error}"
            ) from None
        finally:
            shutil.rmtree(limits.spill_folder(self.place), ignore_errors=True)
        self.unfinished.unlink(missing_ok=True)
        return manifest


def stages(
    place: Path, spec: dict[str, Any], resume: bool, target: str
) -> Generator[dbt_run.Event, None, dbt_run.Outcome]:
    """Builds and checks a merge: all of it with DuckDB; or, for Spark, DuckDB lands the files, Spark does the rest, and DuckDB finds
    what Spark has written.

    Yields what ``dbt_run.stream`` yields; returns the outcome. Of what Spark does a later run keeps nothing: it resumes after
    the landing.
    """
    # the mark of a merge's directory, before dbt writes anything there: a run that is killed at once must not look like somebody else's
    (place / ".crm-merge").mkdir(parents=True, exist_ok=True)
    # what a check complains of must not be kept
    resume = resume and not (place / FAILED_CHECKS).exists()
    shutil.rmtree(place / FAILED_CHECKS, ignore_errors=True)
    if target == "duckdb":
        outcome = checked((yield from dbt_run.planned(["build"], place, spec, resume)))
        if outcome.ok:
            shutil.rmtree(
                place / spark.TABLES, ignore_errors=True
            )  # of an earlier merge, at which nothing looks now
        return outcome
    try:
        spark.check(place)
    except FileProblem as problem:
        said = f"CRM_MERGE_SPARK_ROOT: {problem}"
        return dbt_run.Outcome(ok=False, problems=[said], transient=problem.transient, target=target)
    landed = yield from dbt_run.planned(["build", "--selector", "landing"], place, spec, resume)
    if not landed.ok:
        return landed
    outcome = dbt_run.Outcome(ok=False)
    try:
        spark.hand_over(place)
        yield "Spark starts"
        outcome = checked(
            (yield from once(dbt_run.stream(["build"], dbt_run.begin(place, target), spec), landed.nodes))
        )
        if outcome.ok:
            spark.fetch(place)
            # by the plan that the landing followed: a file that is replaced by now changes nothing
            found = yield from dbt_run.with_kept_plan(
                ["run-operation", "read_results_of_spark"], dbt_run.begin(place), spec
            )
            outcome.ok, outcome.problems = found.ok, found.problems
    except FileProblem as problem:
        outcome.ok, outcome.transient = False, problem.transient
        outcome.problems.append(f"CRM_MERGE_SPARK_ROOT: {problem}")
    finally:
        spark.clear(place)
    outcome.nodes = landed.nodes + outcome.nodes
    outcome.resumed, outcome.needs, outcome.peak_memory = landed.resumed, landed.needs, 0
    return outcome


def checked(outcome: dbt_run.Outcome) -> dbt_run.Outcome:
    """Returns the outcome of a build, which is right only if checks were asked, none of them fails, and the test that reads them passed."""
    read = [node.status for node in outcome.nodes if node.name == dbt_run.EVERY_CHECK]
    wrong = [check for check in outcome.checks if check.status not in ("pass", "warn")]
    if outcome.ok and (wrong or not outcome.checks or read != ["pass"]):
        outcome.ok = False
        if not wrong:
            outcome.problems.append("not all checks were asked, so nothing is known to be right; report this")
    return outcome


def once(
    events: Generator[dbt_run.Event, None, dbt_run.Outcome], before: list[dbt_run.Node]
) -> Generator[dbt_run.Event, None, dbt_run.Outcome]:
    """Yields what a stream tells, and returns its outcome, without what went as well before: what was landed is looked at by both engines."""
    told = {node.unique_id: node.status for node in before}
    while True:
        try:
            event = next(events)
        except StopIteration as ended:
            outcome = ended.value
            outcome.nodes = [node for node in outcome.nodes if told.get(node.unique_id) != node.status]
            return outcome
        if not isinstance(event, dbt_run.Node) or told.get(event.unique_id) != event.status:
            yield event


@contextmanager
def claimed(place: Path) -> Iterator[Merge]:
    """Holds the merge directory for this process: a second run of the same merge is told so."""
    with ExitStack() as held:
        try:
            held.enter_context(lock.held(place))
        except lock.InUse:
            # it ends: the one that is being stopped, above all
            raise Problem(
                f"another run is at work in {place}; wait for it, or use another --dir", True
            ) from None
        except FileExistsError:
            raise Problem(
                f"the merge directory {place} can't be used: there is a file of that name"
            ) from None
        except OSError as error:
            raise Problem(f"the merge directory {place} can't be used: {error.strerror}") from None
        yield Merge(place)


def problems_of(outcome: dbt_run.Outcome, place: Path) -> list[str]:
    """Returns why a build failed, each as a sentence, with the first rows that a failed check complains of."""
    problems = list(outcome.problems)
    failed = outcome.failed()
    if len(failed) > 1:
        problems.append(f"{len(failed)} checks failed: {', '.join(check.name for check in failed)}")
    for check in failed:
        rows = f"{check.failures:,} row{'s' * (check.failures != 1)}"
        query = kept_query(place, check)
        if outcome.target != "duckdb":
            problems.append(
                f"the check '{check.name}' failed on {rows} on Spark, whose tables are gone; its query is {query}."
                " A merge of these files with --target duckdb shows the rows that it complains of"
            )
            continue
        problems.append(f"the check '{check.name}' failed on {rows}")
        problems += [f"  {row}" for row in failing_rows(place, check)]
        problems.append(f"  (all of them: run {query} on {place / 'merge.duckdb'})")
    problems += [
        f"the check '{check.name}' could not be asked" for check in outcome.checks if check.status == "error"
    ]
    return problems


def kept_query(place: Path, check: dbt_run.Check) -> str:
    """Writes the query of a failed check to a file that any client can run; returns its path, or where else the query is."""
    file = place / FAILED_CHECKS / f"{check.name}.sql"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        texts = [text.strip() for text in (check.settings, check.query) if text]
        file.write_text("".join(f"{text};\n" for text in texts), encoding="utf-8")
    except OSError as error:
        return f"in merge_checks ({file} could not be written: {error.strerror})"
    return str(file)


def failing_rows(place: Path, check: dbt_run.Check, most: int = 3) -> list[str]:
    """Returns the first rows that a check complains of, each as a line."""
    try:
        with publish.connect(place) as connection:
            if check.settings:
                connection.execute(check.settings)
            found = connection.execute(f"select * from ({check.query}\n) limit {most}")  # noqa: S608
            names = [column[0] for column in found.description]
            rows = found.fetchall()
    except (OSError, duckdb.Error) as error:
        return [f"(its rows can't be shown: {error})"]
    return [
        ", ".join(
            f"{name}: {str(cell)[:80]}" for name, cell in zip(names, row, strict=True) if cell is not None
        )
        for row in rows
    ]


def checks(outcome: dbt_run.Outcome) -> list[dict[str, Any]]:
    """Returns how a merge's own checks went, in order of their names.

    Each is {name, status: pass | warn | fail | error, failures: rows complained of or None, seconds}.
    """
    return [
        {"name": check.name, "status": check.status, "failures": check.failures, "seconds": check.seconds}
        for check in sorted(outcome.checks, key=lambda check: check.name)
    ]
