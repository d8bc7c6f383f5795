# Everything runs in .venv, set up on first use and again only when pyproject.toml or constraints.txt change.

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# The first Python >= 3.11 that runs and can make a virtual environment; another one by `make ... PYTHON=/path/to/python`.
PYTHON_TEST := 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c $(PYTHON_TEST) >/dev/null 2>&1 && echo $$p && break; done)

# One test process per core of a small machine, each on one thread: more of either only makes them wait for each other.
WORKERS ?= 2
test test-optimised test-browser test-cluster reproduce: export JAX_PLATFORMS ?= cpu
test test-optimised test-cluster: export NPROC ?= 1
test test-optimised test-cluster: export OMP_NUM_THREADS ?= 1
test test-optimised test-cluster: export OPENBLAS_NUM_THREADS ?= 1
# Half of the tests' time is compiling, which costs a third less if the compiler does not optimise, half of that again
# without the fusions' own code generator, and a sixth less in one piece.
test test-cluster reproduce: export XLA_FLAGS ?= --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false \
	--xla_cpu_parallel_codegen_split_count=1

# What the compiler could get wrong shows in the kernels, in rest states, and in gradients with a published value, one
# file for each kind of network.
NUMERICS := $(addprefix tests/network/test_,activation.py convolution.py cost.py pooling.py product.py) \
	$(addprefix tests/settling/test_,default_solver.py mixed.py rest_states.py statuses.py) \
	$(addprefix tests/gradient/test_,published.py published_convnet.py published_vector_field.py)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-optimised test-browser test-cluster reproduce lint bench

help: ## Show what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed ## Train a small network on digits, check its gradient, write a report
	@$(BIN)/holoprop train digits-mlp --name demo --overwrite

test: $(VENV)/.installed-dev ## Run the tests (WORKERS=2 processes)
	@$(BIN)/pytest -n $(WORKERS) --dist loadscope

test-optimised: $(VENV)/.installed-dev ## Run those of the numerics as users do, with an optimising compiler
	@$(BIN)/pytest -n $(WORKERS) --dist loadscope $(NUMERICS)

test-browser: $(VENV)/.installed-dev $(VENV)/.installed-browser ## Drive the pages in Chromium (needs chromium and chromedriver)
	@$(BIN)/pytest -m browser

test-cluster: $(VENV)/.installed-dev $(VENV)/.installed-cluster ## Run a sweep on a Ray cluster of two nodes on this machine
	@$(BIN)/pytest -m cluster

RUNS ?= runs
reproduce: $(VENV)/.installed ## Run every experiment at the scale of seconds (RUNS=runs, the folder)
	@$(BIN)/holoprop reproduce all --scale smoke --folder $(RUNS)

lint: $(VENV)/.installed-dev ## Check style, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

bench: $(VENV)/.installed ## Measure speed side by side with the published schedule
	@$(BIN)/holoprop bench

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing holoprop into $(VENV) (once; a minute or more, depending on the network) ..."
	@$(PIP_INSTALL) --editable .
	@touch $@

# An extra brings the package itself along, so its stamp also freshens the plain one.
$(VENV)/.installed-dev $(VENV)/.installed-browser $(VENV)/.installed-cluster: $(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing holoprop and its $* tools into $(VENV) (once; a minute or more, depending on the network) ..."
	@$(PIP_INSTALL) --editable '.[$*]'
	@touch $(VENV)/.installed $@

# pip is the last thing a new environment gets: where it is there, the environment is whole.
$(BIN)/pip:
	@$(if $(PYTHON),,echo "holoprop needs Python 3.11 or newer with venv (Debian: python3-venv); name one by PYTHON=/path/to/python" >&2; exit 1)
	@$(PYTHON) -c $(PYTHON_TEST) >/dev/null 2>&1 || { echo "PYTHON=$(PYTHON) is not a Python 3.11 or newer with venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
