//! EventService: the merchant's log as a list and as a stream that resumes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use cryptopayment_proto::v1;
use cryptopayment_proto::v1::event_service_server::EventService;
use cryptopayment_proto::v1::stream_events_request::From;
use futures_util::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::event_tails::{EventTails, TailReader};
use super::watchers::{Placed, Watchers};
use super::watching::stopping;
use super::{admission, caller};
use crate::domain::failure::{Class, Failure, Reason};
use crate::store::Db;
use crate::store::events::{self, Event, LogRange};
use crate::transport::admission::Admission;
use crate::transport::convert;
use crate::transport::status::{status, store_status};

/// Events returned by one call unless it asks for another number.
const LIMIT_DEFAULT: u32 = 20;
/// Events returned by one call at the most, and read at a time for a stream.
const LIMIT_MAX: u32 = 100;

/// The service with what it needs.
#[derive(Clone)]
pub struct EventApi {
    /// The ledger's database.
    pub db: Db,
    /// The ends of the logs.
    pub tails: EventTails,
    /// Places of streams.
    pub watchers: Watchers,
    /// Ends streams when the server stops.
    pub stop: CancellationToken,
}

type EventStream = Pin<Box<dyn Stream<Item = Result<v1::StreamEventsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl EventService for EventApi {
    type StreamEventsStream = EventStream;

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.get_ref();
        let limit = if message.limit == 0 { LIMIT_DEFAULT } else { message.limit };
        if limit > LIMIT_MAX {
            let hint = format!("must be at most {LIMIT_MAX}");
            return Err(status(Failure::field("limit", Reason::InvalidField, hint)));
        }
        self.check_cursor(caller.merchant_id, message.after).await?;
        let found = events::list(&self.db, caller.merchant_id, message.after, limit)
            .await
            .map_err(store_status)?;
        let next_after = found.last().map_or(message.after, |event| event.seq);
        let events = found.iter().map(convert::event).collect();
        Ok(Response::new(v1::ListEventsResponse { events, next_after }))
    }

    async fn stream_events(
        &self,
        request: Request<v1::StreamEventsRequest>,
    ) -> Result<Response<EventStream>, Status> {
        let caller = caller(&request)?;
        let admission = admission(&request)?;
        let merchant_id = caller.merchant_id;
        let place = self.watchers.enter(merchant_id).map_err(status)?;
        let range = events::range(&self.db, merchant_id).await.map_err(store_status)?;
        let after = start(&range, request.get_ref().from.as_ref()).map_err(status)?;
        let stream = Streaming {
            db: self.db.clone(),
            tail: self.tails.reader(merchant_id, range.next - 1),
            stop: self.stop.clone(),
            admission,
            merchant_id,
            after,
            ready: VecDeque::new(),
            greeted: false,
            ended: false,
        };
        let stream = Box::pin(futures_util::stream::unfold(stream, Streaming::next));
        Ok(Response::new(Box::pin(Placed::new(stream, place))))
    }
}

impl EventApi {
    async fn check_cursor(&self, merchant_id: Uuid, after: u64) -> Result<(), Status> {
        let range = events::range(&self.db, merchant_id).await.map_err(store_status)?;
        check_cursor(&range, after).map_err(status)
    }
}

/// The sequence that a stream begins after.
fn start(range: &LogRange, from: Option<&From>) -> Result<u64, Failure> {
    let start = match from {
        Some(From::After(after)) => return check_cursor(range, *after).map(|()| *after),
        Some(From::Start(start)) => v1::StreamStart::try_from(*start).ok(),
        None => None,
    };
    match start {
        Some(v1::StreamStart::Earliest) => Ok(range.first - 1),
        Some(v1::StreamStart::Latest) => Ok(range.next - 1),
        _ => Err(Failure::field(
            "from",
            Reason::FieldRequired,
            "is required: after, or start EARLIEST or LATEST",
        )),
    }
}

/// Refuses a cursor from the future, and one whose next event is gone.
fn check_cursor(range: &LogRange, after: u64) -> Result<(), Failure> {
    if after >= range.next {
        let text = format!("is beyond the newest event {}", range.next - 1);
        return Err(Failure::field("after", Reason::InvalidField, text));
    }
    if after > 0 && after + 1 < range.first {
        let text = format!("the oldest event kept is {}", range.first);
        return Err(Failure::new(Class::OutOfRange, Reason::CursorExpired, text));
    }
    Ok(())
}

/// A stream under way.
struct Streaming {
    db: Db,
    tail: TailReader,
    stop: CancellationToken,
    admission: Admission,
    merchant_id: Uuid,
    after: u64,
    ready: VecDeque<Arc<Event>>,
    /// Whether the first message, which tells where the stream stands, was sent.
    greeted: bool,
    ended: bool,
}

impl Streaming {
    async fn next(mut self) -> Option<(Result<v1::StreamEventsResponse, Status>, Self)> {
        if self.ended {
            return None;
        }
        if !self.greeted {
            self.greeted = true;
            let cursor = self.after;
            return Some((Ok(v1::StreamEventsResponse { event: None, cursor }), self));
        }
        loop {
            if self.ready.is_empty() {
                match self.read().await {
                    Ok(read) => self.ready = read,
                    Err(error) => return Some(self.end(error)),
                }
            }
            // After the read: nothing is told that was written after its key was revoked.
            if let Err(error) = self.admission.check().await {
                return Some(self.end(error));
            }
            if let Some(event) = self.ready.pop_front() {
                self.after = event.seq;
                let message = v1::StreamEventsResponse {
                    event: Some(convert::event(&event)),
                    cursor: event.seq,
                };
                return Some((Ok(message), self));
            }
            tokio::select! {
                () = self.tail.grown() => {}
                () = self.admission.due() => {}
                () = self.stop.cancelled() => return Some(self.end(stopping())),
            }
        }
    }

    /// What follows: from the log's end, or from the database if that is further.
    async fn read(&mut self) -> Result<VecDeque<Arc<Event>>, Status> {
        if let Some(read) = self.tail.after(self.after) {
            return Ok(read.into());
        }
        let read = events::list(&self.db, self.merchant_id, self.after, LIMIT_MAX).await;
        Ok(read.map_err(store_status)?.into_iter().map(Arc::new).collect())
    }

    fn end(mut self, error: Status) -> (Result<v1::StreamEventsResponse, Status>, Self) {
        self.ended = true;
        (Err(error), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_lies_between_what_is_kept_and_what_is_newest() {
        let range = LogRange { first: 10, next: 20 };
        let refused = |after| check_cursor(&range, after).err().map(|failure| failure.reason);
        for after in [0, 9, 10, 19] {
            assert_eq!(refused(after), None, "{after}");
        }
        for after in [1, 8] {
            assert_eq!(refused(after), Some(Reason::CursorExpired), "{after}");
        }
        for after in [20, u64::MAX - 1, u64::MAX] {
            assert_eq!(refused(after), Some(Reason::InvalidField), "{after}");
        }
    }
}
