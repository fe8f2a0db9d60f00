# make lab    the chapters in JupyterLab
# make test   every test
# make refresh   run the chapters again and store their outputs, after a change
# make bench     how fast, beside the peers that are installed
# make pocket    train the model in bin/pocket again, in five to six hours

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: lab test refresh bench pocket

lab: $(READY)
	$(RUN) -m jupyterlab --allow-root --ServerApp.root_dir=notebooks

test: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest

refresh: $(READY)
	$(RUN) tests/refresh_notebooks.py

bench: $(READY)
	$(RUN) -m benchmarks

pocket: $(READY)
	$(RUN) -m gpt2lib.course.pocket

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "gpt2lib needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check -r requirements.txt
	touch $(READY)
