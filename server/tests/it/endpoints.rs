//! A scanner over nodes that flap, lie, fork, go back and die: what it reads, what it leaves alone, and
//! that no payment is lost or counted twice. The nodes bend one simulated chain. Not here: real nodes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cryptopayment::chain::endpoints::{Endpoints, NamedReader};
use cryptopayment::chain::sandbox::{Sandbox, SandboxChain};
use cryptopayment::chain::{
    Block, BlockRef, ChainError, ChainReader, Head, Mempool, SandboxControl as _, Watch,
};
use cryptopayment::domain::asset::Network;
use cryptopayment::domain::endpoint::EndpointState as State;
use cryptopayment::signals::Signals;
use cryptopayment::store::cursor::{self, Cursor};
use cryptopayment::store::rescans::{self, RescanState};
use cryptopayment::usecase::apply_deposits::ApplyDeposits;
use cryptopayment::usecase::rescan_blocks;
use cryptopayment::worker::Step;
use cryptopayment::worker::scan::Scanner;
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::clock::MovedClock;
use crate::support::core::{Core, NETWORK, request};
use crate::support::server::fresh_database;

/// How a node bends the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bend {
    Straight,
    Down,
    /// It has so many blocks less.
    Lacks(u64),
    /// The same at two of three questions for its head, as behind a load balancer.
    Flaps(u64),
    /// It states its head and gives no block.
    Hides,
    /// It follows another chain above this block, with none of our payments.
    Forked(u64),
    /// The same of its blocks alone, not of their headers: two nodes behind one address.
    Torn(u64),
    /// It has pruned all blocks below this one.
    Pruned(u64),
    /// Its two newest blocks are replaced when it is asked for a block, once.
    ForksMeanwhile,
}

/// Turns that a scanner may take at the most for what a test gives it to read.
const TURNS_MAX: u32 = 100;

pub(super) struct Node {
    chain: SandboxChain,
    bend: Mutex<Bend>,
    heads_asked: Mutex<u64>,
}

impl Node {
    pub(super) fn bend(&self, bend: Bend) {
        *self.bend.lock().unwrap() = bend;
    }

    fn bent(&self) -> Result<Bend, ChainError> {
        let bend = *self.bend.lock().unwrap();
        if bend == Bend::Down {
            return Err(ChainError::Transient("connection refused".to_owned()));
        }
        Ok(bend)
    }

    /// How many blocks it lacks at this moment.
    fn lacks(&self) -> Result<u64, ChainError> {
        Ok(match self.bent()? {
            Bend::Lacks(blocks) => blocks,
            Bend::Flaps(blocks) if !self.heads_asked.lock().unwrap().is_multiple_of(3) => blocks,
            _ => 0,
        })
    }

    fn shown(&self, mut block: BlockRef) -> Result<BlockRef, ChainError> {
        if let Bend::Forked(above) = self.bent()? {
            bend_away(&mut block, above);
        }
        Ok(block)
    }
}

/// Puts a block on another chain that goes its own way above this height.
fn bend_away(block: &mut BlockRef, above: u64) {
    // No digit of a hash: it differs whatever the hash begins with.
    if block.height > above {
        block.hash = format!("x{}", &block.hash[1..]);
    }
    if block.height > above + 1 {
        block.parent = format!("x{}", &block.parent[1..]);
    }
}

#[async_trait]
impl ChainReader for Node {
    fn network(&self) -> Network {
        NETWORK
    }

    async fn genesis(&self) -> Result<String, ChainError> {
        self.bent()?;
        self.chain.genesis().await
    }

    async fn head(&self) -> Result<Head, ChainError> {
        *self.heads_asked.lock().unwrap() += 1;
        let lacks = self.lacks()?;
        let head = self.chain.head().await?;
        let at = self.chain.header_at(head.tip.height - lacks).await?.unwrap();
        Ok(Head { tip: self.shown(at)?, ..head })
    }

    async fn header_at(&self, height: u64) -> Result<Option<BlockRef>, ChainError> {
        let lacks = self.lacks()?;
        let newest = self.chain.head().await?.tip.height - lacks;
        let block = self.chain.header_at(height).await?.filter(|block| block.height <= newest);
        block.map(|block| self.shown(block)).transpose()
    }

