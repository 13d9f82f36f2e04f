//! A start with many addresses: how long until the first missed block is read, with the watch set still
//! loading, and until the set is whole. Not here: the set's size and speed in memory (`blocks`).

use std::sync::Arc;
use std::time::Instant;

use cryptopayment::chain::{ChainReader as _, SandboxControl as _};
use cryptopayment::store::{cursor, invoices};
use cryptopayment::worker::Step;

use super::measure::{figure, goal, heading};
use crate::support::core::{NETWORK, request};
use crate::support::crowd::crowd;
use crate::support::distant::{catch_up, scanner_of, simulated};
use crate::support::server::Engine;

/// Addresses in the database, in batches of ten thousand.
const ADDRESSES: u32 = 1_000_000;
/// The longest that scanning may take to begin, seconds.
const FIRST_BLOCK_GOAL: f64 = 2.0;

/// Runs it on SQLite.
pub async fn run() {
    heading(&format!("A start with {ADDRESSES} addresses, SQLite"));
    let (directory, core, chain) = simulated(Engine::Sqlite).await;
    let holder = core.env.new_id();
    let mut before = scanner_of(&core, Arc::clone(&chain) as _, holder);
    catch_up(&mut before).await;
    core.fill(200).await;
    catch_up(&mut before).await;
    drop(before);
    let invoice = core.create(200).run(&core.caller, &request(None)).await.unwrap().invoice;
    let url = format!("sqlite://{}", directory.path().join("ledger.sqlite").display());
    crowd(Engine::Sqlite, &url, ADDRESSES).await;
    chain.pay(&[(invoice.address_text.clone(), 1_000_000)]).await.unwrap();
    chain.mine(1).await.unwrap();
    let head = chain.head().await.unwrap().tip.height;

    let began = Instant::now();
    // The same holder: a start ends the leases that its last run left.
    let mut scanner = scanner_of(&core, Arc::clone(&chain) as _, holder);
    let mut step = Step::More;
    while cursor::get(&core.db, NETWORK).await.unwrap().unwrap().height < head {
        step = scanner.tick().await.unwrap();
    }
    let first = began.elapsed().as_secs_f64();
    let was_whole = step != Step::More;
    let view = invoices::get(&core.db, core.caller.merchant_id, invoice.id).await.unwrap();
    assert_eq!(view.unwrap().deposits.len(), 1, "its payment was found");
    assert!(!was_whole, "the set was loaded before the block was read");
    catch_up(&mut scanner).await;
    goal("seconds until the first block is read", first, FIRST_BLOCK_GOAL, true);
    figure("seconds until the watch set is loaded", began.elapsed().as_secs_f64(), "");
}
