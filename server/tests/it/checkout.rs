//! What a payer without a key sees and does: the exact keys of the answer and nothing of the
//! merchant, payment requests, the stream, the sandbox's buttons. The page is `checkout_page`.

use cryptopayment::domain::asset::Network;
use cryptopayment_proto::checkout::v1::checkout_service_client::CheckoutServiceClient;
use cryptopayment_proto::checkout::v1::{GetCheckoutRequest, WatchCheckoutRequest};
use cryptopayment_sdk::v1::{Invoice, InvoiceException, InvoiceStatus};
use reqwest::Method;
use serde_json::Value;
use tonic::Code;
use tonic::transport::Channel;

use crate::conformance::world::World;
use crate::support::rest::{Answer, Rest, answer};
use crate::support::server::{TestServer, eventually};

/// Every key that a payer's answer has, in order.
const KEYS: [&str; 21] = [
    "id",
    "status",
    "exception",
    "network",
    "network_label",
    "network_warning",
    "coin",
    "amount_crypto",
    "amount_usd",
    "paid_amount",
    "missing_amount",
    "address",
    "payment_uri",
    "confirmations",
    "txid",
    "expires_at",
    "expiry_waits_for_network",
    "is_final",
    "is_sandbox",
    "finality_is_delayed",
    "clock_ahead_seconds",
];

/// The path of an invoice as its payer knows it.
fn path(id: &str) -> String {
    format!("/checkout/v1/invoices/{id}")
}

