//! Money that is none, and money that looks odd, on real nodes or what stands for one. The catalogue is in
//! `fake_deposits/table.rs`: a row per case, with what is sent and why it is refused or credited; each test
//! shows that the case happened as its row says, and what became of it. A file or two per family of
//! chains; Litecoin's MWEB has its rows held in `litecoind/mweb.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

#[path = "support/anvil/mod.rs"]
mod anvil;
mod conformance;
#[path = "fake_deposits/evm.rs"]
mod evm;
#[path = "fake_deposits/evm_coins.rs"]
mod evm_coins;
#[path = "fake_deposits/evm_tokens.rs"]
mod evm_tokens;
#[path = "evm/world.rs"]
mod evm_world;
#[path = "utxo/keys.rs"]
mod keys;
mod support;
#[path = "fake_deposits/table.rs"]
mod table;
#[path = "support/tcp_proxy.rs"]
mod tcp_proxy;
#[path = "fake_deposits/tron.rs"]
mod tron;
#[path = "support/tron_node/mod.rs"]
mod tron_node;
#[path = "tron/world.rs"]
mod tron_world;
#[path = "fake_deposits/utxo.rs"]
mod utxo;
#[path = "support/utxo_node/mod.rs"]
mod utxo_node;
#[path = "fake_deposits/utxo_outputs.rs"]
mod utxo_outputs;
#[path = "utxo/world.rs"]
mod world;

use std::collections::HashSet;

use table::{CATALOGUE, Verdict};

/// Traps that no payer sets: our own transactions are no deposits.
const NOT_OF_PAYERS: [&str; 1] = ["E-08"];

/// Asks for every row of the run, too.
#[test]
fn the_catalogue_has_every_trap_and_a_reason_for_each_row() {
    for (place, row) in CATALOGUE.iter().enumerate() {
        row.wanted(place);
    }
    let keys: HashSet<_> = CATALOGUE.iter().map(|row| row.key).collect();
    assert_eq!(keys.len(), CATALOGUE.len(), "a key is there twice");
    let traps = (1..=13).map(|n| format!("E-{n:02}")).chain((1..=10).map(|n| format!("U-{n:02}")));
    for trap in traps.filter(|trap| !NOT_OF_PAYERS.contains(&trap.as_str())) {
        assert!(CATALOGUE.iter().any(|row| row.id == trap), "no row of {trap}");
    }
    let mut reasons = HashSet::new();
    for row in CATALOGUE.iter().filter(|row| row.verdict == Verdict::Refused) {
        let reason = (format!("{:?}", row.family), row.why);
        assert!(reasons.insert(reason), "{}: its reason is another row's", row.key);
    }
}
