"""Everything around the merge that is not SQL: files, command line; later Dagster and S3."""
