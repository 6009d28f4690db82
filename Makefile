# make run     installs everything into .venv, then starts the demo
# make test    installs everything, then runs all tests         (make test ARGS="tests/hub -x")
# make soak    the tests that gain by repetition, for as long as it takes (hours)
# make chaos   real processes under real faults, with a table at the end (about ten minutes; make chaos ARGS="--list")
# make bench   Capacity beside its peers in the same run, with a table and pictures (about 20 minutes; make bench-all: more peers)
# make scale   what a room, an account, a hub and a shard carry: measures, simulates, writes docs/scale.md (about 10 minutes)
# make lint    ruff and strict types, of the pages too where npm is there
# make screenshots   every page in every state as a picture in screenshots/   (make screenshots ARGS="--only join")
# make descriptions  docs/openapi.json and docs/asyncapi.json anew, from the types
# make freeze  the wheel of this release into tests/upgrade, to be tested beside all that comes after it
# make lock    resolves pyproject.toml anew into the lock files (needs uv: pip install uv)
#
# Needs Python 3.11 or later; no Redis, no Docker, no root.

PYTHON ?= python3
ARGS ?=
# Tests wait as long as they compute: one process more than there are cores.
PROCESSES ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 4 ? n + 1 : 4)))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
APT := DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq
LOCK := uv pip compile pyproject.toml --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--annotation-style line --custom-compile-command "make lock"

.PHONY: run test soak chaos bench bench-all scale lint types screenshots descriptions lock freeze browser clean
.DELETE_ON_ERROR:

run: $(VENV)/run.installed
	$(BIN)/capacity demo $(ARGS)

test: $(VENV)/dev.installed browser
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile $(ARGS)

soak: $(VENV)/dev.installed
	CAPACITY_TEST_KILLS=200 CAPACITY_TEST_STEPS=3000000 CAPACITY_TEST_SEEDS=20000 $(BIN)/python -m pytest \
	  --override-ini timeout=14400 --numprocesses $(PROCESSES) tests/billing tests/store tests/simulation $(ARGS)

chaos: $(VENV)/dev.installed
	$(BIN)/python -m tests.chaos $(ARGS)

bench: $(VENV)/bench.installed
	@command -v npm >/dev/null || { echo "There is no npm, which installs the peers that run on Node."; exit 1; }
	npm ci --prefix benchmarks/peers --silent --no-audit --no-fund
	$(BIN)/python -m benchmarks $(ARGS)

bench-all: ARGS += --all
bench-all: bench

scale: $(VENV)/bench.installed
	$(BIN)/python -m benchmarks.scale $(ARGS)

lint: $(VENV)/dev.installed
	$(BIN)/ruff check capacity tests benchmarks
	$(BIN)/ruff format --check capacity tests benchmarks
	$(BIN)/mypy --strict capacity tests benchmarks
	@$(MAKE) --no-print-directory types

# TypeScript reads the JSDoc types of static/, and an embedder's program that uses them; AsyncAPI's parser the description.
types:
	@command -v npm >/dev/null && npm ci --prefix tests/types --silent --no-audit --no-fund || \
	  { echo "There is no npm, or it could not install TypeScript: the types of static/ and docs/asyncapi.json were not checked."; exit 0; } && \
	  { test ! -x tests/types/node_modules/.bin/tsc || \
	    { tests/types/node_modules/.bin/tsc -p tests/types && node tests/types/asyncapi.mjs docs/asyncapi.json; }; }

screenshots: $(VENV)/dev.installed browser
	$(BIN)/python -m tests.browser.gallery $(ARGS)

descriptions: $(VENV)/dev.installed
	$(BIN)/python -m tests.docs.descriptions

lock:
	$(LOCK) --group build --output-file requirements.lock $(ARGS)
	$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock $(ARGS)
	$(LOCK) --group bench --constraint requirements.lock --output-file requirements-bench.lock $(ARGS)

freeze: $(VENV)/dev.installed
	rm -f tests/upgrade/capacity-*.whl
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation --wheel --outdir tests/upgrade . >/dev/null

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/run.installed: requirements.lock
$(VENV)/dev.installed: requirements-dev.lock
$(VENV)/bench.installed: requirements-bench.lock

# A stamp beside what it says: the locked packages with their hashes, then the checkout itself, in place.
$(VENV)/%.installed: pyproject.toml | $(BIN)/pip
	$(PIP) install --require-hashes --requirement $(filter %.lock,$^)
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Capacity needs Python 3.11 or later, and $(PYTHON) is not that; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || \
	  { [ "$$(id -u)" = 0 ] && $(APT) update && $(APT) install -y python3-venv && $(PYTHON) -m venv --clear $(VENV); } >/dev/null 2>&1 || \
	  { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

# The browser tests use the system's Chromium; without one they are skipped, and say so.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing Chromium for the browser tests ..." && \
	    { $(APT) update && $(APT) install -y --no-install-recommends chromium; } >/dev/null 2>&1 </dev/null; } || \
	  echo "There is no Chromium: the browser tests will be skipped."
