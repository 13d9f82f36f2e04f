//! Delivers one webhook: an HTTP POST to an address a merchant chose, which is to say an attacker
//! may have chosen. Both gates stand before every connection; redirects, proxies and decompression
//! are off; time and bytes are limited. Not here: what is sent and when it is sent again.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use reqwest::{Client, ClientBuilder, Response, Url, redirect, retry};
use serde::Deserialize;
use tokio::time::timeout;

use super::resolver::{BlockedAddress, GuardedResolver, Lookup, SystemLookup};
use super::schedule::is_delivered;
use super::target::{TargetPolicy, check_url};
use crate::env::Env;

/// What receivers see in `user-agent`.
const AGENT: &str = concat!("CryptoPayment/", env!("CARGO_PKG_VERSION"));

/// What one delivery may take.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookLimits {
    /// From the look-up of the name to the last byte of the answer's body.
    pub total_seconds_max: u64,
    /// Of it, for the connection.
    pub connect_seconds_max: u64,
    /// Bytes of body that are read; then the connection is closed.
    pub response_bytes_max: usize,
    /// Bytes of body that are kept for the merchant to see.
    pub sample_bytes_max: usize,
    /// Headers an answer may have.
    pub response_headers_max: usize,
    /// Headers of an answer that are kept for the merchant to see.
    pub sample_headers_max: usize,
    /// Bytes of their names and values that are kept.
    pub sample_header_bytes_max: usize,
    /// Open connections kept for the next delivery to the same host.
    pub idle_connections_per_host_max: usize,
    /// How long they are kept.
    pub idle_seconds_max: u64,
}

impl Default for WebhookLimits {
    fn default() -> Self {
        Self {
            total_seconds_max: 15,
            connect_seconds_max: 5,
            response_bytes_max: 65_536,
            sample_bytes_max: 16_384,
            response_headers_max: 100,
            sample_headers_max: 64,
            sample_header_bytes_max: 8_192,
            idle_connections_per_host_max: 64,
            idle_seconds_max: 10,
        }
    }
}

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `main` installs a rustls provider first; without one the HTTP library panics.
    #[error("no TLS provider is installed")]
    NoTlsProvider,
    /// The TLS side cannot be set up, most often because the system has no CA certificates (Debian:
    /// package `ca-certificates`).
    #[error("cannot set up the webhook client: {0}")]
    Setup(#[source] reqwest::Error),
}

/// Why a delivery did not go its whole way; the short name is what the delivery log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryError {
    /// The URL, or an address its name resolves to, is not allowed. Nothing was sent.
    BlockedTarget,
    /// The name does not resolve.
    Dns,
    /// No connection.
    Connect,
    /// No TLS session: certificate, name or protocol.
    Tls,
    /// The total time is over. With a status, the answer's body was still coming.
    Timeout,
    /// The answer is a redirect, which is not followed.
    Redirect,
    /// The answer's body is longer than is read.
    TooLarge,
    /// The connection broke, or the answer is not HTTP.
    Protocol,
    /// The request could not be signed: its key does not open. Nothing was sent.
    Signing,
}

impl DeliveryError {
    /// The name in logs and in the delivery log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlockedTarget => "blocked_target",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Redirect => "redirect",
            Self::TooLarge => "too_large",
            Self::Protocol => "protocol",
            Self::Signing => "signing",
        }
    }

    /// The same for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::BlockedTarget => "the target is not allowed",
            Self::Dns => "the name does not resolve",
            Self::Connect => "could not connect",
            Self::Tls => "could not agree on TLS",
            Self::Timeout => "no whole answer in time",
            Self::Redirect => "a redirect, which is not followed",
            Self::TooLarge => "the answer is too long",
            Self::Protocol => "the connection broke, or the answer is no HTTP",
            Self::Signing => "could not be signed",
        }
    }
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The HTTP status, if an answer's head arrived.
    pub status: Option<u16>,
    /// What went wrong, if anything did. It may stand beside a 2xx status when only the body of the
    /// answer was too long or too slow.
    pub error: Option<DeliveryError>,
    /// Time the attempt took, milliseconds, by the system's clock.
    pub duration_ms: u64,
    /// The request's headers as they were sent, or were to be sent if there was no connection; names
    /// in lower case.
    pub request_headers: Vec<(String, String)>,
    /// The answer's headers, the first of them.
    pub response_headers: Vec<(String, String)>,
    /// The beginning of the answer's body as text; what is no UTF-8, and U+0000, is replaced.
    pub response_sample: String,
    /// Whether the body was longer than that.
    pub is_response_cut: bool,
}

