# What the README's commands call. `make` or `make help` lists them.
#
# setup.sh installs what is missing on Debian 12, Debian 13 or Ubuntu 24.04 and says so; it is done
# at once where everything is there.

SETUP := tests/support/setup.sh
# Where cargo puts what it builds: CARGO_TARGET_DIR, or what its own configuration says.
TARGET = $(shell cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

# Where the cluster tests keep what each fault cost: in Cargo's own folder for what tests write.
FAULTS = $(TARGET)/tmp/faults
# Tests hold a thousand sockets in one process; the usual soft limit is 1024 open files.
OPEN_FILES := ulimit -Sn $$(ulimit -Hn)

.DEFAULT_GOAL := help
.PHONY: help demo test soak mutants lint figures failovers bench audit

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

# AGENT=patroni has Patroni run the nodes, as `make demo` did before there was an agent.
demo: ## three etcd members, three nodes and the router, live (CHECK=1: unattended check; AGENT=patroni: Patroni's nodes)
	@$(SETUP)
	cargo build --package trunkline --bin trunkline --bin trunkline-agent --package trunkline-support --bin trunkline-demo
	@exec $(TARGET)/debug/trunkline-demo --router $(TARGET)/debug/trunkline $(if $(CHECK),--check) \
		$(if $(filter patroni,$(AGENT)),,--agent $(TARGET)/debug/trunkline-agent)

# Cluster tests take both cores of a small machine: one test program after another, as cargo does.
test: ## everything, real clusters included; at the end, what each fault cost
	@$(SETUP)
	cargo build --workspace --all-targets
	@rm -rf $(FAULTS)
	@$(OPEN_FILES); status=0; RUST_LIB_BACKTRACE=0 cargo test --workspace || status=$$?; \
	echo; $(TARGET)/debug/trunkline-faults $(FAULTS) || [ $$status -ne 0 ] || status=1; exit $$status

# The tests are those of `make test` in tests/soak; a release build serves about twice as fast.
soak: ## a million short sessions, a hundred rounds of random traffic: what the router keeps of them (release build)
	@$(SETUP)
	$(OPEN_FILES); SESSIONS=$${SESSIONS:-1000000} SEEDS=$${SEEDS:-100} \
	cargo test --release --package trunkline --test soak -- --nocapture

mutants: ## break the decisions on purpose: a test catches each (ONLY=part of a name; about ten minutes)
	@$(SETUP)
	cargo build --package trunkline-support --bin trunkline-mutants
	@exec $(TARGET)/debug/trunkline-mutants --scratch $(TARGET)/mutants $(if $(ONLY),--only "$(ONLY)")

lint: ## format and clippy
	@$(SETUP) --build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

figures: ## what the README claims, measured here beside libpq and HAProxy (about twelve minutes)
	@$(SETUP) --figures
	cargo build --release --package trunkline --bin trunkline --package trunkline-support --bin trunkline-measure
	$(TARGET)/release/trunkline-measure --router $(TARGET)/release/trunkline switchover
	$(TARGET)/release/trunkline-measure --router $(TARGET)/release/trunkline killed
	$(TARGET)/release/trunkline-measure --router $(TARGET)/release/trunkline vanished
	$(TARGET)/release/trunkline-measure --router $(TARGET)/release/trunkline starts
	$(TARGET)/release/trunkline-measure --router $(TARGET)/release/trunkline idle
	$(TARGET)/release/trunkline-measure --router $(TARGET)/release/trunkline kill

# The table is left in the target folder, the logs of each run beside it. ARGS=... is for whatever else the program takes
# (--events switchover --runs 9).
failovers: ## what mishaps cost: our agents and router, then Patroni and HAProxy, in one run (about eleven minutes; needs root)
	@$(SETUP) --figures
	cargo build --release --package trunkline --bin trunkline --bin trunkline-agent --package trunkline-support --bin trunkline-measure
	@rm -rf $(TARGET)/failovers
	@exec $(TARGET)/release/trunkline-measure --router $(TARGET)/release/trunkline failovers \
		--agent $(TARGET)/release/trunkline-agent --table $(TARGET)/failovers.md --logs $(TARGET)/failovers $(ARGS)

# FULL=1 adds the long list, HAPROXY=/path another HAProxy, ONLY=rt16,bulk leaves out the rest, ROUNDS=9 takes more
# time, JSON=file keeps every round, ARGS=... is for whatever else the program takes (trunkline-bench --help).
bench: ## beside HAProxy and a direct connection: throughput, latency, CPU, memory (eight minutes or more)
	@$(SETUP) --bench
	cargo build --release --package trunkline --bin trunkline --package trunkline-bench --bin trunkline-bench
	@exec $(TARGET)/release/trunkline-bench --trunkline $(TARGET)/release/trunkline \
		--haproxy haproxy $(if $(HAPROXY),--haproxy "$(HAPROXY)") $(if $(FULL),--full) \
		$(if $(ONLY),--only "$(ONLY)") $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(JSON),--json "$(JSON)") $(ARGS)

audit: ## bans, licences, sources and advisories (needs cargo-deny and its advisory database)
	@command -v cargo-deny >/dev/null || { echo "make audit: cargo-deny is missing: cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny check
