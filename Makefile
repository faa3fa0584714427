# The two commands: `make demo` and `make test`. Everything lives in .venv; a killed install starts over.
PYTHON ?= python3.11
VENV := .venv
# Test processes: each holds a server and a model of its own, about 3 GB; a file's tests stay together.
WORKERS ?= 2
STAMP := $(VENV)/.installed
TORCH := $(shell grep '^torch==' requirements.txt)
export HF_HUB_OFFLINE = 1
export TRANSFORMERS_OFFLINE = 1

.PHONY: install demo test test-all lint format peers clean

install: $(STAMP)

# The stamp is written last, so a run that was killed half-way is repeated from a clean environment.
$(STAMP): requirements.txt pyproject.toml
	@test -f $(STAMP) || $(PYTHON) -m venv --clear $(VENV)
	@rm -f $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --progress-bar on "$(TORCH)"
	$(VENV)/bin/python -m pip install --quiet --progress-bar on --no-deps -r requirements.txt
	$(VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: install
	$(VENV)/bin/recsys demo

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: install
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

test: lint
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not benchmark"

test-all: lint
	$(VENV)/bin/python -m pytest

# RecTools' SASRec and BERT4Rec need an older numpy: a second environment, which `recsys benchmark` finds by itself.
peers: .venv-peers/.installed

.venv-peers/.installed: training/peers/requirements.txt
	$(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/python -m pip install --quiet --progress-bar on "$(TORCH)"
	.venv-peers/bin/python -m pip install --quiet --progress-bar on --no-deps -r training/peers/requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) .venv-peers .recsys
