"""The command line: each command's file, and the name that it is called by."""

import typer

from crm_merge.cli import compare, home, merge, upload

app = typer.Typer(
    help="Merges a CRM export with enriched vendor files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(merge.run)
app.command("validate")(merge.validate)
app.command("upload")(upload.upload_files)
app.command("diff")(compare.show_difference)
app.command("dagster")(home.show_dagster)
app.command("history")(home.show_history)
app.command("metrics")(home.serve_metrics)
app.command("sweep")(home.sweep_home)
