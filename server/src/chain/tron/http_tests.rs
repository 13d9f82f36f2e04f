//! What each failure of a node or of TronGrid comes to, and the pace.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::chain::tron::fake_node::{FakeNode, Moved};

type Asked = Result<Option<Value>, ChainError>;

/// Asks once a node that says this, by a client of its own.
async fn ask(status: u16, body: &str) -> Asked {
    let body = body.to_owned();
    let node = FakeNode::saying(move |_, _, _| (status, body.clone())).await;
    let client = Client::new(&node.settings, Env::system()).unwrap();
    client.call(Api::Full, "getblock", &json!({})).await
}

#[tokio::test]
async fn every_form_of_no() {
    enum Is {
        Nothing,
        Transient(&'static str),
        Invalid(&'static str),
        Unsupported(&'static str),
    }
    let grid = r#"{"Error": "The key exceeds the frequency limit(15), and the query server is suspended for 30s"}"#;
    let busy =
        r#"{"Error":"class java.lang.IllegalAccessException : lack of computing resources"}"#;
    let cases = [
        (200, "{}", Is::Nothing),
        (200, " {} \n", Is::Nothing),
        (200, busy, Is::Transient("lack of computing resources")),
        (200, r#"{"Error": "class java.lang.NullPointerException : null"}"#, Is::Transient("Null")),
        (
            200,
            r#"{"Error": "class org.tron.core.services.http.JsonFormat$ParseException : 1:8"}"#,
            Is::Invalid("ParseException"),
        ),
        (200, "this API is closed because this node is a lite fullnode", Is::Unsupported("lite")),
        (404, "this API is unavailable due to config", Is::Unsupported("due to config")),
        (404, "<html>", Is::Unsupported("two base URLs")),
        (405, "", Is::Unsupported("two base URLs")),
        (200, "", Is::Transient("no answer of a node")),
        (200, "<html>maintenance</html>", Is::Transient("maintenance")),
        (200, "{\"blockID\": ", Is::Invalid("getblock")),
        (403, grid, Is::Transient("frequency limit")),
        (403, "request rate exceeded the allowed_rps(3)", Is::Transient("allowed_rps")),
        (403, "IP is not in the white list", Is::Unsupported("white list")),
        (401, r#"{"Error": "ApiKey not exists"}"#, Is::Unsupported("ApiKey")),
        (429, "", Is::Transient("429")),
        (503, "Service Unavailable", Is::Transient("503")),
        (502, "bad gateway", Is::Transient("502")),
        (302, "", Is::Invalid("302")),
        (413, "Payload Too Large", Is::Invalid("413")),
    ];
    for (status, body, is) in cases {
        let answer = ask(status, body).await;
        let fits = match (&is, &answer) {
            (Is::Nothing, Ok(None)) => true,
            (Is::Transient(part), Err(ChainError::Transient(text)))
            | (Is::Invalid(part), Err(ChainError::Invalid(text)))
            | (Is::Unsupported(part), Err(ChainError::Unsupported(text))) => text.contains(part),
            _ => false,
        };
        assert!(fits, "{status} {body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_suspended_client_asks_nothing_until_the_time_is_over() {
    let asked = Arc::new(AtomicUsize::default());
    let counted = Arc::clone(&asked);
    let node = FakeNode::saying(move |_, _, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        (403, "the query server is suspended for 30s".to_owned())
    })
    .await;
    let clock = Moved::default();
    let client = Client::new(&node.settings, clock.env()).unwrap();
    let ask = || client.call::<Value>(Api::Full, "getblock", &Value::Null);
    assert!(ask().await.unwrap_err().to_string().contains("suspended"));
    for seconds in [0, 10, 29] {
        clock.set(seconds);
        let error = ask().await.unwrap_err();
        assert!(matches!(&error, ChainError::Transient(text) if text.contains("pause")), "{error}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "nothing was asked meanwhile");
    // A quarter is added at most.
    clock.set(38);
    assert!(ask().await.unwrap_err().to_string().contains("suspended"));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    // A clock that goes back by a day does not keep us away for a day.
    clock.set(-86_400);
    assert!(ask().await.unwrap_err().to_string().contains("suspended"));
}

#[tokio::test]
async fn a_pause_that_nobody_states_grows() {
    let node = FakeNode::saying(|_, _, _| (429, String::new())).await;
    let clock = Moved::default();
    let client = Client::new(&node.settings, clock.env()).unwrap();
    let mut now = 0;
    for least in [1, 2, 4, 8, 16, 30, 30] {
        let error = client.call::<Value>(Api::Full, "getblock", &Value::Null).await.unwrap_err();
        assert!(error.to_string().contains("429"), "{error}");
        let until = client.pause().until.since(Micros::from_seconds(now));
        assert!(until >= Duration::from_secs(least), "{until:?}");
        assert!(until <= Duration::from_millis(least * 1_250), "{until:?}");
        now += 40;
        clock.set(now);
    }
}

#[tokio::test]
async fn the_key_is_sent_and_never_told() {
    let node = FakeNode::saying(|_, _, head| {
        let sent = head.lines().any(|line| line == "tron-pro-api-key: canary-key");
        (200, json!({ "sent": sent }).to_string())
    })
    .await;
    let settings = NodeSettings { api_key: Some("canary-key".to_owned()), ..node.settings.clone() };
    let client = Client::new(&settings, Env::system()).unwrap();
    let answer: Value = client.call_known(Api::Full, "getblock", &Value::Null).await.unwrap();
    assert_eq!(answer, json!({ "sent": true }));
    assert!(!format!("{settings:?}").contains("canary"));
}

#[tokio::test]
async fn requests_keep_the_pace() {
    let node = FakeNode::saying(|_, _, _| (200, r#"{"a": 1}"#.to_owned())).await;
    let settings = NodeSettings { requests_per_second: 50, ..node.settings.clone() };
    let client = Client::new(&settings, Env::system()).unwrap();
    let began = Env::system().system_now();
    for _ in 0..6 {
        client.call_known::<Value>(Api::Full, "getblock", &Value::Null).await.unwrap();
    }
    let took = Env::system().system_now().since(began);
    assert!(took >= Duration::from_millis(95), "five gaps of 20 ms: {took:?}");
}

#[tokio::test]
async fn both_apis_have_their_paths_below_any_base() {
    let node = FakeNode::saying(|path, _, _| (200, json!({ "path": path }).to_string())).await;
    let url = format!("{}some/where", node.settings.url);
    let settings = NodeSettings { solidity_url: url, ..node.settings.clone() };
    let client = Client::new(&settings, Env::system()).unwrap();
    let path =
        async |api| -> Value { client.call_known(api, "getblock", &Value::Null).await.unwrap() };
    assert_eq!(path(Api::Full).await["path"], "wallet/getblock");
    assert_eq!(path(Api::Solidity).await["path"], "some/where/walletsolidity/getblock");
}

#[tokio::test]
async fn urls_that_cannot_be_asked_are_refused() {
    let node = FakeNode::answering(&[]).await;
    for url in ["", "node:8090", "ftp://node", "http://user:pass@node", "http://node/?key=1"] {
        let settings = NodeSettings { url: url.to_owned(), ..node.settings.clone() };
        let error = Client::new(&settings, Env::system()).err().unwrap();
        assert!(matches!(error, SetupError::Url("node.url", _)), "{url}: {error}");
    }
}

#[test]
fn messages_are_read_in_hex_and_as_they_are() {
    assert_eq!(message("447570207472616e73616374696f6e2e"), "Dup transaction.");
    assert_eq!(message("Dup transaction."), "Dup transaction.");
    assert_eq!(message("ff"), "ff");
    assert_eq!(message(""), "");
}
