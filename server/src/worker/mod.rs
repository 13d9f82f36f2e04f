//! Reconcilers: loops without input that wake by timer and by in-process signal, read the state, and
//! take one idempotent step. Start-up recovery is the first tick. A lease decides who works; fences,
//! unique keys and conditional updates make a second worker harmless.

pub mod apply;
mod arrivals;
pub mod attempts;
pub mod deliver;
pub mod dispatch;
pub mod endpoints;
pub mod fingerprints;
pub mod pool;
pub mod prune;
pub mod reconcile;
pub mod scan;
pub mod scenarios;
pub mod watch_set;

use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::env::Env;

/// How long a worker's lease lasts without renewal, by the database's clock.
pub const LEASE_SECONDS: i64 = 5;

/// What a step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There may be more to do at once.
    More,
    /// Nothing more for now.
    Idle,
}

/// Runs `step` until told to stop: at once while there is more, else after a signal or `interval`.
/// An error is logged and tried again at the next tick.
pub async fn reconcile<F, Fut>(
    name: &str,
    env: &Env,
    interval: Duration,
    wake: &Notify,
    stop: &CancellationToken,
    mut step: F,
) where
    F: FnMut() -> Fut + Send,
    Fut: Future<Output = anyhow::Result<Step>> + Send,
{
    loop {
        let outcome = tokio::select! {
            outcome = step() => outcome,
            () = stop.cancelled() => return,
        };
        match outcome {
            Ok(Step::More) => continue,
            Ok(Step::Idle) => {}
            Err(error) => {
                tracing::warn!(worker = name, error = format!("{error:#}"), "step failed")
            }
        }
        tokio::select! {
            () = env.sleep(interval) => {}
            () = wake.notified() => {}
            () = stop.cancelled() => return,
        }
    }
}
