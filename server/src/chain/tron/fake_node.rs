//! A TRON node that answers whatever a test wants, by method: for what a working one cannot be made
//! to do. Not here: a working one (`server/tests/support/tron_node`), HTTP itself.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::NodeSettings;
use crate::chain::bitcoin::fake_node::{self, http};
use crate::domain::time::Micros;
use crate::env::{Clock, Entropy, Env};

/// A token's address on the chain of the captures.
pub const TOKEN: &str = "TLJ1qn27gNgJjFHynPhXxiJLzLg6w7Emu5";

/// Serves until dropped.
pub struct FakeNode {
    pub settings: NodeSettings,
    _serving: fake_node::FakeNode,
}

impl FakeNode {
    /// Answers `(status, body)` for a path (`wallet/getblock`), a body and the request's head.
    pub async fn saying(
        answer: impl Fn(&str, &Value, &str) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let serving = fake_node::FakeNode::raw(move |request| {
            let path = request.head.split_whitespace().nth(1).unwrap().trim_start_matches('/');
            let (status, body) = answer(path, &request.body, &request.head);
            http(status, &body)
        })
        .await;
        let url = serving.settings.url.clone();
        let settings = NodeSettings {
            solidity_url: url.clone(),
            url,
            api_key: None,
            contract: TOKEN.to_owned(),
            requests_per_second: 0,
            timeout: Duration::from_secs(5),
        };
        Self { settings, _serving: serving }
    }

    /// Answers 200 with fixed bodies by path; `{}` for all other paths.
    pub async fn answering(answers: &[(&str, String)]) -> Self {
        let answers: HashMap<String, String> =
            answers.iter().map(|(path, body)| ((*path).to_owned(), body.clone())).collect();
        let answers = Arc::new(answers);
        Self::saying(move |path, _, _| {
            (200, answers.get(path).cloned().unwrap_or_else(|| "{}".to_owned()))
        })
        .await
    }
}

/// The answer of a capture in `tests/fixtures/tron/javatron-4.8.0-live`.
pub fn captured(name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tron/javatron-4.8.0-live");
    let text = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
    let capture: Value = serde_json::from_str(&text).unwrap();
    capture["response"].clone()
}

/// A clock that stands where it is told to.
#[derive(Clone, Default)]
pub struct Moved(Arc<AtomicI64>);

impl Moved {
    /// Moves it to this many seconds.
    pub fn set(&self, seconds: i64) {
        self.0.store(Micros::from_seconds(seconds).0, Ordering::Relaxed);
    }

    /// A world with this clock.
    pub fn env(&self) -> Env {
        struct Zeros;
        impl Entropy for Zeros {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(0x80);
            }
        }
        Env::new(Arc::new(self.clone()), Arc::new(Zeros))
    }
}

#[async_trait]
impl Clock for Moved {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::Relaxed))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
