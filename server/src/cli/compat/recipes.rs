//! The documented recipes over REST, as data to hold a deployment against: which keys in which order,
//! which tokens, which statuses. Written from the documentation, not from our own answers. Not here:
//! the calls on the wire (`http`), webhooks (`webhook`).

use anyhow::{Result, bail};
use http::Method;

use super::Compat;
use super::http::{Answer, Call, Speaker};
use super::json::{Raw, has_form, is_amount, keys_differ};

const INVOICES: &str = "/api/v1/invoices";
const INVOICE_KEYS: &str = "id, order_id, status, network, network_label, coin, amount_usd, \
     amount_crypto, address, paid_amount, txid, confirmations, expires_at, created_at";
const UUID_FORM: &str = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";
const TIME_FORM: &str = "dddd-dd-ddTdd:dd:dd+00:00";
/// An id that no invoice has.
const NOBODY: &str = "550e8400-e29b-41d4-a716-446655440000";
const COINS: [&str; 5] = ["USDT-TRC20", "USDT-BEP20", "BTC", "LTC", "ETH"];

/// What the documentation says of a network.
pub struct NetworkRow {
    /// The identifier.
    pub network: &'static str,
    /// `network_label`.
    label: &'static str,
    /// `coin`.
    pub coin: &'static str,
    /// Documented for all; of one it is a promise.
    confirmations: Option<&'static str>,
}

const NETWORKS: [NetworkRow; 5] = [
    row("btc", "Bitcoin", "BTC", None),
    row("ltc", "Litecoin", "LTC", None),
    row("eth", "Ethereum", "ETH", None),
    row("trc20", "USDT (TRC20)", "USDT", Some("19")),
    row("bep20", "USDT (BEP20)", "USDT", None),
];

const fn row(
    network: &'static str,
    label: &'static str,
    coin: &'static str,
    confirmations: Option<&'static str>,
) -> NetworkRow {
    NetworkRow { network, label, coin, confirmations }
}

impl NetworkRow {
    /// The documented network of that name.
    pub fn find(network: &str) -> Option<&'static Self> {
        NETWORKS.iter().find(|row| row.network == network)
    }
}

/// Creates an invoice as one of the documented clients does, and checks the answer.
pub async fn create(compat: &mut Compat, speaker: Speaker, name: &'static str) -> Result<Answer> {
    compat.recipe(name);
    let order_id = format!("compat-{}", compat.unique());
    let body = speaker.invoice(compat.network.network, &order_id);
    let answer = compat.call(Call { speaker, ..Call::post(INVOICES, &body) }).await?;
    if matches!(answer.status, 401 | 403) {
        let why = answer.json.get("message").map(|why| format!(": {why}")).unwrap_or_default();
        bail!("the key was refused ({}){why}", answer.status);
    }
    find_view(compat, &answer).await?;
    success(compat, &answer, "success, invoice, checkout_url");
    let Some(invoice) = answer.json.get("invoice") else { return Ok(answer) };
    new_invoice(compat, invoice, &order_id);
    let id = invoice.get("id").and_then(Raw::text).unwrap_or_default();
    let url = answer.json.get("checkout_url").and_then(Raw::text).unwrap_or_default();
    compat.holds("checkout_url", format!("https://HOST/pay/{id}"), url, |url| {
        url.starts_with("http") && url.ends_with(&format!("/pay/{id}"))
    });
    Ok(answer)
}

/// Finds out whether the key is one whose answers are full: what has more keys than the documented ones has
/// these alone when the basic view is asked for.
async fn find_view(compat: &mut Compat, created: &Answer) -> Result<()> {
    let Some(invoice) = created.json.get("invoice") else { return Ok(()) };
    let has_more = keys_differ(INVOICE_KEYS, invoice, false).is_some()
        && keys_differ(INVOICE_KEYS, invoice, true).is_none();
    if has_more && !compat.sees_all {
        let id = invoice.get("id").and_then(Raw::text).unwrap_or_default();
        let basic = compat.call(Call::get(&format!("{INVOICES}/{id}?view=basic"))).await?;
        let basic = basic.json.get("invoice");
        compat.sees_all =
            basic.is_some_and(|basic| keys_differ(INVOICE_KEYS, basic, false).is_none());
    }
    Ok(())
}

fn success(compat: &mut Compat, answer: &Answer, keys: &str) {
    compat.equal("HTTP status", "200", answer.status);
    compat.equal("Content-Type", "application/json", &answer.content_type);
    compat.keys("keys", keys, Some(&answer.json));
    compat.equal("success", "true", shown(&answer.json, "success"));
}

fn shown(value: &Raw, path: &str) -> String {
    value.at(path).map_or_else(|| "missing".to_owned(), Raw::to_string)
}

