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
mod places;
pub mod pool;
pub mod prune;
pub mod reconcile;
pub mod scan;
pub mod scenarios;
pub mod watch_set;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::anyhow;
use futures_util::FutureExt as _;
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

/// Seconds after which a step is given up: an answer of the database was lost, or a node drips. What was
/// not committed is as if it had not begun.
const STEP_SECONDS_MAX: u64 = 600;

/// Runs `step` until told to stop: at once while there is more, else after a signal or `interval`.
/// An error, a panic or a step without an end is logged and tried again at the next tick.
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
            outcome = bounded(&mut step) => outcome,
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

/// One step, whatever becomes of it.
async fn bounded<F, Fut>(step: &mut F) -> anyhow::Result<Step>
where
    F: FnMut() -> Fut + Send,
    Fut: Future<Output = anyhow::Result<Step>> + Send,
{
    let step = AssertUnwindSafe(async { step().await }).catch_unwind();
    match tokio::time::timeout(Duration::from_secs(STEP_SECONDS_MAX), step).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(anyhow!("the step panicked")),
        Err(_) => Err(anyhow!("the step did not end within {STEP_SECONDS_MAX} s")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_step_that_panics_is_begun_again() {
        let (env, wake, stop) = (Env::system(), Notify::new(), CancellationToken::new());
        let begun = AtomicU32::new(0);
        let step = || async {
            if begun.fetch_add(1, Ordering::SeqCst) == 0 {
                panic!("of the test");
            }
            stop.cancel();
            Ok(Step::Idle)
        };
        reconcile("test", &env, Duration::from_millis(1), &wake, &stop, step).await;
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }
}
