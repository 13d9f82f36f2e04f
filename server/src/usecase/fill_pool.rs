//! Keeping the address pool full: ask the signer for the next addresses and store them as a batch.
//! An address is watched before it is handed out, because a batch is leased only after the scanner
//! has it.

use std::sync::Arc;

use crate::domain::address::Role;
use crate::domain::asset::Network;
use crate::env::Env;
use crate::signer::{Signer, SignerError};
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
    /// Takes unused addresses out of use if this database is older than its wallet, as after a restore:
    /// what looks unused may have been handed out. So it is if the signer has issued more than the
    /// database knows, or an invoice was noted that it lacks. Returns how many of each network.
    pub async fn check_restored(
        &self,
        enabled: &[Network],
    ) -> Result<Vec<(Network, u64)>, FillError> {
        let lacks_invoice = match self.signer.noted_invoice().await? {
            Some(id) => !invoices::exists(&self.db, id).await?,
            None => false,
        };
        let mut quarantined = Vec::new();
        for network in Network::ALL {
            let is_older = lacks_invoice
                || enabled.contains(&network) && self.was_issued_more(network).await?;
            if is_older {
                let unit = self.db.begin("quarantine").await?;
                let count = addresses::quarantine_free(&unit, network).await?;
                unit.commit().await?;
                quarantined.push((network, count));
            }
        }
        Ok(quarantined)
    }

    async fn was_issued_more(&self, network: Network) -> Result<bool, FillError> {
        let known = self.level(network).await?.next_index;
        Ok(self.signer.next_index(network, Role::Deposit).await? > known)
    }

    /// Has the wallet note the newest invoice, if it is another one than was noted. An invoice of the
    /// moment before a crash may be missing there: a restore to within that moment goes unnoticed.
    pub async fn note_newest(&self) -> Result<(), FillError> {
        let newest = invoices::newest(&self.db).await?;
        if newest != self.signer.noted_invoice().await? {
            self.signer.note_invoice(newest).await?;
        }
        Ok(())
    }

    /// Adds one batch if the pool is low. Returns whether it did.
    pub async fn run(&self, network: Network) -> Result<bool, FillError> {
        let level = self.level(network).await?;
        if level.free >= self.addresses_low {
            return Ok(false);
        }
        let first = self.signer.next_index(network, Role::Deposit).await?.max(level.next_index);
        let signed =
            self.signer.addresses(network, Role::Deposit, first, self.addresses_batch).await?;
        let rows: Vec<_> = signed.into_iter().map(|address| (self.env.new_id(), address)).collect();
        let unit = self.db.begin("fill_pool").await?;
        addresses::fill(&unit, &self.wallet_id, &rows, network).await?;
        unit.commit().await?;
        Ok(true)
    }

    async fn level(&self, network: Network) -> Result<PoolLevel, StoreError> {
        addresses::level(&self.db, network, &self.wallet_id, self.addresses_low).await
    }
}
