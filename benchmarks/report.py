"""Writes results.md and results.svg from results.json: ``python report.py FOLDER``. Run by benchmarks/merge.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

NAMES = {
    "core": "crm-merge, core",
    "full": "crm-merge, everything",
    "polars": "Polars",
    "pandas": "pandas",
    "full_outer_join": "FULL OUTER JOINs, DuckDB",
    "copy_through": "floor: read all, copy the CRM",
}
STYLES = {
    "core": ("#0b5fa5", "-", "o"),
    "full": ("#0b5fa5", "--", "s"),
    "polars": ("#c2410c", "-", "^"),
    "pandas": ("#7c3aed", "-", "v"),
    "full_outer_join": ("#15803d", "-", "D"),
    "copy_through": ("#6b7280", ":", "x"),
}
OPTIONS = {
    "csv_stream": "1. CSV streaming with an index in memory (Python)",
    "duckdb_in_memory": "2. DuckDB in memory, limit 500 MB",
    "duckdb_on_disk": "3. DuckDB in a file, limit 500 MB",
    "postgres": "4. PostgreSQL, temporary tables (memory of the client alone)",
    "arrow": "5. Arrow and Parquet",
    "task_queue": "6. a queue of small tasks (Python; memory of one worker)",
}
Samples = list[dict[str, Any]]


def middle(samples: Samples, what: str) -> float | None:
    """The median of a figure over the runs that ended well."""
    values = [sample[what] for sample in samples if what in sample]
    return median(values) if values else None


def per_cell(samples: Samples, clock: str) -> float | None:
    """The median time divided by the cells that the files have, where widths are compared."""
    value = middle(samples, clock)
    return value / samples[0].get("cells", 1) if value is not None else None


def seconds(value: float | None) -> str:
    """Seconds for a table."""
    return "–" if value is None else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def megabytes(value: float | None) -> str:
    """Megabytes for a table."""
    return "–" if value is None else f"{value:,.0f}"


def times(one: float | None, other: float | None) -> float | None:
    """A ratio, if there are both."""
    return one / other if one and other else None


def factor(value: float | None) -> str:
    """A ratio for a table."""
    return "–" if value is None else f"{value:.2f} ×"


def row(*cells: object) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def verdict(ratio: float | None, must: float | None, aim: float | None) -> str:
    """How a ratio stands to what it must be and what is aimed at."""
    if ratio is None:
        return "not measured"
    if must is None:
        return "–"
    if must is not None and ratio > must:
        return "**missed**"
    return "aim reached" if aim is not None and ratio <= aim else "kept"


# -- The tables --


def against(tasks: dict[str, Any]) -> list[str]:
    """The rows that hold one run against another."""
    lines = [
        row("", "what", "seconds", "against", "ratio", "must ≤", "aim", "", "peak MB", "against", "memory"),
        row("---", "---", "---:", "---:", "---:", "---:", "---:", "---", "---:", "---:", "---"),
    ]
    for key, task in tasks.items():
        if len(key.rstrip("'")) > 1:
            continue
        (_, ours), (_, theirs), *_ = task["samples"].items()
        one, other = (per_cell(samples, task["clock"]) for samples in (ours, theirs))
        mine, yours = middle(ours, "peak_mb"), middle(theirs, "peak_mb")
        memory = ""
        if task["memory"]:
            most = float(task["memory"].split()[0])
            memory = f"must ≤ {most:.0f} MB: {verdict(mine, most, None)}"
        ratio = times(one, other)
        lines.append(row(
            key, task["title"], seconds(middle(ours, task["clock"])), seconds(middle(theirs, task["clock"])), factor(ratio), factor(task["must"]),
            factor(task["aim"]), verdict(ratio, task["must"], task["aim"]), megabytes(mine), megabytes(yours), memory,
        ))  # fmt: skip
    return lines if len(lines) > 2 else []


def slower(tasks: dict[str, Any]) -> list[str]:
    """Models and checks of the whole command that take more than their share at the larger size, and at least five seconds there."""
    lines = [
        row("", "model or check", "seconds", "at a tenth of the rows", "ratio"),
        row("---", "---", "---:", "---:", "---:"),
    ]
    for key in ["d'"]:
        (_, large), (_, small) = tasks.get(key, {}).get("samples", {"": [], " ": []}).items()
        seen = {name for sample in large for name in sample.get("nodes", {})}
        both = {name: [middle_of_node(samples, name) for samples in (large, small)] for name in seen}
        for name, (one, other) in sorted(both.items(), key=lambda item: -(item[1][0] or 0)):
            ratio = times(one, other)
            if ratio and ratio > 12 and (one or 0) >= 5:
                lines.append(row(key, f"`{name}`", seconds(one), seconds(other), factor(ratio)))
    return lines if len(lines) > 2 else []


def middle_of_node(samples: Samples, node: str) -> float | None:
    """The median of a node's seconds over the runs that had it."""
    values = [sample["nodes"][node] for sample in samples if node in sample.get("nodes", {})]
    return median(values) if values else None


