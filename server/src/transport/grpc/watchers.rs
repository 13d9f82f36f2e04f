//! Places for streams: how many may be open at once, in all and of one merchant, or of one invoice where
//! nobody is asked for a key. A stream holds its place until it is dropped, also when it has ended. Not
//! here: what streams tell.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::domain::failure::{Class, Failure, Reason};
use crate::held::{Counts, Held, Hold};

/// How long to wait before another try can help.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The places of one kind of callers.
#[derive(Clone, Debug)]
pub struct Watchers {
    all: Arc<Semaphore>,
    each: Held<Uuid>,
    each_max: usize,
}

/// A stream's place, free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    _share: Hold<Uuid>,
    _permit: OwnedSemaphorePermit,
}

impl Watchers {
    /// `streams_max` places, of which one merchant, or the payers of one invoice, may take `each_max`.
    pub fn new(streams_max: usize, each_max: usize) -> Self {
        let all = Arc::new(Semaphore::new(streams_max.min(Semaphore::MAX_PERMITS)));
        Self { all, each: Held::default(), each_max }
    }

    /// A place for a stream among those of this merchant, or of this invoice.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when every place that it may have is taken.
    pub fn enter(&self, shared_by: Uuid) -> Result<Place, Failure> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| crowded())?;
        let may = |open: &Counts<Uuid>| open.of(&shared_by) < self.each_max;
        let share = self.each.take_if(vec![shared_by], may).ok_or_else(crowded)?;
        Ok(Place { _share: share, _permit: permit })
    }
}

fn crowded() -> Failure {
    let text = "too many streams are open already: ask without one, or try again later";
    Failure::new(Class::ResourceExhausted, Reason::TooManyWaiting, text).retry_after(TRY_AGAIN)
}

/// A stream at its place. The place is free when this is dropped: whoever keeps a stream that has ended, as
/// the gateway does between two watches, is still counted.
pub struct Placed<S> {
    stream: S,
    _place: Place,
}

impl<S> Placed<S> {
    /// The stream, at this place.
    pub const fn new(stream: S, place: Place) -> Self {
        Self { stream, _place: place }
    }
}

impl<S: Stream + Unpin> Stream for Placed<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut self.stream).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::{StreamExt as _, stream};

    use super::*;

    #[tokio::test]
    async fn who_keeps_an_ended_stream_is_counted() {
        let watchers = Watchers::new(2, 1);
        let one = Uuid::from_u128(1);
        let mut kept = Placed::new(stream::empty::<()>(), watchers.enter(one).unwrap());
        assert_eq!(kept.next().await, None);
        assert!(watchers.enter(one).is_err());
        drop(kept);
        assert!(watchers.enter(one).is_ok());
    }

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
        assert_eq!(
            watchers.each.read(|open| open.iter().count()),
            0,
            "nobody is remembered who left"
        );
    }
}
