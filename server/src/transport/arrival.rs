//! The time in which a gRPC request must have arrived: who sends a part and then nothing, or a byte now
//! and then, holds what was sent no longer than that. Not here: how long a message may be (`server`), REST
//! bodies (the gateway), heads and connections (`listener`).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use cryptopayment_proto::ERROR_DOMAIN;
use http_body::{Frame, SizeHint};
use rpc_gateway::reason::BODY_TIMEOUT;
use tokio::time::{Sleep, sleep};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Time for all of a request's messages and its end; as long as the gateway grants a REST body. No method
/// lets its caller stream but reflection, which ends then and may be called again.
pub const ARRIVAL_SECONDS_MAX: u64 = 30;

/// A request's body that fails when it has not ended in time.
pub struct Arriving {
    body: Body,
    time_max: Duration,
    /// What is left; begins when the body is first waited for.
    left: Option<Pin<Box<Sleep>>>,
}

impl Arriving {
    /// A body that has to end within `time_max`.
    pub const fn new(body: Body, time_max: Duration) -> Self {
        Self { body, time_max, left: None }
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let left = this.left.get_or_insert_with(|| Box::pin(sleep(this.time_max)));
        ready!(left.as_mut().poll(cx));
        Poll::Ready(Some(Err(late())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn late() -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(BODY_TIMEOUT, ERROR_DOMAIN, [] as [(String, String); 0]);
    let text = "the request did not arrive in time";
    Status::with_error_details(Code::DeadlineExceeded, text, details)
}
