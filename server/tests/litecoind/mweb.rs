//! Payments around MWEB, Litecoin's second chain inside its blocks: before the block that activates it,
//! in that block and after it, and out of MWEB to an invoice's address. Such a peg-out is nowhere to be
//! seen while it waits; in its block it is an output of the HogEx, under the HogEx's id.

use std::sync::Arc;

use cryptopayment::chain::SandboxControl as _;
use cryptopayment_sdk::v1::{
    Invoice, InvoiceException as Exception, InvoiceStatus as Status, PaymentState,
};
use serde_json::{Value, json};

use crate::conformance::world::{World, asked};
use crate::support::server::Engine;
use crate::table::row;
use crate::utxo_node::{Kind, Mode, UtxoNode};
use crate::world::NodeWorld;

/// The block that activates MWEB; it must hold a peg-in.
const ACTIVATION_BLOCK: u64 = 432;
const COIN: u128 = 100_000_000;

/// The node's own wallet: the driver knows nothing of MWEB.
struct Wallet(Arc<UtxoNode>);

impl Wallet {
    /// A wallet with ten coins on the main chain, in a block.
    async fn new(node: &Arc<UtxoNode>) -> Self {
        node.call::<Value>("createwallet", json!(["payer"])).await.unwrap();
        let open: String = node.call("getnewaddress", json!(["", "bech32"])).await.unwrap();
        node.pay(&[(open, 10 * COIN)]).await.unwrap();
        node.mine(1).await.unwrap();
        Self(Arc::clone(node))
    }

    /// Moves all it has into MWEB, so that whatever it sends later comes out of there.
    async fn peg_in(&self) {
        let hidden: String = self.0.call("getnewaddress", json!(["", "mweb"])).await.unwrap();
        let all = json!([hidden, 10, "", "", true]);
        self.0.call::<String>("sendtoaddress", all).await.unwrap();
    }

    /// Pays an invoice out of MWEB.
    async fn peg_out(&self, invoice: &Invoice) -> String {
        let units = asked(invoice);
        let coins = format!("{}.{:08}", units / COIN, units % COIN);
        self.0.call("sendtoaddress", json!([invoice.address, coins])).await.unwrap()
    }
}

/// A world whose node is two blocks short of MWEB, with a wallet whose coins are to enter it.
async fn before_mweb() -> (World, Arc<UtxoNode>, Wallet) {
    let NodeWorld { world, node, .. } =
        NodeWorld::start_in(Kind::Litecoin, Mode::Mweb, Engine::Postgres).await;
    let wallet = Wallet::new(&node).await;
    let height = node.height().await.unwrap();
    mine(&node, ACTIVATION_BLOCK - 2 - height).await;
    (world, node, wallet)
}

/// Mines to a stranger, so that no block is one that was mined before.
async fn mine(node: &UtxoNode, blocks: u64) {
    node.generate_to(blocks, &node.strange_script()).await.unwrap();
}

