//! The dispatcher: turns new events of the logs into deliveries for the endpoints that want them.

use super::{LEASE_SECONDS, Step};
use crate::env::Env;
use crate::signals::Signals;
use crate::store::{Db, events, leases};

/// The dispatcher.
pub struct Dispatcher {
    db: Db,
    env: Env,
    signals: Signals,
    holder: uuid::Uuid,
}

impl Dispatcher {
    /// A dispatcher.
    pub fn new(db: Db, env: Env, signals: Signals, holder: uuid::Uuid) -> Self {
        Self { db, env, signals, holder }
    }

    /// Dispatches what is new.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        if leases::acquire(&self.db, "dispatch", self.holder, LEASE_SECONDS).await?.is_none() {
            return Ok(Step::Idle);
        }
        if events::dispatch(&self.db, &self.env).await? == 0 {
            return Ok(Step::Idle);
        }
        self.signals.deliveries.notify_one();
        Ok(Step::More)
    }
}
