# The immutable runtime: `make help` lists the targets. The work is done by the scripts in tools/.
# Variables: CPYTHON_SRC, CPYTHON_TARBALL, CPYTHON_VERSION, CPYTHON_SHA256 (which CPython), JOBS (default: all cores),
# PREFIX (install), MODE (bench-pyperformance), PATCHED_TREE (patches-refresh), PATCHES_DIR, CPYTHON_GIT and REFS
# (patches-landing), ARGS (more arguments for the program that a target runs).

PATCHED_TREE ?= build/patched
MODE ?= fast

export CPYTHON_SRC CPYTHON_TARBALL CPYTHON_VERSION CPYTHON_SHA256 JOBS PATCHES_DIR

.DEFAULT_GOAL := all
.PHONY: help all demo test test-core test-lint test-python test-python-debug test-python-asan test-python-tsan test-cpython test-cpython-patched \
        test-extensions test-wheels test-packages type-table \
        test-leaks valgrind-core stress stress-debug stress-asan stress-tsan \
        bench bench-instructions bench-pyperformance count-pyperformance \
        stock debug asan tsan pgo stock-debug stock-pgo install clean deps cpython-src cache-source \
        patches-check patches-refresh patches-landing print-python print-stock-python \
        tools-build tools-test tools-develop tools-bench patched

help: ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  %-22s %s\n", $$1, $$2 }'

all: patched ## builds the patched CPython, release (build/release/python)
	@tools/build-cpython release

demo: all ## freezes an index of the whole standard library, and times it against pickle
	@build/release/python -m immutable.demo $(ARGS)

test: test-core test-lint test-python ## every test that the README promises

test-core: tools-test ## the Rust core without CPython: format, lints, unit and property tests, loom
	@tools/test-core

test-lint: all tools-test ## lints the half of the Rust core that touches CPython, the Python code and the type stubs
	@tools/lint-core
	@tools/lint-python

test-python: all ## the Python tests under the release build (ARGS=tests/test_x.py)
	@tools/test-python release $(ARGS)

test-python-debug: debug ## the Python tests under the debug build
	@tools/test-python debug $(ARGS)

test-python-asan: asan ## the Python tests under AddressSanitizer
	@tools/test-python asan $(ARGS)

test-python-tsan: tsan ## the Python tests under ThreadSanitizer
	@tools/test-python tsan $(ARGS)

test-cpython: all stock ## CPython's own suite, patched against stock: reports every difference
	@python3 tools/test_cpython.py $(ARGS)

test-cpython-patched: all ## CPython's own suite on the patched build alone
	@python3 tools/test_cpython.py --patched-only $(ARGS)

test-extensions: all stock ## the examples of extensions, on the patched and on the stock interpreter
	@tools/test-python release tests/test_extensions.py tests/test_foreign.py tests/test_check.py
	@tools/test-python stock examples/test_on_stock.py

test-wheels: all ## extension modules from PyPI with frozen data: wheels, and built from source (network; ARGS=numpy)
	@build/release/python compatibility/try_wheels.py build/release/python build/venv-wheels $(ARGS)

test-packages: all ## objects of much used packages from PyPI, frozen and used (network; ARGS=requests)
	@build/release/python compatibility/try_packages.py build/release/python build/venv-packages $(ARGS)

type-table: all ## writes TYPES.md: what freezing does to every type of the standard library
	@build/release/python tests/type_table.py > build/types.md && mv build/types.md TYPES.md

test-leaks: all ## every Python test 100 times over: live frozen objects and allocated blocks must come back (ARGS=)
	@GLIBC_TUNABLES=glibc.malloc.tcache_count=0 tools/test-python release --leaks=100 $(or $(ARGS),tests)

valgrind-core: tools-bench ## the counting protocol and the model heap under valgrind
	@tools/valgrind-core $(ARGS)

stress: all ## the stress program on the release build (ARGS="--seconds 600 --seed 1")
	@tools/stress release $(ARGS)

stress-debug: debug ## the stress program on the debug build
	@tools/stress debug $(ARGS)

stress-asan: asan ## the stress program under AddressSanitizer
	@tools/stress asan $(ARGS)

stress-tsan: tsan ## the stress program under ThreadSanitizer
	@tools/stress tsan $(ARGS)

bench: all stock ## benchmarks, with pictures in build/bench (ARGS="--quick reading", see python -m immutable.bench --list)
	@tools/bench $(ARGS)

bench-instructions: all stock tools-bench ## instruction counts of short programs, patched over stock
	@python3 tools/bench_instructions.py $(ARGS)

bench-pyperformance: pgo stock-pgo ## the pyperformance suite, patched against stock (MODE=fast or default)
	@$$(tools/bench-venv) tools/bench_pyperformance.py --mode $(MODE) $(ARGS)

count-pyperformance: pgo stock-pgo tools-bench ## instruction counts of benchmarks of pyperformance (ARGS="nbody richards")
	@$$(tools/bench-venv) tools/count_pyperformance.py $(ARGS)

stock: cpython-src ## builds the unpatched twin (build/stock/python)
	@tools/build-cpython stock

debug: patched ## builds with --with-pydebug (build/debug/python)
	@tools/build-cpython debug

asan: patched ## builds with AddressSanitizer and --with-pydebug (build/asan/python)
	@tools/build-cpython asan

tsan: patched ## builds with ThreadSanitizer (build/tsan/python)
	@tools/build-cpython tsan

pgo: patched ## builds with PGO and LTO (build/pgo/python)
	@tools/build-cpython pgo

stock-debug: cpython-src ## the unpatched twin of debug
	@tools/build-cpython stock-debug

stock-pgo: cpython-src ## the unpatched twin of pgo
	@tools/build-cpython stock-pgo

install: all ## installs the release build into PREFIX=, which may be moved afterwards
	@tools/install-cpython "$(PREFIX)"

clean: ## removes everything that was built
	rm -rf build target

deps: ## installs the Debian packages that are missing (as root)
	@tools/install-deps

cpython-src: tools-build ## fetches CPython's source into build/pristine
	@python3 tools/cpython_source.py

cache-source: tools-build ## keeps CPython's source (CPYTHON_SRC=dir) in the user's cache for later builds
	@python3 tools/cpython_source.py --cache

patched: tools-build
	@python3 tools/prepare_patched.py

patches-check: tools-build ## proves that the series applies without fuzz, and tells its size
	@python3 tools/patches_check.py

patches-refresh: cpython-src tools-develop ## writes the series from the edited tree (PATCHED_TREE=dir)
	@python3 tools/patches_refresh.py "$(PATCHED_TREE)"

patches-landing: cpython-src tools-develop ## where each hunk lands (CPYTHON_GIT=dir REFS="3.15 v3.15.0") and on Debian's headers
	@python3 tools/patches_landing.py --debian-headers $(if $(CPYTHON_GIT),--git $(CPYTHON_GIT) $(REFS)) $(ARGS)

print-python: ## prints the path of the release interpreter
	@echo "$(CURDIR)/build/release/python"

print-stock-python: ## prints the path of the stock interpreter
	@echo "$(CURDIR)/build/stock/python"

# What a target needs of the system: as root on Debian it is installed, else the missing parts are named.
tools-build:
	@tools/install-deps --if-root build && tools/check-deps

tools-test tools-develop tools-bench: tools-%:
	@tools/install-deps --if-root $* && tools/check-deps $*