/// The keys of the `checkout` object of an answer, in the order in which they stand.
fn keys(body: &str) -> Vec<String> {
    let object = body.split_once(r#""checkout":{"#).unwrap_or_else(|| panic!("{body}")).1;
    let (mut depth, mut found) = (0, Vec::new());
    for part in object.split_inclusive(['{', '}', ',', ':']) {
        match part.as_bytes().last() {
            Some(b'{') => depth += 1,
            Some(b'}') => depth -= 1,
            Some(b':') if depth == 0 && part.starts_with('"') && part.ends_with("\":") => {
                found.push(part.trim_matches([',', ':', '"']).to_owned());
            }
            _ => {}
        }
    }
    found
}

async fn checkout(payer: &Rest, id: &str) -> Value {
    payer.get(&path(id)).await.json()["checkout"].take()
}

/// Waits until a payer sees this.
async fn seen(payer: &Rest, id: &str, key: &str, value: &str) -> Value {
    eventually(&format!("{key} is {value}"), || async {
        let now = checkout(payer, id).await;
        (now[key] == value).then_some(now)
    })
    .await
}

async fn client(server: &TestServer) -> CheckoutServiceClient<Channel> {
    CheckoutServiceClient::connect(server.url.clone()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_sees_these_keys_and_nothing_of_the_merchant() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let body = r#"{"network":"ltc","amount_usd":50,"order_id":"ORD-of-the-shop","metadata":{"note":"private"}}"#;
    let created = Rest::of(&world.server).post("/api/v1/invoices", body).await;
    let id = created.invoice_id();
    let payer = Rest::with(&world.server, None);

    let basic = payer.get(&path(&id)).await;
    assert_eq!((basic.status, keys(&basic.body)), (200, KEYS.map(str::to_owned).to_vec()));
    let full = payer.get(&format!("{}?view=full", path(&id))).await;
    let mut all = KEYS.to_vec();
    all.insert(KEYS.len() - 2, "now");
    assert_eq!(keys(&full.body), all);
    let page = payer.get(&format!("/pay/{id}")).await;
    assert_eq!(page.status, 200);
    for body in [&basic.body, &full.body, &page.body] {
        let told = ["ORD-of", "private", "merchant", "rate", "fixed", "pk_test", "api_key"];
        for secret in told {
            assert!(!body.contains(secret), "{secret} in {body}");
        }
    }

    let now = basic.json()["checkout"].clone();
    for (key, value) in [
        ("status", "pending"),
        ("exception", "none"),
        ("network_label", "Litecoin"),
        ("amount_crypto", "0.625"),
        ("amount_usd", "50.00"),
        ("paid_amount", "0"),
        ("missing_amount", "0.625"),
    ] {
        assert_eq!(now[key], value, "{key}");
    }
    assert_eq!((&now["is_sandbox"], &now["is_final"]), (&true.into(), &false.into()));
    assert_eq!(now["confirmations"], serde_json::json!({"received": 0, "required": 6}));

    // The same over gRPC, where the time is always told; a key changes nothing, a wrong one neither.
    let mut grpc = client(&world.server).await;
    let request = GetCheckoutRequest { id: id.clone() };
    let message = grpc.get_checkout(request).await.unwrap().into_inner().checkout.unwrap();
    assert!(message.now.unwrap().seconds > 0);
    assert_eq!(message.payment_uri.as_deref(), now["payment_uri"].as_str());
    for authorization in [world.server.authorization(), "Bearer wrong:wrong".to_owned()] {
        let other = Rest::with(&world.server, Some(authorization));
        assert_eq!(other.get(&path(&id)).await.body, basic.body);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_guesses_an_id_learns_nothing() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let payer = Rest::with(&world.server, None);
    let mut grpc = client(&world.server).await;
    let mut said = Vec::new();
    for id in ["01a21368-9ae0-7289-b7a5-aff4f692999d", "nonsense", "a%27%20OR%201=1"] {
        let answer = payer.get(&path(id)).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "INVOICE_NOT_FOUND"), "{id}");
        said.push(answer.json()["message"].to_string());
        let refused =
            grpc.get_checkout(GetCheckoutRequest { id: id.to_owned() }).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{id}");
        let request = WatchCheckoutRequest { id: id.to_owned() };
        assert_eq!(grpc.watch_checkout(request).await.unwrap_err().code(), Code::NotFound, "{id}");
        assert_eq!(payer.get(&format!("/pay/{id}")).await.status, 404, "{id}");
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    let empty = grpc.get_checkout(GetCheckoutRequest::default()).await.unwrap_err();
    assert_eq!(empty.code(), Code::NotFound);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wallets_are_asked_for_what_is_missing_on_a_test_chain() {
    let world = World::sandbox(crate::ENGINE, Network::Eth).await;
    let payer = Rest::with(&world.server, None);
    for (network, before, after) in [
        ("btc", "bitcoin:ADDRESS?amount=", "0.00083334"),
        ("ltc", "litecoin:ADDRESS?amount=", "0.625"),
        ("eth", "ethereum:ADDRESS@900000001?value=", "16666670000000000"),
        (
            "bep20",
            "ethereum:0x55d398326f99059fF775485246999027B3197955@900000056/transfer?address=ADDRESS&uint256=",
            "50000000000000000000",
        ),
        ("trc20", "", ""),
    ] {
        let body = format!(r#"{{"network":"{network}","amount_usd":50}}"#);
        let created = Rest::of(&world.server).post("/api/v1/invoices", &body).await;
        let now = checkout(&payer, &created.invoice_id()).await;
        let expected = before.replace("ADDRESS", now["address"].as_str().unwrap()) + after;
        assert_eq!(now["payment_uri"].as_str().unwrap_or_default(), expected);
    }

    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 4).await;
    let now = seen(&payer, &invoice.id, "exception", "underpaid").await;
    assert_eq!(now["missing_amount"], "0.0125000025");
    let uri = now["payment_uri"].as_str().unwrap();
    assert!(uri.ends_with("@900000001?value=12500002500000000"), "{uri}");
    world.pay(&invoice, 3, 4).await;
    let now = seen(&payer, &invoice.id, "status", "confirming").await;
    assert_eq!((&now["missing_amount"], &now["payment_uri"]), (&"0".into(), &Value::Null));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_watches_until_the_end() {
    let world = World::sandbox(crate::ENGINE, Network::Btc).await;
    let invoice = world.invoice().await;
    let request = WatchCheckoutRequest { id: invoice.id.clone() };
    let mut stream =
        client(&world.server).await.watch_checkout(request).await.unwrap().into_inner();
    let mut last = None;
    // What was seen is told before what follows from it: the same standing may come twice.
    let mut stands = async || {
        loop {
            let message = stream.message().await.unwrap()?.checkout.unwrap();
            let now = (message.status(), message.confirmations.unwrap().received);
            if last.replace(now) != Some(now) {
                return Some(now);
            }
        }
    };
    assert_eq!(stands().await, Some((InvoiceStatus::Pending, 0)));
    world.pay(&invoice, 1, 1).await;
    assert_eq!(stands().await, Some((InvoiceStatus::Confirming, 0)));
    world.chain.mine(1).await.unwrap();
    assert_eq!(stands().await, Some((InvoiceStatus::Confirming, 1)));
    world.chain.mine(1).await.unwrap();
    assert_eq!(stands().await, Some((InvoiceStatus::Confirmed, 2)));
    assert_eq!(stands().await, None, "it ends with the invoice");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_is_told_when_expiry_waits_for_the_network() {
    // The chain is read at the start and not again.
    let settings = "[networks.ltc]\nblock_seconds = 0\npoll_milliseconds = 3600000\n\
        [pool]\naddresses_low = 1\naddresses_batch = 40\naddresses_leased = 5";
    let server = TestServer::with(crate::ENGINE, settings).await;
    let body = r#"{"network":"ltc","amount_usd":50}"#;
    let id = Rest::of(&server).post("/api/v1/invoices", body).await.invoice_id();
    let payer = Rest::with(&server, None);
    assert_eq!(checkout(&payer, &id).await["expiry_waits_for_network"], false);
    server.client().sandbox().advance_clock(31 * 60).await.unwrap();
    let now = checkout(&payer, &id).await;
    assert_eq!((&now["status"], &now["is_final"]), (&"pending".into(), &false.into()));
    assert_eq!(
        (&now["expiry_waits_for_network"], &now["payment_uri"]),
        (&true.into(), &Value::Null)
    );
    let page = payer.get(&format!("/pay/{id}")).await.body;
    assert!(page.contains("Do not send anything now") && !page.contains("<rect"), "{page}");
    server.finish().await;
}

/// The seconds left that a page shows.
async fn left(payer: &Rest, id: &str) -> u64 {
    let page = payer.get(&format!("/pay/{id}")).await.body;
    let rest = page.split("data-left=\"").nth(1).unwrap_or_else(|| panic!("{page}"));
    rest.split('"').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_hears_that_the_clock_was_moved() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let id = world.invoice().await.id;
    let payer = Rest::with(&world.server, None);
    let first = payer.get(&path(&id)).await;
    assert_eq!(first.json()["checkout"]["clock_ahead_seconds"], 0);
    let before = left(&payer, &id).await;
    let etag = first.headers["etag"].to_str().unwrap();
    let waiting = payer.request(Method::GET, &format!("{}?wait=25", path(&id)));
    let waiting = answer(waiting.header("if-none-match", etag));
    let sandbox = world.client.sandbox();
    let (heard, moved) = tokio::join!(waiting, sandbox.advance_clock(600));
    moved.unwrap();
    assert_eq!(heard.status, 200, "not when the time to wait was over: {heard:?}");
    let heard = heard.json()["checkout"].take();
    assert_eq!(heard["clock_ahead_seconds"], 600);
    assert_eq!(heard["expires_at"], first.json()["checkout"]["expires_at"]);
    assert!(left(&payer, &id).await <= before - 600, "{before} seconds were left before");
    world.finish().await;
}

/// Presses a button of the page.
async fn press(payer: &Rest, invoice: &Invoice, call: &str, body: &str) -> Answer {
    payer.post(&format!("{}/{call}", path(&invoice.id)), body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_buttons_pay_mine_and_reorganise() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let payer = Rest::with(&world.server, None);
    let (invoice, other) = (world.invoice().await, world.invoice().await);
    let early = press(&payer, &invoice, "reorg", r#"{"fate":"unconfirm"}"#).await;
    assert_eq!((early.status, early.code().as_str()), (400, "SANDBOX_REFUSED"));
    assert_eq!(press(&payer, &other, "pay", r#"{"kind":"exact"}"#).await.status, 200);
    assert_eq!(press(&payer, &invoice, "pay", r#"{"kind":"partial"}"#).await.status, 200);
    world.wait(&invoice, InvoiceStatus::Pending, InvoiceException::Underpaid).await;
    assert_eq!(press(&payer, &invoice, "pay", r#"{"kind":"exact"}"#).await.status, 200);
    world.wait(&invoice, InvoiceStatus::Confirming, InvoiceException::None).await;
    assert_eq!(press(&payer, &invoice, "mine", r#"{"blocks":19}"#).await.status, 200);
    world.wait(&invoice, InvoiceStatus::Confirmed, InvoiceException::None).await;
    world.wait(&other, InvoiceStatus::Confirmed, InvoiceException::None).await;

    let done = press(&payer, &invoice, "reorg", r#"{"fate":"unconfirm"}"#).await;
    assert_eq!(done.status, 200, "{}", done.body);
    world.wait(&invoice, InvoiceStatus::Confirming, InvoiceException::Reorged).await;
    assert_eq!(press(&payer, &invoice, "mine", r#"{"blocks":19}"#).await.status, 200);
    world.wait(&invoice, InvoiceStatus::Confirmed, InvoiceException::None).await;
    let done = press(&payer, &invoice, "reorg", r#"{"fate":"double_spend"}"#).await;
    assert_eq!(done.status, 200, "{}", done.body);
    world.wait(&invoice, InvoiceStatus::Pending, InvoiceException::Reorged).await;
    world.wait(&other, InvoiceStatus::Confirmed, InvoiceException::None).await;
    world.wait_available(50_000_000).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_buttons_refuse_other_sites_and_nonsense() {
    let world = World::sandbox(crate::ENGINE, Network::Ltc).await;
    let payer = Rest::with(&world.server, None);
    let invoice = world.invoice().await;
    for (call, body, status, code) in [
        ("pay", "{}", 400, "FIELD_REQUIRED"),
        ("pay", "", 400, "FIELD_REQUIRED"),
        ("pay", r#"{"kind":"everything"}"#, 400, "INVALID_FIELD"),
        ("pay", r#"{"kind":"exact","amount":1}"#, 400, "UNKNOWN_FIELD"),
        ("mine", "", 400, "INVALID_FIELD"),
        ("mine", r#"{"blocks":101}"#, 400, "INVALID_FIELD"),
        ("reorg", "", 400, "FIELD_REQUIRED"),
        ("reorg", r#"{"fate":"keep"}"#, 400, "FIELD_REQUIRED"),
    ] {
        let answer = press(&payer, &invoice, call, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{call} {body}");
    }
    // What a form on another site can send: no JSON content type, and no leave to ask for one.
    let pay = format!("{}/pay", path(&invoice.id));
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let form = payer.request(Method::POST, &pay).header("content-type", kind);
        let answer =
            answer(form.header("origin", "https://evil.example").body(r#"{"kind":"exact"}"#)).await;
        assert_eq!(answer.status, 415, "{kind}");
    }
    let asked = payer
        .request(Method::OPTIONS, &pay)
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let asked = answer(asked).await;
    assert!(asked.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    let unknown = payer.post("/checkout/v1/invoices/nothing/pay", r#"{"kind":"exact"}"#).await;
    assert_eq!(unknown.code(), "INVOICE_NOT_FOUND");
    let now = checkout(&payer, &invoice.id).await;
    assert_eq!((&now["paid_amount"], &now["txid"]), (&"0".into(), &Value::Null));
    world.finish().await;
}
