//! What this process counts of itself while it runs: calls, units of work, attempts at webhooks, reads of
//! nodes. It is kept in memory and bounded: no label comes from outside. Not here: what the database
//! knows (`store::figures`), and how it is told (`transport::metrics`).

mod calls;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use calls::{CallMeter, OngoingCall};

/// Seconds in which attempts at webhooks are sorted; none takes longer than the last.
const ATTEMPT_SECONDS: [f64; 7] = [0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0];

/// Every counter of the process; clones count together.
#[derive(Clone)]
pub struct Meters {
    /// Calls of the API.
    pub calls: CallMeter,
    /// Units of work.
    pub units: UnitMeter,
    /// Attempts at webhooks.
    pub attempts: AttemptMeter,
    /// Reads of nodes.
    pub reads: ReadMeter,
}

impl Meters {
    /// Counters that begin at nothing, with those of the calls that are served here.
    pub fn new(calls: CallMeter) -> Self {
        Self { calls, units: UnitMeter::default(), attempts: <_>::default(), reads: <_>::default() }
    }

    /// Adds them to what is told.
    pub fn register(&self, registry: &mut Registry) {
        self.calls.register(registry);
        let help = "Units of work by how they ended: committed, conflict (another one was in the way of \
                    the commit), failed (no transaction, or no commit), rolled_back (given up before)";
        registry.register("units_of_work", help, self.units.0.clone());
        let help = "Attempts at webhooks: delivered, refused (another answer than 2xx), or the error of \
                    the delivery log";
        registry.register("webhook_attempts", help, self.attempts.made.clone());
        let help = "How long attempts at webhooks took";
        registry.register("webhook_attempt_duration_seconds", help, self.attempts.seconds.clone());
        let help = "Reads of a network's nodes: answered, failed (no answer; tried again), or refused (the \
                    answer makes no sense or the node cannot be used)";
        registry.register("node_reads", help, self.reads.0.clone());
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnitLabels {
    unit: &'static str,
    outcome: &'static str,
}

/// Counts units of work by name.
#[derive(Debug, Clone, Default)]
pub struct UnitMeter(Family<UnitLabels, Counter>);

impl UnitMeter {
    /// A unit of work begins.
    pub fn begin(&self, name: &'static str) -> OpenUnit {
        OpenUnit { meter: self.clone(), name, end: UnitEnd::Failed }
    }
}

/// How a unit of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitEnd {
    /// It is durable.
    Committed,
    /// Another one was in the way of its commit.
    Conflict,
    /// It got no transaction, or no commit.
    Failed,
    /// It was given up before its commit: nothing was to be done, or something was in its way.
    RolledBack,
}

/// A unit of work under way, counted when it is dropped.
#[derive(Debug)]
pub struct OpenUnit {
    meter: UnitMeter,
    name: &'static str,
    end: UnitEnd,
}

impl OpenUnit {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it has come to so far.
    pub fn reaches(&mut self, end: UnitEnd) {
        self.end = end;
    }
}

impl Drop for OpenUnit {
    fn drop(&mut self) {
        let outcome = match self.end {
            UnitEnd::Committed => "committed",
            UnitEnd::Conflict => "conflict",
            UnitEnd::Failed => "failed",
            UnitEnd::RolledBack => "rolled_back",
        };
        self.meter.0.get_or_create(&UnitLabels { unit: self.name, outcome }).inc();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
}

/// Counts attempts at webhooks.
#[derive(Debug, Clone)]
pub struct AttemptMeter {
    made: Family<AttemptLabels, Counter>,
    seconds: Histogram,
}

impl Default for AttemptMeter {
    fn default() -> Self {
        Self { made: Family::default(), seconds: Histogram::new(ATTEMPT_SECONDS) }
    }
}

impl AttemptMeter {
    /// An attempt ended.
    pub fn ended(&self, outcome: &'static str, took: Duration) {
        self.made.get_or_create(&AttemptLabels { outcome }).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    network: &'static str,
    outcome: &'static str,
}

/// Counts reads of nodes.
#[derive(Debug, Clone, Default)]
pub struct ReadMeter(Family<ReadLabels, Counter>);

impl ReadMeter {
    /// A read of a network's serving node ended.
    pub fn ended(&self, network: &'static str, outcome: &'static str) {
        self.0.get_or_create(&ReadLabels { network, outcome }).inc();
    }
}