    async fn block_at(&self, height: u64, watch: Watch<'_>) -> Result<Option<Block>, ChainError> {
        let bend = self.bent()?;
        if bend == Bend::ForksMeanwhile {
            self.chain.fork(2, &[]).await?;
            self.bend(Bend::Straight);
        }
        if matches!(bend, Bend::Pruned(first) if height < first) {
            return Ok(None);
        }
        if bend == Bend::Hides || self.header_at(height).await?.is_none() {
            return Ok(None);
        }
        let Some(mut block) = self.chain.block_at(height, watch).await? else { return Ok(None) };
        block.reference = self.shown(block.reference)?;
        if let Bend::Torn(above) = bend {
            bend_away(&mut block.reference, above);
        }
        if matches!(bend, Bend::Forked(above) if height > above) {
            (block.transfers, block.consumptions) = (Vec::new(), Vec::new());
        }
        Ok(Some(block))
    }

    async fn mempool(&self, watch: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        self.bent()?;
        self.chain.mempool(watch).await
    }
}

/// A scanner, an applier and an invoice of five dollars, driven by hand.
pub(super) struct Story {
    pub(super) core: Core,
    pub(super) chain: SandboxChain,
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) clock: MovedClock,
    scanner: Scanner,
    apply: ApplyDeposits,
    address: String,
    units: u128,
    _directory: TempDir,
}

impl Story {
    pub(super) async fn with(nodes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = fresh_database(crate::ENGINE, directory.path()).await;
        let core = Core::new(&url, directory.path()).await;
        let file = directory.path().join("chain.sqlite");
        let sandbox = Sandbox::open(&file, core.env.clone()).await.unwrap();
        let chain = sandbox.chain(NETWORK).await.unwrap();
        chain.mine(100).await.unwrap();
        let node = |_| {
            let (chain, bend) = (chain.clone(), Mutex::new(Bend::Straight));
            Arc::new(Node { chain, bend, heads_asked: Mutex::default() })
        };
        let nodes: Vec<Arc<Node>> = (0..nodes).map(node).collect();
        let named = |(n, node): (usize, &Arc<Node>)| NamedReader {
            name: format!("node {n}"),
            host: String::new(),
            reader: Arc::clone(node) as _,
        };
        let clock = MovedClock::new();
        let readers = nodes.iter().enumerate().map(named).collect();
        let endpoints = Arc::new(Endpoints::new(NETWORK, readers, true, clock.env()));
        let (db, env) = (core.db.clone(), core.env.clone());
        let (reader, holder) = (Arc::clone(&endpoints) as _, env.new_id());
        let mut scanner = Scanner::new(db, env, reader, Signals::default(), holder);
        while scanner.tick().await.unwrap() == Step::More {}
        core.fill(40).await;
        while scanner.tick().await.unwrap() == Step::More {}
        let create = core.create(20);
        let invoice = create.run(&core.caller, &request(None)).await.unwrap().invoice;
        let apply = core.apply();
        let (address, units) = (invoice.address_text, invoice.terms.amount_units);
        Self {
            core,
            chain,
            nodes,
            endpoints,
            clock,
            scanner,
            apply,
            address,
            units,
            _directory: directory,
        }
    }

    /// Pays the invoice in a block of its own.
    async fn pay(&self) {
        self.chain.pay(&[(self.address.clone(), self.units)]).await.unwrap();
        self.chain.mine(1).await.unwrap();
    }

    /// Ticks until nothing is left, looking at the nodes first as the watcher does.
    pub(super) async fn read(&mut self) -> Result<Cursor, String> {
        self.endpoints.look().await;
        let mut read = Err("goes on without end".to_owned());
        for _ in 0..TURNS_MAX {
            match self.scanner.tick().await {
                Ok(Step::More) => continue,
                Ok(Step::Idle) => read = Ok(self.cursor().await),
                Err(error) => read = Err(format!("{error:#}")),
            }
            break;
        }
        self.apply.run(NETWORK).await.unwrap();
        read
    }

    async fn cursor(&self) -> Cursor {
        cursor::get(&self.core.db, NETWORK).await.unwrap().unwrap()
    }

    /// Asks for blocks to be read again.
    async fn rescan(&self, from: u64, to: u64) -> Uuid {
        let (db, env) = (&self.core.db, &self.core.env);
        let asked = rescan_blocks::request(db, env, NETWORK, (from, to), "operator").await;
        asked.unwrap().id
    }

    async fn credited(&self) -> i64 {
        self.core.number("SELECT COUNT(*) FROM deposit WHERE credited").await
    }

    fn states(&self) -> Vec<State> {
        self.endpoints.report().into_iter().map(|one| one.state).collect()
    }

    /// Every transfer of the ledger, whatever it was for.
    async fn transfers(&self) -> i64 {
        self.core.number("SELECT COUNT(*) FROM transfer").await
    }

