//! The keystore file: the seed's words, encrypted under a passphrase (argon2id, then
//! XChaCha20-Poly1305), bound to one environment. Opening it takes a lock that only one process can
//! hold. Not here: what is derived from the seed (`derive`).

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use bip39::Mnemonic;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::SignerError;
use crate::env::Env;
use crate::private_file;

/// The keystore's file in its directory.
const FILE: &str = "keystore.json";
/// Held by the one process that has the keystore open.
const LOCK: &str = "keystore.lock";
/// The sandbox's passphrase.
const PASSPHRASE_FILE: &str = "keystore.passphrase";
/// Bytes of a file that is read.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Memory of argon2id, KiB (OWASP's minimum is 19 MiB with two passes).
const ARGON2_KIB: u32 = 64 * 1024;
const ARGON2_PASSES: u32 = 3;
/// The most that a file may ask for, KiB: a damaged header must not take all memory.
const ARGON2_KIB_MAX: u32 = 1024 * 1024;

/// What stands in the clear; all of it is authenticated.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    environment: String,
    argon2_kib: u32,
    argon2_passes: u32,
    salt: String,
    nonce: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    header: Header,
    sealed_words: String,
}

/// An opened keystore; dropping it releases the lock.
pub struct Keystore {
    words: Zeroizing<String>,
    /// Whether this opening created it.
    pub created: bool,
    _lock: File,
}

impl std::fmt::Debug for Keystore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keystore").field("created", &self.created).finish_non_exhaustive()
    }
}

impl Keystore {
    /// Opens the keystore in `directory`, creating it with a fresh seed on the first start.
    ///
    /// # Errors
    /// `Keystore` names what is wrong: passphrase, environment, damage, permissions, another process.
    pub fn open(
        directory: &Path,
        environment: &str,
        passphrase: &str,
        env: &Env,
    ) -> Result<Self, SignerError> {
        let lock = lock(directory)?;
        let path = directory.join(FILE);
        if path.exists() {
            let words = read(&path, environment, passphrase)?;
            return Ok(Self { words, created: false, _lock: lock });
        }
        let entropy = Zeroizing::new(env.random::<32>());
        let mnemonic = Mnemonic::from_entropy(entropy.as_slice()).map_err(keystore_error)?;
        Self::write_new(directory, environment, passphrase, env, &mnemonic, lock)
    }

    /// Creates the keystore from the 12 to 24 words of an earlier one.
    ///
    /// # Errors
    /// As [`Keystore::open`]; also when there is a keystore already.
    pub fn restore(
        directory: &Path,
        environment: &str,
        passphrase: &str,
        env: &Env,
        words: &str,
    ) -> Result<Self, SignerError> {
        let lock = lock(directory)?;
        if directory.join(FILE).exists() {
            return Err(SignerError::Keystore("there is a keystore already".to_owned()));
        }
        let mnemonic = Mnemonic::parse(words).map_err(keystore_error)?;
        Self::write_new(directory, environment, passphrase, env, &mnemonic, lock)
    }

    fn write_new(
        directory: &Path,
        environment: &str,
        passphrase: &str,
        env: &Env,
        mnemonic: &Mnemonic,
        lock: File,
    ) -> Result<Self, SignerError> {
        let words = Zeroizing::new(mnemonic.to_string());
        let header = Header {
            version: 1,
            environment: environment.to_owned(),
            argon2_kib: ARGON2_KIB,
            argon2_passes: ARGON2_PASSES,
            salt: hex::encode(env.random::<16>()),
            nonce: hex::encode(env.random::<24>()),
        };
        let sealed = cipher(&header, passphrase)?
            .encrypt(&nonce(&header)?, Payload { msg: words.as_bytes(), aad: &bound(&header)? })
            .map_err(keystore_error)?;
        let stored = Stored { header, sealed_words: hex::encode(sealed) };
        let text = serde_json::to_vec_pretty(&stored).map_err(keystore_error)?;
        private_file::write(&directory.join(FILE), &text)?;
        Ok(Self { words, created: true, _lock: lock })
    }

    /// The BIP 39 seed.
    ///
    /// # Errors
    /// When the stored words are none.
    pub fn seed(&self) -> Result<Zeroizing<[u8; 64]>, SignerError> {
        seed_of(&self.words)
    }
}

/// The passphrase to open with: the configured one; else, in the sandbox, one that is kept beside
/// the keystore. Live has no such file and refuses.
///
/// # Errors
/// `Keystore` in live without a passphrase, or when the file can not be used.
pub fn passphrase(
    configured: Option<Zeroizing<String>>,
    is_sandbox: bool,
    directory: &Path,
    env: &Env,
) -> Result<Zeroizing<String>, SignerError> {
    if let Some(known) = known_passphrase(configured, is_sandbox, directory)? {
        return Ok(known);
    }
    prepare(directory)?;
    let path = directory.join(PASSPHRASE_FILE);
    private_file::create(&path, Zeroizing::new(hex::encode(env.random::<32>())).as_bytes(), env)?;
    read_passphrase(&path)
}

