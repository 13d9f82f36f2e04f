//! Catching up with a chain whose node is some milliseconds away: blocks are asked for side by side and
//! written in order, beside asking for one after the other. Not here: what a near node allows (`scan`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cryptopayment::chain::{ChainReader as _, SandboxControl as _, Watch};
use cryptopayment::store::cursor;
use cryptopayment::worker::watch_set::WatchSet;

use super::measure::{Series, figure, goal, heading};
use crate::support::core::NETWORK;
use crate::support::distant::{Answers, Distant, catch_up, scanner, simulated};
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
    let answers = Answers::After(Duration::from_millis(NODE_MILLISECONDS));
    let node = Arc::new(Distant::new(Arc::clone(&chain), answers));
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
