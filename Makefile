# PPO Explorer: `make explore` opens the page, `make test` runs the tests. Both set themselves up first.
# PORT=9000 chooses the page's port, PYTHON=python3.12 the interpreter; PIPFLAGS= shows what pip does.

PYTHON ?= python3
PORT ?= 8866
PIPFLAGS ?= --quiet

RUN := .venv/bin/python
SAY := @echo "==>"
PIP := $(RUN) -m pip --disable-pip-version-check install $(PIPFLAGS)
INSTALLED := .venv/installed
INSTALLED_TEST := .venv/installed-test

# A virtual environment does not survive a move: where this folder was moved or copied, everything is installed anew.
ifneq ($(shell cat .venv/made-in 2>/dev/null),$(CURDIR))
.PHONY: $(INSTALLED) $(INSTALLED_TEST)
endif

.PHONY: setup explore test slow bench bench-trl mutants screenshots lint clean

setup: $(INSTALLED)
	$(SAY) "Ready: make explore opens the page, make test runs the tests"

$(INSTALLED): pyproject.toml constraints.txt
	@if ! $(RUN) -m pip --version >/dev/null 2>&1; then \
	  "$(PYTHON)" --version >/dev/null 2>&1 || { echo "error: there is no '$(PYTHON)': install Python 3.11 or newer, or name one with PYTHON=" >&2; exit 2; }; \
	  version="`"$(PYTHON)" --version`"; \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is $$version, and the explorer needs 3.11 or newer: name another with PYTHON=" >&2; exit 2; }; \
	  "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }; \
	  echo "==> Making .venv with $$version"; \
	  "$(PYTHON)" -m venv --clear .venv; \
	fi
	$(SAY) "Installing the explorer and what constraints.txt pins (with PyTorch: minutes, the first time)"
	@$(PIP) -c constraints.txt -e .
	@echo "$(CURDIR)" > .venv/made-in
	@touch $@

$(INSTALLED_TEST): $(INSTALLED)
	$(SAY) "Installing what the tests need"
	@$(PIP) -c constraints.txt -e ".[test]"
	@touch $@

explore: $(INSTALLED)
	$(SAY) "Starting the explorer"
	@$(RUN) -m explorer serve --port "$(PORT)"

test: $(INSTALLED_TEST)
	$(SAY) "Looking for a Chromium"
	@chromium="`$(RUN) -m tests.browser.chromium`" && \
	echo "==> Running the tests, all but the slow ones, with $$chromium" && \
	CHROMIUM="$$chromium" $(RUN) -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

slow: $(INSTALLED_TEST)
	$(SAY) "Running the slow tests"
	@chromium="`$(RUN) -m tests.browser.chromium`" && CHROMIUM="$$chromium" $(RUN) -m pytest -m slow -s

bench: $(INSTALLED_TEST)
	$(SAY) "Running the benchmarks: leave the machine alone meanwhile"
	@chromium="`$(RUN) -m tests.browser.chromium`" && \
	CHROMIUM="$$chromium" $(RUN) -m pytest -s -o python_files='bench_*.py' -o timeout=1200 tests/benchmarks

# TRL 1.12, the last release with PPO, needs an environment of its own.
TRL := .venv-trl/bin/python

.venv-trl/installed: $(INSTALLED)
	$(SAY) "Installing TRL 1.12 beside"
	@"$(PYTHON)" -m venv --clear .venv-trl
	@$(TRL) -m pip --disable-pip-version-check install $(PIPFLAGS) torch==2.13.0
	@$(TRL) -m pip --disable-pip-version-check install $(PIPFLAGS) trl==1.12.0 transformers==5.23.0
	@touch $@

bench-trl: $(INSTALLED_TEST) .venv-trl/installed
	$(SAY) "Timing an update against TRL: leave the machine alone meanwhile"
	@TRL_PYTHON="$(CURDIR)/$(TRL)" $(RUN) -m pytest -s -o python_files='bench_*.py' -o timeout=1200 tests/benchmarks/bench_update_speed.py

mutants: $(INSTALLED_TEST)
	$(SAY) "Breaking the core, one line at a time: this takes a while"
	@$(RUN) -m tests.mutants

screenshots: $(INSTALLED_TEST)
	$(SAY) "Photographing the page into build/screenshots"
	@chromium="`$(RUN) -m tests.browser.chromium`" && CHROMIUM="$$chromium" $(RUN) -m tests.browser.screenshots

lint: $(INSTALLED_TEST)
	$(SAY) "Checking format, style and types"
	@$(RUN) -m ruff format --check --quiet .
	@$(RUN) -m ruff check --quiet .
	@$(RUN) -m mypy

clean:
	$(SAY) "Removing what builds and tests left behind (.venv stays)"
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
