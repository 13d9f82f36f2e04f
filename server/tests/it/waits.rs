//! `GET /invoices/{id}?wait=`: what answers it, when it does not, and how it ends.

use std::time::{Duration, Instant};

use cryptopayment::chain::ForkFate;
use cryptopayment::domain::asset::Network;
use cryptopayment::transport::grpc::checkout::WATCHERS_PER_INVOICE_MAX;
use cryptopayment_proto::checkout::v1::WatchCheckoutRequest;
use cryptopayment_proto::checkout::v1::checkout_service_client::CheckoutServiceClient;
use cryptopayment_sdk::v1::{Invoice, InvoiceException, InvoiceStatus};
use cryptopayment_sdk::{CreateInvoice, From};
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::Value;
use tonic::transport::Channel;

use crate::conformance::world::World;
use crate::support::rest::{Answer, Rest, answer};
use crate::support::server::{DEADLINE, TestServer, eventually};

/// Asks for an invoice and waits for it to differ from what has this identity.
async fn wait(rest: &Rest, path: &str, seconds: u32, known: Option<&str>) -> Answer {
    let request = rest.request(Method::GET, &format!("{path}wait={seconds}")).timeout(3 * DEADLINE);
    answer(match known {
        Some(tag) => request.header("if-none-match", tag),
        None => request,
    })
    .await
}

/// Goes on from change to change, as a client does, until one holds. Each answer differs from the one
/// before: the time of none was over.
async fn wait_until(
    rest: &Rest,
    path: &str,
    mut known: String,
    holds: impl Fn(&Value) -> bool,
) -> Answer {
    loop {
        let told = wait(rest, path, 60, Some(&known)).await;
        assert_eq!(told.status, 200, "{}", told.body);
        assert_ne!(tag(&told), known, "nothing changed: {}", told.body);
        if holds(&told.json()["invoice"]) {
            return told;
        }
        known = tag(&told);
    }
}

fn tag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

