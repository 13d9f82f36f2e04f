//! `compat` finds nothing against our own server, names what differs at a deliberately wrong one, and
//! does not create anything on a live deployment by itself; who is not let in gets one line.

use axum::Router;
use axum::routing::{get, post};
use cryptopayment::transport::listener::{self, ListenerLimits};
use cryptopayment_sdk::v1::{ListInvoicesRequest, UpdateWebhookEndpointRequest};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::program::beside;
use crate::support::server::{Engine, TestServer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_server_is_as_documented() {
    let server = TestServer::start(Engine::Sqlite).await;
    let change = UpdateWebhookEndpointRequest {
        url: Some("http://127.0.0.1:9/before".to_owned()),
        events: vec!["invoice.expired".to_owned()],
    };
    server.client().update_webhook_endpoint(change).await.unwrap();
    let (key, secret) = &server.credentials;
    let arguments =
        ["compat", &server.url, key, secret, "--webhook-listen", "127.0.0.1:0", "--json"];
    let said = beside(&server, &arguments).await;
    let rows = said.json();
    let rows = rows.as_array().unwrap();
    let differs: Vec<&Value> = rows.iter().filter(|row| row["result"] != "ok").collect();
    assert!(differs.is_empty(), "{differs:#?}");
    assert_eq!(said.code, 0, "{}", said.err);
    for recipe in ["create (PHP)", "create (Node)", "create (Python)", "errors", "webhooks"] {
        assert!(rows.iter().any(|row| row["recipe"] == recipe), "{recipe} was run");
    }
    assert!(rows.iter().any(|row| row["check"] == "payment.confirmed: signature"));
    let endpoint = server.client().webhook_endpoint().await.unwrap();
    assert_eq!(endpoint.url.as_deref(), Some("http://127.0.0.1:9/before"), "it was put back");
    assert_eq!(endpoint.events, ["invoice.expired"]);
    let table =
        beside(&server, &["compat", &server.url, key, secret, "--network", "ltc"]).await.ok();
    assert!(table.out.contains("create (PHP)") && !table.out.contains("differ"), "{table:?}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_answers_are_full_has_more_keys_and_differs_in_nothing() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (key, secret) = &server.credentials;
    beside(&server, &["admin", "keys", "set", key, "--view", "full"]).await.ok();
    let arguments =
        ["compat", &server.url, key, secret, "--webhook-listen", "127.0.0.1:0", "--json"];
    let said = beside(&server, &arguments).await;
    let rows = said.json();
    let rows = rows.as_array().unwrap();
    let differs: Vec<&Value> = rows.iter().filter(|row| row["result"] != "ok").collect();
    assert!(differs.is_empty(), "{differs:#?}");
    let shown = rows.iter().find(|row| row["check"] == "invoice keys").unwrap();
    assert!(shown["got"].as_str().unwrap().contains("is_final"), "it was full: {shown}");
    assert_eq!(said.code, 0, "{}", said.err);
    server.finish().await;
}

/// Answers almost as documented: another order of keys, a float, a time without its offset.
async fn wrong_fake(stop: &CancellationToken) -> String {
    let invoice = r#"{"success":true,"invoice":{"order_id":null,"id":"1","status":"new",
        "network":"trc20","network_label":"Tron","coin":"USDT","amount_usd":1.0,"amount_crypto":1,
        "address":"T","paid_amount":0.0,"txid":"","confirmations":0,
        "expires_at":"2024-01-15T10:30:00Z","created_at":"2024-01-15T10:00:00Z"},
        "checkout_url":"/pay/1"}"#;
    let balances = r#"{"balances":{"BTC":{"available":1.00,"held":0}}}"#;
    let json = move |body: &'static str| ([(CONTENT_TYPE, "application/json")], body);
    let create = move |headers: HeaderMap| async move {
        json(if headers.contains_key("idempotency-key") { "[]" } else { invoice })
    };
    let app = Router::new()
        .route("/api/v1/invoices", post(create))
        .route("/api/v1/balances", get(move || async move { json(balances) }))
        .fallback(move || async move { json("[]") });
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    tokio::spawn(listener::serve(socket, app, ListenerLimits::default(), stop.clone()));
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differences_are_named_with_what_was_expected() {
    let server = TestServer::start(Engine::Sqlite).await;
    let stop = CancellationToken::new();
    let url = wrong_fake(&stop).await;
    let said = beside(&server, &["compat", &url, "pk_test_1", "sk_test_1", "--json"]).await;
    assert_eq!(said.code, 1);
    let rows = said.json();
    let find = |check: &str| {
        let row = rows.as_array().unwrap().iter().find(|row| row["check"] == check);
        row.unwrap_or_else(|| panic!("{check} was not checked"))
    };
    for (check, expected, got) in [
        ("amount_usd", "1.00", "1.0"),
        ("amount_crypto", "1.00", "1"),
        ("paid_amount", "0", "0.0"),
        ("txid", "null", "\"\""),
        ("status", "\"pending\"", "\"new\""),
        ("confirmations.required", "19", "missing"),
        ("created_at", "0000-00-00T00:00:00+00:00", "2024-01-15T10:00:00Z"),
        ("no network: HTTP status", "400", "200"),
    ] {
        let row = find(check);
        let differs = (&row["result"], &row["expected"], &row["got"]);
        assert_eq!(differs, (&"differs".into(), &expected.into(), &got.into()), "{check}");
    }
    let keys = find("invoice keys");
    assert_eq!(keys["result"], "differs", "their order counts");
    assert_eq!(keys["got"], "in another order from order_id on");
    assert_eq!(find("keys of a balance")["got"], "without pending; with held besides");
    let repeated = rows.as_array().unwrap().iter();
    let repeated: Vec<&Value> = repeated.filter(|row| row["recipe"] == "Idempotency-Key").collect();
    let id = repeated.iter().find(|row| row["check"] == "id").unwrap();
    assert_eq!((&id["result"], &id["got"]), (&"differs".into(), &"missing".into()), "{repeated:?}");
    let table = beside(&server, &["compat", &url, "pk_test_1", "sk_test_1"]).await;
    assert!(
        table.out.contains("EXPECTED") && table.out.contains("2024-01-15T10:00:00Z"),
        "{table:?}"
    );
    assert!(table.out.contains("  in another order from order_id on"), "{table:?}");
    stop.cancel();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_on_a_live_deployment_unless_somebody_agrees() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (_, secret) = &server.credentials;
    let said = beside(&server, &["compat", &server.url, "pk_live_1", secret]).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("ONE invoice of 1.00 USD") && said.err.contains("--yes"), "{said:?}");
    let all = server.client().list_invoices(ListInvoicesRequest::default()).await.unwrap();
    assert!(all.invoices.is_empty());
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_let_in_gets_one_line() {
    let server = TestServer::start(Engine::Sqlite).await;
    let key = server.credentials.0.as_str();
    for more in [[].as_slice(), &["--json"]] {
        let nowhere = ["compat", "http://127.0.0.1:1", "pk_test_1", "sk"];
        let gone = beside(&server, &[nowhere.as_slice(), more].concat()).await;
        assert_eq!((gone.code, gone.out.as_str()), (1, ""), "{gone:?}");
        assert!(gone.err.contains("does not answer"), "{gone:?}");
        let wrong = ["compat", &server.url, key, "sk_test_wrong"];
        let refused = beside(&server, &[wrong.as_slice(), more].concat()).await;
        assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{refused:?}");
        assert!(refused.err.contains("the key was refused (401): "), "{refused:?}");
    }
    server.finish().await;
}
