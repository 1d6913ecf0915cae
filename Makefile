# One command per need. `make help` lists them.
# What is given is text, which neither make nor a shell expands.
TEXTS := BASE CLUSTER JOBS SET DATA TARGET GROUP POSITIVE DROP MINUTES NAME STUDY UNDO
GIVEN := $(foreach key,$(TEXTS),$(if $(filter command,$(origin $(key))),$(key)))
$(foreach key,$(TEXTS),$(if $(filter-out undefined,$(origin $(key))),$(eval override $(key) := $$(value $(key)))))
PYTHON ?= python3
ifeq ($(JOBS),)
override JOBS := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
# All tests are run by one more: some of them wait for other processes.
WORKERS := $(shell expr $(JOBS) + 1)
else
WORKERS = $$JOBS
endif
REPORT := metrics/$(if $(filter STUDY,$(GIVEN)),studies/$$STUDY/page,report).html
BIN := .venv/bin
HERE := $(CURDIR)
RUN := PATH="$$HERE/$(BIN):$$PATH"
# Each file lists all that it needs: with nothing left to resolve, a release of tomorrow cannot get in the way.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $< \
	2> .venv/pip.log || { echo "error: $< cannot be installed ($$(grep -m 1 ERROR .venv/pip.log)), expected a network" \
	"that reaches PyPI, and room on the disk: mend it, run this again (.venv/pip.log has all that pip said)"; exit 1; }
MOVED := $(shell made=$$(sed -n 's|^command = .* -m venv [^/]*||p' .venv/pyvenv.cfg 2>/dev/null); \
	test -z "$$made" -o "$$made" -ef .venv || echo yes)
$(if $(MOVED),$(error .venv was made in another folder, which its commands name: remove it, run this again))

export HERE BASE CLUSTER JOBS SET $(GIVEN)  # as text, which no shell expands

.DEFAULT_GOAL := pipeline
.PHONY: pipeline judge show test quick check review bench tour calibrate processors coverage audit-deps lock setup help
.SUFFIXES:

pipeline: $(if $(CLUSTER),.venv/installed-cluster,.venv/installed) .git  ## Run what has changed, JOBS stages side by side or on a CLUSTER; SET="dropout=0.3 l2=0.02" changes it
	@$(RUN) python -m tools.repro --jobs "$$JOBS" $(if $(CLUSTER),--cluster "$$CLUSTER") $(if $(SET),--set "$$SET")
	@$(MAKE) --silent .venv/readme

# Only where something is newer: the check alone takes a third of a second. A run that does anything writes dvc.lock.
.venv/readme: README.md dvc.yaml tools/readme.py tools/bench/__main__.py $(wildcard dvc.lock metrics/*.json) | .venv/installed
	@$(RUN) python -m tools.readme
	@touch $@

judge: .venv/installed .git  ## Say which regulariser helps on a table of your own: DATA=my.csv TARGET=died
	@$(RUN) python -m tools.judge $(foreach key,$(filter-out BASE CLUSTER JOBS SET,$(GIVEN)),"$(key)=$$$(key)")

show:  ## Open the report of the last run, or the page of STUDY=my, and name it
	@test -f "$(REPORT)" || { echo "error: $(REPORT) is missing, expected it from a run: make"; exit 1; }
	@echo "$$HERE/$(REPORT)"
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname)" = Darwin ]; then \
		$(PYTHON) -m webbrowser "file://$$HERE/$(REPORT)"; fi

test: .venv/installed-dev  ## Run the tests
	@$(RUN) python -m pytest --numprocesses "$(WORKERS)" --dist loadfile --no-loadscope-reorder

# No browser, no DVC, no training, no other process.
QUICK := tests/lib/core tests/lib/data tests/lib/judge tests/lib/report tests/test_compare.py tests/test_docs.py tests/test_pipeline.py

quick: .venv/installed-dev  ## Run the tests that take seconds
	@$(RUN) python -m pytest --numprocesses "$$JOBS" --dist loadfile --no-loadscope-reorder $(QUICK)

check: .venv/installed-dev  ## Lint, types, and whether dvc.lock is in step with the code
	@$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) mypy
	@$(RUN) python -m tools.readme --check
	@$(RUN) python -m tools.guard --in-step

coverage: .venv/installed-dev  ## Run the tests and say how much of stages/ and tools/ they reach
	@$(RUN) python -m pytest --numprocesses "$$JOBS" --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered --cov-fail-under=95

# A hole that stays open is an --ignore-vuln of pip-audit, with its reason here. There is none.
audit-deps: .venv/installed-audit  ## Look for known holes in the pinned requirements; list their licences
	@$(RUN) pip-licenses --from=mixed --order=license --packages $$(sed -n 's/==.*//p' requirements/base.txt)
	@$(RUN) pip-audit --strict --disable-pip --require-hashes --requirement requirements/base.txt

review: .venv/installed  ## Say what has changed in the held-out scores since the git revision BASE (default: where this branch left main)
	@$(RUN) python -m tools.review $(if $(BASE),"$$BASE") || { status=$$?; \
		if [ $$status = 1 ]; then echo "make calls it an error that something is worse: nothing has crashed" >&2; fi; exit $$status; }

bench: .venv/installed-bench  ## Time the lanes against Keras, scikit-learn and JAX, into metrics/bench.json
	@$(RUN) python -m tools.bench

tour: .venv/installed  ## Follow README.md in a clone, and record what its commands print and take, into metrics/tour.json
	@$(RUN) python -m tools.readme --measure

calibrate: .venv/installed  ## Measure on synthetic twins how often the verdicts are right, into metrics/calibration.json
	@$(RUN) python -m tools.calibrate --jobs "$$JOBS"

processors: .venv/installed  ## Compare the bytes of small runs here with those on emulated processors (needs qemu-user)
	@$(RUN) python -m tools.processors

setup: .venv/installed  ## Set up .venv with the pinned requirements, and run nothing

lock: .venv/installed-dev  ## Pin the newest allowed versions of all requirements, with their hashes
	@$(RUN) tools/lock.sh

help:  ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 \t/p' $(MAKEFILE_LIST) | expand -t 21

.venv/installed: requirements/base.txt | .venv/bin/pip
	@echo "Installing the pinned requirements (about a minute, once)"
	@$(INSTALL)
	@touch $@

.venv/installed-dev: requirements/dev.txt | .venv/bin/pip
	@echo "Installing the pinned requirements of the tests (about a minute, once)"
	@$(INSTALL)
	@touch $@ .venv/installed

.venv/installed-bench: requirements/bench.txt | .venv/installed
	@echo "Installing the pinned requirements of the benchmark (once)"
	@$(INSTALL)
	@touch $@

.venv/installed-audit: requirements/audit.txt | .venv/installed
	@echo "Installing the pinned requirements of the audit (once)"
	@$(INSTALL)
	@touch $@

.venv/installed-cluster: requirements/cluster.txt | .venv/installed
	@echo "Installing the pinned requirements of a cluster (once)"
	@$(INSTALL)
	@touch $@

.venv/bin/pip:
	@command -v git >/dev/null || { echo "error: git is missing: install the package git"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "error: $$($(PYTHON) --version 2>&1) found, expected Python 3.11 to 3.13: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "error: Python's venv is missing: install the package python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv

# DVC works in a git repository; an archive that was downloaded is none.
.git:
	@echo "DVC needs a git repository and this folder is none: making one"
	@git init --quiet --initial-branch main && git add --all && \
		git -c user.name=you -c user.email=you@localhost commit --quiet -m "As downloaded"
