"""The command line: one file per group of commands, and what they print.

Holds no rules: each command calls what Dagster calls too."""
