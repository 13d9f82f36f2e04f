//! What a request id stands for: one request of one merchant to one method. Not here: its form, which is
//! a table's matter.

use cryptopayment::domain::asset::Network;
use futures_util::future::join_all;
use reqwest::Method;

use crate::conformance::world::World;
use crate::support::rest::{Answer, Rest, answer};

const SOUND: &str = r#"{"network":"trc20","amount_usd":50}"#;
/// Twins that come at once.
const TWINS: usize = 12;

async fn post(rest: &Rest, path: &str, key: &str, body: &str) -> Answer {
    let request = rest.request(Method::POST, path).header("content-type", "application/json");
    answer(request.header("idempotency-key", key).body(body.to_owned())).await
}

async fn create(rest: &Rest, key: &str, body: &str) -> Answer {
    post(rest, "/api/v1/invoices", key, body).await
}

async fn invoices_so_far(rest: &Rest) -> u64 {
    rest.get("/api/v1/invoices").await.json()["pagination"]["total"].as_u64().unwrap()
}

fn conflicts(got: &Answer) {
    assert_eq!((got.status, got.code().as_str()), (409, "IDEMPOTENCY_CONFLICT"), "{}", got.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_stands_for_one_request() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    let first = create(&rest, "k1", r#"{"network":"trc20","amount_usd":50.00}"#).await;
    // Another spelling of the same values is the same request.
    for same in [
        r#"{"amount_usd":"50","network":"trc20","order_id":""}"#,
        r#"{"amount_usd":5e1,"network":"trc20","metadata":[]}"#,
        r#"{"amount_usd":50.001,"network":"trc20","metadata":null}"#,
    ] {
        let again = create(&rest, "k1", same).await;
        assert_eq!((again.status, again.body), (200, first.body.clone()), "{same}");
    }
    for other in [
        r#"{"network":"trc20","amount_usd":51}"#,
        r#"{"network":"bep20","amount_usd":50}"#,
        r#"{"network":"trc20","amount_usd":50,"order_id":"a"}"#,
        r#"{"network":"trc20","amount_usd":50,"metadata":{"a":1}}"#,
    ] {
        conflicts(&create(&rest, "k1", other).await);
    }
    // In the body it is the same name; beside a header the body's counts.
    let named = r#"{"network":"trc20","amount_usd":50,"request_id":"k1"}"#;
    assert_eq!(rest.post("/api/v1/invoices", named).await.invoice_id(), first.invoice_id());
    assert_eq!(create(&rest, "k9", named).await.invoice_id(), first.invoice_id());
    let new = create(&rest, "k2", SOUND).await;
    assert_ne!(new.invoice_id(), first.invoice_id());
    // Case and length count.
    assert_ne!(create(&rest, "K1", SOUND).await.invoice_id(), first.invoice_id());
    assert_eq!(invoices_so_far(&rest).await, 3);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_merchant_has_request_ids_of_its_own_and_another_key_has_not() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    let first = create(&rest, "k1", SOUND).await;
    let (key, secret) = world.server.second_merchant().await;
    let stranger = Rest::with(&world.server, Some(format!("Bearer {key}:{secret}")));
    let other = create(&stranger, "k1", r#"{"network":"trc20","amount_usd":7}"#).await;
    assert_eq!(other.status, 200, "{}", other.body);
    assert_ne!(other.invoice_id(), first.invoice_id());
    let (key, secret) = world.server.another_key().await;
    let colleague = Rest::with(&world.server, Some(format!("Bearer {key}:{secret}")));
    assert_eq!(create(&colleague, "k1", SOUND).await.invoice_id(), first.invoice_id());
    assert_eq!((invoices_so_far(&rest).await, invoices_so_far(&stranger).await), (1, 1));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_method_has_request_ids_of_its_own() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    assert_eq!(create(&rest, "k1", SOUND).await.status, 200);
    let next = |answer: &Answer| answer.json()["endpoint"]["app_key_next"].clone();
    let path = "/api/v1/webhooks/app-key/create";
    let first = post(&rest, path, "k1", "{}").await;
    assert!(next(&first).is_string(), "{}", first.body);
    assert_eq!(next(&post(&rest, path, "k1", "{}").await), next(&first));
    assert_ne!(next(&post(&rest, path, "k2", "{}").await), next(&first));
    // The id of a canceled call is no name at all for one that has none.
    let id = create(&rest, "k3", SOUND).await.invoice_id();
    let cancel = format!("/api/v1/invoices/{id}/cancel");
    assert_eq!(post(&rest, &cancel, "k1", "{}").await.status, 200);
    // The repeat tells of the invoice as it is now.
    let again = create(&rest, "k3", SOUND).await;
    assert_eq!(
        (again.invoice_id(), again.json()["invoice"]["status"].as_str()),
        (id, Some("expired"))
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_failed_leaves_its_id_free() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    for wrong in [
        r#"{"network":"trc20","amount_usd":0.5}"#,
        r#"{"network":"doge","amount_usd":50}"#,
        r#"{"network":"trc20"}"#,
        "{",
    ] {
        assert_eq!(create(&rest, "k1", wrong).await.status, 400, "{wrong}");
    }
    let first = create(&rest, "k1", SOUND).await;
    assert_eq!(first.status, 200, "{}", first.body);
    // A request that is not in order is refused before its id is looked at.
    assert_eq!(create(&rest, "k1", r#"{"network":"trc20"}"#).await.code(), "FIELD_REQUIRED");
    let activate = "/api/v1/webhooks/app-key/activate";
    assert_eq!(post(&rest, activate, "a1", "{}").await.code(), "APP_KEY_NEXT_MISSING");
    post(&rest, "/api/v1/webhooks/app-key/create", "c1", "{}").await;
    let before = rest.get("/api/v1/webhooks/endpoint").await.json()["endpoint"].clone();
    let after = post(&rest, activate, "a1", "{}").await.json()["endpoint"].clone();
    assert_eq!(after["app_key"], before["app_key_next"], "the id was free");
    let missing = "/api/v1/webhooks/deliveries/00000000-0000-0000-0000-000000000000/redeliver";
    assert_eq!(post(&rest, missing, "r1", "{}").await.code(), "DELIVERY_NOT_FOUND");
    assert_eq!(post(&rest, missing, "r1", "{}").await.code(), "DELIVERY_NOT_FOUND");
    assert_eq!(invoices_so_far(&rest).await, 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_that_come_at_once_are_one_and_rivals_are_refused() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    let twins = join_all((0..TWINS).map(|_| create(&rest, "twin", SOUND))).await;
    for twin in &twins {
        assert_eq!(twin.status, 200, "{}", twin.body);
        assert_eq!(twin.invoice_id(), twins[0].invoice_id());
    }
    assert_eq!(invoices_so_far(&rest).await, 1);
    let bodies = (0..TWINS).map(|n| format!(r#"{{"network":"trc20","amount_usd":{}}}"#, 10 + n));
    let bodies: Vec<String> = bodies.collect();
    let rivals = join_all(bodies.iter().map(|body| create(&rest, "rival", body))).await;
    let (won, lost): (Vec<_>, Vec<_>) = rivals.iter().partition(|rival| rival.status == 200);
    assert_eq!(won.len(), 1, "{rivals:?}");
    lost.into_iter().for_each(conflicts);
    assert_eq!(invoices_so_far(&rest).await, 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_that_gateways_make_up_stand_for_nothing() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    let made_up = "auto-0190cafe-0000-4000-8000-00000000f00d";
    let first = create(&rest, made_up, SOUND).await;
    let second = create(&rest, made_up, SOUND).await;
    assert_ne!(first.invoice_id(), second.invoice_id());
    assert_eq!(create(&rest, made_up, r#"{"network":"trc20","amount_usd":51}"#).await.status, 200);
    // Only the very form.
    for own in ["Auto-0190cafe-0000-4000-8000-00000000f00d", "auto-1", "auto-renewal-4711"] {
        let invoice = create(&rest, own, SOUND).await.invoice_id();
        assert_eq!(create(&rest, own, SOUND).await.invoice_id(), invoice, "{own}");
    }
    assert_eq!(invoices_so_far(&rest).await, 6);
    world.finish().await;
}
