//! `GET /metrics` for the operator's monitoring, on a port of its own. It speaks of all merchants, so it is
//! never on the public port. However often it is asked, the database is read about once a second, and
//! for a bounded time. Not here: which figures there are (`usecase::take_figures`, `metrics`).

pub mod text;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::domain::time::Micros;
use crate::metrics::Meters;
use crate::store::StoreError;
use crate::usecase::take_figures::{Figures, TakeFigures};

pub use text::Format;

/// Seconds for which figures are told again without asking the database.
const KEPT_SECONDS: u64 = 1;
/// Seconds that the database may take; Prometheus gives up after 10.
const TAKE_SECONDS_MAX: u64 = 4;

/// Answers scrapes.
pub struct Scrapes {
    take: TakeFigures,
    meters: Meters,
    /// What was taken last, and when by the system's clock. Who takes holds it: the others wait and share.
    taken: Mutex<Option<(Micros, Arc<Figures>)>>,
}

/// What a scrape is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The exposition.
    pub text: String,
    /// Whether the database answered; without it there is only what the process counts.
    pub is_whole: bool,
}

impl Scrapes {
    /// Answers with these figures and counters.
    pub fn new(take: TakeFigures, meters: Meters) -> Self {
        Self { take, meters, taken: Mutex::default() }
    }

    /// Answers a scrape.
    pub async fn tell(&self, format: Format) -> Told {
        let figures = match timeout(Duration::from_secs(TAKE_SECONDS_MAX), self.figures()).await {
            Ok(Ok(figures)) => Some(figures),
            Ok(Err(error)) => {
                tracing::warn!(error = error.to_string(), "no metrics of the database");
                None
            }
            Err(_) => {
                let error = format!("it did not answer within {TAKE_SECONDS_MAX} s");
                tracing::warn!(error, "no metrics of the database");
                None
            }
        };
        let text = text::write(figures.as_deref(), &self.meters, format);
        Told { text, is_whole: figures.is_some() }
    }

    async fn figures(&self) -> Result<Arc<Figures>, StoreError> {
        let mut taken = self.taken.lock().await;
        let now = self.take.env.system_now();
        let kept = Duration::from_secs(KEPT_SECONDS);
        // A system clock that was put back does not keep them.
        let is_fresh = |at: Micros| at <= now && now.since(at) < kept;
        if let Some((_, figures)) = taken.as_ref().filter(|(at, _)| is_fresh(*at)) {
            return Ok(Arc::clone(figures));
        }
        let figures = Arc::new(self.take.run().await?);
        *taken = Some((now, Arc::clone(&figures)));
        Ok(figures)
    }
}

/// What the port serves.
pub fn router(scrapes: Scrapes) -> Router {
    Router::new().route("/metrics", get(answer)).with_state(Arc::new(scrapes))
}

async fn answer(State(scrapes): State<Arc<Scrapes>>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::wanted(accept);
    let Told { text, is_whole } = scrapes.tell(format).await;
    // A scrape that failed shows as `up` 0, which is what alerts watch.
    let status = if is_whole { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = [(CONTENT_TYPE, format.content_type()), (CACHE_CONTROL, "no-store")];
    (status, headers, text).into_response()
}
