//! In-process wake-ups between what writes and what waits for it: workers, streams, watchers. Not
//! here: any state; who is woken reads the database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use crate::domain::asset::Network;

/// In-process wake-ups. Losing one costs a tick, never a result.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Events may have to be dispatched.
    pub dispatch: Arc<Notify>,
    /// Addresses were taken or added.
    pub pool: Arc<Notify>,
    /// Deliveries may be due.
    pub deliveries: Arc<Notify>,
    /// A network was read; one for each.
    scanned: Arc<Mutex<BTreeMap<Network, Arc<Notify>>>>,
    /// Events were written: the value grows.
    events: Arc<watch::Sender<u64>>,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            dispatch: Arc::default(),
            scanned: Arc::default(),
            pool: Arc::default(),
            deliveries: Arc::default(),
            events: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Signals {
    /// Told when a network was read and something may have to be applied.
    pub fn scanned(&self, network: Network) -> Arc<Notify> {
        let mut scanned = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(scanned.entry(network).or_default())
    }

    /// Tells that events were written.
    pub fn events_written(&self) {
        self.dispatch.notify_one();
        self.events.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Wakes whoever waits for events.
    pub fn events(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }
}
