//! The pruner: forgets what is kept for a while only. Not here: the blocks behind a cursor, which the
//! scanner forgets as it goes.

use super::{LEASE_SECONDS, Step};
use crate::env::Env;
use crate::store::{Db, delivery_log, idempotency, leases};

/// How long things are kept, in days.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// Idempotency keys.
    pub idempotency_days: u32,
    /// Deliveries that ended, with their attempts.
    pub delivery_days: u32,
}

/// The pruner.
pub struct Pruner {
    db: Db,
    env: Env,
    holder: uuid::Uuid,
    kept: Kept,
}

impl Pruner {
    /// A pruner that keeps things for so long.
    pub fn new(db: Db, env: Env, holder: uuid::Uuid, kept: Kept) -> Self {
        Self { db, env, holder, kept }
    }

    /// Forgets a bounded number of rows.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        if leases::acquire(&self.db, "prune", self.holder, LEASE_SECONDS).await?.is_none() {
            return Ok(Step::Idle);
        }
        let (db, now) = (&self.db, self.env.now());
        let keys = idempotency::prune(db, self.kept.idempotency_days, now).await?;
        let deliveries = delivery_log::prune(db, self.kept.delivery_days, now).await?;
        Ok(if keys || deliveries { Step::More } else { Step::Idle })
    }
}
