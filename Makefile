# make setup, make demo, make test (the gate, minutes), make test-slow (whole studies, two hours)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := runs/demo

.PHONY: setup demo test test-slow format lint types layers clean system-packages

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "genovox needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/genovox demo $(DEMO)

test: setup system-packages lint types layers
	$(BIN)/python -m pytest -m "not slow" -n logical --maxprocesses 4 --dist loadfile --cov --cov-report=term:skip-covered

test-slow: setup
	$(BIN)/python -m pytest -m slow

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

# A browser shows the report in the tests; nothing is installed on a machine that is not a CI machine.
system-packages:
	@if command -v chromium >/dev/null; then :; \
	elif [ "$$CI" = true ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	else echo "chromium is not installed: the tests that open the report in a browser will be skipped"; fi

clean:
	rm -rf runs build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
