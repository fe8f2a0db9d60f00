# make lab    the chapters in JupyterLab
# make check  the style, the types, and all tests but those that run chapters
# make test   every test and every chapter
# make book   the chapters and the modules as static pages, in book/build/html
# make refresh   run the chapters again and store their outputs, after a change
# make bench     how fast, beside the peers that are installed
# make pocket    train the model in bin/pocket again, in five to six hours
#
# PYTHON="..." takes another Python, INSTALL="..." another installer than pip.

FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$python -c '$(FITS)' 2>/dev/null && echo $$python && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
INSTALL ?= $(RUN) -m pip install --disable-pip-version-check
READY := $(VENV)/.ready
TEST_READY := $(VENV)/.test-ready
BOOK_READY := $(VENV)/.book-ready

# A chapter computes on two cores, so a process for every two; tests alone on one. A
# chapter stays whole in one process; tests alone go to whichever is free.
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PAIRS := $(shell expr $(CORES) / 2)
PYTEST := -m pytest --dist

# How JupyterLab looks when it opens: contents beside the chapter, no cell left out. The
# name of the workspace is what JupyterLab calls its default one.
LAB := $(VENV)/share/jupyter/lab
WORKSPACE := $(LAB)/workspaces/default-37a8.jupyterlab-workspace

.PHONY: lab check test lint book refresh bench pocket

lab: $(READY)
	mkdir -p $(LAB)/settings $(LAB)/workspaces
	cp notebooks/.lab/overrides.json $(LAB)/settings
	test -e $(WORKSPACE) || cp notebooks/.lab/workspace.json $(WORKSPACE)
	$(RUN) -m jupyterlab --allow-root --ServerApp.root_dir=notebooks \
	  --LabApp.workspaces_dir="$(CURDIR)/$(LAB)/workspaces" \
	  --LabApp.default_url=/lab/tree/01_tokenization.ipynb

check: lint
	OMP_NUM_THREADS=1 $(RUN) $(PYTEST) worksteal -n $(CORES) \
	  tests gpt2lib --ignore tests/test_real_size.py

test: lint book
	$(RUN) $(PYTEST) loadfile -n $(if $(filter 0 1,$(PAIRS)),0,$(PAIRS))

lint: $(TEST_READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyrefly check

book: $(BOOK_READY)
	$(RUN) -m sphinx -q -W --keep-going -b html book book/build/html

refresh: $(TEST_READY)
	$(RUN) tests/refresh_notebooks.py

bench: $(READY)
	$(RUN) -m benchmarks

pocket: $(READY)
	$(RUN) -m gpt2lib.course.pocket

# The set-up knows where the project stood: moved or copied, it is set up again.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
$(READY): requirements.txt pyproject.toml
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || { echo "gpt2lib needs Python 3.11 to 3.14," \
	  "for which PyTorch is built; say where one is: make PYTHON=python3.12 ..."; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(INSTALL) "setuptools>=77"
	$(INSTALL) --no-build-isolation -r requirements.txt
	echo "$(CURDIR)" > $(READY)

$(TEST_READY): $(READY) requirements-test.txt
	$(INSTALL) -r requirements-test.txt
	touch $(TEST_READY)

$(BOOK_READY): $(READY) requirements-book.txt
	$(INSTALL) -r requirements-book.txt
	touch $(BOOK_READY)
