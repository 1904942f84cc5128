# Every target sets up what it needs: .venv is made first, or brought up to date. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test check format docs bench-setup bench chaos venv clean

BIN := .venv/bin
ARGS ?=
JOBS ?= 4
TYPED := $(wildcard src tests/typing tests/house tests/conftest.py)

help: ## List these targets
	@echo "Use: make TARGET [ARGS='…']"
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: venv ## Index this Python's own library with a real worker (ARGS=--kill kills it half-way)
	@$(BIN)/reinhardt-tasks demo $(ARGS)

test: venv ## Run the tests (ARGS='tests/unit -k retry' picks some; JOBS=8 for more processes)
	@scripts/servers
	@$(BIN)/pytest --numprocesses $(JOBS) --dist loadgroup --ignore=tests/chaos $(ARGS)

check: venv ## Check format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/pyright
	$(BIN)/lint-imports

format: venv ## Format the code and apply the safe fixes
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

docs: venv ## Run every code block of README.md and docs/
	@$(BIN)/pytest tests/house/test_docs.py tests/house/test_blocks.py $(ARGS)

bench-setup: venv ## Give each system that the benchmark compares an environment of its own
	@$(BIN)/python -m benchmarks setup $(ARGS)

bench: venv ## Compare speed with other queues; prints ratios from one run
	@$(BIN)/python -m benchmarks run $(ARGS)

chaos: venv ## Break things on purpose and count what is lost (minutes)
	@scripts/servers
	@$(BIN)/pytest tests/chaos $(ARGS)

venv: ## Make .venv (PYTHON=/path/to/python3 picks the Python)
	@scripts/bootstrap

clean: ## Remove caches and builds; .venv stays
	rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
