//! Payments that no block tells, found by what their addresses own: scanner, reconciler and applier driven
//! step by step on a chain in memory whose blocks hide what a test lets them hide.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cryptopayment::chain::{
    Block, BlockRef, ChainError, ChainReader, Head, Mempool, Transfer, Watch,
};
use cryptopayment::domain::asset::Network;
use cryptopayment::domain::deposit::{DepositState, is_delta};
use cryptopayment::domain::invoice::{Exception, Status};
use cryptopayment::domain::time::Micros;
use cryptopayment::signals::Signals;
use cryptopayment::store::addresses;
use cryptopayment::store::cursor::{self, Cursor};
use cryptopayment::store::deposits::{self, FoundDeposit, InBlock, Recorded};
use cryptopayment::store::invoices::{self, Invoice, InvoiceView};
use cryptopayment::usecase::create_invoice::CreateInvoice;
use cryptopayment::worker::Step;
use cryptopayment::worker::reconcile::Reconciler;
use cryptopayment::worker::scan::Scanner;
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::core::{Core, NETWORK, request};
use crate::support::server::fresh_database;

mod forks;

/// As deep as a payment must be in `support::core`.
const CONFIRMATIONS: u32 = 6;
const HALF_AN_HOUR: i64 = 30 * 60 * 1_000_000;

/// What one block moves.
#[derive(Clone, Default)]
struct Moves {
    /// Payments that the node tells.
    told: Vec<(Vec<u8>, u128)>,
    /// Money that only balances show; it leaves where it is negative.
    hidden: Vec<(Vec<u8>, i128)>,
    /// What the block says its time is; now, if it says nothing.
    time: Option<Micros>,
}

struct Made {
    reference: BlockRef,
    moves: Moves,
}

/// A chain in memory, from the block on with which `Core` begins.
struct Chain {
    state: Mutex<State>,
}

struct State {
    blocks: Vec<Made>,
    hashes: u32,
    /// Up to where blocks are called final, where that is said.
    finalized: Option<u64>,
    /// Questions about balances that are answered yet.
    answers: usize,
}

impl Chain {
    fn new() -> Self {
        let reference =
            BlockRef { height: 1, hash: "00".repeat(32), parent: "ff".repeat(32), time: Micros(0) };
        let blocks = vec![Made { reference, moves: Moves::default() }];
        Self {
            state: Mutex::new(State { blocks, hashes: 0, finalized: Some(1), answers: usize::MAX }),
        }
    }

    /// Adds a block and returns its height.
    fn add(&self, moves: Moves, now: Micros) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.hashes += 1;
        let parent = state.blocks.last().unwrap().reference.clone();
        let height = parent.height + 1;
        let hash = format!("{:064x}", state.hashes);
        let time = moves.time.unwrap_or(now);
        let reference = BlockRef { height, hash, parent: parent.hash, time };
        state.blocks.push(Made { reference, moves });
        height
    }

    /// Calls blocks up to a height final.
    fn finalize(&self, height: u64) {
        self.state.lock().unwrap().finalized = Some(height);
    }

    /// Says nothing any more about what is final.
    fn say_no_finality(&self) {
        self.state.lock().unwrap().finalized = None;
    }

    /// Forgets the blocks above a height.
    fn undo_above(&self, height: u64) {
        self.state.lock().unwrap().blocks.retain(|made| made.reference.height <= height);
    }

    /// Answers so many questions about balances, and fails at the next.
    fn answer(&self, questions: usize) {
        self.state.lock().unwrap().answers = questions;
    }

    fn hash_at(&self, height: u64) -> String {
        let state = self.state.lock().unwrap();
        let made = state.blocks.iter().find(|made| made.reference.height == height).unwrap();
        made.reference.hash.clone()
    }
}

#[async_trait]
impl ChainReader for Chain {
    fn network(&self) -> Network {
        NETWORK
    }

    async fn genesis(&self) -> Result<String, ChainError> {
        Ok("00".repeat(32))
    }

    async fn head(&self) -> Result<Head, ChainError> {
        let state = self.state.lock().unwrap();
        let tip = state.blocks.last().unwrap().reference.clone();
        Ok(Head { tip, finalized_height: state.finalized })
    }

