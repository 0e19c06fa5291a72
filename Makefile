# Everything works in a fresh clone. `make demo` needs a Rust toolchain only.
CARGO ?= cargo

.PHONY: demo test lint bench bench-expressions faults fuzz fmt

demo: ## The main job on the embedded default: a failing flow alerts Slack
	$(CARGO) build -p windhover
	ops/demo.sh

test: ## Every test, with a real Postgres and Redis
	ops/install-servers.sh
	$(CARGO) build -p windhover
	$(CARGO) test --workspace --no-fail-fast

lint: ## Formatting, clippy, the proto files
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	ops/buf-lint.sh

bench: ## Measures standalone servers and a cluster on a real Postgres and Redis; records loadtest/results/
	ops/install-servers.sh
	$(CARGO) build --release -p windhover -p windhover-loadtest
	target/release/windhover-loadtest bench

faults: ## 5,000 executions on a cluster whose parts are killed, held and cut off; records loadtest/results/faults.json
	ops/install-servers.sh
	$(CARGO) build --release -p windhover -p windhover-faults
	target/release/windhover-faults

bench-expressions: ## What rendering a property costs
	$(CARGO) bench -p windhover-expression --bench render

fuzz: ## A million templates at random; needs `cargo install cargo-fuzz --locked`
	cd services/expression/fuzz && $(CARGO) run --release --bin seeds -- ../../../../shared/conformance/expressions corpus/templates
	cd services/expression && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run templates -- -runs=1000000 -max_len=2048 -timeout=10 -rss_limit_mb=2048

fmt:
	$(CARGO) fmt --all
