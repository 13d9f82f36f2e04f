#!/usr/bin/env bash
# The Rust dependencies: licences, banned crates, sources, and known advisories where the database
# can be reached. Needs: CARGO_DENY.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ADVISORY_SECONDS_MAX=60

cargo fetch --locked --quiet
"$CARGO_DENY" --offline --all-features --log-level warn check licenses bans sources

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if timeout "$ADVISORY_SECONDS_MAX" "$CARGO_DENY" fetch db > "$scratch/fetch" 2>&1; then
    "$CARGO_DENY" --offline --log-level warn check --disable-fetch advisories
else
    echo "note: advisories not checked: their database cannot be reached"
fi
