//! Fake and odd deposits of tokens on an EVM chain: tokens that lie, transfers that fail, other contracts,
//! events and chains than the pinned one's. On chain 56. Not here: coins (`evm_coins`).

use std::sync::Arc;

use alloy::primitives::{U256, address};
use cryptopayment::chain::{ForkFate, SandboxControl as _};
use cryptopayment::domain::asset::Network;
use cryptopayment_proto::admin::v1::UnexpectedDepositState as State;
use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::{InvoiceException as Exception, InvoiceStatus as Status};
use serde_json::json;

use crate::anvil::Anvil;
use crate::anvil::abi::{Argument, account, call_data, move_each, transfer_data};
use crate::conformance::world::{asked, share};
use crate::evm::{Cases, Fact, Log, TRANSFER, receipt, say};
use crate::evm_world::NodeWorld;
use crate::support::server::{Engine, TestServer, eventually};
use crate::support::unexpected::Desk;
use crate::table::row;

const COIN: u128 = 1_000_000_000_000_000_000;
const TRANSFER_GAS: u64 = 100_000;
/// Who gets the fee of `FeeOnTransfer`.
const COLLECTOR: alloy::primitives::Address =
    address!("0x0000000000000000000000000000000000000FEE");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_on_chain_56() {
    let mut cases = Cases::on(NodeWorld::start(Network::Bep20, Engine::Sqlite).await);
    transfers_that_are_none(&mut cases).await;
    other_contracts(&mut cases).await;
    other_events(&mut cases).await;
    moved_by_a_fork(&mut cases).await;
    cases.judge().await;
}

async fn transfers_that_are_none(cases: &mut Cases) {
    let node = Arc::clone(&cases.node);
    let token = node.token;

    let (invoice, ours, units) = cases.fresh().await;
    let payer = node.turn();
    node.keep_tokens(payer, units - 1).await;
    let data = transfer_data(ours, U256::from(units));
    let txid = node.invoke_from(payer, token, 0, data, TRANSFER_GAS).await;
    cases.refused("too_much", invoice, [Fact::Reverted(txid)]);

    let (invoice, ours, units) = cases.fresh().await;
    let data = transfer_data(ours, U256::from(units));
    let txid = node.invoke_from(node.turn(), token, 0, data, 30_000).await;
    cases.refused("out_of_gas", invoice, [Fact::OutOfGas(txid)]);

    let (invoice, ours, units) = cases.fresh().await;
    let txid = node.invoke(ours, 0, transfer_data(ours, U256::from(units))).await;
    cases.refused("call_to_us", invoice, [Fact::Logged(txid, vec![])]);

    let (invoice, ours, _) = cases.fresh().await;
    let txid = node.invoke(ours, COIN, Vec::new()).await;
    node.mine(1).await.unwrap();
    let desk = Desk::of(&cases.world.server).await;
    assert_eq!(desk.wait(&txid, State::Seen).await.coin, "BNB");
    cases.refused("coin_for_token", invoice, [Fact::Logged(txid, vec![]), Fact::Has(ours, COIN)]);
}

async fn other_contracts(cases: &mut Cases) {
    let node = Arc::clone(&cases.node);
    let (token, maker, payer) = (node.token, node.payer(0), node.payer(1));
    let clone = node.create("SaysAnything").await;
    let other = node.create("Token").await;
    let taking = node.create("FeeOnTransfer").await;

    let (invoice, ours, units) = cases.fresh().await;
    let units = U256::from(units);
    let txid = node.invoke(clone, 0, say("say", payer, ours, units)).await;
    let log = Log::transfer(clone, payer, ours, units);
    cases.refused("same_name", invoice, [Fact::Logged(txid, vec![log])]);

    let (invoice, ours, units) = cases.fresh().await;
    for of in [other, token] {
        node.approve(0, of).await;
    }
    let third = units / 3;
    let tokens = [other, token, token];
    let values = [units, third, units - third].map(U256::from);
    let words = tokens.map(account).to_vec();
    let data = move_each(words, vec![account(ours); 3], values.to_vec());
    let txid = node.invoke_from(0, node.crowd, 0, data, 1_000_000).await;
    let logs = tokens.iter().zip(values);
    let logs = logs.map(|(token, units)| Log::transfer(*token, maker, ours, units)).collect();
    cases.credited("foreign_beside_true", invoice, units, [Fact::Logged(txid, logs)]);

    let (invoice, ours, units) = cases.fresh().await;
    let units = U256::from(units);
    let txid = node.invoke_from(0, other, 0, transfer_data(ours, units), TRANSFER_GAS).await;
    let log = Log::transfer(other, maker, ours, units);
    cases.refused("another_token", invoice, [Fact::Logged(txid, vec![log])]);

    let (invoice, ours, units) = cases.fresh().await;
    let data = transfer_data(ours, U256::from(units));
    let txid = node.invoke_from(0, taking, 0, data, TRANSFER_GAS).await;
    let parts = [(COLLECTOR, units / 10), (ours, units - units / 10)];
    let logs = parts.map(|(to, units)| Log::transfer(taking, maker, to, U256::from(units)));
    cases.refused("foreign_keeps_a_fee", invoice, [Fact::Logged(txid, logs.into())]);
}

