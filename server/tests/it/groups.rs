//! Invoices are written in groups: whatever else is in the group, each request gets what it would get
//! alone, and no address is lost or handed out twice. Through the API, and below it where the API
//! keeps the cause away.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cryptopayment::domain::failure::Reason;
use cryptopayment_sdk::CreateInvoice;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::core::{Core, request, stranger};
use crate::support::server::{Engine, TestServer, fresh_database};

/// Requests of each kind in a mixed crowd of four kinds.
const OF_A_KIND: usize = 16;

async fn core(addresses: u32) -> (Core, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let url = fresh_database(crate::ENGINE, directory.path()).await;
    let core = Core::new(&url, directory.path()).await;
    core.fill(addresses).await;
    (core, directory)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_crowd_gets_what_each_would_get_alone() {
    let server = TestServer::start(crate::ENGINE).await;
    let client = server.client();
    let mut crowd = JoinSet::new();
    for n in 0..OF_A_KIND {
        let kinds = [
            CreateInvoice::new("ltc", "5").request_id(format!("own {n}")),
            CreateInvoice::new("ltc", "five").request_id(format!("bad {n}")),
            CreateInvoice::new("ltc", "7").request_id("shared"),
            CreateInvoice::new("ltc", "8").request_id("shared"),
        ];
        for (kind, wanted) in kinds.into_iter().enumerate() {
            let client = client.clone();
            crowd.spawn(async move { (kind, client.create_invoice(wanted).await) });
        }
    }
    let (mut own, mut shared, mut addresses) = (HashSet::new(), HashSet::new(), HashSet::new());
    let (mut shared_done, mut shared_refused) = ([0; 4], [0; 4]);
    while let Some(done) = crowd.join_next().await {
        let (kind, result) = done.unwrap();
        match (kind, result) {
            (0, created) => {
                let invoice = created.unwrap().invoice.unwrap();
                addresses.insert(invoice.address.clone());
                own.insert(invoice.id);
            }
            (1, refused) => {
                let reason = refused.unwrap_err().reason().map(str::to_owned);
                assert_eq!(reason.as_deref(), Some("INVALID_FIELD"));
            }
            (_, Ok(created)) => {
                let invoice = created.invoice.unwrap();
                let paid = if kind == 2 { "7" } else { "8" };
                assert!(invoice.amount_usd.starts_with(paid), "{}", invoice.amount_usd);
                addresses.insert(invoice.address.clone());
                shared.insert(invoice.id);
                shared_done[kind] += 1;
            }
            (_, Err(error)) => {
                assert_eq!(error.reason(), Some("IDEMPOTENCY_CONFLICT"));
                shared_refused[kind] += 1;
            }
        }
    }
    assert_eq!((own.len(), shared.len(), addresses.len()), (OF_A_KIND, 1, OF_A_KIND + 1));
    // Whichever amount came first stands, for all of its twins and against all of the others.
    let (won, lost) = if shared_done[2] > 0 { (2, 3) } else { (3, 2) };
    assert_eq!((shared_done[won], shared_refused[won]), (OF_A_KIND, 0));
    assert_eq!((shared_done[lost], shared_refused[lost]), (0, OF_A_KIND));
    let listed = client.list_invoices(Default::default()).await.unwrap();
    assert_eq!(listed.pagination.unwrap().total as usize, OF_A_KIND + 1);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_database_refuses_spoils_nothing_for_its_neighbours() {
    let (core, _directory) = core(80).await;
    let create = core.create(80);
    let mut crowd = JoinSet::new();
    for n in 0..64 {
        let (create, is_strange) = (Arc::clone(&create), n % 16 == 7);
        let caller = if is_strange { stranger(&core.caller) } else { core.caller.clone() };
        crowd.spawn(async move {
            let key = format!("key {n}");
            (is_strange, create.run(&caller, &request(Some(&key))).await)
        });
    }
    let mut addresses = HashSet::new();
    while let Some(done) = crowd.join_next().await {
        match done.unwrap() {
            (false, created) => addresses.insert(created.unwrap().invoice.address_text),
            (true, refused) => {
                assert_eq!(refused.unwrap_err().reason, Reason::Internal);
                continue;
            }
        };
    }
    assert_eq!(addresses.len(), 60);
    let counted = "SELECT COUNT(*) FROM invoice";
    assert_eq!(core.number(counted).await, 60);
    let keys = "SELECT COUNT(*) FROM idempotency";
    assert_eq!(core.number(keys).await, 60, "a refused request keeps no key");
    // The addresses of the refused are still good: the whole pool can be handed out.
    for _ in 0..20 {
        create.run(&core.caller, &request(None)).await.unwrap();
    }
    assert_eq!(core.number(counted).await, 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_takes_no_address_along() {
    let (core, _directory) = core(60).await;
    let create = core.create(60);
    let mut crowd = JoinSet::new();
    for n in 0..40 {
        let (create, caller) = (Arc::clone(&create), core.caller.clone());
        let abandoned = tokio::spawn(async move { create.run(&caller, &request(None)).await });
        crowd.spawn(async move {
            for _ in 0..n % 8 {
                tokio::task::yield_now().await;
            }
            abandoned.abort();
            let _ = abandoned.await;
        });
    }
    while let Some(done) = crowd.join_next().await {
        done.unwrap();
    }
    core.settle().await;
    let counted = "SELECT COUNT(*) FROM invoice";
    let left = 60 - core.number(counted).await;
    for _ in 0..left {
        create.run(&core.caller, &request(None)).await.unwrap();
    }
    let empty = create.run(&core.caller, &request(None)).await.unwrap_err();
    assert_eq!(empty.reason, Reason::AddressPoolEmpty);
    assert_eq!(core.number(counted).await, 60, "every address of the pool was handed out once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_while_addresses_are_leased_takes_no_block_along() {
    const BLOCK: u32 = 10;
    const CALLERS: u32 = 40;
    let (core, _directory) = core(BLOCK * CALLERS).await;
    for n in 1..=CALLERS {
        // A process of its own each, so that its first request has to lease.
        let create = core.create(BLOCK);
        let moment = Duration::from_micros(u64::from(n) * 150);
        // Not a wait for something: the moment at which the caller goes is what varies.
        let _ = tokio::time::timeout(moment, create.run(&core.caller, &request(None))).await;
        core.settle().await;
        create.run(&core.caller, &request(None)).await.unwrap();
        let gone = core.number("SELECT COUNT(*) FROM address WHERE state <> 'free'").await;
        assert_eq!(gone, i64::from(n * BLOCK), "one block was leased by each of {n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_went_to_another_process_are_replaced() {
    let (core, _directory) = core(90).await;
    let create = core.create(30);
    create.run(&core.caller, &request(None)).await.unwrap();
    core.settle().await;
    let other = match crate::ENGINE {
        Engine::Sqlite => "x'00000000000000000000000000000001'",
        Engine::Postgres => "'00000000-0000-0000-0000-000000000001'",
    };
    let taken = format!(
        "UPDATE address SET leased_to = {other} WHERE state = 'leased' AND path_index % 2 = 1"
    );
    assert_eq!(core.execute(&taken).await, 15);
    let mut crowd = JoinSet::new();
    for n in 0..40 {
        let (create, caller) = (Arc::clone(&create), core.caller.clone());
        crowd.spawn(async move {
            let key = format!("key {}", n / 2);
            create.run(&caller, &request(Some(&key))).await.unwrap().invoice
        });
    }
    let (mut ids, mut addresses) = (HashSet::new(), HashSet::new());
    while let Some(done) = crowd.join_next().await {
        let invoice = done.unwrap();
        addresses.insert(invoice.address_id);
        ids.insert(invoice.id);
    }
    assert_eq!((ids.len(), addresses.len()), (20, 20));
    let stolen = format!("SELECT COUNT(*) FROM address WHERE leased_to = {other}");
    assert_eq!(core.number(&stolen).await, 15, "what is another's stays another's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_addresses_that_are_gone_at_once_fail_no_later_request() {
    let (core, _directory) = core(60).await;
    let create = core.create(30);
    create.run(&core.caller, &request(None)).await.unwrap();
    core.settle().await;
    // As after a commit whose answer did not arrive, or when the pool was taken out of use.
    let used = "UPDATE address SET state = 'used', leased_to = NULL WHERE state = 'leased'";
    assert_eq!(core.execute(used).await, 29);
    for _ in 0..30 {
        create.run(&core.caller, &request(None)).await.unwrap();
    }
    assert_eq!(core.number("SELECT COUNT(*) FROM invoice").await, 31);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_may_have_been_handed_out_does_not_come_back() {
    let (core, _directory) = core(30).await;
    let create = core.create(30);
    // The commit itself fails: for all that is known it may have gone through.
    let refusing = match crate::ENGINE {
        Engine::Sqlite => {
            "CREATE TRIGGER refuse AFTER INSERT ON invoice BEGIN
                INSERT INTO refusing VALUES (1);
             END;"
        }
        Engine::Postgres => {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN INSERT INTO refusing VALUES (1); RETURN NULL; END';
             CREATE TRIGGER refuse AFTER INSERT ON invoice EXECUTE FUNCTION refuse();"
        }
    };
    let tables = "CREATE TABLE refused (id INTEGER PRIMARY KEY);
        CREATE TABLE refusing (id INTEGER REFERENCES refused (id) DEFERRABLE INITIALLY DEFERRED);";
    core.execute(&format!("{tables}{refusing}")).await;
    create.run(&core.caller, &request(None)).await.unwrap_err();
    core.execute("INSERT INTO refused VALUES (1)").await;
    let next = create.run(&core.caller, &request(None)).await.unwrap().invoice.address_id;
    let before =
        core.number("SELECT COUNT(*) FROM address WHERE state = 'leased' AND path_index = 0");
    assert_eq!(before.await, 1, "it waits for the end of its lease, {next} was taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_before_the_end_is_there_after_it() {
    let mut server = TestServer::start(crate::ENGINE).await;
    let mut crowd = JoinSet::new();
    for _ in 0..48 {
        let client = server.client();
        crowd.spawn(async move { client.create_invoice(CreateInvoice::new("ltc", "5")).await });
    }
    let mut answered = vec![crowd.join_next().await.unwrap().unwrap().unwrap()];
    server.stop().await;
    while let Some(done) = crowd.join_next().await {
        answered.extend(done.unwrap().ok());
    }
    server.run().await;
    let client = server.client();
    for created in answered {
        let invoice = created.invoice.unwrap();
        assert_eq!(client.get_invoice(&invoice.id).await.unwrap().address, invoice.address);
    }
    server.finish().await;
}
