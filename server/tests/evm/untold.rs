//! Ether that a contract sends on, on a node that does not tell it: found by the balance of its address
//! when the block is final, credited once, and nobody's time is over before.

use std::sync::Arc;

use alloy::primitives::{Address, U256};
use cryptopayment::chain::{ForkFate, SandboxControl as _};
use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};

use crate::anvil::Anvil;
use crate::anvil::abi::{Argument, account, call_data};
use crate::conformance::world::asked;
use crate::support::server::{Engine, eventually};
use crate::untraced::Untraced;
use crate::world::NodeWorld;

/// Blocks behind the newest up to which the node calls them final: two epochs of one block.
const FINAL_DEPTH: u32 = 2;

impl NodeWorld {
    /// A world whose node tells no calls, until the proxy before it lets them pass.
    pub async fn start_untraced(network: Network, engine: Engine) -> (Self, Arc<Untraced>) {
        let node = Arc::new(Anvil::start(network).await);
        let untraced = Arc::new(Untraced::before(node.port()).await);
        let mut start = Self::on(network, engine, node, untraced.port(), "", None).await;
        let kept = std::mem::replace(&mut start.world.kept, Box::new(()));
        start.world.kept = Box::new((kept, Arc::clone(&untraced)));
        (start, untraced)
    }
}

/// Pays invoices exactly, by one call of a contract, and mines the block.
async fn pay_inside_a_call(node: &Anvil, invoices: &[&Invoice]) -> String {
    let accounts = invoices.iter().map(|invoice| account(invoice.address.parse().unwrap()));
    let values: Vec<u128> = invoices.iter().map(|invoice| asked(invoice)).collect();
    let words = values.iter().map(|units| U256::from(*units)).collect();
    let arguments = [Argument::Words(accounts.collect()), Argument::Words(words)];
    let data = call_data("payEach(address[],uint256[])", &arguments);
    let txid = node.invoke(node.crowd, values.iter().sum(), data).await;
    node.mine(1).await.unwrap();
    txid
}

