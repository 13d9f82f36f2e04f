//! Keeps the address pools of the enabled networks full.

use std::sync::Arc;

use super::{LEASE_SECONDS, Step};
use crate::domain::asset::Network;
use crate::store::leases;
use crate::usecase::fill_pool::FillPool;

/// The pool keeper.
pub struct PoolKeeper {
    fill: Arc<FillPool>,
    networks: Vec<Network>,
    holder: uuid::Uuid,
}

impl PoolKeeper {
    /// A keeper of these networks' pools.
    pub fn new(fill: Arc<FillPool>, networks: Vec<Network>, holder: uuid::Uuid) -> Self {
        Self { fill, networks, holder }
    }

    /// Fills each pool that is low.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        if leases::acquire(&self.fill.db, "pool", self.holder, LEASE_SECONDS).await?.is_none() {
            return Ok(Step::Idle);
        }
        let mut filled = false;
        for network in &self.networks {
            filled |= self.fill.run(*network).await?;
        }
        Ok(if filled { Step::More } else { Step::Idle })
    }
}
