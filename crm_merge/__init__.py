"""Merges a CRM export with enriched vendor files: the Python around the dbt project of this checkout.

Floors, each of which knows only those below it: spec, reading < plan < engine < merging < home < cli (and orchestration, beside it).
"""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent  # the dbt project
