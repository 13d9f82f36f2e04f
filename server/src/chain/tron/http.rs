//! HTTP to one node of java-tron, or a service like TronGrid before it: two base URLs, limits, the
//! pace, and what each failure means. Nodes answer 200 even for errors, `{}` for what is not there,
//! and plain text where a method is closed. Not here: which methods are called and why; retries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{StatusCode, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Interval, MissedTickBehavior};

use crate::chain::ChainError;
use crate::chain::answer::{MAX_MESSAGE_CHARS, clip, read_body, unreachable_node};
use crate::domain::address::ChainKind;
use crate::domain::time::Micros;
use crate::env::Env;

/// Largest answer. A block is up to 2 MB of protobuf, which JSON writes twice, in hex and decoded: two
/// bytes of a contract's ABI can become thirty. What a block's contracts return is longer if somebody
/// pays for it: such receipts are asked for one by one.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Requests in a second that may be asked for.
pub const MAX_REQUESTS_PER_SECOND: u32 = 1_000;
/// An answer that reports a failure is never longer.
const MAX_FAILURE_BYTES: usize = 4_096;
const CONNECT_TIMEOUT_SECONDS: u64 = 5;
/// How long a connection is kept for the next call.
const IDLE_CONNECTION_SECONDS: u64 = 10;
/// The longest that a service is obeyed when it says how long it will not answer.
const MAX_PAUSE_SECONDS: u64 = 300;
/// Where a service states no time: the first pause, doubled with each refusal in a row.
const FIRST_PAUSE_MILLIS: u64 = 1_000;
const MAX_UNSTATED_PAUSE_MILLIS: u64 = 30_000;
/// Of a pause, so much is added by chance, so that many programs do not come back together.
const PAUSE_JITTER_PERCENT: u64 = 25;
const API_KEY_HEADER: &str = "TRON-PRO-API-KEY";

/// How a node is reached.
#[derive(Clone)]
pub struct NodeSettings {
    /// Base URL of the full node's API (`/wallet/...`).
    pub url: String,
    /// Base URL of the API of solidified blocks (`/walletsolidity/...`).
    pub solidity_url: String,
    /// TronGrid's key.
    pub api_key: Option<String>,
    /// The token's contract on a chain that is not mainnet, as an address.
    pub contract: String,
    /// Requests in a second; 0 is no limit.
    pub requests_per_second: u32,
    /// Time for one request with its answer.
    pub timeout: Duration,
}

impl std::fmt::Debug for NodeSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeSettings")
            .field("contract", &self.contract)
            .field("requests_per_second", &self.requests_per_second)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why a reader or writer cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// A chain without such a node.
    #[error("no TRON node serves the chain {0:?}")]
    NotTron(ChainKind),
    /// A URL that nothing can be asked of.
    #[error("{0}: {1}")]
    Url(&'static str, &'static str),
    /// The API key has bytes that no header may have.
    #[error("the API key is not printable text")]
    ApiKey,
    /// The token's contract is no address.
    #[error("the contract is not a TRON address")]
    Contract,
    /// The HTTP client cannot be made.
    #[error("HTTP client: {0}")]
    Http(String),
}

/// Which of the two APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/wallet/`: the newest block and everything after the solidified one.
    Full,
    /// `/walletsolidity/`: what the chain calls irreversible.
    Solidity,
}

/// A client of one node; clones share connections, pace and pauses.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    full: Url,
    solidity: Url,
    api_key: Option<HeaderValue>,
    pace: Option<tokio::sync::Mutex<Interval>>,
    pause: Mutex<Pause>,
    env: Env,
}

/// That the service told us to stay away.
#[derive(Default)]
struct Pause {
    /// Until when nothing is asked; zero: no pause.
    until: Micros,
    /// Refusals in a row.
    refusals: u32,
}

