//! Addresses as text and as the key that outputs are matched by, for every network and instance.
//! A key is the exact scriptPubKey on UTXO chains and the 20-byte account on account chains.
//! Not here: deriving addresses (`signer`).

use bitcoin::base58;
use bitcoin::bech32::{self, Hrp, segwit};
use sha3::{Digest, Keccak256};

use super::address::ChainKind;
use super::asset::Network;

/// The first byte of every TRON address (mainnet and test networks alike).
const TRON_PREFIX: u8 = 0x41;
/// Characters of the longest address of any network.
const TEXT_CHARS_MAX: usize = 90;

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Unreadable, or its checksum is wrong.
    #[error("is not an address")]
    Malformed,
    /// An address of another network or instance.
    #[error("belongs to another network")]
    OtherNetwork,
}

/// How a UTXO chain's addresses begin.
struct Prefixes {
    hrp: &'static str,
    /// Version bytes of pay-to-pubkey-hash addresses.
    pubkey_hash: u8,
    /// Version bytes of pay-to-script-hash addresses; the first one is written.
    script_hash: &'static [u8],
}

fn prefixes(network: Network, chain: ChainKind) -> Option<Prefixes> {
    let (hrp, pubkey_hash, script_hash): (_, _, &[u8]) = match (network, chain) {
        (Network::Btc, ChainKind::Mainnet) => ("bc", 0x00, &[0x05]),
        (Network::Btc, ChainKind::Testnet) => ("tb", 0x6f, &[0xc4]),
        (Network::Btc, ChainKind::Regtest | ChainKind::Sandbox) => ("bcrt", 0x6f, &[0xc4]),
        (Network::Ltc, ChainKind::Mainnet) => ("ltc", 0x30, &[0x32, 0x05]),
        (Network::Ltc, ChainKind::Testnet) => ("tltc", 0x6f, &[0x3a, 0xc4]),
        (Network::Ltc, ChainKind::Regtest | ChainKind::Sandbox) => ("rltc", 0x6f, &[0x3a, 0xc4]),
        (Network::Eth | Network::Bep20 | Network::Trc20, _) => return None,
    };
    Some(Prefixes { hrp, pubkey_hash, script_hash })
}

/// The key of an address text.
///
/// # Errors
/// See [`AddressError`]; nothing panics, whatever the text.
pub fn parse(network: Network, chain: ChainKind, text: &str) -> Result<Vec<u8>, AddressError> {
    if text.len() > TEXT_CHARS_MAX || !text.is_ascii() {
        return Err(AddressError::Malformed);
    }
    match prefixes(network, chain) {
        Some(prefixes) => parse_utxo(&prefixes, text),
        None if network == Network::Trc20 => parse_tron(text),
        None => parse_evm(text),
    }
}

/// The text of a key; `None` for a key that no address text stands for.
pub fn format(network: Network, chain: ChainKind, key: &[u8]) -> Option<String> {
    match prefixes(network, chain) {
        Some(prefixes) => format_utxo(&prefixes, key),
        None => {
            let account = <[u8; 20]>::try_from(key).ok()?;
            Some(if network == Network::Trc20 { tron(account) } else { evm(account) })
        }
    }
}

fn parse_utxo(prefixes: &Prefixes, text: &str) -> Result<Vec<u8>, AddressError> {
    if let Ok((hrp, version, program)) = segwit::decode(text) {
        if hrp.to_lowercase() != prefixes.hrp {
            return Err(AddressError::OtherNetwork);
        }
        let version = version.to_u8();
        // BIP 141: OP_0, or OP_1 to OP_16 (0x50 + version), then the program.
        let opcode = if version == 0 { 0 } else { 0x50 + version };
        let length = u8::try_from(program.len()).map_err(|_| AddressError::Malformed)?;
        return Ok([&[opcode, length], program.as_slice()].concat());
    }
    let payload = base58::decode_check(text).map_err(|_| AddressError::Malformed)?;
    let (&version, hash) = payload.split_first().ok_or(AddressError::Malformed)?;
    if hash.len() != 20 {
        return Err(AddressError::Malformed);
    }
    if version == prefixes.pubkey_hash {
        Ok([&[0x76, 0xa9, 0x14], hash, &[0x88, 0xac]].concat())
    } else if prefixes.script_hash.contains(&version) {
        Ok([&[0xa9, 0x14], hash, &[0x87]].concat())
    } else {
        Err(AddressError::OtherNetwork)
    }
}

