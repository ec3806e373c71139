# `make run` and `make test` set themselves up in .venv; everything else needs nothing more.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/installed
LOG := .venv/install.log

.PHONY: help run test check site outputs bench clean

help:
	@echo "make run      rerun the main study on synthetic data: at most 4 minutes on 2 cores"
	@echo "make test     every check, as CI runs them: 10 to 35 minutes on 2 cores"
	@echo "make check    the same without the notebooks and tests that passed and that no change since can reach"
	@echo "make site     make the pages in _site, with Quarto where it is installed and without it elsewhere"
	@echo "make outputs  execute every notebook at its default preset and store what it prints"
	@echo "make bench    measure every fast path beside its reference"
	@echo "make clean    remove .venv and what runs have written"

run: $(INSTALLED)
	@$(BIN)/blog run studies/describing_nouns --preset embedded

test: $(INSTALLED)
	@BIN="$(BIN)" bash tests/all.sh

check: $(INSTALLED)
	@BIN="$(BIN)" bash tests/all.sh --changed

site: $(INSTALLED)
	@$(BIN)/blog render

outputs: $(INSTALLED)
	@for name in $$($(BIN)/blog list --json | $(BIN)/python -c 'import json, sys; print(*(p["name"] for p in json.load(sys.stdin)))'); do \
		$(BIN)/blog run "$$name" --preset embedded --save-outputs || exit 1; done

bench: $(INSTALLED)
	@$(BIN)/python benchmarks --csv benchmarks/results.csv

$(INSTALLED): constraints.txt settings.ini setup.py
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11, 3.12 or 3.13 is needed and was not found; set PYTHON=/path/to/python3" >&2; exit 1; fi
	@echo "Installing into .venv with $(PYTHON), a few minutes the first time (log: $(LOG))"
	@$(PYTHON) -m venv .venv || { echo "venv failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --use-pep517 -c constraints.txt -e '.[site,sweeps,postgres,difficulty,shortcuts,embeddings,specifications,preferences,export,dev]' >$(LOG) 2>&1 \
		|| { tail -n 20 $(LOG) >&2; echo "installing failed; the whole log is $(LOG)" >&2; exit 1; }
	@touch $@

clean:
	rm -rf .venv runs _site build *.egg-info