async fn other_events(cases: &mut Cases) {
    let node = Arc::clone(&cases.node);
    let token = node.token;

    let (invoice, ours, units) = cases.fresh().await;
    let (payer, units) = (node.turn(), U256::from(units));
    let arguments = [account(ours), units].map(Argument::Word);
    let data = call_data("approve(address,uint256)", &arguments);
    let txid = node.invoke_from(payer, token, 0, data, TRANSFER_GAS).await;
    let topics = [account(node.payer(payer)), account(ours)];
    let log = Log::new(token, "Approval(address,address,uint256)", &topics, &[units]);
    cases.refused("approval", invoice, [Fact::Logged(txid, vec![log])]);

    let (invoice, ours, _) = cases.fresh().await;
    let victim = node.payer(1);
    let txid = node.invoke(token, 0, say("transferFrom", victim, ours, U256::ZERO)).await;
    let log = Log::transfer(token, victim, ours, U256::ZERO);
    cases.refused("poisoning", invoice, [Fact::Logged(txid, vec![log])]);
}

async fn moved_by_a_fork(cases: &mut Cases) {
    let node = Arc::clone(&cases.node);
    let (invoice, ours, units) = cases.fresh().await;
    let halves = [units / 2, units - units / 2];
    let outputs = halves.map(|units| (invoice.address.clone(), units));
    let txid = node.pay(&outputs).await.unwrap();
    node.mine(1).await.unwrap();
    cases.world.wait_seen(&invoice, &txid).await;
    let before = receipt(&node, &txid).await;
    node.fork(1, &[(txid.clone(), ForkFate::Unconfirm)]).await.unwrap();
    let gone = receipt(&node, &txid).await;
    assert_ne!(gone["blockHash"], before["blockHash"], "the fork moved it");
    let from = before["from"].as_str().unwrap().parse().unwrap();
    let logs = halves.map(|units| Log::transfer(node.token, from, ours, U256::from(units)));
    cases.credited("logs_moved_by_fork", invoice, units, [Fact::Logged(txid, logs.into())]);
}

/// The pinned contract itself says what it likes: not a case of the real one, which makes every bound
/// of the reader visible. By the same means it says what is true, and is believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_that_a_contract_makes_up() {
    let start = NodeWorld::start_with_token("SaysAnything", Engine::Sqlite).await;
    let mut cases = Cases::on(start);
    let node = Arc::clone(&cases.node);
    let (token, payer) = (node.token, node.payer(1));

    let (invoice, ours, units) = cases.fresh().await;
    let txid = node.invoke(token, 0, say("say", payer, ours, U256::from(units))).await;
    let log = Log::transfer(token, payer, ours, U256::from(units));
    cases.credited("pinned_says_so", invoice, units, [Fact::Logged(txid, vec![log])]);

    let (invoice, ours, units) = cases.fresh().await;
    let units = U256::from(units);
    let txid = node.invoke(token, 0, say("say", ours, ours, units)).await;
    let log = Log::transfer(token, ours, ours, units);
    cases.refused("to_itself", invoice, [Fact::Logged(txid, vec![log])]);

    let (invoice, ours, units) = cases.fresh().await;
    let words = [account(payer), account(ours), U256::from(units)];
    let txid = node.invoke(token, 0, say("sayPlainly", payer, ours, words[2])).await;
    let log = Log::new(token, TRANSFER, &[], &words);
    cases.refused("nothing_indexed", invoice, [Fact::Logged(txid, vec![log])]);

    let (invoice, ours, units) = cases.fresh().await;
    let words = [account(payer), account(ours), U256::from(units)];
    let txid = node.invoke(token, 0, say("sayIndexed", payer, ours, words[2])).await;
    let log = Log::new(token, TRANSFER, &words, &[]);
    cases.refused("amount_indexed", invoice, [Fact::Logged(txid, vec![log])]);

    let one_more = U256::from(u128::MAX) + U256::ONE;
    for (key, value) in [("max_256", U256::MAX), ("one_more_than_128", one_more)] {
        let (invoice, ours, _) = cases.fresh().await;
        let txid = node.invoke(token, 0, say("say", payer, ours, value)).await;
        let log = Log::transfer(token, payer, ours, value);
        cases.refused(key, invoice, [Fact::Logged(txid, vec![log])]);
    }
    cases.judge().await;
}