fn format_utxo(prefixes: &Prefixes, script: &[u8]) -> Option<String> {
    let versioned = |version: u8, hash: &[u8]| {
        let payload: Vec<u8> = std::iter::once(version).chain(hash.iter().copied()).collect();
        base58::encode_check(&payload)
    };
    match script {
        [0x76, 0xa9, 0x14, hash @ .., 0x88, 0xac] if hash.len() == 20 => {
            Some(versioned(prefixes.pubkey_hash, hash))
        }
        [0xa9, 0x14, hash @ .., 0x87] if hash.len() == 20 => {
            Some(versioned(*prefixes.script_hash.first()?, hash))
        }
        [opcode, length, program @ ..] if usize::from(*length) == program.len() => {
            let version = match opcode {
                0 => 0,
                0x51..=0x60 => opcode - 0x50,
                _ => return None,
            };
            let version = bech32::Fe32::try_from(version).ok()?;
            segwit::encode(Hrp::parse(prefixes.hrp).ok()?, version, program).ok()
        }
        _ => None,
    }
}

/// EIP-55: mixed case is a checksum; one case alone carries none and is accepted.
fn parse_evm(text: &str) -> Result<Vec<u8>, AddressError> {
    let digits = text.strip_prefix("0x").ok_or(AddressError::Malformed)?;
    let bytes = hex::decode(digits).map_err(|_| AddressError::Malformed)?;
    let account = <[u8; 20]>::try_from(bytes.as_slice()).map_err(|_| AddressError::Malformed)?;
    let has = |test: fn(&char) -> bool| digits.chars().any(|c| test(&c));
    let mixed = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase);
    if mixed && evm(account) != text {
        return Err(AddressError::Malformed);
    }
    Ok(bytes)
}

/// An account as EIP-55 writes it.
pub fn evm(account: [u8; 20]) -> String {
    let digits = hex::encode(account);
    let hash = Keccak256::digest(digits.as_bytes());
    let cased = digits.chars().enumerate().map(|(n, digit)| {
        let nibble = (hash[n / 2] >> (4 * (1 - n % 2))) & 0x0f;
        if nibble >= 8 { digit.to_ascii_uppercase() } else { digit }
    });
    format!("0x{}", cased.collect::<String>())
}

fn parse_tron(text: &str) -> Result<Vec<u8>, AddressError> {
    let payload = base58::decode_check(text).map_err(|_| AddressError::Malformed)?;
    match payload.split_first() {
        Some((&TRON_PREFIX, account)) if account.len() == 20 => Ok(account.to_vec()),
        Some((_, account)) if account.len() == 20 => Err(AddressError::OtherNetwork),
        _ => Err(AddressError::Malformed),
    }
}

