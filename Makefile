# One command for each thing; `make` alone lists them.
# Needs GNU make and Python 3.11 or newer. Everything lands in .venv and .cache.

PYTHON ?= $(shell .ci/find-python)
VENV := .venv
BIN := $(VENV)/bin
CODE := $(wildcard src tests bench demo .ci)
REPORTS := .cache

# Rooms whose every line and branch must be run by the tests.
WHOLE := */stead/model/*,*/stead/codec/*,*/stead/decision/*

# Only root can change uids, so `privileged` (and the total) can be judged only where
# the tests are root. A few lines there run only if one of two processes is faster.
ROOTS := */stead/privileged/*

# What runs only in processes that have become somebody else, or are about to: they
# cannot write what coverage measured. Each step there has a test of what it does.
ELSEWHERE := */stead/privileged/launcher.py,*/stead/privileged/keeper.py
ELSEWHERE := $(ELSEWHERE),*/stead/privileged/post.py
ELSEWHERE := $(ELSEWHERE),*/stead/privileged/becoming.py
ELSEWHERE := $(ELSEWHERE),*/stead/privileged/pam_session.py
ELSEWHERE := $(ELSEWHERE),*/stead/privileged/bootstrap.py,*/stead/privileged/trees.py
ELSEWHERE := $(ELSEWHERE),*/stead/privileged/scheduling.py,*/stead/privileged/confining.py
# The broker's monitors, and servers without root: forked, and not root in the tests.
ELSEWHERE := $(ELSEWHERE),*/stead/privileged/broker*.py,*/stead/server/brokered.py
ELSEWHERE := $(ELSEWHERE),*/stead/adapters/pam/verifier.py
ELSEWHERE := $(ELSEWHERE),*/stead/adapters/pam/worker.py
ELSEWHERE := $(ELSEWHERE),*/stead/adapters/pam/conversation.py
ELSEWHERE := $(ELSEWHERE),*/stead/adapters/kerberos_*.py
# Run by the system's Python, which has Samba's bindings and no coverage.
ELSEWHERE := $(ELSEWHERE),*/stead/testing/samba_program.py
ELSEWHERE := $(ELSEWHERE),*/stead/server/acting/brokered_opening.py

# How long the fuzzer runs, in seconds, and how much the soak test asks for.
FUZZ_SECONDS ?= 60
SOAK_REQUESTS ?= 20000
SOAK_CLIENTS ?= 64
SOAK_PAIRS ?= 300000
SOAK_ACTS ?= 30000
SOAK_WORKER_ACTS ?= 500
# How often the trail's server is killed, and how often the disk under it fails.
SOAK_KILLS ?= 50
SOAK_TROUBLES ?= 10
# For how many seconds clients go on to other machines.
SOAK_HOP_SECONDS ?= 10
SOAK_LARGE := SOAK_HOP_SECONDS=600 SOAK_REQUESTS=100000 SOAK_PAIRS=10000000 SOAK_ACTS=1000000 \
	SOAK_WORKER_ACTS=10000 SOAK_KILLS=1000 SOAK_TROUBLES=100
# How many random questions are put to Samba's judge too, where it is installed.
SAMBA_CASES ?= 200000

# pyright runs the copy that its wheel carries: no look at the network for a newer one.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DELETE_ON_ERROR:
.PHONY: help venv dev demo demo-domain test lint format types layers conformance bench fuzz soak \
	soak-large fuzz-guided twin-sanitized foreign clean

help:
	@echo 'make demo         set up .venv and show a server acting as its clients'
	@echo 'make demo-domain  a private domain: one request, two machines, one client'
	@echo 'make test         set up .venv and run every test, with coverage'
	@echo 'make venv         set up .venv with Stead and its extras, no more'
	@echo 'make lint         ruff: rules and format      make format  apply them'
	@echo 'make types        mypy --strict and pyright'
	@echo 'make layers       import-linter: imports go downward only'
	@echo 'make conformance  the vectors recorded from Windows, if they are at hand'
	@echo 'make bench        time what costs; prints medians and ratios'
	@echo 'make fuzz         malformed input for FUZZ_SECONDS=$(FUZZ_SECONDS)'
	@echo 'make fuzz-guided  the same guided by coverage, of one TARGET'
	@echo 'make twin-sanitized  the C parts and Python compared, under sanitizers'
	@echo 'make soak         many clients and kill -9, SOAK_REQUESTS=$(SOAK_REQUESTS)'
	@echo '                  and blocks, SOAK_PAIRS=$(SOAK_PAIRS), SOAK_ACTS=$(SOAK_ACTS)'
	@echo '                  and a trail on failing disks, SOAK_KILLS=$(SOAK_KILLS)'
	@echo 'make soak-large   the same with 10 million blocks and 1,000 kills'
	@echo "make foreign      Starlette's and wsgidav's own tests, watched for leaks"
	@echo 'make clean        remove .venv, caches and build output'

