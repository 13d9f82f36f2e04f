//! A database that was restored from a backup, or went back under a running server: no address that a
//! customer has is handed out again, and money that arrives there is seen. Not here: how a backup is made.

use std::sync::Arc;

use cryptopayment::chain::SandboxControl as _;
use cryptopayment::chain::sandbox::Sandbox;
use cryptopayment::domain::asset::Network;
use cryptopayment::env::Env;
use cryptopayment::store::{Db, addresses};
use cryptopayment_sdk::CreateInvoice;
use sea_orm::{ConnectionTrait as _, Database, Statement};

use crate::support::alarms;
use crate::support::core::{NETWORK, request};
use crate::support::distant::{catch_up, scanner, simulated};
use crate::support::server::{Engine, TestServer, eventually};

/// A copy of the stopped server's database, by its URL.
async fn backup(server: &TestServer) -> String {
    match crate::ENGINE {
        Engine::Sqlite => {
            let copy = server.directory.path().join("backup.sqlite");
            let database = Database::connect(&server.database_url).await.unwrap();
            let copied = format!("VACUUM INTO '{}'", copy.display());
            database.execute_unprepared(&copied).await.unwrap();
            format!("sqlite://{}", copy.display())
        }
        Engine::Postgres => {
            let (host, name) = server.database_url.rsplit_once('/').unwrap();
            let admin = Database::connect(format!("{host}/postgres")).await.unwrap();
            let copy = format!("CREATE DATABASE {name}_backup TEMPLATE {name}");
            admin.execute_unprepared(&copy).await.unwrap();
            format!("{host}/{name}_backup")
        }
    }
}

async fn address(server: &TestServer) -> (String, String) {
    let created = server.client().create_invoice(CreateInvoice::new("ltc", "5")).await.unwrap();
    let invoice = created.invoice.unwrap();
    (invoice.id, invoice.address)
}

