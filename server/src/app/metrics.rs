//! Starts what answers the operator's monitoring, in every role. It is reached over an address of its own.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Core;
use crate::rates::RateSource;
use crate::transport::listener::{self, ListenerLimits};
use crate::transport::metrics::{Scrapes, router};
use crate::usecase::take_figures::TakeFigures;

/// Connections open at once: a few monitors, and whoever looks by hand.
const CONNECTIONS_MAX: usize = 32;
/// Seconds that a scrape has at shutdown.
const DRAIN_SECONDS_MAX: u64 = 1;

/// Starts answering scrapes.
pub(super) fn spawn(
    core: &Core,
    listener: TcpListener,
    rates: Option<Arc<dyn RateSource>>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let take = TakeFigures {
        db: core.db.clone(),
        env: core.env.clone(),
        networks: core.terms.keys().copied().collect(),
        rates,
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "metrics");
    }
    let scrapes = Scrapes::new(take, core.meters.clone());
    let limits = ListenerLimits {
        connections_max: CONNECTIONS_MAX,
        connections_per_ip_max: CONNECTIONS_MAX,
        drain_seconds_max: DRAIN_SECONDS_MAX,
        ..ListenerLimits::default()
    };
    tasks.spawn(listener::serve(listener, router(scrapes), limits, stop.clone()));
}
