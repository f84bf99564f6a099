# `make demo` and `make test` set everything up by themselves.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CRASH_ROUNDS ?= 2000

.PHONY: help setup native demo test check bench wheel crash generate format clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --group dev
	touch $@

setup: $(VENV)/.ready

native: setup  ## build the engine into the environment
	$(BIN)/python .ci/native.py develop

demo: native  ## play poker hands, ask what if, and move money between accounts, while processes are killed
	$(BIN)/python -m angzarr.examples.holdem.demo --out demo
	$(BIN)/python -m angzarr.examples.bank.demo

test: native  ## every test: Rust, Python, contracts on all stores, 200 crashes
	$(BIN)/python .ci/native.py test
	ANGZARR_REQUIRE_BACKENDS=1 $(BIN)/python -m pytest

check: native  ## format, lint, types, imports, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python .ci/generate.py --check
	$(BIN)/python .ci/generate_sync.py --check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m mypy.stubtest angzarr._native
	$(BIN)/python .ci/native.py lint

generate: setup  ## regenerate _wire, the examples' wire code, and caller_sync
	$(BIN)/python .ci/generate.py
	$(BIN)/python .ci/generate_sync.py

format: setup  ## format Python and Rust
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	cargo fmt --all

bench: native  ## measure against the peers; ONLY=append64 runs one
	$(BIN)/pip install --quiet --group bench
	$(BIN)/python -m benches $(if $(ONLY),--only $(ONLY))

crash: native  ## kill stores, servers and a bank's processes, CRASH_ROUNDS times each
	ANGZARR_CRASH_ROUNDS=$(CRASH_ROUNDS) $(BIN)/python -m pytest -m crash --timeout 0 tests/crash

wheel: native  ## an abi3 wheel in dist/, tried in a clean environment
	rm -rf dist
	$(BIN)/python .ci/native.py wheel
	$(BIN)/python .ci/try_wheel.py

clean:  ## remove the environment and what was built here
	rm -rf $(VENV) dist demo .pytest_cache .ruff_cache .hypothesis python/angzarr/_native*.so
