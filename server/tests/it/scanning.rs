//! The scanner alone on a simulated chain: where it begins, and up to when it says that it has seen
//! everything. Not here: what it finds (`networks`), many addresses (`loading`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use cryptopayment::chain::sandbox::SandboxChain;
use cryptopayment::chain::{
    Block, BlockRef, ChainError, ChainReader, Head, Mempool, SandboxControl as _, Watch,
};
use cryptopayment::domain::asset::Network;
use cryptopayment::store::cursor::{self, Cursor};

use crate::support::core::{Core, NETWORK};
use crate::support::distant::{catch_up, scanner, simulated};

async fn cursor_of(core: &Core) -> Cursor {
    cursor::get(&core.db, NETWORK).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_block_that_was_the_tip_at_the_first_start_may_be_replaced() {
    let (_directory, core, chain) = simulated(crate::ENGINE).await;
    chain.mine(3).await.unwrap();
    let mut scanner = scanner(&core, Arc::clone(&chain) as _);
    catch_up(&mut scanner).await;
    assert_eq!(cursor_of(&core).await.height, 3);
    let tip = chain.fork(2, &[]).await.unwrap();
    catch_up(&mut scanner).await;
    let cursor = cursor_of(&core).await;
    assert_eq!((cursor.height, cursor.hash), (tip.height, tip.hash));
}

/// A chain that gets a block just before its mempool is looked at, while that is wanted.
struct Between {
    chain: Arc<SandboxChain>,
    is_wanted: AtomicBool,
}

#[async_trait]
impl ChainReader for Between {
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
        self.chain.block_at(height, watch).await
    }

    async fn mempool(&self, watch: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        if self.is_wanted.load(Ordering::SeqCst) {
            self.chain.mine(1).await?;
        }
        self.chain.mempool(watch).await
    }
}

/// A payment of the mempool that a block takes away in that moment is in neither: nobody may be called late
/// for it before the block was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_before_the_mempool_is_read_leaves_the_time_before_it_open() {
    let (_directory, core, chain) = simulated(crate::ENGINE).await;
    let node = Arc::new(Between { chain, is_wanted: AtomicBool::new(false) });
    let mut scanner = scanner(&core, Arc::clone(&node) as _);
    let began = core.env.now();
    catch_up(&mut scanner).await;
    let whole = cursor_of(&core).await.read_at;
    assert!(whole >= began, "a turn without a block in between has seen everything");

    node.is_wanted.store(true, Ordering::SeqCst);
    let mut before = whole;
    for _ in 0..3 {
        let began = core.env.now();
        scanner.tick().await.unwrap();
        let read_at = cursor_of(&core).await.read_at;
        assert!(before <= read_at && read_at < began, "what the block held was not seen yet");
        before = read_at;
    }
    assert!(before > whole, "blocks at every turn do not stop the time");

    node.is_wanted.store(false, Ordering::SeqCst);
    let began = core.env.now();
    catch_up(&mut scanner).await;
    assert!(cursor_of(&core).await.read_at >= began);
}
