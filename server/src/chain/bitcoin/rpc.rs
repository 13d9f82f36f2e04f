//! JSON-RPC to one node over HTTP: authentication, limits, and what each failure means. Answers of
//! any status are read as JSON-RPC first, since nodes send their errors with 4xx and 5xx.
//! Not here: which methods are called and why; retries (the workers').

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{StatusCode, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chain::ChainError;
use crate::chain::answer::{MAX_MESSAGE_CHARS, clip, read_body, unreachable_node};
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;

/// Time for one request with its answer, unless settings say otherwise.
pub const DEFAULT_TIMEOUT_SECONDS: u64 = 30;
/// Largest answer. A Litecoin block is up to 4 MB and its extension block some 20 MB at worst (its
/// rules limit weight, not bytes), twice that in hex.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
const CONNECT_TIMEOUT_SECONDS: u64 = 5;
/// How long a connection is kept for the next call. Calls come in bursts; a node that is asked to
/// stop waits until idle connections are closed, which it does itself only after 30 s.
const IDLE_CONNECTION_SECONDS: u64 = 1;
const MAX_COOKIE_BYTES: usize = 4096;

/// Error codes of Bitcoin Core's `rpc/protocol.h` that this room tells apart.
pub mod code {
    /// Anything without a code of its own.
    pub const MISC: i64 = -1;
    /// No such block or transaction.
    pub const NOT_FOUND: i64 = -5;
    /// A parameter outside its range, e.g. a height above the tip.
    pub const OUT_OF_RANGE: i64 = -8;
    /// No peers.
    pub const NOT_CONNECTED: i64 = -9;
    /// The initial block download runs.
    pub const INITIAL_DOWNLOAD: i64 = -10;
    /// Bytes that are no transaction.
    pub const DECODE: i64 = -22;
    /// A transaction that misses inputs or costs too much.
    pub const VERIFY: i64 = -25;
    /// A transaction that the node's rules refuse.
    pub const REFUSED: i64 = -26;
    /// A transaction that is in the chain already.
    pub const IN_CHAIN: i64 = -27;
    /// The node is starting.
    pub const STARTING: i64 = -28;
    /// No such method.
    pub const NO_METHOD: i64 = -32_601;
}

/// Where a node is and how to log in.
#[derive(Debug, Clone)]
pub struct RpcSettings {
    /// `http://host:port/` (or https), without credentials.
    pub url: String,
    /// How to log in.
    pub auth: RpcAuth,
    /// Time for one request with its answer.
    pub timeout: Duration,
}

/// How to log in to a node.
#[derive(Clone)]
pub enum RpcAuth {
    /// The node (or a proxy before it) asks for nothing.
    None,
    /// `rpcuser`/`rpcpassword` or `rpcauth`.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// The file the node writes at each start; read anew when the node refuses what it said.
    CookieFile(PathBuf),
    /// A service's key, which is the last part of its URL's path.
    PathKey(String),
}

/// How a request names the protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `1.0`, as Bitcoin-like nodes of every version understand it.
    V1,
    /// `2.0`, without which EVM nodes refuse.
    V2,
}

impl std::fmt::Debug for RpcAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => write!(f, "Password({user}, redacted)"),
            Self::CookieFile(path) => write!(f, "CookieFile({})", path.display()),
            Self::PathKey(_) => f.write_str("PathKey(redacted)"),
        }
    }
}

/// Settings no node can be reached with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// There is no Bitcoin-like node of this network and chain.
    #[error("{0} on {1:?} has no Bitcoin-like node")]
    NotBitcoinLike(Network, ChainKind),
    /// The URL cannot be used.
    #[error("node URL: {0}")]
    Url(&'static str),
    /// The HTTP client cannot be made.
    #[error("HTTP client: {0}")]
    Http(String),
}

/// An error that the node itself answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("node error {code}: {message}")]
pub struct NodeError {
    /// See [`code`].
    pub code: i64,
    /// The node's words.
    #[serde(default)]
    pub message: String,
}

impl From<NodeError> for ChainError {
    fn from(error: NodeError) -> Self {
        let pruned = error.message.contains("pruned");
        let text = error.to_string();
        match error.code {
            code::NO_METHOD => Self::Unsupported(text),
            code::MISC if pruned => Self::Unsupported(text),
            // "Block not found on disk" and the like: the node is behind what it just told us.
            code::MISC
            | code::NOT_FOUND
            | code::NOT_CONNECTED
            | code::INITIAL_DOWNLOAD
            | code::STARTING => Self::Transient(text),
            _ => Self::Invalid(text),
        }
    }
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The node said no.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// There is no usable answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl From<CallError> for ChainError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Node(error) => error.into(),
            CallError::Chain(error) => error,
        }
    }
}