/// An account as TRON writes it.
pub fn tron(account: [u8; 20]) -> String {
    let payload: Vec<u8> = std::iter::once(TRON_PREFIX).chain(account).collect();
    base58::encode_check(&payload)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const MAIN: ChainKind = ChainKind::Mainnet;

    /// The lines of a file of vectors.
    fn vectors(text: &str) -> impl Iterator<Item = &str> {
        text.lines().filter(|line| !line.starts_with('#'))
    }

    #[test]
    fn addresses_of_the_bips_and_of_litecoin_core() {
        let chains = [MAIN, ChainKind::Testnet, ChainKind::Regtest];
        for line in vectors(include_str!("../../tests/fixtures/vectors/addresses.txt")) {
            let [network, chain, text, script] =
                line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let network: Network = network.parse().unwrap();
            let chain = chains.into_iter().find(|kind| kind.as_str() == chain).unwrap();
            let key = parse(network, chain, text).unwrap();
            assert_eq!(hex::encode(&key), script, "{text}");
            let is_segwit = key.len() != 23 && key.len() != 25;
            let written = if is_segwit { text.to_lowercase() } else { text.to_owned() };
            assert_eq!(format(network, chain, &key).unwrap(), written);
            // Test chains share the old forms; nothing else is valid on two.
            for (other, kind) in [(Network::Btc, MAIN), (Network::Ltc, MAIN)] {
                if (other, kind) != (network, chain) {
                    assert_eq!(parse(other, kind, text), Err(AddressError::OtherNetwork), "{text}");
                }
            }
            if is_segwit {
                let capitals = text.to_uppercase();
                assert_eq!(parse(network, chain, &capitals), Ok(key), "{capitals}");
            }
        }
    }

    #[test]
    fn strings_that_the_bips_refuse() {
        for line in vectors(include_str!("../../tests/fixtures/vectors/no-addresses.txt")) {
            let (text, why) = line.split_once(" | ").unwrap();
            for network in [Network::Btc, Network::Ltc] {
                for chain in [MAIN, ChainKind::Testnet, ChainKind::Regtest] {
                    assert!(parse(network, chain, text).is_err(), "{text}: {why}");
                }
            }
        }
        // BIP 173: an address with a wrong character in any place is none.
        let good = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
        for at in 3..good.len() {
            let wrong = if good.as_bytes()[at] == b'q' { "p" } else { "q" };
            let bad = [&good[..at], wrong, &good[at + 1..]].concat();
            assert_eq!(parse(Network::Btc, MAIN, &bad), Err(AddressError::Malformed), "{bad}");
        }
    }

    #[test]
    fn legacy_addresses_and_litecoins_own_forms() {
        let p2pkh = "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2";
        let key = parse(Network::Btc, MAIN, p2pkh).unwrap();
        assert_eq!(hex::encode(&key), "76a91477bff20c60e522dfaa3350c39b030a5d004e839a88ac");
        assert_eq!(format(Network::Btc, MAIN, &key).unwrap(), p2pkh);
        assert_eq!(parse(Network::Ltc, MAIN, p2pkh), Err(AddressError::OtherNetwork));

        let old = parse(Network::Ltc, MAIN, "3P14159f73E4gFr7JterCCQh9QjiTjiZrG").unwrap();
        let new = format(Network::Ltc, MAIN, &old).unwrap();
        assert!(new.starts_with('M'), "Litecoin writes scripts with its own version: {new}");
        assert_eq!(parse(Network::Ltc, MAIN, &new).unwrap(), old);
    }

    #[test]
    fn eip_55_vectors() {
        let (mut capitals, mut small) = (0, 0);
        for text in vectors(include_str!("../../tests/fixtures/vectors/eip55.txt")) {
            let key = parse(Network::Eth, MAIN, text).unwrap();
            assert_eq!(format(Network::Bep20, MAIN, &key).unwrap(), text);
            let digits = &text[2..];
            // One case alone carries no checksum, whatever the address.
            for one_case in [digits.to_lowercase(), digits.to_uppercase()] {
                assert_eq!(parse(Network::Eth, MAIN, &format!("0x{one_case}")).as_ref(), Ok(&key));
            }
            capitals += u32::from(digits == digits.to_uppercase());
            small += u32::from(digits == digits.to_lowercase());
            // With a letter of each case left, one letter in the wrong case is a wrong checksum.
            for (at, letter) in digits.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()) {
                let wrong = if letter.is_ascii_uppercase() {
                    letter.to_ascii_lowercase()
                } else {
                    letter.to_ascii_uppercase()
                };
                let bad = format!("0x{}{wrong}{}", &digits[..at], &digits[at + 1..]);
                assert_eq!(parse(Network::Eth, MAIN, &bad), Err(AddressError::Malformed), "{bad}");
            }
        }
        assert_eq!((capitals, small), (2, 2), "all of EIP-55's list");
    }

    #[test]
    fn the_usdt_contract_on_tron() {
        let text = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";
        let key = parse(Network::Trc20, MAIN, text).unwrap();
        assert_eq!(hex::encode(&key), "a614f803b6fd780986a42c78ec9c7f77e6ded13c");
        assert_eq!(format(Network::Trc20, MAIN, &key).unwrap(), text);
        assert!(parse(Network::Trc20, MAIN, "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_the_same(text in "[ -~]{0,95}") {
            for network in Network::ALL {
                if let Ok(key) = parse(network, MAIN, &text) {
                    let written = format(network, MAIN, &key).unwrap();
                    prop_assert_eq!(parse(network, MAIN, &written).unwrap(), key);
                }
            }
        }

        #[test]
        fn every_account_reads_back(account in any::<[u8; 20]>()) {
            for network in [Network::Eth, Network::Bep20, Network::Trc20] {
                let text = format(network, MAIN, &account).unwrap();
                prop_assert_eq!(parse(network, MAIN, &text).unwrap(), account.to_vec());
            }
            let script = [&[0_u8, 20], account.as_slice()].concat();
            for chain in [ChainKind::Mainnet, ChainKind::Testnet, ChainKind::Regtest] {
                let text = format(Network::Ltc, chain, &script).unwrap();
                prop_assert_eq!(parse(Network::Ltc, chain, &text).unwrap(), script.clone());
            }
        }
    }
}
