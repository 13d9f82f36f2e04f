//! Endpoints over nodes in memory: which one answers, what is passed on, what is refused. Not here: a
//! scanner on top of it (`server/tests/it/endpoints.rs`).
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::chain::AddressFilter;
use crate::domain::endpoint::EndpointState as State;
use crate::domain::time::Micros;

/// A node whose chain a test decides.
#[derive(Default)]
struct Node {
    genesis: Mutex<String>,
    hashes: Mutex<Vec<String>>,
    is_down: AtomicBool,
    hides_blocks: AtomicBool,
    /// What it says instead of a block.
    refuses_blocks: Mutex<Option<ChainError>>,
    heads_asked: AtomicUsize,
}

impl Node {
    /// Blocks up to `height`; above `fork` they are its own, named by `mark`.
    fn with(height: usize, fork: usize, mark: &str) -> Arc<Self> {
        let node = Self::default();
        *node.genesis.lock().unwrap() = "genesis".to_owned();
        node.set(height, fork, mark);
        Arc::new(node)
    }

    fn set(&self, height: usize, fork: usize, mark: &str) {
        let hash = |n: usize| if n > fork { format!("{mark}{n}") } else { format!("main{n}") };
        *self.hashes.lock().unwrap() = (0..=height).map(hash).collect();
    }

    fn up(&self) -> Result<(), ChainError> {
        let is_down = self.is_down.load(Ordering::SeqCst);
        if is_down { Err(ChainError::Transient("connection refused".to_owned())) } else { Ok(()) }
    }

    fn block(&self, height: u64) -> Option<BlockRef> {
        let hashes = self.hashes.lock().unwrap();
        let at = usize::try_from(height).unwrap();
        let hash = hashes.get(at)?.clone();
        let parent = at.checked_sub(1).map_or_else(String::new, |at| hashes[at].clone());
        Some(BlockRef { height, hash, parent, time: Micros(0) })
    }
}

#[async_trait]
impl ChainReader for Node {
    fn network(&self) -> Network {
        Network::Ltc
    }

    async fn genesis(&self) -> Result<String, ChainError> {
        self.up()?;
        Ok(self.genesis.lock().unwrap().clone())
    }

    async fn head(&self) -> Result<Head, ChainError> {
        self.heads_asked.fetch_add(1, Ordering::SeqCst);
        self.up()?;
        let height = self.hashes.lock().unwrap().len() as u64 - 1;
        Ok(Head { tip: self.block(height).unwrap(), finalized_height: None })
    }

    async fn header_at(&self, height: u64) -> Result<Option<BlockRef>, ChainError> {
        self.up()?;
        Ok(self.block(height))
    }

    async fn block_at(&self, height: u64, _: Watch<'_>) -> Result<Option<Block>, ChainError> {
        self.up()?;
        if self.hides_blocks.load(Ordering::SeqCst) {
            return Ok(None);
        }
        if let Some(refusal) = self.refuses_blocks.lock().unwrap().clone() {
            return Err(refusal);
        }
        let block = |reference| Block {
            reference,
            transfers: vec![],
            unexpected: vec![],
            consumptions: vec![],
            may_hide_payments: false,
        };
        Ok(self.block(height).map(block))
    }

    async fn mempool(&self, _: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        self.up()?;
        Ok(None)
    }
}

struct Everything;

impl AddressFilter for Everything {
    fn may_watch(&self, _: &[u8]) -> bool {
        true
    }
}

fn over(nodes: &[&Arc<Node>]) -> Endpoints {
    let named = |(n, node): (usize, &&Arc<Node>)| NamedReader {
        name: format!("e{n}"),
        host: format!("node{n}.example:8332"),
        reader: Arc::clone(node) as Arc<dyn ChainReader>,
    };
    let readers = nodes.iter().enumerate().map(named).collect();
    Endpoints::new(Network::Ltc, readers, false, Env::system())
}

async fn block(endpoints: &Endpoints, height: u64) -> Result<Option<Block>, ChainError> {
    let consumed = HashSet::new();
    endpoints.block_at(height, Watch { addresses: &Everything, consumed: &consumed }).await
}

async fn old_block(endpoints: &Endpoints, height: u64) -> Result<Option<Block>, ChainError> {
    let consumed = HashSet::new();
    endpoints.old_block_at(height, Watch { addresses: &Everything, consumed: &consumed }).await
}

