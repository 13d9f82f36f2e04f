//! A system clock that a test can move and hold, with sleeps that are short: what waits 20 seconds between
//! two looks looks ten times a second. Everything else is the real world's.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cryptopayment::domain::time::Micros;
use cryptopayment::env::{Clock, Entropy, Env};

/// The longest that anything sleeps.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// The clock.
#[derive(Clone)]
pub struct MovedClock {
    system: Env,
    ahead: Arc<AtomicI64>,
    /// Where it is held, microseconds; 0 while it goes.
    held: Arc<AtomicI64>,
}

impl MovedClock {
    /// A clock that tells the time.
    pub fn new() -> Self {
        Self { system: Env::system(), ahead: Arc::default(), held: Arc::default() }
    }

    /// Moves it forward; back, if negative.
    pub fn advance(&self, seconds: i64) {
        self.ahead.fetch_add(seconds * 1_000_000, Ordering::AcqRel);
    }

    /// Holds it: from here on it goes only as far as it is moved, however slow the machine is.
    pub fn hold(&self) {
        self.held.store(self.system.system_now().0, Ordering::Release);
    }

    /// A world with this clock.
    pub fn env(&self) -> Env {
        Env::new(Arc::new(self.clone()), Arc::new(self.clone()))
    }
}

#[async_trait]
impl Clock for MovedClock {
    fn now(&self) -> Micros {
        let held = self.held.load(Ordering::Acquire);
        let goes_from = if held == 0 { self.system.system_now().0 } else { held };
        Micros(goes_from + self.ahead.load(Ordering::Acquire))
    }

    async fn sleep(&self, duration: Duration) {
        self.system.sleep(duration.min(SLEEP_MAX)).await;
    }
}

impl Entropy for MovedClock {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            chunk.copy_from_slice(&self.system.random::<32>()[..chunk.len()]);
        }
    }
}
