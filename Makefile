# Every target sets up what it needs. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo test check fix bench mutants soak torture explore lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## make .venv from the lock
$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("incumbent needs Python 3.11 or newer, and this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup  ## the main job: three real processes, one leader, and everything that can go wrong with it
	$(BIN)/incumbent demo $(ARGS)

check: setup  ## lint, types, layers and the fast tests; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q -m "not slow"

test: check  ## everything that CI runs
	$(BIN)/pytest -q -m slow

fix: setup  ## let the formatter and the linter mend what they can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## print every benchmark
	@for name in check failover failover_holder handover idle import_time restart scale simulator throughput engines; do $(BIN)/python bench/$$name.py --json || exit 1; done

mutants: setup  ## plant every fault of the catalogue in a copy and show that something kills it; goes on where it was
	$(BIN)/python -m tests.mutants

soak: setup  ## 100,000 seeds of the simulator, in chunks that resume; says when it was last clean
	$(BIN)/python -m incumbent.sim.soak $(ARGS)

torture: setup  ## 30 minutes of real processes and every fault at once; needs root: ARGS="--engine etcd --minutes 10"
	$(BIN)/python -m tests.torture $(ARGS)

explore: setup  ## every world that three voters can get into, within bounds: ARGS="--losses 1 --duplications 1 --states 5000000"
	$(BIN)/python -m incumbent.sim.explore $(ARGS)

lock: setup  ## resolve the dependencies anew
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --quiet --group dev --all-extras --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o requirements-dev.lock

clean:  ## remove what setup and the tests made
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
