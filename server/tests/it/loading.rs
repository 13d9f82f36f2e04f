//! A start with more addresses than are loaded at a time: nobody waits for the watch set. Not here: how
//! long it takes (`benches/bench/start.rs`).

use std::sync::Arc;

use cryptopayment::chain::SandboxControl as _;
use cryptopayment::chain::sandbox::Sandbox;
use cryptopayment::signals::Signals;
use cryptopayment::store::{cursor, invoices};
use cryptopayment::worker::Step;
use cryptopayment::worker::scan::Scanner;

use crate::support::core::{Core, NETWORK, request};
use crate::support::crowd::crowd;
use crate::support::server::fresh_database;

/// Addresses of nobody that are loaded first: three times as many as are loaded at a time.
const OTHERS: u32 = 150_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missed_payment_is_found_before_its_address_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let url = fresh_database(crate::ENGINE, directory.path()).await;
    let core = Core::new(&url, directory.path()).await;
    let sandbox = Sandbox::open(&directory.path().join("chain.sqlite"), core.env.clone()).await;
    let chain = Arc::new(sandbox.unwrap().chain(NETWORK).await.unwrap());
    let holder = core.env.new_id();
    let scanner = || {
        let (db, env) = (core.db.clone(), core.env.clone());
        Scanner::new(db, env, Arc::clone(&chain) as _, Signals::default(), holder)
    };
    let mut before = scanner();
    while before.tick().await.unwrap() == Step::More {}
    core.fill(200).await;
    while before.tick().await.unwrap() == Step::More {}
    let invoice = core.create(200).run(&core.caller, &request(None)).await.unwrap().invoice;
    crowd(crate::ENGINE, &url, OTHERS).await;
    chain.pay(&[(invoice.address_text.clone(), 1_000_000)]).await.unwrap();
    let tip = chain.mine(1).await.unwrap();

    let mut scanner = scanner();
    assert_eq!(scanner.tick().await.unwrap(), Step::More, "addresses are left to load");
    let cursor = cursor::get(&core.db, NETWORK).await.unwrap().unwrap();
    assert_eq!(cursor.height, tip.height, "the block was read with the first of them");
    let view = invoices::get(&core.db, core.caller.merchant_id, invoice.id).await.unwrap();
    assert_eq!(view.unwrap().deposits.len(), 1, "its payment was found");
    while scanner.tick().await.unwrap() == Step::More {}
    let view = invoices::get(&core.db, core.caller.merchant_id, invoice.id).await.unwrap();
    assert_eq!(view.unwrap().deposits.len(), 1, "once");
}
