//! Everything that the outside world decides: time and randomness. Handed down from `main`, so that
//! a test can decide instead. Only this file reads the system clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use uuid::Uuid;

use crate::domain::time::Micros;

/// A source of wall-clock time and of waiting.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now, by this clock.
    fn now(&self) -> Micros;
    /// Returns after `duration`.
    async fn sleep(&self, duration: Duration);
}

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The outside world, shared by every room.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// How far the business clock is ahead of the system clock, microseconds; zero in live.
    business_offset: Arc<AtomicI64>,
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env")
            .field("business_offset", &self.business_offset)
            .finish_non_exhaustive()
    }
}

impl Env {
    /// The real world.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    /// A world of the caller's making.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, business_offset: Arc::default() }
    }

    /// The business time: what invoices expire by and deliveries are due by. Virtual in the sandbox.
    pub fn now(&self) -> Micros {
        Micros(self.clock.now().0 + self.business_offset.load(Ordering::Acquire))
    }

    /// The system's time, for logs and certificates; no business rule reads it.
    pub fn system_now(&self) -> Micros {
        self.clock.now()
    }

    /// Moves business time to this far ahead; the offset itself lives in the database. It never
    /// goes back, so that a value read earlier can not undo a later one.
    pub fn set_business_offset(&self, micros: i64) {
        self.business_offset.fetch_max(micros, Ordering::AcqRel);
    }

    /// How far business time is ahead, microseconds.
    pub fn business_offset(&self) -> i64 {
        self.business_offset.load(Ordering::Acquire)
    }

    /// Waits, by the system's clock.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    /// Fills an array with unpredictable bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// A UUIDv7 (RFC 9562): milliseconds of the system clock, then 74 random bits. Invoice ids are
    /// public in `/pay/{id}`, so the random bits are what keeps them from being guessed.
    pub fn new_id(&self) -> Uuid {
        let millis = u64::try_from(self.clock.now().0 / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.random()).into_uuid()
    }
}

struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the system clock is read")]
    fn now(&self) -> Micros {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Micros(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness no key, id or secret is safe: stopping is the only honest answer.
        #[expect(
            clippy::expect_used,
            reason = "no operation is safe without the system's randomness"
        )]
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}
