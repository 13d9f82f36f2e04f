//! The reader and writer of Bitcoin-like chains against a real Litecoin Core and a real bitcoind in
//! regtest: each test on both. Not here: the server above them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(missing_docs, reason = "a test binary has no readers of its interface")]

#[path = "support/tcp_proxy.rs"]
mod tcp_proxy;
#[path = "support/utxo_node/mod.rs"]
mod utxo_node;

use std::collections::HashSet;
use std::time::Duration;

use cryptopayment::chain::bitcoin::{BitcoinReader, BitcoinWriter, RpcSettings};
use cryptopayment::chain::{
    AddressFilter, Block, Broadcast, ChainError, ChainReader, ChainWriter, ForkFate, Mempool,
    SandboxControl, Transfer, Watch,
};
use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::asset::Network;
use cryptopayment::domain::time::Micros;
use cryptopayment::env::Env;
use serde_json::{Value, json};
use tcp_proxy::TcpProxy;
use utxo_node::{Kind, Mode, UtxoNode};

const COIN: u128 = 100_000_000;
const NODE_DEADLINE: Duration = Duration::from_secs(30);

macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod litecoind {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(super::Kind::Litecoin).await;
                }
            )*
        }
        mod bitcoind {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(super::Kind::Bitcoin).await;
                }
            )*
        }
    };
}

on_both! {
    a_payment_is_seen_waiting_and_then_included,
    a_node_of_another_network_or_too_old_is_refused,
    each_output_is_a_transfer_of_its_own,
    two_hundred_outputs_and_many_transactions_in_one_block,
    a_replacement_shows_as_a_consumption_by_another_transaction,
    an_evicted_payment_is_gone_without_a_conflict_and_may_come_back,
    a_fork_keeps_unconfirms_and_double_spends,
    empty_forks_of_any_depth_change_every_hash,
    a_reconsidered_block_is_back_with_its_payments,
    broadcasts_say_what_became_of_them,
    a_stopped_node_is_unavailable_until_it_runs_again,
    a_cut_connection_is_unavailable_until_it_is_mended,
}

/// Watched scripts and outpoints, as a worker would hold them.
#[derive(Default)]
struct Watched {
    scripts: HashSet<Vec<u8>>,
    consumed: HashSet<String>,
}

impl AddressFilter for Watched {
    fn may_watch(&self, key: &[u8]) -> bool {
        self.scripts.contains(key)
    }
}

/// A node, a reader of it, and an address that is watched.
struct Scene {
    node: UtxoNode,
    reader: BitcoinReader,
    watched: Watched,
    script: Vec<u8>,
    address: String,
}

impl Scene {
    async fn new(kind: Kind) -> Self {
        let node = UtxoNode::start(kind).await;
        let reader = reader_of(&node);
        let (script, address) = node.stranger();
        let script = script.into_bytes();
        let watched = Watched { scripts: HashSet::from([script.clone()]), ..Watched::default() };
        Self { node, reader, watched, script, address }
    }

    fn watch(&self) -> Watch<'_> {
        Watch { addresses: &self.watched, consumed: &self.watched.consumed }
    }

    async fn mempool(&self) -> Mempool {
        self.reader.mempool(self.watch()).await.unwrap().expect("a complete view")
    }

    async fn since(&self, txid: &str) -> Option<Micros> {
        self.reader.waiting_since(&[txid.to_owned()]).await.unwrap()[0]
    }

    async fn block(&self, height: u64) -> Block {
        self.reader.block_at(height, self.watch()).await.unwrap().expect("a block")
    }

    /// Pays the watched address; the transfer as the mempool shows it, its inputs watched.
    async fn pay(&mut self, units: u128) -> Transfer {
        let txid = self.node.pay(&[(self.address.clone(), units)]).await.unwrap();
        let transfers = self.mempool().await.transfers;
        let transfer = transfers.into_iter().find(|transfer| transfer.txid == txid).unwrap();
        assert_eq!(transfer.units, units);
        self.watched.consumed.extend(transfer.consumes.iter().cloned());
        transfer
    }
}

