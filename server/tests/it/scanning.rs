//! The scanner alone on a simulated chain: where it begins, and up to when it says that it has seen
//! everything. Not here: what it finds (`networks`), many addresses (`loading`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cryptopayment::chain::sandbox::{Sandbox, SandboxChain};
use cryptopayment::chain::{
    Block, BlockRef, ChainError, ChainReader, Head, Mempool, SandboxControl as _, Watch,
};
use cryptopayment::domain::asset::Network;
use cryptopayment::domain::time::Micros;
use cryptopayment::store::cursor::{self, Cursor};

use crate::support::clock::MovedClock;
use crate::support::core::{Core, NETWORK, request};
use crate::support::distant::{catch_up, scanner, simulated};

/// Seconds before now of what counts from its read, which may take a while on a busy machine.
const AT_THE_READ: std::ops::RangeInclusive<i64> = -30..=0;

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

/// How long a chain that has a pace may take for a block.
const SETTLES_AFTER: Duration = Duration::from_secs(900);

/// A chain that gets a block just before its mempool is looked at, while that is wanted; whose node may
/// know that it lacks blocks, that others come by themselves, and since when it has what waits.
struct Between {
    chain: Arc<SandboxChain>,
    is_wanted: AtomicBool,
    is_current: AtomicBool,
    has_pace: AtomicBool,
    waiting_since: Mutex<Option<Micros>>,
}

impl Between {
    fn of(chain: &Arc<SandboxChain>) -> Arc<Self> {
        let (is_wanted, is_current) = (AtomicBool::new(false), AtomicBool::new(true));
        let (chain, has_pace) = (Arc::clone(chain), AtomicBool::new(false));
        let waiting_since = Mutex::default();
        Arc::new(Self { chain, is_wanted, is_current, has_pace, waiting_since })
    }
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

    fn is_current(&self) -> bool {
        self.is_current.load(Ordering::SeqCst)
    }

    fn settles_after(&self) -> Option<Duration> {
        self.has_pace.load(Ordering::SeqCst).then_some(SETTLES_AFTER)
    }

    async fn waiting_since(&self, txids: &[String]) -> Result<Vec<Option<Micros>>, ChainError> {
        Ok(vec![*self.waiting_since.lock().unwrap(); txids.len()])
    }
}

/// A payment of the mempool that a block takes away in that moment is in neither: nobody may be called late
/// for it before the block was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_before_the_mempool_is_read_leaves_the_time_before_it_open() {
    let (_directory, core, chain) = simulated(crate::ENGINE).await;
    let node = Between::of(&chain);
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

/// While the node lacks what others have by now, nobody may be called late: what was paid meanwhile counts
/// from its block's own time once the node has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_stands_still_while_the_node_does() {
    let (_directory, core, chain) = simulated(crate::ENGINE).await;
    let node = Between::of(&chain);
    let mut scanner = scanner(&core, Arc::clone(&node) as _);
    catch_up(&mut scanner).await;
    let before = cursor_of(&core).await;

    node.is_current.store(false, Ordering::SeqCst);
    chain.mine(1).await.unwrap();
    catch_up(&mut scanner).await;
    let stalled = cursor_of(&core).await;
    assert_eq!((stalled.height, stalled.read_at), (before.height + 1, before.read_at));

    node.is_current.store(true, Ordering::SeqCst);
    let began = core.env.now();
    catch_up(&mut scanner).await;
    assert!(cursor_of(&core).await.read_at >= began);
}

/// A node that answers again gives what it had when it went away, and does not know what it missed: nobody may
/// be called late before it gives a block from after that, or so long without one that it missed none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_silence_time_goes_by_the_blocks_until_one_is_new() {
    let (directory, core, chain) = simulated(crate::ENGINE).await;
    let clock = MovedClock::new();
    let core = Core { env: clock.env(), ..core };
    let node = Between::of(&chain);
    node.has_pace.store(true, Ordering::SeqCst);
    let mut scanner = scanner(&core, Arc::clone(&node) as _);
    catch_up(&mut scanner).await;
    let before = cursor_of(&core).await.read_at;

    clock.advance(3_600);
    catch_up(&mut scanner).await;
    assert_eq!(cursor_of(&core).await.read_at, before, "it may lack blocks of a whole hour");
    // By its own clock this one was made an hour ago.
    let missed = chain.mine(1).await.unwrap();
    catch_up(&mut scanner).await;
    assert_eq!(cursor_of(&core).await.read_at, missed.time.max(before));

    let sandbox = Sandbox::open(&directory.path().join("chain.sqlite"), clock.env()).await;
    sandbox.unwrap().chain(NETWORK).await.unwrap().mine(1).await.unwrap();
    let began = core.env.now();
    catch_up(&mut scanner).await;
    assert!(cursor_of(&core).await.read_at >= began, "it has what is new");

    clock.advance(3_600);
    catch_up(&mut scanner).await;
    let held = cursor_of(&core).await.read_at;
    assert!(held < began.plus(Duration::from_secs(60)), "away once more");
    clock.advance(900);
    let began = core.env.now();
    catch_up(&mut scanner).await;
    assert_eq!(cursor_of(&core).await.read_at, held, "that was a silence too");
    for _ in 0..19 {
        clock.advance(50);
        catch_up(&mut scanner).await;
    }
    assert!(cursor_of(&core).await.read_at > began, "no block came that it could have missed");
}

/// What a payment of the mempool counts from, when nobody looked for the `away` last seconds and the node
/// has it for `since` seconds: seconds before now. It is read a moment after now.
async fn counts_from(away: i64, since: Option<i64>) -> i64 {
    let (_directory, core, chain) = simulated(crate::ENGINE).await;
    let clock = MovedClock::new();
    let node = Between::of(&chain);
    let core = Core { env: clock.env(), ..core };
    let mut scanner = scanner(&core, Arc::clone(&node) as _);
    catch_up(&mut scanner).await;
    core.fill(40).await;
    catch_up(&mut scanner).await;
    let invoice = core.create(20).run(&core.caller, &request(None)).await.unwrap().invoice;
    catch_up(&mut scanner).await;

    chain.pay(&[(invoice.address_text, invoice.terms.amount_units)]).await.unwrap();
    clock.advance(away);
    let now = core.env.now();
    let ago = |seconds: i64| Micros(now.0 - seconds * 1_000_000);
    *node.waiting_since.lock().unwrap() = since.map(ago);
    catch_up(&mut scanner).await;
    let seen = core.number("SELECT first_seen_at FROM deposit").await;
    (now.0 - seen + 500_000).div_euclid(1_000_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_made_while_nobody_looked_counts_from_when_the_node_saw_it() {
    assert_eq!(counts_from(600, Some(400)).await, 400);
    let unknown = counts_from(600, None).await;
    assert!(AT_THE_READ.contains(&unknown), "where the node does not know: {unknown}");
    let foretold = counts_from(600, Some(-90)).await;
    assert!(AT_THE_READ.contains(&foretold), "a node's clock does not foretell: {foretold}");
    let earliest = counts_from(600, Some(9_000)).await;
    assert!(
        (600..630).contains(&earliest),
        "nor can it say what was seen not to be there: {earliest}"
    );
}
