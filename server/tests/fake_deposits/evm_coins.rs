//! Fake and odd deposits of an EVM chain's own coin: transactions that fail, value that is taken back,
//! repeated or moved inside calls, and balances that grow without any. On chain 1. Not here: tokens.

use std::sync::Arc;

use alloy::primitives::{Address, U256, hex};
use cryptopayment::chain::SandboxControl as _;
use cryptopayment::domain::asset::Network;
use serde_json::{Value, json};

use crate::anvil::abi::transfer_data;
use crate::evm::{Call, Cases, Fact, Log, say, to_one};
use crate::evm_world::NodeWorld;
use crate::support::server::Engine;

/// A call that carries coins, and whether it or one around it failed.
fn called(txid: &str, kind: &'static str, to: Address, value: u128, undone: bool) -> Fact {
    Fact::Called(txid.to_owned(), Call { kind, to, value: U256::from(value), undone })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coins_on_chain_1() {
    let mut cases = Cases::on(NodeWorld::start(Network::Eth, Engine::Sqlite).await);
    inside_calls(&mut cases).await;
    plainly(&mut cases).await;
    without_a_call(&mut cases).await;
    tokens_for_coins(&mut cases).await;
    cases.judge().await;
}

async fn inside_calls(cases: &mut Cases) {
    let node = Arc::clone(&cases.node);
    let crowd = node.crowd;

    let (invoice, ours, units) = cases.fresh().await;
    let txid = node.invoke(crowd, units, to_one("payAndFail", ours)).await;
    let paid = called(&txid, "CALL", ours, units, true);
    cases.refused("pays_and_fails", invoice, [Fact::Reverted(txid), paid]);

    let (invoice, ours, units) = cases.fresh().await;
    let txid = node.invoke(crowd, units, to_one("payAndTakeBack", ours)).await;
    let paid = called(&txid, "CALL", ours, units, true);
    let nothing = Fact::Has(ours, 0);
    cases.refused("taken_back", invoice, [Fact::Logged(txid, vec![]), paid, nothing]);

    let (invoice, ours, units) = cases.fresh().await;
    let txid = node.invoke(crowd, units, to_one("payByDelegate", ours)).await;
    let repeated = called(&txid, "DELEGATECALL", ours, units, false);
    let nothing = Fact::Has(ours, 0);
    cases.refused("delegatecall", invoice, [Fact::Logged(txid, vec![]), repeated, nothing]);

    let (invoice, ours, units) = cases.fresh().await;
    // The token's contract takes no coins: its share is left out.
    let to = [(invoice.address.clone(), units), (node.token.to_string(), units)];
    let txid = node.pay(&to).await.unwrap();
    let share = called(&txid, "CALL", ours, units, false);
    let failed = called(&txid, "CALL", node.token, units, true);
    cases.credited("splitter", invoice, units, [Fact::Logged(txid, vec![]), share, failed]);

    let (invoice, ours, units) = cases.fresh().await;
    let half = (invoice.address.clone(), units / 2);
    let (other, also_ours, asked) = cases.fresh().await;
    let outputs = [half.clone(), (other.address.clone(), asked), (half.0, units - units / 2)];
    let txid = node.pay(&outputs).await.unwrap();
    let halves =
        [units / 2, units - units / 2].map(|units| called(&txid, "CALL", ours, units, false));
    cases.credited("two_calls", invoice, units, halves);
    let whole = called(&txid, "CALL", also_ours, asked, false);
    cases.credited("and_another", other, asked, [whole]);
}

async fn plainly(cases: &mut Cases) {
    let node = Arc::clone(&cases.node);

    let (invoice, ours, _) = cases.fresh().await;
    let txid = node.invoke(ours, 0, Vec::new()).await;
    let call = called(&txid, "CALL", ours, 0, false);
    cases.refused("zero_coins", invoice, [Fact::Logged(txid, vec![]), call]);

    let (invoice, ours, units) = cases.fresh().await;
    let txid = node.invoke(ours, units, b"with words".to_vec()).await;
    let call = called(&txid, "CALL", ours, units, false);
    cases.credited("coins_with_data", invoice, units, [Fact::Logged(txid, vec![]), call]);
}

async fn without_a_call(cases: &mut Cases) {
    let node = Arc::clone(&cases.node);

    let (invoice, ours, units) = cases.fresh().await;
    let txid = node.invoke(node.crowd, units, to_one("destroyInto", ours)).await;
    let arrived = Fact::Has(ours, units);
    cases.refused("destroyed", invoice, [Fact::Logged(txid, vec![]), arrived]);

    let (invoice, ours, units) = cases.fresh().await;
    let balance = json!([hex::encode_prefixed(ours), format!("{units:#x}")]);
    node.call::<Value>("anvil_setBalance", balance).await.unwrap();
    cases.refused("grew_by_itself", invoice, [Fact::Has(ours, units)]);
}

async fn tokens_for_coins(cases: &mut Cases) {
    let node = Arc::clone(&cases.node);

    let (invoice, ours, units) = cases.fresh().await;
    let units = U256::from(units);
    let txid = node.invoke_from(0, node.token, 0, transfer_data(ours, units), 100_000).await;
    let log = Log::transfer(node.token, node.payer(0), ours, units);
    cases.refused("token_for_coin", invoice, [Fact::Logged(txid, vec![log])]);

    let (invoice, ours, units) = cases.fresh().await;
    let (payer, units) = (node.payer(1), U256::from(units));
    let contract = node.create("SaysAnything").await;
    let txid = node.invoke(contract, 0, say("say", payer, ours, units)).await;
    let log = Log::transfer(contract, payer, ours, units);
    cases.refused("made_up_for_coin", invoice, [Fact::Logged(txid, vec![log])]);
}