/// The last transaction of the newest block.
async fn hogex(node: &UtxoNode) -> String {
    let height = node.height().await.unwrap();
    let hash = node.block_hash(height).await.unwrap();
    let block: Value = node.call("getblock", json!([hash, 1])).await.unwrap();
    block["tx"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned()
}

/// Waits until the scanner has read a mempool that this moment's transactions are in.
async fn mempool_was_read(world: &World) {
    let other = world.invoice().await;
    let txid = world.pay(&other, 1, 2).await;
    world.wait_seen(&other, &txid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_before_in_and_after_the_activation_and_out_of_mweb() {
    let (world, node, wallet) = before_mweb().await;
    let (before, inside, after, out) = (
        world.invoice().await,
        world.invoice().await,
        world.invoice().await,
        world.invoice().await,
    );
    world.pay(&before, 1, 1).await;
    mine(&node, 1).await;
    wallet.peg_in().await;
    let beside = world.pay(&inside, 1, 1).await;
    world.wait_seen(&inside, &beside).await;
    mine(&node, 1).await;
    assert_eq!(node.height().await.unwrap(), ACTIVATION_BLOCK);
    assert_ne!(hogex(&node).await, beside, "the block ends with the HogEx");
    world.pay(&after, 1, 1).await;
    mine(&node, 1).await;
    for invoice in [&before, &inside, &after] {
        world
            .wait_until(invoice, "in a block", |now| now.confirmations.unwrap().received > 0)
            .await;
    }

    let peg_out = wallet.peg_out(&out).await;
    mempool_was_read(&world).await;
    let hidden = world.client.get_invoice(&out.id).await.unwrap();
    assert_eq!((hidden.status(), hidden.payments.len()), (Status::Pending, 0), "nobody sees it");
    node.call::<Value>("getmempoolentry", json!([peg_out])).await.expect("it waits");
    mine(&node, 1).await;
    let shown = world.wait(&out, Status::Confirming, Exception::None).await;
    let paid_by = hogex(&node).await;
    assert_eq!(shown.txid.as_deref(), Some(paid_by.as_str()));
    assert_ne!(paid_by, peg_out);
    assert_eq!(shown.confirmations.unwrap().received, 1, "first seen in its block");

    mine(&node, u64::from(out.confirmations.unwrap().required)).await;
    for invoice in [&before, &inside, &after, &out] {
        let now = world.wait(invoice, Status::Confirmed, Exception::None).await;
        assert_eq!(now.payments.len(), 1);
    }
    let halves = asked(&out) / 2;
    world.wait_available(4 * asked(&out) + halves).await;
    world.wait_told(&out, &["payment.detected", "payment.confirmed"]).await;
    world.finish().await;
    row("peg_out_waiting").held();
    row("peg_out_in_block").held();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peg_out_is_credited_once_whatever_hogex_pays_it() {
    let (world, node, wallet) = before_mweb().await;
    mine(&node, 1).await;
    wallet.peg_in().await;
    mine(&node, 2).await;
    let root = node.height().await.unwrap();
    let out = world.invoice().await;
    let required = u64::from(out.confirmations.unwrap().required);
    mine(&node, 1).await;
    wallet.peg_out(&out).await;
    mine(&node, 1).await;
    let first = hogex(&node).await;
    mine(&node, required - 1).await;
    let confirmed = world.wait(&out, Status::Confirmed, Exception::None).await;
    assert_eq!(confirmed.txid.as_deref(), Some(first.as_str()));
    world.wait_available(asked(&out)).await;

    // From one block below: the wallet's coins leave MWEB a block earlier, by another HogEx, which
    // consumes nothing that the first one consumes.
    let lost = node.block_hash(root + 1).await.unwrap();
    node.invalidate(&lost).await.unwrap();
    mine(&node, 1).await;
    let second = hogex(&node).await;
    assert_ne!(first, second);
    let moved = world.wait(&out, Status::Confirming, Exception::Reorged).await;
    assert_eq!((moved.txid.as_deref(), &moved.paid_units), (Some(&*second), &out.amount_units));
    world.wait_available_and_pending(0, asked(&out)).await;
    mine(&node, required + 1).await;
    let again = world.wait(&out, Status::Confirmed, Exception::None).await;
    let states: Vec<_> = again.payments.iter().map(|p| (p.txid.as_str(), p.state())).collect();
    assert_eq!(states.len(), 2);
    assert!(states.contains(&(&first, PaymentState::Replaced)), "{states:?}");
    assert!(states.contains(&(&second, PaymentState::Credited)), "{states:?}");
    world.wait_available(asked(&out)).await;

    // Back to the first branch, which grows: the first HogEx counts again, the second no more.
    let branch = node.block_hash(root + 1).await.unwrap();
    node.invalidate(&branch).await.unwrap();
    node.reconsider(&lost).await.unwrap();
    mine(&node, required).await;
    let back = world
        .wait_until(&out, "paid by the first HogEx", |now| {
            now.status() == Status::Confirmed && now.txid.as_deref() == Some(&*first)
        })
        .await;
    assert_eq!(back.exception(), Exception::None);
    world.wait_available(asked(&out)).await;
    world.finish().await;
    row("peg_out_moved").held();
}
