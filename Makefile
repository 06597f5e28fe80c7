.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CLIENT := web/client
# Most of the suite waits for servers, kills and encodes: three at a time keep two cores busy.
TEST_WORKERS ?= 3
DATA   ?= $(or $(FREEWILL_DATA_DIR),./data)
# What `make services` started, as environment variables; absent when it did not run.
SERVICES_ENV := .services/env
WITH_SERVICES := if [ -f $(SERVICES_ENV) ]; then set -a; . $(SERVICES_ENV); set +a; fi;

.PHONY: help setup client run demo check lint types test test-slow soak bench services services-stop kafka kafka-stop clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(CLIENT)/node_modules/.installed: $(CLIENT)/package.json $(CLIENT)/package-lock.json
	cd $(CLIENT) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

CLIENT_SOURCES := $(shell find $(CLIENT)/src $(CLIENT)/public $(CLIENT)/index.html $(CLIENT)/vite.config.ts -type f 2>/dev/null)

$(CLIENT)/dist/index.html: $(CLIENT)/node_modules/.installed $(CLIENT_SOURCES)
	cd $(CLIENT) && npm run --silent build
	@touch $@

setup: $(VENV)/installed client ## Install everything into .venv and build the browser client

client: $(CLIENT)/dist/index.html ## Build the browser client

run: setup ## Set up and run FreeWill on http://127.0.0.1:8080
	@exec $(BIN)/freewill serve

demo: setup ## Fill the running server with people, clips and watching
	@exec $(BIN)/freewill demo

check: setup lint types ## Lint, types, import directions, client checks
	$(BIN)/lint-imports --no-cache
	cd $(CLIENT) && npm run --silent check

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

test: check ## Set up, check and run every test
	@$(WITH_SERVICES) $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow" freewill streams tables media ranking federation social web tests

test-slow: setup ## The tests that take long: every clip, every crash point
	@$(WITH_SERVICES) $(BIN)/python -m pytest -m slow --timeout 7200 tests

soak: setup ## Kill the server 235 times under load, on both transports, and compare all counts and uploads
	$(BIN)/python tests/soak/kills.py --kills 100 --store memory://
	$(BIN)/python tests/soak/kills.py --kills 100 --store rocksdb://
	$(BIN)/python tests/soak/kills.py --kills 20 --store rocksdb:// --broker kafka://
	$(BIN)/python tests/soak/kill_uploads.py --kills 15
	$(BIN)/python tests/soak/encodes.py --jobs 500

bench: setup ## Measure, print each figure beside its target
	@for bench in tests/bench/bench_*.py; do echo; $(BIN)/python $$bench || exit 1; done

kafka: ## Start one Apache Kafka broker for tests and development, on loopback
	@.ci/kafka start

kafka-stop: ## Stop it
	@.ci/kafka stop

services: ## Start the real services that the tests use, on loopback
	@.ci/services start

services-stop: ## Stop them
	@.ci/services stop

clean: ## Remove what was built, keep ./data
	rm -rf $(VENV) $(CLIENT)/node_modules $(CLIENT)/dist artefacts
