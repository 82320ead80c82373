"""python -m crm_merge.cli."""

from crm_merge.cli.app import app

app()
