//! From the seed to addresses: every level hardened, `m/purpose'/coin'/account'/role'/index'`, so
//! that one leaked child key and a public key tell nothing about any other key (BIP 32's known
//! weakness of unhardened paths). Not here: storing the seed (`keystore`).

use bitcoin::bip32::{ChildNumber, Xpriv};
use bitcoin::hashes::{Hash as _, hash160};
use bitcoin::secp256k1::{All, PublicKey, Secp256k1};
use ed25519_dalek::SigningKey;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use sha3::{Digest as _, Keccak256};
use zeroize::Zeroizing;

use super::SignerError;
use crate::domain::address::{ChainKind, DerivedAddress, Role};
use crate::domain::address_text::format;
use crate::domain::asset::Network;

/// Separates the address-signing key from everything BIP 32 derives from the same seed.
const ADDRESS_KEY_LABEL: &[u8] = b"cryptopayment address signing key v1";

/// Derives keys and addresses from one seed.
pub struct Deriver {
    master: Xpriv,
    curve: Secp256k1<All>,
}

/// The levels of a path above its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Levels {
    purpose: u32,
    coin: u32,
    account: u32,
}

/// BIP 43 purpose, SLIP-44 coin type (1 on every test chain), and the account that keeps networks
/// with one coin type apart.
const fn levels(network: Network, chain: ChainKind) -> Levels {
    let (purpose, coin, account) = match network {
        Network::Btc => (84, 0, 0),
        Network::Ltc => (84, 2, 0),
        Network::Eth => (44, 60, 0),
        Network::Bep20 => (44, 60, 1),
        Network::Trc20 => (44, 195, 2),
    };
    let coin = if matches!(chain, ChainKind::Mainnet) { coin } else { 1 };
    Levels { purpose, coin, account }
}

impl Deriver {
    /// A deriver from a BIP 39 seed.
    ///
    /// # Errors
    /// When the seed has a length BIP 32 does not take.
    pub fn new(seed: &[u8; 64]) -> Result<Self, SignerError> {
        // The network only marks serialized extended keys, which are never written.
        let master = Xpriv::new_master(bitcoin::NetworkKind::Main, seed)
            .map_err(|error| SignerError::Keystore(error.to_string()))?;
        Ok(Self { master, curve: Secp256k1::new() })
    }

    /// The address at one index.
    ///
    /// # Errors
    /// `Refused` for an index beyond BIP 32's 2^31 - 1.
    pub fn address(
        &self,
        network: Network,
        chain: ChainKind,
        role: Role,
        index: u32,
    ) -> Result<DerivedAddress, SignerError> {
        let Levels { purpose, coin, account } = levels(network, chain);
        let path = [purpose, coin, account, role.level(), index]
            .map(ChildNumber::from_hardened_idx)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| SignerError::Refused(error.to_string()))?;
        let child = self
            .master
            .derive_priv(&self.curve, &path)
            .map_err(|error| SignerError::Refused(error.to_string()))?;
        let public = PublicKey::from_secret_key(&self.curve, &child.private_key);
        let key = address_key(network, &public);
        let text = format(network, chain, &key)
            .ok_or_else(|| SignerError::Refused(format!("no {network} address form")))?;
        Ok(DerivedAddress { network, chain, role, account, index, text, key })
    }
}

/// What outputs to a public key are matched by: P2WPKH (BIP 84), or the Keccak account.
fn address_key(network: Network, public: &PublicKey) -> Vec<u8> {
    match network {
        Network::Btc | Network::Ltc => {
            let hash = hash160::Hash::hash(&public.serialize());
            [&[0x00, 0x14], hash.as_byte_array().as_slice()].concat()
        }
        Network::Eth | Network::Bep20 | Network::Trc20 => {
            let digest = Keccak256::digest(&public.serialize_uncompressed()[1..]);
            digest[12..].to_vec()
        }
    }
}

/// The key that vouches for addresses: HMAC-SHA512 of a label under the seed, its first half.
///
/// # Errors
/// Never for a seed of 64 bytes.
pub fn address_signing_key(seed: &[u8; 64]) -> Result<SigningKey, SignerError> {
    let mut mac = Hmac::<Sha512>::new_from_slice(seed)
        .map_err(|error| SignerError::Keystore(error.to_string()))?;
    mac.update(ADDRESS_KEY_LABEL);
    let output = mac.finalize().into_bytes();
    let mut secret = Zeroizing::new([0_u8; 32]);
    secret.copy_from_slice(&output[..32]);
    Ok(SigningKey::from_bytes(&secret))
}

#[cfg(test)]
#[path = "derive_tests.rs"]
mod tests;