fn new_invoice(compat: &mut Compat, invoice: &Raw, order_id: &str) {
    let network = compat.network;
    compat.keys("invoice keys", INVOICE_KEYS, Some(invoice));
    let id = invoice.get("id").and_then(Raw::text).unwrap_or_default();
    compat.holds("id", "a UUID", id, |id| has_form(id, UUID_FORM));
    let words = [
        ("order_id", order_id),
        ("status", "pending"),
        ("network", network.network),
        ("network_label", network.label),
        ("coin", network.coin),
    ];
    for (key, expected) in words {
        compat.equal(key, format!("{expected:?}"), shown(invoice, key));
    }
    compat.equal("amount_usd", "1.00", shown(invoice, "amount_usd"));
    if network.coin == "USDT" {
        compat.equal("amount_crypto", "1.00", shown(invoice, "amount_crypto"));
    } else {
        amount(compat, "amount_crypto", invoice);
    }
    let address = invoice.get("address").and_then(Raw::text).unwrap_or_default();
    compat.holds("address", "an address", address, |address| address.len() > 20);
    compat.equal("paid_amount", "0", shown(invoice, "paid_amount"));
    compat.equal("txid", "null", shown(invoice, "txid"));
    compat.equal("confirmations", "{received, required}", shown(invoice, "confirmations"));
    compat.equal("confirmations.received", "0", shown(invoice, "confirmations.received"));
    if let Some(required) = network.confirmations {
        compat.equal("confirmations.required", required, shown(invoice, "confirmations.required"));
    }
    times(compat, invoice);
}

fn times(compat: &mut Compat, invoice: &Raw) {
    let time = |key: &str| invoice.get(key).and_then(Raw::text).unwrap_or_default().to_owned();
    let (created, expires) = (time("created_at"), time("expires_at"));
    for (key, text) in [("created_at", &created), ("expires_at", &expires)] {
        compat.holds(key, TIME_FORM.replace('d', "0"), text, |text| has_form(text, TIME_FORM));
    }
    compat.holds("expires_at", "after created_at", &expires, |expires| *expires > *created);
}

fn amount(compat: &mut Compat, key: &'static str, object: &Raw) {
    let got = shown(object, key);
    compat.holds(key, "a plain number, two decimals at least", &got, is_amount);
}

/// Reads an invoice back in every documented way.
pub async fn read_back(compat: &mut Compat, created: &Answer) -> Result<()> {
    compat.recipe("read the invoice");
    let id = shown(&created.json, "invoice.id").trim_matches('"').to_owned();
    let path = format!("{INVOICES}/{id}");
    let answer = compat.call(Call::get(&path)).await?;
    success(compat, &answer, "success, invoice");
    let same = answer.json.get("invoice") == created.json.get("invoice");
    compat.equal(
        "invoice",
        "as it was created",
        if same { "as it was created" } else { "another" },
    );
    let slash = compat.call(Call::get(&format!("{path}/"))).await?;
    compat.equal("a slash at the end", "200", slash.status);
    compat.equal("a slash at the end, body", "the same", sameness(&answer, &slash));
    let node = compat.call(Call { speaker: Speaker::Node, ..Call::get(&path) }).await?;
    compat.equal("sec-fetch-mode: cors without Origin", "200", node.status);
    compat.equal("sec-fetch-mode, body", "the same", sameness(&answer, &node));
    Ok(())
}

fn sameness(one: &Answer, other: &Answer) -> &'static str {
    if one.body == other.body { "the same" } else { "another" }
}

/// Lists invoices by page.
pub async fn list(compat: &mut Compat) -> Result<()> {
    compat.recipe("list invoices");
    for page in ["1", "2"] {
        let answer = compat.call(Call::get(&format!("{INVOICES}?page={page}"))).await?;
        success(compat, &answer, "success, invoices, pagination");
        let Some(pagination) = answer.json.get("pagination") else { continue };
        let keys = "page, per_page, total, last_page, next_page_token";
        compat.keys("pagination keys", keys, Some(pagination));
        compat.equal("page", page, shown(pagination, "page"));
        compat.equal("per_page", "20", shown(pagination, "per_page"));
        let invoices = answer.json.get("invoices").map_or(&[][..], Raw::entries);
        compat
            .holds("invoices", "20 at most", &invoices.len().to_string(), |_| invoices.len() <= 20);
        if let Some(first) = invoices.first() {
            compat.keys("invoice keys", INVOICE_KEYS, Some(first));
        }
    }
    for page in ["0", "x"] {
        let answer = compat.call(Call::get(&format!("{INVOICES}?page={page}"))).await?;
        failure(compat, "a page that is none", 400, None, &answer);
    }
    Ok(())
}

/// Reads the balances.
pub async fn balances(compat: &mut Compat) -> Result<()> {
    compat.recipe("balances");
    let answer = compat.call(Call::get("/api/v1/balances")).await?;
    success(compat, &answer, "success, balances");
    let Some(Raw::Object(balances)) = answer.json.get("balances") else { return Ok(()) };
    let got: Vec<&str> = balances.iter().map(|(coin, _)| coin.as_str()).collect();
    let expected: Vec<&str> = COINS.into_iter().filter(|coin| got.contains(coin)).collect();
    let expected = if expected.is_empty() { COINS.join(", ") } else { expected.join(", ") };
    compat.equal("coins in order", expected, got.join(", "));
    for (_, balance) in balances {
        compat.keys("keys of a balance", "available, pending", Some(balance));
        amount(compat, "available", balance);
        amount(compat, "pending", balance);
    }
    Ok(())
}

