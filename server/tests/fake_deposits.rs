//! Money that is none, and money that looks odd: the catalogue of fake deposits, on real nodes or what
//! stands for one. Each case is refused or credited for a reason of its own. A file per family of
//! chains; `table` has the rows as they are printed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, dead_code, reason = "a test binary has no readers of its interface")]

#[path = "support/anvil/mod.rs"]
mod anvil;
mod conformance;
#[path = "fake_deposits/evm.rs"]
mod evm;
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
#[path = "support/utxo_node.rs"]
mod utxo_node;
#[path = "utxo/world.rs"]
mod world;
