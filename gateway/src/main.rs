//! The gateway as a process of its own: REST over HTTP/1.1 in front, gRPC to an upstream behind.
//! Arguments, the accept loop and its limits live here; everything else is the library's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rpc_gateway::{Gateway, Settings, UnknownFields};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::transport::{Channel, Endpoint};

/// Most connections open at once.
const CONNECTIONS_MAX: usize = 10_000;
/// Longest time to send a request's header, which is also how long an idle connection is kept.
const HEADER_SECONDS_MAX: u64 = 30;
/// Longest header of a request, in bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Most header lines of a request.
const HEADER_LINES_MAX: usize = 100;
/// Longest time to connect to the upstream.
const CONNECT_SECONDS_MAX: u64 = 5;
/// Longest wait for open requests at the end.
const DRAIN_SECONDS_MAX: u64 = 30;
/// Pause after a failed accept, so that running out of file descriptors does not spin.
const ACCEPT_PAUSE_MILLIS: u64 = 50;

/// REST/JSON in front of an annotated gRPC service.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where the gRPC service listens, such as http://127.0.0.1:50051.
    #[arg(long)]
    upstream: Endpoint,
    /// File with the encoded FileDescriptorSet, imports and options included.
    #[arg(long)]
    descriptors: PathBuf,
    /// Where to listen; port 0 takes a free one, which is logged.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Serve only services whose full name begins with this; may be given several times.
    #[arg(long)]
    service_prefix: Vec<String>,
    /// Longest request body, in bytes.
    #[arg(long, default_value_t = 256 * 1024)]
    body_bytes_max: usize,
    /// Longest time for an upstream call, in seconds.
    #[arg(long, default_value_t = 90)]
    upstream_seconds_max: u64,
    /// Skip unknown fields instead of refusing them.
    #[arg(long)]
    ignore_unknown_fields: bool,
    /// Start of every error's doc_url.
    #[arg(long, default_value = "")]
    doc_url_base: String,
    /// The success key of answers that belong to no service.
    #[arg(long)]
    default_success_key: Option<String>,
    /// Take error codes only from an ErrorInfo of this domain.
    #[arg(long)]
    error_domain: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let set = std::fs::read(&arguments.descriptors)
        .with_context(|| format!("reading {}", arguments.descriptors.display()))?;
    let upstream = arguments
        .upstream
        .clone()
        .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
        .connect_lazy();
    let listen = arguments.listen;
    let gateway = Gateway::new(&set, settings(arguments)).context("compiling the descriptors")?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("binding {listen}"))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    serve(listener, gateway.into_service(upstream)).await
}

fn settings(arguments: Arguments) -> Settings {
    let prefixes = arguments.service_prefix;
    Settings {
        body_bytes_max: arguments.body_bytes_max,
        upstream_timeout: Some(Duration::from_secs(arguments.upstream_seconds_max)),
        unknown_fields: match arguments.ignore_unknown_fields {
            true => UnknownFields::Ignore,
            false => UnknownFields::Refuse,
        },
        doc_url_base: arguments.doc_url_base,
        default_success_key: arguments.default_success_key,
        error_domain: arguments.error_domain,
        services: Arc::new(move |name| {
            prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix))
        }),
        ..Settings::default()
    }
}

async fn serve(
    listener: TcpListener,
    service: rpc_gateway::GatewayService<Channel>,
) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stopped());
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, socket) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        let (Ok(place), Ok((socket, _))) = (place, socket) else {
            tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MILLIS)).await;
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(HEADER_SECONDS_MAX))
            .max_buf_size(HEADER_BYTES_MAX)
            .max_headers(HEADER_LINES_MAX)
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    tracing::info!("draining");
    let drain = Duration::from_secs(DRAIN_SECONDS_MAX);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open at the end");
    }
    Ok(())
}

/// Ends with the first SIGINT or SIGTERM.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
