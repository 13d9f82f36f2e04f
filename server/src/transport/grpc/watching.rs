//! Following one thing by reading it: at every event, and now and then for what changes without one.
//! A change is told once; the stream ends with the change after which nothing can change. Not here:
//! what is followed.

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
use crate::transport::status::status;

/// How often what is followed is read without a signal: confirmations grow without events, and another
/// process may have written.
const READ_EVERY: Duration = Duration::from_secs(1);

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
}

impl Wakes {
    /// Wakes for the stream at this place.
    ///
    /// # Errors
    /// UNAVAILABLE when the server stops.
    pub fn new(
        env: &Env,
        signals: &Signals,
        stop: &CancellationToken,
        place: Place,
    ) -> Result<Self, Status> {
        if stop.is_cancelled() {
            return Err(stopping());
        }
        let (env, stop) = (env.clone(), stop.clone());
        Ok(Self { env, events: signals.events(), stop, place })
    }
}

/// A stream of messages.
pub type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// Follows `followed`, which was `first` just now.
pub fn follow<F: Followed>(followed: F, first: F::Message, wakes: Wakes) -> Messages<F::Message>
where
    F::Message: Clone + Sync,
{
    let Wakes { env, events, stop, place } = wakes;
    let following =
        Following { followed, env, events, stop, unread: Some(first), told: None, ended: false };
    let stream = futures_util::stream::unfold(following, Following::next);
    Box::pin(Placed::new(Box::pin(stream), place))
}

struct Following<F: Followed> {
    followed: F,
    env: Env,
    events: watch::Receiver<u64>,
    stop: CancellationToken,
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
                None => {
                    // Before the read: what is written after it wakes again.
                    self.events.mark_unchanged();
                    self.followed.read().await
                }
            };
            let message = match read {
                Ok(message) => message,
                Err(error) => return Some(self.end(error)),
            };
            if !self.told.as_ref().is_some_and(|told| F::is_same(told, &message)) {
                self.ended = F::is_final(&message);
                self.told = Some(message.clone());
                return Some((Ok(message), self));
            }
            tokio::select! {
                _ = self.events.changed() => {}
                () = self.env.sleep(READ_EVERY) => {}
                () = self.stop.cancelled() => return Some(self.end(stopping())),
            }
        }
        None
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