/// Waits until the wallet knows of it.
async fn noted(server: &TestServer, id: &str) {
    let file = server.directory.path().join("data/wallet/newest-invoice");
    eventually("the newest invoice is noted", || async {
        (std::fs::read_to_string(&file).ok()? == id).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_that_a_customer_has_is_handed_out_again() {
    // Nothing is added to the pool meanwhile, by which the wallet would know more than the backup.
    let settings = "[pool]\naddresses_low = 20\naddresses_batch = 200\naddresses_leased = 20";
    let mut server = TestServer::with(crate::ENGINE, settings).await;
    let (first, _) = address(&server).await;
    noted(&server, &first).await;
    server.stop().await;
    let copy = backup(&server).await;
    server.run().await;
    let (lost, given) = address(&server).await;
    noted(&server, &lost).await;
    server.stop().await;

    server.database_url = copy;
    server.run().await;
    let (after, other) = address(&server).await;
    assert_ne!(other, given, "that address is a customer's already");
    noted(&server, &after).await;
    // Once is enough: what was added since is handed out after another start.
    let free = free_addresses(&server).await;
    assert!(free > 0);
    server.restart().await;
    assert!(free_addresses(&server).await >= free, "nothing more was taken out of use");
    server.finish().await;
}

/// Takes back what the invoice left in the database, all at once, as a replica has it that lagged.
async fn take_back(server: &TestServer, invoice: &str, address: &str) {
    let id = match crate::ENGINE {
        Engine::Sqlite => format!("x'{}'", invoice.replace('-', "")),
        Engine::Postgres => format!("'{invoice}'"),
    };
    let sql = format!(
        "BEGIN;
         DELETE FROM invoice WHERE id = {id};
         UPDATE address SET state = 'free', merchant_id = NULL WHERE text = '{address}';
         COMMIT;"
    );
    let db = Database::connect(&server.database_url).await.unwrap();
    db.execute_unprepared(&sql).await.unwrap();
    db.close().await.unwrap();
    let gone = format!("SELECT COUNT(*) AS n FROM invoice WHERE id = {id}");
    assert_eq!(number(&server.database_url, &gone).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_not_handed_out_again_when_the_database_goes_back_under_a_running_server() {
    alarms::listen();
    let server = TestServer::start(crate::ENGINE).await;
    let (first, _) = address(&server).await;
    let (lost, given) = address(&server).await;
    noted(&server, &lost).await;
    take_back(&server, &lost, &given).await;
    noted(&server, &first).await;
    // More than the process had ready, so that it comes to the addresses that look free.
    for _ in 0..45 {
        let (_, other) = address(&server).await;
        assert_ne!(other, given, "that address is a customer's already");
    }
    assert!(alarms::raised("database_older_than_wallet", "ltc"));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_gives_no_address_before_a_worker_has_looked_at_it() {
    let mut server = TestServer::start(crate::ENGINE).await;
    let (first, _) = address(&server).await;
    noted(&server, &first).await;
    server.stop().await;
    let copy = backup(&server).await;
    let old = Database::connect(&copy).await.unwrap();
    // It is not as young as it is here.
    let sql = "UPDATE lease SET expires_at = expires_at - 3600000000";
    old.execute_unprepared(sql).await.unwrap();
    old.close().await.unwrap();
    server.run().await;
    let (lost, given) = address(&server).await;
    noted(&server, &lost).await;
    server.stop().await;

    // What an API does that is started first.
    let db = Db::open(&copy, 2).await.unwrap();
    let holder = Env::system().new_id();
    let leased = addresses::lease(&db, NETWORK, holder, 5, 60).await.unwrap();
    assert!(leased.is_empty(), "{leased:?}");
    server.database_url = copy;
    server.run().await;
    eventually("addresses may be leased again", || async {
        let leased = addresses::lease(&db, NETWORK, holder, 5, 60).await.unwrap();
        assert!(leased.iter().all(|one| one.signed.address.text != given));
        (!leased.is_empty()).then_some(())
    })
    .await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_at_an_address_that_the_backup_never_had_is_seen() {
    alarms::listen();
    let settings = "[pool]\naddresses_low = 5\naddresses_batch = 5\naddresses_leased = 5";
    let mut server = TestServer::with(crate::ENGINE, settings).await;
    let (first, _) = address(&server).await;
    noted(&server, &first).await;
    server.stop().await;
    let copy = backup(&server).await;
    let known = "SELECT COUNT(*) AS n FROM address WHERE network = 'ltc'";
    let known = number(&copy, known).await;
    server.run().await;
    // Up to a batch that is newer.
    let (lost, given) = loop {
        let (id, text) = address(&server).await;
        let index = format!("SELECT path_index AS n FROM address WHERE text = '{text}'");
        if number(&server.database_url, &index).await >= known + 5 {
            break (id, text);
        }
    };
    noted(&server, &lost).await;
    server.stop().await;

    // Paid while nothing runs, so that the block is read at once.
    let chain = server.directory.path().join("data/sandbox.sqlite");
    let chain = Sandbox::open(&chain, Env::system()).await.unwrap();
    let chain = chain.chain(Network::Ltc).await.unwrap();
    let txid = chain.pay(&[(given.clone(), 12_345_678)]).await.unwrap();
    chain.mine(1).await.unwrap();
    server.database_url = copy;
    server.run().await;
    let sql = format!(
        "SELECT COUNT(*) AS n FROM deposit d JOIN address a ON a.id = d.address_id
         WHERE a.text = '{given}' AND a.state = 'quarantined' AND d.invoice_id IS NULL"
    );
    eventually("the money is seen", || async {
        (number(&server.database_url, &sql).await == 1).then_some(())
    })
    .await;
    eventually("somebody is told", || async {
        alarms::raised("deposit_without_invoice", &txid).then_some(())
    })
    .await;
    let (_, other) = address(&server).await;
    assert_ne!(other, given);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_that_ran_while_the_database_went_back_watches_what_is_added_since() {
    let (_directory, core, chain) = simulated(crate::ENGINE).await;
    let mut scanner = scanner(&core, Arc::clone(&chain) as _);
    catch_up(&mut scanner).await;
    for _ in 0..3 {
        core.fill(2).await;
    }
    catch_up(&mut scanner).await;
    core.execute("DELETE FROM address WHERE path_index >= 2").await;
    core.execute("UPDATE pool_seq SET next = 2").await;
    core.execute("UPDATE chain_cursor SET watch_batch = 1").await;
    core.pool(2).check_restored(&[NETWORK]).await.unwrap();
    for _ in 0..2 {
        core.fill(2).await;
    }
    assert_eq!(core.number("SELECT COUNT(*) FROM address").await, 10, "none is missing");
    catch_up(&mut scanner).await;
    let invoice = core.create(1).run(&core.caller, &request(None)).await.unwrap().invoice;
    chain.pay(&[(invoice.address_text, 1_000)]).await.unwrap();
    chain.mine(1).await.unwrap();
    catch_up(&mut scanner).await;
    assert_eq!(core.number("SELECT COUNT(*) FROM deposit").await, 1);
}

async fn free_addresses(server: &TestServer) -> i64 {
    let sql = "SELECT COUNT(*) AS n FROM address WHERE network = 'ltc' AND state <> 'quarantined'
               AND state <> 'used'";
    number(&server.database_url, sql).await
}

/// The `n` that a query yields.
async fn number(url: &str, sql: &str) -> i64 {
    let db = Database::connect(url).await.unwrap();
    let statement = Statement::from_string(db.get_database_backend(), sql);
    let number = db.query_one_raw(statement).await.unwrap().unwrap().try_get("", "n").unwrap();
    db.close().await.unwrap();
    number
}
