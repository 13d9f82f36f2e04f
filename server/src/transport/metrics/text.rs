//! Figures and counters as the text that Prometheus reads. Every name, label and help text of what the
//! database knows stands here; `docs/operating/metrics.md` lists what this writes.

use std::borrow::Cow;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::endpoint::{EndpointState, NetworkState};
use crate::metrics::Meters;
use crate::store::figures::COUNTED_ROWS_MAX;
use crate::usecase::take_figures::{Figures, NetworkFigures, RateFigures};

/// What every name begins with.
const PREFIX: &str = "cryptopayment";
/// The content type of OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// In which form it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Prometheus,
}

impl Format {
    /// What the `accept` header asks for.
    pub fn wanted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// What it is called in a header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPEN_METRICS,
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// A node's name comes from the configuration, every other value is the program's own.
type Labels = Vec<(&'static str, Cow<'static, str>)>;
type Gauges = Family<Labels, Gauge>;

/// Everything that is told; without figures, what the process counts.
pub fn write(figures: Option<&Figures>, meters: &Meters, format: Format) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    let build = gauges(&mut registry, "build_info", "The program's version; always 1");
    build.get_or_create(&labels([("version", env!("CARGO_PKG_VERSION"))])).set(1);
    let help = "Whether the database answered; 0 comes with status 503 and without its figures";
    one(&mut registry, "database_up", help, u64::from(figures.is_some()));
    if let Some(figures) = figures {
        readings(&mut registry, &figures.networks);
        network_states(&mut registry, &figures.networks);
        network_counts(&mut registry, &figures.networks);
        endpoints(&mut registry, &figures.networks);
        queues(&mut registry, figures);
        rates(&mut registry, &figures.rates);
    }
    meters.register(&mut registry);
    let mut written = String::new();
    // Writing to memory does not fail.
    let _ = match format {
        Format::OpenMetrics => text::encode(&mut written, &registry),
        Format::Prometheus => prometheus_text::encode(&mut written, &registry),
    };
    written
}

fn gauges(registry: &mut Registry, name: &str, help: &str) -> Gauges {
    let family = Gauges::default();
    registry.register(name, help, family.clone());
    family
}

fn labels<const N: usize>(pairs: [(&'static str, &'static str); N]) -> Labels {
    pairs.map(|(key, value)| (key, value.into())).to_vec()
}

fn one(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(number(value));
    registry.register(name, help, gauge);
}

