//! Fake and odd deposits on a real EVM node: tokens that lie, transactions that fail, value that is
//! taken back or moved inside calls. E-01 to E-13 of the catalogue, but for what concerns TRON (E-04)
//! and our own transactions (E-08, with the first sweep).

use alloy::primitives::{Address, U256, hex};
use cryptopayment::chain::{ForkFate, SandboxControl as _};
use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};
use serde_json::{Value, json};

use crate::anvil::Anvil;
use crate::anvil::abi::{Argument, account, call_data, move_each, transfer_data};
use crate::conformance::world::{World, asked};
use crate::evm_world::NodeWorld;
use crate::support::server::{Engine, TestServer};
use crate::table::{Row, Verdict};

const COIN: u128 = 1_000_000_000_000_000_000;

/// A case on an invoice of its own.
struct Case {
    row: Row,
    invoice: Invoice,
    ours: Address,
    /// What must be counted as paid.
    paid: u128,
}

/// The cases of one world, each played on an invoice and judged when all was mined and read.
struct Cases {
    world: World,
    node: std::sync::Arc<Anvil>,
    played: Vec<Case>,
}

impl Cases {
    async fn on(start: NodeWorld) -> Self {
        let NodeWorld { world, node, .. } = start;
        Self { world, node, played: Vec::new() }
    }

    /// An invoice for a case: its address, and what it asks.
    async fn fresh(&self) -> (Invoice, Address, u128) {
        let invoice = self.world.invoice().await;
        let (ours, asked) = (invoice.address.parse().unwrap(), asked(&invoice));
        (invoice, ours, asked)
    }

    fn refused(
        &mut self,
        id: &'static str,
        case: &'static str,
        why: &'static str,
        invoice: Invoice,
    ) {
        self.note(Row::new(id, case, Verdict::Refused, why), invoice, 0);
    }

    fn credited(
        &mut self,
        id: &'static str,
        case: &'static str,
        why: &'static str,
        invoice: Invoice,
        paid: u128,
    ) {
        self.note(Row::new(id, case, Verdict::Credited, why), invoice, paid);
    }

    fn note(&mut self, row: Row, invoice: Invoice, paid: u128) {
        let ours = invoice.address.parse().unwrap();
        self.played.push(Case { row, invoice, ours, paid });
    }

    /// Mines everything deep, waits until it was read, and judges. An ordinary payment at the end
    /// shows that all before it was read.
    async fn judge(self) {
        let Self { world, node, played } = self;
        let last = world.invoice().await;
        node.mine(1).await.unwrap();
        world.pay(&last, 1, 1).await;
        world.mine_deep(&last).await;
        let over =
            world.wait_until(&last, "the last payment", |now| now.status() == Status::Confirmed);
        let mut credited: u128 = over.await.paid_units.parse().unwrap();
        for case in &played {
            let after = world.client.get_invoice(&case.invoice.id).await.unwrap();
            let what = format!("{} {}: {}", case.row.id, case.row.case, case.ours);
            assert_eq!(after.paid_units, case.paid.to_string(), "{what}");
            assert_eq!(after.payments.is_empty(), case.paid == 0, "{what}");
            assert_eq!(
                after.status(),
                if case.paid >= asked(&case.invoice) { Status::Confirmed } else { Status::Pending },
                "{what}"
            );
            credited += case.paid;
        }
        world.wait_available(credited).await;
        world.finish().await;
        played.iter().for_each(|case| case.row.held());
    }
}

/// The call of `say` and its like: an event of the caller's making.
fn say(form: &str, from: Address, to: Address, value: U256) -> Vec<u8> {
    let arguments = [account(from), account(to), value].map(Argument::Word);
    call_data(&format!("{form}(address,address,uint256)"), &arguments)
}

