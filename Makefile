# Two commands do all the set-up: `make demo` (what a user installs: no torch) and `make test` (everything).
PYTHON ?= python3
LAB := .venv
FIELD := .venv-field

.PHONY: demo test format clean

demo: $(FIELD)/installed
	$(FIELD)/bin/undercast demo -o out/demo

test: $(LAB)/installed
	$(LAB)/bin/ruff check .
	$(LAB)/bin/ruff format --check .
	$(LAB)/bin/mypy
	$(LAB)/bin/lint-imports
	$(LAB)/bin/pytest

format: $(LAB)/installed
	$(LAB)/bin/ruff check --fix .
	$(LAB)/bin/ruff format .

$(FIELD)/installed: pyproject.toml
	$(PYTHON) -m venv $(FIELD)
	$(FIELD)/bin/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(LAB)/installed: pyproject.toml
	$(PYTHON) -m venv $(LAB)
	$(LAB)/bin/pip install --quiet --disable-pip-version-check --editable '.[train,dev]'
	touch $@

clean:
	rm -rf $(LAB) $(FIELD) out
