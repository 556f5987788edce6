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

# Weights as the shipped ones, from nothing: five hours on two quiet cores, 60 GB of disk. The shipped ones came in more stages,
# the last of 7000 steps on these sets (inference/weights/slim.md), so they are not made again byte for byte.
# Collections 11 to 32 are for training, 41 judges on the way; benchmarks/worlds.py judges on others.
TRAINING := runs/training
EXPORT := $(BIN)/lamelle emulate export configs/emulated.yaml
FOUR := --slide 1 --slide 2 --slide 3 --slide 4
SIX := $(FOUR) --slide 5 --slide 6
SETS := easy easy-dense reference coccolith trap trap-dense trap-other
MIXED := 1.54/0.65 1.58/0.50 1.62/0.40 1.56/0.60 1.60/0.45 1.55/0.55 1.58/0.65 1.61/0.60 1.57/0.40 1.59/0.50 1.54/0.45 1.62/0.55

weights: $(VENV)/.installed
	$(EXPORT) --into $(TRAINING)/easy $(SIX) --fields 16 --seed 7501 --collection 11 --profile easy
	$(EXPORT) --into $(TRAINING)/trap $(SIX) --fields 24 --seed 7502 --collection 12 --profile trap
	$(EXPORT) --into $(TRAINING)/reference $(SIX) --fields 16 --seed 7503 --collection 13 --profile reference \
		--medium 1.54 --condenser-na 0.65
	$(EXPORT) --into $(TRAINING)/coccolith $(FOUR) --fields 8 --seed 7504 --collection 14 --profile coccolith \
		--medium 1.6 --condenser-na 0.4
	$(EXPORT) --into $(TRAINING)/trap-dense $(FOUR) --fields 8 --seed 7505 --collection 15 --profile trap --density 2 \
		--settling clustered --medium 1.58 --condenser-na 0.6
	$(EXPORT) --into $(TRAINING)/easy-dense $(SIX) --fields 8 --seed 7506 --collection 13 --profile easy --density 2 \
		--medium 1.54 --condenser-na 0.65
	$(EXPORT) --into $(TRAINING)/trap-other $(SIX) --fields 12 --seed 7507 --collection 16 --profile trap \
		--medium 1.62 --condenser-na 0.5
	number=0; for light in $(MIXED); do \
		$(EXPORT) --into $(TRAINING)/mixed-$$number --slide $$((number % 8 + 1)) --slide $$(((number + 4) % 8 + 1)) \
			--fields 4 --seed $$((7610 + number)) --collection $$((21 + number)) --profile mixed \
			--medium $${light%/*} --condenser-na $${light#*/} || exit; number=$$((number + 1)); \
	done
	$(EXPORT) --into $(TRAINING)/held-trap --slide 2 --slide 6 --fields 14 --seed 7601 --collection 41 --profile trap \
		--density 1.5
	$(EXPORT) --into $(TRAINING)/held-mixed --slide 3 --slide 5 --fields 6 --seed 7602 --collection 41 --profile mixed
	$(BIN)/lamelle train $(addprefix $(TRAINING)/,$(SETS)) --into $(TRAINING)/first.safetensors --steps 12000
	$(BIN)/lamelle train $(addprefix $(TRAINING)/,$(SETS)) $(TRAINING)/mixed-* --into $(TRAINING)/slim.safetensors \
		--judge-by $(TRAINING)/held-trap --judge-by $(TRAINING)/held-mixed --steps 7000 --start $(TRAINING)/first.safetensors

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --constraint constraints.txt --editable . --group dev
	touch $@

clean:
	rm -rf $(VENV)
