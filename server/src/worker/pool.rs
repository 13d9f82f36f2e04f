//! Keeps the address pools of the enabled networks full, and tells each network's scanner of new
//! addresses, so that they are watched, and can be handed out, at once. While it holds its lease the
//! database is known to be as new as its wallet; without it no process gets addresses.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{LEASE_SECONDS, Step};
use crate::domain::asset::Network;
use crate::store::addresses::POOL_LEASE;
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

    /// Looks whether the database went back, and fills each pool that is low.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        let networks: Vec<Network> = self.scanners.keys().copied().collect();
        let mut filled = false;
        // Before the lease: while it is held addresses are handed out.
        for network in self.fill.check_restored(&networks).await? {
            self.wake(network);
        }
        if !self.hold_lease().await? {
            return Ok(Step::Idle);
        }
        for network in networks {
            if self.fill.run(network).await? {
                self.wake(network);
                filled = true;
                // A batch takes a while to be made.
                if !self.hold_lease().await? {
                    return Ok(Step::Idle);
                }
            }
        }
        Ok(if filled { Step::More } else { Step::Idle })
    }

    async fn hold_lease(&self) -> anyhow::Result<bool> {
        let (db, holder) = (&self.fill.db, self.holder);
        Ok(leases::acquire(db, POOL_LEASE, holder, LEASE_SECONDS).await?.is_some())
    }

    /// Has new addresses watched at once.
    fn wake(&self, network: Network) {
        if let Some(scanner) = self.scanners.get(&network) {
            scanner.notify_one();
        }
    }
}