fn reader_of(node: &UtxoNode) -> BitcoinReader {
    reader_through(node, &node.settings())
}

fn reader_through(node: &UtxoNode, settings: &RpcSettings) -> BitcoinReader {
    let reader = BitcoinReader::new(node.kind().network(), ChainKind::Regtest, settings).unwrap();
    reader.accepting(node.kind().oldest_version())
}

fn txids(transfers: &[Transfer]) -> Vec<&str> {
    transfers.iter().map(|transfer| transfer.txid.as_str()).collect()
}

/// Who consumes what is watched.
fn consumers(consumptions: &[cryptopayment::chain::Consumption]) -> HashSet<&str> {
    consumptions.iter().map(|consumption| consumption.txid.as_str()).collect()
}

async fn a_payment_is_seen_waiting_and_then_included(kind: Kind) {
    let mut scene = Scene::new(kind).await;
    let paid = scene.pay(COIN / 3).await;
    assert_eq!((paid.asset, &paid.address_key), (kind.network().asset(), &scene.script));
    assert_eq!(paid.consumes.len(), 1);

    let tip = scene.node.mine(1).await.unwrap();
    let head = scene.reader.head().await.unwrap();
    assert_eq!((&head.tip, head.finalized_height), (&tip, None));
    assert_eq!(scene.reader.header_at(tip.height).await, Ok(Some(tip.clone())));
    assert_eq!(scene.reader.header_at(tip.height + 1).await, Ok(None));
    assert_eq!(scene.reader.block_at(tip.height + 1, scene.watch()).await, Ok(None));
    let below = scene.reader.header_at(tip.height - 1).await.unwrap().unwrap();
    assert_eq!(tip.parent, below.hash);

    let block = scene.block(tip.height).await;
    assert_eq!(block.reference, tip);
    assert_eq!(block.transfers, std::slice::from_ref(&paid), "the same facts as in the mempool");
    assert_eq!(consumers(&block.consumptions), HashSet::from([paid.txid.as_str()]));
    assert_eq!(scene.mempool().await, Mempool::default(), "nothing waits any more");
    assert_eq!(scene.reader.genesis().await, scene.node.call("getblockhash", json!([0])).await);
}

async fn a_node_of_another_network_or_too_old_is_refused(kind: Kind) {
    let node = UtxoNode::start(kind).await;
    let other = if kind == Kind::Bitcoin { Network::Ltc } else { Network::Btc };
    for (network, chain) in [(kind.network(), ChainKind::Mainnet), (other, ChainKind::Regtest)] {
        let reader = BitcoinReader::new(network, chain, &node.settings()).unwrap();
        assert!(matches!(reader.genesis().await, Err(ChainError::Invalid(_))));
    }
    let info: Value = node.call("getnetworkinfo", json!([])).await.unwrap();
    let version = info["version"].as_u64().unwrap();
    let reader = reader_of(&node).accepting(version);
    assert!(reader.genesis().await.is_ok() && reader.head().await.is_ok());
    let reader = reader.accepting(version + 1);
    for refused in [reader.genesis().await.map(drop), reader.head().await.map(drop)] {
        assert!(matches!(refused, Err(ChainError::Unsupported(_))), "{refused:?}");
    }
}

async fn each_output_is_a_transfer_of_its_own(kind: Kind) {
    let scene = Scene::new(kind).await;
    let (_, stranger) = scene.node.stranger();
    let ours = scene.address.clone();
    let outputs = [(ours.clone(), COIN), (stranger, 2 * COIN), (ours, 3 * COIN)];
    let txid = scene.node.pay(&outputs).await.unwrap();
    let tip = scene.node.mine(1).await.unwrap();
    let block = scene.block(tip.height).await;
    let seen: Vec<_> = block
        .transfers
        .iter()
        .map(|transfer| (transfer.txid.as_str(), transfer.ordinal.as_str(), transfer.units))
        .collect();
    assert_eq!(seen, [(txid.as_str(), "o:0", COIN), (txid.as_str(), "o:2", 3 * COIN)]);
}

