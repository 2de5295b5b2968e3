# Holdfast: every command a developer needs. `make help` lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
RUN    := $(VENV)/bin/python -m
ARGS   ?=
INSTALL = $(RUN) pip install --quiet --disable-pip-version-check --no-deps

.DEFAULT_GOAL := help
.PHONY: help up test check sql proto bench lock clean

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' Makefile
	@echo '  Pass options with ARGS, for example: make up ARGS="--port 9000 --data ./data"'

up: $(VENV)/ready ## start everything on this machine and show where to look
	@exec $(VENV)/bin/holdfast up $(ARGS)

test: check ## every check, then every test, against real servers
	@$(RUN) pytest -n 3 --dist loadscope holdfast tests lab $(ARGS)

check: $(VENV)/ready ## style, types, import walls, SQL against the migrated schema, repository rules
	@$(RUN) ruff check . && $(RUN) ruff format --check .
	@$(RUN) mypy
	@$(RUN) pytest checks

sql: $(VENV)/ready ## generate each queries.py from its queries.sql
	@$(RUN) checks.sqlc generate

proto: $(VENV)/ready ## generate holdfast/stubs from contracts/proto
	@$(RUN) checks.protos generate

bench: $(VENV)/ready ## measure the figures that the documents state (minutes; ARGS="--list" shows them)
	@$(RUN) lab.bench $(ARGS)

lock: $(VENV)/ready ## pin the dependencies of pyproject.toml again, with hashes and without addresses
	@$(INSTALL) uv
	@$(RUN) uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --quiet --upgrade -o requirements.lock

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# A Debian without python3-venv has no ensurepip: as root we can mend that, otherwise we say how.
$(VENV)/ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Holdfast needs Python 3.11 or newer. Set PYTHON=/path/to/python3.11'; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get install -y -qq python3-venv >/dev/null; } \
	  || { echo 'Python has no ensurepip. Run: apt-get install python3-venv'; exit 1; }
	@echo 'Setting up $(VENV) (once, about half a minute)'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(INSTALL) --require-hashes --only-binary :all: -r requirements.lock
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@
