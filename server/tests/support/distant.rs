//! A simulated chain and the scanner that reads it into a database without a server around, also behind a
//! node that is away: what is asked for at a time, and answers that come in another order than they were
//! asked for. For what can not be said through the API, and for benches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cryptopayment::chain::sandbox::{Sandbox, SandboxChain};
use cryptopayment::chain::{Block, BlockRef, ChainError, ChainReader, Head, Mempool, Watch};
use cryptopayment::domain::asset::Network;
use cryptopayment::signals::Signals;
use cryptopayment::worker::Step;
use cryptopayment::worker::scan::Scanner;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::core::{Core, NETWORK};
use super::server::{Engine, fresh_database};

/// A fresh database and a simulated chain, in a directory that is to outlive them.
pub async fn simulated(engine: Engine) -> (TempDir, Core, Arc<SandboxChain>) {
    let directory = tempfile::tempdir().unwrap();
    let url = fresh_database(engine, directory.path()).await;
    let core = Core::new(&url, directory.path()).await;
    let sandbox = Sandbox::open(&directory.path().join("chain.sqlite"), core.env.clone()).await;
    let chain = Arc::new(sandbox.unwrap().chain(NETWORK).await.unwrap());
    (directory, core, chain)
}

/// What reads a chain into the database.
pub fn scanner(core: &Core, chain: Arc<dyn ChainReader>) -> Scanner {
    scanner_of(core, chain, core.env.new_id())
}

/// The same of the process `holder`.
pub fn scanner_of(core: &Core, chain: Arc<dyn ChainReader>, holder: Uuid) -> Scanner {
    Scanner::new(core.db.clone(), core.env.clone(), chain, Signals::default(), holder)
}

/// Reads until there is nothing left to read.
pub async fn catch_up(scanner: &mut Scanner) {
    while scanner.tick().await.unwrap() == Step::More {}
}

/// When a node answers with a block.
pub enum Answers {
    /// After so long.
    After(Duration),
    /// When whoever has the other end says so.
    Asked(mpsc::UnboundedSender<Asked>),
}

/// A block that was asked for and is not answered yet.
pub struct Asked {
    pub height: u64,
    turn: oneshot::Sender<()>,
    answered: oneshot::Receiver<()>,
}

impl Asked {
    /// Answers it, and waits until whoever asked has the block.
    pub async fn answer(self) {
        let Self { turn, answered, .. } = self;
        // Whoever asked may have given up: then nobody waits.
        let _ = turn.send(());
        let _ = answered.await;
    }
}

/// A chain whose blocks take a while to come.
pub struct Distant {
    chain: Arc<SandboxChain>,
    answers: Answers,
    waiting: AtomicU64,
    /// The most that were waited for at a time.
    pub most: AtomicU64,
    /// A block that the node states and does not give; `u64::MAX` if it gives all.
    pub withheld: AtomicU64,
}

impl Distant {
    pub fn new(chain: Arc<SandboxChain>, answers: Answers) -> Self {
        let (waiting, most) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { chain, answers, waiting, most, withheld: AtomicU64::new(u64::MAX) }
    }
}

/// Counts one less when a call ends, also one that nobody waits for any more.
struct Ends<'a>(&'a AtomicU64);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
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
        let _ends = Ends(&self.waiting);
        let (told, answered) = oneshot::channel();
        match &self.answers {
            Answers::After(time) => tokio::time::sleep(*time).await,
            Answers::Asked(node) => {
                let (turn, comes) = oneshot::channel();
                let _ = node.send(Asked { height, turn, answered });
                let _ = comes.await;
            }
        }
        let is_withheld = height == self.withheld.load(Ordering::SeqCst);
        let block = if is_withheld { Ok(None) } else { self.chain.block_at(height, watch).await };
        let _ = told.send(());
        block
    }

    async fn mempool(&self, watch: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        self.chain.mempool(watch).await
    }
}