fn to_one(function: &str, to: Address) -> Vec<u8> {
    call_data(&format!("{function}(address)"), &[Argument::Word(account(to))])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_on_chain_56() {
    let mut cases = Cases::on(NodeWorld::start(Network::Bep20, Engine::Sqlite).await).await;
    let node = std::sync::Arc::clone(&cases.node);
    let token = node.token;
    let clone = node.create("SaysAnything").await;
    let other = node.create("Token").await;

    let (invoice, ours, units) = cases.fresh().await;
    let payer = node.turn();
    node.keep_tokens(payer, units - 1).await;
    node.invoke_from(payer, token, 0, transfer_data(ours, U256::from(units)), 100_000).await;
    cases.refused("E-01", "a transfer of more than the payer has", "status 0", invoice);

    let (invoice, ours, units) = cases.fresh().await;
    let payer = node.turn();
    node.invoke_from(payer, token, 0, transfer_data(ours, U256::from(units)), 30_000).await;
    cases.refused("E-01", "a transfer that runs out of gas", "status 0", invoice);

    let (invoice, ours, units) = cases.fresh().await;
    node.invoke(ours, 0, transfer_data(ours, U256::from(units))).await;
    cases.refused("E-01", "the call of a transfer, sent to our address", "no log", invoice);

    let (invoice, ours, units) = cases.fresh().await;
    node.invoke(clone, 0, say("say", node.payer(1), ours, U256::from(units))).await;
    let why = "the log is another contract's, whatever its name";
    cases.refused("E-02", "a token of the same name and symbol", why, invoice);

    let (invoice, ours, units) = cases.fresh().await;
    for of in [other, token] {
        node.approve(0, of).await;
    }
    let third = units / 3;
    let tokens = [other, token, token].map(account).to_vec();
    let values = [units, third, units - third].map(U256::from).to_vec();
    let data = move_each(tokens, vec![account(ours); 3], values);
    node.invoke_from(0, node.crowd, 0, data, 1_000_000).await;
    let why = "each log counts for itself";
    cases.credited(
        "E-03",
        "one foreign and two true transfers in a transaction",
        why,
        invoice,
        units,
    );

    let (invoice, ours, units) = cases.fresh().await;
    let arguments = [account(ours), U256::from(units)].map(Argument::Word);
    node.invoke(token, 0, call_data("approve(address,uint256)", &arguments)).await;
    cases.refused("E-05", "an approval", "another event", invoice);

    let (invoice, ours, _) = cases.fresh().await;
    node.invoke(token, 0, say("transferFrom", node.payer(1), ours, U256::ZERO)).await;
    cases.refused("E-05", "nothing, moved by a stranger (poisoning)", "zero", invoice);

    let (invoice, _, units) = cases.fresh().await;
    let halves =
        [(invoice.address.clone(), units / 2), (invoice.address.clone(), units - units / 2)];
    let txid = node.pay(&halves).await.unwrap();
    node.mine(1).await.unwrap();
    cases.world.wait_seen(&invoice, &txid).await;
    node.fork(1, &[(txid, ForkFate::Unconfirm)]).await.unwrap();
    let why = "the place of a log in its own receipt stays";
    cases.credited("E-09", "two logs of a transaction that a fork moves", why, invoice, units);

    let (invoice, ours, _) = cases.fresh().await;
    node.invoke(ours, COIN, Vec::new()).await;
    cases.refused(
        "E-13",
        "the chain's own coin (BNB) instead of the token",
        "another asset",
        invoice,
    );

    let (invoice, ours, units) = cases.fresh().await;
    node.invoke_from(0, other, 0, transfer_data(ours, U256::from(units)), 100_000).await;
    cases.refused("E-13", "another token", "another contract", invoice);
    cases.judge().await;
}

/// The pinned contract itself says what it likes: not a case of the real one, which makes every bound
/// of the reader visible.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_that_a_contract_makes_up() {
    let start = NodeWorld::start_with_token("SaysAnything", Engine::Sqlite).await;
    let mut cases = Cases::on(start).await;
    let node = std::sync::Arc::clone(&cases.node);
    let token = node.token;
    let payer = node.payer(1);

    let (invoice, ours, units) = cases.fresh().await;
    node.invoke(token, 0, say("say", ours, ours, U256::from(units))).await;
    cases.refused("E-05", "a transfer from our address to itself", "nobody paid", invoice);

    let (invoice, ours, units) = cases.fresh().await;
    node.invoke(token, 0, say("sayPlainly", payer, ours, U256::from(units))).await;
    cases.refused("E-02", "the event with nothing indexed", "another form", invoice);

    let (invoice, ours, units) = cases.fresh().await;
    node.invoke(token, 0, say("sayIndexed", payer, ours, U256::from(units))).await;
    cases.refused("E-02", "the event with its amount indexed (ERC-721)", "another form", invoice);

    for (case, value) in [
        ("2^256 - 1 base units", U256::MAX),
        ("2^128 base units, one more than is counted with", U256::from(u128::MAX) + U256::ONE),
    ] {
        let (invoice, ours, _) = cases.fresh().await;
        node.invoke(token, 0, say("say", payer, ours, value)).await;
        cases.refused("E-12", case, "no asset has so much", invoice);
    }
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
    let why = "what the log says arrived";
    Row::new("E-11", "a token that keeps a tenth of each transfer", Verdict::Credited, why).held();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_says_no_and_one_that_counts_otherwise() {
    let start = NodeWorld::start_with_token("ReturnsFalse", Engine::Sqlite).await;
    let NodeWorld { world, node, .. } = start;
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.mine_deep(&invoice).await;
    let receipt: Value = node.call("eth_getTransactionReceipt", json!([txid])).await.unwrap();
    assert_eq!((&receipt["status"], &receipt["logs"]), (&json!("0x1"), &json!([])));
    world.expire().await;
    let after = world.wait(&invoice, Status::Expired, Exception::None).await;
    assert_eq!((after.paid_units.as_str(), after.payments.len()), ("0", 0));
    world.wait_available(0).await;
    world.finish().await;
    let case = "a token whose transfer says no (the false top-up)";
    Row::new("E-01", case, Verdict::Refused, "status 1 and no log").held();

    let node = Anvil::start_with(Network::Bep20, "SixDecimals").await;
    let mut server = TestServer::start(Engine::Sqlite).await;
    server.stop().await;
    let error = server.refuses_to_run_with(&node.table(node.port())).await;
    assert!(error.contains("18 decimals"), "{error}");
    let case = "a token of six decimals where eighteen are pinned";
    Row::new("E-10", case, Verdict::Refused, "the server does not start").held();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coins_on_chain_1() {
    let mut cases = Cases::on(NodeWorld::start(Network::Eth, Engine::Sqlite).await).await;
    let node = std::sync::Arc::clone(&cases.node);
    let crowd = node.crowd;

    let (invoice, ours, units) = cases.fresh().await;
    node.invoke(crowd, units, to_one("payAndFail", ours)).await;
    cases.refused("E-06", "a transaction that pays us and fails", "status 0", invoice);

    let (invoice, ours, units) = cases.fresh().await;
    let txid = node.invoke(crowd, units, to_one("payAndTakeBack", ours)).await;
    cases.refused(
        "E-06",
        "paid in a call that fails, in a transaction that does not",
        "a call around it failed",
        invoice,
    );

    let (invoice, ours, units) = cases.fresh().await;
    node.invoke(crowd, units, to_one("payByDelegate", ours)).await;
    cases.refused(
        "E-06",
        "a DELEGATECALL that repeats its caller's value",
        "moves nothing",
        invoice,
    );

    let (invoice, _, units) = cases.fresh().await;
    // The token's contract takes no coins: its share is left out.
    let to = [(invoice.address.clone(), units), (node.token.to_string(), units)];
    node.pay(&to).await.unwrap();
    let why = "its own call and all around it succeeded";
    cases.credited(
        "E-06",
        "one of two shares of a splitter; the other failed",
        why,
        invoice,
        units,
    );

    let (invoice, ours, _) = cases.fresh().await;
    node.invoke(ours, 0, Vec::new()).await;
    cases.refused("E-05", "a transaction of zero", "zero", invoice);

    let (invoice, ours, units) = cases.fresh().await;
    node.invoke(ours, units, b"with words".to_vec()).await;
    cases.credited("E-05", "coins that come with data", "coins like any other", invoice, units);

    let (invoice, ours, units) = cases.fresh().await;
    node.invoke(crowd, units, to_one("destroyInto", ours)).await;
    let why = "no call carries it: for the reconciliation of balances";
    cases.refused("E-07", "the coins of a contract that is destroyed", why, invoice);

    let (invoice, ours, units) = cases.fresh().await;
    let balance = json!([hex::encode_prefixed(ours), format!("{units:#x}")]);
    node.call::<Value>("anvil_setBalance", balance).await.unwrap();
    cases.refused("E-07", "a balance that grew without a transaction", why, invoice);

    let (invoice, _, units) = cases.fresh().await;
    let half = (invoice.address.clone(), units / 2);
    let (other, _, asked) = cases.fresh().await;
    let outputs = [half.clone(), (other.address.clone(), asked), (half.0, units - units / 2)];
    node.pay(&outputs).await.unwrap();
    let why = "each call has a path of its own";
    cases.credited("E-09", "two payments of one transaction to one address", why, invoice, units);
    cases.credited("E-09", "and one to another", why, other, asked);

    let (invoice, ours, units) = cases.fresh().await;
    node.invoke_from(0, node.token, 0, transfer_data(ours, U256::from(units)), 100_000).await;
    cases.refused("E-13", "a token, be it USDT, at an address for ETH", "another asset", invoice);

    let (invoice, ours, units) = cases.fresh().await;
    let contract = node.create("SaysAnything").await;
    node.invoke(contract, 0, say("say", node.payer(1), ours, U256::from(units))).await;
    cases.refused("E-13", "a made-up log at an address for ETH", "logs are no coins", invoice);
    let receipt: Value = node.call("eth_getTransactionReceipt", json!([txid])).await.unwrap();
    assert_eq!(receipt["status"], "0x1", "it did succeed as a whole");
    cases.judge().await;
}
