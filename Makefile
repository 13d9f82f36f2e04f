# What a person types. The work is in scripts/; `make test` is also what CI runs.
.PHONY: help run test bench

help: ## Lists these targets.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST))

run: ## Builds and starts the server: every role, sandbox chains, SQLite.
	cargo run --package cryptopayment --bin cryptopayment

test: ## Installs what the tests need, then runs every check and every test.
	@bash scripts/test.sh

bench: ## Measures it beside what limits it; PARTS="creation scan" chooses, none means all.
	@bash scripts/bench.sh $(PARTS)
