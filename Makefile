# Needs make and Python 3.11 or newer, nothing else. Everything is installed into $(VENV) from the
# hash-locked requirements, again only when a lock changes.
#
#   make run PYTHON=/path/to/python3.12     another interpreter
#   make test ARGS="tests/ops -k postgres"  arguments for the tool behind the target

PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$candidate && break; \
	done)
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PROVIDE := $(PYTHON) -m ops.bootstrap --venv "$(VENV)"
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --group build $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help run demo test lint format fuzz bench chaos lock clean python

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: python ## Start all of Payfleet on this machine; Ctrl-C stops it, .payfleet/ keeps its data.
	@$(PROVIDE) requirements-embedded.txt
	@$(BIN)/payfleet up $(ARGS)

demo: python ## Start it, take one payment from POST to SUCCESS, stop.
	@$(PROVIDE) requirements-embedded.txt
	@$(BIN)/payfleet up --demo $(ARGS)

test: python ## Run the tests against the services found (or the embedded ones), saying what was skipped.
	@$(PROVIDE) requirements-dev.txt
	$(BIN)/python -m pytest $(ARGS)

lint: python ## Everything that judges without running: style, types, imports, dependencies, SQL, tidiness.
	@$(PROVIDE) requirements-dev.txt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(if $(wildcard db/migrations/*.sql),$(BIN)/squawk $(sort $(wildcard db/migrations/*.sql)))
	$(BIN)/python -m pytest -q tests/tidy

format: python ## Put the code into its one format and fix what can be fixed safely.
	@$(PROVIDE) requirements-dev.txt
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

fuzz: python ## Send the running fleet whatever its OpenAPI document allows, and more, in every role.
	@$(PROVIDE) requirements-dev.txt
	PAYFLEET_FUZZ_EXAMPLES=100 $(BIN)/python -m pytest -s tests/end_to_end/test_schemathesis.py $(ARGS)

bench: python ## Run the load and fault campaigns; results go to bench/results/.
	@$(PROVIDE) requirements-dev.txt
	$(BIN)/python -m bench $(ARGS)

chaos: python ## Break everything around the fleet under load and judge what is left (QUICK=1: 3 minutes; SEED=n: again).
	@$(PROVIDE) requirements-dev.txt
	$(BIN)/python -m bench.chaos $(if $(QUICK),--quick) $(if $(SEED),--seed $(SEED)) $(ARGS)

lock: python ## Resolve the requirements again (ARGS=--upgrade takes the newest versions allowed).
	@$(PROVIDE) requirements-dev.txt
	$(COMPILE) --extra embedded --group dev -o requirements-dev.txt
	$(COMPILE) --extra embedded -c requirements-dev.txt -o requirements-embedded.txt
	$(COMPILE) -c requirements-embedded.txt -o requirements.txt

clean: ## Remove the environment and the caches (not .payfleet/: that is data).
	rm -rf "$(VENV)" build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

python:
	@test -n "$(PYTHON)" || { echo "Payfleet needs Python 3.11 or newer, and none was found on PATH." \
		"Install one, or say where it is: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Payfleet needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
		"Say where a newer one is: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