async fn two_hundred_outputs_and_many_transactions_in_one_block(kind: Kind) {
    let scene = Scene::new(kind).await;
    let outputs: Vec<_> = (0..200).map(|n| (scene.address.clone(), COIN / 100 + n)).collect();
    scene.node.pay(&outputs).await.unwrap();
    for n in 0..45 {
        scene.node.pay(&[(scene.address.clone(), 1_000_000 + n)]).await.unwrap();
    }
    let waiting = scene.mempool().await;
    let tip = scene.node.mine(1).await.unwrap();
    let block = scene.block(tip.height).await;
    let sum = |transfers: &[Transfer]| transfers.iter().map(|t| t.units).sum::<u128>();
    let paid = 200 * (COIN / 100) + (0..200).sum::<u128>() + 45_000_000 + (0..45).sum::<u128>();
    assert_eq!((waiting.transfers.len(), sum(&waiting.transfers)), (245, paid));
    assert_eq!((block.transfers.len(), sum(&block.transfers)), (245, paid));
    let ids: HashSet<_> = block.transfers.iter().map(|t| (&t.txid, &t.ordinal)).collect();
    assert_eq!(ids.len(), 245, "no two share an identity");
}

async fn a_replacement_shows_as_a_consumption_by_another_transaction(kind: Kind) {
    let mut scene = Scene::new(kind).await;
    let paid = scene.pay(COIN).await;
    let other = scene.node.replace(&paid.txid, &[]).await.unwrap();
    let mempool = scene.mempool().await;
    assert_eq!(mempool.transfers, [], "the replacement pays a stranger");
    assert_eq!(consumers(&mempool.consumptions), HashSet::from([other.as_str()]));

    let back = (scene.address.clone(), 2 * COIN);
    let third = scene.node.replace(&other, &[back]).await.unwrap();
    let mempool = scene.mempool().await;
    assert_eq!(txids(&mempool.transfers), [third.as_str()]);
    assert_eq!(mempool.transfers[0].consumes, paid.consumes);
}

async fn an_evicted_payment_is_gone_without_a_conflict_and_may_come_back(kind: Kind) {
    let mut scene = Scene::new(kind).await;
    let paid = scene.pay(COIN).await;
    let stays = scene.pay(2 * COIN).await;
    let raw = scene.node.raw_transaction(&paid.txid).await.unwrap();
    scene.node.evict(&paid.txid).await.unwrap();
    let mempool = scene.mempool().await;
    assert_eq!(mempool.transfers, std::slice::from_ref(&stays));
    assert_eq!(consumers(&mempool.consumptions), HashSet::from([stays.txid.as_str()]));

    scene.node.send(&raw).await.unwrap();
    assert_eq!(scene.mempool().await.transfers.len(), 2);
    assert!(scene.node.evict("ab").await.is_err(), "only what waits can be forgotten");
}

async fn a_fork_keeps_unconfirms_and_double_spends(kind: Kind) {
    let mut scene = Scene::new(kind).await;
    let kept = scene.pay(COIN).await;
    let base = scene.node.mine(1).await.unwrap();
    let freed = scene.pay(2 * COIN).await;
    let stolen = scene.pay(3 * COIN).await;
    let old_tip = scene.node.mine(1).await.unwrap();

    let fates =
        [(freed.txid.clone(), ForkFate::Unconfirm), (stolen.txid.clone(), ForkFate::DoubleSpend)];
    let tip = scene.node.fork(2, &fates).await.unwrap();
    assert_eq!(tip.height, old_tip.height + 1);
    assert_eq!(scene.reader.head().await.unwrap().tip, tip);

    let first = scene.block(base.height).await;
    assert_ne!(first.reference.hash, base.hash);
    assert_eq!(first.reference.parent, base.parent, "the fork begins where it should");
    assert_eq!(first.transfers, [kept]);
    let second = scene.block(old_tip.height).await;
    assert_ne!(second.reference.hash, old_tip.hash);
    assert_eq!(second.reference.parent, first.reference.hash);
    assert_eq!(second.transfers, []);
    let thief = &second.consumptions[0];
    assert_eq!(second.consumptions.len(), 1);
    assert_eq!(thief.key, stolen.consumes[0]);
    assert_ne!(thief.txid, stolen.txid);
    let mempool = scene.mempool().await;
    assert_eq!(
        mempool.transfers,
        std::slice::from_ref(&freed),
        "the stolen one cannot wait any more"
    );

    let again = scene.node.mine(1).await.unwrap();
    assert_eq!(scene.block(again.height).await.transfers, [freed]);
}

