# make run        the quickstart scenario: a biased baseline, a fair model under secret sharing, a report
# make test       the tests: minutes, no data to download
# make test-slow  the tests that take up to a minute each
# make test-real  the tests on real pictures and weights, where SECURE_FAIR_DATA names their folder
# make test-long  the tests that take many minutes
# make test-peer  CrypTen's own tests on this engine, with two and with three parties: ten minutes
# make lint       style and types
# make docs       the documentation as a site, in site/
#
# Only Python 3.11 or newer and make are needed; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# one thread per process: the parties of a simulation share this machine's cores
export OMP_NUM_THREADS := 1

.DELETE_ON_ERROR:
.PHONY: run test test-slow test-real test-long test-peer lint docs

run: $(INSTALLED)
	$(BIN)/secure-fair run quickstart

# two at a time: much of a party's time is waiting for the others
test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not real and not long"

test-real: $(INSTALLED)
	$(BIN)/python -m pytest -m "real and not long"

test-long: $(INSTALLED)
	$(BIN)/python -m pytest -m long

test-peer: $(INSTALLED)
	$(BIN)/python -m pytest -m peer tests/peer

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/mkdocs build --strict

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	touch $@
