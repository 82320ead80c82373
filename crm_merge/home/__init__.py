"""Many merges: their history, metrics, what is kept and what waits to be run, and the deployment that runs them.

Knows no command and no page; of what Dagster loads it knows the name alone."""