/// What a figure is whose count ends at a limit.
fn limited(about: &str) -> String {
    format!("{about} counted up to {COUNTED_ROWS_MAX}")
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// One gauge with a value of each network that has one.
fn of_each(
    registry: &mut Registry,
    (name, help): (&str, &str),
    networks: &[NetworkFigures],
    value: impl Fn(&NetworkFigures) -> Option<u64>,
) {
    let family = gauges(registry, name, help);
    for one in networks {
        if let Some(value) = value(one) {
            family.get_or_create(&labels([("network", one.network.as_str())])).set(number(value));
        }
    }
}

fn readings(registry: &mut Registry, networks: &[NetworkFigures]) {
    let about = (
        "network_head_height",
        "The newest block that is known of: at the last complete read, or since then by a node that is \
         believed",
    );
    of_each(registry, about, networks, |one| Some(one.reading?.head_height));
    let about = ("network_scanned_height", "The newest block that was read");
    of_each(registry, about, networks, |one| Some(one.reading?.scanned_height));
    let about = (
        "network_finalized_height",
        "The newest block that the chain calls final, where it does so",
    );
    of_each(registry, about, networks, |one| one.reading?.finalized_height);
    let about = ("network_lag_blocks", "Blocks that are known of and not read yet");
    of_each(registry, about, networks, |one| {
        let reading = one.reading?;
        Some(reading.head_height.saturating_sub(reading.scanned_height))
    });
    let about = (
        "network_watermark_lag_seconds",
        "How long ago the moment is up to which every payment is known; invoices expire no faster",
    );
    of_each(registry, about, networks, |one| Some(one.reading?.watermark_lag.as_secs()));
    let about = (
        "network_finality_stalled",
        "1 when the chain has called nothing new final for far longer than it takes",
    );
    of_each(registry, about, networks, |one| Some(one.reading?.is_finality_stalled.into()));
}

fn network_states(registry: &mut Registry, networks: &[NetworkFigures]) {
    let help = "1 for the state that the network is in: reading, catching_up, waiting (no node answers), \
                held (no node is believed)";
    let states = gauges(registry, "network_state", help);
    for one in networks {
        for state in NetworkState::ALL {
            let labels = labels([("network", one.network.as_str()), ("state", state.as_str())]);
            states.get_or_create(&labels).set((one.state == state).into());
        }
    }
}

fn network_counts(registry: &mut Registry, networks: &[NetworkFigures]) {
    let about = ("network_addresses", "Addresses that were made so far, which the scanner watches");
    of_each(registry, about, networks, |one| Some(one.counts.addresses));
    let help = limited("Addresses that no process has taken for its invoices yet,");
    let about = ("network_addresses_free", help.as_str());
    of_each(registry, about, networks, |one| Some(one.counts.addresses_free));
    let invoices = gauges(registry, "invoices_open", &limited("Open invoices, each status"));
    for one in networks {
        let counts = one.counts;
        for (status, count) in
            [("pending", counts.invoices_pending), ("confirming", counts.invoices_confirming)]
        {
            let labels = labels([("network", one.network.as_str()), ("status", status)]);
            invoices.get_or_create(&labels).set(number(count));
        }
    }
}

/// Nodes by the names of their settings: their addresses may hold keys.
fn endpoints(registry: &mut Registry, networks: &[NetworkFigures]) {
    let help = "1 for the state that the node is in, as `admin networks endpoints` names it";
    let states = gauges(registry, "endpoint_state", help);
    let help = "1 when the network is read from this node";
    let serving = gauges(registry, "endpoint_serving", help);
    let help = "The newest block that the node stated";
    let heights = gauges(registry, "endpoint_height", help);
    for one in networks {
        for node in &one.endpoints {
            let mut labels = labels([("network", one.network.as_str())]);
            labels.push(("endpoint", Cow::Owned(node.name.clone())));
            serving.get_or_create(&labels).set(node.is_serving.into());
            if let Some(height) = node.height {
                heights.get_or_create(&labels).set(number(height));
            }
            for state in EndpointState::ALL {
                let mut labels = labels.clone();
                labels.push(("state", state.as_str().into()));
                states.get_or_create(&labels).set((node.state == state).into());
            }
        }
    }
}

fn queues(registry: &mut Registry, figures: &Figures) {
    let queues = figures.queues;
    let help = limited("Webhook deliveries that are still to be made,");
    one(registry, "webhook_deliveries_pending", &help, queues.deliveries_pending);
    let help = limited("Webhook deliveries on record that failed for good,");
    one(registry, "webhook_deliveries_failed", &help, queues.deliveries_failed);
    let help = "How long ago the oldest pending delivery was due; 0 when none is";
    one(registry, "webhook_oldest_due_seconds", help, figures.oldest_due_age.as_secs());
    let help = "Events that no delivery was made of yet";
    one(registry, "events_undispatched", help, queues.events_undispatched);
    let help = limited("Unexpected deposits that nobody settled,");
    one(registry, "unexpected_deposits_open", &help, queues.unexpected_deposits);
}

fn rates(registry: &mut Registry, rates: &[RateFigures]) {
    let help = "1 when invoices in the coin can be priced; told by processes that do so";
    let available = gauges(registry, "rate_available", help);
    let help = "How old the coin's last rate is; missing until there was one";
    let ages = gauges(registry, "rate_age_seconds", help);
    for rate in rates {
        let labels = labels([("asset", rate.asset.as_str())]);
        available.get_or_create(&labels).set(rate.is_available.into());
        if let Some(age) = rate.age {
            ages.get_or_create(&labels).set(number(age.as_secs()));
        }
    }
}
