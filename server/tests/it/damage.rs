//! What the database refuses whatever the program does, and what the program does about damage that
//! the database could not refuse. Not here: payments that go wrong on their chain (`conformance`).

use sea_orm::{ConnectionTrait, Database, DbBackend};

use crate::conformance::cases::exact_payment_confirms;
use crate::conformance::world::{World, asked};
use cryptopayment::chain::ForkFate;
use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{InvoiceException, InvoiceStatus};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_and_agreed_terms_can_not_be_changed() {
    let mut world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    exact_payment_confirms(&mut world).await;
    world.server.stop().await;

    let db = Database::connect(&world.server.database_url).await.unwrap();
    let mut statements = vec!["UPDATE invoice SET expires_at = expires_at + 1".to_owned()];
    for (table, column) in
        [("posting", "n"), ("transfer", "generation"), ("event", "created_at"), ("audit_log", "at")]
    {
        statements.push(format!("UPDATE {table} SET {column} = {column} + 1"));
        statements.push(format!("DELETE FROM {table}"));
        match db.get_database_backend() {
            DbBackend::Postgres => statements.push(format!("TRUNCATE {table} CASCADE")),
            _ => {
                // The pragma is the program's own setting for every connection of its.
                db.execute_unprepared("PRAGMA recursive_triggers = ON").await.unwrap();
                statements
                    .push(format!("INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1"));
            }
        }
    }
    for statement in statements {
        let refused = db.execute_unprepared(&statement).await;
        let error = refused.expect_err(&statement).to_string();
        let why = error.contains("append-only") || error.contains("never changes");
        assert!(why, "{statement}: {error}");
    }
    db.close().await.unwrap();
    world.server.run().await;
    world.client = world.server.client();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_damaged_invoice_holds_up_nobody_else() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let damaged = world.invoice().await;
    let sound = world.invoice().await;
    let db = Database::connect(&world.server.database_url).await.unwrap();
    let (address, units) = crate::conformance::world::share(&damaged, 1, 1);
    let (other, more) = crate::conformance::world::share(&sound, 1, 1);
    let txid = world.chain.pay(&[(address, units), (other, more)]).await.unwrap();
    world.wait_seen(&damaged, &txid).await;
    world.wait_seen(&sound, &txid).await;
    // A depth that no counter of ours holds: whoever reads this invoice finds it damaged.
    let sql = format!(
        "UPDATE invoice SET confirmations_required = 99999999999 WHERE address_text = '{}'",
        damaged.address
    );
    db.execute_unprepared(&sql).await.unwrap();
    db.close().await.unwrap();
    world.mine_deep(&sound).await;
    world.wait(&sound, InvoiceStatus::Confirmed, InvoiceException::None).await;
}

/// Money on an address that the signer did not vouch for is nobody's: it is kept aside, and when it
/// leaves the chain it leaves from there and costs no merchant anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_aside_is_taken_back_from_there() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let (sound, forged) = (world.invoice().await, world.invoice().await);
    let db = Database::connect(&world.server.database_url).await.unwrap();
    let sql = format!(
        "UPDATE address SET signature = (SELECT signature FROM address WHERE text = '{}')
         WHERE text = '{}'",
        sound.address, forged.address
    );
    db.execute_unprepared(&sql).await.unwrap();
    db.close().await.unwrap();
    let good = world.pay(&sound, 1, 1).await;
    let bad = world.pay(&forged, 1, 1).await;
    world.wait_seen(&sound, &good).await;
    world.wait_seen(&forged, &bad).await;
    let required = sound.confirmations.unwrap().required;
    world.chain.mine(required).await.unwrap();
    world.wait(&forged, InvoiceStatus::Confirmed, InvoiceException::None).await;
    world.wait_available(asked(&sound)).await;

    world.fork(required, &bad, ForkFate::DoubleSpend).await;
    world.wait(&forged, InvoiceStatus::Pending, InvoiceException::Reorged).await;
    world.wait_available(asked(&sound)).await;
    world.finish().await;
}
