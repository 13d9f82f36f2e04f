//! Every documented answer, compared to the byte with a golden text: keys, their order, number
//! tokens. What differs from run to run (ids, addresses, transactions, times, hosts) is replaced by its
//! name, after its form was checked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cryptopayment::domain::asset::Network;
use cryptopayment_sdk::v1::{InvoiceException, InvoiceStatus};
use reqwest::Method;

use crate::conformance::world::{World, asked};
use crate::support::rest::{Rest, answer};
use crate::support::server::eventually;

/// The golden answers, `== name` before each.
const GOLDEN: &str = include_str!("../fixtures/golden/rest.txt");
/// Ethereum, BNB Smart Chain and TRON.
const NETWORKS_WITH_FINALITY: usize = 3;

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
        let is_end = |at: usize| from.as_bytes()[at] == b'"' && from.as_bytes()[at - 1] != b'\\';
        let end = (1..from.len()).find(|at| is_end(*at)).map_or(from.len(), |at| at + 1);
        let (token, after) = from.split_at(end);
        out.push_str(before);
        if token.contains('\\') {
            // A body within a body.
            let text: String = serde_json::from_str(token).unwrap();
            out.push_str(&serde_json::to_string(&named(&text)).unwrap());
        } else {
            out.push_str(&format!("\"{}\"", name_of(&token[1..token.len() - 1])));
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn name_of(text: &str) -> String {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if let Some((id, rest)) = text.split_at_checked(36)
        && uuid::Uuid::try_parse(id).is_ok()
    {
        // An entry is a transfer's first or second half, an event a merchant's by its number, and what
        // signs a webhook the invoice and what happened to it.
        return match rest {
            ".1" | ".2" => "ENTRY".to_owned(),
            rest => format!("UUID{rest}"),
        };
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
    if let Some(rest) = text.strip_prefix("0x")
        && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        match rest.len() {
            40 => return "ADDRESS".to_owned(),
            64 => return "HEX64".to_owned(),
            _ => {}
        }
    }
    if let Some(name) = name_of_delivery(text) {
        return name.to_owned();
    }
    if is_time(text) { "TIME".to_owned() } else { text.to_owned() }
}

/// What is in a delivery and how it is signed.
fn name_of_delivery(text: &str) -> Option<&'static str> {
    let encoded = |text: &str| STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 32);
    let number = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if encoded(text) {
        return Some("KEY");
    }
    if text.strip_prefix("whsec_").is_some_and(encoded) {
        return Some("WHSEC");
    }
    if text.strip_prefix("v1,").is_some_and(encoded) {
        return Some("V1,SIGNATURE");
    }
    if text.starts_with("http://127.0.0.1:") {
        return Some("URL");
    }
    if text.strip_prefix("127.0.0.1:").is_some_and(|port| port.parse::<u16>().is_ok()) {
        return Some("HOST");
    }
    if number(text, 10) {
        return Some("UNIX");
    }
    if text.strip_prefix("pk_test_").is_some_and(|rest| rest.len() == 24) {
        return Some("API_KEY");
    }
    if text == concat!("CryptoPayment/", env!("CARGO_PKG_VERSION")) {
        return Some("CryptoPayment/VERSION");
    }
    text.ends_with(" GMT").then_some("HTTP_DATE")
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

