"""About how much disk and memory a merge takes, measured on people with 8 to 12 columns."""

from __future__ import annotations

from typing import Any

from crm_merge.plan.model import Plan
from crm_merge.spec.settings import Spec


def needs(plan: Plan, spec: Spec, threads: int) -> dict[str, Any]:
    """Returns ``disk``: {merge, spill, result: bytes, to: the folder of the result or None}, and ``memory``: bytes."""
    size = sum(file["row_bytes"] * file["physical_rows"] for file in plan.files)
    rows = sum(file["physical_rows"] for file in plan.files)
    disk = {
        # what is landed, kept in parts and in the database
        "merge": 2 * size + 250 * rows + 20_000_000,
        "spill": size + 150 * rows,
        # what is published, with the reports
        "result": int((0.5 + len(spec.export.formats)) * size + 100 * rows),
        "to": spec.export.to or None,
    }
    return {"disk": disk, "memory": memory(plan, threads)}


def memory(plan: Plan, threads: int) -> int:
    """Returns about the smallest memory limit, in bytes, that a merge can be done in, with its audit (200 MB for 100,000 rows on two threads):
    of each thread a few blocks of the longest rows, and of each column the buffers in which it is read and written."""
    columns = max(len(file["header"]) for file in plan.files)
    row = max(file["densest"] for file in plan.files)
    return 100_000_000 + threads * (40_000_000 + 8 * 2048 * row + 300_000 * (columns + len(plan.vendor)))
