//! From the event log to deliveries, below the API: what is made of events that wait together. Not here:
//! sending them (`deliveries`).

use cryptopayment::domain::event::{EventBody, EventKind};
use cryptopayment::store::events;
use cryptopayment::store::unit_of_work::NewEvent;
use uuid::Uuid;

use crate::support::core::Core;
use crate::support::server::fresh_database;

/// So many that by chance they would stand in their order once in forty thousand runs.
const EVENTS: i64 = 8;

fn event(core: &Core, invoice: Uuid, version: i64) -> NewEvent {
    let (now, kind) = (core.env.now(), EventKind::PaymentDetected);
    NewEvent {
        merchant_id: core.caller.merchant_id,
        aggregate_id: invoice,
        aggregate_version: version,
        kind,
        api_key_id: Some(core.caller.api_key_id),
        body: EventBody {
            event: kind.as_str().to_owned(),
            invoice_id: invoice,
            order_id: None,
            status: "confirming".to_owned(),
            network: "ltc".to_owned(),
            coin: "LTC".to_owned(),
            amount_usd: "5.00".to_owned(),
            amount_crypto: "0.0625".to_owned(),
            paid_amount: "0.0625".to_owned(),
            txid: None,
            confirmations: 0,
            address: "rltc1qaddress".to_owned(),
            timestamp: now.0,
        },
        at: now,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_of_one_moment_stand_in_their_events_order() {
    let directory = tempfile::tempdir().unwrap();
    let url = fresh_database(crate::ENGINE, directory.path()).await;
    let core = Core::new(&url, directory.path()).await;
    core.execute(
        "INSERT INTO endpoint (id, api_key_id, merchant_id, url, events, created_at)
         SELECT id, id, merchant_id, 'https://shop.example/hook', 'payment.detected', 1 FROM api_key",
    )
    .await;
    let mut unit = core.db.begin("events").await.unwrap();
    let invoice = core.env.new_id();
    for version in 1..=EVENTS {
        unit.emit(event(&core, invoice, version));
    }
    unit.commit().await.unwrap();
    assert_eq!(events::dispatch(&core.db, &core.env).await.unwrap(), 8);
    assert_eq!(core.number("SELECT COUNT(*) FROM delivery").await, EVENTS);
    let backwards = "SELECT COUNT(*) FROM delivery one JOIN delivery other
         ON one.id < other.id AND one.seq > other.seq";
    assert_eq!(core.number(backwards).await, 0);
}
