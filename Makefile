# Large Language Models: Theory, Practice, Ethics and Safety
SHELL := /bin/bash
PYTHON ?= python3
SCALE ?= ci
PORT ?= 8000
# FRESH=1 takes nothing from what earlier runs have kept; EXECUTED=1 makes an exception of the notebooks.
BIN := .venv/bin
LAB := $(BIN)/python -m llmsafety_lab.course.cli
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# In the environment the path to this folder is relative: Python 3.11 and 3.12 cannot read it otherwise, where the
# locale is C and the path has other letters than ASCII.
# Byte code is written by whoever imports a library first, and saves the others seconds each.
export PYTHONDONTWRITEBYTECODE :=

# Runs one step, says what it is and how long it took, and notes that for the table at the end.
define step
	@start=$$(date +%s); echo "==> $(1)"; $(2) && took=$$(($$(date +%s) - start)) && echo "==> $(1): $$took s" && \
	  mkdir -p _build/steps && echo $$took > "_build/steps/$(subst $() ,_,$(1))"
endef

.PHONY: help site test begin setup tools fetch notebooks book pdf kept student lint types pytest doctor lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

site: setup fetch notebooks ## build everything and serve the site
	$(call step,book,$(LAB) book)
	@$(LAB) book --serve --port $(PORT)

test: begin setup tools fetch lint types student notebooks book pytest ## run every check (FRESH=1: also what has not changed)

begin:
	@rm -rf _build/steps

book: notebooks ## build the site without serving it
	$(call step,book,$(LAB) book)

pdf: notebooks ## print the book into one PDF
	$(call step,pdf,$(LAB) book --pdf)

kept: setup fetch ## make every kept result anew (hours), then ask whether a row of each comes out the same
	$(call step,kept results,$(LAB) keep --fresh && $(BIN)/python -m pytest -k "kept and (row or table)")

setup: .venv/ready ## create the virtual environment

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(call step,install,$(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --no-compile -r requirements.txt && \
	  $(BIN)/python -m pip install --quiet --no-compile --no-deps --editable . && \
	  echo ../../../.. > $(BIN)/../lib/python3*/site-packages/_llmsafety_lab.pth)
	@touch $@

tools: ## install the sandbox and the browser where apt may
	$(call step,tools,bash .ci/tools)

fetch: setup ## fetch the models and data
	$(call step,fetch,$(LAB) fetch)

notebooks: setup fetch ## execute every notebook
	$(call step,notebooks,$(LAB) execute --scale $(SCALE) $(if $(EXECUTED),,$(if $(FRESH),--fresh)))

student: setup ## check that the student notebooks are as the masters say
	$(call step,student notebooks,$(LAB) build --check)

lint: setup ## ruff, and which module may import which
	$(call step,ruff,$(BIN)/ruff check . && $(BIN)/ruff format --check .)
	$(call step,import rules,$(BIN)/python -c 'from importlinter.cli import lint_imports_command as run; run()' --no-cache)

types: setup ## types of the public functions
	$(call step,mypy,$(BIN)/mypy)

pytest: setup ## the tests; the last line is pytest's own
	@echo "==> pytest"; $(BIN)/python -m pytest && $(BIN)/python -m llmsafety_lab.course.book.clock

doctor: setup ## say what is missing on this machine
	@$(LAB) doctor

lock: setup ## make requirements.txt and package-lock.json anew
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade --quiet \
	  --no-header --no-annotate --output-file requirements.txt
	@sed -i.old -E '/^(nvidia-|cuda-|triton)/d' requirements.txt && rm requirements.txt.old
	@$(BIN)/npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved --silent
	@echo "requirements.txt and package-lock.json are new; torch pins its own CUDA libraries"

clean: ## remove what was built
	@rm -rf _build
