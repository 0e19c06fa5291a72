# Everything works in a fresh clone. `make demo` needs a Rust toolchain only.
CARGO ?= cargo

.PHONY: demo test lint bench fmt

demo: ## The main job on the embedded default: a failing flow alerts Slack
	$(CARGO) build -p windhover
	ops/demo.sh

test: ## Every test, with a real Postgres
	ops/install-servers.sh
	$(CARGO) build -p windhover
	$(CARGO) test --workspace --no-fail-fast

lint: ## Formatting, clippy, the proto files
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	ops/buf-lint.sh

bench: ## Measures a standalone server on a real Postgres; records loadtest/results/
	ops/install-servers.sh
	$(CARGO) build --release -p windhover -p windhover-loadtest
	target/release/windhover-loadtest bench

fmt:
	$(CARGO) fmt --all
