# `make` lists the targets. Each works alone on a machine that has only Python 3.11+ and make: what it
# needs is installed into .venv first, and not again until pyproject.toml or the pins change.

# The first Python 3.11+ found, or the one you name: `make PYTHON=python3.12 test` (in a .venv of its own).
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
else
VENV := .venv-$(notdir $(PYTHON))
endif
VENV_OLDEST := $(VENV)-oldest
VENV_BENCH := $(VENV)-bench
# More for pytest: `make test PYTEST_ARGS="-k planar -x"`.
PYTEST_ARGS ?=
PYTEST_WORKERS ?= 2
# Some of the installations that `make test-dist` tries: `make test-dist EXTRA="core pyro"`.
EXTRA ?=
# Some of the benchmarks: `make bench SECTIONS="sampling scoring"`; all of them without.
SECTIONS ?=
# More for the quality of guides: `make quality QUALITY_ARGS="--posteriors FOLDER --seeds 5"`.
QUALITY_ARGS ?=

INSTALL = -m pip install --disable-pip-version-check --quiet
EXTRAS := all,tutorials,dev,docs
EXTRAS_OLDEST := all,tutorials,dev
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
STAMP_OLDEST := $(VENV_OLDEST)/.installed
STAMP_BENCH := $(VENV_BENCH)/.installed
TYPED := flowkit_core pyro_flowkit numpyro_flowkit

# Workers share the cores, so each computes on one thread. Compiled JAX programs, however small, are kept
# between runs: compiling is most of what the JAX tests cost.
TEST_ENV = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MPLBACKEND=agg \
	JAX_COMPILATION_CACHE_DIR="$(CURDIR)/.cache/jax" \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
	JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1
# XLA's older emitters compile a third faster. The examples go without, as their readers do.
FAST_COMPILATION = XLA_FLAGS="$$XLA_FLAGS --xla_cpu_use_fusion_emitters=false"
PYTEST = -m pytest -n $(PYTEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

.DEFAULT_GOAL := help
.PHONY: help demo neutra vae images tutorials test test-slow test-examples test-oldest dist test-dist bench bench-quick quality docs lint format python-found

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(STAMP)  ## fit real data with flows in Pyro and NumPyro; pictures go to demo-output/
	$(RUN) -m tutorials.demo

neutra: $(STAMP)  ## NUTS before and after a flow has straightened the posterior; picture in demo-output/
	$(RUN) -m tutorials.neutra

vae: $(STAMP)  ## VAEs with learnt priors, their ELBO taken apart (some 7 minutes); pictures in demo-output/
	$(RUN) -m tutorials.vae

images: $(STAMP)  ## flows of images beside a flow of vectors and a Gaussian, on digits; pictures in demo-output/
	$(RUN) -m tutorials.images

tutorials: $(STAMP)  ## execute the notebooks of tutorials/, each in a scratch folder
	$(RUN) -m tutorials.notebooks

test: $(STAMP)  ## run the tests and the examples in docstrings
	$(TEST_ENV) $(FAST_COMPILATION) $(RUN) $(PYTEST)

test-slow: $(STAMP)  ## run the tests that `make test` leaves out
	$(TEST_ENV) $(FAST_COMPILATION) $(RUN) $(PYTEST) -m slow

# Every block of code that a reader meets, the long fits included, and the two shortest notebooks.
test-examples: $(STAMP)  ## run all examples of README and docs, and the two shortest notebooks
	$(TEST_ENV) $(RUN) -m pytest -n $(PYTEST_WORKERS) --dist load -m "slow or not slow" $(PYTEST_ARGS) \
		tests/test_readme.py tests/docs tests/tutorials/test_notebooks.py

test-oldest: $(STAMP_OLDEST)  ## run `make test` on the lowest versions allowed
	$(TEST_ENV) $(FAST_COMPILATION) $(VENV_OLDEST)/bin/python $(PYTEST)

# The wheel is built from the sdist, so that what the sdist lacks shows.
dist: $(STAMP)  ## build sdist and wheel into dist/
	rm -rf dist
	$(RUN) -m hatchling build -t sdist -d dist
	$(RUN) -m pip wheel --disable-pip-version-check --quiet --no-deps --no-build-isolation -w dist dist/*.tar.gz

test-dist: dist  ## install the wheel with each extra into an empty environment and try it there
	$(RUN) -m tests.distribution $(EXTRA)

bench: $(STAMP_BENCH)  ## measure beside the peers (some 40 minutes) into benchmarks/RESULTS.md
	$(VENV_BENCH)/bin/python -m benchmarks $(SECTIONS)

bench-quick: $(STAMP_BENCH)  ## a first look in under 5 minutes, into .cache/bench-quick/
	$(VENV_BENCH)/bin/python -m benchmarks --quick $(SECTIONS)

quality: $(STAMP)  ## fit guides to known posteriors (hours) and write benchmarks/QUALITY.md
	$(RUN) -m benchmarks.quality $(QUALITY_ARGS)

docs: $(STAMP)  ## build the documentation into docs/_build/; any warning is an error
	MPLBACKEND=agg $(RUN) -m sphinx -b html -W --keep-going -q docs docs/_build
	@echo "Open docs/_build/index.html in a browser."

lint: $(STAMP)  ## check style, formatting and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(STAMP)  ## mend style and formatting where that can be done by machine
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

# A stamp is written last, so an installation that was cut short is taken up again.
$(STAMP): pyproject.toml constraints.txt | python-found
	@echo "Installing into $(VENV); this takes a few minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(RUN) $(INSTALL) -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

$(STAMP_OLDEST): pyproject.toml constraints-oldest.txt | python-found
	@echo "Installing into $(VENV_OLDEST); this takes a few minutes, once."
	$(PYTHON) -m venv $(VENV_OLDEST)
	$(VENV_OLDEST)/bin/python $(INSTALL) -c constraints-oldest.txt -e ".[$(EXTRAS_OLDEST)]"
	@touch $@

# The peers stay out of the environment that the tests run in: importing some of them changes torch.
$(STAMP_BENCH): pyproject.toml constraints.txt | python-found
	@echo "Installing into $(VENV_BENCH); this takes a few minutes, once."
	$(PYTHON) -m venv $(VENV_BENCH)
	$(VENV_BENCH)/bin/python $(INSTALL) -c constraints.txt -e ".[bench]"
	@touch $@

python-found:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it: make PYTHON=/where/python3.12" >&2; exit 1; }