async fn empty_forks_of_any_depth_change_every_hash(kind: Kind) {
    let scene = Scene::new(kind).await;
    let start = scene.node.mine(3).await.unwrap();
    let mut seen = HashSet::from([start.hash]);
    for depth in [1, 3, 2] {
        let tip = scene.node.fork(depth, &[]).await.unwrap();
        assert!(seen.insert(tip.hash.clone()));
        assert_eq!(scene.reader.head().await.unwrap().tip, tip);
    }
    assert_eq!(scene.reader.head().await.unwrap().tip.height, start.height + 3);
}

async fn a_reconsidered_block_is_back_with_its_payments(kind: Kind) {
    let mut scene = Scene::new(kind).await;
    let paid = scene.pay(COIN).await;
    let tip = scene.node.mine(1).await.unwrap();
    scene.node.invalidate(&tip.hash).await.unwrap();
    assert_eq!(scene.reader.header_at(tip.height).await, Ok(None));
    assert_eq!(scene.mempool().await.transfers, std::slice::from_ref(&paid));
    scene.node.reconsider(&tip.hash).await.unwrap();
    assert_eq!(scene.block(tip.height).await.transfers, [paid]);
}

async fn broadcasts_say_what_became_of_them(kind: Kind) {
    let scene = Scene::new(kind).await;
    let settings = scene.node.settings();
    let writer = BitcoinWriter::new(kind.network(), ChainKind::Regtest, &settings).unwrap();
    let raw = scene.node.sign_payment(&[(scene.address.clone(), COIN)]).await.unwrap();
    assert_eq!(writer.broadcast(&raw).await, Ok(Broadcast::Accepted));
    assert_eq!(writer.broadcast(&raw).await, Ok(Broadcast::Accepted), "it waits already");
    assert_eq!(scene.mempool().await.transfers.len(), 1);
    scene.node.mine(1).await.unwrap();
    assert_eq!(writer.broadcast(&raw).await, Ok(Broadcast::AlreadyKnown));

    let raw = scene.node.sign_payment(&[(scene.address.clone(), COIN)]).await.unwrap();
    let mut unsigned = raw.clone();
    let signature = unsigned.len() - 60;
    unsigned[signature] ^= 1;
    let refused = writer.broadcast(&unsigned).await.unwrap();
    assert!(matches!(refused, Broadcast::Rejected(ref why) if !why.is_empty()), "{refused:?}");
    assert_eq!(writer.broadcast(&raw).await, Ok(Broadcast::Accepted), "no trace of the bad one");
    let conflict = scene.node.replace(&scene.mempool().await.transfers[0].txid, &[]).await;
    assert!(conflict.is_ok());
    let refused = writer.broadcast(&raw).await.unwrap();
    assert!(matches!(refused, Broadcast::Rejected(_)), "{refused:?}");
}

