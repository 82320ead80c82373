"""DuckDB and dbt: their settings, starting dbt and reading its events, Spark, and the plugin that dbt-duckdb loads.

Does not know what a merge means."""
