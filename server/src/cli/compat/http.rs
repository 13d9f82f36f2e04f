//! The documented clients as they are on the wire: PHP's curl, Node's fetch, Python's requests; each
//! sends its own headers and writes its own JSON. Not here: what the answers must be.

use std::time::Duration;

use anyhow::Context as _;
use http::Method;
use reqwest::{Client, redirect};

use super::json::Raw;

/// How long an answer may take.
const ANSWER_SECONDS_MAX: u64 = 30;
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// PHP with curl: no User-Agent.
    Php,
    /// Node's fetch: `sec-fetch-mode: cors` without Origin.
    Node,
    /// Python's requests.
    Python,
}

impl Speaker {
    /// Headers beside the documented two. None of them asks for compression: bodies are compared as
    /// they are.
    const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Php => &[("accept", "*/*")],
            Self::Node => &[
                ("accept", "*/*"),
                ("accept-language", "*"),
                ("sec-fetch-mode", "cors"),
                ("user-agent", "node"),
            ],
            Self::Python => &[
                ("accept", "*/*"),
                ("connection", "keep-alive"),
                ("user-agent", "python-requests/2.32.3"),
            ],
        }
    }

    /// The body of an invoice over one dollar as its JSON writer writes it.
    pub fn invoice(self, network: &str, order_id: &str) -> String {
        match self {
            Self::Php | Self::Node => {
                format!(r#"{{"network":"{network}","amount_usd":1,"order_id":"{order_id}"}}"#)
            }
            Self::Python => {
                format!(
                    r#"{{"network": "{network}", "amount_usd": 1.0, "order_id": "{order_id}"}}"#
                )
            }
        }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its `content-type`; empty without one.
    pub content_type: String,
    /// Its body.
    pub body: String,
    /// The body as JSON; `null` if it is none.
    pub json: Raw,
}

/// A caller of one deployment.
pub struct Caller {
    http: Client,
    /// Where it is, without a slash at the end.
    pub base: String,
    authorization: String,
}

/// A call.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Who makes it.
    pub speaker: Speaker,
    /// GET, POST, ...
    pub method: &'a Method,
    /// Path and query.
    pub path: &'a str,
    /// The body with its type.
    pub body: Option<(&'a str, &'a str)>,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// Another `authorization` than the key's; an empty one sends none.
    pub authorization: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// A GET as PHP makes it.
    pub fn get(path: &'a str) -> Self {
        Self {
            speaker: Speaker::Php,
            method: &Method::GET,
            path,
            body: None,
            headers: &[],
            authorization: None,
        }
    }

    /// A POST of JSON as PHP makes it.
    pub fn post(path: &'a str, body: &'a str) -> Self {
        Self { method: &Method::POST, body: Some(("application/json", body)), ..Self::get(path) }
    }
}

impl Caller {
    /// A caller with a key.
    ///
    /// # Errors
    /// When the HTTP client can not be made.
    pub fn new(url: &str, key: &str, secret: &str) -> anyhow::Result<Self> {
        let http = Client::builder()
            .timeout(Duration::from_secs(ANSWER_SECONDS_MAX))
            .redirect(redirect::Policy::none())
            .http1_only()
            .build()
            .context("the HTTP client")?;
        let base = url.trim_end_matches('/').to_owned();
        Ok(Self { http, base, authorization: format!("Bearer {key}:{secret}") })
    }

    /// Makes a call.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn call(&self, call: Call<'_>) -> anyhow::Result<Answer> {
        let url = format!("{}{}", self.base, call.path);
        let mut request = self.http.request(call.method.clone(), &url);
        let authorization = call.authorization.unwrap_or(&self.authorization);
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        if let Some((content_type, body)) = call.body {
            request = request.header("content-type", content_type).body(body.to_owned());
        }
        for (name, value) in call.speaker.headers().iter().chain(call.headers) {
            request = request.header(*name, *value);
        }
        let mut response =
            request.send().await.with_context(|| format!("{url} does not answer"))?;
        let content_type = response.headers().get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (status, content_type) = (response.status().as_u16(), content_type.to_owned());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.context("the answer broke off")? {
            body.extend_from_slice(&chunk);
            anyhow::ensure!(body.len() <= ANSWER_BYTES_MAX, "{url} answers too much");
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        let json = Raw::parse(&body).unwrap_or(Raw::Token("no JSON".to_owned()));
        Ok(Answer { status, content_type, body, json })
    }
}