async fn credited_once(engine: Engine) {
    let (start, _untraced) = NodeWorld::start_untraced(Network::Eth, engine).await;
    let NodeWorld { world, node, .. } = start;
    let (plain, hidden, other) =
        (world.invoice().await, world.invoice().await, world.invoice().await);
    let txid = world.pay(&plain, 1, 1).await;
    world.wait_seen(&plain, &txid).await;
    pay_inside_a_call(&node, &[&hidden, &other]).await;
    let read = |now: &Invoice| now.confirmations.unwrap().received == 1;
    world.wait_until(&plain, "the block was read", read).await;
    let now = world.client.get_invoice(&hidden.id).await.unwrap();
    assert!(now.payments.is_empty(), "nobody told it: {:?}", now.payments);

    world.mine_deep(&plain).await;
    world.wait(&plain, Status::Confirmed, Exception::None).await;
    for invoice in [&hidden, &other] {
        let found =
            world.wait_until(invoice, "found by its balance", |now| now.payments.len() == 1).await;
        assert!(found.payments[0].ordinal.starts_with("d:"), "{:?}", found.payments);
        assert_eq!(found.paid_units, invoice.amount_units);
    }
    world.mine_deep(&plain).await;
    for invoice in [&hidden, &other] {
        world.wait(invoice, Status::Confirmed, Exception::None).await;
        world.wait_told(invoice, &["payment.detected", "payment.confirmed"]).await;
    }
    let all = asked(&plain) + asked(&hidden) + asked(&other);
    world.wait_available(all).await;

    // A later round, shown by what it finds, finds nothing more of the others.
    let last = world.invoice().await;
    pay_inside_a_call(&node, &[&last]).await;
    world.mine_deep(&last).await;
    world.wait_until(&last, "found too", |now| now.payments.len() == 1).await;
    world.mine_deep(&last).await;
    world.wait(&last, Status::Confirmed, Exception::None).await;
    world.wait_available(all + asked(&last)).await;
    for invoice in [&plain, &hidden, &other] {
        let now = world.client.get_invoice(&invoice.id).await.unwrap();
        assert_eq!((now.payments.len(), now.exception()), (1, Exception::None));
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_inside_a_call_is_credited_once_on_sqlite() {
    credited_once(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_inside_a_call_is_credited_once_on_postgres() {
    credited_once(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobodys_time_is_over_before_balances_are_reconciled() {
    let (start, _untraced) = NodeWorld::start_untraced(Network::Eth, Engine::Postgres).await;
    let NodeWorld { world, node, .. } = start;
    let (paid, unpaid) = (world.invoice().await, world.invoice().await);
    pay_inside_a_call(&node, &[&paid]).await;
    let plain = world.invoice().await;
    let txid = world.pay(&plain, 1, 1).await;
    world.wait_seen(&plain, &txid).await;
    world.expire().await;
    let lag = eventually("the lag is told", || async {
        let networks = world.client.networks().await.unwrap();
        let eth = networks.into_iter().find(|network| network.network == "eth").unwrap();
        (eth.lag_seconds >= 30 * 60).then_some(eth.lag_seconds)
    });
    lag.await;
    for invoice in [&paid, &unpaid] {
        let now = world.client.get_invoice(&invoice.id).await.unwrap();
        assert_eq!(now.status(), Status::Pending, "a payment may hide in a block");
    }
    world.chain.mine(FINAL_DEPTH).await.unwrap();
    world.wait(&paid, Status::Confirming, Exception::None).await;
    world.wait(&unpaid, Status::Expired, Exception::None).await;
    world.mine_deep(&paid).await;
    world.wait(&paid, Status::Confirmed, Exception::None).await;
    world.wait(&plain, Status::Confirmed, Exception::None).await;
    world.wait_available(asked(&paid) + asked(&plain)).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_above_what_is_final_moves_it_and_it_is_found_where_it_stays() {
    let (start, _untraced) = NodeWorld::start_untraced(Network::Eth, Engine::Postgres).await;
    let NodeWorld { world, node, .. } = start;
    let (kept, lost) = (world.invoice().await, world.invoice().await);
    let good = pay_inside_a_call(&node, &[&kept]).await;
    let bad = pay_inside_a_call(&node, &[&lost]).await;
    let fates = [(good, ForkFate::Unconfirm), (bad, ForkFate::DoubleSpend)];
    node.fork(2, &fates).await.unwrap();
    world.mine_deep(&kept).await;
    world.wait_until(&kept, "found by its balance", |now| now.payments.len() == 1).await;
    world.mine_deep(&kept).await;
    world.wait(&kept, Status::Confirmed, Exception::None).await;
    let still = world.client.get_invoice(&lost.id).await.unwrap();
    assert_eq!((still.status(), still.payments.len()), (Status::Pending, 0));
    world.wait_available(asked(&kept)).await;
    world.finish().await;
}

/// Its own block tells the plain payment, although no balance ever shows it. What hides in the same block
/// is found beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_left_before_its_balance_was_looked_at_still_counts() {
    let (start, _untraced) = NodeWorld::start_untraced(Network::Eth, Engine::Postgres).await;
    let NodeWorld { mut world, node, .. } = start;
    let (taken, hidden) = (world.invoice().await, world.invoice().await);
    world.server.stop().await;
    world.pay(&taken, 1, 1).await;
    pay_inside_a_call(&node, &[&hidden]).await;
    node.take_all(taken.address.parse().unwrap()).await;
    world.mine_deep(&taken).await;
    world.server.run().await;
    world.client = world.server.client();
    world.wait(&taken, Status::Confirmed, Exception::None).await;
    let found = world.wait_until(&hidden, "found by its balance", |now| now.payments.len() == 1);
    assert!(found.await.payments[0].ordinal.starts_with("d:"));
    world.mine_deep(&hidden).await;
    for invoice in [&taken, &hidden] {
        let now = world.wait(invoice, Status::Confirmed, Exception::None).await;
        assert_eq!((now.payments.len(), &now.paid_units), (1, &invoice.amount_units));
        world.wait_told(invoice, &["payment.detected", "payment.confirmed"]).await;
    }
    world.wait_available(asked(&taken) + asked(&hidden)).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_tells_calls_again_doubles_nothing() {
    let (start, untraced) = NodeWorld::start_untraced(Network::Eth, Engine::Sqlite).await;
    let NodeWorld { mut world, node, .. } = start;
    let (untold, told) = (world.invoice().await, world.invoice().await);
    pay_inside_a_call(&node, &[&untold]).await;
    let plain = world.invoice().await;
    let txid = world.pay(&plain, 1, 1).await;
    world.wait_seen(&plain, &txid).await;
    untraced.tell_calls();
    world.server.restart().await;
    world.client = world.server.client();
    let txid = pay_inside_a_call(&node, &[&told]).await;
    world.wait_seen(&told, &txid).await;
    world.mine_deep(&told).await;
    world.wait_until(&untold, "found by its balance", |now| now.payments.len() == 1).await;
    world.mine_deep(&told).await;
    for invoice in [&untold, &told, &plain] {
        let now = world.wait(invoice, Status::Confirmed, Exception::None).await;
        assert_eq!(now.payments.len(), 1, "{:?}", now.payments);
    }
    world.wait_available(asked(&untold) + asked(&told) + asked(&plain)).await;
    world.finish().await;
}

/// What a stranger's contract moves around concerns nobody, and holds nobody up for longer than it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_pays_nobody_of_ours_holds_up_and_lets_go() {
    let (start, _untraced) = NodeWorld::start_untraced(Network::Eth, Engine::Sqlite).await;
    let NodeWorld { world, node, .. } = start;
    let invoice = world.invoice().await;
    let stranger = Address::repeat_byte(0xee);
    let arguments = [vec![account(stranger)], vec![U256::from(7)]];
    let data = call_data("payEach(address[],uint256[])", &arguments.map(Argument::Words));
    node.invoke(node.crowd, 7, data).await;
    world.chain.mine(1 + FINAL_DEPTH).await.unwrap();
    world.expire().await;
    world.wait(&invoice, Status::Expired, Exception::None).await;
    world.wait_available(0).await;
    world.finish().await;
}
