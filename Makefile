# Every target works from a bare checkout: the first one to run makes the virtual environment it needs, once.
#
#   make test PYTHON=/usr/bin/python3.12     choose the Python
#   make test VENV=~/venvs/analognets        choose where the environment lives
#   make test VENV=active                    use the environment that is active now

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test lint format types bench docs page release-check clean

VENV ?= .venv
ifeq ($(VENV),active)
  ifeq ($(VIRTUAL_ENV),)
    $(error VENV=active was asked for, but no virtual environment is active)
  endif
  override VENV := $(VIRTUAL_ENV)
endif

BIN := $(abspath $(VENV))/bin
IS_SUPPORTED = -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
  "$$python" $(IS_SUPPORTED) && command -v "$$python" && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check $(if $(CI),--quiet)

# The repository's root on sys.path would let our folder `datasets` stand beside Hugging Face's.
export PYTHONSAFEPATH := 1
export TF_CPP_MIN_LOG_LEVEL ?= 3
export MPLBACKEND ?= Agg

help:  ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.made-demo  ## Train a short keyword spotter, programme 25 chips, print how they age
	$(BIN)/analognets train kws --recipe kws_demo --out runs/demo --keep
	$(BIN)/analognets evaluate runs/demo --chips 25

# Files of tests go to a few processes; each of them needs up to 4 GB. PARALLEL= runs all in one. tests/conftest.py
# orders the files: those with slow tests first.
PARALLEL ?= -n auto --maxprocesses=4 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.made-dev  ## Run all tests (narrow it with ARGS="-k drift")
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

lint: $(VENV)/.made-dev  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.made-dev  ## Put the style right where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# An editable install hides the outer folders from mypy, so it reads the wheel that users get, from an empty folder.
types: $(VENV)/.made-dev  ## Check types, on the installed wheel
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; mkdir "$$work/empty"; \
	$(BIN)/python -m build --no-isolation --outdir "$$work" . >"$$work/log" 2>&1 || { cat "$$work/log"; exit 1; }; \
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --target "$$work/site" "$$work"/*.whl; \
	cd "$$work/empty"; MYPYPATH="$$work/site" $(BIN)/python -m mypy --config-file "$(CURDIR)/pyproject.toml" \
	  --cache-dir "$(CURDIR)/.mypy_cache" -p analognets

bench: $(VENV)/.made-dev  ## Measure speed against plain Keras
	PYTHONSAFEPATH= $(BIN)/python -m benchmarks.hwa_step
	PYTHONSAFEPATH= $(BIN)/python -m benchmarks.drift_evaluation

# Notebooks whose code changed are executed first, in their short mode; ANALOGNETS_DOCS_NOTEBOOKS=full runs all in full.
docs: $(VENV)/.made-docs  ## Build the documentation site in docs/_build/html
	PYTHONSAFEPATH= $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --jobs 2 -b html docs docs/_build/html
	PYTHONSAFEPATH= $(BIN)/python docs/_sphinx/check_site.py docs/_build/html

# What is built is committed, so that installing needs no Node; a test compares it with what it was built from.
page: $(VENV)/.made-dev  ## Build the lab page's script and data in deploy/page/built (needs Node)
	npm ci --prefix web --no-fund --no-audit
	npm run --prefix web check
	npm run --prefix web build
	$(BIN)/python web/describe.py

# Each environment that tries the wheel takes minutes and 2 GB for a while; ARGS="--python 3.12" tries one.
release-check: $(VENV)/.made-dev  ## Build and check the archives in dist/, try the wheel on each Python that is here
	$(BIN)/python .ci/release_check.py $(ARGS)

clean:  ## Remove the environment and what tools cached; keep runs
	rm -rf .venv build dist *.egg-info docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@"$(PYTHON)" $(IS_SUPPORTED) || { echo "analognets needs Python 3.11, 3.12 or 3.13 with its venv module;" \
	  "$(or $(PYTHON),what is on PATH) is not that: install one, or name it with make PYTHON=/path/to/python3.12." >&2; \
	  exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv "$(VENV)" || { rm -rf "$(VENV)"; exit 1; }

$(VENV)/.made-demo: pyproject.toml | $(VENV)/bin/python
	@echo "Installing analognets into $(VENV): TensorFlow alone is 0.5 GB to fetch and 2 GB on disk"
	@$(PIP) install -e '.[speech]'
	@touch $@

$(VENV)/.made-dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing analognets and its tools into $(VENV): TensorFlow alone is 0.5 GB to fetch and 2 GB on disk"
	@$(PIP) install -e '.[dev]'
	@touch $@

$(VENV)/.made-docs: pyproject.toml | $(VENV)/bin/python
	@echo "Installing analognets and Sphinx into $(VENV): TensorFlow alone is 0.5 GB to fetch and 2 GB on disk"
	@$(PIP) install -e '.[docs]'
	@touch $@
