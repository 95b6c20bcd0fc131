# demo: all tables and figures of S2DHand and HOLD on rendered data, on two cores and without any licensed file
# two-hands: HOLD with two hands on one rendered object, and its table in ARCTIC's measures
# test: the test suite        lint: formatters and type checks        clean: everything that runs have made
# docs: the documentation as a site in build/site; a broken link ends it
# sources: train the two source networks that the package ships further, and put them and their cards in their place
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell command -v $(name))))
VENV ?= .venv
CORES ?= 2
# Extra arguments of pip; without a GPU on Linux, --extra-index-url https://download.pytorch.org/whl/cpu saves 3 GB.
PIP_EXTRA ?=

BIN := $(VENV)/bin
# What the demo shows first.
FIRST := results/figures/demo/assembly_hands_val.png results/figures/hold/jug1.png
SETTINGS := in cross
UNSEEN := 41 42 43
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PIP_EXTRA)

.PHONY: demo two-hands test lint docs sources clean

demo: $(VENV)/.installed
	$(BIN)/snakemake --cores $(CORES) --prioritize $(FIRST)

two-hands: $(VENV)/.installed
	$(BIN)/snakemake --configfile config/two_hands.yaml --cores $(CORES) -- results/tables/hold_two_hands.csv \
		results/tables/hold_quality.csv results/figures/hold/parcel1.png results/hold/parcel1/phase3/scene.html

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(CORES) --dist loadgroup $(PYTEST_ARGS)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check src tests tools
	$(BIN)/ruff format --check src tests tools
	$(BIN)/mypy src/handloom
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

sources: $(VENV)/.installed
	$(BIN)/snakemake $(SETTINGS:%=results/s2d/source/%/card.md) --configfile config/source.yaml --cores $(CORES) \
		--set-threads pretrain_source=1
	set -e; place=results; test "$$(cat results/preset.txt)" = source || place=presets/source/results; \
	for setting in $(SETTINGS); do \
		cp $$place/s2d/source/$$setting/detnet.safetensors src/handloom/data/detnet_small_$$setting.safetensors; \
		cp $$place/s2d/source/$$setting/card.md src/handloom/data/detnet_small_$$setting.md; \
		$(BIN)/python tools/measure_source.py src/handloom/data/detnet_small_$$setting.safetensors \
			--seeds $(UNSEEN) >> src/handloom/data/detnet_small_$$setting.md; \
	done

clean: # your own data/ stays
	rm -rf .snakemake resources logs benchmarks presets report.html .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find results -mindepth 1 ! -path results/README.md -delete

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "handloom needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-lint: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[lint,test]'
	touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[docs]'
	touch $@
