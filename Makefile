# Each target is a line or two; `make up` is the place to start.
PYTHON ?= python3.11
BIN := .venv/bin
SITE := src/quarterdeck/site/manifest.json
TESTS := $(BIN)/python -m pytest tests -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: up test land prove fuzz check lock bench docs screenshots down clean

up: .venv/ready $(SITE)   ## start everything, deploy examples/triage and prove it
	@$(BIN)/python examples/triage/up.py

down: .venv/ready         ## stop everything that `make up` started
	@$(BIN)/qd down --yes

test: .venv/ready         ## everything that must hold, on a fresh machine, with nothing else to set up
	@$(TESTS)

land: check               ## what CI runs: a few tests that failed beside others, on a busy machine, have to pass alone, and are named
	@$(TESTS) || { test $$? = 1 && $(BIN)/python tools/again.py; }

check: .venv/ready        ## style, types, layers
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache

prove: .venv/ready        ## kill every kind of process a thousand times while tasks run; takes about ten minutes
	@QUARTERDECK_PROVE_KILLS=1000 $(BIN)/python -m pytest tests/scenarios/fleet/test_prove.py -s

fuzz: .venv/ready         ## what is drawn from the OpenAPI document, 300 other requests for each operation and role
	@QUARTERDECK_FUZZ=300 $(BIN)/python -m pytest -q -n 2 --timeout 900 tests/unit/api/test_schema.py

bench: .venv/ready        ## measure against peers; prints one JSON line each
	@$(BIN)/python bench/run.py

docs: .venv/ready         ## write docs/reference from the code, and build the site that the control plane serves at /docs
	@$(BIN)/python tools/reference.py && $(BIN)/python tools/site.py

screenshots: .venv/ready  ## take the pictures of README and docs anew, of the example at work in a home of its own
	@$(BIN)/python tools/screenshots.py

lock: .venv/ready         ## resolve the dependencies anew
	@$(BIN)/uv pip compile -q pyproject.toml requirements.in --group dev --universal --generate-hashes --no-header --python-version 3.11 -o requirements.lock

$(SITE): .venv/ready mkdocs.yml $(shell find docs -type f)
	@$(BIN)/python tools/site.py >/dev/null

clean:                    ## forget the environment
	rm -rf .venv

.venv/ready: pyproject.toml requirements.lock requirements-uv.txt
	@command -v $(PYTHON) >/dev/null || { echo "Quarterdeck needs Python 3.11: set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install -q --require-hashes -r requirements-uv.txt; }
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@
