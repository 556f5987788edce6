# Creates the virtual environment by itself; any Python 3.11 or newer: make PYTHON=python3.12 test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test weights clean

demo: $(VENV)/.installed
	$(BIN)/lamelle demo

test: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

# The shipped weights, from nothing: inference/weights/slim.md is the card of the same command. An hour on two cores.
TRAINING := runs/training
SLIDES := $(foreach slide,1 2 3 4 5 6 7,--slide $(slide))

weights: $(VENV)/.installed
	$(BIN)/lamelle emulate export configs/emulated.yaml --into $(TRAINING)/train-1 $(SLIDES) --fields 12 --seed 7301 --density 1
	$(BIN)/lamelle emulate export configs/emulated.yaml --into $(TRAINING)/train-2 $(SLIDES) --fields 12 --seed 7302 --density 2
	$(BIN)/lamelle train $(TRAINING)/train-1 $(TRAINING)/train-2 --into $(TRAINING)/slim.safetensors --steps 3600

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --constraint constraints.txt --editable . --group dev
	touch $@

clean:
	rm -rf $(VENV)