impl Outcome {
    /// Whether the receiver has the event: any 2xx status. A body that is too long or too slow does
    /// not undo it, sending again would only repeat what was accepted.
    pub fn is_delivered(&self) -> bool {
        self.status.is_some_and(is_delivered)
    }
}

/// The client of all deliveries; cheap to clone.
#[derive(Clone)]
pub struct WebhookClient {
    http: Client,
    policy: TargetPolicy,
    limits: WebhookLimits,
    env: Env,
}

impl WebhookClient {
    /// A client that resolves names with the operating system and trusts its CA certificates.
    ///
    /// # Errors
    /// See [`ClientError`]. Where `http:` is allowed (sandbox), missing CA certificates are only
    /// logged: `https:` deliveries then fail as `tls`.
    pub fn new(policy: TargetPolicy, limits: WebhookLimits, env: Env) -> Result<Self, ClientError> {
        Self::with_lookup(policy, limits, env, Arc::new(SystemLookup::default()), Vec::new())
    }

    /// A client with a resolver of the caller's, and with CA certificates beside the system's.
    ///
    /// # Errors
    /// As [`WebhookClient::new`].
    pub fn with_lookup(
        policy: TargetPolicy,
        limits: WebhookLimits,
        env: Env,
        lookup: Arc<dyn Lookup>,
        extra_roots: Vec<reqwest::Certificate>,
    ) -> Result<Self, ClientError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ClientError::NoTlsProvider);
        }
        let resolver = Arc::new(GuardedResolver { lookup, policy: policy.clone() });
        let builder = || builder(&policy, &limits, Arc::clone(&resolver));
        let http = match builder().tls_certs_merge(extra_roots).build() {
            Err(error) if policy.allow_http => {
                tracing::warn!(%error, "no CA certificates: https webhooks will fail");
                builder().tls_certs_only([]).build()
            }
            built => built,
        };
        Ok(Self { http: http.map_err(ClientError::Setup)?, policy, limits, env })
    }

    /// Posts `body` to `url` and waits for the answer, at most `total_seconds_max`. `headers` go
    /// beside those that every request has, which they cannot replace. Never
    /// fails: whatever goes wrong is an outcome.
    pub async fn post(&self, url: &str, headers: HeaderMap, body: Bytes) -> Outcome {
        let started = self.env.system_now();
        let deadline = Duration::from_secs(self.limits.total_seconds_max);
        let mut answer = Answer::default();
        let result = timeout(deadline, self.exchange(url, headers, body, &mut answer)).await;
        let duration = self.env.system_now().since(started);
        let (response_sample, is_text_cut) = readable(&answer.sample, self.limits.sample_bytes_max);
        Outcome {
            status: answer.status,
            error: result.unwrap_or(Err(DeliveryError::Timeout)).err(),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            request_headers: answer.request_headers,
            response_headers: answer.headers,
            response_sample,
            is_response_cut: answer.is_cut || is_text_cut,
        }
    }

    /// The exchange itself; `answer` keeps what has arrived also when the time is over.
    async fn exchange(
        &self,
        url: &str,
        mut headers: HeaderMap,
        body: Bytes,
        answer: &mut Answer,
    ) -> Result<(), DeliveryError> {
        let url = check_url(&self.policy, url).map_err(|reason| {
            tracing::warn!(%reason, "webhook target blocked");
            DeliveryError::BlockedTarget
        })?;
        complete(&mut headers, &url, body.len())?;
        answer.request_headers = listed(&headers, usize::MAX, usize::MAX);
        let request = self.http.post(url).headers(headers).body(body);
        let response = request.send().await.map_err(|error| classify(&error))?;
        answer.status = Some(response.status().as_u16());
        let (count, bytes) = (self.limits.sample_headers_max, self.limits.sample_header_bytes_max);
        answer.headers = listed(response.headers(), count, bytes);
        let redirected = response.status().is_redirection();
        let read = self.read_body(response, answer).await;
        if redirected { Err(DeliveryError::Redirect) } else { read }
    }

    /// Reads the body to its end or to the limit; closes the connection at the limit.
    async fn read_body(
        &self,
        mut response: Response,
        answer: &mut Answer,
    ) -> Result<(), DeliveryError> {
        let mut read = 0;
        while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
            read += chunk.len();
            let room = self.limits.sample_bytes_max.saturating_sub(answer.sample.len());
            answer.is_cut |= chunk.len() > room;
            answer.sample.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if read > self.limits.response_bytes_max {
                return Err(DeliveryError::TooLarge);
            }
        }
        Ok(())
    }
}

