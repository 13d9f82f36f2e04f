//! How often credentials may be wrong: a token bucket for each API key and one for each peer address, in
//! the memory of this process. Not here: which credentials are wrong (`auth`).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use crate::domain::time::Micros;

/// Buckets kept of each kind. When all are taken, those that are full again are dropped, and all if there
/// are none: whoever calls from more addresses than this is not stopped by counting addresses.
const BUCKETS_MAX: usize = 10_000;
/// Look-ups under way at once for addresses whose bucket is empty: guesses leave the database to others.
const LOOKUPS_MAX: usize = 4;
/// Time in which an empty bucket is full again.
const REFILL_SECONDS: u64 = 60;

/// Counts what failed.
///
/// A right secret always passes, whatever was counted: who knows the public part of a key, or shares a
/// proxy's address with its merchant, can not lock the merchant out. What an empty bucket changes is the
/// answer to the next wrong secret, and how many look-ups its address has under way. Guessing is hopeless
/// by the secrets' 256 bits, not by this.
pub struct FailedAuthentications {
    keys: Buckets<Uuid>,
    addresses: Buckets<IpAddr>,
    lookups: Semaphore,
}

impl FailedAuthentications {
    /// Buckets of `per_minute_max` failures.
    pub fn new(per_minute_max: u32) -> Self {
        Self {
            keys: Buckets::new(per_minute_max),
            addresses: Buckets::new(per_minute_max),
            lookups: Semaphore::new(LOOKUPS_MAX),
        }
    }

    /// A place to look a key up in. It is waited for, and is a place at all, only when `address` failed too
    /// often; they are given in the order in which they were asked for.
    pub async fn place(&self, address: Option<IpAddr>, now: Micros) -> Option<SemaphorePermit<'_>> {
        if address.is_some_and(|address| self.addresses.is_empty(address, now)) {
            self.lookups.acquire().await.ok()
        } else {
            None
        }
    }

    /// Counts a failure of a key that exists, if one was named, and of an address. `Some` when one of them
    /// failed too often: how long it must rest until it has not.
    pub fn count(
        &self,
        key: Option<Uuid>,
        address: Option<IpAddr>,
        now: Micros,
    ) -> Option<Duration> {
        let of_key = key.and_then(|key| self.keys.take(key, now));
        let of_address = address.and_then(|address| self.addresses.take(address, now));
        of_key.max(of_address)
    }
}

/// Token buckets by what they belong to; those that are not here are full.
struct Buckets<K> {
    /// Time in which one token comes back.
    token: Duration,
    /// When each bucket is full again.
    full_at: Mutex<HashMap<K, Micros>>,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(tokens: u32) -> Self {
        let token = Duration::from_secs(REFILL_SECONDS) / tokens.max(1);
        Self { token, full_at: Mutex::default() }
    }

    /// Takes a token; when there is none, says how long it takes until there is.
    fn take(&self, key: K, now: Micros) -> Option<Duration> {
        let mut full_at = self.lock();
        if full_at.len() >= BUCKETS_MAX && !full_at.contains_key(&key) {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= BUCKETS_MAX {
                full_at.clear();
            }
        }
        let at = full_at.entry(key).or_insert(now);
        // A clock that was set back leaves no bucket empty for longer than it takes to fill.
        *at = (*at).clamp(now, now.plus(Duration::from_secs(REFILL_SECONDS)));
        let missing = self.missing(*at, now);
        if missing > Duration::ZERO {
            return Some(missing);
        }
        *at = at.plus(self.token);
        None
    }

    fn is_empty(&self, key: K, now: Micros) -> bool {
        self.lock().get(&key).is_some_and(|at| self.missing(*at, now) > Duration::ZERO)
    }

    /// How long a bucket that is full at `at` takes until it has a token.
    fn missing(&self, at: Micros, now: Micros) -> Duration {
        at.plus(self.token).since(now.plus(Duration::from_secs(REFILL_SECONDS)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, Micros>> {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt as _;

    use super::*;

    const START: Micros = Micros(1_700_000_000_000_000);

    fn after(seconds: u64) -> Micros {
        START.plus(Duration::from_secs(seconds))
    }

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([198, 51, 100, last]))
    }

    #[test]
    fn a_bucket_empties_and_fills_evenly() {
        let failed = FailedAuthentications::new(3);
        for _ in 0..3 {
            assert_eq!(failed.count(None, address(1), START), None);
        }
        assert_eq!(failed.count(None, address(1), START), Some(Duration::from_secs(20)));
        assert_eq!(failed.count(None, address(1), after(5)), Some(Duration::from_secs(15)));
        assert_eq!(failed.count(None, address(2), after(5)), None, "another address has its own");
        assert_eq!(failed.count(None, address(1), after(20)), None, "one token came back");
        assert!(failed.count(None, address(1), after(20)).is_some(), "and no second one");
        for _ in 0..3 {
            assert_eq!(failed.count(None, address(1), after(600)), None, "never more than three");
        }
        assert!(failed.count(None, address(1), after(600)).is_some());
        // The clock is set back.
        assert!(failed.count(None, address(1), START).unwrap() <= Duration::from_secs(60));
        assert_eq!(failed.count(None, address(1), after(60)), None);
    }

    #[test]
    fn a_key_is_counted_over_all_addresses() {
        let failed = FailedAuthentications::new(3);
        let key = Some(Uuid::from_u128(1));
        for last in 0..3 {
            assert_eq!(failed.count(key, address(last), START), None);
        }
        assert!(failed.count(key, address(9), START).is_some());
        assert_eq!(failed.count(Some(Uuid::from_u128(2)), address(10), START), None);
    }

    #[test]
    fn only_addresses_that_failed_too_often_wait_for_a_place() {
        let failed = FailedAuthentications::new(1);
        failed.count(None, address(1), START);
        let place = |last| failed.place(address(last), START).now_or_never();
        let held: Vec<_> = (0..LOOKUPS_MAX).map(|_| place(1).unwrap().unwrap()).collect();
        assert!(place(1).is_none(), "it waits");
        assert!(place(2).unwrap().is_none(), "others need none");
        drop(held);
        assert!(place(1).unwrap().is_some());
    }

    #[test]
    fn no_more_buckets_are_kept_than_may() {
        let buckets = Buckets::new(1);
        for n in 0..BUCKETS_MAX {
            buckets.take(n, START);
        }
        buckets.take(BUCKETS_MAX, after(61));
        assert_eq!(buckets.lock().len(), 1, "full ones are not kept");
        for n in 0..3 * BUCKETS_MAX {
            buckets.take(n, after(61));
            assert!(buckets.lock().len() <= BUCKETS_MAX);
        }
    }
}
