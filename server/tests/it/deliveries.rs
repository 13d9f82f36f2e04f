//! The delivery log as its merchant reads it, and redelivery: what was sent to the byte, what came back
//! within bounds, one attempt out of turn, and nothing of anybody else's.

use std::collections::BTreeSet;

use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{
    Delivery, DeliveryState, GetDeliveryResponse, Invoice, InvoiceException, InvoiceStatus,
    ListDeliveriesRequest, UpdateWebhookEndpointRequest,
};
use reqwest::Method;

use super::webhooks::told_the_documented_two;
use crate::conformance::world::World;
use crate::support::rest::{Rest, answer};
use crate::support::server::eventually;

const MEGABYTES: usize = 10;

async fn listed(world: &World, filter: ListDeliveriesRequest) -> Vec<Delivery> {
    world.client.list_deliveries(filter).await.unwrap().deliveries
}

fn about(invoice: &Invoice) -> ListDeliveriesRequest {
    ListDeliveriesRequest { invoice_id: Some(invoice.id.clone()), ..Default::default() }
}

/// An invoice that was seen, and its one delivery.
async fn detected(world: &World) -> (Invoice, Delivery) {
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    let delivery = eventually("a delivery", || async {
        listed(world, about(&invoice)).await.into_iter().next()
    })
    .await;
    (invoice, delivery)
}

/// Waits until so many attempts of a delivery are in the log.
async fn attempts(world: &World, id: &str, count: usize) -> GetDeliveryResponse {
    eventually("attempts in the log", || async {
        let found = world.client.get_delivery(id).await.unwrap();
        (found.attempts.len() >= count).then_some(found)
    })
    .await
}