async fn a_stopped_node_is_unavailable_until_it_runs_again(kind: Kind) {
    let mut scene = Scene::new(kind).await;
    let begun = Env::system().system_now().seconds();
    let paid = scene.pay(COIN).await;
    let since = scene.since(&paid.txid).await;
    let taken = since.expect("it waits").seconds();
    assert!((begun..=Env::system().system_now().seconds()).contains(&taken), "{begun} {taken}");
    assert_eq!(scene.since(&"ab".repeat(32)).await, None);
    let before = scene.reader.head().await.unwrap();
    scene.node.stop().await;
    for failure in [
        scene.reader.head().await.map(drop),
        scene.reader.block_at(1, scene.watch()).await.map(drop),
        scene.reader.mempool(scene.watch()).await.map(drop),
    ] {
        assert!(matches!(failure, Err(ChainError::Transient(_))), "{failure:?}");
    }
    scene.node.run().await;
    assert_eq!(scene.reader.head().await, Ok(before));
    // No view until the node has read its mempool back.
    let view = tokio::time::timeout(NODE_DEADLINE, async {
        loop {
            match scene.reader.mempool(scene.watch()).await {
                Ok(view) => break view.unwrap(),
                Err(error) => assert!(matches!(error, ChainError::Transient(_)), "{error}"),
            }
        }
    });
    let view = view.await.expect("a view in time");
    assert_eq!(scene.since(&paid.txid).await, since, "no later for it");
    assert_eq!(view.transfers, [paid], "what waited still waits");
}

async fn a_cut_connection_is_unavailable_until_it_is_mended(kind: Kind) {
    let node = UtxoNode::start(kind).await;
    let proxy = TcpProxy::to(node.rpc_port()).await;
    let mut settings = node.settings();
    settings.url = format!("http://127.0.0.1:{}/", proxy.port());
    let reader = reader_through(&node, &settings);
    let head = reader.head().await.unwrap();
    proxy.cut();
    let failure = reader.head().await;
    assert!(matches!(failure, Err(ChainError::Transient(_))), "{failure:?}");
    proxy.mend();
    assert_eq!(reader.head().await, Ok(head));
}

#[tokio::test]
async fn a_payment_out_of_mweb_is_seen_in_the_hogex() {
    let node = UtxoNode::start_in(Kind::Litecoin, Mode::Mweb).await;
    let reader = reader_of(&node);
    node.call::<Value>("createwallet", json!(["payer"])).await.unwrap();
    let hidden: String = node.call("getnewaddress", json!(["", "mweb"])).await.unwrap();
    let open: String = node.call("getnewaddress", json!(["", "bech32"])).await.unwrap();
    node.pay(&[(open, 10 * COIN)]).await.unwrap();
    let height: u64 = node.call("getblockcount", json!([])).await.unwrap();
    node.call::<Value>("generatetodescriptor", json!([431 - height, "raw(51)"])).await.unwrap();
    let peg_in: String = node.call("sendtoaddress", json!([hidden, 5])).await.unwrap();

    let (script, address) = node.stranger();
    let watched = Watched { scripts: HashSet::from([script.into_bytes()]), ..Watched::default() };
    let watch = Watch { addresses: &watched, consumed: &watched.consumed };
    assert_eq!(reader.mempool(watch).await, Ok(Some(Mempool::default())), "{peg_in} reads well");
    node.call::<Value>("generatetodescriptor", json!([2, "raw(51)"])).await.unwrap();

    // The wallet spends from MWEB by itself, since the rest of its coins is too little.
    let peg_out: String = node.call("sendtoaddress", json!([address, "4.9"])).await.unwrap();
    assert_eq!(reader.mempool(watch).await, Ok(Some(Mempool::default())), "hidden while it waits");
    node.call::<Value>("generatetodescriptor", json!([1, "raw(51)"])).await.unwrap();
    let head = reader.head().await.unwrap();
    assert_eq!(head.tip.height, 434);
    let block = reader.block_at(434, watch).await.unwrap().unwrap();
    let seen: Vec<_> = block.transfers.iter().map(|t| (t.units, t.ordinal.as_str())).collect();
    assert_eq!(seen, [(490_000_000, "o:1")]);
    assert_ne!(block.transfers[0].txid, peg_out, "the HogEx pays under its own id");
}
