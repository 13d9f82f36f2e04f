//! REST as a legacy integrator speaks it: text in, text out, so that every byte can be compared.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::server::{TestServer, eventually};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A caller.
pub struct Rest {
    http: Client,
    url: String,
    authorization: Option<String>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    /// The body as JSON; for looking at keys and words, never for money.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// `error.code`.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The invoice's id in the answer.
    pub fn invoice_id(&self) -> String {
        self.json()["invoice"]["id"].as_str().unwrap_or_else(|| panic!("{}", self.body)).to_owned()
    }
}

/// The value of a sample of a server whose metrics are on; `None` where it is not told. Asks again while the
/// figures take longer than a scrape may.
pub async fn metric(server: &TestServer, sample: &str) -> Option<u64> {
    let address = server.metrics_address().expect("metrics are on");
    let http = Client::builder().timeout(ANSWER_MAX).no_proxy().build().unwrap();
    let told = eventually("figures at hand", || async {
        let told = answer(http.get(format!("http://{address}/metrics"))).await;
        (told.status == 200).then_some(told)
    })
    .await;
    let line = told.body.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(line.parse().unwrap_or_else(|_| panic!("{sample} {line}")))
}

impl Rest {
    /// Calls as the sandbox's merchant.
    pub fn of(server: &TestServer) -> Self {
        Self::with(server, Some(server.authorization()))
    }

    /// Calls with any `Authorization`, or none.
    pub fn with(server: &TestServer, authorization: Option<String>) -> Self {
        let http = Client::builder().timeout(ANSWER_MAX).no_proxy().build().unwrap();
        Self { http, url: server.url.clone(), authorization }
    }

    /// A request that can still be changed.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        let request = self.request(Method::POST, path).header("content-type", "application/json");
        answer(request.body(body.to_owned())).await
    }
}

/// Sends a request.
pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status: StatusCode = response.status();
    let headers = response.headers().clone();
    Answer { status: status.as_u16(), headers, body: response.text().await.unwrap() }
}
