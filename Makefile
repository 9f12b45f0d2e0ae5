# Two commands on a fresh machine: `make demo` and `make test`. Everything is installed into .venv, in this folder.
PYTHON ?= python3
# make demo DEMO_DATA=/data/Dataset137_BraTS runs the demo on that data set, in nnU-Net's raw format
DEMO_DATA ?=
# where training and prediction of the demo run: cpu, cuda or mps
DEMO_DEVICE ?= cpu
# make gpu: where, how large (published or tiny), and after how many minutes it begins nothing more
DEVICE ?= cuda
SIZE ?= published
MINUTES ?= inf
# processes that run tests at once
TEST_PROCESSES ?= 2

# The name holds a checksum of what the installation depends on, so .venv is reused while that is unchanged, whatever
# the files' dates are; an editable installation also depends on where the checkout is.
INSTALLED := .venv/installed-$(shell (pwd; cat setup.cfg pyproject.toml) | cksum | cut -d ' ' -f 1)

# one thread a process; the tests of a file stay together, since some share a fixture of minutes, and files are begun in
# the order of tests/conftest.py, not those with most tests first
PYTEST := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive .venv/bin/python -m pytest --numprocesses $(TEST_PROCESSES) \
	--dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo docs test test-slow test-hosts gpu mutants lint packages clean

help:
	@echo "make demo       nnU-Net's commands from raw files to a scored ensemble, on generated images (minutes, CPU)"
	@echo "                DEMO_DATA=FOLDER for your own data set in nnU-Net's raw format; DEMO_DEVICE=cuda for a GPU"
	@echo "make test       tests"
	@echo "make test-slow  the same and the tests that take long"
	@echo "make test-hosts the tests of what we need of nnU-Net, with the lowest and the newest release that we allow"
	@echo "make gpu        measures on a GPU what only a GPU can say, and writes docs/gpu.md; MINUTES=9 to stop in time and go on later"
	@echo "make mutants    plants faults one by one and says which ones no test notices (half an hour)"
	@echo "make docs       the documentation's site in build/site, with pictures made by running the code (minutes, CPU)"
	@echo "make lint       ruff and mypy"
	@echo "make packages   source distribution and wheel in dist/, checked"
	@echo "make install    only .venv, with this package and nnU-Net (about 6 GB)"
	@echo "make clean      delete .venv, demo/, dist/ and .gpu/"

install: $(INSTALLED)

# Editable, so that tests and demo run the files of this checkout.
$(INSTALLED):
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --editable ".[test,dev]"
	rm -f .venv/installed-*
	touch $@

demo: $(INSTALLED)
	.venv/bin/python -m nnunet_ext.demo --device "$(DEMO_DEVICE)" $(if $(DEMO_DATA),--data "$(DEMO_DATA)")

test: $(INSTALLED)
	$(PYTEST) -m "not slow"

test-slow: $(INSTALLED)
	$(PYTEST)

test-hosts: $(INSTALLED)
	.venv/bin/python tools/host_releases.py

gpu: $(INSTALLED)
	.venv/bin/python benchmarks/gpu.py --device "$(DEVICE)" --size "$(SIZE)" --minutes "$(MINUTES)"

mutants: $(INSTALLED)
	.venv/bin/python tools/mutants.py

docs: $(INSTALLED)
	.venv/bin/python -m pip install --quiet --editable ".[docs]"
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive .venv/bin/python tools/documentation.py

lint: $(INSTALLED)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

packages: $(INSTALLED)
	rm -rf dist
	.venv/bin/python -m build
	.venv/bin/python -m twine check --strict dist/*
	.venv/bin/python tools/packages.py

clean:
	rm -rf .venv demo dist .gpu
