//! A TRON node in the test: java-tron's HTTP API on two loopback ports over a simulated chain with
//! mempool, solidification, forks, fees, energy and activation. Pinned to the answers of a live node
//! (`tests/fixtures/tron/javatron-4.8.0-live`) by `tests/tron/captures.rs`.
//! Not here: what a test does with it (`driver`), assertions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap fails the test")]
#![allow(dead_code, reason = "not every test uses all of it")]

pub mod api;
pub mod chain;
pub mod contracts;
pub mod driver;
pub mod execute;
pub mod render;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use cryptopayment::env::Env;
use cryptopayment::transport::listener::{self, ListenerLimits};
use http::StatusCode;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use chain::{Chain, WITNESSES};
use contracts::Code;
use wire::Account;

/// Blocks made at the start: more than solidification trails by.
const FIRST_BLOCKS: u32 = 30;
const SOLIDITY_ROOM: &str = "walletsolidity";

/// A node.
pub struct TronNode {
    shared: Arc<Shared>,
    full_port: u16,
    solidity_port: u16,
    stop: Mutex<CancellationToken>,
}

struct Shared {
    chain: Mutex<Chain>,
    /// What is answered instead, by method; the empty name stands for all.
    planted: Mutex<BTreeMap<String, (u16, String)>>,
    asked: Mutex<BTreeMap<String, usize>>,
    env: Env,
}

#[derive(Clone)]
struct Port {
    shared: Arc<Shared>,
    is_solidity: bool,
}

impl Drop for TronNode {
    fn drop(&mut self) {
        self.stop.get_mut().unwrap().cancel();
    }
}

impl TronNode {
    /// A node of a new chain whose TRX `rich` has, with some blocks.
    pub async fn start(rich: Account) -> Self {
        Self::start_with(rich, WITNESSES, 0).await
    }

    /// The same with another number of witnesses, or another genesis block.
    pub async fn start_with(rich: Account, witnesses: usize, seed: u8) -> Self {
        let mut chain = Chain::new(rich, witnesses, seed);
        let env = Env::system();
        for _ in 0..FIRST_BLOCKS {
            chain.mine(&env);
        }
        let (planted, asked) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { chain: Mutex::new(chain), planted, asked, env });
        let (full, solidity) = (free_port().await, free_port().await);
        let full_port = full.local_addr().unwrap().port();
        let solidity_port = solidity.local_addr().unwrap().port();
        let stop = Mutex::new(CancellationToken::new());
        let node = Self { shared, full_port, solidity_port, stop };
        node.serve(full, solidity);
        node
    }

    fn serve(&self, full: TcpListener, solidity: TcpListener) {
        let stop = CancellationToken::new();
        for (socket, is_solidity) in [(full, false), (solidity, true)] {
            let port = Port { shared: Arc::clone(&self.shared), is_solidity };
            let app = Router::new()
                .route("/{room}/{method}", axum::routing::any(answer))
                .with_state(port);
            tokio::spawn(listener::serve(socket, app, ListenerLimits::default(), stop.clone()));
        }
        *self.stop.lock().unwrap() = stop;
    }

    /// Closes both ports. What waits is forgotten, as java-tron does.
    pub fn stop(&self) {
        self.stop.lock().unwrap().cancel();
        self.chain().forget(None);
    }

    /// Opens the same ports again.
    pub async fn run(&self) {
        let full = port_again(self.full_port).await;
        let solidity = port_again(self.solidity_port).await;
        self.serve(full, solidity);
    }

    pub fn full_port(&self) -> u16 {
        self.full_port
    }

    pub fn solidity_port(&self) -> u16 {
        self.solidity_port
    }

    pub fn full_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.full_port)
    }

    pub fn solidity_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.solidity_port)
    }

    /// The chain, to look into or to do what nobody could on a real one.
    pub fn chain(&self) -> MutexGuard<'_, Chain> {
        self.shared.chain.lock().unwrap()
    }

    /// Makes blocks, the first with everything that waits.
    pub fn mine(&self, blocks: u32) {
        for _ in 0..blocks {
            self.chain().mine(&self.shared.env);
        }
    }

    /// Makes blocks by itself until it is dropped.
    pub fn mine_every(&self, block_time: Duration) {
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.lock().unwrap().clone());
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(block_time);
            while stop.run_until_cancelled(beat.tick()).await.is_some() {
                shared.chain.lock().unwrap().mine(&shared.env);
            }
        });
    }

    /// Makes a block of exactly these.
    pub fn mine_exactly(&self, wanted: Vec<wire::Tx>) {
        self.chain().mine_exactly(&self.shared.env, wanted);
    }

    /// Puts a contract on the chain as if somebody had deployed it.
    pub fn place(&self, name: &str, code: Code) -> Account {
        let place = chain::account_of(&chain::key_named(name));
        self.chain().change(|state| {
            state.contracts.insert(place, code);
        });
        place
    }

    /// From now on a method (`getblock`; empty: all) answers this and does nothing.
    pub fn plant(&self, method: &str, status: u16, body: &str) {
        self.shared.planted.lock().unwrap().insert(method.to_owned(), (status, body.to_owned()));
    }

    /// The same on the solidity port alone.
    pub fn plant_on_solidity(&self, method: &str, status: u16, body: &str) {
        self.plant(&format!("{SOLIDITY_ROOM}/{method}"), status, body);
    }

    /// Takes back everything that was planted.
    pub fn clear(&self) {
        self.shared.planted.lock().unwrap().clear();
    }

    /// How often a method was asked for.
    pub fn asked(&self, method: &str) -> usize {
        self.shared.asked.lock().unwrap().get(method).copied().unwrap_or_default()
    }
}

async fn answer(
    State(port): State<Port>,
    Path((room, method)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let Port { shared, is_solidity } = port;
    *shared.asked.lock().unwrap().entry(method.clone()).or_default() += 1;
    let planted = shared.planted.lock().unwrap();
    let found = planted
        .get(&format!("{room}/{method}"))
        .or_else(|| planted.get(&method))
        .or_else(|| planted.get(""));
    if let Some((status, body)) = found.cloned() {
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    drop(planted);
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut chain = shared.chain.lock().unwrap();
    let solid = is_solidity.then(|| chain.solid());
    let call = api::Call { body: &body, solid };
    let here = room == if is_solidity { SOLIDITY_ROOM } else { "wallet" };
    match here.then(|| api::answer(&mut chain, &method, &call)).flatten() {
        Some(answer) => {
            ([("content-type", "application/json")], answer.to_string()).into_response()
        }
        None => (StatusCode::NOT_FOUND, "<html>404 Not Found</html>").into_response(),
    }
}

async fn free_port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A port that was just closed, as soon as it is free.
async fn port_again(port: u16) -> TcpListener {
    crate::support::server::eventually("the port is free again", || async {
        TcpListener::bind(("127.0.0.1", port)).await.ok()
    })
    .await
}
