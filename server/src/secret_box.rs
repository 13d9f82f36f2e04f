//! Encrypts small secrets at rest (the APP_KEYs of webhooks) with a key file that only its owner can
//! read. A stolen database alone gives none of them away. Not here: API secrets (digests) and the
//! wallet's seed (`signer::keystore`).

use std::fs;
use std::path::Path;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::env::Env;
use crate::private_file;

/// The first byte of every sealed secret: which format it is.
const FORMAT: u8 = 1;
/// Bytes of an XChaCha20 nonce.
const NONCE_BYTES: usize = 24;

/// Why a secret could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SecretBoxError {
    /// The key file can not be used.
    #[error("secret key file: {0}")]
    KeyFile(String),
    /// The secret was sealed with another key or context, or was changed.
    #[error("a sealed secret does not open")]
    DoesNotOpen,
}

/// Seals and opens secrets.
pub struct SecretBox {
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for SecretBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBox(..)")
    }
}

impl SecretBox {
    /// Reads the key file, making it on the first start.
    ///
    /// # Errors
    /// When others could read the file, or it is no key.
    pub fn open_or_create(path: &Path, env: &Env) -> Result<Self, SecretBoxError> {
        if !path.exists() {
            let key = hex::encode(env.random::<32>());
            private_file::create(path, key.as_bytes(), env).map_err(|error| problem(&error))?;
        }
        Self::from_file(path)
    }

    /// Reads the key file that an earlier start made.
    ///
    /// # Errors
    /// When it is missing or others could read it, or it is no key.
    pub fn from_file(path: &Path) -> Result<Self, SecretBoxError> {
        private_file::check(path).map_err(|error| problem(&error))?;
        let text = fs::read_to_string(path).map_err(|error| problem(&error))?;
        let bytes = hex::decode(text.trim()).map_err(|_| problem(&"is no key"))?;
        let key = <[u8; 32]>::try_from(bytes.as_slice())
            .map_err(|_| problem(&"is no key of 32 bytes"))?;
        Ok(Self { cipher: XChaCha20Poly1305::new(&Key::from(key)) })
    }

    /// Seals a secret for one context; it opens with the same context alone.
    pub fn seal(&self, context: &[u8], plain: &[u8], env: &Env) -> Vec<u8> {
        let nonce = env.random::<NONCE_BYTES>();
        let payload = Payload { msg: plain, aad: context };
        // Fails only for messages beyond 256 GiB.
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).unwrap_or_default();
        [&[FORMAT], nonce.as_slice(), &sealed].concat()
    }

    /// Opens a sealed secret.
    ///
    /// # Errors
    /// `DoesNotOpen` for another key or context, and for changed bytes.
    pub fn open(
        &self,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SecretBoxError> {
        let rest = sealed.strip_prefix(&[FORMAT]).ok_or(SecretBoxError::DoesNotOpen)?;
        let (nonce, sealed) =
            rest.split_at_checked(NONCE_BYTES).ok_or(SecretBoxError::DoesNotOpen)?;
        let nonce =
            <[u8; NONCE_BYTES]>::try_from(nonce).map_err(|_| SecretBoxError::DoesNotOpen)?;
        let payload = Payload { msg: sealed, aad: context };
        let plain = self.cipher.decrypt(&XNonce::from(nonce), payload);
        plain.map(Zeroizing::new).map_err(|_| SecretBoxError::DoesNotOpen)
    }
}

fn problem(what: &dyn std::fmt::Display) -> SecretBoxError {
    SecretBoxError::KeyFile(what.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn opens_with_its_own_key_and_context_alone() {
        let home = tempfile::tempdir().unwrap();
        let env = Env::system();
        let path = home.path().join("secrets.key");
        assert!(SecretBox::from_file(&path).is_err() && !path.exists(), "reading makes nothing");
        let one = SecretBox::open_or_create(&path, &env).unwrap();
        let sealed = one.seal(b"key 1", b"secret", &env);
        let again = SecretBox::open_or_create(&path, &env).unwrap();
        assert_eq!(again.open(b"key 1", &sealed).unwrap().as_slice(), b"secret");
        assert!(again.open(b"key 2", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(again.open(b"key 1", &changed).is_err(), "byte {at}");
        }
        assert!(again.open(b"key 1", &[]).is_err());
        let other = SecretBox::open_or_create(&home.path().join("other.key"), &env).unwrap();
        assert!(other.open(b"key 1", &sealed).is_err());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(SecretBox::open_or_create(&path, &env).is_err());
    }
}
