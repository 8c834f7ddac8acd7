# `make run` simulates GPT-3 175B on 64 A100; `make test` tests; both set up .venv by themselves.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first interpreter at hand that is new enough; or say `make PYTHON=/path/to/python3`.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
SCENARIO ?= scenarios/gpt3-175b-64xa100.toml
DRAWN := build/gallery

.DEFAULT_GOAL := help
.PHONY: help setup run test bench gallery docs truth lint format clean

help:  ## show the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## / - /'

setup: $(STAMP)  ## make .venv and install flexsim with its test tools

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "flexsim needs Python 3.11 or newer on the PATH" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m compileall -q flexsim  # pip compiles what it copies only
	@touch $(STAMP)

run: $(STAMP)  ## simulate SCENARIO (GPT-3 175B on 64 A100 unless given)
	$(BIN)/flexsim run $(SCENARIO)

test: $(STAMP)  ## run the tests, over every shipped scenario
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal --all-scenarios

bench: $(STAMP)  ## measure speed and memory (BENCH="--most 100000" for a short run)
	$(BIN)/python -m pytest benchmarks -o python_files='bench_*.py' \
		--benchmark-columns=min,median,max,rounds --benchmark-sort=fullname $(BENCH)

gallery: $(STAMP)  ## draw all of plots/gallery anew: schedules, SCENARIO, links, and sweeps
	rm -rf $(DRAWN)
	for format in png svg; do $(BIN)/flexsim list schedules --plot plots/gallery/schedules.$$format; done
	$(BIN)/flexsim run $(SCENARIO) --waterfall --critical-path --output $(DRAWN)
	name=plots/gallery/$$(basename $(SCENARIO) .toml); cp $(DRAWN)/bubbles.png $$name.png; \
	cp $(DRAWN)/waterfall.png $$name-waterfall.png; cp $(DRAWN)/critical_path.png $$name-critical-path.png
	$(BIN)/python scenarios/compare_schedules.py $(DRAWN)
	cp $(DRAWN)/comparison.png plots/gallery
	$(BIN)/flexsim run scenarios/korthikanti-22b-8xa100-full.toml --output $(DRAWN)/links --quiet \
		--set title="GPT 22B on 16 A100 of two hosts, tensor 8, data 2" --set cluster.hosts=2 \
		--set strategy.data=2 --set training.global_batch=8 --set simulation.network=links
	cp $(DRAWN)/links/links.png plots/gallery/links-22b-16xa100.png
	for name in gpt-18b-splits micro-batches model-sizes weak-scaling; do \
		$(BIN)/flexsim sweep scenarios/sweeps/$$name.toml --output $(DRAWN)/$$name.csv --quiet || exit 1; \
	done
	cp $(DRAWN)/gpt-18b-splits-heat-map.png plots/gallery/sweep-heat-map.png
	cp $(DRAWN)/gpt-18b-splits-pareto.png plots/gallery/sweep-pareto.png
	cp $(DRAWN)/micro-batches-lines.png plots/gallery/sweep-lines.png
	cp $(DRAWN)/model-sizes-pareto.png plots/gallery/sweep-fronts.png
	cp $(DRAWN)/weak-scaling-scaling.png plots/gallery/sweep-scaling.png

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