/// The same with `N` for every number of this key: how long something took depends on the machine.
fn unnumbered(body: &str, key: &str) -> String {
    let key = format!(r#""{key}":"#);
    let mut parts = body.split(&key);
    let mut out = parts.next().unwrap().to_owned();
    for after in parts {
        let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        assert!(rest.len() < after.len(), "{key} has no number: {body}");
        out.push_str(&format!(r#"{key}"N"{rest}"#));
    }
    out
}

/// Seconds from one documented time to another, within a day.
fn seconds_between(from: &serde_json::Value, to: &serde_json::Value) -> i64 {
    let of_day = |time: &serde_json::Value| -> i64 {
        let time = time.as_str().unwrap();
        assert!(is_time(time), "{time}");
        let number = |at: usize| time[at..at + 2].parse::<i64>().unwrap();
        number(11) * 3_600 + number(14) * 60 + number(17)
    };
    (of_day(to) - of_day(from)).rem_euclid(24 * 3_600)
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
    let networks = rest.get("/api/v1/networks").await.body;
    same("networks", &unnumbered(&networks, "lag_seconds"));

    let body = r#"{"network":"trc20","amount_usd":50.00,"order_id":"ORD-12345","metadata":{"customer_id":"usr_001","n":1.50}}"#;
    let created = rest.post("/api/v1/invoices", body).await;
    assert_eq!(created.status, 200);
    assert_eq!(created.headers["content-type"], "application/json");
    same("create invoice", &created.body);
    let invoice = &created.json()["invoice"];
    assert_eq!(seconds_between(&invoice["created_at"], &invoice["expires_at"]), 30 * 60);
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

/// Ether has 18 places: a float client is never told more than there is, and the full view tells all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_more_than_eight_places_is_floored_and_exact_in_the_full_view() {
    let world = World::sandbox(crate::ENGINE, Network::Eth).await;
    let rest = Rest::of(&world.server);
    let body = r#"{"network":"eth","amount_usd":50.00,"order_id":"ORD-18"}"#;
    let created = rest.post("/api/v1/invoices", body).await;
    let path = format!("/api/v1/invoices/{}", created.invoice_id());
    let invoice = world.client.get_invoice(&created.invoice_id()).await.unwrap();
    // Rounded to eight places this would be one more than was paid.
    let units = asked(&invoice) + 123_456_789_999_999_999;
    world.pay_all(&[(invoice.address.clone(), units)]).await;
    world.wait(&invoice, InvoiceStatus::Confirming, InvoiceException::None).await;
    same("eth balances pending", &rest.get("/api/v1/balances").await.body);
    world.mine_deep(&invoice).await;
    world.wait(&invoice, InvoiceStatus::Confirmed, InvoiceException::Overpaid).await;
    world.wait_available(units).await;
    same("eth get invoice confirmed", &rest.get(&path).await.body);
    same("eth get invoice confirmed full", &rest.get(&format!("{path}?view=full")).await.body);
    same("eth balances available", &rest.get("/api/v1/balances").await.body);
    same("eth balances available full", &rest.get("/api/v1/balances?view=full").await.body);
    same("eth ledger entries", &rest.get("/api/v1/balances/entries").await.body);
    let entries = rest.get("/api/v1/balances/entries?view=full").await;
    same("eth ledger entries full", &entries.body);
    let told = world.receiver.wait_for(2).await;
    same("eth webhook confirmed", std::str::from_utf8(&told[1].body).unwrap());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_and_tests_is_answered_as_documented() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    let body = r#"{"network":"trc20","amount_usd":50.00,"order_id":"ORD-12345"}"#;
    let created = rest.post("/api/v1/invoices", body).await;
    let cancel = format!("/api/v1/invoices/{}/cancel", created.invoice_id());
    same("cancel invoice", &rest.post(&cancel, "{}").await.body);
    same("balances empty full", &rest.get("/api/v1/balances?view=full").await.body);
    // Addresses are handed out before the first read of their network has ended.
    eventually("each network that has finality was read", || async {
        let networks = world.client.networks().await.unwrap();
        let read = networks.iter().filter(|one| one.finalized_height.is_some()).count();
        (read == NETWORKS_WITH_FINALITY).then_some(())
    })
    .await;
    let mut networks = rest.get("/api/v1/networks?view=full").await.body;
    for key in ["lag_seconds", "scanned_height", "node_height"] {
        networks = unnumbered(&networks, key);
    }
    same("networks full", &networks);

    let endpoint = "/api/v1/webhooks/endpoint";
    same("webhook endpoint", &rest.get(endpoint).await.body);
    let change = format!(
        r#"{{"url":"{}","events":["payment.detected","payment.confirmed"]}}"#,
        world.receiver.url
    );
    let change = rest.request(Method::PATCH, endpoint).body(change);
    let changed = answer(change.header("content-type", "application/json")).await;
    same("webhook endpoint changed", &changed.body);
    let test = rest.post("/api/v1/webhooks/test", "{}").await;
    same("webhook test", &unnumbered(&test.body, "duration_ms"));

    let invoice = world.invoice().await;
    world.pay(&invoice, 1, 1).await;
    let path = format!("/api/v1/webhooks/deliveries?invoice_id={}", invoice.id);
    let deliveries = eventually("a delivery that arrived", || async {
        let listed = rest.get(&path).await;
        (listed.json()["deliveries"][0]["state"] == "delivered").then_some(listed)
    })
    .await;
    same("deliveries", &deliveries.body);
    let id = deliveries.json()["deliveries"][0]["id"].as_str().unwrap().to_owned();
    let delivery = rest.get(&format!("/api/v1/webhooks/deliveries/{id}")).await;
    same("delivery", &unnumbered(&delivery.body, "duration_ms"));
    let redeliver = format!("/api/v1/webhooks/deliveries/{id}/redeliver");
    same("redeliver", &rest.post(&redeliver, "{}").await.body);

    // What was canceled may be told later than what was seen.
    let told = world.receiver.got();
    let detected = told.iter().find(|one| one.event() == "payment.detected").unwrap();
    let text = std::str::from_utf8(&detected.body).unwrap();
    let asked = serde_json::json!({ "body": text }).to_string();
    same("webhook verified", &rest.post("/api/v1/webhooks/verify", &asked).await.body);
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