#[tokio::test]
async fn one_endpoint_is_read_directly() {
    let node = Node::with(5, 5, "");
    let endpoints = over(&[&node]);
    assert_eq!(endpoints.head().await.unwrap().tip.height, 5);
    assert_eq!(node.heads_asked.load(Ordering::SeqCst), 1, "no look before the first read");
    endpoints.look().await;
    let report = endpoints.report();
    assert_eq!((report[0].state, report[0].height), (State::Healthy, Some(5)));
    assert_eq!((report[0].host.as_str(), report[0].is_serving), ("node0.example:8332", true));
    node.is_down.store(true, Ordering::SeqCst);
    let error = endpoints.head().await.unwrap_err();
    assert_eq!(error, ChainError::Transient("connection refused".to_owned()), "its own words");
}

#[tokio::test]
async fn a_node_that_answers_again_is_current_once_it_was_looked_at() {
    let node = Node::with(5, 5, "");
    let endpoints = over(&[&node]);
    endpoints.head().await.unwrap();
    assert!(!endpoints.is_current(), "nobody has looked yet");
    endpoints.look().await;
    assert!(endpoints.is_current());
    node.is_down.store(true, Ordering::SeqCst);
    for _ in 0..watchdog::FAILURES_MAX {
        endpoints.look().await;
    }
    node.is_down.store(false, Ordering::SeqCst);
    endpoints.head().await.unwrap();
    assert!(!endpoints.is_current(), "it has what it had when it went away");
    endpoints.look().await;
    assert!(endpoints.is_current());
}

#[tokio::test]
async fn a_node_that_keeps_up_is_current_whatever_else_it_can_not_answer() {
    let node = Node::with(5, 5, "");
    let endpoints = over(&[&node]);
    endpoints.look().await;
    let lost = ChainError::Transient("an old block is not there".to_owned());
    *node.refuses_blocks.lock().unwrap() = Some(lost);
    for _ in 0..=watchdog::FAILURES_MAX {
        endpoints.head().await.unwrap();
        block(&endpoints, 2).await.unwrap_err();
    }
    assert_eq!(endpoints.report()[0].state, State::Unreachable);
    assert!(endpoints.is_current(), "its newest block is the chain's");
}

#[tokio::test]
async fn a_turn_is_answered_by_one_endpoint_and_the_next_by_another() {
    let (first, second) = (Node::with(5, 5, ""), Node::with(5, 3, "b"));
    let endpoints = over(&[&first, &second]);
    for _ in 0..watchdog::FAILURES_MAX {
        endpoints.head().await.unwrap();
        first.is_down.store(true, Ordering::SeqCst);
        endpoints.header_at(5).await.unwrap_err();
        first.is_down.store(false, Ordering::SeqCst);
        let same = endpoints.header_at(5).await.unwrap().unwrap();
        assert_eq!(same.hash, "main5", "no change in the middle of a turn");
    }
    assert_eq!(endpoints.head().await.unwrap().tip.hash, "b5");
    assert_eq!(endpoints.header_at(5).await.unwrap().unwrap().hash, "b5");
    let report = endpoints.report();
    assert_eq!(
        (report[0].state, report[0].error.as_str()),
        (State::Unreachable, "connection refused")
    );
    assert!(report[1].is_serving);
}

#[tokio::test]
async fn a_node_that_can_not_give_blocks_any_more_is_left() {
    for refusal in [
        ChainError::Unsupported("block not available (pruned data)".to_owned()),
        ChainError::Invalid("answer is no JSON".to_owned()),
    ] {
        let (first, second) = (Node::with(5, 5, ""), Node::with(5, 5, ""));
        let endpoints = over(&[&first, &second]);
        *first.refuses_blocks.lock().unwrap() = Some(refusal.clone());
        for _ in 0..watchdog::FAILURES_MAX {
            endpoints.head().await.unwrap();
            assert_eq!(block(&endpoints, 5).await, Err(refusal.clone()), "its own words");
        }
        endpoints.head().await.unwrap();
        assert_eq!(block(&endpoints, 5).await.unwrap().unwrap().reference.hash, "main5");
        assert_eq!(endpoints.report()[0].state, State::Unreachable);
    }
}

#[tokio::test]
async fn a_block_that_was_stated_and_is_not_given_moves_on() {
    let (first, second) = (Node::with(5, 5, ""), Node::with(5, 5, ""));
    let endpoints = over(&[&first, &second]);
    first.hides_blocks.store(true, Ordering::SeqCst);
    for _ in 0..watchdog::LIES_MAX {
        endpoints.head().await.unwrap();
        assert_eq!(block(&endpoints, 6).await, Ok(None), "it did not state that one");
        assert_eq!(block(&endpoints, 5).await, Ok(None));
    }
    endpoints.head().await.unwrap();
    assert_eq!(block(&endpoints, 5).await.unwrap().unwrap().reference.hash, "main5");
    assert_eq!(endpoints.report()[0].state, State::Lying);
}

