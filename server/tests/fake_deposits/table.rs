//! The catalogue of fake and odd deposits: a row per case, and what must become of it. A test names its row
//! by key; a case that held leaves a line in a file, and `scripts/fake-deposits-table.sh` prints the rows and
//! fails for one that no test of the run held. Not here: how a case is played.

use std::fs::OpenOptions;
use std::io::Write as _;

use Family::{Evm, Tron, Utxo};

/// Names the file; without it the lines are only printed.
const VARIABLE: &str = "FAKE_DEPOSITS_LOG";

/// Which chains a case is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Utxo,
    Evm,
    Tron,
}

/// What must become of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not money of ours: nothing is recorded as a payment.
    Refused,
    /// Seen, and worth nothing before it is in a block that stays.
    Held,
    /// Money like any other, credited as often as it was paid.
    Credited,
    /// Was credited, and is taken back.
    TakenBack,
}

/// One case: the trap's number, what is sent, what must become of it, and why.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub key: &'static str,
    pub family: Family,
    pub id: &'static str,
    pub verdict: Verdict,
    pub case: &'static str,
    pub why: &'static str,
}

const fn row_of(
    verdict: Verdict,
    family: Family,
    id: &'static str,
    text: [&'static str; 3],
) -> Row {
    let [key, case, why] = text;
    Row { key, family, id, verdict, case, why }
}

const fn no(family: Family, id: &'static str, text: [&'static str; 3]) -> Row {
    row_of(Verdict::Refused, family, id, text)
}

const fn yes(family: Family, id: &'static str, text: [&'static str; 3]) -> Row {
    row_of(Verdict::Credited, family, id, text)
}

const fn wait(family: Family, id: &'static str, text: [&'static str; 3]) -> Row {
    row_of(Verdict::Held, family, id, text)
}

const fn back(family: Family, id: &'static str, text: [&'static str; 3]) -> Row {
    row_of(Verdict::TakenBack, family, id, text)
}

