//! A merchant's webhook receiver on loopback: keeps what it got, answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use cryptopayment::transport::listener::{self, ListenerLimits};

/// One delivery as it came.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Delivery {
    /// The body as JSON; for comparing keys, never for money.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no header {name}"));
        value.to_str().unwrap().to_owned()
    }

    /// The event's name.
    pub fn event(&self) -> String {
        self.json()["event"].as_str().unwrap().to_owned()
    }
}

#[derive(Clone)]
struct Shared {
    got: Arc<watch::Sender<Vec<Delivery>>>,
    answers: Arc<Mutex<VecDeque<(StatusCode, Bytes)>>>,
}

/// The receiver.
pub struct Receiver {
    pub url: String,
    shared: Shared,
    stop: CancellationToken,
}

impl Receiver {
    /// A receiver that answers 200 unless told otherwise.
    pub async fn start() -> Self {
        let shared =
            Shared { got: Arc::new(watch::Sender::new(Vec::new())), answers: Arc::default() };
        let app = Router::new().fallback(receive).with_state(shared.clone());
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = socket.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(listener::serve(socket, app, ListenerLimits::default(), stop.clone()));
        Self { url: format!("http://{address}/hook"), shared, stop }
    }

    /// The next answers; 200 after them.
    pub fn answer(&self, answers: impl IntoIterator<Item = u16>) {
        for status in answers {
            self.answer_with(status, Bytes::new());
        }
    }

    /// One more of the next answers, with a body.
    pub fn answer_with(&self, status: u16, body: impl Into<Bytes>) {
        let answer = (StatusCode::from_u16(status).unwrap(), body.into());
        self.shared.answers.lock().unwrap().push_back(answer);
    }

    /// Everything that came so far.
    pub fn got(&self) -> Vec<Delivery> {
        self.shared.got.borrow().clone()
    }

    /// Waits until at least `count` deliveries came.
    pub async fn wait_for(&self, count: usize) -> Vec<Delivery> {
        let mut got = self.shared.got.subscribe();
        let waiting = got.wait_for(|got| got.len() >= count);
        let found = tokio::time::timeout(super::server::DEADLINE, waiting).await;
        found.unwrap_or_else(|_| panic!("fewer than {count} deliveries came")).unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn receive(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Bytes) {
    let answer = shared.answers.lock().unwrap().pop_front();
    shared.got.send_modify(|got| got.push(Delivery { headers, body }));
    answer.unwrap_or((StatusCode::OK, Bytes::new()))
}
