//! Keeps the address pools of the enabled networks full, and tells each network's scanner of new
//! addresses, so that they are watched, and can be handed out, at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{LEASE_SECONDS, Step};
use crate::domain::asset::Network;
use crate::store::leases;
use crate::usecase::fill_pool::FillPool;

/// The pool keeper.
pub struct PoolKeeper {
    fill: Arc<FillPool>,
    /// Wakes each network's scanner.
    scanners: BTreeMap<Network, Arc<Notify>>,
    holder: uuid::Uuid,
}

impl PoolKeeper {
    /// A keeper of these networks' pools.
    pub fn new(
        fill: Arc<FillPool>,
        scanners: BTreeMap<Network, Arc<Notify>>,
        holder: uuid::Uuid,
    ) -> Self {
        Self { fill, scanners, holder }
    }

    /// Fills each pool that is low, and has the wallet note the newest invoice.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        if leases::acquire(&self.fill.db, "pool", self.holder, LEASE_SECONDS).await?.is_none() {
            return Ok(Step::Idle);
        }
        self.fill.note_newest().await?;
        let mut filled = false;
        for (network, scanner) in &self.scanners {
            if self.fill.run(*network).await? {
                scanner.notify_one();
                filled = true;
            }
        }
        Ok(if filled { Step::More } else { Step::Idle })
    }
}
