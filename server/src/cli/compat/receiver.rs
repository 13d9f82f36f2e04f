//! A webhook receiver of a few minutes: takes POSTs on one address, answers 200, hands the bodies on.
//! Not here: what must stand in them.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::Context as _;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Bytes of a body; the documented one has some 500.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bodies that wait to be looked at.
const BODIES_MAX: usize = 64;

/// The receiver; dropped, it is gone.
pub struct Receiver {
    /// Where it is.
    pub address: SocketAddr,
    /// What came.
    pub bodies: mpsc::Receiver<String>,
    _task: JoinSet<()>,
}

impl Receiver {
    /// Opens the address.
    ///
    /// # Errors
    /// When it can not be opened.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("--webhook-listen {address}"))?;
        let address = listener.local_addr()?;
        let (sender, bodies) = mpsc::channel(BODIES_MAX);
        let mut task = JoinSet::new();
        task.spawn(accept(listener, sender));
        Ok(Self { address, bodies, _task: task })
    }
}

async fn accept(listener: TcpListener, sender: mpsc::Sender<String>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let sender = sender.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, sender.clone()));
            let builder = Builder::new(TokioExecutor::new());
            // A connection that breaks is its sender's to repeat.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    sender: mpsc::Sender<String>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    if let Ok(body) = body {
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        // Full: nobody looks any more.
        let _ = sender.try_send(text);
    }
    Ok(Response::new(Empty::new()))
}
