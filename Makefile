# `make demo` and `make test` set everything up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 10000

.PHONY: setup demo test check bench starter messages wheel clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "FedFlow needs Python 3.11 or newer; run: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'  # --group
	$(BIN)/pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $(STAMP)

demo: setup
	$(BIN)/fedflow demo --out demo-out

test: setup
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry src
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml

bench: setup
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/aggregation.py
	$(BIN)/python benchmarks/network_overhead.py
	$(BIN)/python benchmarks/network_same_bits.py
	$(BIN)/python benchmarks/network_load.py
	$(BIN)/python benchmarks/network_kills.py
	$(BIN)/python benchmarks/network_weather.py
	$(BIN)/python benchmarks/network_hostile.py
	$(BIN)/python benchmarks/server_pages.py
	$(BIN)/python benchmarks/client_app.py
	$(BIN)/python benchmarks/client_generate.py
	$(BIN)/python benchmarks/client_grid.py

starter: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --group starter
	$(BIN)/python -m starter.make --work .starter-work

messages: setup
	$(BIN)/python scripts/messages.py

wheel: setup
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) dist demo-out .pytest_cache .mypy_cache .ruff_cache