/// As [`passphrase`], and makes none: `None` in a sandbox that was never started.
///
/// # Errors
/// As [`passphrase`].
pub fn known_passphrase(
    configured: Option<Zeroizing<String>>,
    is_sandbox: bool,
    directory: &Path,
) -> Result<Option<Zeroizing<String>>, SignerError> {
    if let Some(given) = configured {
        return if given.is_empty() {
            Err(SignerError::Keystore("the passphrase is empty".to_owned()))
        } else {
            Ok(Some(given))
        };
    }
    if !is_sandbox {
        let text = "live needs a passphrase: set signer.passphrase_file";
        return Err(SignerError::Keystore(text.to_owned()));
    }
    let path = directory.join(PASSPHRASE_FILE);
    if !path.exists() {
        return Ok(None);
    }
    read_passphrase(&path).map(Some)
}

fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, SignerError> {
    let text = String::from_utf8(read_private(path)?).map_err(keystore_error)?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Whether there is a keystore in `directory`.
pub fn exists(directory: &Path) -> bool {
    directory.join(FILE).exists()
}

/// The seed of the keystore in `directory`, read without its lock, beside the process that has it
/// open. Changes nothing.
///
/// # Errors
/// As [`Keystore::open`].
pub(super) fn peek(
    directory: &Path,
    environment: &str,
    passphrase: &str,
) -> Result<Zeroizing<[u8; 64]>, SignerError> {
    seed_of(&read(&directory.join(FILE), environment, passphrase)?)
}

fn seed_of(words: &str) -> Result<Zeroizing<[u8; 64]>, SignerError> {
    let mnemonic = Mnemonic::parse(words).map_err(keystore_error)?;
    Ok(Zeroizing::new(mnemonic.to_seed("")))
}

fn read(path: &Path, environment: &str, pass: &str) -> Result<Zeroizing<String>, SignerError> {
    let damaged = || SignerError::Keystore("the file is damaged".to_owned());
    let stored: Stored = serde_json::from_slice(&read_private(path)?).map_err(|_| damaged())?;
    let header = &stored.header;
    if header.version != 1 || header.argon2_kib > ARGON2_KIB_MAX {
        return Err(damaged());
    }
    if header.environment != environment {
        let text = format!("it belongs to {}, not to {environment}", header.environment);
        return Err(SignerError::Keystore(text));
    }
    let sealed = hex::decode(&stored.sealed_words).map_err(|_| damaged())?;
    let words = cipher(header, pass)?
        .decrypt(&nonce(header)?, Payload { msg: &sealed, aad: &bound(header)? })
        .map_err(|_| {
            SignerError::Keystore("wrong passphrase, or the file is damaged".to_owned())
        })?;
    let words = String::from_utf8(words).map_err(|_| damaged())?;
    Ok(Zeroizing::new(words))
}

fn cipher(header: &Header, passphrase: &str) -> Result<XChaCha20Poly1305, SignerError> {
    let params = Params::new(header.argon2_kib, header.argon2_passes, 1, Some(32))
        .map_err(keystore_error)?;
    let salt = hex::decode(&header.salt).map_err(keystore_error)?;
    let mut key = Zeroizing::new([0_u8; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), &salt, key.as_mut_slice())
        .map_err(keystore_error)?;
    Ok(XChaCha20Poly1305::new(&Key::from(*key)))
}

fn nonce(header: &Header) -> Result<XNonce, SignerError> {
    let bytes = hex::decode(&header.nonce).map_err(keystore_error)?;
    let nonce = <[u8; 24]>::try_from(bytes.as_slice()).map_err(keystore_error)?;
    Ok(XNonce::from(nonce))
}

/// The header as bytes, so that a changed one opens nothing.
fn bound(header: &Header) -> Result<Vec<u8>, SignerError> {
    serde_json::to_vec(header).map_err(keystore_error)
}

fn lock(directory: &Path) -> Result<File, SignerError> {
    prepare(directory)?;
    let path = directory.join(LOCK);
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    file.try_lock().map_err(|_| SignerError::Keystore("another process has it open".to_owned()))?;
    Ok(file)
}

/// Makes a directory that only its owner can enter.
pub(super) fn prepare(directory: &Path) -> Result<(), SignerError> {
    if !directory.exists() {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Reads a file that nobody but its owner may read.
fn read_private(path: &Path) -> Result<Vec<u8>, SignerError> {
    private_file::check(path).map_err(keystore_error)?;
    let mut content = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut content)?;
    Ok(content)
}

fn keystore_error(error: impl std::fmt::Display) -> SignerError {
    SignerError::Keystore(error.to_string())
}
