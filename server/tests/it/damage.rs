//! What the database refuses whatever the program does, and what the program does about damage that
//! the database could not refuse. Not here: payments that go wrong on their chain (`conformance`).

use sea_orm::{ConnectionTrait, Database, DbBackend};

use crate::conformance::cases::exact_payment_confirms;
use crate::conformance::world::World;
use cryptopayment::domain::asset::Network;

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
    world
        .wait(
            &sound,
            cryptopayment_sdk::v1::InvoiceStatus::Confirmed,
            cryptopayment_sdk::v1::InvoiceException::None,
        )
        .await;
}
