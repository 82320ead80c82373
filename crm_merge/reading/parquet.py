"""Parquet: columns, types and the number of rows, from the file's own metadata; the size of its texts, from reading it once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb

from crm_merge.reading import FileProblem
from crm_merge.reading.dialect import named
from crm_merge.reading.scan import LONG, TOGETHER


def pattern(path: Path) -> str:
    """Returns the path of one file or folder as DuckDB takes it: it would read * ? [ as a pattern again."""
    return re.sub(r"([*?[])", r"[\1]", str(path))


def profile(path: Path, partitions: dict[str, str]) -> dict[str, Any]:
    """Returns header, types (DuckDB's, in order), physical_rows, text_bytes, densest and long_bytes (see reading.profile) of a file.

    ``partitions`` are the folders named key=value that it lies in: they are its last columns.
    """
    found = pattern(path)
    try:
        with duckdb.connect(config={"memory_limit": "200MB", "threads": 1}) as connection:
            schema = connection.execute(
                "select name, num_children from parquet_schema(?)", [found]
            ).fetchall()
            columns = connection.execute(
                "describe select * from read_parquet(?, hive_partitioning = false, binary_as_string = true)",
                [found],
            ).fetchall()
            # Read once, so that a damaged page is found here and named. What texts take the metadata does not tell: one that is
            # repeated is stored once.
            names = [column[0].replace('"', '""') for column in columns]
            lengths = ", ".join(f'strlen(cast("{name}" as varchar))' for name in names)
            size = f"coalesce(list_sum([{lengths}]), 0)"  # a sum of a thousand terms is none that the engine reads
            sizes = connection.execute(
                f"""
                select coalesce(sum(bytes), 0), coalesce(max(bytes), 0), coalesce(sum(long_bytes), 0)
                from (
                    select sum(bytes) as bytes, sum(bytes) filter (bytes > {LONG}) as long_bytes
                    from (
                        select {size} as bytes, row_number() over () as place
                        from read_parquet(?, hive_partitioning = false, binary_as_string = true)
                    )
                    group by (place - 1) // {TOGETHER}
                )
                """,  # noqa: S608 -- names are quoted
                [found],
            ).fetchone()
            rows = connection.execute(
                "select sum(num_rows) from parquet_file_metadata(?)", [found]
            ).fetchone()
    except duckdb.Error as error:
        said = str(error).splitlines()[0].split(": ", 1)[-1].replace(str(path), path.name)
        raise FileProblem(f"{path.name} can't be read as Parquet: {said[:200]}") from None
    header = [column[0] for column in columns]
    # DuckDB calls the second of two equal columns `_1`; the file's own names say that there are two
    if doubled := [name for name in header if name not in {name for name, _ in schema}]:
        raise FileProblem(
            f"{path.name}: two columns have the same name, or names that differ only in case: {doubled[0].rsplit('_', 1)[0]}"
        )
    extra = [key for key in partitions if key.lower() not in {name.lower() for name in header}]
    return {
        "header": named(path.name, 1, header + extra),
        "columns_read": header,
        "types": [column[1] for column in columns],
        "partitions": {key: partitions[key] for key in extra},
        "physical_rows": int(rows[0] or 0) if rows else 0,
        "text_bytes": int(sizes[0]) if sizes else 0,
        "densest": -(int(sizes[1]) // -TOGETHER) if sizes else 0,
        "long_bytes": int(sizes[2]) if sizes else 0,
    }
