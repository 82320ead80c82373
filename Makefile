# One verb per task; CI calls the same verbs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DBT_SEND_ANONYMOUS_USAGE_STATS := false
export CRM_MERGE_DIR ?= merges/example
DBT := $(BIN)/dbt
DBT_ARGS := --project-dir . --profiles-dir profiles

.PHONY: build test test-slow bench lint spec spark docs dagster lock clean
build: $(VENV)/installed  ## set everything up and run the example merge
	$(BIN)/crm-merge run seeds/example/merge.yml --dir $(CRM_MERGE_DIR)

test: $(VENV)/installed  ## set everything up and pass every test but the slow ones (10 to 15 minutes on 2 cores)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

# make test-slow SLOW="tests/test_spark.py"   some of them
SLOW ?=
test-slow: $(VENV)/installed  ## the tests that take minutes; those of Spark where Python is new enough for it
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then $(MAKE) $(VENV)/spark; fi
	$(BIN)/python -m pytest -m slow -n 2 --dist worksteal $(SLOW)

# make bench                          the whole table: hours, and 40 GB of disk while it runs
# make bench ROWS="10k 1M" ONLY="a d"  pieces of it; they are put into the same results. ARGS: what benchmarks/merge.py --help says
ROWS ?= 10k 100k 1M 10M
bench: $(VENV)/installed .venv-bench/installed  ## time and memory against Polars, pandas and DuckDB (benchmarks/README.md)
	$(BIN)/python benchmarks/merge.py --rows $(ROWS) $(if $(ONLY),--only $(ONLY)) $(if $(FOLDER),--folder $(FOLDER)) $(ARGS)

# what the macros make is linted as they make it for the example: they are no SQL by themselves
MADE := target/lint/compiled/crm_merge/models
lint: $(VENV)/installed  ## ruff, import-linter (the floors) and mypy for Python; sqlfluff for models, tests and the SQL that macros make
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/sqlfluff lint models tests --disable-progress-bar
	CRM_MERGE_DIR=merges/lint $(DBT) --quiet compile --target-path target/lint $(DBT_ARGS)
	find $(MADE) -name '*.sql' -not -path '*.yml/*' | xargs $(BIN)/sqlfluff lint --templater raw --ignore-local-config --dialect duckdb --disable-progress-bar \
	  --rules references.from,ambiguous.union,ambiguous.distinct,ambiguous.order_by,structure.unused_cte,convention.not_equal,aliasing.unused

spec: $(VENV)/installed  ## make docs/spec.md anew from the settings
	$(BIN)/python -m crm_merge.spec.schema > docs/spec.md

PORT ?= 3000
dagster: $(VENV)/installed  ## the pages and the daemon that run merges; HOME_DIR is the deployment's home, SPECS where specs are dropped
	@exec env $(if $(HOME_DIR),CRM_MERGE_HOME='$(HOME_DIR)') $(if $(SPECS),CRM_MERGE_SPECS='$(SPECS)') $(BIN)/crm-merge dagster --port $(PORT)

spark: SPEC := seeds/example/merge.yml
spark: DIR := merges/example-on-spark
spark: $(VENV)/installed $(VENV)/spark  ## add Spark and run the example merge on it; SPEC and DIR are another merge, SPARK_MASTER a cluster
	$(BIN)/crm-merge run '$(SPEC)' --dir '$(DIR)' --target spark

docs: $(VENV)/installed  ## dbt docs of the example merge, one HTML file
	$(DBT) docs generate --static $(DBT_ARGS)
	@echo "Open target/static_index.html"

lock:  ## renew requirements.txt from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --extra dagster --universal --python-version 3.10 --generate-hashes \
	  --no-strip-extras --no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.txt
	uv pip compile pyproject.toml --extra spark --constraints requirements.txt --universal --python-version 3.11 --generate-hashes \
	  --no-strip-extras --no-header --no-annotate --no-emit-index-url --quiet --output-file requirements-spark.txt

clean:  ## remove dbt's files; merges and the virtual environment stay
	rm -rf target logs

$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "crm-merge needs Python 3.10 or newer, and '$(PYTHON)' is" \
	       "$$($(PYTHON) --version 2>/dev/null || echo not installed)."; \
	  echo "Install a newer one (https://www.python.org/downloads/) and name it: make $(MAKECMDGOALS) PYTHON=python3.12"; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/spark: requirements-spark.txt $(VENV)/installed
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Spark needs Python 3.11 or newer; name it, in a fresh checkout: make spark PYTHON=python3.12"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.txt
	@touch $@

.venv-bench/installed: benchmarks/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make bench needs Python 3.11 or newer for its peers; name it: make bench PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@
