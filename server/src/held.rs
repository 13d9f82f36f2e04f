//! What is held now, counted by key and given back when it is dropped: connections of an address, streams of
//! a merchant, deliveries under way. Not here: how many anybody may hold, which each room decides.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many are held under each key. A key of which nothing is held is not kept.
#[derive(Debug)]
pub struct Counts<K>(HashMap<K, usize>);

/// Counts that everybody sees who has a clone.
#[derive(Debug)]
pub struct Held<K>(Arc<Mutex<Counts<K>>>);

/// One that is held under each of its keys, until this is dropped.
#[derive(Debug)]
pub struct Hold<K: Eq + Hash> {
    keys: Vec<K>,
    held: Held<K>,
}

impl<K: Eq + Hash> Counts<K> {
    /// How many are held under this key.
    pub fn of(&self, key: &K) -> usize {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// Each key of which something is held, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (&K, usize)> {
        self.0.iter().map(|(key, count)| (key, *count))
    }

    fn give_back(&mut self, key: &K) {
        if let Some(count) = self.0.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
            }
        }
    }
}

impl<K> Held<K> {
    /// What `see` makes of what is held at this moment; nothing is taken or given back meanwhile.
    pub fn read<T>(&self, see: impl FnOnce(&Counts<K>) -> T) -> T {
        see(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Counts<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Held<K> {
    /// Holds one more under this key.
    pub fn take(&self, key: K) -> Hold<K> {
        self.hold(self.lock(), vec![key])
    }

    /// Holds one more under each of `keys`, if what is held so far allows it.
    pub fn take_if(&self, keys: Vec<K>, may: impl FnOnce(&Counts<K>) -> bool) -> Option<Hold<K>> {
        let counts = self.lock();
        may(&counts).then(|| self.hold(counts, keys))
    }

    fn hold(&self, mut counts: MutexGuard<'_, Counts<K>>, keys: Vec<K>) -> Hold<K> {
        for key in &keys {
            *counts.0.entry(key.clone()).or_default() += 1;
        }
        Hold { keys, held: self.clone() }
    }
}

impl<K> Default for Held<K> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Counts(HashMap::new()))))
    }
}

impl<K> Clone for Held<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash> Drop for Hold<K> {
    fn drop(&mut self) {
        let mut counts = self.held.lock();
        for key in &self.keys {
            counts.give_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_dropped_is_given_back_and_nothing_is_kept_of_it() {
        let held = Held::default();
        let both = held.take_if(vec!["a", "b"], |_| true).unwrap();
        let one = held.take_if(vec!["a"], |counts| counts.of(&"a") < 2).unwrap();
        assert!(held.take_if(vec!["a", "b"], |counts| counts.of(&"a") < 2).is_none());
        let ab = |counts: &Counts<_>| (counts.of(&"a"), counts.of(&"b"));
        assert_eq!(held.read(ab), (2, 1), "a refusal takes nothing");
        drop(both);
        assert_eq!((held.read(ab), held.read(|counts| counts.iter().count())), ((1, 0), 1));
        drop(one);
        assert_eq!(held.read(|counts| counts.iter().count()), 0);
    }
}
