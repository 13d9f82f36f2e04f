//! An HTTP proxy before an EVM node that refuses to tell what was called, as many nodes and services do.
//! Everything else passes. Not here: the node.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use cryptopayment::transport::listener::{self, ListenerLimits};
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// How long the node may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The proxy; it serves until dropped.
pub struct Untraced {
    port: u16,
    shared: Shared,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Shared {
    node: String,
    http: reqwest::Client,
    tells_calls: Arc<AtomicBool>,
}

impl Drop for Untraced {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Untraced {
    /// Before the node at a port of the loopback interface.
    pub async fn before(node_port: u16) -> Self {
        let shared = Shared {
            node: format!("http://127.0.0.1:{node_port}/"),
            http: reqwest::Client::builder().timeout(ANSWER_MAX).no_proxy().build().unwrap(),
            tells_calls: Arc::default(),
        };
        let app = Router::new().fallback(pass).with_state(shared.clone());
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        tokio::spawn(listener::serve(socket, app, ListenerLimits::default(), stop.clone()));
        Self { port, shared, stop }
    }

    /// The port it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Lets questions about calls pass from now on.
    pub fn tell_calls(&self) {
        self.shared.tells_calls.store(true, Ordering::SeqCst);
    }
}

async fn pass(State(shared): State<Shared>, body: Bytes) -> Response {
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    let method = call["method"].as_str().unwrap_or_default();
    let asks_for_calls = method.starts_with("debug_") || method.starts_with("trace_");
    let headers = [(header::CONTENT_TYPE, "application/json")];
    if asks_for_calls && !shared.tells_calls.load(Ordering::SeqCst) {
        let error = json!({ "code": -32_601, "message": "the method does not exist" });
        let refused = json!({ "jsonrpc": "2.0", "id": call["id"], "error": error });
        return (headers, refused.to_string()).into_response();
    }
    let sent = shared.http.post(&shared.node).header(header::CONTENT_TYPE, "application/json");
    match sent.body(body).send().await {
        Ok(answer) => {
            let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
            (status, headers, answer.bytes().await.unwrap_or_default()).into_response()
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
