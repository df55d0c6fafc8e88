# One command for everything, the same here and in CI. What a command needs is set up first and only once.

PYTHON ?= python3
ARGS ?=
N ?= 1000
SEED ?=
NAME ?= fleet
VENV := .venv
RUN := $(VENV)/bin/python
UV := uv==0.13.9

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-firefox test-webkit check lint monkey bench site single lighthouse screenshots format wheel lock browser clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nOptions go through ARGS: make run ARGS="--access-lifetime 5"  ·  make test ARGS="-k heartbeat"\n'

run: $(VENV)/.stamp vendor/.stamp ## start the mock server with the page
	@$(RUN) -m mock_server $(ARGS)

test: $(VENV)/.stamp vendor/.stamp browser ## all tests, those in a real Chromium too, two files at a time
	$(RUN) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-firefox: $(VENV)/.stamp vendor/.stamp ## the tests that every engine has to pass, in Firefox
	@$(RUN) tools/browser.py firefox
	$(RUN) -m pytest tests/engines --engine firefox $(ARGS)

test-webkit: $(VENV)/.stamp vendor/.stamp ## the same in WebKitGTK, on a display that nobody sees
	@$(RUN) tools/browser.py webkit
	xvfb-run --auto-servernum dbus-run-session -- $(RUN) -m pytest tests/engines --engine webkit $(ARGS)

check: lint ## lint, format, types, and every test that needs no browser
	$(RUN) -m pytest -m "not browser" $(ARGS)

lint: $(VENV)/.stamp ## what check does without the tests
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

monkey: $(VENV)/.stamp ## N random schedules against the invariants, all cores (N=10000); SEED=7: one of them, in words
	PYTHONPATH=app $(RUN) -m tests.monkey $(if $(SEED),--seed $(SEED),-n $(N)) $(ARGS)

bench: $(VENV)/.stamp vendor/.stamp browser ## measure one thing against its bound: NAME=fleet, held, soak, tabs, takeover, boot
	PYTHONPATH=app:. $(RUN) -m bench.$(NAME) $(ARGS)

lighthouse: $(VENV)/.stamp browser ## what Lighthouse says of _site/: four figures beside their bounds
	PYTHONPATH=app:. $(RUN) -m bench.lighthouse $(ARGS)

screenshots: $(VENV)/.stamp vendor/.stamp browser ## take pictures of the page in each state, into docs/screenshots/
	PYTHONPATH=app:. $(RUN) -m tools.screenshots $(ARGS)

site: $(VENV)/.stamp vendor/.stamp ## build the static site into _site/, for any host; ARGS="--api https://..." for a real API
	@$(RUN) -m tools.site $(ARGS)

single: $(VENV)/.stamp vendor/.stamp ## build one HTML file that works by double click: dist/freshfetch.html
	@$(RUN) -m tools.single $(ARGS)

format: $(VENV)/.stamp ## format the sources, mend what ruff can mend
	$(RUN) -m ruff check --fix-only
	$(RUN) -m ruff format

wheel: $(VENV)/.stamp ## build the library's wheel into dist/
	$(RUN) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

lock: ## pin anew: requirements.lock from pyproject.toml, package-lock.json from package.json
	@tools/require.sh python "$(PYTHON)"
	@tools/require.sh node
	$(PYTHON) -m venv --clear $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet --disable-pip-version-check $(UV)
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade --group dev --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --output-file requirements.lock
	npm install --package-lock-only --loglevel=error

clean: ## remove everything that make has built
	rm -rf $(VENV) $(VENV)-lock node_modules vendor vendor.new vendor.old dist _site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find app bench mock_server tests tools -name __pycache__ -prune -exec rm -rf {} +

browser: $(VENV)/.stamp
	@$(RUN) tools/browser.py

$(VENV)/.stamp: requirements.lock
	@tools/require.sh python "$(PYTHON)"
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --requirement requirements.lock
	@touch $@

node_modules/.stamp: package-lock.json .npmrc
	@tools/require.sh node
	npm ci --loglevel=error
	@touch $@

vendor/.stamp: node_modules/.stamp tools/vendor.py tools/compile.mjs tools/compiling.py $(VENV)/.stamp
	$(RUN) tools/vendor.py
