//! Keeping the address pool full: ask the signer for the next addresses and store them as a batch.
//! An address is watched before it is handed out, because a batch is leased only after the scanner
//! has it. And finding out that the database went back to an earlier state, by what its wallet knows.

use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::address::{Role, SignedAddress};
use crate::domain::asset::Network;
use crate::env::Env;
use crate::signer::{ADDRESSES_MAX, Signer, SignerError};
use crate::store::addresses::{self, PoolLevel};
use crate::store::invoices;
use crate::store::{Db, StoreError};

/// Why the pool was not filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// The signer refused or failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The database refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use case with what it needs.
pub struct FillPool {
    /// The ledger's database.
    pub db: Db,
    /// The outside world.
    pub env: Env,
    /// Where addresses come from.
    pub signer: Arc<dyn Signer>,
    /// Which wallet they belong to.
    pub wallet_id: String,
    /// Below this many free addresses the pool is filled.
    pub addresses_low: u64,
    /// How many are added at a time.
    pub addresses_batch: u32,
}

impl FillPool {
    /// Takes unused addresses out of use if this database is older than its wallet, as after a restore or
    /// a failover to a replica that lagged: what looks unused may have been handed out. So it is if the
    /// signer has issued more than the database knows, or an invoice was noted that it lacks. What the
    /// signer has issued is added again, so that money which arrives there is seen. Last, the wallet notes
    /// the newest invoice. Returns the networks that were affected.
    ///
    /// An invoice of the moment before a crash may not be noted: a restore to within that moment goes
    /// unnoticed. A crash while addresses are added looks like a restore; that costs the unused ones.
    pub async fn check_restored(&self, enabled: &[Network]) -> Result<Vec<Network>, FillError> {
        let noted = self.signer.noted_invoice().await?;
        let newest = invoices::newest(&self.db, noted).await?;
        let mut affected = Vec::new();
        for network in Network::ALL {
            let lost = if enabled.contains(&network) { self.lost(network).await? } else { 0..0 };
            if newest.lacks_noted || !lost.is_empty() {
                self.take_out_of_use(network, lost).await?;
                affected.push(network);
            }
        }
        // Not before: it is what says that the database is older.
        if newest.id != noted {
            self.signer.note_invoice(newest.id).await?;
        }
        Ok(affected)
    }

    /// The indexes that were issued and are not in the database.
    async fn lost(&self, network: Network) -> Result<Range<u32>, FillError> {
        let known = addresses::next_index(&self.db, network, &self.wallet_id).await?;
        Ok(known..self.signer.next_index(network, Role::Deposit).await?)
    }

    async fn take_out_of_use(&self, network: Network, lost: Range<u32>) -> Result<(), FillError> {
        let unit = self.db.begin("quarantine").await?;
        let count = addresses::quarantine_free(&unit, network).await?;
        unit.commit().await?;
        tracing::error!(
            alarm = "database_older_than_wallet",
            %network,
            count,
            lost = lost.len(),
            "database is older than its wallet: quarantined"
        );
        let mut first = lost.start;
        while first < lost.end {
            let count = ADDRESSES_MAX.min(lost.end - first);
            let rows = self.issue(network, first, count).await?;
            let unit = self.db.begin("quarantine").await?;
            if !addresses::fill_lost(&unit, &self.wallet_id, &rows, network).await? {
                break;
            }
            unit.commit().await?;
            first += count;
        }
        Ok(())
    }

    /// Adds one batch if the pool is low. Returns whether it did. Not while something that was issued is
    /// missing: see [`Self::check_restored`].
    pub async fn run(&self, network: Network) -> Result<bool, FillError> {
        let level = self.level(network).await?;
        let first = level.next_index;
        let next = self.signer.next_index(network, Role::Deposit).await?;
        if level.free >= self.addresses_low || next > first {
            return Ok(false);
        }
        let rows = self.issue(network, first, self.addresses_batch).await?;
        let unit = self.db.begin("fill_pool").await?;
        if !addresses::fill(&unit, &self.wallet_id, &rows, network).await? {
            return Ok(false);
        }
        unit.commit().await?;
        Ok(true)
    }

    async fn issue(
        &self,
        network: Network,
        first: u32,
        count: u32,
    ) -> Result<Vec<(Uuid, SignedAddress)>, FillError> {
        let signed = self.signer.addresses(network, Role::Deposit, first, count).await?;
        Ok(signed.into_iter().map(|address| (self.env.new_id(), address)).collect())
    }

    async fn level(&self, network: Network) -> Result<PoolLevel, StoreError> {
        addresses::level(&self.db, network, &self.wallet_id, self.addresses_low).await
    }
}