venv: $(VENV)/.installed
dev: $(VENV)/.installed-dev

# The two stamps: an installation is repeated only when what it depends on changes.
# What is installed to be edited is compiled by whoever imports it first and may write
# beside it. Processes that are somebody else may not, and compiled it each for itself.
TWINS := $(wildcard src/stead/*/_*.c src/stead/*/_*.h)

$(VENV)/.installed: pyproject.toml setup.py $(TWINS) .ci/install
	.ci/install '$(PYTHON)' $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	$(BIN)/python -m compileall -q -j 0 src/stead
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed .ci/install-rsyslog .ci/install-kerberos \
		.ci/install-audit .ci/install-logons .ci/install-domain .ci/install-outbound
	$(BIN)/python -m pip install --quiet 'pip>=25.1'  # the first with --group
	$(BIN)/python -m pip install --quiet --group dev
	.ci/install-rsyslog
	.ci/install-audit
	.ci/install-logons
	.ci/install-kerberos $(VENV)
	.ci/install-domain
	.ci/install-outbound $(VENV)
	touch $@

demo: venv
	$(BIN)/stead demo

# It installs nothing that needs a compiler or apt-get, and says what is missing.
demo-domain: venv
	$(BIN)/python demo/domain.py

test: dev
	$(BIN)/coverage erase
	$(BIN)/python .ci/run_tests.py $(REPORTS) $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
ifeq ($(shell id -u),0)
	$(BIN)/coverage report --omit='$(ELSEWHERE)' --fail-under=95
	$(BIN)/coverage report --include='$(ROOTS)' --omit='$(ELSEWHERE)' --fail-under=99
else
	$(BIN)/coverage report
	@echo 'not root: tests that need real uids were skipped, so the gates on the total'
	@echo 'and on stead.privileged are not applied here'
endif
	$(BIN)/coverage report --include='$(WHOLE)' --fail-under=100

lint: dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

format: dev
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

types: dev
	$(BIN)/mypy
	$(BIN)/pyright

layers: dev
	$(BIN)/lint-imports --no-logo --cache-dir .cache/import_linter

conformance: dev
	$(BIN)/python tests/conformance/check_floors.py
	.ci/install-samba
	$(BIN)/python tests/conformance/compare_samba.py --cases $(SAMBA_CASES)

# Samba comes from Debian's python3-samba; what is not there is left out, and said.
bench: dev
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/python bench/run.py

# The C parts built anew with -fsanitize, and compared with Python at random.
twin-sanitized: dev
	mkdir -p .cache
	$(BIN)/python tests/fuzz/twin.py build .cache/twin > .cache/twin.preload
	LD_PRELOAD=$$(cat .cache/twin.preload) PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0 \
	$(BIN)/python tests/fuzz/twin.py run .cache/twin --seconds $(FUZZ_SECONDS)

fuzz: dev
	$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

# Guided by coverage: one target of tests/fuzz/targets.py, such as TARGET=sddl.
fuzz-guided: dev
	$(BIN)/python -m pip install --quiet --group fuzz
	$(BIN)/python tests/fuzz/coverage_guided.py fuzz $(TARGET) --seconds $(FUZZ_SECONDS)

soak: dev
	$(BIN)/python tests/soak/run.py --requests $(SOAK_REQUESTS)
	$(BIN)/python tests/soak/identities.py --clients $(SOAK_CLIENTS) \
		--pairs $(SOAK_PAIRS) --acts $(SOAK_ACTS) --worker-acts $(SOAK_WORKER_ACTS)
	$(BIN)/python tests/soak/brokered.py --clients $(SOAK_CLIENTS) \
		--acts $(SOAK_WORKER_ACTS)
	$(BIN)/python tests/soak/second_hop.py --seconds $(SOAK_HOP_SECONDS)
	$(BIN)/python tests/soak/by_password.py --seconds $(SOAK_HOP_SECONDS)
	$(BIN)/python tests/soak/trail.py 'kills=$(SOAK_KILLS)' \
		'clock steps=$(SOAK_TROUBLES)' 'full disk=$(SOAK_TROUBLES)' \
		'read-only=$(SOAK_TROUBLES)' 'write errors=$(SOAK_TROUBLES)' \
		'power cuts=$(SOAK_TROUBLES)' 'naive: early=20' 'naive: unflushed=20'

soak-large:
	$(MAKE) soak $(SOAK_LARGE)

foreign: dev
	$(BIN)/python tests/foreign/run.py

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	rm -f .coverage .coverage.* src/stead/*/_*.so
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
