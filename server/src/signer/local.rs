//! The signer inside the process: keystore, derivation and issue log behind the `Signer` trait. Keys
//! are touched on blocking threads only, and never leave this file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::derive::{Deriver, address_signing_key};
use super::issue_log::IssueLog;
use super::keystore::{self, Keystore};
use super::{ADDRESSES_MAX, Signer, SignerError};
use crate::domain::address::{ChainKind, Role, SignedAddress};
use crate::domain::asset::Network;
use crate::env::Env;
use crate::private_file;

/// The issue log's file in the keystore's directory.
const LOG_FILE: &str = "issued.jsonl";
/// The file of the newest invoice there.
const NEWEST_FILE: &str = "newest-invoice";

/// Where the keystore is and what it is for.
#[derive(Debug, Clone)]
pub struct KeystoreSettings {
    /// Its directory; made if missing.
    pub directory: PathBuf,
    /// `sandbox` or `live`.
    pub environment: String,
    /// Which instance of each network addresses are derived for.
    pub chains: BTreeMap<Network, ChainKind>,
}

/// The signer of one process.
pub struct LocalSigner {
    shared: Arc<Shared>,
    verifying_key: VerifyingKey,
    created: bool,
}

struct Shared {
    settings: KeystoreSettings,
    deriver: Deriver,
    signing_key: SigningKey,
    log: Mutex<IssueLog>,
    env: Env,
    /// Held for its lock.
    _keystore: Keystore,
}

impl std::fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSigner").field("wallet_id", &self.wallet_id()).finish_non_exhaustive()
    }
}

impl LocalSigner {
    /// Opens the keystore, creating it on the first start.
    ///
    /// # Errors
    /// See [`Keystore::open`].
    pub fn open(
        settings: KeystoreSettings,
        passphrase: &Zeroizing<String>,
        env: Env,
    ) -> Result<Self, SignerError> {
        let keystore =
            Keystore::open(&settings.directory, &settings.environment, passphrase, &env)?;
        Self::with(keystore, settings, env)
    }

    /// Creates the keystore from the words of an earlier one.
    ///
    /// # Errors
    /// See [`Keystore::restore`].
    pub fn restore(
        settings: KeystoreSettings,
        passphrase: &Zeroizing<String>,
        words: &str,
        env: Env,
    ) -> Result<Self, SignerError> {
        let keystore =
            Keystore::restore(&settings.directory, &settings.environment, passphrase, &env, words)?;
        Self::with(keystore, settings, env)
    }

    fn with(keystore: Keystore, settings: KeystoreSettings, env: Env) -> Result<Self, SignerError> {
        let seed = keystore.seed()?;
        let signing_key = address_signing_key(&seed)?;
        let log = Mutex::new(IssueLog::open(&settings.directory.join(LOG_FILE))?);
        let (verifying_key, created) = (signing_key.verifying_key(), keystore.created);
        let deriver = Deriver::new(&seed)?;
        let shared = Shared { settings, deriver, signing_key, log, env, _keystore: keystore };
        Ok(Self { shared: Arc::new(shared), verifying_key, created })
    }

    /// Hex SHA-256 of the key that vouches for addresses: which wallet this is.
    pub fn wallet_id(&self) -> String {
        wallet_id(&self.verifying_key)
    }

    /// Whether opening it created it.
    pub fn created(&self) -> bool {
        self.created
    }
}

/// The id of the wallet in a keystore that another process may have open. Changes nothing.
///
/// # Errors
/// What is wrong: passphrase, environment, damage, permissions.
pub fn inspect(
    directory: &Path,
    environment: &str,
    passphrase: &Zeroizing<String>,
) -> Result<String, SignerError> {
    let seed = keystore::peek(directory, environment, passphrase)?;
    Ok(wallet_id(&address_signing_key(&seed)?.verifying_key()))
}

/// Hex SHA-256 of a key that vouches for addresses.
pub fn wallet_id(key: &VerifyingKey) -> String {
    hex::encode(Sha256::digest(key.as_bytes()))
}

impl Shared {
    fn addresses(
        &self,
        network: Network,
        role: Role,
        first: u32,
        count: u32,
    ) -> Result<Vec<SignedAddress>, SignerError> {
        let chain = self.settings.chains.get(&network).copied();
        let chain =
            chain.ok_or_else(|| SignerError::Refused(format!("{network} is not enabled here")))?;
        if count > ADDRESSES_MAX {
            return Err(SignerError::Refused(format!("more than {ADDRESSES_MAX} at a time")));
        }
        let end = first.checked_add(count).filter(|end| *end <= 1 << 31);
        let end = end.ok_or_else(|| SignerError::Refused("index beyond 2^31".to_owned()))?;
        let signed = (first..end)
            .map(|index| {
                let address = self.deriver.address(network, chain, role, index)?;
                let statement = address.statement(&self.settings.environment);
                let signature = self.signing_key.sign(&statement).to_bytes();
                Ok(SignedAddress { address, signature })
            })
            .collect::<Result<Vec<_>, SignerError>>()?;
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.record(network, role, end, &self.env)?;
        Ok(signed)
    }
}

#[async_trait]
impl Signer for LocalSigner {
    fn verifying_key(&self) -> VerifyingKey {
        self.verifying_key
    }

    async fn addresses(
        &self,
        network: Network,
        role: Role,
        first_index: u32,
        count: u32,
    ) -> Result<Vec<SignedAddress>, SignerError> {
        let shared = Arc::clone(&self.shared);
        let work = move || shared.addresses(network, role, first_index, count);
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| SignerError::Refused(error.to_string()))?
    }

    async fn next_index(&self, network: Network, role: Role) -> Result<u32, SignerError> {
        let log = self.shared.log.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(log.next_index(network, role))
    }

    async fn note_invoice(&self, newest: Option<Uuid>) -> Result<(), SignerError> {
        let path = self.shared.settings.directory.join(NEWEST_FILE);
        let text = newest.map_or_else(String::new, |id| id.to_string());
        let done = tokio::task::spawn_blocking(move || private_file::write(&path, text.as_bytes()));
        Ok(done.await.map_err(|error| SignerError::Refused(error.to_string()))??)
    }

    async fn noted_invoice(&self) -> Result<Option<Uuid>, SignerError> {
        let path = self.shared.settings.directory.join(NEWEST_FILE);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        match text.trim() {
            "" => Ok(None),
            id => id.parse().map(Some).map_err(|_| {
                SignerError::Refused(format!("{} holds no invoice's id", path.display()))
            }),
        }
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
