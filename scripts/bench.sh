#!/usr/bin/env bash
# Measures CryptoPayment beside what limits it and prints a table: bench.sh [PART...], of creation,
# calls, transcoder, delivery, streams, scan, blocks. Starts a durable PostgreSQL of its own on loopback and stops
# it by its process id, however this ends. Not part of the tests: a busy machine makes figures, not failures.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# The longest that a run may take.
readonly BENCH_SECONDS_MAX=1800

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

install_programs > "$LOGS/bench-programs.log" 2>&1 || { cat "$LOGS/bench-programs.log"; exit 1; }
cargo bench --locked --package cryptopayment --bench bench --no-run || exit 1
start_postgres durable > "$LOGS/bench-postgres.log" 2>&1 || { cat "$LOGS/bench-postgres.log"; exit 1; }
timeout "$BENCH_SECONDS_MAX" cargo bench --locked --package cryptopayment --bench bench -- "$@"