impl Client {
    /// A client; nothing is sent yet. A rustls provider must be installed in the process, and a
    /// tokio runtime must run.
    ///
    /// # Errors
    /// [`SetupError`] when a URL, the key or the process's TLS set-up cannot be used.
    pub fn new(settings: &NodeSettings, env: Env) -> Result<Self, SetupError> {
        let full = base("node.url", &settings.url, "wallet/")?;
        let solidity = base("node.solidity_url", &settings.solidity_url, "walletsolidity/")?;
        let api_key = match &settings.api_key {
            Some(key) => {
                let mut value = HeaderValue::from_str(key).map_err(|_| SetupError::ApiKey)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(SetupError::Http("no rustls provider is installed".to_owned()));
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_TIMEOUT_SECONDS))
            .timeout(settings.timeout)
            .pool_idle_timeout(Duration::from_secs(IDLE_CONNECTION_SECONDS))
            .build()
            .map_err(|error| SetupError::Http(error.to_string()))?;
        let pace = (settings.requests_per_second > 0).then(|| {
            let per_second = settings.requests_per_second.min(MAX_REQUESTS_PER_SECOND);
            let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tokio::sync::Mutex::new(pace)
        });
        let pause = Mutex::default();
        Ok(Self(Arc::new(Inner { http, full, solidity, api_key, pace, pause, env })))
    }

    /// Calls a method; `None` when the node answers that there is no such thing.
    ///
    /// # Errors
    /// [`ChainError`] without usable answer.
    pub async fn call<T: DeserializeOwned>(
        &self,
        api: Api,
        method: &str,
        body: &Value,
    ) -> Result<Option<T>, ChainError> {
        self.respect_pause()?;
        if let Some(pace) = &self.0.pace {
            pace.lock().await.tick().await;
        }
        let response = self.send(api, method, body).await?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let body = read_body(response, MAX_ANSWER_BYTES).await?;
        self.check_status(status, retry_after, &body, method)?;
        let answer = self.read(method, &body)?;
        self.pause().refusals = 0;
        Ok(answer)
    }

    /// The same where the node must know the thing.
    ///
    /// # Errors
    /// [`ChainError::Transient`] when it does not: it told of it a moment ago.
    pub async fn call_known<T: DeserializeOwned>(
        &self,
        api: Api,
        method: &str,
        body: &Value,
    ) -> Result<T, ChainError> {
        self.call(api, method, body)
            .await?
            .ok_or_else(|| ChainError::Transient(format!("{method}: the node has nothing")))
    }

    /// The time by the system's clock.
    pub fn now(&self) -> Micros {
        self.0.env.system_now()
    }

    async fn send(
        &self,
        api: Api,
        method: &str,
        body: &Value,
    ) -> Result<reqwest::Response, ChainError> {
        let base = match api {
            Api::Full => &self.0.full,
            Api::Solidity => &self.0.solidity,
        };
        let url = base.join(method).map_err(|_| invalid(method, "no such path"))?;
        let mut request = self.0.http.post(url).header("content-type", "application/json");
        if let Some(key) = &self.0.api_key {
            request = request.header(API_KEY_HEADER, key.clone());
        }
        request.body(body.to_string()).send().await.map_err(unreachable_node)
    }

    /// What a status other than 200 means. TronGrid suspends with 403 and a text, others with 429.
    fn check_status(
        &self,
        status: StatusCode,
        retry_after: Option<u64>,
        body: &[u8],
        method: &str,
    ) -> Result<(), ChainError> {
        if status == StatusCode::OK {
            return Ok(());
        }
        let text = clip_bytes(body);
        let stated = seconds_stated(&text).or(retry_after);
        let said = format!("{method}: HTTP {status}: {text}");
        Err(match status {
            StatusCode::FORBIDDEN if stated.is_some() || is_limit(&text) => {
                self.begin_pause(stated, &said)
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                self.begin_pause(stated, &said)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                ChainError::Unsupported(format!("node refuses us: {said}"))
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => ChainError::Unsupported(
                format!("no such method at this URL (two base URLs are needed): {said}"),
            ),
            status if status.is_server_error() => ChainError::Transient(said),
            _ => ChainError::Invalid(said),
        })
    }

    /// Reads the body of a 200, which may be an error all the same.
    fn read<T: DeserializeOwned>(
        &self,
        method: &str,
        body: &[u8],
    ) -> Result<Option<T>, ChainError> {
        match body.trim_ascii_start().first() {
            Some(b'{') if body.len() <= MAX_FAILURE_BYTES => {
                let Ok(failure) = serde_json::from_slice::<Failure>(body) else {
                    return Err(invalid(method, &clip_bytes(body)));
                };
                if let Some(error) = failure.error {
                    return Err(self.failure(method, &clip(&error)));
                }
                if failure.is_empty() {
                    return Ok(None);
                }
            }
            Some(b'{' | b'[') => {}
            _ => return Err(closed(method, &clip_bytes(body))),
        }
        match serde_json::from_slice(body) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => Err(invalid(method, &format!("{error}: {}", clip_bytes(body)))),
        }
    }

