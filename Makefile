# The two commands are `make run` and `make test`; `make help` lists the rest. Stamps in .venv make a second call quick.

VENV := .venv
BIN := $(VENV)/bin
DATA ?= ./data
PORT ?= 8443
# An installed Python 3.11 or newer, the first of these names that is one; make PYTHON=... says another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# CI has no terminal; pytest and pip must not ask.
export PIP_NO_INPUT := 1
# More than a small machine's two cores: calls, storms and servers are mostly waited for.
TESTERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help run test test-slow lint format types contracts docs docs-check check packages search bench-boot bench-parts bench-render bench-idle bench-million bench-storm bench-ivr bench-technician clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/installed ## install, start the server in ./data, boot simulated phones against it (DATA=, PORT=)
	@$(BIN)/provisioner demo --data $(DATA) --port $(PORT)

test: check packages ## lint, types, import contracts, docs, and every test but those that take long
	@$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: $(VENV)/developing packages ## what takes long: storms, crashes, a hundred calls, each property with all examples (10 min)
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow or hypothesis" --hypothesis-profile=whole

search: $(VENV)/developing packages ## properties with examples that no run before had; what it finds becomes an @example (8 min)
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m hypothesis --hypothesis-profile=search

check: lint types contracts docs-check ## what test does before it runs the tests

lint: $(VENV)/developing ## ruff, rules and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: $(VENV)/developing ## let ruff put imports and layout right
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

types: $(VENV)/developing ## mypy --strict
	@$(BIN)/mypy

contracts: $(VENV)/developing ## who may import whom
	@$(BIN)/lint-imports

docs: $(VENV)/developing ## write docs/reference again from the code
	@$(BIN)/python docs/generate.py

docs-check: $(VENV)/developing ## docs/reference says what the code says
	@$(BIN)/python docs/generate.py --check

bench-boot: $(VENV)/developing packages ## server CPU per boot against nginx (15 min; a quiet machine)
	@$(BIN)/python bench/boot.py

bench-parts: $(VENV)/developing ## which part of the server a boot's CPU goes to (2 min)
	@$(BIN)/python bench/parts.py --lines

bench-render: $(VENV)/developing ## microseconds per rendered file (1 min)
	@$(BIN)/python bench/render.py

bench-idle: $(VENV)/developing ## memory of 10,000 idle connections, and boots meanwhile (4 min)
	@$(BIN)/python bench/idle.py

bench-million: $(VENV)/developing ## 1,000,000 devices against 1,000, and a change of a shared default (3 min)
	@$(BIN)/python bench/million.py

bench-storm: $(VENV)/developing packages ## power cuts against ours, nginx and aiohttp: goals, plots (25 min; a quiet machine)
	@$(BIN)/python bench/storm.py

bench-ivr: $(VENV)/developing ## CPU of a call to the activation prompts, and how soon they answer (1 min)
	@$(BIN)/python bench/ivr.py

bench-technician: $(VENV)/developing packages ## `why` at 1,000,000 devices, captures, live frames, switches (10 min; as root)
	@$(BIN)/python bench/technician.py

packages: $(VENV)/packages

$(VENV)/packages: .ci/packages | $(VENV)/pip
	@.ci/packages && touch $@

$(VENV)/pip:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found; install one, or name it: make PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 2; }
	@touch $@

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/pip
	@echo "Installing into $(VENV) ..."
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/developing: pyproject.toml constraints.txt $(VENV)/installed .ci/development.py
	@echo "Installing what the tests need into $(VENV) ..."
	@$(BIN)/python .ci/development.py | xargs $(PIP) install --constraint constraints.txt
	@touch $@

clean: ## forget the virtual environment and the tools' caches; ./data stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
