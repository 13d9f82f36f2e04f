//! The life of one connection: greeting, serving until it is old or the server stops, draining,
//! end. Not here: accepting it, and the deadline of a shutdown (`listener.rs`).

use std::pin::pin;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::answer::{ConnectionDrain, Requests, answer};
use super::limits::{ListenerLimits, seconds};
use super::peers::Peer;
use super::preface::{Greeted, Greeting};
use super::{App, AppBody};

/// What all connections of a listener share.
pub(super) struct Shared {
    pub(super) http: auto::Builder<TokioExecutor>,
    pub(super) limits: ListenerLimits,
    pub(super) requests: Option<Arc<Requests>>,
}

/// How a connection came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The caller closed it, an error of the protocol ended it, or it drained in time.
    Closed,
    /// It never said which protocol it speaks.
    Silent,
    /// It was too old, and its requests outlasted the grace.
    Cut,
}

/// Serves one connection to its end. `drain` is cancelled from outside at shutdown, and from here
/// when the connection is too old.
pub(super) async fn serve_connection<B: AppBody>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    app: impl App<B>,
    shared: Arc<Shared>,
    drain: CancellationToken,
) -> End {
    let limits = &shared.limits;
    let preface_timeout = seconds(limits.preface_timeout_seconds);
    let greeting = Greeting::default();
    let io = TokioIo::new(Greeted::new(stream, greeting.clone()));
    let requests_drain = ConnectionDrain(drain.clone());
    let requests = shared.requests.clone();
    let service = service_fn(move |request| {
        answer(app.clone(), request, peer, requests_drain.clone(), requests.clone())
    });
    let mut connection = pin!(shared.http.serve_connection(io, service));

    tokio::select! {
        result = connection.as_mut() => return closed(peer, result),
        () = drain.cancelled() => {}
        () = sleep(preface_timeout) => if !greeting.is_complete() {
            return End::Silent;
        },
    }
    let rest = seconds(limits.connection_age_seconds_max).saturating_sub(preface_timeout);
    let mut grace = None;
    tokio::select! {
        result = connection.as_mut() => return closed(peer, result),
        () = drain.cancelled() => {}
        () = sleep(rest) => {
            grace = Some(seconds(limits.connection_age_grace_seconds));
            drain.cancel();
        }
    }
    connection.as_mut().graceful_shutdown();
    let Some(grace) = grace else {
        // A shutdown has one deadline for all connections; the listener keeps it.
        return closed(peer, connection.await);
    };
    tokio::select! {
        result = connection => closed(peer, result),
        () = sleep(grace) => End::Cut,
    }
}

/// Callers that break off or break the protocol are everyday life on a public port: debug level.
fn closed(peer: Peer, result: Result<(), Box<dyn std::error::Error + Send + Sync>>) -> End {
    if let Err(error) = result {
        tracing::debug!(?peer, %error, "connection ended with an error");
    }
    End::Closed
}
