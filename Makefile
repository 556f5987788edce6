# Creates the virtual environment by itself; any Python 3.11 or newer: make PYTHON=python3.12 test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test quick long weights trained names clean

demo: $(VENV)/.installed
	$(BIN)/lamelle demo

test: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	# A worker of mypy that takes longer than a few seconds to start, on a busy computer, ends it with status 2.
	$(BIN)/mypy || { test $$? -eq 2 && $(BIN)/mypy --num-workers 0; }
	$(BIN)/lint-imports
	$(BIN)/pytest

# Neither nights, nor a browser, nor what computes for long: two minutes on two quiet cores.
quick: $(VENV)/.installed
	$(BIN)/pytest -m "not night and not slow and not browser and not long"

# What is too long for `make test`: the suite on a busy computer, every kill. One after another, as each fills the computer.
long: $(VENV)/.installed
	$(BIN)/pytest -m long --numprocesses=0

# Weights as the shipped ones, from nothing: six hours on two quiet cores, 60 GB of disk. The shipped ones came in more stages,
# the last of them the second training on these sets (inference/weights/slim.md), so they are not made again byte for byte.
# Collections 21 to 38 are for training, 41 judges on the way; benchmarks/worlds.py judges on others.
TRAINING := runs/training
EXPORT := $(BIN)/lamelle emulate export configs/emulated.yaml
LIGHTS := 1.56/0.50 1.54/0.65 1.58/0.50 1.62/0.40 1.56/0.50 1.60/0.45 1.55/0.55 1.56/0.50 1.58/0.65 1.61/0.60 1.56/0.50 \
	1.57/0.40 1.59/0.50 1.56/0.50 1.54/0.45 1.62/0.55 1.56/0.50 1.58/0.45
HELD := --judge-by $(TRAINING)/held-trap --judge-by $(TRAINING)/held-mixed
SETS = $(wildcard $(addprefix $(TRAINING)/,mixed-* trap-* easy-* dense-* coccolith-*))

weights: $(VENV)/.installed
	number=0; for light in $(LIGHTS); do \
		same="--collection $$((21 + number)) --medium $${light%/*} --condenser-na $${light#*/}"; \
		same="$$same --slide $$((number % 8 + 1)) --slide $$(((number + 4) % 8 + 1))"; \
		$(EXPORT) --into $(TRAINING)/mixed-$$number --fields 4 --seed $$((7610 + number)) --profile mixed $$same && \
		$(EXPORT) --into $(TRAINING)/trap-$$number --fields 5 --seed $$((7640 + number)) --profile trap --density 1.5 $$same && \
		$(EXPORT) --into $(TRAINING)/easy-$$number --fields 3 --seed $$((7670 + number)) --profile easy $$same && \
		$(EXPORT) --into $(TRAINING)/dense-$$number --fields 1 --seed $$((7700 + number)) --profile easy --density 2 $$same && \
		$(EXPORT) --into $(TRAINING)/coccolith-$$number --fields 1 --seed $$((7730 + number)) --profile coccolith $$same \
		|| exit; number=$$((number + 1)); \
	done
	$(EXPORT) --into $(TRAINING)/held-trap --slide 2 --slide 6 --fields 10 --seed 7601 --collection 41 --profile trap --density 2
	$(EXPORT) --into $(TRAINING)/held-mixed --slide 3 --slide 5 --fields 6 --seed 7602 --collection 41 --profile mixed
	$(MAKE) trained

trained:
	$(BIN)/lamelle train $(SETS) --into $(TRAINING)/first.safetensors $(HELD) --steps 12000
	$(BIN)/lamelle train $(SETS) --into $(TRAINING)/slim.safetensors $(HELD) --steps 10000 --start $(TRAINING)/first.safetensors

# The classifier that is shipped, from nothing: two hours on two quiet cores, 14 GB of cache and 9 GB of disk.
# Each set is a collection, a seed, specimens of each taxon and pieces of junk a mini-slide, and four mini-slides.
# Collection 1, which the demo shows, judges; seed 3 draws it.
NAMES := runs/names
SPECIES := 1,101,10,60,1,2,3,4 5,105,10,60,1,2,3,4 6,106,10,60,5,6,7,8 23,123,10,60,3,4,5,6 \
	7,107,6,30,1,2,3,4 8,108,6,30,5,6,7,8 9,109,6,30,1,3,5,7
GENERA := 1,201,10,20,1,2,3,4 5,205,10,20,1,2,3,4 6,206,10,20,5,6,7,8 23,223,10,20,3,4,5,6

names: $(VENV)/.installed
	for kind in species reference; do \
		if [ $$kind = species ]; then sets="$(SPECIES)"; else sets="$(GENERA)"; fi; \
		for set in $$sets; do \
			IFS=,; set -- $$set; unset IFS; \
			test -f $(NAMES)/$$kind-$$1/index.parquet -a ! -f $(NAMES)/$$kind-$$1/unfinished.json || \
			$(BIN)/lamelle emulate specimens configs/emulated.yaml --into $(NAMES)/$$kind-$$1 --profile $$kind \
				--collection $$1 --seed $$2 --each $$3 --junk $$4 --slide $$5 --slide $$6 --slide $$7 --slide $$8 \
				--most-px 192 || exit; \
		done; \
	done
	$(BIN)/lamelle library build $(NAMES)/library $(NAMES)/species-* $(NAMES)/reference-* --taxonomy configs/taxonomy.csv
	$(BIN)/lamelle library split $(NAMES)/library --by sample --judge 0.15 --seed 3
	$(BIN)/lamelle train-names $(NAMES)/library --split $(NAMES)/library/splits/sample-3-*.json \
		--into $(NAMES)/species.safetensors --network small --epochs 40 --threads 1

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --no-compile --constraint constraints.txt --editable . --group dev
	# pip compiles on one core; a few files of other packages are not for this version of Python.
	$(BIN)/python -m compileall -q -j 0 $(VENV) > $(VENV)/compiled.txt || true
	touch $@

clean:
	rm -rf $(VENV)
