# Everything runs in .venv, made on first use from requirements.lock (hashes checked). Nothing here needs root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .venv-peers
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test test-peers check bench deb release lock clean help

help:
	@echo "make run         the demo: a simulated city block, end to end (make run ARGS='--seconds 60 --json')"
	@echo "make test        the tests (ARGS= goes to pytest)"
	@echo "make test-peers  tests against real peers; says which system packages are missing"
	@echo "make check       ruff, mypy --strict, import contracts, profile lint"
	@echo "make deb         Debian packages for amd64 and arm64 in dist/ (make deb ARGS='--arch amd64')"
	@echo "make release     images of this release for a center to send (make release ARGS='--arch arm64')"
	@echo "make bench       every benchmark (or: .venv/bin/python -m benchmarks NAME [--json])"

run: $(READY)
	@$(BIN)/citygate demo $(ARGS)

test: $(READY)
	@$(BIN)/python -m pytest -m "not peers and not alone" -n auto --dist loadfile $(ARGS)
	@$(BIN)/python -m pytest -m "alone and not peers" $(ARGS) || [ $$? -eq 5 ]  # 5: none of those was asked for

test-peers: $(READY) $(PEERS)/.ready
	@$(BIN)/python -m tests.peers.needs
	@$(BIN)/python -m pytest -m peers $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/citygate check device_profiles

bench: $(READY)
	@$(BIN)/python -m benchmarks all $(ARGS)

# Debian 12 has Python 3.11, and the package is built by that minor: make PYTHON=python3.11 deb
deb: $(READY)
	@$(BIN)/python packaging/build.py $(ARGS)

# What a center sends to gateways that run already: docs/agent.md, Releases.
release: $(READY)
	@$(BIN)/python packaging/release.py $(ARGS)

# Rewrites the lock files from pyproject.toml; needs uv (pip install uv).
LOCKED := --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links
lock:
	uv pip compile pyproject.toml --extra dev --extra test --extra bench $(LOCKED) -o requirements.lock
	uv pip compile pyproject.toml -c requirements.lock --no-annotate $(LOCKED) -o packaging/runtime.lock
	uv pip compile --group pyproject.toml:peers $(LOCKED) -o requirements-peers.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "citygate needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing. As root: apt install python3-venv"; exit 1; }
	@echo "setting up $(VENV) (once, about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Peers that are Python programs with many dependencies of their own (a oneM2M CSE).
$(PEERS)/.ready: requirements-peers.lock
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-peers.lock
	@touch $@

clean:
	rm -rf $(VENV) $(PEERS) build dist
