//! Catching up with a chain whose node is some milliseconds away: blocks are asked for side by side and
//! written in order, beside asking for one after the other. Not here: what a near node allows (`scan`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cryptopayment::chain::sandbox::SandboxChain;
use cryptopayment::chain::{
    Block, BlockRef, ChainError, ChainReader, Head, Mempool, SandboxControl as _, Watch,
};
use cryptopayment::domain::asset::Network;
use cryptopayment::store::cursor;
use cryptopayment::worker::watch_set::WatchSet;

use super::measure::{Series, figure, goal, heading};
use super::scan::{catch_up, scanner, simulated};
use crate::support::core::NETWORK;
use crate::support::server::Engine;

/// Rounds.
const ROUNDS: usize = 3;
/// Blocks that were missed in each.
const BLOCKS: u32 = 200;
/// How long the node takes to answer with a block.
const NODE_MILLISECONDS: u64 = 20;
/// What is to be reached of asking for one block after the other.
const GOAL: f64 = 3.0;

/// Runs it on one engine.
pub async fn run(engine: Engine) {
    heading(&format!("Catching up, {engine:?}, a node {NODE_MILLISECONDS} ms away"));
    let (_directory, core, chain) = simulated(engine).await;
    let node = Arc::new(Distant::of(Arc::clone(&chain)));
    let mut scanner = scanner(&core, Arc::clone(&node) as _);
    catch_up(&mut scanner).await;
    node.most.store(0, Ordering::SeqCst);
    let mut ours = Series::new("catching up, blocks read and written", "blocks/s");
    let mut most = 0;
    let mut single = Series::new("asking for one block after the other", "blocks/s");
    for _ in 0..ROUNDS {
        let first = chain.head().await.unwrap().tip.height + 1;
        chain.mine(BLOCKS).await.unwrap();
        ours.round(u64::from(BLOCKS), catch_up(&mut scanner)).await;
        most = most.max(node.most.load(Ordering::SeqCst));
        single.round(u64::from(BLOCKS), one_by_one(&node, first)).await;
    }
    ours.print();
    single.print();
    goal("catching up / one after the other", ours.rate() / single.rate(), GOAL, false);
    figure("blocks asked for at a time, at most", most as f64, "");
    let head = chain.head().await.unwrap().tip.height;
    assert_eq!(cursor::get(&core.db, NETWORK).await.unwrap().unwrap().height, head);
}

async fn one_by_one(node: &Distant, first: u64) {
    let consumed = std::collections::HashSet::new();
    let nobody = WatchSet::of([]);
    let watch = Watch { addresses: &nobody, consumed: &consumed };
    for height in first..first + u64::from(BLOCKS) {
        assert!(node.block_at(height, watch).await.unwrap().is_some());
    }
}

/// A chain whose blocks take a while to come.
struct Distant {
    chain: Arc<SandboxChain>,
    waiting: AtomicU64,
    /// The most that were waited for at a time.
    most: AtomicU64,
}

impl Distant {
    fn of(chain: Arc<SandboxChain>) -> Self {
        Self { chain, waiting: AtomicU64::new(0), most: AtomicU64::new(0) }
    }
}

#[async_trait]
impl ChainReader for Distant {
    fn network(&self) -> Network {
        self.chain.network()
    }

    async fn genesis(&self) -> Result<String, ChainError> {
        self.chain.genesis().await
    }

    async fn head(&self) -> Result<Head, ChainError> {
        self.chain.head().await
    }

    async fn header_at(&self, height: u64) -> Result<Option<BlockRef>, ChainError> {
        self.chain.header_at(height).await
    }

    async fn block_at(&self, height: u64, watch: Watch<'_>) -> Result<Option<Block>, ChainError> {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(waiting, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(NODE_MILLISECONDS)).await;
        let block = self.chain.block_at(height, watch).await;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        block
    }

    async fn mempool(&self, watch: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        self.chain.mempool(watch).await
    }
}