def options(tasks: dict[str, Any]) -> list[str]:
    """Seconds and memory of each option at each size, beside this project's."""
    found = {key: task for key, task in tasks.items() if key.startswith("options")}
    if not found:
        return []
    lines = [
        row("seconds, peak MB", *(f"{task['n']:,} rows" for task in found.values())),
        row("---", *["---:"] * len(found)),
    ]
    for label in ["core", *OPTIONS]:
        cells = []
        for task in found.values():
            samples = task["samples"].get(label, [])
            failed = next((sample["failed"] for sample in samples if "failed" in sample), None)
            figures = f"{seconds(middle(samples, 'seconds'))} s, {megabytes(middle(samples, 'peak_mb'))}"
            cells.append(f"failed: {failed[:60]}" if failed else figures)
        lines.append(row(OPTIONS.get(label, NAMES.get(label, label)), *cells))
    return lines


def passes(tasks: dict[str, Any]) -> list[str]:
    """The models and checks of the whole command on W(1M) that take longest."""
    samples = tasks.get("b", {}).get("samples", {}).get("whole", [])
    names = {name for sample in samples for name in sample.get("nodes", {})}
    timed = sorted(((middle_of_node(samples, name) or 0, name) for name in names), reverse=True)[:20]
    lines = [row("model or check of W(1M)", "seconds"), row("---", "---:")]
    return lines + [row(f"`{name}`", seconds(time)) for time, name in timed] if timed else []


def apart(tasks: dict[str, Any]) -> list[str]:
    """What is outside the clock, and what is inside but no model."""
    lines = [
        row(
            "",
            "run",
            "rows",
            "runs",
            "clock",
            "of it export",
            "dbt's start",
            "sha256",
            "whole process",
            "peak MB",
        ),
        row("---", "---", *["---:"] * 8),
    ]
    for key, task in tasks.items():
        for label, samples in task["samples"].items():
            if key.startswith("skew") or middle(samples, "process_seconds") is None:
                continue
            figures = ("seconds", "export_seconds", "start_seconds", "hash_seconds", "process_seconds")
            lines.append(row(
                key.split()[0], NAMES.get(label, label), f"{samples[0]['n']:,}", len(samples),
                *(seconds(middle(samples, figure)) for figure in figures), megabytes(middle(samples, "peak_mb")),
            ))  # fmt: skip
    return lines if len(lines) > 2 else []


def skews(tasks: dict[str, Any]) -> list[str]:
    """Each skew at n and 2n."""
    lines = [
        row("skew", "guards", "seconds at n", "at 2n", "ratio", "must ≤", "", "peak MB at n", "at 2n"),
        row("---", "---", "---:", "---:", "---:", "---:", "---", "---:", "---:"),
    ]
    for key, task in tasks.items():
        for guards in ("on", "off") if key.startswith("skew") else ():
            single, double = (task["samples"].get(f"{n}, guards {guards}", []) for n in ("n", "2n"))
            one, two = middle(single, "seconds"), middle(double, "seconds")
            ratio = times(two, one)
            lines.append(row(
                task["title"], guards, seconds(one), seconds(two), factor(ratio), factor(task["must"]),
                verdict(ratio, task["must"], None), megabytes(middle(single, "peak_mb")),
                megabytes(middle(double, "peak_mb")),
            ))  # fmt: skip
    return lines if len(lines) > 2 else []


