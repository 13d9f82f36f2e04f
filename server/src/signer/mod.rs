//! The only room with keys: the seed, derivation, address statements. Not here: who gets an address
//! (usecase), how a chain is read (chain).

pub mod derive;
pub mod issue_log;
pub mod keystore;
pub mod local;

use async_trait::async_trait;
use ed25519_dalek::VerifyingKey;
use uuid::Uuid;

use crate::domain::address::{Role, SignedAddress};
use crate::domain::asset::Network;

/// Why the signer did not answer.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The keystore cannot be opened: wrong passphrase, damaged file, held by another process.
    #[error("keystore: {0}")]
    Keystore(String),
    /// The request is outside what the signer's own log allows.
    #[error("signer refuses: {0}")]
    Refused(String),
    /// The signer's own files cannot be read or written.
    #[error("signer storage: {0}")]
    Storage(#[from] std::io::Error),
}

/// Addresses that one call may ask for.
pub const ADDRESSES_MAX: u32 = 10_000;

/// The only road to key material.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The key that vouches for addresses; its SHA-256 is the wallet's id.
    fn verifying_key(&self) -> VerifyingKey;

    /// Derives and signs `count` addresses, [`ADDRESSES_MAX`] at the most, from `first_index` on. The
    /// highest index is in the signer's own log before this returns. Asking again gives the same answer.
    async fn addresses(
        &self,
        network: Network,
        role: Role,
        first_index: u32,
        count: u32,
    ) -> Result<Vec<SignedAddress>, SignerError>;

    /// One past the highest index ever issued for a network and role.
    async fn next_index(&self, network: Network, role: Role) -> Result<u32, SignerError>;

    /// Keeps the newest invoice of the database that works with this wallet: a database that lacks it
    /// later was restored from a backup that is older. On the disk when this returns.
    async fn note_invoice(&self, newest: Option<Uuid>) -> Result<(), SignerError>;

    /// What was noted last.
    async fn noted_invoice(&self) -> Result<Option<Uuid>, SignerError>;
}
