# Every verb of the workshop; nothing happens only in CI. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
VENV := .venv
PYTHON := $(VENV)/bin/python
DEMO_VENV := build/demo-venv
RUST_SOURCES := $(shell find rust/core/src rust/datapath/src rust/bindings -name '*.rs' -o -name '*.[ch]') Cargo.toml Cargo.lock $(wildcard rust/*/Cargo.toml)
# Most Python tests wait for others, so two of them share two cores well; a file stays in one process.
WORKERS ?= 2
export CARGO_TERM_COLOR := auto

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: demo
demo: ## two hosts in one process: install the wheel as a user would, run `sallet demo`
	@scripts/check-prerequisites
	@[ -x $(DEMO_VENV)/bin/python ] || python3 -m venv $(DEMO_VENV)
	@echo "building and installing the wheel (a few minutes the first time) ..."
	@$(DEMO_VENV)/bin/pip install --quiet --disable-pip-version-check .
	@$(DEMO_VENV)/bin/sallet demo

.PHONY: setup
setup: $(VENV)/.ready ## virtual environment with the pinned development tools
$(VENV)/.ready: requirements-dev.txt
	@scripts/check-prerequisites
	@[ -x $(PYTHON) ] || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.PHONY: build
build: $(VENV)/.built ## release build of the extension module into .venv (editable)
$(VENV)/.built: $(VENV)/.ready $(RUST_SOURCES) pyproject.toml
	$(VENV)/bin/maturin develop --release --locked --quiet
	@touch $@

.PHONY: debug
debug: ## debug build of the extension module and the C libraries, linked into python/sallet (PYTHONPATH=python:tests)
	@out=$$(cargo build -q --locked -p sallet-bindings --message-format=json-render-diagnostics \
	    | sed -n 's/.*"build-script-executed".*sallet-bindings.*"out_dir":"\([^"]*\)".*/\1/p'); \
	ln -sf ../../target/debug/lib_core.so python/sallet/_core.abi3.so; \
	for library in "$$out"/lib*.so*; do ln -sf "$$library" python/sallet/native/; done

.PHONY: test
test: test-rust test-python ## every test this machine can run; prints what it skipped and why

.PHONY: test-rust
test-rust: ## the Rust tests, with the full count of simulated seeds
	SALLET_PAIR_FULL=1 cargo test --locked --workspace --exclude sallet-bindings

.PHONY: test-python
test-python: build ## the Python, namespace and peer tests, in WORKERS=2 processes
	$(PYTHON) -m pytest -n $(WORKERS) --dist loadfile

.PHONY: test-cleanup
test-cleanup: build ## links, rules, routes and nft ruleset are equal before and after, also after SIGKILL
	$(PYTHON) -m pytest tests/interop/test_cleanup.py

.PHONY: test-inetd
test-inetd: build ## `sallet inetd`: services of an inetd.conf, and ESP on the wire for those behind a policy line
	$(PYTHON) -m pytest tests/interop/test_inetd.py tests/interop/test_inetd_services.py tests/unit/lang/test_inetd.py tests/unit/lang/test_golden.py -k inetd

.PHONY: interop
interop: build ## every algorithm, protection, mode and size with a real Linux kernel (root; rewrites docs/interop.md)
	PYTHONPATH=tests $(PYTHON) -m interop.matrix $(ARGS)

.PHONY: pfkey-differences
pfkey-differences: build ## PF_KEY beside a real Linux kernel's (root; rewrites docs/pfkey-differences.md)
	PYTHONPATH=tests $(PYTHON) -m interop.pfkey $(ARGS)

.PHONY: test-interop
test-interop: build ## only the tests against other implementations (namespaces, a real Linux kernel, scapy)
	$(PYTHON) -m pytest tests/interop

.PHONY: lint
lint: $(VENV)/.built ## clippy, rustfmt, ruff, mypy, import contracts, C, stubs
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(MAKE) --no-print-directory lint-c stubs-check

.PHONY: lint-c
lint-c: ## the C libraries without a warning, also of gcc's analyser
	@for source in rust/bindings/*/*.c; do \
	    gcc -std=gnu11 -O2 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -fanalyzer -c -o /dev/null $$source; done

.PHONY: stubs
stubs: $(VENV)/.ready ## regenerate python/sallet/_core.pyi from the bindings
	scripts/stubs > build/_core.pyi.new && mv build/_core.pyi.new python/sallet/_core.pyi

.PHONY: stubs-check
stubs-check: $(VENV)/.built ## the committed stubs are the generated ones and agree with the module
	mkdir -p build && scripts/stubs > build/_core.pyi.new
	diff -u python/sallet/_core.pyi build/_core.pyi.new
	cd build && ../$(VENV)/bin/python -m mypy.stubtest sallet._core --mypy-config-file ../pyproject.toml --allowlist ../.stubtest-allowlist

.PHONY: golden
golden: build ## regenerate tests/golden/*.ok|.err; review the diff
	PYTHONPATH=tests $(PYTHON) -m golden

.PHONY: vectors
vectors: $(VENV)/.ready ## the published vectors alone, as a table: source, cases, passed
	scripts/vectors $(PYTHON)

.PHONY: tables
tables: ## rewrite docs/bug-classes.md; take demands that are annotated by now off tests/requirements.toml
	scripts/bug-classes
	scripts/requirements --shrink

.PHONY: ipcomp-zlib
ipcomp-zlib: build ## 10^6 datagrams between our DEFLATE and zlib's, both ways (ARGS="--datagrams N", --write: docs/ipcomp.md)
	PYTHONPATH=tests $(PYTHON) -m conformance.ipcomp_zlib $(ARGS)

.PHONY: ipcomp-kernel
ipcomp-kernel: build ## 20,400 such datagrams through a real kernel and back, in every mode and family
	SALLET_IPCOMP_KERNEL=$${DATAGRAMS:-3400} $(PYTHON) -m pytest -q -s tests/interop/test_linux_ipcomp.py

.PHONY: fuzz
fuzz: ## fuzz every target for SECONDS=30, or TARGET=name, or RUNS=10000000 times (needs `cargo install cargo-fuzz`)
	scripts/fuzz $(if $(RUNS),--runs $(RUNS),--seconds $(or $(SECONDS),30)) $(addprefix --target ,$(TARGET)) $(ARGS)

.PHONY: fuzz-pfkey
fuzz-pfkey: build ## fuzz the PF_KEY codec and handlers, RUNS=20000 inputs for each dialect, from SEED=1
	PYTHONPATH=tests $(PYTHON) -m fuzz --runs $(or $(RUNS),20000) --seed $(or $(SEED),1)

.PHONY: bench
bench: build ## the baseline of docs/benchmarks.md, measured here and now (ARGS=--write rewrites the document)
	$(PYTHON) -m bench $(ARGS)

.PHONY: bench-pfkey
bench-pfkey: build ## PF_KEY requests and dumps per second, beside a real kernel's (ARGS=--write: docs/benchmarks-pfkey.md)
	$(PYTHON) -m bench.pfkey $(ARGS)

.PHONY: test-clients
test-clients: build ## 10^4 clients, 64 at once, that go away amid a dump; 10^4 dumps broken off
	SALLET_CLIENT_CYCLES=10000 SALLET_DUMP_CYCLES=10000 $(PYTHON) -m pytest -s --timeout 3600 tests/hostile/test_pfkey_clients.py tests/unit/pfkey/test_dumps.py

.PHONY: fmt
fmt: $(VENV)/.ready ## format everything
	cargo fmt --all
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

.PHONY: all
all: fmt lint test ## format, lint, test

.PHONY: clean
clean: ## remove what the verbs made
	rm -rf build $(VENV) target rust/fuzz/target
	find python -name '*.so' -delete