    async fn header_at(&self, height: u64) -> Result<Option<BlockRef>, ChainError> {
        let state = self.state.lock().unwrap();
        let made = state.blocks.iter().find(|made| made.reference.height == height);
        Ok(made.map(|made| made.reference.clone()))
    }

    async fn block_at(&self, height: u64, _: Watch<'_>) -> Result<Option<Block>, ChainError> {
        let state = self.state.lock().unwrap();
        let made = state.blocks.iter().find(|made| made.reference.height == height);
        Ok(made.map(|made| {
            let told = made.moves.told.iter().enumerate();
            let transfer = |(place, (key, units)): (usize, &(Vec<u8>, u128))| {
                transfer(&made.reference.hash, place, key, *units)
            };
            Block {
                reference: made.reference.clone(),
                unexpected: Vec::new(),
                transfers: told.map(transfer).collect(),
                consumptions: Vec::new(),
                may_hide_payments: !made.moves.hidden.is_empty(),
            }
        }))
    }

    async fn mempool(&self, _: Watch<'_>) -> Result<Option<Mempool>, ChainError> {
        Ok(None)
    }

    async fn balances(&self, at: &BlockRef, keys: &[Vec<u8>]) -> Result<Vec<u128>, ChainError> {
        let mut state = self.state.lock().unwrap();
        if state.answers == 0 {
            return Err(ChainError::Transient("the node went away".to_owned()));
        }
        state.answers -= 1;
        let is_at = |made: &Made| made.reference.hash == at.hash;
        assert!(state.blocks.iter().any(is_at), "a block of the chain");
        let mut owned: HashMap<&[u8], i128> = HashMap::new();
        for made in state.blocks.iter().filter(|made| made.reference.height <= at.height) {
            for (key, units) in &made.moves.told {
                *owned.entry(key).or_default() += i128::try_from(*units).unwrap();
            }
            for (key, units) in &made.moves.hidden {
                *owned.entry(key).or_default() += units;
            }
        }
        let of = |key: &Vec<u8>| owned.get(key.as_slice()).copied().unwrap_or(0);
        Ok(keys.iter().map(|key| u128::try_from(of(key)).unwrap()).collect())
    }
}

fn transfer(txid: &str, place: usize, key: &[u8], units: u128) -> Transfer {
    Transfer {
        txid: txid.replacen('0', "7", 1),
        ordinal: format!("t:{place}"),
        address_key: key.to_vec(),
        asset: NETWORK.asset(),
        units,
        consumes: Vec::new(),
    }
}

/// The workers of a network and the chain they read.
struct World {
    core: Core,
    _directory: TempDir,
    chain: Arc<Chain>,
    scanner: Scanner,
    create: Arc<CreateInvoice>,
    holder: Uuid,
}

