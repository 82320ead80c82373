"""What a person writes: the merge spec as a YAML file, its settings and types, its mistakes with line and column.

Knows no file of data, no dbt and no engine."""
