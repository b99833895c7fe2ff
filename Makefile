# make demo: train the default job.   make test: run the tests.   make help: the rest.
# The first call makes .venv and installs; later ones install nothing until the requirements change.

VENV := .venv
BIN := $(VENV)/bin
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c '$(USABLE)' 2>/dev/null && echo $$python && break; done)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST := $(BIN)/python -m pytest
# Two processes of one thread each: the fast tests are many small ones. The others take all cores.
SLOW := ray or cpu_heavy or browser
FAST_TESTS := OMP_NUM_THREADS=1 $(PYTEST) -m "not (soak or $(SLOW))" -n 2 --dist=worksteal
SLOW_TESTS := $(PYTEST) -m "not soak and ($(SLOW))"
TORCH := 2.13.0
RAY := 2.60.0

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-fast soak check format bench-quick constraints clean

help:
	@echo "make demo         train the default job (handwritten digits, about a minute)"
	@echo "make test         all tests but the soak ones; make test ARGS='-k journal'"
	@echo "make test-fast    the tests without Ray, browser and long training: under a minute"
	@echo "make soak         the long ones: seeds, faults, fuzzing"
	@echo "make check        formatter, linter, types, import contracts"
	@echo "make format       let the formatter and the linter repair what they can"
	@echo "make bench-quick  the benchmarks in their quick form"
	@echo "make constraints  find a new tested set of dependencies"
	@echo "make clean        remove .venv and caches; runs stay"

demo: $(VENV)/.runtime
	$(BIN)/absa train $(ARGS)

# Both parts run, even if the first one fails. Of pytest's exit codes 2 is an interruption, and 5
# says that ARGS leave nothing of a part, which is an error only if they leave nothing of either.
test: $(VENV)/.development
	@$(FAST_TESTS) --durations=5 $(ARGS); fast=$$?; test $$fast -ne 2 || exit 2; \
	$(SLOW_TESTS) --durations=10 $(ARGS); slow=$$?; \
	case $$fast-$$slow in 0-0 | 0-5 | 5-0) ;; *) exit 1 ;; esac

test-fast: $(VENV)/.development
	$(FAST_TESTS) --durations=5 $(ARGS)

soak: $(VENV)/.development
	$(PYTEST) -m "soak or cpu_heavy" --durations=10 $(ARGS)

check: $(VENV)/.development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.development
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-quick: $(VENV)/.development
	@set -e; for file in $$(grep -l '__main__' benchmarks/*.py) benchmarks/*/__main__.py; do \
		name=$$(basename $${file%/__main__.py} .py); echo "== $$name"; \
		$(BIN)/python -m benchmarks.$$name --quick; done

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "absa needs Python 3.11 or newer with venv: neither python3.11," \
		"python3.12 nor python3 is one (Debian: apt-get install python3-venv)." \
		"Name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# setuptools comes first, in the tested version, and builds the package without a second download.
$(VENV)/.runtime: $(VENV)/.python pyproject.toml constraints.txt
	@echo "installing what absa needs into $(VENV) (some minutes the first time)"
	@$(PIP) setuptools
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/.development: $(VENV)/.python pyproject.toml constraints.txt
	@echo "installing what absa, its tests and benchmarks need into $(VENV) (some minutes the first time)"
	@$(PIP) setuptools
	@$(PIP) --no-build-isolation -e '.[dev,benchmarks]'
	@touch $@ $(VENV)/.runtime

# torch is named so that PIP_FIND_LINKS or an extra index can offer its build without CUDA.
constraints:
	$(PYTHON) -m venv $(VENV)-new
	$(VENV)-new/bin/pip install --quiet torch==$(TORCH) ray==$(RAY) 'setuptools>=77'
	$(VENV)-new/bin/pip install --quiet --no-build-isolation -e '.[dev,benchmarks]'
	@{ sed -n '/^#/p' constraints.txt; $(VENV)-new/bin/pip freeze --all --exclude-editable \
		| grep -Ev '^(pip|absa|cuda|nvidia|triton)' | sed 's/+.*//' | sort -f; } > $(VENV)-new/tested
	mv $(VENV)-new/tested constraints.txt
	rm -rf $(VENV)-new

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