/// Makes mistakes. None of them creates anything.
pub async fn errors(compat: &mut Compat) -> Result<()> {
    compat.recipe("errors");
    let network = compat.network.network;
    let bodies = [
        ("no network", r#"{"amount_usd":1}"#.to_owned(), Some("network")),
        ("an unknown network", r#"{"network":"doge","amount_usd":1}"#.to_owned(), Some("network")),
        ("no amount", format!(r#"{{"network":"{network}"}}"#), Some("amount_usd")),
        (
            "too little",
            format!(r#"{{"network":"{network}","amount_usd":0.99}}"#),
            Some("amount_usd"),
        ),
        ("no number", format!(r#"{{"network":"{network}","amount_usd":"x"}}"#), Some("amount_usd")),
        ("half a body", r#"{"network":"#.to_owned(), None),
    ];
    for (what, body, field) in &bodies {
        let answer = compat.call(Call::post(INVOICES, body)).await?;
        failure(compat, what, 400, *field, &answer);
    }
    let key = Call::get("/api/v1/balances");
    let none = compat.call(Call { authorization: Some(""), ..key }).await?;
    failure(compat, "no credentials", 401, None, &none);
    let wrong = Some("Bearer pk_test_0:sk_test_0");
    let wrong = compat.call(Call { authorization: wrong, ..key }).await?;
    failure(compat, "wrong credentials", 401, None, &wrong);
    let nobody = compat.call(Call::get(&format!("{INVOICES}/{NOBODY}"))).await?;
    failure(compat, "no such invoice", 404, None, &nobody);
    let nowhere = compat.call(Call::get("/api/v1/nothing")).await?;
    failure(compat, "no such path", 404, None, &nowhere);
    let method = Call { method: &Method::DELETE, ..Call::get(INVOICES) };
    let answer = compat.call(method).await?;
    failure(compat, "another method", 405, None, &answer);
    Ok(())
}

fn failure(compat: &mut Compat, what: &str, status: u16, field: Option<&str>, answer: &Answer) {
    let (json, of) = (&answer.json, |part: &str| format!("{what}: {part}"));
    compat.equal(of("HTTP status"), status.to_string(), answer.status);
    compat.equal(of("Content-Type"), "application/json", &answer.content_type);
    compat.keys(of("keys"), "success, message, error", Some(json));
    compat.equal(of("success"), "false", shown(json, "success"));
    let keys = "code, message, details, request_id, doc_url";
    compat.keys(of("error keys"), keys, json.get("error"));
    let code = json.at("error.code").and_then(Raw::text).unwrap_or_default();
    compat.holds(of("code"), "UPPER_SNAKE", code, |code| {
        !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    });
    if let Some(field) = field {
        let details = json.at("error.details").map_or(&[][..], Raw::entries);
        let named = details.first().map_or_else(|| "missing".to_owned(), |d| shown(d, "field"));
        compat.equal(of("details[0].field"), format!("{field:?}"), named);
    }
}

/// Amounts as the languages write them; each creates an invoice, so in a sandbox alone.
pub async fn amounts(compat: &mut Compat) -> Result<()> {
    compat.recipe("amounts");
    let network = compat.network.network;
    for (written, expected) in [
        ("1", "1.00"),
        ("1.00", "1.00"),
        ("\"1.00\"", "1.00"),
        ("10e-1", "1.00"),
        ("1.005", "1.01"),
        ("1.2999999999999998", "1.30"),
    ] {
        let body = format!(r#"{{"network":"{network}","amount_usd":{written}}}"#);
        let answer = compat.call(Call::post(INVOICES, &body)).await?;
        compat.equal(format!("{written} is"), expected, shown(&answer.json, "invoice.amount_usd"));
        compat.equal(
            format!("{written}, order_id"),
            "null",
            shown(&answer.json, "invoice.order_id"),
        );
    }
    Ok(())
}

/// The same call twice with one `Idempotency-Key`; creates an invoice, so in a sandbox alone.
pub async fn repeated(compat: &mut Compat) -> Result<()> {
    compat.recipe("Idempotency-Key");
    let key = format!("compat-{}", compat.unique());
    let body = Speaker::Php.invoice(compat.network.network, &key);
    let headers = [("idempotency-key", key.as_str())];
    let call = Call { headers: &headers, ..Call::post(INVOICES, &body) };
    let (one, two) = (compat.call(call).await?, compat.call(call).await?);
    compat.equal("HTTP status", "200", one.status);
    compat.equal("HTTP status of the repeat", "200", two.status);
    let id = |answer: &Answer| shown(&answer.json, "invoice.id").trim_matches('"').to_owned();
    compat.holds("id", "a UUID", &id(&one), |id| has_form(id, UUID_FORM));
    compat.equal("id of the repeat", id(&one), id(&two));
    Ok(())
}
