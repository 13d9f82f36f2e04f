#!/usr/bin/env bash
# Prints the catalogue of fake deposits from the file that the tests leave (FAKE_DEPOSITS_LOG). Fails
# if a row was held by no test of the run.
# Usage: fake-deposits-table.sh FILE
set -euo pipefail

# "held KEY" sorts before "row PLACE KEY LINE".
sort -u "$1" | awk -F '\t' '
    $1 == "held" { held[$2] = 1 }
    $1 == "row" {
        rows++
        missing += !($3 in held)
        print ($3 in held ? "ok       " : "NOT HELD ") $4
    }
    END {
        if (rows == 0) { print "no row of the catalogue was asked for"; exit 1 }
        if (missing) { print missing " rows of the catalogue were held by no test"; exit 1 }
    }'