/// `verdict(family, trap, [key, what is sent, why])`, by family and trap.
#[rustfmt::skip]
pub const CATALOGUE: &[Row] = &[
    wait(Utxo, "U-01", ["in_mempool", "waits in the mempool", "worth nothing before it is in blocks"]),
    no(Utxo, "U-01", ["replaced_unsignalled", "replaced without having signalled it", "replaced: full RBF asks nobody"]),
    no(Utxo, "U-01", ["double_spent_unseen", "double spent in a block, unseen before", "its input was consumed in a block"]),
    wait(Utxo, "U-01", ["child_of_replaced", "spends a payment that was replaced", "never in a block, so never credited"]),
    yes(Utxo, "U-02", ["replaced_by_same", "replaced by the same payment, both seen", "once: of what conflicts one counts"]),
    yes(Utxo, "U-02", ["mined_in_other_version", "mined in another version than was seen", "once: the version in the block counts"]),
    yes(Utxo, "U-03", ["malleated", "malleated between mempool and block", "once, under the id that is in the block"]),
    yes(Utxo, "U-04", ["two_outputs", "two outputs to one address", "each output is a payment of its own"]),
    yes(Utxo, "U-04", ["beside_strangers", "beside outputs to strangers", "the others are nobody's here"]),
    no(Utxo, "U-04", ["zero_output", "an output of zero to our address", "zero is no payment"]),
    no(Utxo, "U-04", ["op_return", "OP_RETURN that holds our script, and coins", "unspendable"]),
    no(Utxo, "U-05", ["bare_multisig", "bare 1-of-2 multisig with our key", "a script of two keys: whose they are is not asked"]),
    no(Utxo, "U-05", ["p2pk", "pay to our public key (P2PK)", "the key itself, where ours has its hash"]),
    no(Utxo, "U-05", ["p2pkh", "pay to our key's hash in the old form (P2PKH)", "the same hash, and no witness program"]),
    no(Utxo, "U-05", ["p2sh", "our script wrapped (P2SH)", "the hash of our script is another script"]),
    no(Utxo, "U-05", ["p2wsh", "our key as a script (P2WSH)", "a program of 32 bytes, where ours has 20"]),
    no(Utxo, "U-05", ["p2tr", "our key as Taproot's output key (P2TR)", "witness version 1, and a key as its program"]),
    no(Utxo, "U-05", ["witness_version_1", "our program under witness version 1", "our program, and not our version"]),
    no(Utxo, "U-05", ["byte_behind", "our script with a byte behind it", "23 bytes: the beginning alone is ours"]),
    no(Utxo, "U-05", ["longer_push", "our script with a longer form of its push", "the same data, pushed by other bytes"]),
    no(Utxo, "U-06", ["coinbase", "a coinbase that pays our address", "a payer is no miner: not spendable for 100 blocks"]),
    no(Utxo, "U-06", ["peg_out_waiting", "ltc: out of MWEB, in the mempool", "no output of the main chain pays us yet"]),
    yes(Utxo, "U-06", ["peg_out_in_block", "ltc: out of MWEB, in its block", "an output of the HogEx, once, after six blocks"]),
    yes(Utxo, "U-06", ["peg_out_moved", "ltc: out of MWEB, its block lost to a fork", "once: a HogEx that lost its block is nothing"]),
    back(Utxo, "U-07", ["deep_double_spend", "double spent by a fork of 13 blocks, after its credit", "credited payments are watched on"]),
    yes(Utxo, "U-07", ["moved_by_deep_fork", "moved by that fork", "once, in its new block"]),
    yes(Utxo, "U-08", ["dust", "dust", "counts as the part that it is"]),
    yes(Utxo, "U-08", ["one_unit", "one base unit", "counts as the part that it is"]),
    wait(Utxo, "U-09", ["pruned", "in a block that a pruned node forgot", "reading waits for the block, and nobody is late"]),
    yes(Utxo, "U-09", ["pruned_comes_back", "in a block that comes back", "once the node has it again"]),
    yes(Utxo, "U-10", ["capitals", "our address in capitals, as QR codes have it", "the script is what counts"]),
    yes(Utxo, "U-10", ["two_texts", "ltc: a script's address as 3... and as M...", "one script, two texts"]),
    no(Utxo, "U-10", ["mweb_address", "ltc: an address inside MWEB", "no output on the main chain"]),
    no(Utxo, "U-10", ["mixed_case", "an address of mixed case", "BIP 173 has no such text"]),

    no(Evm, "E-01", ["too_much", "a transfer of more than the payer has", "status 0: it was reverted"]),
    no(Evm, "E-01", ["out_of_gas", "a transfer that runs out of gas", "status 0: its gas is used up"]),
    no(Evm, "E-01", ["call_to_us", "the call of a transfer, sent to our address", "status 1 and no log: no contract was called"]),
    no(Evm, "E-01", ["false_top_up", "a token whose transfer says no (the false top-up)", "status 1 and no log: the contract moved nothing"]),
    no(Evm, "E-02", ["same_name", "a token of the same name and symbol", "the log is another contract's, whatever its name"]),
    no(Evm, "E-02", ["nothing_indexed", "the event with nothing indexed", "another form: one topic"]),
    no(Evm, "E-02", ["amount_indexed", "the event with its amount indexed (ERC-721)", "another form: four topics"]),
    yes(Evm, "E-02", ["pinned_says_so", "the pinned contract's own event, by the same means", "its log is what counts"]),
    yes(Evm, "E-03", ["foreign_beside_true", "one foreign and two true transfers in a transaction", "each log counts for itself"]),
    no(Evm, "E-05", ["approval", "an approval", "another event"]),
    no(Evm, "E-05", ["poisoning", "nothing, moved by a stranger (poisoning)", "a log of zero"]),
    no(Evm, "E-05", ["to_itself", "a transfer from our address to itself", "nobody paid"]),
    no(Evm, "E-05", ["zero_coins", "a transaction of zero", "a value of zero"]),
    yes(Evm, "E-05", ["coins_with_data", "coins that come with data", "coins like any other"]),
    no(Evm, "E-06", ["pays_and_fails", "a transaction that pays us and fails", "status 0: nothing was moved"]),
    no(Evm, "E-06", ["taken_back", "paid in a call that fails, in a transaction that does not", "status 1, but a call around it failed"]),
    no(Evm, "E-06", ["delegatecall", "a DELEGATECALL that repeats its caller's value", "such a call moves nothing"]),
    yes(Evm, "E-06", ["splitter", "one of two shares of a splitter; the other failed", "its own call and all around it succeeded"]),
    no(Evm, "E-07", ["destroyed", "the coins of a contract that is destroyed", "no call carries them: for the reconciliation"]),
    no(Evm, "E-07", ["grew_by_itself", "a balance that grew without a transaction", "no transaction carries it: for the reconciliation"]),
    yes(Evm, "E-09", ["logs_moved_by_fork", "two logs of a transaction that a fork moves", "the place of a log in its own receipt stays"]),
    yes(Evm, "E-09", ["two_calls", "two payments of one transaction to one address", "each call has a path of its own"]),
    yes(Evm, "E-09", ["and_another", "and one to another", "each call has a path of its own"]),
    no(Evm, "E-10", ["six_decimals", "a token of six decimals where eighteen are pinned", "the server does not start"]),
    yes(Evm, "E-11", ["keeps_a_fee", "a token that keeps a tenth of each transfer", "what the log says arrived"]),
    no(Evm, "E-11", ["foreign_keeps_a_fee", "a foreign token that keeps a tenth of each transfer", "both its logs are another contract's"]),
    no(Evm, "E-12", ["max_256", "2^256 - 1 base units", "no asset has so much"]),
    no(Evm, "E-12", ["one_more_than_128", "2^128 base units, one more than is counted with", "the first amount that is too much"]),
    no(Evm, "E-13", ["coin_for_token", "the chain's own coin (BNB) instead of the token", "another coin: an unexpected deposit"]),
    no(Evm, "E-13", ["another_token", "another token that behaves", "an honest log of another contract"]),
    no(Evm, "E-13", ["token_for_coin", "a token, be it USDT, at an address for ETH", "a token, where coins are asked"]),
    no(Evm, "E-13", ["made_up_for_coin", "a made-up log at an address for ETH", "logs are no coins"]),
    no(Evm, "E-13", ["wrong_chain_token", "the token's contract and our address, on chain 1", "no block of chain 56 has the log"]),
    no(Evm, "E-13", ["wrong_chain_coin", "ETH on chain 1 at an address for BEP-20", "another network: an unexpected deposit"]),

    no(Tron, "E-01", ["tron_false_top_up", "transfer() returns false, the receipt says SUCCESS", "no log: it moved nothing"]),
    no(Tron, "E-01", ["tron_reverts", "a payment that reverts, in a block", "the receipt says REVERT"]),
    no(Tron, "E-02", ["tron_same_name", "a token of the same name emits Transfer", "the log is another contract's"]),
    yes(Tron, "E-03", ["tron_fake_beside_real", "one transaction with a fake and two real logs", "log by log"]),
    yes(Tron, "E-04", ["tron_no_return", "transfer() returns nothing, as Tether's does", "its log counts"]),
    no(Tron, "E-04", ["tron_out_of_energy", "a payment without energy, in a block", "the receipt says OUT_OF_ENERGY"]),
    no(Tron, "E-04", ["tron_logs_of_failed", "logs of a call that failed", "a failed call logs nothing"]),
    wait(Tron, "E-04", ["tron_waits", "a waiting call that gettransactionbyid says SUCCESS of", "in no block"]),
    wait(Tron, "E-04", ["tron_no_receipts", "no receipts for a block with transactions", "not yet"]),
    wait(Tron, "E-04", ["tron_empty_receipts", "`{}` for receipts", "means not there, never failed"]),
    wait(Tron, "E-04", ["tron_error_with_200", "HTTP 200 with an error", "is an error"]),
    wait(Tron, "E-04", ["tron_told_and_denied", "success told and denied at once", "is told properly later"]),
    wait(Tron, "E-04", ["tron_failed_above_success", "FAILED above a receipt of SUCCESS", "is told properly later"]),
    no(Tron, "E-05", ["tron_approval", "Approval to our address", "another event"]),
    no(Tron, "E-05", ["tron_poisoning", "transferFrom of nothing by a stranger", "nothing was moved"]),
    no(Tron, "E-05", ["tron_to_itself", "a transfer of our address to itself", "nobody paid"]),
    no(Tron, "E-06", ["tron_trx", "TRX instead of the token", "coins, where a token is asked"]),
    no(Tron, "E-07", ["tron_grew_by_itself", "units that appear without a transaction", "no log says who paid"]),
    yes(Tron, "E-09", ["tron_moved_by_fork", "the same payment in another block after a fork", "once"]),
    yes(Tron, "E-09", ["tron_two_of_three", "one call pays two invoices, one of them twice", "each log once"]),
    back(Tron, "E-09", ["tron_fails_in_fork", "a payment that fails in the other branch", "the payer had spent it"]),
    no(Tron, "E-10", ["tron_decimals", "the contract says 18 decimals", "the server does not start"]),
    yes(Tron, "E-11", ["tron_takes_a_fee", "a token that takes a tenth of each transfer", "what arrived counts"]),
    no(Tron, "E-12", ["tron_max_256", "a log of 2^256 - 1 units", "no asset has so much"]),
    no(Tron, "E-12", ["tron_2_128_and_asked", "a log of 2^128 and what is asked", "more than 128 bits are not cut off"]),
    no(Tron, "E-12", ["tron_two_words", "an amount of two words, and of none", "an amount is one word"]),
    no(Tron, "E-12", ["tron_long_address", "an address of more than 20 bytes", "no such address"]),
    no(Tron, "E-13", ["tron_another_token", "another token that behaves", "an honest log of another contract"]),
    no(Tron, "E-13", ["tron_two_topics", "an event of the token with fewer topics", "a transfer has three topics"]),
    wait(Tron, "N-08", ["tron_no_resources", "lack of computing resources, as HTTP 200", "asked again later"]),
];

/// The row of a key.
pub fn row(key: &str) -> &'static Row {
    let found = CATALOGUE.iter().find(|row| row.key == key);
    found.unwrap_or_else(|| panic!("the catalogue has no row {key}"))
}

impl Row {
    /// Notes that the case held.
    pub fn held(&self) {
        println!("{}", self.line());
        note(&format!("held\t{}\n", self.key));
    }

    /// Notes that the row must be held by the run, in its place of the table.
    pub fn wanted(&self, place: usize) {
        note(&format!("row\t{place:03}\t{}\t{}\n", self.key, self.line()));
    }

    fn line(&self) -> String {
        let Self { family, id, verdict, case, why, .. } = self;
        let family = format!("{family:?}").to_lowercase();
        let verdict = match verdict {
            Verdict::Refused => "refused",
            Verdict::Held => "held",
            Verdict::Credited => "credited",
            Verdict::TakenBack => "taken back",
        };
        format!("{family:<4}  {id}  {case:<57}  {verdict:<10}  {why}")
    }
}

/// One write of one short line: lines of other threads and binaries stay whole.
fn note(line: &str) {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
