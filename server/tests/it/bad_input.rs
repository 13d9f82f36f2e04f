//! Bad input as a table: what is sent, and the exact answer. Nothing hangs, nothing answers 5xx, and
//! nothing changes: the merchant has as many invoices after each row as before.

use cryptopayment::domain::asset::Network;
use reqwest::Method;

use crate::conformance::world::World;
use crate::support::rest::{Answer, Rest, answer};

/// What is sent as the body of `POST /invoices`, and the expected status, code and field.
type Row = (&'static str, u16, &'static str, &'static str);

const INVOICES: &[Row] = &[
    (r#"{}"#, 400, "FIELD_REQUIRED", "network"),
    (r#"{"network":"trc20"}"#, 400, "FIELD_REQUIRED", "amount_usd"),
    (r#"{"network":"","amount_usd":50}"#, 400, "FIELD_REQUIRED", "network"),
    (r#"{"network":null,"amount_usd":50}"#, 400, "FIELD_REQUIRED", "network"),
    (r#"{"network":"doge","amount_usd":50}"#, 400, "UNKNOWN_NETWORK", "network"),
    (r#"{"network":"TRC20","amount_usd":50}"#, 400, "UNKNOWN_NETWORK", "network"),
    (r#"{"network":5,"amount_usd":50}"#, 400, "INVALID_FIELD", "network"),
    (r#"{"network":["trc20"],"amount_usd":50}"#, 400, "INVALID_FIELD", "network"),
    (r#"{"network":"trc20","amount_usd":0.99}"#, 400, "AMOUNT_TOO_SMALL", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":0.999999}"#, 400, "AMOUNT_TOO_SMALL", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":0}"#, 400, "AMOUNT_TOO_SMALL", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":-5}"#, 400, "AMOUNT_TOO_SMALL", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":-0}"#, 400, "AMOUNT_TOO_SMALL", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":1e-40}"#, 400, "AMOUNT_TOO_SMALL", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":1000000.01}"#, 400, "AMOUNT_TOO_LARGE", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":1e30}"#, 400, "AMOUNT_TOO_LARGE", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":1e400}"#, 400, "INVALID_FIELD", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":1e-400}"#, 400, "INVALID_FIELD", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":NaN}"#, 400, "MALFORMED_JSON", ""),
    (r#"{"network":"trc20","amount_usd":Infinity}"#, 400, "MALFORMED_JSON", ""),
    (r#"{"network":"trc20","amount_usd":"NaN"}"#, 400, "INVALID_FIELD", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":"5e1"}"#, 400, "INVALID_FIELD", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":""}"#, 400, "INVALID_FIELD", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":"50 USD"}"#, 400, "INVALID_FIELD", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":"0x32"}"#, 400, "INVALID_FIELD", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":true}"#, 400, "INVALID_FIELD", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":[50]}"#, 400, "INVALID_FIELD", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":{"a":1}}"#, 400, "INVALID_FIELD", "amount_usd"),
    (r#"{"network":"trc20","amount_usd":01}"#, 400, "MALFORMED_JSON", ""),
    (r#"{"network":"trc20","amount_usd":1.}"#, 400, "MALFORMED_JSON", ""),
    (
        r#"{"network":"trc20","amount_usd":5.1234567890123456789012345678901234567890}"#,
        400,
        "INVALID_FIELD",
        "amount_usd",
    ),
    (r#"{"network":"trc20","amount_usd":50,"order_id":7}"#, 400, "INVALID_FIELD", "order_id"),
    (
        r#"{"network":"trc20","amount_usd":50,"order_id":"a\u0000b"}"#,
        400,
        "MALFORMED_JSON",
        "order_id",
    ),
    (r#"{"network":"trc20","amount_usd":50,"order_id":"\ud800"}"#, 400, "MALFORMED_JSON", ""),
    (r#"{"network":"trc20","amount_usd":50,"metadata":1}"#, 400, "INVALID_FIELD", "metadata"),
    (r#"{"network":"trc20","amount_usd":50,"metadata":"x"}"#, 400, "INVALID_FIELD", "metadata"),
    (r#"{"network":"trc20","amount_usd":50,"metadata":[1]}"#, 400, "INVALID_FIELD", "metadata"),
    (
        r#"{"network":"trc20","amount_usd":50,"metadata":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}}"#,
        400,
        "INVALID_FIELD",
        "metadata",
    ),
    (
        r#"{"network":"trc20","amount_usd":50,"metadata":{"a":1,"a":2}}"#,
        400,
        "DUPLICATE_FIELD",
        "metadata.a",
    ),
    (r#"{"network":"trc20","amount_usd":50,"ammount":1}"#, 400, "UNKNOWN_FIELD", "ammount"),
    (r#"{"network":"trc20","amountUsd":50}"#, 400, "UNKNOWN_FIELD", "amountUsd"),
    (r#"{"network":"trc20","amount_usd":50,"status":"confirmed"}"#, 400, "UNKNOWN_FIELD", "status"),
    (
        r#"{"network":"trc20","amount_usd":50,"merchant_id":"x"}"#,
        400,
        "UNKNOWN_FIELD",
        "merchant_id",
    ),
    (r#"{"network":"trc20","network":"ltc","amount_usd":50}"#, 400, "DUPLICATE_FIELD", "network"),
    (r#"{"network":"trc20","amount_usd":50"#, 400, "MALFORMED_JSON", ""),
    (r#"{"network":"trc20","amount_usd":50} x"#, 400, "MALFORMED_JSON", ""),
    (r#"{'network':'trc20'}"#, 400, "MALFORMED_JSON", ""),
    (r#"[]"#, 400, "INVALID_FIELD", ""),
    (r#""text""#, 400, "INVALID_FIELD", ""),
    (r#"null"#, 400, "INVALID_FIELD", ""),
    ("", 400, "FIELD_REQUIRED", "network"),
    (
        r#"{"network":"trc20","amount_usd":50,"request_id":"a\u0000"}"#,
        400,
        "MALFORMED_JSON",
        "request_id",
    ),
];

/// What is accepted although it looks odd: how real clients send it.
const ACCEPTED: &[&str] = &[
    r#"{"network":"trc20","amount_usd":50}"#,
    r#"{"network":"trc20","amount_usd":50.0}"#,
    r#"{"network":"trc20","amount_usd":"50.00"}"#,
    r#"{"network":"trc20","amount_usd":5.0e1}"#,
    r#"{"network":"trc20","amount_usd":1.3000000000000000}"#,
    r#"{"network":"trc20","amount_usd":1,"order_id":"","metadata":[]}"#,
    r#"{"network":"trc20","amount_usd":1,"order_id":null,"metadata":null}"#,
    " {\n\t\"amount_usd\" : 1000000 , \"network\" : \"trc20\" }\r\n",
];

/// Paths that are read, and the expected status, code and field.
const READS: &[Row] = &[
    ("/api/v1/invoices?page=0", 400, "INVALID_FIELD", "page"),
    ("/api/v1/invoices?page=-1", 400, "INVALID_QUERY", "page"),
    ("/api/v1/invoices?page=abc", 400, "INVALID_QUERY", "page"),
    ("/api/v1/invoices?page=1.5", 400, "INVALID_QUERY", "page"),
    ("/api/v1/invoices?page=99999999999999999999", 400, "INVALID_QUERY", "page"),
    ("/api/v1/invoices?page=501", 400, "PAGE_TOO_DEEP", "page"),
    ("/api/v1/invoices?page_token=x", 400, "INVALID_PAGE_TOKEN", "page_token"),
    ("/api/v1/invoices?page=1&page_token=x", 400, "INVALID_FIELD", "page_token"),
    ("/api/v1/invoices?status=paid", 400, "INVALID_QUERY", "status"),
    ("/api/v1/invoices?network=doge", 400, "UNKNOWN_NETWORK", "network"),
    ("/api/v1/invoices?created_after=yesterday", 400, "INVALID_QUERY", "created_after"),
    ("/api/v1/invoices?order_id=%00", 400, "INVALID_QUERY", "order_id"),
    ("/api/v1/invoices?pagee=1", 400, "UNKNOWN_FIELD", "pagee"),
    ("/api/v1/invoices?view=huge", 400, "INVALID_QUERY", "view"),
    ("/api/v1/invoices/not-a-uuid", 404, "INVOICE_NOT_FOUND", ""),
    ("/api/v1/invoices/00000000-0000-0000-0000-000000000000", 404, "INVOICE_NOT_FOUND", ""),
    ("/api/v1/invoices/%00", 400, "INVALID_FIELD", "id"),
    ("/api/v1/invoices/..%2f..%2fetc", 404, "INVOICE_NOT_FOUND", ""),
    ("/api/v1/invoices/x?wait=61", 400, "INVALID_QUERY", "wait"),
    ("/api/v1/invoices/x?wait=-1", 400, "INVALID_QUERY", "wait"),
    ("/api/v1/invoices/x?wait=soon", 400, "INVALID_QUERY", "wait"),
    ("/api/v1/invoices/x?wait=1.5", 400, "INVALID_QUERY", "wait"),
    ("/api/v1/invoices/x?wait=", 400, "INVALID_QUERY", "wait"),
    ("/api/v1/invoices/x?wait=1&wait=1", 400, "INVALID_QUERY", "wait"),
    ("/api/v1/invoices/x?wait=60", 404, "INVOICE_NOT_FOUND", ""),
    ("/api/v1/invoices?wait=1", 400, "UNKNOWN_FIELD", "wait"),
    ("/api/v1/balances/entries?coin=doge", 400, "INVALID_FIELD", "coin"),
    ("/api/v1/balances/entries?coin=USDT", 400, "INVALID_FIELD", "coin"),
    ("/api/v1/balances/entries?page=1", 400, "UNKNOWN_FIELD", "page"),
    ("/api/v1/balances/entries?page_token=x", 400, "INVALID_PAGE_TOKEN", "page_token"),
    ("/api/v1/events?after=-1", 400, "INVALID_QUERY", "after"),
    ("/api/v1/events?after=99", 400, "INVALID_FIELD", "after"),
    ("/api/v1/events?limit=101", 400, "INVALID_FIELD", "limit"),
    ("/api/v1/nowhere", 404, "ROUTE_NOT_FOUND", ""),
    ("/api/v2/invoices", 404, "ROUTE_NOT_FOUND", ""),
    ("/", 404, "ROUTE_NOT_FOUND", ""),
    ("/admin/v1/merchants", 404, "ROUTE_NOT_FOUND", ""),
    ("/api/v1/invoices/x/watch", 501, "STREAM_OVER_REST", ""),
];

fn check(what: &str, got: &Answer, status: u16, code: &str, field: &str) {
    assert_eq!(mismatch(what, got, status, code, field), None);
}

/// What is not as expected about an answer.
fn mismatch(what: &str, got: &Answer, status: u16, code: &str, field: &str) -> Option<String> {
    let json = got.json();
    let named = field.is_empty() || json["error"]["details"][0]["field"] == field;
    let shaped = json["success"] == false && json["message"] == json["error"]["message"];
    let right = (got.status, got.code().as_str()) == (status, code) && named && shaped;
    (!right).then(|| {
        format!("{what:.120}\n  wanted {status} {code} {field}\n  got {} {}", got.status, got.body)
    })
}

async fn invoices_so_far(rest: &Rest) -> u64 {
    rest.get("/api/v1/invoices").await.json()["pagination"]["total"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_get_their_answer_and_change_nothing() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    let mut wrong = Vec::new();
    for (body, status, code, field) in INVOICES {
        let got = rest.post("/api/v1/invoices", body).await;
        wrong.extend(mismatch(body, &got, *status, code, field));
    }
    for (path, status, code, field) in READS {
        wrong.extend(mismatch(path, &rest.get(path).await, *status, code, field));
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(invoices_so_far(&rest).await, 0, "a refused request changed something");
    for body in ACCEPTED {
        let got = rest.post("/api/v1/invoices", body).await;
        assert_eq!(got.status, 200, "{body}: {}", got.body);
    }
    assert_eq!(invoices_so_far(&rest).await, ACCEPTED.len() as u64);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_methods_and_types_are_held_to() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    let with_order = |length: usize| {
        format!(r#"{{"network":"trc20","amount_usd":5,"order_id":"{}"}}"#, "ü".repeat(length))
    };
    let path = "/api/v1/invoices";
    assert_eq!(rest.post(path, &with_order(255)).await.status, 200);
    check("256", &rest.post(path, &with_order(256)).await, 400, "INVALID_FIELD", "order_id");
    check("1 MiB", &rest.post(path, &with_order(1 << 19)).await, 413, "BODY_TOO_LARGE", "");
    let metadata = format!(
        r#"{{"network":"trc20","amount_usd":5,"metadata":{{"a":"{}"}}}}"#,
        "x".repeat(17_000)
    );
    check("17 KB", &rest.post(path, &metadata).await, 400, "INVALID_FIELD", "metadata");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    check("deep array", &rest.post(path, &deep).await, 400, "INVALID_FIELD", "");
    let deep = format!(r#"{{"metadata":{deep}}}"#);
    check("deep", &rest.post(path, &deep).await, 400, "MALFORMED_JSON", "");

    let sound = r#"{"network":"trc20","amount_usd":5}"#;
    let plain = rest.request(Method::POST, path).header("content-type", "text/plain").body(sound);
    check("text/plain", &answer(plain).await, 415, "UNSUPPORTED_MEDIA_TYPE", "");
    let latin = [b"{\"network\":\"\xff\"".as_slice(), b",\"amount_usd\":5}"].concat();
    let latin =
        rest.request(Method::POST, path).header("content-type", "application/json").body(latin);
    check("invalid UTF-8", &answer(latin).await, 400, "MALFORMED_JSON", "");
    let wrong = answer(rest.request(Method::DELETE, path)).await;
    check("DELETE", &wrong, 405, "METHOD_NOT_ALLOWED", "");
    assert!(wrong.headers.contains_key("allow"));
    let huge = rest.request(Method::GET, path).header("x-huge", "h".repeat(200_000));
    assert_eq!(huge.send().await.unwrap().status().as_u16(), 431);
    assert_eq!(invoices_so_far(&rest).await, 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_refused_and_say_so() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let (key, secret) = world.server.credentials.clone();
    let cases = [
        (None, "CREDENTIALS_MISSING"),
        (Some(String::new()), "CREDENTIALS_INVALID"),
        (Some("Bearer".to_owned()), "CREDENTIALS_INVALID"),
        (Some("Bearer x".to_owned()), "CREDENTIALS_INVALID"),
        (Some(format!("Basic {key}:{secret}")), "CREDENTIALS_INVALID"),
        (Some(format!("Bearer {key}:")), "CREDENTIALS_INVALID"),
        (Some(format!("Bearer {key}:{secret}x")), "CREDENTIALS_INVALID"),
        (Some(format!("Bearer {key}x:{secret}")), "CREDENTIALS_INVALID"),
        (Some(format!("Bearer {secret}:{key}")), "CREDENTIALS_INVALID"),
        (Some(format!("Bearer pk_live_0:{secret}")), "KEY_MODE_MISMATCH"),
        (Some(format!("Bearer {key}:{}", "s".repeat(5_000))), "CREDENTIALS_INVALID"),
    ];
    for (authorization, code) in cases {
        let what = format!("{authorization:?}");
        let caller = Rest::with(&world.server, authorization);
        for path in ["/api/v1/balances", "/sandbox/v1/clock/advance"] {
            let got = if path.starts_with("/api") {
                caller.get(path).await
            } else {
                caller.post(path, r#"{"seconds":60}"#).await
            };
            check(&what, &got, 401, code, "");
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_stands_for_one_request() {
    let world = World::sandbox(crate::ENGINE, Network::Trc20).await;
    let rest = Rest::of(&world.server);
    let post = |key: &'static str, body: &'static str| {
        let request = rest.request(Method::POST, "/api/v1/invoices");
        let request = request.header("content-type", "application/json");
        answer(request.header("idempotency-key", key).body(body))
    };
    let first = post("k1", r#"{"network":"trc20","amount_usd":50.00}"#).await;
    // Another spelling of the same values is the same request.
    let again = post("k1", r#"{"amount_usd":"50","network":"trc20","order_id":""}"#).await;
    assert_eq!((again.status, again.invoice_id()), (200, first.invoice_id()));
    let other = post("k1", r#"{"network":"trc20","amount_usd":51}"#).await;
    check("other body", &other, 409, "IDEMPOTENCY_CONFLICT", "");
    let new = post("k2", r#"{"network":"trc20","amount_usd":50}"#).await;
    assert_ne!(new.invoice_id(), first.invoice_id());
    assert_eq!(invoices_so_far(&rest).await, 2);
    world.finish().await;
}
