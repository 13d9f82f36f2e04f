#!/usr/bin/env bash
# Prints which conformance case held on which network, from the file that the tests leave
# (CONFORMANCE_LOG). Fails if a case is missing in a column that must have every case.
# Usage: conformance-table.sh FILE
set -euo pipefail

# BINARY MODULE [-CASE...]: where `every_case!` makes tests, and cases that the network cannot have
# (its tests say why). A new network gets its line here.
readonly COLUMNS_WITH_EVERY_CASE="
sqlite btc
sqlite ltc
sqlite eth
sqlite bep20
sqlite trc20
postgres btc
postgres ltc
postgres eth
postgres bep20
postgres trc20
litecoind on_postgres
tron simulator -replaced_before_a_block_goes_back -eviction_changes_nothing
litecoind restarted
bitcoind on_sqlite
bitcoind restarted
evm chain_1
evm chain_56
"

sort -u "$1" | awk -v wanted="$COLUMNS_WITH_EVERY_CASE" '
    BEGIN {
        count = split(wanted, lines, "\n")
        for (n = 1; n <= count; n++) {
            if (lines[n] == "") continue
            words = split(lines[n], word, " ")
            column = word[1] " " word[2]
            add(column, 1)
            for (w = 3; w <= words; w++) excused[column, substr(word[w], 2)] = 1
        }
    }
    function add(column, whole) {
        if (column in known) return
        known[column] = 1
        columns[++width] = column
        must[column] = whole
    }
    {
        column = $1 " " $2
        add(column, 0)
        if (!($3 in cases)) { cases[$3] = 1; names[++height] = $3 }
        if (length($3) > longest) longest = length($3)
        held[column, $3] = 1
    }
    END {
        if (height == 0) { print "no conformance case held"; exit 1 }
        for (line = 1; line <= 2; line++) {
            printf "%-" longest "s", line == 1 ? "conformance" : "case"
            for (n = 1; n <= width; n++) {
                split(columns[n], part, " ")
                printf "  %11s", part[line]
            }
            print ""
        }
        for (row = 1; row <= height; row++) {
            printf "%-" longest "s", names[row]
            for (n = 1; n <= width; n++) {
                ok = (columns[n], names[row]) in held
                absent = !ok && must[columns[n]] && !((columns[n], names[row]) in excused)
                if (absent) missing++
                printf "  %11s", ok ? "ok" : absent ? "MISSING" : "-"
            }
            print ""
        }
        if (missing) { print missing " cases are missing"; exit 1 }
    }'
