//! The pruner: forgets what is kept for a while only. Not here: the blocks behind a cursor, which the
//! scanner forgets as it goes.

use super::{LEASE_SECONDS, Step};
use crate::env::Env;
use crate::store::{Db, idempotency, leases};

/// The pruner.
pub struct Pruner {
    db: Db,
    env: Env,
    holder: uuid::Uuid,
    idempotency_days: u32,
}

impl Pruner {
    /// A pruner that keeps idempotency keys for `idempotency_days`.
    pub fn new(db: Db, env: Env, holder: uuid::Uuid, idempotency_days: u32) -> Self {
        Self { db, env, holder, idempotency_days }
    }

    /// Forgets a bounded number of rows.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        if leases::acquire(&self.db, "prune", self.holder, LEASE_SECONDS).await?.is_none() {
            return Ok(Step::Idle);
        }
        let more = idempotency::prune(&self.db, self.idempotency_days, self.env.now()).await?;
        Ok(if more { Step::More } else { Step::Idle })
    }
}