/// A client of one node; clones share connections.
#[derive(Clone)]
pub struct Rpc(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    url: Url,
    dialect: Dialect,
    auth: RpcAuth,
    cookie: Mutex<Option<Credentials>>,
    next_id: AtomicU64,
}

#[derive(Clone, PartialEq)]
struct Credentials {
    user: String,
    password: String,
}

impl Rpc {
    /// A client; nothing is sent yet. A rustls provider must be installed in the process.
    ///
    /// # Errors
    /// [`SetupError`] when the URL or the process's TLS set-up cannot be used.
    pub fn new(settings: &RpcSettings) -> Result<Self, SetupError> {
        Self::speaking(Dialect::V1, settings)
    }

    /// The same in another dialect.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn speaking(dialect: Dialect, settings: &RpcSettings) -> Result<Self, SetupError> {
        let mut url = Url::parse(&settings.url).map_err(|_| SetupError::Url("not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(SetupError::Url("neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SetupError::Url("credentials do not belong into it"));
        }
        if let RpcAuth::PathKey(key) = &settings.auth
            && let Ok(mut path) = url.path_segments_mut()
        {
            path.pop_if_empty().push(key);
        }
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
        let auth = settings.auth.clone();
        let inner = Inner { http, url, dialect, auth, cookie: Mutex::default(), next_id: 1.into() };
        Ok(Self(Arc::new(inner)))
    }

    /// One call with positional parameters (`params` must be a JSON array).
    ///
    /// # Errors
    /// [`CallError::Node`] with the node's own error, [`CallError::Chain`] without usable answer.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, CallError> {
        let id = self.next_id(1);
        let (status, body) = self.send(self.request(id, method, &params).to_string()).await?;
        let reply: Reply<'_> =
            serde_json::from_slice(&body).map_err(|_| not_json_rpc(status, &body))?;
        Ok(reply.result(&[id])?.1?)
    }

    /// The same method with each of `params`, in one request; results in the order of `params`.
    ///
    /// # Errors
    /// [`CallError::Node`] where the node refused all of it, [`CallError::Chain`] without usable answer; the
    /// node's errors about single ones are in the list.
    pub async fn batch<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &[Value],
    ) -> Result<Vec<Result<T, NodeError>>, CallError> {
        let first = self.next_id(params.len());
        let ids: Vec<u64> = (first..).take(params.len()).collect();
        let calls = ids.iter().zip(params).map(|(id, params)| self.request(*id, method, params));
        let (status, body) = self.send(Value::Array(calls.collect()).to_string()).await?;
        let Ok(replies) = serde_json::from_slice::<Vec<Reply<'_>>>(&body) else {
            // A node that is starting answers a batch with one error.
            let reply: Reply<'_> =
                serde_json::from_slice(&body).map_err(|_| not_json_rpc(status, &body))?;
            return Err(match reply.error {
                Some(error) => CallError::Node(error.clipped()),
                None => ChainError::Invalid("one answer to a batch".to_owned()).into(),
            });
        };
        let mut results: Vec<Option<Result<T, NodeError>>> = ids.iter().map(|_| None).collect();
        for reply in replies {
            let (id, result) = reply.result(&ids)?;
            let place = id.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            if let Some(slot) = place.and_then(|at| results.get_mut(at)) {
                *slot = Some(result);
            }
        }
        let complete: Option<Vec<_>> = results.into_iter().collect();
        Ok(complete.ok_or_else(|| ChainError::Invalid("a batch lacks an answer".to_owned()))?)
    }

    fn request(&self, id: u64, method: &str, params: &Value) -> Value {
        let version = match self.0.dialect {
            Dialect::V1 => "1.0",
            Dialect::V2 => "2.0",
        };
        serde_json::json!({ "jsonrpc": version, "id": id, "method": method, "params": params })
    }

    fn next_id(&self, count: usize) -> u64 {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.0.next_id.fetch_add(count, Ordering::Relaxed)
    }

    /// Sends one body, again with a fresh cookie if the node refuses the one it had.
    async fn send(&self, body: String) -> Result<(StatusCode, Vec<u8>), ChainError> {
        let mut credentials = self.credentials(None).await?;
        let mut response = self.post(body.clone(), credentials.as_ref()).await?;
        let is_cookie = matches!(self.0.auth, RpcAuth::CookieFile(_));
        if response.status() == StatusCode::UNAUTHORIZED && is_cookie {
            let fresh = self.credentials(credentials.as_ref()).await?;
            if fresh == credentials {
                // The node writes its cookie before it listens, yet may just have restarted.
                return Err(ChainError::Transient("node refuses its cookie".to_owned()));
            }
            credentials = fresh;
            response = self.post(body, credentials.as_ref()).await?;
        }
        match response.status() {
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(ChainError::Unsupported(format!("node refuses our login (HTTP {status})")))
            }
            status if status.is_redirection() => {
                Err(ChainError::Invalid(format!("node redirects (HTTP {status})")))
            }
            status => Ok((status, read_body(response, MAX_ANSWER_BYTES).await?)),
        }
    }

    async fn post(
        &self,
        body: String,
        credentials: Option<&Credentials>,
    ) -> Result<reqwest::Response, ChainError> {
        let mut request = self.0.http.post(self.0.url.clone());
        if let Some(Credentials { user, password }) = credentials {
            request = request.basic_auth(user, Some(password));
        }
        let request = request.header("content-type", "application/json").body(body);
        request.send().await.map_err(unreachable_node)
    }

    /// What to log in with; a cookie that is `refused` is read anew.
    async fn credentials(
        &self,
        refused: Option<&Credentials>,
    ) -> Result<Option<Credentials>, ChainError> {
        let path = match &self.0.auth {
            RpcAuth::None | RpcAuth::PathKey(_) => return Ok(None),
            RpcAuth::Password { user, password } => {
                return Ok(Some(Credentials { user: user.clone(), password: password.clone() }));
            }
            RpcAuth::CookieFile(path) => path,
        };
        let known = self.0.cookie.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() && known.as_ref() != refused {
            return Ok(known);
        }
        let unreadable = |why: &str| ChainError::Transient(format!("cookie file: {why}"));
        let text = tokio::fs::read_to_string(path).await.map_err(|e| unreadable(&e.to_string()))?;
        let (user, password) = text
            .trim_end()
            .split_once(':')
            .filter(|_| text.len() <= MAX_COOKIE_BYTES)
            .ok_or_else(|| unreadable("not `user:password`"))?;
        let cookie = Credentials { user: user.to_owned(), password: password.to_owned() };
        *self.0.cookie.lock().unwrap_or_else(PoisonError::into_inner) = Some(cookie.clone());
        Ok(Some(cookie))
    }
}

