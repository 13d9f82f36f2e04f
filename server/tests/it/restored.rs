//! A database that was restored from a backup: no address that a customer has is handed out again. Not
//! here: how a backup is made.

use cryptopayment_sdk::CreateInvoice;
use sea_orm::{ConnectionTrait as _, Database};

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

async fn free_addresses(server: &TestServer) -> i64 {
    let db = Database::connect(&server.database_url).await.unwrap();
    let sql = "SELECT COUNT(*) AS n FROM address WHERE network = 'ltc' AND state <> 'quarantined'
               AND state <> 'used'";
    let statement = sea_orm::Statement::from_string(db.get_database_backend(), sql);
    let count = db.query_one_raw(statement).await.unwrap().unwrap().try_get("", "n").unwrap();
    db.close().await.unwrap();
    count
}
