# Each target sets up .venv when it is missing and then does its work; `make help` lists them.
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed$(if $(LOCKED),-locked)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# make LOCKED=1 TARGET installs the versions of requirements.lock, which the tests ran with, and
# compares every file with its hash; this folder, which has none, is installed after them.
LOCK := --require-hashes --requirement requirements.lock && \
  $(INSTALL) --no-deps --no-build-isolation --editable .

.DEFAULT_GOAL := help
.PHONY: help reproduce notebooks book check test soak lint lab lock

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

reproduce: $(STAMP)  ## run every notebook and write its tables and figures, about 20 minutes on two cores
	$(BIN)/reuseprior reproduce

notebooks: $(STAMP)  ## put the outputs of a quick run into notebooks/, and renew the gallery
	$(BIN)/reuseprior reproduce --save

book: $(STAMP)  ## build the chapters as a site, build/book/index.html
	$(BIN)/reuseprior book

# A process a core, so one thread each: threads of several processes wait for one another's cores.
# Files go to them in the order of tests/conftest.py, the longest first.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

check: lint  ## run the linter and the quick tests, about two minutes on two cores
	$(PYTEST) -m "not (slow or notebook or browser or soak)" --hypothesis-profile=check

test: lint  ## run the tests, notebooks included, and the linter, 15 to 18 minutes on two cores
	@echo "The tests take 15 to 18 minutes on two idle cores; make check takes two."
	$(PYTEST)

soak: $(STAMP)  ## run the long hauls of which `make test` draws a few: hours
	$(PYTEST) -m soak --timeout=7200

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

lab: $(STAMP)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --config=jupyter_server_config.py --notebook-dir=. notebooks/index.ipynb

lock: $(STAMP)  ## pin all versions anew, in requirements.lock
	$(INSTALL) uv
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	  --extra notebooks --extra book --extra test --output-file requirements.lock \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links

# The stamp is written last, so an interrupted installation is taken up again. One installation
# serves all targets: pip chooses torch and torchvision together, and a second target adds nothing.
$(STAMP): pyproject.toml $(if $(LOCKED),requirements.lock)
	@echo "Installing reuseprior, its notebook tools and its test tools into $(VENV), once; some minutes."
	@echo "On Linux this takes about 6 GB of disk: 5.5 GB are torch with its CUDA libraries."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "reuseprior needs Python 3.11 or newer and '$(PYTHON)' is not: name one with make PYTHON=python3.12" >&2; \
	    exit 1; }; \
	  $(PYTHON) -m venv $(VENV) || { \
	    echo "'$(PYTHON) -m venv' failed: install its venv module (Debian and Ubuntu: apt install python3-venv)" >&2; \
	    exit 1; }; }
	@$(INSTALL) $(if $(LOCKED),$(LOCK),--editable '.[notebooks,book,test]') || { \
	  echo "Not installed: pip says above what is missing. It needs https://pypi.org once, or a mirror in PIP_INDEX_URL; then run make again." >&2; \
	  exit 1; }
	@touch $@
