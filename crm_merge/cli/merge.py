"""crm-merge run SPEC, validate SPEC and schema: what they are given. What they do is in running.py, which is imported when the spec is right."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from crm_merge.cli.common import Directory, Spec, read_spec

commands = typer.Typer()


@commands.command("run")
def run(
    spec: Spec,
    directory: Directory = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on from what a killed or failed run of the same merge finished."),
    ] = False,
    target: Annotated[
        str,
        typer.Option(
            "--target", envvar="CRM_MERGE_TARGET", help="What merges: duckdb, spark or spark_thrift."
        ),
    ] = "duckdb",
) -> None:
    """Merges, checks every invariant, and only then publishes DIR/out."""
    wanted = read_spec(spec, "nothing was published")
    from crm_merge.cli import running

    running.run(spec, wanted, directory, resume, target)


@commands.command("validate")
def validate(spec: Spec, directory: Directory = None) -> None:
    """Checks the spec and its files, and shows how they are read, without merging."""
    wanted = read_spec(spec)
    from crm_merge.cli import running

    running.validate(spec, wanted, directory)


@commands.command("schema")
def schema() -> None:
    """Prints the JSON Schema of a spec, by which an editor completes and checks it."""
    from crm_merge.spec.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
