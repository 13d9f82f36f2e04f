//! The applier of one network: evaluates invoices that may have changed until none is left. All
//! rules are in `usecase::apply_deposits`.

use super::{LEASE_SECONDS, Step};
use crate::domain::asset::Network;
use crate::signals::Signals;
use crate::store::{leases, ledger};
use crate::usecase::apply_deposits::{ApplyDeposits, GROUP_INVOICES_MAX};

/// One network's applier.
pub struct Applier {
    apply: ApplyDeposits,
    network: Network,
    signals: Signals,
    holder: uuid::Uuid,
}

impl Applier {
    /// An applier of `network`.
    pub fn new(
        apply: ApplyDeposits,
        network: Network,
        signals: Signals,
        holder: uuid::Uuid,
    ) -> Self {
        Self { apply, network, signals, holder }
    }

    /// One group of invoices.
    pub async fn tick(&self) -> anyhow::Result<Step> {
        let name = format!("apply:{}", self.network);
        let db = &self.apply.db;
        if leases::acquire(db, &name, self.holder, LEASE_SECONDS).await?.is_none() {
            return Ok(Step::Idle);
        }
        let outcome = self.apply.run(self.network).await?;
        if outcome.events {
            self.signals.events_written();
        }
        if outcome.evaluated == GROUP_INVOICES_MAX as usize {
            return Ok(Step::More);
        }
        if ledger::fold(db).await? > 0 { Ok(Step::More) } else { Ok(Step::Idle) }
    }
}
