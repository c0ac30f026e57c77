# Every target builds .venv first, with the versions in constraints.txt. `make` alone lists the targets.
PYTHON ?= python3
AIRFLOW_VERSION ?= $(shell sed -n 's/^apache-airflow==//p' constraints.txt)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Most tests wait for a server or a job most of the time. (5: pytest found no test that ARGS asks for.)
JOBS ?= 4

# What fails beside three others, on a machine that has other things to do, gets one more chance by itself. A test
# that then passes is a flaky one all the same: it is named, and is to be mended. Real failures fail again.
define tests
	$(BIN)/python -m pytest $(1) $(2) $(ARGS); rc=$$?; \
	if [ $$rc -eq 1 ]; then \
	  echo "== once more, one after another, what failed"; \
	  $(BIN)/python -m pytest $(1) --last-failed --last-failed-no-failures none --maxfail=1 $(ARGS) && \
	  echo "== FLAKY: what failed above passed now. Find out why."; \
	else [ $$rc -eq 0 ] || [ $$rc -eq 5 ]; fi
endef

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast faults lint types docs bench constraints clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Options: PYTHON=python3.12 (which Python makes .venv), KEEP=1 (make demo: leave it running),"
	@echo "         API=1 (make demo: over FirecREST v1),"
	@echo "         ARGS='-k upload' (make test, test-fast: passed on to pytest), JOBS=1 (tests one after another),"
	@echo "         ARGS='--runs 10 --api 2 --seed 7' (make faults; --help tells more)"

demo: $(STAMP) ## Local FirecREST + real Airflow + the example DAG, start to finish
	KEEP='$(KEEP)' API='$(API)' $(BIN)/python -m airflow_provider_firecrest.local.demo

test: $(STAMP) ## All tests, a real Airflow end to end included
	@$(call tests,-m 'not e2e',-n $(JOBS) --dist loadfile)
	@$(call tests,-m e2e,)

test-fast: $(STAMP) ## All tests but those that need a running Airflow
	$(BIN)/python -m pytest -m 'not e2e' -n $(JOBS) --dist loadfile $(ARGS)

faults: $(STAMP) ## A thousand jobs under lost answers, crashes and outages; a table of what went wrong
	$(BIN)/python -m tests.faults $(ARGS)

lint: $(STAMP) ## ruff: style, imports, likely bugs
	$(BIN)/ruff check .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

docs: $(STAMP) ## HTML into docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(STAMP) ## Cost of importing each module over airflow.sdk, and of parsing each example DAG
	$(BIN)/python -m tests.bench

constraints: ## Renew constraints.txt for AIRFLOW_VERSION from the package index, in a fresh environment
	$(PYTHON) -m venv --clear $(VENV)-constraints
	$(VENV)-constraints/bin/python -m pip install --quiet 'apache-airflow==$(AIRFLOW_VERSION)' -e '.[dev,docs]'
	{ sed -n '/^#/p' constraints.txt; \
	  $(VENV)-constraints/bin/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==[^ ]+$$'; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf $(VENV)-constraints
	git --no-pager diff --stat -- constraints.txt

clean: ## Remove .venv and everything built
	rm -rf $(VENV) $(VENV)-constraints build dist docs/_build .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.11 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	@touch $@