    /// `{"Error": ...}`: a Java exception's name and text.
    fn failure(&self, method: &str, error: &str) -> ChainError {
        let said = format!("{method}: {error}");
        if error.contains("lack of computing resources") || is_limit(error) {
            return self.begin_pause(seconds_stated(error), &said);
        }
        if ["ParseException", "NumberFormat", "InvalidParameter", "JSONException"]
            .iter()
            .any(|name| error.contains(name))
        {
            return ChainError::Invalid(said);
        }
        ChainError::Transient(said)
    }

    fn respect_pause(&self) -> Result<(), ChainError> {
        let now = self.now();
        let left = self.pause().until.since(now);
        // Longer than any pause: the clock went back.
        if left.is_zero() || left > Duration::from_secs(2 * MAX_PAUSE_SECONDS) {
            return Ok(());
        }
        let text = format!("node asked for a pause, {} ms of it are left", left.as_millis());
        Err(ChainError::Transient(text))
    }

    fn begin_pause(&self, stated: Option<u64>, said: &str) -> ChainError {
        let [chance] = self.0.env.random::<1>();
        let mut pause = self.pause();
        let millis = match stated {
            Some(seconds) => seconds.min(MAX_PAUSE_SECONDS) * 1_000,
            None => (FIRST_PAUSE_MILLIS << pause.refusals.min(10)).min(MAX_UNSTATED_PAUSE_MILLIS),
        };
        let jitter = millis * PAUSE_JITTER_PERCENT * u64::from(chance) / (100 * 255);
        pause.until = self.now().plus(Duration::from_millis(millis + jitter));
        pause.refusals = pause.refusals.saturating_add(1);
        ChainError::Transient(said.to_owned())
    }

    fn pause(&self) -> MutexGuard<'_, Pause> {
        self.0.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A short answer, as far as it may be a failure.
#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "Error", default)]
    error: Option<String>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

impl Failure {
    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

fn base(setting: &'static str, text: &str, room: &str) -> Result<Url, SetupError> {
    let mut url = Url::parse(text).map_err(|_| SetupError::Url(setting, "not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(SetupError::Url(setting, "neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(SetupError::Url(setting, "credentials do not belong into it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(SetupError::Url(setting, "it must end with the path"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url.join(room).map_err(|_| SetupError::Url(setting, "not a base URL"))
}

/// Plain text with a 200: the node closed the method, or something else than a node spoke.
fn closed(method: &str, text: &str) -> ChainError {
    let said = format!("{method}: {text}");
    if text.contains("lite fullnode") || text.contains("unavailable due to config") {
        return ChainError::Unsupported(said);
    }
    ChainError::Transient(format!("no answer of a node: {said}"))
}

fn is_limit(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["frequency limit", "rate exceeded", "rate limit", "suspended"].iter().any(|w| text.contains(w))
}

/// `... is suspended for 30s` (TronGrid writes it with and without a space).
fn seconds_stated(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("suspended for ")?;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn retry_after(response: &reqwest::Response) -> Option<u64> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

fn invalid(method: &str, text: &str) -> ChainError {
    ChainError::Invalid(format!("{method}: {text}"))
}

/// The node's `message`, which most methods write in hex and `broadcasthex` as it is.
pub fn message(text: &str) -> String {
    let bytes = hex::decode(text).unwrap_or_default();
    match String::from_utf8(bytes) {
        Ok(decoded) if !decoded.is_empty() => clip(&decoded),
        _ => clip(text),
    }
}

fn clip_bytes(body: &[u8]) -> String {
    clip(&String::from_utf8_lossy(body.get(..4 * MAX_MESSAGE_CHARS).unwrap_or(body)))
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
