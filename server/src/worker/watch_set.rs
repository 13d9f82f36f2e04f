//! The addresses a scanner looks for, held in memory as 64-bit fingerprints. A filter: a hit is
//! resolved in the database, so a collision costs a look-up and never a wrong credit. While it loads it
//! says yes to everything, so that scanning need not wait for it.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::fingerprints::Fingerprints;
use crate::chain::AddressFilter;
use crate::domain::asset::Network;
use crate::store::{Db, Result, addresses};

/// Addresses loaded at a time; more than one batch of the pool may have.
const LOADED_ADDRESSES_MAX: u32 = 50_000;

/// The watched addresses of one network.
#[derive(Default)]
pub struct WatchSet {
    /// Seeded at random. It need not withstand cryptanalysis: who finds two addresses with one fingerprint
    /// has found a look-up for the database.
    hasher: RandomState,
    fingerprints: Fingerprints,
    /// The newest batch that was loaded whole.
    batch: i64,
    /// Whether every batch was.
    is_complete: bool,
}

impl WatchSet {
    /// A set of these addresses and no others.
    pub fn of(keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut set = Self { is_complete: true, ..Self::default() };
        keys.into_iter().for_each(|key| set.add(&key));
        set
    }

    fn add(&mut self, key: &[u8]) {
        self.fingerprints.insert(self.hasher.hash_one(key));
    }

    /// Bytes of memory that hold it.
    pub fn bytes(&self) -> usize {
        self.fingerprints.bytes()
    }

    /// Loads some of the batches that were added since the last call. Returns the newest batch there
    /// is: its addresses are watched from now on.
    pub async fn load_new(&mut self, db: &Db, network: Network) -> Result<i64> {
        let newest = addresses::newest_batch(db, network).await?;
        if newest > self.batch {
            let (after, limit) = (self.batch, LOADED_ADDRESSES_MAX);
            let read = addresses::keys_after(db, network, after, newest, limit).await?;
            for key in &read.keys {
                self.add(key);
            }
            self.batch = read.whole_batch;
        }
        self.is_complete = self.batch >= newest;
        Ok(newest)
    }

    /// Whether there is nothing left to load.
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }
}

impl AddressFilter for WatchSet {
    fn may_watch(&self, address_key: &[u8]) -> bool {
        !self.is_complete || self.fingerprints.contains(self.hasher.hash_one(address_key))
    }

    fn may_watch_each(&self, address_keys: &[&[u8]]) -> Vec<bool> {
        if !self.is_complete {
            return vec![true; address_keys.len()];
        }
        // Nothing but look-ups in the second pass: the processor has many of them under way at a time.
        let fingerprints: Vec<u64> =
            address_keys.iter().map(|key| self.hasher.hash_one(key)).collect();
        fingerprints.iter().map(|one| self.fingerprints.contains(*one)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_keys_at_once_are_answered_as_each_alone_also_while_it_loads() {
        let keys: Vec<Vec<u8>> = (0..2_000_u32).map(|n| n.to_be_bytes().to_vec()).collect();
        let mut set = WatchSet::of(keys.iter().step_by(3).cloned());
        let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let own: Vec<bool> = (0..2_000).map(|n| n % 3 == 0).collect();
        assert_eq!(set.may_watch_each(&asked), own);
        assert!(asked.iter().zip(own).all(|(key, own)| set.may_watch(key) == own));
        set.is_complete = false;
        assert_eq!(set.may_watch_each(&asked), vec![true; 2_000]);
    }
}