def curves(tasks: dict[str, Any]) -> dict[str, list[tuple[int, float, float]]]:
    """By subject: rows, seconds, peak MB."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for task in sorted((t for k, t in tasks.items() if k.startswith("curve")), key=lambda task: task["n"]):
        for label in NAMES:
            samples = task["samples"].get(label, [])
            if (time := middle(samples, "seconds")) is not None:
                found.setdefault(label, []).append((task["n"], time, middle(samples, "peak_mb") or 0))
    return found


def over_rows(found: dict[str, list[tuple[int, float, float]]]) -> list[str]:
    """Seconds and memory by size."""
    sizes = sorted({n for points in found.values() for n, *_ in points})
    lines = [
        row("seconds, peak MB", *(f"{n:,} rows" for n in sizes)),
        row("---", *["---:"] * len(sizes)),
    ]
    for label, points in found.items():
        at = {n: f"{seconds(time)} s, {megabytes(peak)}" for n, time, peak in points}
        lines.append(row(NAMES[label], *(at.get(n, "–") for n in sizes)))
    return lines if found else []


def told(tasks: dict[str, Any]) -> list[str]:
    """Whether outputs agree, and what failed."""
    lines = []
    for key, task in tasks.items():
        lines += [
            f"- {key}, {NAMES.get(label, label)}: {said}"
            for label, said in sorted(task["agreement"].items(), key=lambda item: item[1])
        ]
        lines += [
            f"- {key}, {NAMES.get(label, label)}: **failed**, {sample['failed']}"
            for label, samples in task["samples"].items()
            for sample in samples
            if "failed" in sample
        ]
    return lines


def facts(tasks: dict[str, Any]) -> list[str]:
    """The machines and versions that the figures come from."""
    groups: dict[str, list[str]] = {}
    for key, task in tasks.items():
        it = task["machine"]
        versions = ", ".join(f"{name} {number}" for name, number in it["versions"].items())
        text = (
            f"{it['date']}, commit {it['commit']}: {it['cores']} cores ({it['cpu']}, {it['threads']} threads used), "
            f"{it['memory_gb']} GB, {it['system']}, Python {it['python']}; {versions}"
        )
        groups.setdefault(text, []).append(f"{key} (load {it['load_before']} before)")
    return [f"- {text}. {'; '.join(keys)}." for text, keys in groups.items()]


# -- The plot --


def plot(found: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    """Time and peak memory over rows, both scales logarithmic."""
    plt.rcParams |= {"svg.hashsalt": "crm-merge", "svg.fonttype": "none", "font.family": "sans-serif"}
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for axis, part, title in ((axes[0], 1, "seconds"), (axes[1], 2, "peak memory, MB")):
        for label, points in found.items():
            color, line, marker = STYLES[label]
            axis.plot(
                [point[0] for point in points], [point[part] for point in points],
                color=color, linestyle=line, marker=marker, markersize=5, label=NAMES[label],
            )  # fmt: skip
        axis.set(
            xscale="log", yscale="log", title=title, xlabel="rows of the CRM (vendors: 1.8 times as many)"
        )
        axis.xaxis.set_major_formatter(FuncFormatter(lambda n, _: short(n)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.grid(True, which="major", color="#e5e7eb")
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def short(n: float) -> str:
    """Rows in a word: 10k, 1M."""
    return f"{n / 1e6:g}M" if n >= 1e6 else f"{n / 1e3:g}k" if n >= 1e3 else f"{n:g}"


def place_of(item: tuple[str, dict[str, Any]]) -> tuple[bool, str, int, str]:
    """Where a task stands in the results: a to i, then the curve by size, then the skews."""
    key, task = item
    word = key.split()[0]
    return len(word) > 1, word, task["n"], key


def main() -> None:
    """Writes both files."""
    folder = Path(sys.argv[1])
    tasks = json.loads((folder / "results.json").read_text(encoding="utf-8"))["tasks"]
    tasks = dict(sorted(tasks.items(), key=place_of))
    found = curves(tasks)
    sections = [
        ("Held against", against(tasks)),
        ("More than 12 times as long for ten times the rows", slower(tasks)),
        ("The six options of the first design", options(tasks)),
        ("Which model took how long", passes(tasks)),
        ("Over rows", over_rows(found)),
        ("Skew", skews(tasks)),
        ("Clocks apart", apart(tasks)),
        ("Do the outputs agree?", told(tasks)),
        ("Machine", facts(tasks)),
    ]
    text = (
        "# Results\n\nWritten by `make bench`; what is measured, and how, is in [README.md](../README.md).\n"
    )
    for title, lines in sections:
        if lines:
            picture = "![Time and memory over rows](results.svg)\n\n" if title == "Over rows" else ""
            text += f"\n## {title}\n\n{picture}" + "\n".join(lines) + "\n"
    (folder / "results.md").write_text(text, encoding="utf-8")
    if found:
        plot(found, folder / "results.svg")


if __name__ == "__main__":
    main()
