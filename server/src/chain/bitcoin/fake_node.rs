//! A node that answers whatever a test wants, over real HTTP on a loopback port: for what a real
//! node cannot be made to do (wrong ids, cut answers, foreign bytes). Not here: a working node.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::rpc::{RpcAuth, RpcSettings};

/// What a call comes to: a result, or an error's code and message.
pub type Answer = Result<Value, (i64, &'static str)>;

/// One request as it came.
pub struct Request {
    /// Request line and headers, lower case.
    pub head: String,
    /// The JSON body.
    pub body: Value,
}

/// Serves until dropped.
pub struct FakeNode {
    pub settings: RpcSettings,
    task: JoinHandle<()>,
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeNode {
    /// Answers each request with the bytes `answer` makes, then closes the connection.
    pub async fn raw(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    if let Some(request) = read_request(&mut stream).await {
                        let _ = stream.write_all(&answer(&request)).await;
                        let _ = stream.shutdown().await;
                    }
                });
            }
        });
        let timeout = Duration::from_secs(5);
        Self { settings: RpcSettings { url, auth: RpcAuth::None, timeout }, task }
    }

    /// Answers calls as a node does: `results` gives the result or the error of each call.
    pub async fn answering(
        results: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::silent_to(|_| false, results).await
    }

    /// The same, but hangs up when it is called by a method that `is_too_much`.
    pub async fn silent_to(
        is_too_much: impl Fn(&str) -> bool + Send + Sync + 'static,
        results: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let one = move |call: &Value| {
            let method = call["method"].as_str().unwrap();
            match results(method, &call["params"]) {
                Ok(result) => json!({ "result": result, "error": null, "id": call["id"] }),
                Err((code, message)) => json!({
                    "result": null,
                    "error": { "code": code, "message": message },
                    "id": call["id"],
                }),
            }
        };
        Self::raw(move |request| match &request.body {
            Value::Array(calls) => http(200, &Value::from_iter(calls.iter().map(&one)).to_string()),
            call if is_too_much(call["method"].as_str().unwrap()) => Vec::new(),
            call => {
                let reply = one(call);
                http(if reply["error"].is_null() { 200 } else { 500 }, &reply.to_string())
            }
        })
        .await
    }
}

/// A complete HTTP answer.
pub fn http(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            if body.len() >= length.parse().ok()? {
                let body = serde_json::from_slice(&bytes[head.len() + 4..]).ok()?;
                return Some(Request { head: head.to_owned(), body });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