async fn set_url(world: &World, url: &str) {
    let change = UpdateWebhookEndpointRequest { url: Some(url.to_owned()), events: Vec::new() };
    world.client.update_webhook_endpoint(change).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_shows_what_was_sent_and_what_came_back() {
    let world = told_the_documented_two(Network::Ltc).await;
    world.receiver.answer_with(500, "no\0pe");
    world.receiver.answer_with(200, vec![b'x'; MEGABYTES << 20]);
    let (invoice, delivery) = detected(&world).await;
    let after_one = attempts(&world, &delivery.id, 1).await.delivery.unwrap();
    assert_eq!(after_one.state(), DeliveryState::Pending);
    assert!(after_one.next_attempt_at.is_some());
    world.client.sandbox().advance_clock(61).await.unwrap();
    let log = attempts(&world, &delivery.id, 2).await;
    let got = world.receiver.wait_for(2).await;
    for (attempt, delivered) in log.attempts.iter().zip(&got) {
        assert_eq!(attempt.request_body.as_bytes(), &delivered.body, "to the byte");
        let logged: BTreeSet<_> =
            attempt.request_headers.iter().map(|h| (h.name.clone(), h.value.clone())).collect();
        let came = delivered.headers.iter();
        let came: BTreeSet<_> = came
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        assert_eq!(logged, came);
        assert_eq!(attempt.url, world.receiver.url);
        assert_eq!(delivered.header("webhook-id"), delivery.event_id, "the same in every attempt");
        assert!(attempt.started_at.is_some() && !attempt.is_redelivery);
        assert!(attempt.response_headers.iter().any(|header| header.name == "content-length"));
    }
    let [first, second] = log.attempts.as_slice() else { panic!("{:?}", log.attempts) };
    assert_eq!((first.number, first.status_code, first.error.as_deref()), (1, Some(500), None));
    assert_eq!((first.response_body.as_str(), first.is_response_cut), ("no\u{fffd}pe", false));
    assert_eq!((second.number, second.status_code), (2, Some(200)));
    assert_eq!(second.error.as_deref(), Some("too_large"));
    assert_eq!((second.response_body.len(), second.is_response_cut), (16_384, true));
    let done = log.delivery.unwrap();
    assert_eq!((done.state(), done.attempts_made), (DeliveryState::Delivered, 2));
    assert_eq!(done.next_attempt_at, None);
    assert_eq!((done.event.as_str(), &done.invoice_id), ("payment.detected", &invoice.id));
    assert_eq!(done.api_key, world.server.credentials.0);

    let rest = Rest::of(&world.server);
    let shown = rest.get(&format!("/api/v1/webhooks/deliveries/{}", delivery.id)).await.json();
    assert_eq!(shown["delivery"]["state"], "delivered");
    assert_eq!(shown["attempts"][0]["request_body"], std::str::from_utf8(&got[0].body).unwrap());
    assert_eq!(shown["attempts"][1]["status_code"], 200);
    let log = shown.to_string();
    let key = &world.server.app_key;
    let secret = world.client.webhook_endpoint().await.unwrap().signing_secret.unwrap();
    assert!(!log.contains(key) && !log.contains(&secret), "no secret in the log");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_are_listed_by_filter_and_token_and_are_the_merchants_alone() {
    let world = told_the_documented_two(Network::Ltc).await;
    let mut invoices = Vec::new();
    for _ in 0..11 {
        let invoice = world.invoice().await;
        world.pay(&invoice, 1, 1).await;
        invoices.push(invoice);
    }
    for invoice in &invoices {
        world.wait(invoice, InvoiceStatus::Confirming, InvoiceException::None).await;
    }
    world.mine_deep(&invoices[0]).await;
    let delivered =
        ListDeliveriesRequest { state: DeliveryState::Delivered.into(), ..Default::default() };
    eventually("all delivered", || async {
        let page = world.client.list_deliveries(delivered.clone()).await.unwrap();
        (page.pagination.as_ref().unwrap().total == 22).then_some(())
    })
    .await;
    // Read once nothing moves any more: a page and its total are two reads.
    let page = world.client.list_deliveries(delivered.clone()).await.unwrap();
    let pagination = page.pagination.unwrap();
    assert_eq!((page.deliveries.len(), pagination.per_page, pagination.last_page), (20, 20, 2));
    assert_eq!(pagination.page, None);
    let token = pagination.next_page_token;
    let rest_of_it = ListDeliveriesRequest { page_token: token.clone(), ..delivered.clone() };
    let second = world.client.list_deliveries(rest_of_it).await.unwrap();
    assert_eq!(second.pagination.unwrap().next_page_token, None);
    let sequences: Vec<_> =
        page.deliveries.iter().chain(&second.deliveries).map(|d| d.sequence).collect();
    assert_eq!(sequences, (1..=22).rev().collect::<Vec<_>>(), "newest first, none twice");

    let other_filter = ListDeliveriesRequest { page_token: token.clone(), ..Default::default() };
    let refused = world.client.list_deliveries(other_filter).await.unwrap_err();
    assert_eq!(refused.reason(), Some("INVALID_PAGE_TOKEN"));
    assert_eq!(listed(&world, about(&invoices[3])).await.len(), 2);
    let confirmed = ListDeliveriesRequest {
        event: Some("payment.confirmed".to_owned()),
        ..about(&invoices[3])
    };
    let found = listed(&world, confirmed).await;
    assert_eq!((found.len(), found[0].event.as_str()), (1, "payment.confirmed"));
    let failed =
        ListDeliveriesRequest { state: DeliveryState::Failed.into(), ..Default::default() };
    assert!(listed(&world, failed).await.is_empty());

    let rest = Rest::of(&world.server);
    for (query, field) in [
        ("invoice_id=x", "invoice_id"),
        ("event=payment.lost", "event"),
        ("state=gone", "state"),
        ("page_token=x", "page_token"),
    ] {
        let refused = rest.get(&format!("/api/v1/webhooks/deliveries?{query}")).await;
        assert_eq!(refused.status, 400, "{query}: {}", refused.body);
        assert_eq!(refused.json()["error"]["details"][0]["field"], field, "{query}");
    }
    let listed = rest.get("/api/v1/webhooks/deliveries?event=payment.detected").await.json();
    let (deliveries, pagination) = (&listed["deliveries"], &listed["pagination"]);
    assert_eq!(deliveries.as_array().unwrap().len(), 11);
    assert_eq!(
        pagination.to_string(),
        r#"{"last_page":1,"next_page_token":null,"page":null,"per_page":20,"total":11}"#
    );

    let (key, secret) = world.server.second_merchant().await;
    let stranger = world.server.client_of(&key, &secret);
    let id = &page.deliveries[0].id;
    let errors =
        [stranger.get_delivery(id).await.unwrap_err(), stranger.redeliver(id).await.unwrap_err()];
    for error in errors {
        assert_eq!(error.reason(), Some("DELIVERY_NOT_FOUND"));
    }
    assert!(stranger.list_deliveries(about(&invoices[0])).await.unwrap().deliveries.is_empty());
    for id in ["nonsense", "00000000-0000-0000-0000-000000000000"] {
        let error = world.client.get_delivery(id).await.unwrap_err();
        assert_eq!(error.reason(), Some("DELIVERY_NOT_FOUND"), "{id}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivered_event_is_sent_again_once_per_request() {
    let world = told_the_documented_two(Network::Ltc).await;
    let (_, delivery) = detected(&world).await;
    attempts(&world, &delivery.id, 1).await;
    let rest = Rest::of(&world.server);
    let path = format!("/api/v1/webhooks/deliveries/{}/redeliver", delivery.id);
    for _ in 0..3 {
        let request = rest
            .request(Method::POST, &path)
            .header("content-type", "application/json")
            .header("Idempotency-Key", "again-1");
        let answered = answer(request.body("{}")).await;
        assert_eq!(answered.status, 200, "{}", answered.body);
        attempts(&world, &delivery.id, 2).await;
    }
    let log = attempts(&world, &delivery.id, 2).await;
    assert_eq!(log.attempts.len(), 2, "one key, one attempt");
    let again = &log.attempts[1];
    assert!(again.is_redelivery && !log.attempts[0].is_redelivery);
    let now = log.delivery.unwrap();
    assert_eq!(now.state(), DeliveryState::Delivered);
    assert_eq!((now.attempts_made, now.redelivery_requested_at), (2, None));
    let got = world.receiver.wait_for(2).await;
    assert_eq!(got[0].body, got[1].body, "the same body and signature");
    for name in ["webhook-id", "x-cryptopayment-event-id", "x-cryptopayment-sequence"] {
        assert_eq!(got[0].header(name), got[1].header(name), "{name}");
    }
    assert_eq!(got[1].header("x-cryptopayment-attempt"), "2");

    // A redelivery that fails takes nothing back, and the same key stands for this delivery alone.
    world.receiver.answer([503]);
    world.client.redeliver(&delivery.id).await.unwrap();
    let log = attempts(&world, &delivery.id, 3).await;
    assert_eq!(log.attempts[2].status_code, Some(503));
    assert_eq!(log.delivery.unwrap().state(), DeliveryState::Delivered);
    let (_, other) = detected(&world).await;
    let request = rest
        .request(Method::POST, &format!("/api/v1/webhooks/deliveries/{}/redeliver", other.id))
        .header("content-type", "application/json")
        .header("Idempotency-Key", "again-1");
    let refused = answer(request.body("{}")).await;
    assert_eq!((refused.status, refused.code()), (409, "IDEMPOTENCY_CONFLICT".to_owned()));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redelivery_leaves_the_schedule_of_a_pending_delivery_as_it_is() {
    let world = told_the_documented_two(Network::Ltc).await;
    world.receiver.answer([500, 500, 500, 200]);
    let (_, delivery) = detected(&world).await;
    let due = attempts(&world, &delivery.id, 1).await.delivery.unwrap().next_attempt_at;
    assert!(due.is_some());
    world.client.redeliver(&delivery.id).await.unwrap();
    let log = attempts(&world, &delivery.id, 2).await;
    assert!(log.attempts[1].is_redelivery);
    let still = log.delivery.unwrap();
    assert_eq!((still.state(), still.next_attempt_at), (DeliveryState::Pending, due));
    world.client.sandbox().advance_clock(61).await.unwrap();
    let log = attempts(&world, &delivery.id, 3).await;
    let second = log.delivery.unwrap().next_attempt_at.unwrap().seconds;
    let ended = log.attempts[2].started_at.unwrap().seconds;
    assert!(!log.attempts[2].is_redelivery);
    assert!(
        (299..=310).contains(&(second - ended)),
        "the second delay, as if nothing had been sent"
    );
    // One that arrives ends the schedule, as any attempt does.
    world.client.redeliver(&delivery.id).await.unwrap();
    let log = attempts(&world, &delivery.id, 4).await;
    assert_eq!(log.delivery.unwrap().state(), DeliveryState::Delivered);
    world.client.sandbox().advance_clock(24 * 3_600).await.unwrap();
    let (_, other) = detected(&world).await;
    attempts(&world, &other.id, 1).await;
    assert_eq!(attempts(&world, &delivery.id, 4).await.attempts.len(), 4, "nothing more is sent");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_and_dropped_deliveries_can_be_sent_again() {
    let world = told_the_documented_two(Network::Ltc).await;
    world.receiver.answer([500; 6]);
    let (_, failing) = detected(&world).await;
    for (made, delay) in (1..).zip([60, 5 * 60, 15 * 60, 3_600, 6 * 3_600]) {
        attempts(&world, &failing.id, made).await;
        world.client.sandbox().advance_clock(delay + 1).await.unwrap();
    }
    let failed = attempts(&world, &failing.id, 6).await.delivery.unwrap();
    assert_eq!((failed.state(), failed.next_attempt_at), (DeliveryState::Failed, None));
    world.client.redeliver(&failing.id).await.unwrap();
    let log = attempts(&world, &failing.id, 7).await;
    assert_eq!(log.delivery.unwrap().state(), DeliveryState::Delivered);

    world.receiver.answer([500]);
    let (_, dropped) = detected(&world).await;
    attempts(&world, &dropped.id, 1).await;
    set_url(&world, "").await;
    let refused = world.client.redeliver(&dropped.id).await.unwrap_err();
    assert_eq!(refused.reason(), Some("WEBHOOK_ENDPOINT_MISSING"));
    world.client.sandbox().advance_clock(61).await.unwrap();
    eventually("it is dropped", || async {
        let found = world.client.get_delivery(&dropped.id).await.unwrap();
        (found.delivery.unwrap().state() == DeliveryState::Dropped).then_some(())
    })
    .await;
    assert_eq!(attempts(&world, &dropped.id, 1).await.attempts.len(), 1, "and was not sent");
    set_url(&world, &world.receiver.url).await;
    world.client.redeliver(&dropped.id).await.unwrap();
    let log = attempts(&world, &dropped.id, 2).await;
    assert_eq!(log.delivery.unwrap().state(), DeliveryState::Delivered);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_still_gets_its_webhooks_until_its_endpoint_is_removed() {
    let world = told_the_documented_two(Network::Ltc).await;
    let (key, secret) = world.server.second_merchant().await;
    let client = world.server.client_of(&key, &secret);
    let change =
        UpdateWebhookEndpointRequest { url: Some(world.receiver.url.clone()), events: Vec::new() };
    client.update_webhook_endpoint(change).await.unwrap();
    let wanted = cryptopayment_sdk::CreateInvoice::new("ltc", "50");
    let invoice = client.create_invoice(wanted).await.unwrap().invoice.unwrap();
    world.server.revoke(&key).await;
    assert_eq!(client.balances().await.unwrap_err().reason(), Some("CREDENTIALS_INVALID"));
    world.pay(&invoice, 1, 1).await;
    let got = world.receiver.wait_for(1).await;
    assert_eq!(
        (got[0].event(), &got[0].json()["invoice_id"]),
        ("payment.detected".to_owned(), &invoice.id.clone().into())
    );
    world.server.set_webhook(&key, "").await;
    world.mine_deep(&invoice).await;
    // The demo merchant's own delivery comes later than the other's confirmation.
    let (_, own) = detected(&world).await;
    attempts(&world, &own.id, 1).await;
    assert_eq!(world.receiver.got().len(), 2, "nothing goes to a removed endpoint");
    world.server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_are_forgotten_after_ninety_days_and_their_events_are_not() {
    const DAY_SECONDS: u32 = 86_400;
    let world = told_the_documented_two(Network::Ltc).await;
    let (invoice, delivery) = detected(&world).await;
    attempts(&world, &delivery.id, 1).await;
    world.client.sandbox().advance_clock(89 * DAY_SECONDS).await.unwrap();
    let (_, newer) = detected(&world).await;
    attempts(&world, &newer.id, 1).await;
    attempts(&world, &delivery.id, 1).await;
    world.client.sandbox().advance_clock(2 * DAY_SECONDS).await.unwrap();
    eventually("the old delivery is forgotten", || async {
        listed(&world, about(&invoice)).await.is_empty().then_some(())
    })
    .await;
    assert!(world.client.get_delivery(&delivery.id).await.is_err());
    attempts(&world, &newer.id, 1).await;
    assert_eq!(world.events(&invoice).await[0], "payment.detected");
    world.finish().await;
}

/// A merchant whose receiver takes connections and never answers holds up nobody's webhooks but its own,
/// however many it has and asks for again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    let settings = "[webhook]\nconcurrency_max = 8\ntimeout_seconds = 20\n";
    let world = World::sandbox_with(crate::ENGINE, Network::Ltc, settings).await;
    let (key, secret) = world.server.second_merchant().await;
    let other = world.server.client_of(&key, &secret);
    let told =
        UpdateWebhookEndpointRequest { url: Some(world.receiver.url.clone()), events: Vec::new() };
    other.update_webhook_endpoint(told).await.unwrap();
    let wanted = cryptopayment_sdk::CreateInvoice::new("ltc", "50");
    let theirs = other.create_invoice(wanted).await.unwrap().invoice.unwrap();

    // It takes connections as long as this lives, and reads nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = UpdateWebhookEndpointRequest {
        url: Some(format!("http://{}/hook", silent.local_addr().unwrap())),
        events: vec!["invoice.canceled".to_owned()],
    };
    world.client.update_webhook_endpoint(hangs).await.unwrap();
    // One by one in eight places they would hang for longer than anything is waited for.
    for _ in 0..60 {
        let invoice = world.invoice().await;
        world.client.cancel_invoice(&invoice.id).await.unwrap();
    }
    let under_way = eventually("deliveries that hang", || async {
        let page = listed(&world, ListDeliveriesRequest::default()).await;
        (page.len() >= 20).then_some(page)
    })
    .await;
    for delivery in under_way {
        world.client.redeliver(&delivery.id).await.unwrap();
    }
    world.pay(&theirs, 1, 1).await;
    let got = world.receiver.wait_for(1).await;
    assert_eq!(got[0].json()["invoice_id"], theirs.id.as_str());
    world.server.finish().await;
}
