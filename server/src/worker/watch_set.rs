//! The addresses a scanner looks for, held in memory as 64-bit fingerprints. A filter: a hit is
//! resolved in the database, so a collision costs a look-up and never a wrong credit.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use crate::chain::AddressFilter;
use crate::domain::asset::Network;
use crate::store::{Db, Result, addresses};

/// The watched addresses of one network.
#[derive(Default)]
pub struct WatchSet {
    hasher: RandomState,
    fingerprints: HashSet<u64>,
    /// The newest batch that was loaded.
    batch: i64,
}

impl WatchSet {
    /// Loads batches that were added since the last call. Returns the newest batch it holds.
    pub async fn load_new(&mut self, db: &Db, network: Network) -> Result<i64> {
        let (keys, newest) = addresses::keys_after(db, network, self.batch).await?;
        self.fingerprints.reserve(keys.len());
        for key in &keys {
            self.fingerprints.insert(self.hasher.hash_one(key.as_slice()));
        }
        self.batch = newest;
        Ok(newest)
    }
}

impl AddressFilter for WatchSet {
    fn may_watch(&self, address_key: &[u8]) -> bool {
        self.fingerprints.contains(&self.hasher.hash_one(address_key))
    }
}
