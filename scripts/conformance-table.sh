#!/usr/bin/env bash
# Prints which conformance case held on which network, from the file that the tests leave
# (CONFORMANCE_LOG), and why the others are not played there. Fails if a case is missing in a column,
# if one is not played for no reason given here, or for one that is no longer true.
# Usage: conformance-table.sh FILE
set -euo pipefail

# BINARY MODULE: every place where tests of cases are made. A new network gets its line here.
readonly COLUMNS="
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
litecoind restarted
litecoind on_sqlite
bitcoind on_sqlite
bitcoind restarted
bitcoind on_postgres
evm chain_1
evm chain_56
evm restart_1
evm restart_56
evm untraced_1
evm sqlite_1
evm sqlite_56
tron simulator
tron restless
tron on_postgres
tron as_real
"

# BINARY MODULE CASE...: REASON: what a column does not play; `all-but` before the cases that it does.
readonly NOT_PLAYED="
tron simulator replaced_before_a_block_goes_back eviction_changes_nothing: TRON's reader gives no view of what waits, where alone both happen: a node's own is none of the network, and says SUCCESS of calls that will fail
tron restless replaced_before_a_block_goes_back eviction_changes_nothing: as on the simulator
tron as_real all-but late_payment_is_credited_and_stays_expired restart_in_between_loses_nothing payment_while_down_is_found: shows that a node that makes its blocks itself can be driven; the cases are the simulator's
evm untraced_1 one_transaction_pays_two_invoices_and_one_twice: on Ethereum only a contract's calls can, which this node does not tell: evm/untold.rs plays it, by balance
evm untraced_1 eviction_changes_nothing restart_in_between_loses_nothing more_than_asked_is_overpaid canceled_invoice_still_credits canceling_after_a_payment_is_refused: no call inside another is in it: as on chain_1
litecoind on_sqlite all-but exact_payment_confirms: that it works on the other database too; the cases are on_postgres
bitcoind on_postgres all-but exact_payment_confirms: that it works on the other database too; the cases are on_sqlite
evm sqlite_1 all-but exact_payment_confirms: that it works on the other database too; the cases are chain_1
evm sqlite_56 all-but exact_payment_confirms: that it works on the other database too; the cases are chain_56
tron on_postgres all-but exact_payment_confirms: that it works on the other database too; the cases are simulator
"

sort -u "$1" | awk -v wanted="$COLUMNS" -v not_played="$NOT_PLAYED" '
    BEGIN {
        count = split(wanted, lines, "\n")
        for (n = 1; n <= count; n++) {
            if (lines[n] == "") continue
            known[lines[n]] = 1
            columns[++width] = lines[n]
        }
        count = split(not_played, lines, "\n")
        for (n = 1; n <= count; n++) {
            if (lines[n] == "") continue
            colon = index(lines[n], ": ")
            words = split(substr(lines[n], 1, colon - 1), word, " ")
            column = word[1] " " word[2]
            reasons[++told] = lines[n]
            all_but[column] = word[3] == "all-but"
            for (w = 3 + all_but[column]; w <= words; w++) named[column, word[w]] = 1
        }
    }
    function excused(column, name) {
        return all_but[column] ? !((column, name) in named) : (column, name) in named
    }
    {
        column = $1 " " $2
        if (!(column in known)) {
            known[column] = 1
            columns[++width] = column
            print column ": a column that scripts/conformance-table.sh does not know"
            wrong++
        }
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
                no = excused(columns[n], names[row])
                wrong += ok == no
                printf "  %11s", ok ? (no ? "UNEXPECTED" : "ok") : no ? "-" : "MISSING"
            }
            print ""
        }
        for (pair in named) {
            split(pair, part, SUBSEP)
            if (part[2] in cases) continue
            print part[1] " " part[2] ": no such case"
            wrong++
        }
        print "not played:"
        for (n = 1; n <= told; n++) {
            colon = index(reasons[n], ": ")
            split(reasons[n], word, " ")
            cases_of = substr(reasons[n], length(word[1] word[2]) + 3, colon - length(word[1] word[2]) - 3)
            print "  " word[1] " " word[2] ": " cases_of
            print "      " substr(reasons[n], colon + 2)
        }
        if (wrong) { print wrong " things are wrong in this table"; exit 1 }
    }'
