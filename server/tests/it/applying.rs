//! Judging invoices by hand, without a server around: what was decided is not decided again while nothing
//! happens, so that whoever waits holds up nobody. Not here: what is decided (`policies`, `networks`).

use std::collections::BTreeMap;
use std::sync::Arc;

use cryptopayment::chain::SandboxControl as _;
use cryptopayment::chain::sandbox::SandboxChain;
use cryptopayment::domain::invoice::{Exception, Status};
use cryptopayment::domain::policy::{Finality, FinalityPolicy};
use cryptopayment::store::invoices::{self, Invoice};
use cryptopayment::store::ledger;
use cryptopayment::usecase::apply_deposits::ApplyDeposits;
use cryptopayment::worker::scan::Scanner;
use tempfile::TempDir;

use crate::support::alarms;
use crate::support::clock::MovedClock;
use crate::support::core::{Core, NETWORK, request};
use crate::support::distant::{catch_up, scanner, simulated};

/// A scanner, an applier, and a clock of theirs.
struct Story {
    core: Core,
    chain: Arc<SandboxChain>,
    clock: MovedClock,
    scanner: Scanner,
    apply: ApplyDeposits,
    _directory: TempDir,
}

impl Story {
    async fn new() -> Self {
        let (directory, core, chain) = simulated(crate::ENGINE).await;
        let clock = MovedClock::new();
        let core = Core { env: clock.env(), ..core };
        let mut scanner = scanner(&core, Arc::clone(&chain) as _);
        catch_up(&mut scanner).await;
        core.fill(40).await;
        catch_up(&mut scanner).await;
        let apply = core.apply();
        Self { core, chain, clock, scanner, apply, _directory: directory }
    }

    /// An invoice over five dollars that asks for six confirmations.
    async fn invoice(&self) -> Invoice {
        self.core.create(20).run(&self.core.caller, &request(None)).await.unwrap().invoice
    }

    /// Pays `numerator / denominator` of what it asks.
    async fn pay(&self, invoice: &Invoice, numerator: u128, denominator: u128) -> u128 {
        let units = invoice.terms.amount_units * numerator / denominator;
        self.chain.pay(&[(invoice.address_text.clone(), units)]).await.unwrap();
        units
    }

    /// Reads the chain and judges until nothing is left: how many invoices were judged.
    async fn judge(&mut self) -> usize {
        catch_up(&mut self.scanner).await;
        let mut judged = 0;
        for _ in 0..10 {
            match self.apply.run(NETWORK).await.unwrap().evaluated {
                0 => return judged,
                more => judged += more,
            }
        }
        panic!("the same is judged again and again");
    }

    async fn stands(&self, invoice: &Invoice) -> (Status, Exception) {
        let view = invoices::get(&self.core.db, invoice.merchant_id, invoice.id).await.unwrap();
        let standing = view.unwrap().invoice.standing;
        (standing.status, standing.exception)
    }

    /// What can be withdrawn, and what is on its way.
    async fn balance(&self) -> (u128, u128) {
        let merchant = self.core.caller.merchant_id;
        let balances = ledger::merchant_balances(&self.core.db, merchant).await.unwrap();
        let own = balances.get(&NETWORK.asset());
        own.map_or((0, 0), |balance| (balance.available, balance.pending))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_more_than_was_agreed_is_judged_when_it_is_there() {
    let mut story = Story::new().await;
    let asked = |confirmations| Finality { confirmations, requires_finality: false };
    let policy = FinalityPolicy::new(asked(6), vec![(1_000, asked(9))]).unwrap();
    story.apply.finality = Arc::new(BTreeMap::from([(NETWORK, policy)]));
    let invoice = story.invoice().await;
    // Four times five dollars: from ten on it is nine confirmations.
    let units = story.pay(&invoice, 4, 1).await;
    story.chain.mine(6).await.unwrap();
    assert_eq!(story.judge().await, 1);
    assert_eq!(story.balance().await, (0, units));
    story.chain.mine(2).await.unwrap();
    assert_eq!(story.judge().await, 0, "eight are as good as six");
    story.chain.mine(1).await.unwrap();
    assert_eq!(story.judge().await, 1);
    assert_eq!(story.stands(&invoice).await, (Status::Confirmed, Exception::Overpaid));
    assert_eq!(story.balance().await, (units, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_surplus_that_is_never_mined_is_waited_for_a_day() {
    let mut story = Story::new().await;
    let invoice = story.invoice().await;
    let units = story.pay(&invoice, 1, 1).await;
    story.chain.mine(6).await.unwrap();
    story.judge().await;
    let surplus = story.pay(&invoice, 1, 4).await;
    story.judge().await;
    assert_eq!(story.stands(&invoice).await, (Status::Confirmed, Exception::Overpaid));
    assert_eq!(story.balance().await, (units, surplus));
    story.clock.advance(86_400 + 60);
    assert_eq!(story.judge().await, 1);
    assert_eq!(story.stands(&invoice).await, (Status::Confirmed, Exception::None));
    assert_eq!(story.balance().await, (units, 0));
    // It comes after all: what is in a block is money.
    story.chain.mine(6).await.unwrap();
    story.judge().await;
    assert_eq!(story.stands(&invoice).await, (Status::Confirmed, Exception::Overpaid));
    assert_eq!(story.balance().await, (units + surplus, 0));
}

/// Anybody can pay an address; what an invoice is read with must not grow by whoever likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiny_parts_by_the_thousand_leave_room_for_the_payment() {
    alarms::listen();
    let mut story = Story::new().await;
    let invoice = story.invoice().await;
    let tiny = vec![(invoice.address_text.clone(), 1); 1_005];
    story.chain.pay(&tiny).await.unwrap();
    story.judge().await;
    assert_eq!(story.balance().await, (0, 1_000));
    let units = story.pay(&invoice, 1, 1).await;
    story.chain.mine(6).await.unwrap();
    story.judge().await;
    assert_eq!(story.stands(&invoice).await, (Status::Confirmed, Exception::Overpaid));
    assert_eq!(story.balance().await, (units + 1_000, 0));
    assert!(alarms::raised("deposit_without_invoice", &invoice.id.to_string()));
}

/// What is promised and taken back costs nobody anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_by_the_thousand_keep_no_payment_out() {
    let mut story = Story::new().await;
    let invoice = story.invoice().await;
    let part = invoice.terms.amount_units / 500;
    let promised = vec![(invoice.address_text.clone(), part); 2_005];
    let txid = story.chain.pay(&promised).await.unwrap();
    story.judge().await;
    assert_eq!(story.balance().await, (0, 2_000 * part), "no more of what is not in a block");
    story.chain.evict(&txid).await.unwrap();
    let units = story.pay(&invoice, 1, 1).await;
    story.judge().await;
    assert_eq!(
        story.balance().await,
        (0, 2_000 * part + units),
        "a payment is shown when it is seen"
    );
    story.chain.mine(6).await.unwrap();
    story.judge().await;
    assert_eq!(story.stands(&invoice).await.0, Status::Confirmed);
    assert_eq!(story.balance().await.0, units);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_is_never_mined_is_judged_once_while_the_others_deepen() {
    let mut story = Story::new().await;
    let invoice = story.invoice().await;
    let units = story.pay(&invoice, 1, 1).await;
    story.chain.mine(1).await.unwrap();
    story.pay(&invoice, 1, 4).await;
    story.judge().await;
    story.clock.advance(86_400 + 60);
    assert_eq!(story.judge().await, 1);
    assert_eq!(story.stands(&invoice).await, (Status::Confirming, Exception::None));
    assert_eq!(story.balance().await, (0, units));
}
