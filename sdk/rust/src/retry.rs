//! Calling again: only calls that change nothing the second time, only on UNAVAILABLE, a bounded
//! number of times, with growing and jittered pauses.

use std::time::Duration;

use crate::Error;

/// Calls made in all.
const ATTEMPTS_MAX: u32 = 4;
/// The first pause; each is twice the one before.
const PAUSE_MILLISECONDS_FIRST: u64 = 100;
/// The longest pause of a stream that tries to resume.
const PAUSE_MILLISECONDS_MAX: u64 = 5_000;

/// Runs a call until it succeeds, fails for good, or was made [`ATTEMPTS_MAX`] times.
pub async fn safely<T, F, Fut>(mut call: F) -> Result<T, Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let mut attempt = 1;
    loop {
        match call().await {
            Err(error) if error.is_transient() && attempt < ATTEMPTS_MAX => {
                tokio::time::sleep(pause(attempt)).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// The pause after the n-th failed attempt, from 1: half of it fixed, half random.
pub fn pause(attempt: u32) -> Duration {
    let doubled = PAUSE_MILLISECONDS_FIRST << attempt.saturating_sub(1).min(6);
    let most = doubled.min(PAUSE_MILLISECONDS_MAX);
    // Random bits of a UUID are random enough for spreading load.
    let random = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
    Duration::from_millis(most / 2 + most * random / 512)
}
