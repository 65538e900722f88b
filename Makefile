PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Newer than both files that say what to install: then there is nothing to do.
STAMP := $(VENV)/.installed
# A process per core, each of one thread, takes whole files: what their tests share is made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all soak fuzz tables beyond methods advice miniature miniature20 lint docs clean

help:  ## List these targets.
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: $(STAMP)  ## Make .venv, with the package (editable) and its tools at the tested versions.

# Compiling all that is installed takes minutes; what is imported is compiled then, and that is a part of it.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-compile -e ".[dev]" -c constraints.txt
	@touch $@

demo: install  ## Adapt the miniature suite on a CPU; results in runs/demo.
	$(BIN)/wemoe-pl fit --config adapt_miniature.yaml --out runs/demo --fresh

test: install  ## Run the tests; choose some with ARGS="-k moe".
	$(PYTEST) $(ARGS)

# Three processes keep two cores busy: these tests wait for other processes a third of the time.
test-all: install  ## Run what `make test` leaves out: kills, several processes, a browser, every config.
	$(PYTEST) --numprocesses=3 -m "slow and not soak" $(ARGS)

soak: install  ## Run the tests that take long: hundreds of kills, thousands of damaged files.
	$(BIN)/python -m pytest -m soak $(ARGS)

fuzz: install  ## Read twenty thousand damaged and hostile files (half an hour).
	$(BIN)/python -m pytest tests/test_hostile_input.py tests/test_hostile_runs.py --hypothesis-profile=fuzz $(ARGS)

tables: install  ## Run every method and experiment on both miniatures, into docs/miniature.md (2 h).
	for suite in $(or $(SUITE),miniature miniature20); do \
		SUITE=$$suite $(BIN)/python benchmarks/miniature_tables.py || exit 1; done
	$(BIN)/python benchmarks/methods_page.py

beyond: install  ## Try settings beyond the paper's on a miniature that are not kept yet; SUITE and ROWS choose (3 h each).
	$(BIN)/python benchmarks/beyond_the_paper.py
	$(BIN)/python benchmarks/beyond_tables.py

methods: install  ## Write the tables of docs/methods.md, from the code and what is published and measured.
	$(BIN)/python benchmarks/methods_page.py

advice: install  ## Compare the advice on both miniatures with what then happened, into docs/advice.md.
	$(BIN)/python benchmarks/advice_table.py

# What the package ships, from nothing: a generalist, its heads, and an expert per task.
MINIATURE := wemoe_pl/assets/miniature
TASKS := sun397 cars resisc45 eurosat svhn gtsrb mnist dtd
miniature: install  ## Train the miniature's weights anew, into the package (half an hour).
	$(BIN)/wemoe-pl fit --config pretrain_miniature.yaml --out runs/miniature/generalist --fresh
	mkdir -p $(MINIATURE)/heads $(MINIATURE)/experts
	cp runs/miniature/generalist/encoder.safetensors $(MINIATURE)/
	cp runs/miniature/generalist/heads/*.safetensors $(MINIATURE)/heads/
	for task in $(TASKS); do \
	  $(BIN)/wemoe-pl fit --config finetune_miniature.yaml --task $$task --out runs/miniature/$$task --fresh \
	  && cp runs/miniature/$$task/encoder.safetensors $(MINIATURE)/experts/$$task.safetensors \
	  || exit 1; \
	done

# The second suite takes an hour: what has finished below runs/miniature20 is not trained again, what was
# interrupted goes on.
MINIATURE20 := wemoe_pl/assets/miniature20
RUNS20 := runs/miniature20
TASKS20 := $(TASKS) flowers102 pcam fer2013 pets stl10 cifar100 cifar10 food101 fashion_mnist emnist_letters \
  kmnist rendered_sst2
miniature20: install  ## Train the second miniature's weights anew (an hour); an interrupted training goes on.
	test -f $(RUNS20)/generalist/results.json \
	  || $(BIN)/wemoe-pl fit --config pretrain_miniature20.yaml --out $(RUNS20)/generalist
	mkdir -p $(MINIATURE20)/heads $(MINIATURE20)/experts
	cp $(RUNS20)/generalist/encoder.safetensors $(MINIATURE20)/
	cp $(RUNS20)/generalist/heads/*.safetensors $(MINIATURE20)/heads/
	for task in $(TASKS20); do \
	  test -f $(RUNS20)/$$task/results.json \
	  || $(BIN)/wemoe-pl fit --config finetune_miniature20.yaml --task $$task --out $(RUNS20)/$$task || exit 1; \
	  cp $(RUNS20)/$$task/encoder.safetensors $(MINIATURE20)/experts/$$task.safetensors || exit 1; \
	done

lint: install  ## Check style, formatting, types, first sentences of docstrings, and workflows.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python tests/helpers/first_sentences.py
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline .github

docs: install  ## Build the site of the documentation, build/site/index.html; a warning is an error.
	$(BIN)/python -m sphinx --builder html --nitpicky --fail-on-warning --keep-going --quiet \
		--conf-dir docs --doctree-dir build/doctrees . build/site

clean:  ## Remove build artefacts and caches; .venv and runs stay.
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
