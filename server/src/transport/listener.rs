//! The accept loop: one port for gRPC, gRPC-web, REST and pages over HTTP/1 and HTTP/2 cleartext,
//! and the operator's Unix socket by the same code. Every connection is counted, watched and ended
//! within named limits; see [`ListenerLimits`].
//! Not here: TLS (a proxy's task), routes, authentication, request timeouts.

mod answer;
mod connection;
mod limits;
mod peers;
mod preface;
#[cfg(test)]
mod tests;
mod unix;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::Service;

pub use answer::{ConnectionDrain, Requests};
pub use limits::{LimitsError, ListenerLimits};
pub use peers::{Peer, PeerAddress, PeerProcess};
pub use unix::{BindError, bind_unix};

use connection::{End, Shared, serve_connection};
use limits::seconds;
use peers::PerAddress;

/// The first wait after the system refused to accept (no file handles left, no memory); doubled up
/// to the longest one.
const ACCEPT_BACKOFF_MILLISECONDS_MIN: u64 = 20;
/// The longest such wait.
const ACCEPT_BACKOFF_MILLISECONDS_MAX: u64 = 1_000;

/// Where connections come from.
pub trait Accept: Send {
    /// A connection's bytes.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection and who is at its other end. Dropping the future loses no connection.
    ///
    /// # Errors
    /// What the operating system says; the accept loop survives every error.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Peer)> {
        let (stream, address) = TcpListener::accept(self).await?;
        // Small answers must not wait for the caller's acknowledgement (Nagle's algorithm).
        stream.set_nodelay(true)?;
        Ok((stream, Peer::Network(PeerAddress(address))))
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = UnixListener::accept(self).await?;
        let credentials = stream.peer_cred()?;
        let process = PeerProcess { uid: credentials.uid(), pid: credentials.pid() };
        Ok((stream, Peer::Process(process)))
    }
}

/// How a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy at the deadline and were cut.
    pub connections_cut: usize,
}

/// Serves `app` on a TCP port or a Unix socket (see [`bind_unix`]) until `stop`, then drains: no new
/// connections, open requests get up to `drain_seconds_max`, the rest is cut. Dropping the future cuts all
/// connections at once.
///
/// Requests carry [`PeerAddress`] or [`PeerProcess`], and [`ConnectionDrain`], as extensions. A panic of
/// `app` answers 500 (gRPC: INTERNAL) and ends nothing. Check the limits first ([`ListenerLimits::check`]).
pub async fn serve<B: AppBody>(
    source: impl Accept,
    app: impl App<B>,
    limits: ListenerLimits,
    stop: CancellationToken,
) -> Drained {
    serve_on(source, app, None, limits, stop).await
}

/// Serves `app` as [`serve`] does, with an id for each request.
pub async fn serve_api<B: AppBody>(
    source: impl Accept,
    app: impl App<B>,
    requests: Requests,
    limits: ListenerLimits,
    stop: CancellationToken,
) -> Drained {
    serve_on(source, app, Some(requests), limits, stop).await
}

/// What can be served: an axum `Router`, or any tower service of hyper's requests without an error
/// of its own. Implemented for all of them.
pub trait App<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S, B> App<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// A body such an application may answer with. Implemented for all of them.
pub trait AppBody: Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static {}

impl<B: Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static> AppBody for B {}

type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The accept loop over any source of connections.
async fn serve_on<B: AppBody>(
    mut source: impl Accept,
    app: impl App<B>,
    requests: Option<Requests>,
    limits: ListenerLimits,
    stop: CancellationToken,
) -> Drained {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let per_address =
        PerAddress::new(limits.connections_per_ip_max, limits.connections_per_ip_loopback_exempt);
    let shared = Arc::new(Shared { http: limits.http(), limits, requests: requests.map(Arc::new) });
    let mut connections = JoinSet::new();

    while let Some((stream, peer, permit)) = next(&mut source, &places, &stop).await {
        while let Some(ended) = connections.try_join_next() {
            report(ended);
        }
        let Ok(place) = per_address.admit(peer) else {
            tracing::debug!(?peer, "connection closed: its address holds all it may");
            continue;
        };
        let serving =
            serve_connection(stream, peer, app.clone(), Arc::clone(&shared), stop.child_token());
        connections.spawn(async move {
            let end = serving.await;
            drop((place, permit));
            (peer, end)
        });
    }
    // Closes the port: callers are refused at once and try another replica.
    drop(source);
    drain(connections, seconds(shared.limits.drain_seconds_max)).await
}

/// The next connection, once there is a place for it; `None` when it is time to stop.
async fn next<A: Accept>(
    source: &mut A,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(A::Stream, Peer, OwnedSemaphorePermit)> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        found = async {
            let permit = Arc::clone(places).acquire_owned().await.ok()?;
            let (stream, peer) = accept_patiently(source).await;
            Some((stream, peer, permit))
        } => found,
    }
}

/// Accepts, waiting longer after each refusal: no error of the system may end the loop
/// (CVE-2024-47609 was a server that stopped accepting).
async fn accept_patiently<A: Accept>(source: &mut A) -> (A::Stream, Peer) {
    let mut backoff = ACCEPT_BACKOFF_MILLISECONDS_MIN;
    loop {
        match source.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_the_connection(&error) => {
                tracing::debug!(%error, "a connection was gone before it was accepted");
            }
            Err(error) => {
                tracing::warn!(%error, backoff_milliseconds = backoff, "cannot accept");
                sleep(Duration::from_millis(backoff)).await;
                backoff = (backoff * 2).min(ACCEPT_BACKOFF_MILLISECONDS_MAX);
            }
        }
    }
}

/// Whether an accept error tells only of the connection that was to be accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, InvalidInput,
        NotConnected,
    };
    // InvalidInput: some systems answer so to `set_nodelay` on a socket the caller already reset.
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | Interrupted
            | InvalidInput
            | NotConnected
    )
}

/// Waits for open connections until the deadline and cuts the rest.
async fn drain(mut connections: JoinSet<(Peer, End)>, deadline: Duration) -> Drained {
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if timeout(deadline, all).await.is_ok() {
        return Drained { connections_cut: 0 };
    }
    let connections_cut = connections.len();
    tracing::warn!(connections_cut, "connections still busy at the drain deadline were cut");
    connections.shutdown().await;
    Drained { connections_cut }
}

/// Logs the ends that someone may ask about.
fn report(ended: Result<(Peer, End), JoinError>) {
    match ended {
        Ok((_, End::Closed)) => {}
        Ok((peer, End::Silent)) => tracing::debug!(?peer, "connection dropped: it said nothing"),
        Ok((peer, End::Cut)) => {
            tracing::info!(?peer, "connection cut: its requests outlasted the grace after its age");
        }
        Err(error) if error.is_panic() => tracing::error!(%error, "a connection's task panicked"),
        Err(_) => {}
    }
}
