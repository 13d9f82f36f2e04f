//! Derivation against the vectors of BIP 32, 39, 44 and 84, and what the paths promise.

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

/// The lines of a file of vectors.
fn vectors(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn bip_32_vectors() {
    for line in vectors(include_str!("../../tests/fixtures/vectors/bip32.txt")) {
        let [seed, path, told] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let seed = hex::decode(seed).unwrap();
        let master = match <&[u8; 64]>::try_from(seed.as_slice()) {
            Ok(seed) => Deriver::new(seed).unwrap().master,
            Err(_) => Xpriv::new_master(bitcoin::NetworkKind::Main, &seed).unwrap(),
        };
        let path = DerivationPath::from_str(path).unwrap();
        let child = master.derive_priv(&Secp256k1::new(), &path).unwrap();
        assert_eq!(child.to_string(), told, "{path}");
    }
}

#[test]
fn bip_39_vectors() {
    for line in vectors(include_str!("../../tests/fixtures/vectors/bip39.txt")) {
        let [entropy, words, told] = line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let made = bip39::Mnemonic::from_entropy(&hex::decode(entropy).unwrap()).unwrap();
        assert_eq!(made.to_string(), words);
        let seed = bip39::Mnemonic::parse(words).unwrap().to_seed("TREZOR");
        assert_eq!(hex::encode(seed), told);
    }
}

#[test]
fn bip_84_vectors_through_the_same_steps() {
    let deriver = Deriver::new(&seed()).unwrap();
    for line in vectors(include_str!("../../tests/fixtures/vectors/bip84.txt")) {
        let [path, told, address] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let path = DerivationPath::from_str(path).unwrap();
        let child = deriver.master.derive_priv(&deriver.curve, &path).unwrap();
        let public = PublicKey::from_secret_key(&deriver.curve, &child.private_key);
        assert_eq!(public.to_string(), told);
        let key = address_key(Network::Btc, &public);
        assert_eq!(format(Network::Btc, ChainKind::Mainnet, &key).unwrap(), address);
    }
}

/// BIP 43 and 44: the purposes; SLIP-44: the coin types, one for every test chain.
#[test]
fn purposes_and_coin_types_are_the_registered_ones() {
    for (network, purpose, coin) in [
        (Network::Btc, 84, 0),
        (Network::Ltc, 84, 2),
        (Network::Eth, 44, 60),
        (Network::Bep20, 44, 60),
        (Network::Trc20, 44, 195),
    ] {
        let main = levels(network, ChainKind::Mainnet);
        assert_eq!((main.purpose, main.coin), (purpose, coin), "{network}");
        for chain in [ChainKind::Sandbox, ChainKind::Regtest, ChainKind::Testnet] {
            let test = levels(network, chain);
            assert_eq!((test.purpose, test.coin, test.account), (purpose, 1, main.account));
        }
    }
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
