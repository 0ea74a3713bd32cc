# Two commands do all set-up on a fresh machine: `make check` runs the main job on the real heads that
# ship, `make test` passes every test but the longest searches, proofs included; `make test-all` those too.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: check test test-all bench bench-quick site generated clean

check: $(VENV)/.report
	$(BIN)/attest check

test: $(VENV)/.tests coq
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/attest audit --proofs
	$(BIN)/pytest -m "not nightly"
	$(BIN)/python tests/older_processor.py $(BIN)/pytest

test-all: test
	$(BIN)/pytest -m nightly

# Measure all, or a reduced set of some minutes, and write BENCHMARKS.md.  Peers (torch, scikit-learn) are large, and only
# measured against.
bench bench-quick: $(VENV)/.tests
	$(BIN)/pip install --quiet -e ".[peers]"
	$(BIN)/python -m tests.benchmarks $(if $(findstring quick,$@),--quick)

# The documentation as pages: build/site/html/index.html.
site: $(VENV)/.tests
	$(BIN)/python docs/site/build.py

# Rewrite what is generated from the claims: bounds in Python and Coq, and the formulas.
generated: $(VENV)/.tests
	$(BIN)/python -m specs.printing

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.report: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet -e ".[report]"
	touch $@

$(VENV)/.tests: $(BIN)/python pyproject.toml
	$(BIN)/pip install --quiet -e ".[tests]"
	touch $@ $(VENV)/.report

.PHONY: coq
coq:
	@if command -v coqc >/dev/null && [ -d "$$(coqc -where)/user-contrib/Interval" ]; then exit 0; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq coq libcoq-interval >/dev/null; \
	else echo "Coq is missing.  Type: sudo apt-get install coq libcoq-interval" >&2; exit 1; fi
