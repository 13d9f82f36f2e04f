//! Webhooks as a receiver sees them: the documented retries, their bodies, who is told and who is not.

use std::collections::HashSet;

use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::CreateInvoice;
use cryptopayment_sdk::v1::{InvoiceException, InvoiceStatus, UpdateWebhookEndpointRequest};

use sea_orm::{ConnectionTrait as _, Statement};

use crate::conformance::world::World;
use crate::support::receiver::{Delivery, Receiver};

/// Seconds from the end of one attempt to the next.
const DELAYS: [u32; 5] = [60, 5 * 60, 15 * 60, 3_600, 6 * 3_600];
/// How long before its time an attempt is looked for in vain. Real time passes too while it is.
const EARLY_SECONDS: u32 = 40;

/// A world whose receiver is told the documented two events alone.
pub async fn told_the_documented_two(network: Network) -> World {
    let world = World::sandbox(crate::ENGINE, network).await;
    let change = UpdateWebhookEndpointRequest {
        url: None,
        events: vec!["payment.detected".to_owned(), "payment.confirmed".to_owned()],
    };
    world.client.update_webhook_endpoint(change).await.unwrap();
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_receiver_is_tried_six_times_on_the_documented_schedule() {
    let mut world = told_the_documented_two(Network::Ltc).await;
    // Deliveries and the tests between them, in the order in which they come.
    world.receiver.answer([500, 200, 404, 200, 301, 200, 503, 200, 500, 200, 500]);
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    for (made, delay) in (1..).zip(DELAYS) {
        recorded(&world, made).await;
        if made == 5 {
            // The last one is sent by a server that was started after all the others.
            world.server.restart().await;
            world.client = world.server.client();
        }
        world.client.sandbox().advance_clock(delay - EARLY_SECONDS).await.unwrap();
        // Another delivery comes and goes meanwhile: this one is still not due.
        assert!(world.client.send_test().await.unwrap().status_code.is_some());
        assert_eq!(attempts(&world, &invoice.id).len(), made, "not before its time");
        world.client.sandbox().advance_clock(EARLY_SECONDS + 5).await.unwrap();
    }
    let six = crate::support::server::eventually("six attempts", || async {
        let made = attempts(&world, &invoice.id);
        (made.len() >= 6).then_some(made)
    })
    .await;
    let bodies: HashSet<_> = six.iter().map(|attempt| attempt.body.clone()).collect();
    assert_eq!(bodies.len(), 1, "the same body, timestamp and signature each time");
    let numbers: Vec<_> = six.iter().map(|a| a.header("x-cryptopayment-attempt")).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5", "6"]);
    world.client.sandbox().advance_clock(24 * 3_600).await.unwrap();
    let other = world.invoice().await;
    world.pay(&other, 1, 1).await;
    world.wait(&other, InvoiceStatus::Confirming, InvoiceException::None).await;
    crate::support::server::eventually("another delivery", || async {
        (!attempts(&world, &other.id).is_empty()).then_some(())
    })
    .await;
    assert_eq!(attempts(&world, &invoice.id).len(), 6, "six in all, and no more");
    world.finish().await;
}

/// Waits until the server has written down that many attempts: the next delay counts from there.
pub async fn recorded(world: &World, count: usize) {
    let db = sea_orm::Database::connect(&world.server.database_url).await.unwrap();
    let sql = "SELECT COUNT(*) AS n FROM delivery_attempt";
    crate::support::server::eventually("attempt written down", || async {
        let statement = Statement::from_string(db.get_database_backend(), sql);
        let row = db.query_one_raw(statement).await.unwrap().unwrap();
        (row.try_get::<i64>("", "n").unwrap() >= i64::try_from(count).unwrap()).then_some(())
    })
    .await;
    db.close().await.unwrap();
}

/// Deliveries about an invoice so far.
fn attempts(world: &World, invoice: &str) -> Vec<Delivery> {
    let got = world.receiver.got();
    got.into_iter().filter(|delivery| delivery.json()["invoice_id"] == invoice).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_event_waits_for_one_attempt_of_an_older_one_at_most() {
    let world = told_the_documented_two(Network::Ltc).await;
    world.receiver.answer([500]);
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    world.receiver.wait_for(1).await;
    world.mine_deep(&invoice).await;
    let got = world.receiver.wait_for(2).await;
    let names: Vec<_> = got.iter().map(Delivery::event).collect();
    assert_eq!(names, ["payment.detected", "payment.confirmed"], "a failed one holds up nothing");
    world.client.sandbox().advance_clock(61).await.unwrap();
    let got = world.receiver.wait_for(3).await;
    assert_eq!(got[2].event(), "payment.detected", "and comes again later");
    assert_eq!(got[2].header("x-cryptopayment-sequence"), "1");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_did_not_ask_gets_the_documented_two_and_a_removed_endpoint_nothing() {
    let world = told_the_documented_two(Network::Ltc).await;
    let over = world.invoice().await;
    world.client.cancel_invoice(&over.id).await.unwrap();
    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    world.wait(&invoice, InvoiceStatus::Confirming, InvoiceException::None).await;
    let got = world.receiver.wait_for(1).await;
    assert_eq!(got[0].event(), "payment.detected", "the cancellation was not asked for");
    assert_eq!(world.events(&over).await, ["invoice.canceled"], "the log has it all the same");

    let removal = UpdateWebhookEndpointRequest { url: Some(String::new()), events: vec![] };
    world.client.update_webhook_endpoint(removal).await.unwrap();
    world.mine_deep(&invoice).await;
    world.wait(&invoice, InvoiceStatus::Confirmed, InvoiceException::None).await;
    world.wait_available(invoice.amount_units.parse().unwrap()).await;
    let refused = world.client.send_test().await.unwrap_err();
    assert_eq!(refused.reason(), Some("WEBHOOK_ENDPOINT_MISSING"));
    assert_eq!(world.receiver.got().len(), 1, "nobody is told any more");
    world.finish().await;
}

/// Event and invoice of each.
fn told(receiver: &Receiver) -> Vec<(String, String)> {
    let of = |one: &Delivery| (one.event(), one.json()["invoice_id"].as_str().unwrap().to_owned());
    receiver.got().iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_of_a_merchant_is_told_what_it_asked_for_of_its_own_invoices() {
    // The world's own key asks for every event, and has no invoice.
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let (mut shops, mut invoices) = (Vec::new(), Vec::new());
    for events in [vec![], vec!["invoice.canceled".to_owned()]] {
        let (key, secret) = world.server.another_key().await;
        let (client, receiver) = (world.server.client_of(&key, &secret), Receiver::start().await);
        let change = UpdateWebhookEndpointRequest { url: Some(receiver.url.clone()), events };
        client.update_webhook_endpoint(change).await.unwrap();
        shops.push((key, client, receiver));
    }
    for (_, client, _) in &shops {
        let create = async || {
            let created = client.create_invoice(CreateInvoice::new("ltc", "50")).await;
            created.unwrap().invoice.unwrap()
        };
        let (over, paid) = (create().await, create().await);
        client.cancel_invoice(&over.id).await.unwrap();
        world.pay(&paid, 1, 1).await;
        world.wait(&paid, InvoiceStatus::Confirming, InvoiceException::None).await;
        world.mine_deep(&paid).await;
        world.wait(&paid, InvoiceStatus::Confirmed, InvoiceException::None).await;
        assert_eq!(world.events(&over).await, ["invoice.canceled"]);
        assert_eq!(world.events(&paid).await, ["payment.detected", "payment.confirmed"]);
        invoices.push((over.id, paid.id));
    }
    let [(plain, _, plain_hears), (choosy, client, choosy_hears)] = shops.as_slice() else {
        panic!("two shops")
    };
    // Events become deliveries in their order: with this last one there are all that there will be.
    let last = client.create_invoice(CreateInvoice::new("ltc", "50")).await.unwrap();
    let last = client.cancel_invoice(&last.invoice.unwrap().id).await.unwrap().id;
    choosy_hears.wait_for(2).await;
    plain_hears.wait_for(2).await;
    let one = |event: &str, id: &String| (event.to_owned(), id.clone());
    let of_plain =
        [one("payment.detected", &invoices[0].1), one("payment.confirmed", &invoices[0].1)];
    let of_choosy = [one("invoice.canceled", &invoices[1].0), one("invoice.canceled", &last)];
    let page = world.client.list_deliveries(Default::default()).await.unwrap();
    for (key, wanted) in [(plain, &of_plain), (choosy, &of_choosy)] {
        let own = page.deliveries.iter().rev().filter(|one| &one.api_key == key);
        let own: Vec<_> = own.map(|one| (one.event.clone(), one.invoice_id.clone())).collect();
        assert_eq!(own, wanted);
    }
    assert_eq!(page.deliveries.len(), 4, "and nobody else's");
    assert_eq!((told(plain_hears), told(choosy_hears)), (of_plain.into(), of_choosy.into()));
    assert!(world.receiver.got().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_no_webhook_may_reach_are_refused() {
    let world = told_the_documented_two(Network::Ltc).await;
    for url in ["ftp://example.com/", "http://169.254.169.254/latest", "nonsense", "http://"] {
        let change = UpdateWebhookEndpointRequest { url: Some(url.to_owned()), events: Vec::new() };
        let refused = world.client.update_webhook_endpoint(change).await.unwrap_err();
        assert_eq!(refused.reason(), Some("WEBHOOK_TARGET_REFUSED"), "{url}");
    }
    let unknown =
        UpdateWebhookEndpointRequest { url: None, events: vec!["payment.lost".to_owned()] };
    let refused = world.client.update_webhook_endpoint(unknown).await.unwrap_err();
    assert_eq!(refused.reason(), Some("INVALID_FIELD"));
    let kept = world.client.webhook_endpoint().await.unwrap();
    assert_eq!(kept.url.as_deref(), Some(world.receiver.url.as_str()), "nothing changed");
    world.finish().await;
}
