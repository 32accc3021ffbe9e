# Needs make and a Python of 3.10 to 3.13; everything else goes into .venv.
#
#   make train ARGS="trainer.max_epochs=2"      more overrides for the run
#   make test ARGS="-k voc -x"                  more options for pytest
#   make test PYTHON=/opt/python3.12/bin/python another interpreter for a new .venv

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

comma := ,

SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))

# The first that runs and is of a supported version: a command that exists may be the shim of a
# version manager, and then fails. Looked for only where .venv is made.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3.10 python3; do \
	"$$python" -c '$(SUPPORTED)' >/dev/null 2>&1 && echo "$$python" && break; done)

# What the pages are tested with: a browser of the system, and two packages of npm. Only root can install
# a browser, and only where packages are Debian's.
BROWSERS := chromium chromium-browser google-chrome
AXE := $(VENV)/node_modules/axe-core/axe.min.js
ORT_WEB := $(VENV)/node_modules/onnxruntime-web/dist

# Test files at a time; each process takes about 1.5 GB.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n : 4)))

.DEFAULT_GOAL := help
.NOTPARALLEL:

.PHONY: help
help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo 'ARGS="..." adds overrides to train and options to test; PYTHON=... names the interpreter.'

.PHONY: train
train: $(VENV)/.stamp-run ## Install, and train the quickstart (no download of data)
	$(BIN)/fcos-train experiment=quickstart $(ARGS)

.PHONY: test
test: $(VENV)/.stamp-dev ## Install what tests need, and run all but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

.PHONY: test-slow
test-slow: $(VENV)/.stamp-dev ## Run the proofs that take minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

.PHONY: test-gpu
test-gpu: $(VENV)/.stamp-dev ## Run the proofs that need a GPU
	$(BIN)/python -m pytest -m gpu tests/gpu $(ARGS)

.PHONY: test-browser
test-browser: $(VENV)/.stamp-browser ## Install a browser where it is missing, and test the pages in it
	@for browser in $(BROWSERS); do command -v $$browser >/dev/null && exit; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "make: installing chromium"; \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else \
		echo "make: no browser found; on Debian and Ubuntu: sudo apt install chromium" >&2; exit 1; \
	fi
	@if [ ! -f $(AXE) ] || [ ! -d $(ORT_WEB) ]; then \
		command -v npm >/dev/null || { \
			echo "make: npm is missing, which brings axe-core and onnxruntime-web; on Debian and Ubuntu: sudo apt install npm" >&2; \
			exit 1; }; \
		npm install --silent --no-save --no-audit --no-fund --prefix $(VENV) axe-core@4 onnxruntime-web@1; \
	fi
	FCOS_BROWSER_REQUIRED=1 FCOS_AXE=$(AXE) FCOS_ONNXRUNTIME_WEB=$(ORT_WEB) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/reports/test_in_browser.py tests/*/*/test_*_in_browser.py $(ARGS)

.PHONY: bench
bench: $(VENV)/.stamp-bench ## Measure against installed peers; writes docs/performance.md
	$(BIN)/python scripts/benchmark.py $(ARGS)

.PHONY: docs
docs: $(VENV)/.stamp-docs ## Build the site into build/site; trains the tutorial's detector once
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d build/site-cache docs build/site $(ARGS)
	@echo "make: open build/site/index.html"

.PHONY: docs-links
docs-links: $(VENV)/.stamp-docs ## Check every link of the pages, those to other sites too
	$(BIN)/python -m sphinx -W --keep-going -q -b linkcheck -D nb_execution_mode=off -d build/site-links docs build/links $(ARGS)

.PHONY: lint
lint: $(VENV)/.stamp-dev ## Check style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.stamp-dev ## Mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: wheel
wheel: $(VENV)/.stamp-dev ## Build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation

.PHONY: clean
clean: ## Remove builds and caches; runs, data and .venv stay
	rm -rf dist build jupyter_execute .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# --- .venv ---------------------------------------------------------------------------------------
# The stamps say what is installed; they are older than pyproject.toml once that changes, and than
# the interpreter once that is another.

$(VENV)/.stamp-run: pyproject.toml $(BIN)/python
	$(call install,.)

$(VENV)/.stamp-dev: pyproject.toml $(BIN)/python
	$(call install,.[dev])
	@touch $(VENV)/.stamp-run

$(VENV)/.stamp-docs: pyproject.toml $(BIN)/python
	$(call install,.[dev$(comma)docs])
	@touch $(VENV)/.stamp-run $(VENV)/.stamp-dev

$(VENV)/.stamp-browser: pyproject.toml $(BIN)/python
	$(call install,.[dev$(comma)browser])
	@touch $(VENV)/.stamp-run $(VENV)/.stamp-dev

$(VENV)/.stamp-bench: pyproject.toml $(BIN)/python
	$(call install,.[dev$(comma)bench])
	@touch $(VENV)/.stamp-run $(VENV)/.stamp-dev

# No recipe: where the interpreter is missing or its link leads nowhere, the stamps are out of date.
$(BIN)/python: ;

# .made-by-make marks an environment that may be removed and made anew. .unfinished lies in such a
# one while it is being changed: found at the start, somebody stopped us half way, and pip would
# trust packages of which only a part was written.
define install
@set -e; \
rmdir $(VENV) 2>/dev/null || true; \
if [ -e $(VENV)/.unfinished ]; then \
	echo "make: $(VENV) was left half made; making it anew"; rm -rf $(VENV); \
elif [ -e $(VENV) ] && ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	if [ ! -e $(VENV)/.made-by-make ]; then \
		echo "make: $(VENV) has no working pip and was not made here; remove it, or name another: make VENV=DIR" >&2; \
		exit 1; \
	fi; \
	echo "make: the interpreter of $(VENV) is gone; making it anew"; rm -rf $(VENV); \
fi; \
if [ ! -e $(VENV) ]; then \
	python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
		echo "make: no Python of 3.10 to 3.13 found; install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 1; \
	elif ! "$$python" -c '$(SUPPORTED)' 2>/dev/null; then \
		echo "make: PYTHON=$$python does not run or is not Python 3.10 to 3.13; name another" >&2; exit 1; \
	elif ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "make: Python $$version lacks venv or ensurepip; on Debian and Ubuntu: sudo apt install python$$version-venv" >&2; exit 1; \
	fi; \
	echo "make: creating $(VENV) with $$("$$python" --version)"; \
	mkdir $(VENV); touch $(VENV)/.made-by-make $(VENV)/.unfinished; \
	"$$python" -m venv $(VENV); \
fi; \
if [ -e $(VENV)/.made-by-make ]; then touch $(VENV)/.unfinished; fi; \
echo "make: installing $(1) into $(VENV); torch alone is a few GB, the first time takes minutes"; \
$(BIN)/python -m pip --disable-pip-version-check install -q -e '$(1)'; \
rm -f $(VENV)/.unfinished; \
touch $@
endef
