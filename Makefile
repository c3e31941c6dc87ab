# Every target is a thin line over a command that also works by itself; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATASET ?= simulated
MODELS ?=
SEEDS ?=
LIKE ?=
PORT ?= 3000
SERVICE_PORT ?= 8000
DASHBOARD_PORT ?= 8001
SPEED ?=
KILLS ?= 20
CASES ?= 2000

.DEFAULT_GOAL := help
.PHONY: help setup run report studies ui dashboards serve replay retrain rollback test test-extras test-faults fuzz audit extras lint format lock bench bench-scale bench-ats bench-catalogs bench-peers clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "Installing the locked environment (about 2.4 GB, a few minutes) ..."
	$(BIN)/python -m pip install -q --disable-pip-version-check "$$(grep -o '^torch==[^ ;]*' requirements.lock)"
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

setup: $(VENV)/.ready ## make the environment from the lock
	@$(BIN)/thaw setup

run: setup ## materialize the whole graph: make run [DATASET=ml-100k] [MODELS=sasrec,decayed_popularity]
	@$(BIN)/thaw run --dataset $(DATASET) $(if $(MODELS),--models $(MODELS))

report: setup ## pages of results, papers' figures beside ours, running what is missing: make report [DATASET=] [SEEDS=3] [MODELS=] [LIKE=ihm,cdn]
	@$(BIN)/thaw report --dataset $(DATASET) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(MODELS),--models $(MODELS)) $(if $(LIKE),--like $(LIKE))

studies: setup ## the tables of the HRNN-meta paper, then docs/results/<dataset>-hrnn.md: make studies [DATASET=] [ONLY=] [SEEDS=]
	@$(BIN)/thaw studies --dataset $(DATASET) $(if $(ONLY),--only $(ONLY)) $(if $(SEEDS),--seeds $(SEEDS))

ui: setup ## Dagster's web server and daemon on this project: make ui [DATASET=...] [PORT=3000]
	@$(BIN)/thaw ui --dataset $(DATASET) --port $(PORT)

dashboards: setup ## Evidently's workspace on this machine: make dashboards [DATASET=...] [DASHBOARD_PORT=8001]
	@$(BIN)/thaw dashboards --dataset $(DATASET) --port $(DASHBOARD_PORT)

serve: setup ## HTTP service on the live index: make serve [DATASET=...] [SERVICE_PORT=8000]
	@$(BIN)/thaw serve --dataset $(DATASET) --port $(SERVICE_PORT)

replay: setup ## land the held-back half of a dataset as if it happened now: make replay DATASET=... [SPEED=8640] [MODELS=]
	@$(BIN)/thaw replay --dataset $(DATASET) $(if $(MODELS),--models $(MODELS)) $(if $(SPEED),--speed $(SPEED))

retrain: setup ## train a challenger, let it meet the champion, promote a winner: make retrain [DATASET=...] [MODELS=]
	@$(BIN)/thaw retrain --dataset $(DATASET) $(if $(MODELS),--models $(MODELS))

rollback: setup ## let the former generation serve again: make rollback [DATASET=...]
	@$(BIN)/thaw rollback --dataset $(DATASET)

test: setup ## the default test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

# Everything of every extra, beside the default environment, which stays small.
EXTRAS := .venv-extras
$(EXTRAS)/.ready: requirements-extras.lock pyproject.toml $(VENV)/.ready
	$(PYTHON) -m venv $(EXTRAS)
	@echo "Installing every extra (about 4 GB, some minutes) ..."
	$(EXTRAS)/bin/python -m pip install -q --disable-pip-version-check "$$(grep -o '^torch==[^ ;]*' requirements-extras.lock)"
	$(EXTRAS)/bin/python -m pip install -q --disable-pip-version-check -r requirements-extras.lock
	$(EXTRAS)/bin/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

extras: $(EXTRAS)/.ready ## make an environment with every extra: Spark, Ray, Milvus, Redis, Postgres, Kubernetes, audit, fuzzers

test-extras: extras ## tests of the engines past one machine (needs Java 17, redis-server, PostgreSQL's programs)
	OMP_NUM_THREADS=1 $(EXTRAS)/bin/python -m pytest -q tests/extras

test-faults: setup ## kills, full disks, corrupt files: make test-faults [KILLS=200]
	OMP_NUM_THREADS=1 THAW_KILLS=$(KILLS) $(BIN)/python -m pytest -q -n auto --maxprocesses 4 tests/faults

fuzz: extras ## malformed input at every reader and at the HTTP service: make fuzz [CASES=100000]
	OMP_NUM_THREADS=1 THAW_FUZZ_CASES=$(CASES) $(EXTRAS)/bin/python -m pytest -q -n auto --maxprocesses 4 tests/fuzz

audit: extras ## known vulnerabilities and licences of what is installed, to docs/licences.md
	$(EXTRAS)/bin/python -m benchmarks.vulnerabilities; status=$$?; $(EXTRAS)/bin/python -m benchmarks.licences && exit $$status

lint: setup ## formatting, lint, types, import rules, dbt project
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/thaw setup --force

format: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

EVERY_EXTRA := $(foreach e,dev spark ray milvus redis postgres kubernetes objects audit fuzz extras-test,--extra $(e))
lock: setup ## resolve pyproject.toml into requirements.lock again
	$(BIN)/uv pip compile pyproject.toml -o requirements.lock --upgrade --quiet
	$(BIN)/uv pip compile pyproject.toml $(EVERY_EXTRA) -c requirements.lock -o requirements-extras.lock --quiet

bench: setup ## measure speed and memory
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/index.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/freshness.py
	$(BIN)/python benchmarks/live_index.py
	$(BIN)/python -m benchmarks.drift
	$(BIN)/python benchmarks/simulation.py
	$(BIN)/python benchmarks/ingestion.py

bench-scale: setup ## the whole graph at 100,000, 1,000,000 and 10,000,000 engagements, to docs/benchmarks.md (about an hour)
	$(BIN)/python -m benchmarks.scale

bench-ats: setup ## measure action-to-serving latency of a replay through Dagster and without it (about 15 minutes)
	$(BIN)/python benchmarks/ats.py

bench-catalogs: setup ## measure sampled against dense output from 1,000 to 1,000,000 items (about 10 minutes)
	$(BIN)/python benchmarks/large_catalogs.py

PEERS := benchmarks/peers
$(PEERS)/.venv/.ready: $(PEERS)/requirements.txt requirements.lock
	$(BIN)/python -m venv $(PEERS)/.venv
	$(PEERS)/.venv/bin/python -m pip install -q --disable-pip-version-check "$$(grep -o '^torch==[^ ;]*' requirements.lock)"
	$(PEERS)/.venv/bin/python -m pip install -q --disable-pip-version-check -r $(PEERS)/requirements.txt
	@touch $@

bench-peers: setup $(PEERS)/.venv/.ready ## training beside RecTools' SASRec on exported datasets (about 10 minutes)
	$(BIN)/python -m benchmarks.peers.compare --nets

clean: ## remove data, run history and caches (not the environment)
	rm -rf data .dagster transforms/target transforms/logs .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
