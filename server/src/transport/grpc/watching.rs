//! Following one thing by reading it: at an event of anybody's, though not at each of many, and now and
//! then for what changes without one. A change is told once; the stream ends with the change after which
//! nothing can change. Not here: what is followed.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::watchers::{Place, Placed};
use crate::domain::failure::{Class, Failure, Reason};
use crate::env::Env;
use crate::signals::Signals;
use crate::transport::admission::Admission;
use crate::transport::status::status;

/// How often what is followed is read without a signal: confirmations grow without events, and another
/// process may have written.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How long after a read nothing wakes a stream. Everybody's events wake everybody: without a pause each
/// would cost a read for each stream. The first event after a while is read at once.
const READ_PAUSE: Duration = Duration::from_millis(250);

/// Something that can be followed.
#[tonic::async_trait]
pub trait Followed: Send + 'static {
    /// What is told of it.
    type Message: Send + 'static;

    /// How it is now.
    async fn read(&mut self) -> Result<Self::Message, Status>;

    /// Whether `now` tells nothing that `told` did not.
    fn is_same(told: &Self::Message, now: &Self::Message) -> bool;

    /// Whether nothing can change any more.
    fn is_final(message: &Self::Message) -> bool;
}

/// What wakes and ends a stream.
pub struct Wakes {
    env: Env,
    events: watch::Receiver<u64>,
    stop: CancellationToken,
    place: Place,
    admission: Option<Admission>,
}

impl Wakes {
    /// Wakes for the stream at this place, which goes on while its caller is admitted; payers need not be.
    ///
    /// # Errors
    /// UNAVAILABLE when the server stops.
    pub fn new(
        env: &Env,
        signals: &Signals,
        stop: &CancellationToken,
        place: Place,
        admission: Option<Admission>,
    ) -> Result<Self, Status> {
        if stop.is_cancelled() {
            return Err(stopping());
        }
        let (env, stop) = (env.clone(), stop.clone());
        Ok(Self { env, events: signals.events(), stop, place, admission })
    }
}

/// A stream of messages.
pub type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// Follows `followed`, which was `first` just now.
pub fn follow<F: Followed>(followed: F, first: F::Message, wakes: Wakes) -> Messages<F::Message>
where
    F::Message: Clone + Sync,
{
    let Wakes { env, events, stop, place, admission } = wakes;
    let following = Following {
        followed,
        env,
        events,
        stop,
        admission,
        unread: Some(first),
        told: None,
        ended: false,
    };
    let stream = futures_util::stream::unfold(following, Following::next);
    Box::pin(Placed::new(Box::pin(stream), place))
}

struct Following<F: Followed> {
    followed: F,
    env: Env,
    events: watch::Receiver<u64>,
    stop: CancellationToken,
    admission: Option<Admission>,
    /// Read and not compared yet.
    unread: Option<F::Message>,
    told: Option<F::Message>,
    ended: bool,
}

impl<F: Followed> Following<F>
where
    F::Message: Clone + Sync,
{
    async fn next(mut self) -> Option<(Result<F::Message, Status>, Self)> {
        while !self.ended {
            let read = match self.unread.take() {
                Some(message) => Ok(message),
                None => match self.woken().await {
                    Ok(()) => self.followed.read().await,
                    Err(error) => Err(error),
                },
            };
            let message = match read {
                Ok(message) => message,
                Err(error) => return Some(self.end(error)),
            };
            if let Some(admission) = &self.admission
                && let Err(error) = admission.check().await
            {
                return Some(self.end(error));
            }
            if !self.told.as_ref().is_some_and(|told| F::is_same(told, &message)) {
                self.ended = F::is_final(&message);
                self.told = Some(message.clone());
                return Some((Ok(message), self));
            }
        }
        None
    }

    /// Returns when it is time to read again.
    async fn woken(&mut self) -> Result<(), Status> {
        tokio::select! {
            () = self.env.sleep(READ_PAUSE) => {}
            () = self.stop.cancelled() => return Err(stopping()),
        }
        tokio::select! {
            _ = self.events.changed() => {}
            () = self.env.sleep(READ_EVERY.saturating_sub(READ_PAUSE)) => {}
            () = self.stop.cancelled() => return Err(stopping()),
        }
        // Before the read: what is written after it wakes again.
        self.events.mark_unchanged();
        Ok(())
    }

    fn end(mut self, error: Status) -> (Result<F::Message, Status>, Self) {
        self.ended = true;
        (Err(error), self)
    }
}

/// Why a stream ends or does not begin while the server stops.
pub fn stopping() -> Status {
    let text = "the server is shutting down";
    status(Failure::new(Class::Unavailable, Reason::ServerUnavailable, text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{FutureExt as _, StreamExt as _};
    use uuid::Uuid;

    use super::super::watchers::Watchers;
    use super::*;
    use crate::domain::time::Micros;
    use crate::env::{Clock, Entropy};

    /// Time that passes only when it is told to.
    struct HandClock(watch::Sender<Duration>);

    #[tonic::async_trait]
    impl Clock for HandClock {
        fn now(&self) -> Micros {
            Micros(0)
        }

        async fn sleep(&self, duration: Duration) {
            let until = *self.0.borrow() + duration;
            self.0.subscribe().wait_for(|now| *now >= until).await.unwrap();
        }
    }

    impl Entropy for HandClock {
        fn fill(&self, _: &mut [u8]) {}
    }

    /// A number that is read, and how often.
    #[derive(Clone, Default)]
    struct Counted {
        value: Arc<AtomicUsize>,
        reads: Arc<AtomicUsize>,
    }

    #[tonic::async_trait]
    impl Followed for Counted {
        type Message = usize;

        async fn read(&mut self) -> Result<usize, Status> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            Ok(self.value.load(Ordering::SeqCst))
        }

        fn is_same(told: &usize, now: &usize) -> bool {
            told == now
        }

        fn is_final(_: &usize) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn many_events_of_others_cost_few_reads_and_the_first_is_read_at_once() {
        let clock = Arc::new(HandClock(watch::Sender::new(Duration::ZERO)));
        let env = Env::new(clock.clone(), clock.clone());
        let (signals, followed) = (Signals::default(), Counted::default());
        let reads = || followed.reads.load(Ordering::SeqCst);
        let place = Watchers::new(1, 1).enter(Uuid::nil()).unwrap();
        let wakes = Wakes::new(&env, &signals, &CancellationToken::new(), place, None).unwrap();
        let mut stream = follow(followed.clone(), 0, wakes);
        assert_eq!(stream.next().await.unwrap().unwrap(), 0);
        for _ in 0..100 {
            signals.events_written();
            assert!(stream.next().now_or_never().is_none(), "nothing is new");
            clock.0.send_modify(|now| *now += Duration::from_millis(10));
            assert!(stream.next().now_or_never().is_none(), "nothing is new");
            tokio::task::yield_now().await;
        }
        assert!((2..=5).contains(&reads()), "{} reads in a second", reads());

        // A quiet while; then no time passes until the next event is read.
        for _ in 0..2 {
            clock.0.send_modify(|now| *now += READ_PAUSE);
            assert!(stream.next().now_or_never().is_none(), "nothing is new");
        }
        let before = reads();
        followed.value.store(1, Ordering::SeqCst);
        signals.events_written();
        assert_eq!(stream.next().now_or_never().unwrap().unwrap().unwrap(), 1);
        assert_eq!(reads(), before + 1);
    }
}
