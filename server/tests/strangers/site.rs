//! A web site of somebody else's: the files of one folder, on an origin of its own on loopback. Not
//! here: what the pages do.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, Uri, header};
use tokio_util::sync::CancellationToken;

use cryptopayment::transport::listener::{self, ListenerLimits};

/// The site; it ends when dropped.
pub struct Site {
    pub origin: String,
    stop: CancellationToken,
}

impl Site {
    /// Serves a folder; `/` is its `index.html`.
    pub async fn serve(folder: &Path) -> Self {
        let app = Router::new().fallback(file).with_state(Arc::new(folder.to_owned()));
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", socket.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(listener::serve(socket, app, ListenerLimits::default(), stop.clone()));
        Self { origin, stop }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn file(State(folder): State<Arc<PathBuf>>, uri: Uri) -> impl IntoResponse {
    let wanted = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    let inside = Path::new(wanted).components().all(|part| matches!(part, Component::Normal(_)));
    let content_type = match wanted.rsplit('.').next() {
        Some("js") => "text/javascript",
        Some("html") => "text/html",
        _ => "application/octet-stream",
    };
    match std::fs::read(folder.join(wanted)) {
        Ok(bytes) if inside => Ok(([(header::CONTENT_TYPE, content_type)], bytes)),
        _ => Err(StatusCode::NOT_FOUND),
    }
}
