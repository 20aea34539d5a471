# Everything a fresh machine needs: Python 3.11 or newer, make, and a package registry.
.DEFAULT_GOAL := help
.PHONY: help run test check bench bench-frontier bench-journal bench-segments bench-soak bench-backlog labels soak mutants model sim crowd sim-points chaos clean
.SILENT:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

QUESTION ?= How does asyncio propagate cancellation, and what can suppress it?
CORPUS ?= $(shell $(BIN)/python -c 'import asyncio, pathlib; print(pathlib.Path(asyncio.__file__).parent)')
WORKERS ?= 4
STATES ?= 3000000
SEEDS ?= 500
JOBS ?= 2
MINUTES ?= 10

help: ## Show this list
	grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/'

run: $(READY) ## Ask a real question of Python's own asyncio source, with 4 workers
	$(BIN)/coordinator run "$(QUESTION)" --corpus "$(CORPUS)" --workers $(WORKERS) --output report.md

test: $(READY) ## Run all tests, on real servers
	$(BIN)/python -m compileall -q protocol blackboard coordinator agents tests # once, not in each process
	$(BIN)/pytest -n 3 --dist worksteal

check: $(READY) ## Lint, formats, types, import contracts, published schemas
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m protocol.schemas --check
	$(BIN)/python -m coordinator.web.openapi --check

bench: $(READY) ## Measure tasks per second beside the floor, footprint, and the cost of a growing board
	$(BIN)/python bench/cycle.py
	$(BIN)/python bench/footprint.py
	$(BIN)/python bench/board_growth.py

bench-frontier: $(READY) ## Judge the frontier's policies in simulated worlds (long)
	nice $(BIN)/python -m bench.frontier --page docs/frontier-benchmark.md
	nice $(BIN)/python -m bench.frontier.speed

bench-journal: $(READY) ## Measure what the journal costs per model call: bytes, and microseconds
	$(BIN)/python -m bench.journal

bench-segments: $(READY) ## See that 10,000 iterations leave log, memory and take-over as they were (some minutes)
	nice $(BIN)/python bench/segments.py --page docs/long-runs.md

labels: $(READY) ## Kill a run once at each point that it passes (some minutes)
	SWARM_EVERY_LABEL=1 $(BIN)/pytest -q tests/crash/test_every_label.py

bench-soak: $(READY) ## See that nothing grows over 120,000 tasks and 51 runs (some minutes)
	nice $(BIN)/python bench/soak.py

bench-backlog: $(READY) ## See that a task costs the same when a million others wait, or were done (some minutes)
	nice $(BIN)/python bench/backlog.py
	nice $(BIN)/python bench/board_growth.py --boards 1000,1000000 --tasks 3000 --rounds 1

soak: $(READY) ## Load the swarm, with a fault every half minute, and see that nothing grows (MINUTES=10)
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES)

mutants: $(READY) ## Break one thing at a time on purpose and see what notices (an hour; goes on where it was cut)
	nice $(BIN)/python -m tests.mutants.run --modes tests,model,simulation --seeds 12 --results .mutants.jsonl

model: $(READY) ## Search millions of states of a small world around the decisions (STATES=3000000)
	nice $(BIN)/python -m tests.model.worlds --states $(STATES)

sim: $(READY) ## Simulate the swarm under faults, half a second each; goes on where it was cut (SEEDS=500)
	nice $(BIN)/python -m tests.sim.campaign --seeds $(SEEDS) --jobs $(JOBS) --results .simulated.jsonl

crowd: $(READY) ## Let 300 of 1,000 simulated workers fall silent at once (a minute or two)
	nice $(BIN)/python -m tests.swarm.crowd

sim-points: $(READY) ## Let a process die at every point of a run, one simulation for each
	nice $(BIN)/python -m tests.sim.points --jobs $(JOBS) --results .simulated-points.jsonl

chaos: $(READY) ## Kill, freeze, cut off, deceive and replace real processes, round after round (MINUTES=10)
	nice $(BIN)/python -m tests.chaos.chaos --minutes $(MINUTES)

clean: ## Remove the environment and every cache; data folders of runs stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "swarmboard needs Python 3.11 or newer; choose one with: make PYTHON=python3.12" >&2; exit 1; }
	echo "Preparing $(VENV) (once, about a minute)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embedded]' --group dev
	touch $@
