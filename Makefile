VENV ?= .venv
PYTHON ?= python3
RUN := $(VENV)/bin/python

.PHONY: train test whole faults lint docs clean

train: $(VENV)/installed
	$(RUN) scripts/train_agent.py --agent dsn

test: $(VENV)/installed lint
	$(RUN) -m pytest -n 2

whole: $(VENV)/installed
	$(RUN) -m pytest -n 2 -m "campaign or not campaign" --ignore tests/faults

faults: $(VENV)/installed
	$(RUN) -m pytest -n 2 tests/faults -m "campaign or not campaign"

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(VENV)/installed-docs
	$(VENV)/bin/mkdocs build --strict

$(VENV)/installed-docs: $(VENV)/installed
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[dev,contrib]"
	touch $@

clean:
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache dist