impl World {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = fresh_database(crate::ENGINE, directory.path()).await;
        let core = Core::new(&url, directory.path()).await;
        core.fill(20).await;
        let chain = Arc::new(Chain::new());
        let holder = core.env.new_id();
        let (db, env, reader) = (core.db.clone(), core.env.clone(), Arc::clone(&chain) as _);
        let scanner = Scanner::new(db, env, reader, Signals::default(), holder);
        let create = core.create(20);
        Self { core, _directory: directory, chain, scanner, create, holder }
    }

    async fn invoice(&self) -> Invoice {
        self.create.run(&self.core.caller, &request(None)).await.unwrap().invoice
    }

    /// The key of an invoice's address, and what the invoice asks.
    async fn asked(&self, invoice: &Invoice) -> (Vec<u8>, u128) {
        let unit = self.core.db.begin("read").await.unwrap();
        let ids = [invoice.address_id];
        let signed = addresses::signed_addresses(&unit, NETWORK, &ids).await.unwrap();
        let key = signed[&invoice.address_id].address.key.clone();
        (key, invoice.terms.amount_units)
    }

    fn block(&self, moves: Moves) -> u64 {
        self.chain.add(moves, self.core.env.now())
    }

    fn told(&self, told: &[(Vec<u8>, u128)]) -> u64 {
        self.block(Moves { told: told.to_vec(), ..Moves::default() })
    }

    fn hidden(&self, hidden: &[(Vec<u8>, i128)]) -> u64 {
        self.block(Moves { hidden: hidden.to_vec(), ..Moves::default() })
    }

    fn quiet_blocks(&self, count: u32) -> u64 {
        (0..count).fold(0, |_, _| self.block(Moves::default()))
    }

    async fn read(&mut self) {
        while self.scanner.tick().await.unwrap() == Step::More {}
        self.apply().await;
    }

    async fn apply(&self) {
        let apply = self.core.apply();
        while apply.run(NETWORK).await.unwrap().evaluated > 0 {}
    }

    fn reconciler(&self) -> Reconciler {
        let (db, env, reader) =
            (self.core.db.clone(), self.core.env.clone(), Arc::clone(&self.chain) as _);
        Reconciler::new(db, env, reader, Signals::default(), self.holder)
    }

    /// Calls blocks up to a height final, and reconciles there.
    async fn reconcile_at(&mut self, height: u64) {
        self.chain.finalize(height);
        self.read().await;
        self.reconciler().tick().await.unwrap();
        self.apply().await;
    }

    async fn view(&self, invoice: &Invoice) -> InvoiceView {
        let (db, merchant) = (&self.core.db, invoice.merchant_id);
        invoices::get(db, merchant, invoice.id).await.unwrap().unwrap()
    }

    async fn stands(&self, invoice: &Invoice) -> (Status, Exception) {
        let standing = self.view(invoice).await.invoice.standing;
        (standing.status, standing.exception)
    }

    async fn cursor(&self) -> Cursor {
        cursor::get(&self.core.db, NETWORK).await.unwrap().unwrap()
    }

    async fn available(&self) -> u128 {
        let sum = "SELECT CAST(COALESCE(SUM(CAST(b.posted AS BIGINT)), 0) AS BIGINT)
                   FROM balance b JOIN account a ON a.id = b.account_id
                   WHERE a.kind = 'merchant_available'";
        self.core.number(sum).await.try_into().unwrap()
    }

    async fn found(&self, invoice: &Invoice, txid: &str, block: Option<u64>) -> FoundDeposit {
        let now = self.core.env.now();
        let (_, units) = self.asked(invoice).await;
        let hash = |height| self.chain.hash_at(height);
        FoundDeposit {
            id: self.core.env.new_id(),
            txid: txid.to_owned(),
            ordinal: "t:".to_owned(),
            address_id: invoice.address_id,
            invoice_id: Some(invoice.id),
            merchant_id: Some(invoice.merchant_id),
            asset: NETWORK.asset(),
            units,
            first_seen_at: now,
            block: block.map(|height| InBlock { height, hash: hash(height), at: now }),
            consumes: Vec::new(),
        }
    }

    async fn record(&self, found: &FoundDeposit) -> Recorded {
        let unit = self.core.db.begin("record").await.unwrap();
        let recorded = deposits::record(&unit, NETWORK, found).await.unwrap();
        unit.commit().await.unwrap();
        recorded
    }
}

