//! Derivation against the vectors of BIP 32, 39, 84 and 86, against addresses of other people's wallets, and
//! what the paths promise. Not here: what keeps the words (`local_tests`).

#![allow(clippy::unwrap_used)]

use std::str::FromStr as _;

use bitcoin::bip32::{DerivationPath, Xpub};
use bitcoin::key::TapTweak as _;

use super::*;
use crate::domain::address_text::{AddressError, parse};

/// The seed of the mnemonic `abandon ... about` with an empty passphrase.
fn seed() -> [u8; 64] {
    let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                 abandon abandon about";
    bip39::Mnemonic::parse(words).unwrap().to_seed("")
}

impl Deriver {
    /// The public key at any path, by the steps that `address` takes.
    fn public_at(&self, path: &str) -> PublicKey {
        let path = DerivationPath::from_str(path).unwrap();
        let child = self.master.derive_priv(&self.curve, &path).unwrap();
        PublicKey::from_secret_key(&self.curve, &child.private_key)
    }
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

/// Nothing of ours takes an extended key. With the library's reader nothing should: it takes what BIP 32
/// calls invalid. (`extended_keys_are_not_read` of the layout's tests sees to it.)
#[test]
fn invalid_extended_keys_of_bip_32_are_neither_words_nor_addresses() {
    let mut count = 0;
    for line in vectors(include_str!("../../tests/fixtures/vectors/no-extended-keys.txt")) {
        let [text, why, library] = line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        assert!(bip39::Mnemonic::parse(text).is_err(), "{why}");
        for network in Network::ALL {
            let parsed = parse(network, ChainKind::Mainnet, text);
            assert_eq!(parsed, Err(AddressError::Malformed), "{network}: {why}");
        }
        let taken = Xpriv::from_str(text).is_ok() || Xpub::from_str(text).is_ok();
        assert_eq!(if taken { "taken" } else { "refused" }, library, "{why}");
        count += 1;
    }
    assert_eq!(count, 16);
}

#[test]
fn bip_39_vectors() {
    let mut count = 0;
    for line in vectors(include_str!("../../tests/fixtures/vectors/bip39.txt")) {
        let [entropy, words, told] = line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let made = bip39::Mnemonic::from_entropy(&hex::decode(entropy).unwrap()).unwrap();
        assert_eq!(made.to_string(), words);
        let seed = bip39::Mnemonic::parse(words).unwrap().to_seed("TREZOR");
        assert_eq!(hex::encode(seed), told);
        count += 1;
    }
    assert_eq!(count, 24, "all English vectors that BIP 39 names");
}

#[test]
fn bip_84_vectors_through_the_same_steps() {
    let deriver = Deriver::new(&seed()).unwrap();
    for line in vectors(include_str!("../../tests/fixtures/vectors/bip84.txt")) {
        let [path, told, address] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let public = deriver.public_at(path);
        assert_eq!(public.to_string(), told);
        let key = address_key(Network::Btc, &public);
        assert_eq!(format(Network::Btc, ChainKind::Mainnet, &key).unwrap(), address);
    }
}

/// No address of ours is taproot's (`address_key` makes P2WPKH): the derivation and the address form are
/// ours, the tweak between them is the library's.
#[test]
fn bip_86_vectors_with_the_librarys_tweak() {
    let deriver = Deriver::new(&seed()).unwrap();
    for line in vectors(include_str!("../../tests/fixtures/vectors/bip86.txt")) {
        let [path, internal, output, address] =
            line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let (own, _) = deriver.public_at(path).x_only_public_key();
        assert_eq!(own.to_string(), internal, "{path}");
        let (tweaked, _) = own.tap_tweak(&deriver.curve, None);
        let program = tweaked.to_x_only_public_key().serialize();
        assert_eq!(hex::encode(program), output, "{path}");
        let script = [&[0x51, 0x20], program.as_slice()].concat();
        assert_eq!(format(Network::Btc, ChainKind::Mainnet, &script).unwrap(), address);
    }
}

#[test]
fn other_peoples_wallets_have_these_addresses_at_their_paths() {
    let mut seen = std::collections::BTreeSet::new();
    for line in vectors(include_str!("../../tests/fixtures/vectors/wallets.txt")) {
        let [network, words, passphrase, path, address] =
            line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let network: Network = network.parse().unwrap();
        let passphrase = if passphrase == "-" { "" } else { passphrase };
        let seed = bip39::Mnemonic::parse(words).unwrap().to_seed(passphrase);
        let key = address_key(network, &Deriver::new(&seed).unwrap().public_at(path));
        let own = format(network, ChainKind::Mainnet, &key).unwrap();
        assert_eq!(own, address, "{network} {path}");
        seen.insert(network);
    }
    // BNB Smart Chain's accounts are Ethereum's.
    assert!(
        [Network::Btc, Network::Ltc, Network::Eth, Network::Trc20].iter().all(|n| seen.contains(n))
    );
}

/// Whoever restores the words must find the money: the paths stay what they are.
#[test]
fn an_independent_program_finds_the_same_addresses_at_our_own_paths() {
    let deriver = Deriver::new(&seed()).unwrap();
    for line in vectors(include_str!("../../tests/fixtures/vectors/own-paths.txt")) {
        let [network, chain, role, index, address] =
            line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let kinds = [ChainKind::Mainnet, ChainKind::Testnet];
        let chain = kinds.into_iter().find(|kind| kind.as_str() == chain).unwrap();
        let role = if role == "deposit" { Role::Deposit } else { Role::Treasury };
        let index = index.parse().unwrap();
        let own = deriver.address(network.parse().unwrap(), chain, role, index).unwrap();
        assert_eq!(own.text, address, "{line}");
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