/// What has arrived of an answer so far.
#[derive(Default)]
struct Answer {
    request_headers: Vec<(String, String)>,
    status: Option<u16>,
    headers: Vec<(String, String)>,
    sample: Vec<u8>,
    is_cut: bool,
}

/// Sets what every request has, and what the HTTP library would add by itself: the log can then say
/// what was sent.
fn complete(headers: &mut HeaderMap, url: &Url, length: usize) -> Result<(), DeliveryError> {
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let host = HeaderValue::try_from(host).map_err(|_| DeliveryError::BlockedTarget)?;
    headers.insert(HOST, host);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    Ok(())
}

/// Headers as text, at most `count_max` of them and `bytes_max` bytes.
fn listed(headers: &HeaderMap, count_max: usize, bytes_max: usize) -> Vec<(String, String)> {
    let mut room = bytes_max;
    let texts = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).replace('\0', "\u{fffd}");
        (name.as_str().to_owned(), value)
    });
    let fits = |(name, value): &(String, String)| {
        let fits = name.len() + value.len() <= room;
        room = room.saturating_sub(name.len() + value.len());
        fits
    };
    texts.take(count_max).take_while(fits).collect()
}

/// The settings of the HTTP library that make it a client for hostile servers. The times of the
/// exchange as a whole are kept in [`WebhookClient::post`], so that a status that has arrived is
/// not lost with the body.
fn builder(
    policy: &TargetPolicy,
    limits: &WebhookLimits,
    resolver: Arc<GuardedResolver>,
) -> ClientBuilder {
    Client::builder()
        .dns_resolver(resolver)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .referer(false)
        .http1_only()
        .http1_max_headers(limits.response_headers_max)
        .https_only(!policy.allow_http)
        .connect_timeout(Duration::from_secs(limits.connect_seconds_max))
        .pool_max_idle_per_host(limits.idle_connections_per_host_max)
        .pool_idle_timeout(Duration::from_secs(limits.idle_seconds_max))
}

/// The short class of an error of the HTTP library, by the causes it carries.
fn classify(error: &reqwest::Error) -> DeliveryError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.is::<BlockedAddress>() {
            return DeliveryError::BlockedTarget;
        }
        if current.is::<rustls::Error>() {
            return DeliveryError::Tls;
        }
        // An I/O error's `source` passes over the error it wraps, so that is asked for first.
        let wrapped = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => current.source(),
        };
    }
    if error.is_timeout() {
        DeliveryError::Timeout
    } else if error.is_dns() {
        DeliveryError::Dns
    } else if error.is_connect() {
        DeliveryError::Connect
    } else {
        DeliveryError::Protocol
    }
}

/// Bytes from outside as text that a database and a page can hold, at most `bytes_max` long, and
/// whether it was cut to that.
fn readable(bytes: &[u8], bytes_max: usize) -> (String, bool) {
    let mut text = String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}");
    let is_cut = text.len() > bytes_max;
    text.truncate(text.floor_char_boundary(bytes_max));
    (text, is_cut)
}
