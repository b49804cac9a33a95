# `make help` lists the targets. Each step leaves a stamp, so that a second call does nothing and an
# interrupted one goes on; tools/setup.sh holds the steps.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: FORCE help setup demo tables test test-avx2 test-asan test-all demo-avx2 setup-test lint format docs clean
.DELETE_ON_ERROR:

BIN := .venv/bin
CPP_SOURCES := $(shell find cpp cmake -type f) CMakeLists.txt pyproject.toml
TEST_SOURCES := $(shell find tests/cpp -type f)
CLANG_FILES = $(shell find cpp tests/cpp -name '*.h' -o -name '*.cpp')
CODE_FILES = $(CLANG_FILES) $(shell find python tests benchmarks/python tools conftest.py -name '*.py')
STEP := tools/step.sh

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /  make \1|/p' $(MAKEFILE_LIST) | column -t -s '|'

setup: .venv/extension ## .venv with pinned packages and the extension, built

demo: setup ## fetch data and model, mine, train, evaluate: a table and runs/demo/report.html
	@$(BIN)/notellm demo

SCALE ?= smoke
STUDIES := $(filter-out powered_% levers, \
  $(basename $(notdir $(shell grep -l '^study:' experiments/conf/experiment/*.yaml))))
RESULTS ?= runs/studies
tables: setup ## every table but those of scale=powered: RESULTS/SCALE/NAME.md and .csv; SCALE is smoke, laptop, gpu or paper
	@for study in $(STUDIES); do \
	  options="experiment=$$study scale=$(SCALE) --folder $(RESULTS)"; \
	  $(BIN)/notellm sweep $$options || failed=1; \
	  for form in markdown:md csv:csv; do \
	    $(BIN)/notellm table $$options --format $${form%:*} \
	      --output $(RESULTS)/$(SCALE)/$$study.$${form#*:} || failed=1; done; done; exit $${failed:-0}

# Tests are light on threads, so files are shared out to a process for each core, at most four.
PYTEST := env OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q \
  --numprocesses=logical --maxprocesses=4 --dist=loadgroup --no-loadscope-reorder
AS_AVX2 := $(BIN)/python -m notellm.older_cpu avx2
IF_NEWER := $(BIN)/python -m notellm.older_cpu --if-newer avx2
SUITE_SECONDS ?= 5400
DEMO_SECONDS ?= 1500
# $(call within,SECONDS,COMMAND): fails, and says so, where the command takes longer
within = timeout --foreground $(1) $(2) || { s=$$?; [ $$s -ne 124 ] || echo "took over $(1) s" >&2; exit $$s; }

test: setup-test lint ## everything but the slow tests; what an AVX2 processor computes otherwise, as there
	@echo "C++ tests" && build/py/tests/cpp/notellm_tests --gtest_brief=1
	@echo "Python tests" && $(PYTEST) -m "not slow"
	@echo "Tests that differ by processor, as with AVX2 alone"
	@$(IF_NEWER) $(PYTEST) -m "instruction_set and not slow"

test-avx2: setup-test ## the same tests, all of them as on a processor with AVX2 alone
	@echo "C++ tests, as with AVX2 alone" && $(AS_AVX2) build/py/tests/cpp/notellm_tests --gtest_brief=1
	@echo "Python tests, as with AVX2 alone" && $(AS_AVX2) $(PYTEST) -m "not slow"

test-all: setup-test .venv/docs-packages lint ## everything, natively and as with AVX2 alone, a small demo there, and with sanitizers
	@echo "C++ tests" && build/py/tests/cpp/notellm_tests --gtest_brief=1
	@echo "Python tests" && $(PYTEST)
	@echo "All tests, as with AVX2 alone" && $(IF_NEWER) build/py/tests/cpp/notellm_tests --gtest_brief=1
	@$(call within,$(SUITE_SECONDS),$(IF_NEWER) $(PYTEST))
	@$(MAKE) --no-print-directory demo-avx2
	@$(MAKE) --no-print-directory test-asan

# Leaks are not looked for: LibTorch keeps what it allocates until the process ends.
ASAN := ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# Without `site` (-S) the extension of .venv is not found; Python itself is not instrumented, so that the libraries of
# the sanitizers, and of the exceptions that they watch, must be loaded first.
LIBRARY = $(shell $(CXX) -print-file-name=$(1))
ASAN_PYTHON = $(ASAN) LD_PRELOAD="$(call LIBRARY,libasan.so) $(call LIBRARY,libstdc++.so)" PYTHONDONTWRITEBYTECODE=1 \
	PYTHONPATH=build/asan/package:$(wildcard .venv/lib/python3*/site-packages) $(BIN)/python -S

test-asan: build/asan/tests/cpp/notellm_tests setup-test ## C++ tests, and Python tests of operations, with sanitizers
	@echo "C++ tests with sanitizers" && $(ASAN) $< --gtest_brief=1
	@echo "Python tests of operations with sanitizers" && $(ASAN_PYTHON) -m pytest -q -m "not slow" \
	  -p no:cacheprovider --ignore tests/python/ops/test_speed_of_bf16.py tests/python/ops tests/python/losses \
	  tests/python/mining tests/python/retrieval

demo-avx2: setup
	@echo "A small demo, as with AVX2 alone" && rm -rf build/demo-avx2
	@$(call within,$(DEMO_SECONDS),$(AS_AVX2) $(BIN)/notellm demo --run build/demo-avx2 scale=smoke)

lint: setup-test
	@$(STEP) "clang-format" build/logs/clang-format.log $(BIN)/clang-format --dry-run -Werror $(CLANG_FILES)
	@$(STEP) "ruff check" build/logs/ruff.log $(BIN)/ruff check .
	@$(STEP) "ruff format" build/logs/ruff-format.log $(BIN)/ruff format --check .
	@$(STEP) "mypy" build/logs/mypy.log $(BIN)/mypy
	@$(STEP) "lengths" build/logs/lengths.log $(BIN)/python tools/lengths.py $(CODE_FILES)

format: setup-test ## format C++ and Python sources; write anew what is made of the options' descriptions, and pictures
	@$(BIN)/python tools/option_stubs.py --write && $(BIN)/notellm options --markdown >docs/options.md
	@$(BIN)/python tools/memory_table.py --write
	@$(BIN)/python tools/findings.py --write
	@$(BIN)/python tools/pictures.py
	@$(BIN)/clang-format -i $(CLANG_FILES)
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format -q .

docs: .venv/docs-packages ## the documentation as a site, strictly: build/site/index.html
	@PYTHONPATH=python NO_MKDOCS_2_WARNING=1 $(STEP) "site" build/logs/site.log $(BIN)/mkdocs build --strict
	@$(STEP) "links of the site" build/logs/links.log $(BIN)/python tools/site/links.py build/site

clean: ## remove what was built; .venv keeps its packages, runs/ its results
	rm -rf build .venv/extension .mypy_cache .ruff_cache .pytest_cache .hypothesis

build/debian: | build
	@tools/setup.sh debian
	@touch $@

build/debian-test: | build
	@tools/setup.sh debian-test
	@touch $@

# A checkout that was moved or copied needs a new environment: its scripts name the old place.
ifneq ($(file <.venv/created),$(CURDIR))
.venv/created: FORCE
endif
FORCE:

.venv/created: | build/debian
	@tools/setup.sh venv
	@echo $(CURDIR) >$@

.venv/packages: .venv/created requirements.txt
	@tools/setup.sh packages
	@touch $@

.venv/test-packages: .venv/packages requirements-test.txt
	@tools/setup.sh test-packages
	@touch $@

.venv/docs-packages: .venv/created requirements-docs.txt
	@tools/setup.sh docs-packages
	@touch $@

.venv/extension: .venv/packages $(CPP_SOURCES)
	@tools/setup.sh extension
	@touch $@

build/py/tests/cpp/notellm_tests: .venv/extension $(TEST_SOURCES) | build/debian-test
	@tools/setup.sh tests
	@touch $@

build/asan/tests/cpp/notellm_tests: .venv/packages $(CPP_SOURCES) $(TEST_SOURCES) | build/debian-test
	@tools/setup.sh asan
	@touch $@

setup-test: .venv/extension .venv/test-packages build/debian-test build/py/tests/cpp/notellm_tests

build:
	@mkdir -p $@
