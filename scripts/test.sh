#!/usr/bin/env bash
# Everything that must hold before a change lands: installs what is missing, starts what the tests
# talk to, runs the checks, then the tests. What it started it stops by process id, however it ends.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

readonly CACHE=$PWD/.cache/test-parts
readonly LOGS=$PWD/target/test-parts
mkdir -p "$CACHE" "$LOGS"

source scripts/retry.sh
source scripts/bitcoind.sh
source scripts/parts.sh
source scripts/postgres.sh

trap stop_postgres EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# One build for every step: a second profile or feature set would compile the tree again.
if [[ ${CI:-} == true ]]; then
    export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
fi

# step NAME COMMAND...: one line when it is done; its output only when it fails.
step() {
    local name=$1 log=$LOGS/${1// /-}.log started=$SECONDS
    shift
    printf '%-40s' "$name"
    if "$@" > "$log" 2>&1 < /dev/null; then
        echo "ok ($((SECONDS - started)) s)"
        sed -n 's/^note: /    /p' "$log"
    else
        echo "FAILED ($((SECONDS - started)) s)"
        cat "$log"
        exit 1
    fi
}

step "install test parts" install_parts
step "start PostgreSQL" start_postgres
step "check formatting" cargo fmt --all --check
step "check contract" bash scripts/check-contract.sh
step "check dependencies" bash scripts/check-dependencies.sh
step "check lints" cargo clippy --locked --workspace --all-targets -- -D warnings
step "build tests" cargo test --locked --workspace --no-run

# Each conformance case that holds leaves a line; the table says where one is missing.
# So does each fake deposit that came to what it should; its table says which one no test held.
export CONFORMANCE_LOG=$LOGS/conformance.txt FAKE_DEPOSITS_LOG=$LOGS/fake-deposits.txt
: > "$CONFORMANCE_LOG"
: > "$FAKE_DEPOSITS_LOG"
cargo test --locked --workspace --no-fail-fast || exit 1
bash scripts/conformance-table.sh "$CONFORMANCE_LOG" || exit 1
bash scripts/fake-deposits-table.sh "$FAKE_DEPOSITS_LOG"
