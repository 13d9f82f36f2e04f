//! A server that was off while its chain went on: payments made meanwhile are found in their blocks,
//! through a fork, and count as of then; blocks are asked for side by side, some at a time, and written in
//! their order. Not here: real nodes (`tests/evm`, `tests/utxo`), how fast it goes (`benches`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cryptopayment::chain::sandbox::SandboxChain;
use cryptopayment::chain::{ChainReader as _, SandboxControl as _};
use cryptopayment::domain::asset::Network;
use cryptopayment::store::{Db, cursor};
use cryptopayment::worker::scan::Scanner;
use cryptopayment_sdk::v1::{Invoice, InvoiceException as Exception, InvoiceStatus as Status};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::conformance::world::{World, asked};
use crate::support::core::{Core, NETWORK, request};
use crate::support::distant::{Answers, Asked, Distant, catch_up, scanner, simulated};
use crate::support::server::Engine;

/// Blocks that may be asked for at a time.
const BLOCKS_AHEAD_MAX: u64 = 4;
/// Blocks that may be held until they are written: one transaction's, and those that are on their way.
const BLOCKS_HELD_MAX: u64 = 25 + BLOCKS_AHEAD_MAX;

/// Is off for so many blocks, with payments before, in the first and in the last of them, and two blocks
/// that were scanned before replaced.
async fn off_for(blocks: u32) {
    let mut world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let (before, moved) = (world.invoice().await, world.invoice().await);
    let (first, middle, last) =
        (world.invoice().await, world.invoice().await, world.invoice().await);
    let unpaid = world.invoice().await;
    world.pay(&before, 1, 1).await;
    world.mine_deep(&before).await;
    world.wait(&before, Status::Confirmed, Exception::None).await;
    world.pay(&moved, 1, 1).await;
    world.chain.mine(2).await.unwrap();
    let is_two_deep = |now: &Invoice| now.confirmations.unwrap().received == 2;
    world.wait_until(&moved, "two confirmations", is_two_deep).await;
    world.server.stop().await;

    world.chain.fork(2, &[]).await.unwrap();
    world.pay(&first, 1, 1).await;
    world.chain.mine(blocks.div_ceil(2)).await.unwrap();
    world.pay(&middle, 1, 1).await;
    if blocks > 1 {
        world.chain.mine(blocks / 2).await.unwrap();
    }
    world.pay(&last, 1, 1).await;
    world.chain.mine(6).await.unwrap();

    let began = Instant::now();
    world.server.run().await;
    world.client = world.server.client();
    for invoice in [&before, &moved, &first, &middle, &last] {
        world.wait(invoice, Status::Confirmed, Exception::None).await;
    }
    println!("{:?}: {blocks} blocks were caught up in {:?}", crate::ENGINE, began.elapsed());
    let paid = [&before, &moved, &first, &middle, &last].map(asked);
    world.wait_available(paid.iter().sum()).await;
    world.expire().await;
    world.wait(&unpaid, Status::Expired, Exception::None).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_off_for_1_block_loses_nothing() {
    off_for(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_off_for_100_blocks_loses_nothing() {
    off_for(100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_off_for_2001_blocks_loses_nothing() {
    off_for(2_001).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_off_for_5000_blocks_loses_nothing() {
    // How many blocks were missed is the scanner's affair, not the database's: once is enough.
    if crate::ENGINE == Engine::Sqlite {
        off_for(5_000).await;
    }
}

/// What a node saw.
#[derive(Default)]
struct Seen {
    /// The heights that it was asked for, as it answered.
    answered: Vec<u64>,
    /// How far above the last block that was written it was asked, at most.
    furthest: u64,
}

/// A node that answers what came last first.
async fn backwards(db: Db, mut asked: mpsc::UnboundedReceiver<Asked>) -> Seen {
    let mut seen = Seen::default();
    let mut waiting = Vec::new();
    while asked.recv_many(&mut waiting, 1_000).await > 0 {
        let written = cursor::get(&db, NETWORK).await.unwrap().unwrap().height;
        for one in waiting.drain(..).rev() {
            seen.furthest = seen.furthest.max(one.height - written);
            seen.answered.push(one.height);
            one.answer().await;
        }
    }
    seen
}

/// A scanner that has read a chain, and will have 132 blocks to catch up with: one payment in each eleventh.
struct Missed {
    _directory: TempDir,
    core: Core,
    chain: Arc<SandboxChain>,
    node: Arc<Distant>,
    scanner: Scanner,
    seen: JoinHandle<Seen>,
    /// The last block that was read.
    first: u64,
    /// Blocks that hold a payment.
    paid: Vec<u64>,
}

impl Missed {
    async fn blocks() -> Self {
        let (directory, core, chain) = simulated(crate::ENGINE).await;
        let (asks, asked) = mpsc::unbounded_channel();
        let node = Arc::new(Distant::new(Arc::clone(&chain), Answers::Asked(asks)));
        let mut scanner = scanner(&core, Arc::clone(&node) as _);
        let seen = tokio::spawn(backwards(core.db.clone(), asked));
        catch_up(&mut scanner).await;
        core.fill(20).await;
        catch_up(&mut scanner).await;
        let create = core.create(20);
        let invoice = create.run(&core.caller, &request(None)).await.unwrap().invoice;
        let first = chain.head().await.unwrap().tip.height;
        let mut paid = Vec::new();
        for _ in 0..12 {
            chain.pay(&[(invoice.address_text.clone(), 1_000_000)]).await.unwrap();
            paid.push(chain.mine(11).await.unwrap().height - 10);
        }
        Self { _directory: directory, core, chain, node, scanner, seen, first, paid }
    }

    /// What is written down is the chain up to `last`, each block once and on its parent, each payment in
    /// its block; and nothing above.
    async fn assert_written(&self, last: u64) {
        let Self { core, chain, first, .. } = self;
        let at = cursor::get(&core.db, NETWORK).await.unwrap().unwrap();
        let blocks = cursor::blocks_below(&core.db, NETWORK, u64::MAX >> 1, 1_000).await.unwrap();
        assert_eq!((at.height, &at.hash), (last, &blocks[0].hash));
        let heights: Vec<u64> = blocks.iter().map(|block| block.height).collect();
        assert_eq!(heights, (*first..=last).rev().collect::<Vec<_>>());
        for block in &blocks {
            let theirs = chain.header_at(block.height).await.unwrap().unwrap();
            assert_eq!((&block.hash, &block.parent), (&theirs.hash, &theirs.parent));
        }
        for height in &self.paid {
            let sql = format!("SELECT COUNT(*) FROM deposit WHERE block_height = {height}");
            assert_eq!(core.number(&sql).await, i64::from(*height <= last), "block {height}");
        }
        let all = self.paid.iter().filter(|height| **height <= last).count();
        let counted = core.number("SELECT COUNT(*) FROM deposit").await;
        assert_eq!(counted, i64::try_from(all).unwrap());
    }
}

/// In one thread: whatever is asked for at a time is asked for before the node answers any of it.
#[tokio::test]
async fn missed_blocks_are_asked_for_some_at_a_time_and_written_in_order_whatever_comes_first() {
    let mut missed = Missed::blocks().await;
    catch_up(&mut missed.scanner).await;
    let head = missed.chain.head().await.unwrap().tip.height;
    assert_eq!(head, missed.first + 132);
    missed.assert_written(head).await;
    let most = missed.node.most.load(Ordering::SeqCst);
    assert!((2..=BLOCKS_AHEAD_MAX).contains(&most), "{most} blocks were asked for at a time");
    let Missed { scanner, node, seen, first, .. } = missed;
    drop((scanner, node));
    let Seen { mut answered, furthest } = seen.await.unwrap();
    assert!(furthest <= BLOCKS_HELD_MAX, "{furthest} blocks ahead of what was written");
    assert!(!answered.is_sorted(), "they came as they were asked for");
    answered.sort_unstable();
    assert_eq!(answered, (first + 1..=head).collect::<Vec<_>>(), "each was asked for once");
}

#[tokio::test]
async fn a_block_that_does_not_come_holds_back_those_that_came_before_their_turn() {
    let mut missed = Missed::blocks().await;
    // With three more on their way at the same time, in the middle of a transaction's blocks.
    let withheld = missed.first + 36;
    missed.node.withheld.store(withheld, Ordering::SeqCst);
    let error = missed.scanner.tick().await.unwrap_err().to_string();
    assert!(error.contains("does not give it"), "{error}");
    missed.assert_written(withheld - 1).await;
    missed.node.withheld.store(u64::MAX, Ordering::SeqCst);
    catch_up(&mut missed.scanner).await;
    missed.assert_written(missed.first + 132).await;
}