fn path_of(invoice: &Invoice) -> String {
    format!("/api/v1/invoices/{}?", invoice.id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_answers_and_a_new_confirmation_is_one() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let rest = Rest::of(&world.server);
    let invoice = world.invoice().await;
    let path = path_of(&invoice);
    let now = rest.get(path.trim_end_matches('?')).await;
    let full = rest.get(&format!("{path}view=full")).await;
    assert_ne!(tag(&now), tag(&full), "two bodies, two identities");
    let same = rest.request(Method::GET, &path).header("if-none-match", tag(&now));
    assert_eq!(answer(same).await.status, 200, "every success is 200");

    let is = |status: &'static str| move |shown: &Value| shown["status"] == status;
    let (told, txid) = tokio::join!(
        wait_until(&rest, &path, tag(&now), is("confirming")),
        world.pay(&invoice, 1, 1),
    );
    assert_eq!(told.json()["invoice"]["txid"], txid.as_str());
    let mut known = tag(&told);
    for n in 1..6 {
        let deeper = |shown: &Value| shown["confirmations"]["received"] == n;
        let (told, _) = tokio::join!(wait_until(&rest, &path, known, deeper), world.chain.mine(1));
        known = tag(&told);
    }
    let (told, _) =
        tokio::join!(wait_until(&rest, &path, known, is("confirmed")), world.chain.mine(1));
    assert_eq!(tag(&told), tag(&rest.get(path.trim_end_matches('?')).await));
    world.wait_available(625_000_000 / 10).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_final_invoice_holds_the_time_and_a_late_change_is_told_all_the_same() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let rest = Rest::of(&world.server);
    let invoice = world.invoice().await;
    let txid = world.pay(&invoice, 1, 1).await;
    world.mine_deep(&invoice).await;
    world.wait(&invoice, InvoiceStatus::Confirmed, InvoiceException::None).await;
    let path = path_of(&invoice);
    let began = Instant::now();
    let held = wait(&rest, &path, 2, None).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!((held.status, &held.json()["invoice"]["status"]), (200, &"confirmed".into()));

    let required = invoice.confirmations.unwrap().required;
    tokio::join!(
        wait_until(&rest, &path, tag(&held), |shown| shown["status"] == "pending"),
        world.fork(required, &txid, ForkFate::DoubleSpend),
    );
    world.wait(&invoice, InvoiceStatus::Pending, InvoiceException::Reorged).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_wrong_times_are_refused_at_once() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let invoice = world.invoice().await;
    let (key, secret) = world.server.second_merchant().await;
    let stranger = Rest::with(&world.server, Some(format!("Bearer {key}:{secret}")));
    let refused = wait(&stranger, &path_of(&invoice), 60, None).await;
    assert_eq!((refused.status, refused.code().as_str()), (404, "INVOICE_NOT_FOUND"));
    let nobody = Rest::with(&world.server, None);
    let refused = wait(&nobody, &path_of(&invoice), 60, None).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "CREDENTIALS_MISSING"));
    let refused = wait(&Rest::of(&world.server), &path_of(&invoice), 61, None).await;
    assert_eq!(refused.json()["error"]["details"][0]["field"], "wait");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_answers_who_waits() {
    let mut world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let invoice = world.invoice().await;
    // A request may lose the race against the stop; then it was not waiting, and another is tried.
    for _ in 0..10 {
        let rest = Rest::of(&world.server);
        let path = path_of(&invoice);
        let asked = rest.request(Method::GET, &format!("{path}wait=60")).timeout(3 * DEADLINE);
        let waiting = tokio::spawn(asked.send());
        for _ in 0..3 {
            rest.get("/api/v1/balances").await;
        }
        let began = Instant::now();
        world.server.stop().await;
        let told = waiting.await.unwrap();
        assert!(began.elapsed() < DEADLINE, "it hung for {:?}", began.elapsed());
        world.server.run().await;
        if let Ok(told) = told
            && told.status() == 200
        {
            assert!(told.text().await.unwrap().contains("pending"), "what is known");
            world.finish().await;
            return;
        }
    }
    panic!("no request was waiting when the server stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merchant_has_only_so_many_streams() {
    let http = "[http]\nlisten = \"127.0.0.1:0\"\nstreams_per_merchant_max = 2";
    let server = TestServer::with(crate::ENGINE, http).await;
    let (client, rest) = (server.client(), Rest::of(&server));
    let created = client.create_invoice(CreateInvoice::new("ltc", "5")).await.unwrap();
    let path = format!("/api/v1/invoices/{}", created.invoice.unwrap().id);
    let open = async || {
        let mut stream = Box::pin(client.stream_events(From::Earliest));
        // Its place is taken once it has told where it stands: an event is then on its way.
        let other = client.create_invoice(CreateInvoice::new("ltc", "5")).await.unwrap();
        client.cancel_invoice(&other.invoice.unwrap().id).await.unwrap();
        stream.next().await.unwrap().unwrap();
        stream
    };
    let (first, second) = (open().await, open().await);
    let refused = rest.get(&format!("{path}?wait=60")).await;
    assert_eq!((refused.status, refused.code()), (429, "TOO_MANY_WAITING".to_owned()));
    let error = client.stream_events(From::Earliest).boxed().next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some("TOO_MANY_WAITING"));
    let (key, secret) = server.second_merchant().await;
    let stranger = Rest::with(&server, Some(format!("Bearer {key}:{secret}")));
    assert_eq!(stranger.get(&format!("{path}?wait=1")).await.status, 404, "they have their own");
    let other = server.client_of(&key, &secret);
    let theirs = other.create_invoice(CreateInvoice::new("ltc", "5")).await.unwrap();
    let theirs = format!("/api/v1/invoices/{}", theirs.invoice.unwrap().id);
    assert_eq!(stranger.get(&format!("{theirs}?wait=1")).await.status, 200, "places of their own");
    drop(first);
    eventually("a place is free again", || async {
        (rest.get(&format!("{path}?wait=1")).await.status == 200).then_some(())
    })
    .await;
    drop(second);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_the_places_of_one_invoice_takes_no_other_payers() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let (watched, other) = (world.invoice().await, world.invoice().await);
    let path = |invoice: &Invoice| format!("/checkout/v1/invoices/{}", invoice.id);
    let channel = Channel::from_shared(world.server.url.clone()).unwrap().connect().await.unwrap();
    let mut client = CheckoutServiceClient::new(channel);
    let mut held = Vec::new();
    for _ in 0..WATCHERS_PER_INVOICE_MAX {
        let request = WatchCheckoutRequest { id: watched.id.clone() };
        held.push(client.watch_checkout(request).await.unwrap());
    }
    let payer = Rest::with(&world.server, None);
    let refused = payer.get(&format!("{}?wait=1", path(&watched))).await;
    assert_eq!((refused.status, refused.code()), (429, "TOO_MANY_WAITING".to_owned()));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(payer.get(&path(&watched)).await.status, 200, "asking without waiting");
    assert_eq!(payer.get(&format!("{}?wait=1", path(&other))).await.status, 200);
    drop(held);
    eventually("a place is free again", || async {
        let waited = payer.get(&format!("{}?wait=1", path(&watched))).await;
        (waited.status == 200).then_some(())
    })
    .await;
    world.finish().await;
}
