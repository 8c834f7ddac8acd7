# `make run` simulates GPT-3 175B on 64 A100; `make test` tests; both set up .venv by themselves.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first interpreter at hand that is new enough; or say `make PYTHON=/path/to/python3`.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
SCENARIO ?= scenarios/gpt3-175b-64xa100.toml

.DEFAULT_GOAL := help
.PHONY: help setup run test bench gallery docs truth lint format clean

help:  ## show the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## / - /'

setup: $(STAMP)  ## make .venv and install flexsim with its test tools

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "flexsim needs Python 3.11 or newer on the PATH" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

run: $(STAMP)  ## simulate SCENARIO (GPT-3 175B on 64 A100 unless given)
	$(BIN)/flexsim run $(SCENARIO)

test: $(STAMP)  ## run the tests, over every shipped scenario
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal --all-scenarios

bench: $(STAMP)  ## measure speed and memory (BENCH="--most 100000" for a short run)
	$(BIN)/python -m pytest benchmarks -o python_files='bench_*.py' \
		--benchmark-columns=min,median,max,rounds --benchmark-sort=fullname $(BENCH)

gallery: $(STAMP)  ## draw the schedules, and where the time of SCENARIO goes, into plots/gallery
	for format in png svg; do $(BIN)/flexsim list schedules --plot plots/gallery/schedules.$$format; done
	$(BIN)/flexsim run $(SCENARIO) --waterfall --critical-path --output build/gallery
	name=$$(basename $(SCENARIO) .toml); \
	cp build/gallery/waterfall.png plots/gallery/$$name-waterfall.png; \
	cp build/gallery/critical_path.png plots/gallery/$$name-critical-path.png

docs: $(STAMP)  ## build the documentation into build/site
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet --strict

truth: $(STAMP)  ## train small networks for real on two cores, and compare (docs/truth.md)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[torch]'
	$(BIN)/python scenarios/truth/compare.py --output docs/truth.md

lint: $(STAMP)  ## check style, types and the order of the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict flexsim
	$(BIN)/lint-imports

format: $(STAMP)  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