/// One answer; `error` is null or absent when `result` counts.
#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<NodeError>,
}

impl Reply<'_> {
    /// The id, which must be one of `ids`, with what was answered to it.
    fn result<T: DeserializeOwned>(
        self,
        ids: &[u64],
    ) -> Result<(u64, Result<T, NodeError>), ChainError> {
        let id = match (self.id, self.error.as_ref()) {
            (Some(id), _) if ids.contains(&id) => id,
            // JSON-RPC gives no id to an error found before the id was read.
            (None, Some(error)) => return Err(error.clone().clipped().into()),
            _ => return Err(ChainError::Invalid("an answer to another question".to_owned())),
        };
        if let Some(error) = self.error {
            return Ok((id, Err(error.clipped())));
        }
        let result = self.result.map_or("null", RawValue::get);
        let value = serde_json::from_str(result)
            .map_err(|_| ChainError::Invalid(format!("unexpected result {}", clip(result))))?;
        Ok((id, Ok(value)))
    }
}

impl NodeError {
    fn clipped(self) -> Self {
        Self { code: self.code, message: clip(&self.message) }
    }
}

/// Something other than the node's RPC spoke: a proxy, a load balancer, a full work queue. Such
/// things pass.
fn not_json_rpc(status: StatusCode, body: &[u8]) -> ChainError {
    let text = String::from_utf8_lossy(body.get(..MAX_MESSAGE_CHARS).unwrap_or(body));
    ChainError::Transient(format!("no JSON-RPC answer (HTTP {status}): {}", clip(&text)))
}

#[cfg(test)]
#[path = "rpc_tests.rs"]
mod tests;
