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
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::str::FromStr as _;

    use bitcoin::bip32::{DerivationPath, Xpub};

    use super::*;

    /// The seed of the mnemonic `abandon ... about` with an empty passphrase.
    fn seed() -> [u8; 64] {
        let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon about";
        bip39::Mnemonic::parse(words).unwrap().to_seed("")
    }

    #[test]
    fn bip_84_vector_through_the_same_steps() {
        let deriver = Deriver::new(&seed()).unwrap();
        let path = DerivationPath::from_str("m/84'/0'/0'/0/0").unwrap();
        let child = deriver.master.derive_priv(&deriver.curve, &path).unwrap();
        let public = PublicKey::from_secret_key(&deriver.curve, &child.private_key);
        let key = address_key(Network::Btc, &public);
        assert_eq!(
            format(Network::Btc, ChainKind::Mainnet, &key).unwrap(),
            "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
        );
    }

    #[test]
    fn bip_44_ether_vector_through_the_same_steps() {
        let deriver = Deriver::new(&seed()).unwrap();
        let path = DerivationPath::from_str("m/44'/60'/0'/0/0").unwrap();
        let child = deriver.master.derive_priv(&deriver.curve, &path).unwrap();
        let public = PublicKey::from_secret_key(&deriver.curve, &child.private_key);
        let key = address_key(Network::Eth, &public);
        assert_eq!(
            format(Network::Eth, ChainKind::Mainnet, &key).unwrap(),
            "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"
        );
    }

    #[test]
    fn networks_roles_and_indexes_never_share_a_key() {
        let deriver = Deriver::new(&seed()).unwrap();
        let mut keys = std::collections::HashSet::new();
        for network in Network::ALL {
            for role in [Role::Deposit, Role::Treasury] {
                for index in [0, 1, 2] {
                    let chain = ChainKind::Mainnet;
                    let address = deriver.address(network, chain, role, index).unwrap();
                    assert!(keys.insert(address.key), "{network} {role:?} {index}");
                }
            }
        }
        assert!(deriver.address(Network::Btc, ChainKind::Mainnet, Role::Deposit, 1 << 31).is_err());
    }

    #[test]
    fn a_public_key_of_a_level_derives_nothing_below_it() {
        // BIP 32: with an extended public key and one unhardened child's private key, the parent's
        // private key follows. On a hardened path there is no public derivation at all.
        let deriver = Deriver::new(&seed()).unwrap();
        let levels = DerivationPath::from_str("m/84'/0'/0'/0'").unwrap();
        let parent = deriver.master.derive_priv(&deriver.curve, &levels).unwrap();
        let public = Xpub::from_priv(&deriver.curve, &parent);
        let child = [ChildNumber::from_hardened_idx(0).unwrap()];
        assert!(public.derive_pub(&deriver.curve, &child).is_err());
    }
}
