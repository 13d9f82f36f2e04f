//! The HTTP client of price APIs: GET, with limits on time and bytes, no redirects, no proxy, no
//! decompression. Answers are untrusted. Not here: what is asked and how an answer is read.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Client, redirect, retry};

/// What APIs see in `user-agent`; Coinbase refuses requests without one.
const AGENT: &str = concat!("CryptoPayment/", env!("CARGO_PKG_VERSION"));
/// Characters of a foreign text that are kept.
const TEXT_CHARS_MAX: usize = 200;

/// What one request may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the look-up of the name to the last byte of the answer.
    pub total_seconds_max: u64,
    /// Of it, for the connection.
    pub connect_seconds_max: u64,
    /// Bytes of an answer. Three tickers are below 2,000.
    pub answer_bytes_max: usize,
    /// Headers an answer may have.
    pub answer_headers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total_seconds_max: 10,
            connect_seconds_max: 5,
            answer_bytes_max: 65_536,
            answer_headers_max: 100,
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
    #[error("cannot set up the client of price sources: {0}")]
    Setup(#[source] reqwest::Error),
}

/// Why a request has no answer that could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The time is over.
    #[error("did not answer within {0} seconds")]
    TooSlow(u64),
    /// Any status but 200, with the beginning of the body.
    #[error("answered HTTP {0}: {1}")]
    Status(u16, String),
    /// The answer is longer than is read.
    #[error("answered more than {0} bytes")]
    TooLong(usize),
}

/// A client of price APIs.
pub struct PriceClient {
    http: Client,
    limits: Limits,
}

impl PriceClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn new(https_only: bool, limits: Limits) -> Result<Self, ClientError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ClientError::NoTlsProvider);
        }
        let http = Client::builder()
            .user_agent(AGENT)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .referer(false)
            .http1_only()
            .http1_max_headers(limits.answer_headers_max)
            .https_only(https_only)
            .connect_timeout(Duration::from_secs(limits.connect_seconds_max))
            .timeout(Duration::from_secs(limits.total_seconds_max))
            .build()
            .map_err(ClientError::Setup)?;
        Ok(Self { http, limits })
    }

    /// The body of a 200 answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn get(&self, url: &str) -> Result<Vec<u8>, AskError> {
        let mut response = self.http.get(url).send().await.map_err(|e| self.no_answer(e))?;
        let status = response.status().as_u16();
        let bytes_max = self.limits.answer_bytes_max;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.no_answer(e))? {
            if chunk.len() > bytes_max - body.len() {
                return Err(AskError::TooLong(bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        if status == 200 { Ok(body) } else { Err(AskError::Status(status, clip(&body))) }
    }

    fn no_answer(&self, error: reqwest::Error) -> AskError {
        if error.is_timeout() {
            return AskError::TooSlow(self.limits.total_seconds_max);
        }
        let error = error.without_url();
        let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
        AskError::Unreachable(clip(format!("{error}{cause}").as_bytes()))
    }
}

/// A foreign text as it may go into a log line.
pub fn clip(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(TEXT_CHARS_MAX).map(plain).collect()
}