    /// The invoice is paid, once, and nothing was ever taken back.
    async fn ends_well(mut self) {
        self.chain.mine(6).await.unwrap();
        self.read().await.unwrap();
        let confirmed = "SELECT COUNT(*) FROM invoice WHERE status = 'confirmed'";
        assert_eq!(self.core.number(confirmed).await, 1);
        assert_eq!((self.credited().await, self.transfers().await), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_flap_undo_nothing() {
    let mut story = Story::with(1).await;
    story.pay().await;
    story.chain.mine(7).await.unwrap();
    let before = story.read().await.unwrap();
    assert_eq!(story.credited().await, 1);
    story.nodes[0].bend(Bend::Flaps(9));
    let mut behind = 0;
    for _ in 0..6 {
        behind += u32::from(story.read().await.is_err());
        let now = story.cursor().await;
        assert_eq!((now.height, &now.hash), (before.height, &before.hash));
    }
    assert!(behind > 0, "at times the node was behind");
    assert_eq!(story.credited().await, 1);
    story.nodes[0].bend(Bend::Straight);
    story.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_whose_block_is_not_given_is_waited_for_and_called_a_lie() {
    let mut story = Story::with(1).await;
    let before = story.read().await.unwrap();
    story.pay().await;
    story.nodes[0].bend(Bend::Hides);
    for _ in 0..3 {
        let error = story.read().await.unwrap_err();
        assert!(error.contains("does not give"), "{error}");
    }
    assert!(story.read().await.is_err());
    assert_eq!(story.states(), [State::Lying]);
    let now = story.cursor().await;
    assert_eq!((now.height, now.watermark), (before.height, before.watermark));
    story.nodes[0].bend(Bend::Straight);
    story.clock.advance(60);
    story.read().await.unwrap();
    story.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_disagree_stop_credit_and_time() {
    let mut story = Story::with(2).await;
    story.pay().await;
    story.chain.mine(3).await.unwrap();
    let before = story.read().await.unwrap();
    assert_eq!(story.credited().await, 0, "not deep enough yet");
    story.chain.mine(20).await.unwrap();
    story.nodes[1].bend(Bend::Forked(before.height - 2));
    for _ in 0..2 {
        let error = story.read().await.unwrap_err();
        assert!(error.contains("has another block"), "{error}");
        assert_eq!(story.states(), [State::Disagrees, State::Disagrees]);
        assert_eq!(story.cursor().await, before, "cursor and watermark stand");
        assert_eq!(story.credited().await, 0);
    }
    // One of them goes away: which one was right is still not known.
    story.nodes[0].bend(Bend::Down);
    for _ in 0..4 {
        story.read().await.unwrap_err();
    }
    assert_eq!(story.cursor().await, before);
    story.nodes[0].bend(Bend::Straight);
    story.nodes[1].bend(Bend::Straight);
    story.clock.advance(60);
    story.read().await.unwrap();
    story.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_snapshot_is_waited_for_and_not_followed() {
    let mut story = Story::with(1).await;
    story.pay().await;
    story.chain.mine(31).await.unwrap();
    let before = story.read().await.unwrap();
    assert_eq!(story.credited().await, 1);
    story.nodes[0].bend(Bend::Lacks(31));
    let error = story.read().await.unwrap_err();
    assert!(error.contains("had block 132 and has 101 now"), "{error}");
    assert_eq!((story.states(), story.cursor().await), (vec![State::WentBack], before));
    story.nodes[0].bend(Bend::Straight);
    story.read().await.unwrap();
    story.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_nodes_the_one_that_is_forked_is_left() {
    let mut story = Story::with(3).await;
    let before = story.read().await.unwrap();
    story.nodes[0].bend(Bend::Forked(before.height));
    story.pay().await;
    story.chain.mine(6).await.unwrap();
    story.read().await.unwrap();
    assert_eq!(story.states(), [State::Disagrees, State::Healthy, State::Healthy]);
    assert_eq!(story.credited().await, 1);
    story.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_first_node_dies_the_next_is_read() {
    let mut story = Story::with(2).await;
    story.read().await.unwrap();
    story.nodes[0].bend(Bend::Down);
    story.pay().await;
    for _ in 0..2 {
        story.read().await.unwrap_err();
    }
    story.read().await.unwrap();
    assert_eq!(story.states(), [State::Unreachable, State::Healthy]);
    assert!(story.endpoints.report()[1].is_serving);
    story.nodes[0].bend(Bend::Straight);
    for _ in 0..2 {
        story.clock.advance(60);
        story.read().await.unwrap();
    }
    assert!(story.endpoints.report()[0].is_serving, "the first again, when it has been healthy");
    story.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_another_chain_takes_nothing_back_when_the_first_dies() {
    let mut story = Story::with(2).await;
    story.pay().await;
    story.chain.mine(12).await.unwrap();
    let before = story.read().await.unwrap();
    assert_eq!(story.credited().await, 1);
    story.nodes[0].bend(Bend::Down);
    // Nobody looks in between: they were never seen to disagree.
    story.nodes[1].bend(Bend::Forked(100));
    for _ in 0..6 {
        story.read().await.unwrap_err();
    }
    assert!(story.endpoints.report()[1].is_serving);
    assert_eq!((story.cursor().await, story.credited().await), (before, 1));
    story.nodes[0].bend(Bend::Straight);
    for _ in 0..2 {
        story.nodes[1].bend(Bend::Straight);
        story.clock.advance(60);
        story.read().await.unwrap();
    }
    story.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_blocks_do_not_follow_its_headers_is_left_for_the_next() {
    let mut story = Story::with(2).await;
    let before = story.read().await.unwrap();
    story.pay().await;
    // The next block says that it follows another one than the node has there.
    story.nodes[0].bend(Bend::Torn(before.height - 1));
    for _ in 0..3 {
        let error = story.read().await.unwrap_err();
        assert!(error.contains("contradicts itself"), "{error}");
    }
    assert_eq!((story.cursor().await, story.credited().await), (before, 0));
    story.read().await.unwrap();
    assert_eq!(story.states(), [State::Unreachable, State::Healthy]);
    assert!(story.endpoints.report()[0].error.contains("contradicts itself"));
    story.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_between_two_reads_is_undone_at_once() {
    let mut story = Story::with(1).await;
    story.pay().await;
    story.read().await.unwrap();
    story.chain.mine(1).await.unwrap();
    story.nodes[0].bend(Bend::ForksMeanwhile);
    let after = story.read().await.unwrap();
    let tip = story.chain.head().await.unwrap().tip;
    assert_eq!((after.height, after.hash), (tip.height, tip.hash));
    assert_eq!(story.states(), [State::Healthy]);
    story.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rescan_of_pruned_blocks_fails_and_holds_up_nothing() {
    let mut story = Story::with(1).await;
    story.nodes[0].bend(Bend::Pruned(50));
    let (pruned, kept) = (story.rescan(5, 60).await, story.rescan(60, 70).await);
    story.pay().await;
    let mut ended = None;
    for _ in 0..TURNS_MAX {
        let _ = story.read().await;
        assert_eq!(story.states(), [State::Healthy]);
        let found = rescans::get(&story.core.db, pruned).await.unwrap();
        ended = found.filter(|one| one.state != RescanState::Waiting);
        if ended.is_some() {
            break;
        }
    }
    let ended = ended.unwrap();
    assert_eq!((ended.state, ended.next_height), (RescanState::Failed, 5));
    assert!(ended.error.contains("no node gives block 5"), "{}", ended.error);
    story.read().await.unwrap();
    let kept = rescans::get(&story.core.db, kept).await.unwrap().unwrap();
    assert_eq!(kept.state, RescanState::Done, "{}", kept.error);
    story.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_that_one_node_pruned_are_read_again_through_another() {
    let mut story = Story::with(2).await;
    story.nodes[0].bend(Bend::Pruned(50));
    let id = story.rescan(5, 60).await;
    story.read().await.unwrap();
    let rescan = rescans::get(&story.core.db, id).await.unwrap().unwrap();
    assert_eq!(rescan.state, RescanState::Done, "{}", rescan.error);
    assert_eq!(story.states(), [State::Healthy, State::Healthy]);
    assert!(story.endpoints.report()[0].is_serving, "it has what is new");
    story.pay().await;
    story.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_of_another_chain_are_not_read_again_for_ever() {
    let mut story = Story::with(1).await;
    let before = story.read().await.unwrap();
    let id = story.rescan(before.height - 5, before.height).await;
    // The cursor's block is there by its header, and is another one when it is read.
    story.nodes[0].bend(Bend::Torn(before.height - 2));
    for _ in 0..TURNS_MAX {
        let _ = story.read().await;
    }
    let rescan = rescans::get(&story.core.db, id).await.unwrap().unwrap();
    assert_eq!((rescan.state, rescan.deposits_changed), (RescanState::Failed, 0));
    assert!(rescan.error.contains("are not those scanned"), "{}", rescan.error);
}