/// A server of both chains; on chain 1 the same account made the same contract at the same address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_token_and_address_on_the_wrong_chain() {
    let wrong = Anvil::start(Network::Eth).await;
    let right = Arc::new(Anvil::start(Network::Bep20).await);
    assert_eq!(wrong.token, right.token, "one address on both chains");
    let (port, more) = (right.port(), format!("\n{}", wrong.table(wrong.port())));
    let start = NodeWorld::on(Network::Bep20, Engine::Sqlite, right, port, &more, None).await;
    let mut cases = Cases::on(start);

    let (tokens, ours, units) = cases.fresh().await;
    let data = transfer_data(ours, U256::from(units));
    let txid = wrong.invoke_from(0, wrong.token, 0, data, TRANSFER_GAS).await;
    let log = Log::transfer(cases.node.token, wrong.payer(0), ours, U256::from(units));
    let logged = Fact::Logged(txid, vec![log]);
    let (coins, also_ours, _) = cases.fresh().await;
    let txid = wrong.pay(&[share(&coins, 1, 1)]).await.unwrap();
    let paid = Fact::Logged(txid.clone(), vec![]);

    // What is asked on chain 1 and paid there shows that all before it was read.
    let client = &cases.world.client;
    let created = client.create_invoice(CreateInvoice::new(Network::Eth.as_str(), "50")).await;
    let there = created.unwrap().invoice.unwrap();
    assert!(![ours, also_ours].contains(&there.address.parse().unwrap()));
    wrong.mine(1).await.unwrap();
    wrong.pay(&[share(&there, 1, 1)]).await.unwrap();
    wrong.mine(there.confirmations.unwrap().required).await.unwrap();
    cases.world.wait(&there, Status::Confirmed, Exception::None).await;
    let desk = Desk::of(&cases.world.server).await;
    let unexpected = desk.wait(&txid, State::Seen).await;
    assert_eq!((unexpected.coin.as_str(), unexpected.invoice_id), ("ETH", Some(coins.id.clone())));
    assert_eq!(
        desk.all().await.len(),
        1,
        "of a contract that nobody pinned on chain 1 nothing is told"
    );
    logged.check(&wrong, "wrong_chain_token").await;
    paid.check(&wrong, "wrong_chain_coin").await;
    Fact::Has(also_ours, asked(&coins)).check(&wrong, "wrong_chain_coin").await;
    eventually("only what was asked on chain 1", || async {
        let balances = client.balances().await.unwrap();
        let coin = Network::Eth.asset().as_str();
        let eth = balances.into_iter().find(|balance| balance.coin == coin).unwrap();
        (eth.available_units == there.amount_units).then_some(())
    })
    .await;
    cases.refused("wrong_chain_token", tokens, []);
    cases.refused("wrong_chain_coin", coins, []);
    cases.judge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_keeps_a_fee() {
    let start = NodeWorld::start_with_token("FeeOnTransfer", Engine::Sqlite).await;
    let NodeWorld { world, node, .. } = start;
    let invoice = world.invoice().await;
    let units = asked(&invoice);
    world.pay(&invoice, 1, 1).await;
    world.mine_deep(&invoice).await;
    let arrived = units - units / 10;
    let after = world.wait_until(&invoice, "what arrived", |now| {
        now.paid_units == arrived.to_string() && now.exception() == Exception::Underpaid
    });
    // While it waited, its call alone was known; in the block its second log is the payment.
    let ordinals: Vec<_> =
        after.await.payments.into_iter().map(|payment| payment.ordinal).collect();
    assert!(ordinals.contains(&"l:1".to_owned()), "{ordinals:?}");
    world.wait_available(arrived).await;
    drop(node);
    world.finish().await;
    row("keeps_a_fee").held();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_says_no_and_one_that_counts_otherwise() {
    let start = NodeWorld::start_with_token("ReturnsFalse", Engine::Sqlite).await;
    let NodeWorld { world, node, .. } = start;
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.mine_deep(&invoice).await;
    let receipt = receipt(&node, &txid).await;
    assert_eq!((&receipt["status"], &receipt["logs"]), (&json!("0x1"), &json!([])));
    world.expire().await;
    let after = world.wait(&invoice, Status::Expired, Exception::None).await;
    assert_eq!((after.paid_units.as_str(), after.payments.len()), ("0", 0));
    world.wait_available(0).await;
    world.finish().await;
    row("false_top_up").held();

    let node = Anvil::start_with(Network::Bep20, "SixDecimals").await;
    let mut server = TestServer::start(Engine::Sqlite).await;
    server.stop().await;
    let error = server.refuses_to_run_with(&node.table(node.port())).await;
    assert!(error.contains("18 decimals"), "{error}");
    row("six_decimals").held();
}
