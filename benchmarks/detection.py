"""Which detector tells a file's dialect best: ours, clevercsv's, DuckDB's sniffer, on the pollution corpus.

    python benchmarks/detection.py            prints the table of docs/reading.md

Counted are files whose delimiter, quote and line of the header are known and can be told; an answer is right when
delimiter and header cells are. Encodings: the corpus' files in one-byte encodings, by the text that the codec gives.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import charset_normalizer  # noqa: E402
import clevercsv  # noqa: E402
import duckdb  # noqa: E402

from crm_merge.reading import FileProblem  # noqa: E402
from crm_merge.reading import profile as profiles  # noqa: E402
from tests.pollution import POLLUTIONS, Incompatible, clean, polluted  # noqa: E402


def ours(path: Path) -> tuple[str, list[str]] | None:
    """Returns (delimiter, header), or None when the file is refused."""
    try:
        found = profiles.profile({"path": path, "role": "enriched"})
    except FileProblem:
        return None
    return (found["dialect"] or {}).get("delimiter"), found["header"]


def by_clevercsv(path: Path) -> tuple[str, list[str]] | None:
    """The same by clevercsv, which is given the right encoding; its header is the first row."""
    try:
        dialect = clevercsv.Sniffer().sniff(text_of(path))
        rows = list(clevercsv.reader(text_of(path).splitlines(keepends=True), dialect))
    except Exception:
        return None
    return dialect.delimiter, rows[0] if rows else []


def by_duckdb(path: Path) -> tuple[str, list[str]] | None:
    """The same by DuckDB's sniffer."""
    try:
        found = duckdb.sql(f"select Delimiter, [c.name for c in Columns] from sniff_csv('{path}')").fetchone()
    except duckdb.Error:
        return None
    return found


def text_of(path: Path) -> str:
    """Returns a file's text, whatever its encoding: detectors of dialects are given it."""
    content = path.read_bytes()
    for encoding in (
        "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig",
        "cp1252",
        "latin-1",
    ):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return ""


def main() -> None:
    """Prints the tables."""
    detectors = {"ours": ours, "clevercsv": by_clevercsv, "DuckDB's sniffer": by_duckdb}
    right, wrong, refused = ({name: 0 for name in detectors} for _ in range(3))
    seconds = dict.fromkeys(detectors, 0.0)
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in POLLUTIONS:
            for seed in range(1, 5):
                try:
                    case = polluted(clean(seed), [name], seed)
                except Incompatible:
                    continue
                if (
                    not case.truth.headers
                    or case.suffix != ".csv"
                    or case.content[:2] == b"\x1f\x8b"
                    or case.content[:1] == b"{"
                ):
                    continue
                path = Path(folder) / "v.csv"
                path.write_bytes(case.content)
                total += 1
                for detector, detect in detectors.items():
                    started = time.perf_counter()
                    found = detect(path)
                    seconds[detector] += time.perf_counter() - started
                    if found is None:
                        refused[detector] += 1
                    elif found[0] in (case.delimiter, None) and same(found[1], case.truth.headers):
                        right[detector] += 1
                    else:
                        wrong[detector] += 1
    print(f"| detector | right | wrong | refused | ms a file | ({total} files)\n|---|---|---|---|---|")
    for name in detectors:
        print(
            f"| {name} | {right[name]} | {wrong[name]} | {refused[name]} | {1000 * seconds[name] / total:.1f} |"
        )
    names = ["Núñez", "Société", "Jørgensen", "Hélène", "Grün", "São"]
    print("\n| Western text in cp1252 | ours | charset-normalizer |\n|---|---|---|")
    for lines in (10, 100, 1000):
        text = "key,place\n" + "".join(
            f"{n},{names[n % 6]} of a fairly long line {n}\n" for n in range(lines)
        )
        guess = charset_normalizer.from_bytes(text.encode("cp1252")).best()
        mine = profiles.encoding.detect("x", text.encode("cp1252"), None)
        print(f"| {lines} lines | {mine} | {guess.encoding if guess else None} |")


def same(found: list[str], truth: list[str]) -> bool:
    """Says whether a header is the true one, a blank one and one without a name being equal."""
    found = [cell.lstrip("\ufeff") for cell in found]
    while len(found) > len(truth) and (not found[-1] or found[-1].startswith("column")):
        found = found[:-1]
    return len(found) == len(truth) and all(
        a == b or not b.strip() for a, b in zip(found, truth, strict=True)
    )


if __name__ == "__main__":
    main()
