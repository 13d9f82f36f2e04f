//! Every documented answer, compared to the byte with a golden text: keys, their order, number
//! tokens. What differs from run to run (ids, addresses, transactions, times, hosts) is replaced by its
//! name, after its form was checked.

use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{InvoiceException, InvoiceStatus};

use crate::conformance::world::World;
use crate::support::rest::Rest;

/// The golden answers, `== name` before each.
const GOLDEN: &str = include_str!("../fixtures/golden/rest.txt");

/// The golden answer of that name.
fn golden(name: &str) -> &'static str {
    let mut parts = GOLDEN.split("== ").skip(1).filter_map(|part| part.split_once('\n'));
    parts
        .find(|(found, _)| *found == name)
        .unwrap_or_else(|| panic!("no golden {name}"))
        .1
        .trim_end()
}

/// Replaces what differs from run to run by its name.
fn named(body: &str) -> String {
    let mut out = String::new();
    let mut rest = body;
    while let Some(start) = rest.find('"') {
        let (before, from) = rest.split_at(start);
        let end = from[1..].find('"').map_or(from.len(), |end| end + 2);
        let (token, after) = from.split_at(end);
        out.push_str(before);
        out.push('"');
        out.push_str(&name_of(&token[1..token.len() - 1]));
        out.push('"');
        rest = after;
    }
    out.push_str(rest);
    out
}

fn name_of(text: &str) -> String {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if uuid::Uuid::try_parse(text).is_ok() && text.len() == 36 {
        return "UUID".to_owned();
    }
    if let Some((transfer, "1" | "2")) = text.split_once('.')
        && uuid::Uuid::try_parse(transfer).is_ok()
    {
        return "ENTRY".to_owned();
    }
    if let Some((host, id)) = text.split_once("/pay/") {
        assert!(host.starts_with("http://"), "{text}");
        return format!("HOST/pay/{}", name_of(id));
    }
    if let Some((_, reason)) = text.split_once("/docs/errors#") {
        return format!("DOCS#{reason}");
    }
    if text.len() == 64 && hex(text) {
        return "HEX64".to_owned();
    }
    if text.starts_with("rltc1") || (text.starts_with('T') && text.len() == 34) {
        return "ADDRESS".to_owned();
    }
    if is_time(text) { "TIME".to_owned() } else { text.to_owned() }
}

/// Exactly `YYYY-MM-DDTHH:MM:SS+00:00`.
fn is_time(text: &str) -> bool {
    let form = "dddd-dd-ddTdd:dd:dd+00:00";
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, like)| match like {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

/// What follows a key, with `N` for its number.
fn unnumbered(after: &str) -> String {
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() == after.len() { after.to_owned() } else { format!(r#""lag_seconds":"N"{rest}"#) }
}

fn same(name: &str, body: &str) {
    assert_eq!(named(body), golden(name), "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_documented_answer_is_as_documented() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    same("balances empty", &rest.get("/api/v1/balances").await.body);
    same("invoices empty", &rest.get("/api/v1/invoices").await.body);
    // How far behind a network is depends on how busy the machine is.
    let networks = rest.get("/api/v1/networks").await.body;
    same("networks", &networks.split(r#""lag_seconds":"#).map(unnumbered).collect::<String>());

    let body = r#"{"network":"trc20","amount_usd":50.00,"order_id":"ORD-12345","metadata":{"customer_id":"usr_001","n":1.50}}"#;
    let created = rest.post("/api/v1/invoices", body).await;
    assert_eq!(created.status, 200);
    assert_eq!(created.headers["content-type"], "application/json");
    same("create invoice", &created.body);
    let path = format!("/api/v1/invoices/{}", created.invoice_id());
    same("get invoice pending", &rest.get(&path).await.body);
    same("get invoice pending", &rest.get(&format!("{path}/")).await.body);
    same("get invoice pending full", &rest.get(&format!("{path}?view=full")).await.body);

    let invoice = world.client.get_invoice(&created.invoice_id()).await.unwrap();
    world.pay(&invoice, 1, 1).await;
    world.wait(&invoice, InvoiceStatus::Confirming, InvoiceException::None).await;
    same("get invoice confirming", &rest.get(&path).await.body);
    same("balances pending", &rest.get("/api/v1/balances").await.body);
    world.mine_deep(&invoice).await;
    world.wait(&invoice, InvoiceStatus::Confirmed, InvoiceException::None).await;
    world.wait_available(50_000_000).await;
    same("get invoice confirmed", &rest.get(&path).await.body);
    same("get invoice confirmed full", &rest.get(&format!("{path}?view=full")).await.body);
    same("balances available", &rest.get("/api/v1/balances").await.body);
    same("ledger entries", &rest.get("/api/v1/balances/entries").await.body);
    let full = rest.get("/api/v1/balances/entries?view=full").await;
    same("ledger entries full", &full.body);
    same("invoices one", &rest.get("/api/v1/invoices?page=1").await.body);
    same("invoices past the end", &rest.get("/api/v1/invoices?page=2").await.body);
    same("events", &rest.get("/api/v1/events?after=0").await.body);
    same("events end", &rest.get("/api/v1/events?after=2").await.body);

    let told = world.receiver.wait_for(2).await;
    for (delivery, name) in told.iter().zip(["webhook detected", "webhook confirmed"]) {
        same(name, std::str::from_utf8(&delivery.body).unwrap());
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_has_the_documented_shape() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    let withdrawal = r#"{"coin":"USDT-TRC20","amount":100.00,"address":"T"}"#;
    let answer = rest.post("/api/v1/withdrawals", withdrawal).await;
    assert_eq!(answer.status, 501);
    same("error not implemented", &answer.body);
    let answer = rest.get("/api/v1/nowhere").await;
    assert_eq!(answer.status, 404);
    same("error unknown route", &answer.body);
    let answer = rest.post("/api/v1/invoices", r#"{"network":"doge","amount_usd":50}"#).await;
    assert_eq!(answer.status, 400);
    same("error unknown network", &answer.body);
    let stranger = Rest::with(&world.server, None);
    let answer = stranger.get("/api/v1/balances").await;
    assert_eq!(
        (answer.status, answer.headers["www-authenticate"].to_str().unwrap()),
        (401, "Bearer")
    );
    same("error no credentials", &answer.body);
    let page = stranger.get("/docs/errors").await;
    assert!(page.body.contains("CREDENTIALS_MISSING"), "doc_url leads somewhere");
    world.finish().await;
}

#[test]
fn the_names_stand_for_the_documented_forms_alone() {
    assert_eq!(named(r#"{"a":"2024-01-15T10:30:00+00:00"}"#), r#"{"a":"TIME"}"#);
    for other in ["2024-01-15T10:30:00Z", "2024-01-15T10:30:00.000+00:00", "2024-01-15 10:30:00"] {
        assert_eq!(name_of(other), other);
    }
}
