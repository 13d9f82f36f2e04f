//! In-process wake-ups between what writes and what waits for it: workers, streams, watchers. Not
//! here: any state; who is woken reads the database.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

/// In-process wake-ups. Losing one costs a tick, never a result.
#[derive(Clone, Debug)]
pub struct Signals {
    /// A scan wrote something.
    pub scanned: Arc<Notify>,
    /// Addresses were taken or added.
    pub pool: Arc<Notify>,
    /// Deliveries may be due.
    pub deliveries: Arc<Notify>,
    /// Events were written: the value grows.
    events: Arc<watch::Sender<u64>>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            scanned: Arc::default(),
            pool: Arc::default(),
            deliveries: Arc::default(),
            events: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Signals {
    /// Tells that events were written.
    pub fn events_written(&self) {
        self.events.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Wakes whoever waits for events.
    pub fn events(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }
}