fn positive(units: u128) -> i128 {
    units.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_block_tells_is_credited_once_when_it_is_final() {
    let mut world = World::start().await;
    let (plain, hidden) = (world.invoice().await, world.invoice().await);
    let (plain_key, plain_units) = world.asked(&plain).await;
    let (hidden_key, hidden_units) = world.asked(&hidden).await;
    let height = world.block(Moves {
        told: vec![(plain_key, plain_units)],
        hidden: vec![(hidden_key.clone(), positive(hidden_units))],
        time: None,
    });
    world.quiet_blocks(CONFIRMATIONS);
    world.read().await;
    world.reconciler().tick().await.unwrap();
    world.apply().await;
    assert_eq!(world.stands(&plain).await, (Status::Confirmed, Exception::None));
    assert_eq!(world.stands(&hidden).await, (Status::Pending, Exception::None), "not final yet");
    assert_eq!(world.available().await, plain_units);

    world.reconcile_at(height + 1).await;
    let view = world.view(&hidden).await;
    let [deposit] = view.deposits.as_slice() else { panic!("{:?}", view.deposits) };
    assert_eq!(deposit.txid, world.chain.hash_at(height + 1), "the final block stands as txid");
    assert!(is_delta(&deposit.ordinal), "{}", deposit.ordinal);
    assert_eq!(deposit.units, hidden_units);
    assert_eq!(world.stands(&hidden).await, (Status::Confirmed, Exception::None));
    assert_eq!(world.view(&plain).await.deposits.len(), 1, "a told payment is no delta");
    assert_eq!(world.available().await, plain_units + hidden_units);

    // More of it, with two rounds side by side, and again at the next final block.
    let again = world.hidden(&[(hidden_key, 5)]);
    let tip = world.quiet_blocks(CONFIRMATIONS);
    world.chain.finalize(again);
    world.read().await;
    let (one, other) = (world.reconciler(), world.reconciler());
    let (one, other) = tokio::join!(one.tick(), other.tick());
    one.unwrap();
    other.unwrap();
    world.reconcile_at(tip).await;
    assert_eq!(world.view(&hidden).await.deposits.len(), 2);
    assert_eq!(world.stands(&hidden).await, (Status::Confirmed, Exception::Overpaid));
    assert_eq!(world.available().await, plain_units + hidden_units + 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_was_cut_off_books_nothing_twice() {
    let mut world = World::start().await;
    let invoice = world.invoice().await;
    let (key, units) = world.asked(&invoice).await;
    let height = world.hidden(&[(key, positive(units))]);
    world.quiet_blocks(CONFIRMATIONS);
    world.chain.finalize(height);
    world.read().await;
    for answers in 0..2 {
        // With one answer the delta is booked, and the round ends before it is noted.
        world.chain.answer(answers);
        world.reconciler().tick().await.unwrap_err();
        world.apply().await;
        assert_eq!(world.view(&invoice).await.deposits.len(), answers);
        let cursor = world.cursor().await;
        assert!(cursor.watermark < cursor.read_at, "what may hide is not known yet");
    }
    world.chain.answer(usize::MAX);
    world.reconciler().tick().await.unwrap();
    world.apply().await;
    assert_eq!(world.view(&invoice).await.deposits.len(), 1);
    assert_eq!(world.available().await, units);
    let cursor = world.cursor().await;
    assert_eq!(cursor.watermark, cursor.read_at, "everything is known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_is_over_only_when_what_may_hide_is_known() {
    let mut world = World::start().await;
    let (unpaid, paid) = (world.invoice().await, world.invoice().await);
    let (key, units) = world.asked(&paid).await;
    let height = world.hidden(&[(key, positive(units))]);
    world.read().await;
    world.core.env.set_business_offset(HALF_AN_HOUR + 1_000_000);
    world.quiet_blocks(CONFIRMATIONS);
    world.read().await;
    let cursor = world.cursor().await;
    assert!(cursor.read_at > unpaid.terms.expires_at, "blocks were read after that");
    assert!(cursor.watermark < unpaid.terms.expires_at, "and one of them may hide a payment");
    for invoice in [&unpaid, &paid] {
        assert_eq!(world.stands(invoice).await, (Status::Pending, Exception::None));
    }

    world.reconcile_at(height).await;
    assert_eq!(world.stands(&paid).await, (Status::Confirmed, Exception::None), "paid in time");
    assert_eq!(world.stands(&unpaid).await, (Status::Expired, Exception::None));
    assert_eq!(world.available().await, units);
}

/// Each block may hide something, as on a node that never tells calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_goes_with_the_final_blocks_and_never_back() {
    let mut world = World::start().await;
    let invoice = world.invoice().await;
    let (key, units) = world.asked(&invoice).await;
    let nothing = |time| Moves { hidden: vec![(vec![0; 20], 0)], time, ..Moves::default() };
    world.read().await;
    let start = world.cursor().await.watermark;
    let before = world.block(nothing(Some(Micros(start.0 - 60_000_000))));
    world.core.env.set_business_offset(HALF_AN_HOUR / 2);
    let at = Micros(start.0 + 120_000_000);
    let later = world.block(nothing(Some(at)));
    let ahead = world.block(nothing(Some(Micros(start.0 + 100 * HALF_AN_HOUR))));
    world.block(nothing(None));
    world.read().await;
    let opened = world.cursor().await.watermark;
    assert_eq!(opened, start, "no further than before the first block that may hide");
    world.reconcile_at(before).await;
    assert_eq!(world.cursor().await.watermark, start, "an old block's time takes nothing back");
    world.reconcile_at(later).await;
    assert_eq!(world.cursor().await.watermark, at, "the time of the reconciled block");
    let now = world.core.env.now();
    world.reconcile_at(ahead).await;
    let known_to = world.cursor().await.watermark;
    assert!(known_to >= now && known_to <= world.core.env.now(), "a block ahead of its time");

    // Time is over, and known to be: a payment found from now on is late.
    world.core.env.set_business_offset(2 * HALF_AN_HOUR);
    let over = world.block(nothing(None));
    world.block(nothing(None));
    world.read().await;
    assert_eq!(world.stands(&invoice).await, (Status::Pending, Exception::None));
    world.reconcile_at(over).await;
    assert_eq!(world.stands(&invoice).await, (Status::Expired, Exception::None));
    let late = world.hidden(&[(key, positive(units))]);
    world.quiet_blocks(CONFIRMATIONS);
    world.reconcile_at(late).await;
    assert_eq!(world.stands(&invoice).await, (Status::Expired, Exception::Late));
    assert_eq!(world.available().await, units);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_a_balance_counted_is_not_recorded_again() {
    let mut world = World::start().await;
    let invoice = world.invoice().await;
    let (key, units) = world.asked(&invoice).await;
    let waiting = world.found(&invoice, "waits", None).await;
    assert_eq!(world.record(&waiting).await, Recorded::Changed);
    let height = world.hidden(&[(key, positive(units))]);
    let next = world.quiet_blocks(CONFIRMATIONS);
    world.reconcile_at(height + 1).await;
    assert_eq!(world.available().await, units);

    // A second look at those blocks tells more than the first did.
    let late = world.found(&invoice, "late", Some(height)).await;
    assert_eq!(world.record(&late).await, Recorded::InDelta);
    let included = world.found(&invoice, "waits", Some(height)).await;
    assert_eq!(world.record(&included).await, Recorded::InDelta);
    world.apply().await;
    let view = world.view(&invoice).await;
    let states: Vec<_> = view.deposits.iter().map(|deposit| deposit.state).collect();
    assert_eq!(states.len(), 2, "{states:?}");
    assert!(states.contains(&DepositState::Replaced), "its money is here by another name");
    assert_eq!(world.stands(&invoice).await, (Status::Confirmed, Exception::None));
    assert_eq!(world.available().await, units);

    // The same delta again stands; what comes in later blocks is money of its own.
    let delta = view.deposits.iter().find(|deposit| is_delta(&deposit.ordinal)).unwrap();
    let mut repeated = world.found(&invoice, &delta.txid, Some(height + 1)).await;
    repeated.ordinal.clone_from(&delta.ordinal);
    repeated.units = 1;
    assert_eq!(world.record(&repeated).await, Recorded::Known);
    let more = world.found(&invoice, "more", Some(next)).await;
    assert_eq!(world.record(&more).await, Recorded::Changed);
    world.apply().await;
    let view = world.view(&invoice).await;
    assert_eq!(view.deposits.len(), 3);
    assert!(view.deposits.iter().all(|deposit| deposit.units == units));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_that_left_is_no_payment() {
    let mut world = World::start().await;
    let (robbed, other) = (world.invoice().await, world.invoice().await);
    let (robbed_key, robbed_units) = world.asked(&robbed).await;
    let (other_key, other_units) = world.asked(&other).await;
    world.told(&[(robbed_key.clone(), robbed_units)]);
    let height =
        world.hidden(&[(robbed_key, -positive(robbed_units)), (other_key, positive(other_units))]);
    world.quiet_blocks(CONFIRMATIONS);
    world.reconcile_at(height).await;
    assert_eq!(world.view(&robbed).await.deposits.len(), 1);
    assert_eq!(world.stands(&robbed).await, (Status::Confirmed, Exception::None));
    assert_eq!(world.stands(&other).await, (Status::Confirmed, Exception::None));
    assert_eq!(world.available().await, robbed_units + other_units);
}
