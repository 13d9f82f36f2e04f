//! Drives the listener over real sockets, byte by byte where no well-behaved client would go.
//! Waiting is always for an event under a deadline, never for time to pass.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod faults;
mod http2;
mod lifetime;
mod unix_socket;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Drained, ListenerLimits, Requests, serve_api};
use crate::env::Env;

/// How long any single event may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// A request that keeps its connection open.
const HELLO: &[u8] = b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n";

/// A listener under test; dropping it stops it.
struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Drained>,
}

impl Running {
    async fn start(app: Router, limits: ListenerLimits) -> Self {
        assert_eq!(limits.check(), Ok(()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve_api(listener, app, requests(), limits, stop.clone()));
        Self { address, stop, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

/// What requests are given.
fn requests() -> Requests {
    let internal_url = "https://pay.example/docs/errors#internal".to_owned();
    Requests { env: Env::system(), internal_url }
}

/// An application that answers `hello`.
fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// Reads until the other side closes or resets; fails at the deadline.
async fn read_until_closed(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("closed in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one HTTP/1 answer whose body has `content-length`.
async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    timeout(DEADLINE, async {
        let mut byte = [0];
        while !text.ends_with("\r\n\r\n") {
            stream.read_exact(&mut byte).await.expect("an answer's head");
            text.push(char::from(byte[0]));
        }
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |value| value.parse::<usize>().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("an answer's body");
        text.push_str(&String::from_utf8(body).unwrap());
    })
    .await
    .expect("answered in time");
    text
}