#[tokio::test]
async fn an_old_block_is_asked_of_the_others_too_and_held_against_nobody() {
    let (first, second) = (Node::with(5, 5, ""), Node::with(5, 5, ""));
    let endpoints = over(&[&first, &second]);
    first.hides_blocks.store(true, Ordering::SeqCst);
    for _ in 0..=watchdog::LIES_MAX {
        endpoints.head().await.unwrap();
        assert_eq!(old_block(&endpoints, 2).await.unwrap().unwrap().reference.hash, "main2");
    }
    let busy = ChainError::Transient("too many requests".to_owned());
    *second.refuses_blocks.lock().unwrap() = Some(busy.clone());
    for _ in 0..=watchdog::FAILURES_MAX {
        endpoints.head().await.unwrap();
        assert_eq!(old_block(&endpoints, 2).await, Err(busy.clone()), "it may have it yet");
    }
    let report = endpoints.report();
    assert_eq!([report[0].state, report[1].state], [State::Healthy, State::Healthy]);
    assert!(report[0].is_serving);
    second.is_down.store(true, Ordering::SeqCst);
    for _ in 0..watchdog::FAILURES_MAX {
        endpoints.look().await;
    }
    assert_eq!(old_block(&endpoints, 2).await, Ok(None), "one that is away is not waited for");
}

#[tokio::test]
async fn two_that_disagree_are_refused_and_a_third_decides() {
    let (first, second) = (Node::with(20, 20, ""), Node::with(20, 10, "b"));
    let endpoints = over(&[&first, &second]);
    let ChainError::Transient(error) = endpoints.head().await.unwrap_err() else { panic!() };
    assert_eq!(error, "e0 has another block 17 than e1; e1 has another block 17 than e0");
    let noted = endpoints.report();
    // A restart while one is away does not make the other right; other endpoints begin anew.
    second.is_down.store(true, Ordering::SeqCst);
    let again = over(&[&first, &second]);
    again.remember(&noted);
    again.look().await;
    assert_eq!(again.report()[0].state, State::Disagrees);
    assert!(again.head().await.is_err());
    let alone = over(&[&first]);
    alone.remember(&noted);
    assert_eq!(alone.head().await.unwrap().tip.height, 20);
    second.is_down.store(false, Ordering::SeqCst);
    second.set(20, 20, "");
    for endpoints in [&endpoints, &again] {
        endpoints.look().await;
        assert_eq!(endpoints.head().await.unwrap().tip.height, 20);
    }

    let (forked, a, b) = (Node::with(20, 10, "f"), Node::with(20, 20, ""), Node::with(21, 21, ""));
    let endpoints = over(&[&forked, &a, &b]);
    assert_eq!(endpoints.head().await.unwrap().tip.hash, "main20");
    assert_eq!(endpoints.report()[0].state, State::Disagrees);
}

#[tokio::test]
async fn a_deep_fork_is_asked_of_the_others_when_it_is_met() {
    let (first, second) = (Node::with(20, 20, ""), Node::with(20, 20, ""));
    let endpoints = over(&[&first, &second]);
    endpoints.head().await.unwrap();
    first.set(21, 10, "b");
    let refused = endpoints.confirm_fork(10, 10).await.unwrap_err();
    assert!(
        matches!(&refused, ChainError::Transient(why) if why.contains("no other")),
        "{refused}"
    );
    second.set(21, 10, "b");
    endpoints.confirm_fork(10, 10).await.unwrap();
}

#[tokio::test]
async fn an_endpoint_of_another_chain_is_named_at_the_start_and_never_read_later() {
    let (first, second) = (Node::with(5, 5, ""), Node::with(9, 0, "x"));
    *second.genesis.lock().unwrap() = "other".to_owned();
    let endpoints = over(&[&first, &second]);
    let error = endpoints.genesis().await.unwrap_err();
    assert!(
        matches!(&error, ChainError::Invalid(why) if why.starts_with("e1 is on another")),
        "{error}"
    );

    second.is_down.store(true, Ordering::SeqCst);
    let endpoints = over(&[&first, &second]);
    assert_eq!(endpoints.genesis().await, Ok("genesis".to_owned()));
    second.is_down.store(false, Ordering::SeqCst);
    endpoints.look().await;
    assert_eq!(endpoints.report()[1].state, State::Unfit);
    first.is_down.store(true, Ordering::SeqCst);
    for _ in 0..watchdog::FAILURES_MAX {
        endpoints.look().await;
    }
    assert!(endpoints.head().await.is_err(), "rather nothing than another chain");
}
