//! Places for streams: how many may be open at once, in all and of one merchant. A stream holds its
//! place until it is dropped. Not here: what streams tell.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::domain::failure::{Class, Failure, Reason};

/// The places of one kind of callers.
#[derive(Clone, Debug)]
pub struct Watchers {
    all: Arc<Semaphore>,
    each: Arc<Mutex<HashMap<Uuid, usize>>>,
    each_max: usize,
}

/// A stream's place, free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    merchant_id: Uuid,
    each: Arc<Mutex<HashMap<Uuid, usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Watchers {
    /// `streams_max` places, of which one merchant may take `each_max`.
    pub fn new(streams_max: usize, each_max: usize) -> Self {
        let all = Arc::new(Semaphore::new(streams_max.min(Semaphore::MAX_PERMITS)));
        Self { all, each: Arc::default(), each_max }
    }

    /// A place for a stream of this merchant's; those who have no key share the nil UUID.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when every place that it may have is taken.
    pub fn enter(&self, merchant_id: Uuid) -> Result<Place, Failure> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| crowded())?;
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let open = each.entry(merchant_id).or_insert(0);
        if *open >= self.each_max {
            return Err(crowded());
        }
        *open += 1;
        drop(each);
        Ok(Place { merchant_id, each: Arc::clone(&self.each), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut open) = each.entry(self.merchant_id) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

fn crowded() -> Failure {
    let text = "too many streams are open already: ask without one, or try again later";
    Failure::new(Class::ResourceExhausted, Reason::TooManyWaiting, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_stream_ends() {
        let watchers = Watchers::new(3, 2);
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = watchers.enter(one).unwrap();
        let second = watchers.enter(one).unwrap();
        let refused = watchers.enter(one).unwrap_err();
        assert_eq!(
            (refused.class, refused.reason),
            (Class::ResourceExhausted, Reason::TooManyWaiting)
        );
        let theirs = watchers.enter(other).unwrap();
        assert!(watchers.enter(other).is_err(), "all three are taken");
        drop(second);
        let again = watchers.enter(one).unwrap();
        assert!(watchers.enter(one).is_err());
        drop((first, again, theirs));
        assert!(watchers.each.lock().unwrap().is_empty(), "nobody is remembered who left");
    }
}
