//! The public APIs of the three exchanges on loopback, in their documented shapes: each answers what
//! it is told to, and counts who asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use cryptopayment::domain::quotes::Exchange;
use cryptopayment::env::Clock as _;
use cryptopayment::transport::listener::{self, ListenerLimits};
use http::{StatusCode, Uri};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::clock::MovedClock;

const KRAKEN: &str = include_str!("../fixtures/rates/kraken.json");
const COINBASE: &str = include_str!("../fixtures/rates/coinbase.json");
const BINANCE: &str = include_str!("../fixtures/rates/binance.json");

/// What an exchange does when it is asked.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers this JSON token as the price of bitcoin, and the recorded prices of the others.
    Price(&'static str),
    /// The same, of a trade that was long ago, where the API tells the trade's time.
    OldPrice(&'static str),
    /// Answers a status and a body.
    Says(u16, Vec<u8>),
    /// Answers nothing until it is told to act differently.
    Hangs,
}

/// How the exchanges stand.
#[derive(Clone, Default)]
struct Standing {
    acts: BTreeMap<&'static str, Act>,
    /// How often each was asked for bitcoin.
    asked: BTreeMap<String, usize>,
}

#[derive(Clone)]
struct Shared {
    standing: Arc<watch::Sender<Standing>>,
    clock: MovedClock,
}

/// The exchanges.
pub struct Exchanges {
    base: String,
    shared: Shared,
    stop: CancellationToken,
}

impl Exchanges {
    /// Exchanges of which nobody answers yet.
    pub async fn start(clock: &MovedClock) -> Self {
        let standing = Arc::new(watch::Sender::new(Standing::default()));
        let shared = Shared { standing, clock: clock.clone() };
        let app = Router::new().route("/{exchange}/{*path}", axum::routing::get(answer));
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", socket.local_addr().unwrap());
        let stop = CancellationToken::new();
        let app = app.with_state(shared.clone());
        tokio::spawn(listener::serve(socket, app, ListenerLimits::default(), stop.clone()));
        Self { base, shared, stop }
    }

    /// The base URL of one of them.
    pub fn url(&self, exchange: Exchange) -> String {
        format!("{}/{exchange}", self.base)
    }

    /// The settings (TOML) of a server that asks them.
    pub fn settings(&self) -> String {
        let mut toml = "[rates]\nsource = \"market\"\n[rates.market.urls]\n".to_owned();
        for exchange in Exchange::ALL {
            toml += &format!("{exchange} = \"{}\"\n", self.url(exchange));
        }
        toml
    }

    /// Tells one what to do from now on.
    pub fn act(&self, exchange: Exchange, act: Act) {
        self.shared.standing.send_modify(|standing| {
            standing.acts.insert(exchange.as_str(), act);
        });
    }

    /// How often an exchange was asked.
    pub fn asked(&self, exchange: Exchange) -> usize {
        let standing = self.shared.standing.borrow();
        standing.asked.get(exchange.as_str()).copied().unwrap_or_default()
    }

    /// Waits until an exchange was asked `times` more. When it was asked twice more, the first answer
    /// was read: nobody asks the same exchange twice at a time.
    pub async fn wait_asked(&self, exchange: Exchange, times: usize) {
        let count = |standing: &Standing| {
            standing.asked.get(exchange.as_str()).copied().unwrap_or_default()
        };
        let mut standing = self.shared.standing.subscribe();
        let enough = count(&standing.borrow()) + times;
        let waiting = standing.wait_for(|standing| count(standing) >= enough);
        let found = tokio::time::timeout(super::server::DEADLINE, waiting).await;
        found.unwrap_or_else(|_| panic!("{exchange} is not asked")).unwrap();
    }
}

impl Drop for Exchanges {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn answer(
    State(shared): State<Shared>,
    Path((exchange, _)): Path<(String, String)>,
    uri: Uri,
) -> Response {
    let path = uri.to_string();
    if path.contains("BTC") || path.contains("XBT") {
        shared.standing.send_modify(|standing| {
            *standing.asked.entry(exchange.clone()).or_default() += 1;
        });
    }
    let mut standing = shared.standing.subscribe();
    let answers = |standing: &Standing| !matches!(standing.acts.get(&*exchange), Some(Act::Hangs));
    let standing = standing.wait_for(answers).await.unwrap();
    let body = match standing.acts.get(&*exchange) {
        Some(Act::Price(token)) => shape(&path, token, now(&shared.clock, 0)),
        Some(Act::OldPrice(token)) => shape(&path, token, now(&shared.clock, -3_600)),
        Some(Act::Says(status, body)) => {
            return (StatusCode::from_u16(*status).unwrap(), body.clone()).into_response();
        }
        None | Some(Act::Hangs) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
    };
    body.into_response()
}

/// The recorded answer to this path, with `token` as the price of bitcoin.
fn shape(path: &str, token: &str, traded_at: String) -> String {
    if path.contains("/0/public/Ticker?pair=XBTUSD,LTCUSD,ETHUSD") {
        return KRAKEN.replace(r#""c":["60123.40000""#, &format!(r#""c":[{token}"#));
    }
    if path.contains("/api/v3/ticker/price?symbols=%5B%22BTCUSDT%22,%22LTCUSDT%22,%22ETHUSDT%22%5D")
    {
        return BINANCE.replace(r#""60118.75000000""#, token);
    }
    let price = match path.rsplit('/').nth(1) {
        Some("BTC-USD") => token,
        Some("LTC-USD") => r#""80.04""#,
        Some("ETH-USD") => r#""3001.30""#,
        _ => return "no such path".to_owned(),
    };
    COINBASE.replace(r#""60130.01""#, price).replace("2026-11-25T15:30:12.345678Z", &traded_at)
}

/// With nine digits of a second, as Coinbase writes its times.
fn now(clock: &MovedClock, offset_seconds: i64) -> String {
    let micros = clock.now().0 + offset_seconds * 1_000_000;
    let nanos = i128::from(micros) * 1_000 + 789;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap().format(&Rfc3339).unwrap()
}
