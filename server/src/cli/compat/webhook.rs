//! The documented webhook against a sandbox: a receiver of our own, an invoice that is paid, and the
//! bodies that come, with their signatures. The key's endpoint is put back afterwards. Not here: REST.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Compat;
use super::http::{Call, Speaker};
use super::json::{Raw, has_form, is_amount};
use super::receiver::Receiver;
use crate::webhook::signing;

const ENDPOINT: &str = "/api/v1/webhooks/endpoint";
const BODY_KEYS: &str = "event, invoice_id, order_id, status, network, coin, amount_usd, \
     amount_crypto, paid_amount, txid, confirmations, address, timestamp, signature";
const TIME_FORM: &str = "dddd-dd-ddTdd:dd:dd+00:00";
const TXID_FORM_LENGTH: usize = 64;
/// How long a webhook may take to come: the miner of a sandbox needs a second a block.
const DELIVERY_SECONDS_MAX: u64 = 60;

/// Pays an invoice of a sandbox and checks what is told about it.
pub async fn paid(compat: &mut Compat, listen: SocketAddr, public: Option<&str>) -> Result<()> {
    compat.recipe("webhooks");
    let mut receiver = Receiver::open(listen).await?;
    let before = compat.call(Call::get(ENDPOINT)).await?;
    compat.equal("the endpoint, HTTP status", "200", before.status);
    let own = format!("http://{}/", receiver.address);
    let url = public.unwrap_or(&own);
    let events = ["payment.detected", "payment.confirmed"];
    let changed = change(compat, &json!({ "url": url, "events": events })).await?;
    compat.equal("setting the endpoint, HTTP status", "200", changed);
    let told = exchange(compat, &mut receiver, &before.json).await;
    // Whatever came of it, the endpoint is what it was.
    let old = before.json.at("endpoint.url").and_then(Raw::text).unwrap_or_default();
    let kept = before.json.at("endpoint.events").map_or(&[][..], Raw::entries);
    let kept: Vec<&str> = kept.iter().filter_map(Raw::text).collect();
    let back = change(compat, &json!({ "url": old, "events": kept })).await?;
    compat.equal("putting the endpoint back, HTTP status", "200", back);
    told
}

async fn change(compat: &mut Compat, body: &Value) -> Result<u16> {
    let body = body.to_string();
    let patch = Call { method: &Method::PATCH, ..Call::post(ENDPOINT, &body) };
    Ok(compat.call(patch).await?.status)
}

async fn exchange(compat: &mut Compat, receiver: &mut Receiver, endpoint: &Raw) -> Result<()> {
    let order_id = format!("compat-{}", compat.unique());
    let body = Speaker::Php.invoice(compat.network.network, &order_id);
    let created = compat.call(Call::post("/api/v1/invoices", &body)).await?;
    let id = created.json.at("invoice.id").and_then(Raw::text).unwrap_or_default().to_owned();
    let path = format!("/sandbox/v1/invoices/{id}/pay");
    let paid = compat.call(Call::post(&path, r#"{"blocks":1}"#)).await?;
    compat.equal("paying in the sandbox, HTTP status", "200", paid.status);
    let network = compat.network.network;
    let mine = format!("/sandbox/v1/networks/{network}/mine");
    let app_key = endpoint.at("endpoint.app_key").and_then(Raw::text).unwrap_or_default();
    for (event, status) in [("payment.detected", "confirming"), ("payment.confirmed", "confirmed")]
    {
        let waiting = next_about(receiver, &id);
        let got = timeout(Duration::from_secs(DELIVERY_SECONDS_MAX), waiting).await.ok().flatten();
        let Some(text) = got else {
            compat.equal(event, "a webhook", format!("none in {DELIVERY_SECONDS_MAX} s"));
            return Ok(());
        };
        delivered(compat, &text, &Told { event, status, id: &id, order_id: &order_id, app_key });
        if event == "payment.detected" {
            // Deep enough for every network of the documentation.
            compat.call(Call::post(&mine, r#"{"blocks":40}"#)).await?;
        }
    }
    Ok(())
}

/// The next body about an invoice: other invoices of the key may be paid meanwhile.
async fn next_about(receiver: &mut Receiver, id: &str) -> Option<String> {
    loop {
        let text = receiver.bodies.recv().await?;
        let about = Raw::parse(&text).and_then(|body| Some(body.get("invoice_id")?.text()? == id));
        if about == Some(true) {
            return Some(text);
        }
    }
}

/// What a webhook must tell.
struct Told<'a> {
    event: &'a str,
    status: &'a str,
    id: &'a str,
    order_id: &'a str,
    app_key: &'a str,
}

fn delivered(compat: &mut Compat, text: &str, told: &Told<'_>) {
    let body = Raw::parse(text).unwrap_or(Raw::Token("no JSON".to_owned()));
    let of = |part: &str| format!("{}: {part}", told.event);
    let shown = |key: &str| body.get(key).map_or_else(|| "missing".to_owned(), Raw::to_string);
    compat.keys(of("keys"), BODY_KEYS, Some(&body));
    let network = compat.network;
    for (key, expected) in [
        ("event", told.event),
        ("invoice_id", told.id),
        ("order_id", told.order_id),
        ("status", told.status),
        ("network", network.network),
        ("coin", network.coin),
    ] {
        compat.equal(of(key), format!("{expected:?}"), shown(key));
    }
    compat.equal(of("amount_usd"), "1.00", shown("amount_usd"));
    for key in ["amount_crypto", "paid_amount"] {
        compat.holds(of(key), "a plain number, two decimals at least", &shown(key), is_amount);
    }
    let txid = body.get("txid").and_then(Raw::text).unwrap_or_default();
    compat.holds(of("txid"), "a transaction", txid, |txid| txid.len() >= TXID_FORM_LENGTH);
    compat.holds(of("confirmations"), "a whole number", &shown("confirmations"), |number| {
        number.bytes().all(|b| b.is_ascii_digit())
    });
    let time = body.get("timestamp").and_then(Raw::text).unwrap_or_default();
    compat.holds(of("timestamp"), TIME_FORM.replace('d', "0"), time, |t| has_form(t, TIME_FORM));
    let signature = body.get("signature").and_then(Raw::text).unwrap_or_default();
    compat.holds(of("signature"), "hex(HMAC-SHA256(APP_KEY, id.event))", signature, |signature| {
        let key = STANDARD.decode(told.app_key).ok();
        let key = key.and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok());
        key.is_some_and(|key| signing::verify(&key, told.id, told.event, signature))
    });
}
