"""DuckDB and dbt: their settings, starting dbt and reading its events, Spark, the plugin that dbt-duckdb loads, and the macros' words said without dbt.

Does not know what a merge means."""
