//! Addresses: any text, and a sound address of every network that is then damaged. What is read is
//! written the same; a wrong character is found by the checksum; no test chain's address is taken for
//! a real one.

use cryptopayment::domain::address::ChainKind;
use cryptopayment::domain::address_text::{evm, format, parse};
use cryptopayment::domain::asset::Network;

const CHAINS: [ChainKind; 4] =
    [ChainKind::Mainnet, ChainKind::Testnet, ChainKind::Regtest, ChainKind::Sandbox];
/// Characters that stand in some address.
const CHARACTERS: &[u8] = b"0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

pub fn addresses(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for network in Network::ALL {
        for chain in CHAINS {
            read(network, chain, &text);
        }
    }
    let byte = |at: usize| data.get(at).copied().unwrap_or(0);
    let network = Network::ALL[usize::from(byte(0)) % Network::ALL.len()];
    let chain = CHAINS[usize::from(byte(1)) % CHAINS.len()];
    let mut hash = [0_u8; 32];
    for (slot, byte) in hash.iter_mut().zip(data.iter().skip(5)) {
        *slot = *byte;
    }
    let address = format(network, chain, &key(network, byte(2), &hash)).expect("a sound key");
    read(network, chain, &address);
    strangers(network, chain, &address);
    damaged(network, chain, &address, byte(3), byte(4));
}

/// A key as outputs of the network are matched by.
fn key(network: Network, kind: u8, hash: &[u8; 32]) -> Vec<u8> {
    if !is_utxo(network) {
        return hash[..20].to_vec();
    }
    match kind % 5 {
        0 => [&[0, 20], &hash[..20]].concat(),
        1 => [&[0, 32], &hash[..]].concat(),
        2 => [&[0x51, 32], &hash[..]].concat(),
        3 => [&[0x76, 0xa9, 0x14], &hash[..20], &[0x88, 0xac]].concat(),
        _ => [&[0xa9, 0x14], &hash[..20], &[0x87]].concat(),
    }
}

fn is_utxo(network: Network) -> bool {
    matches!(network, Network::Btc | Network::Ltc)
}

fn read(network: Network, chain: ChainKind, text: &str) {
    let Ok(key) = parse(network, chain, text) else { return };
    let written = format(network, chain, &key).expect("what was read can be written");
    assert_eq!(parse(network, chain, &written), Ok(key), "{text} became {written}");
}

/// Who else takes this address: never a real chain a test chain's, or the other way round.
fn strangers(network: Network, chain: ChainKind, address: &str) {
    if !is_utxo(network) {
        return;
    }
    for other in CHAINS {
        let real = |chain| chain == ChainKind::Mainnet;
        let taken = parse(network, other, address).is_ok();
        assert!(!taken || real(chain) == real(other), "{address} of {chain:?} in {other:?}");
        assert!(chain != other || taken, "{address}");
    }
}

fn damaged(network: Network, chain: ChainKind, address: &str, at: u8, by: u8) {
    let at = usize::from(at) % address.len();
    let new = CHARACTERS[usize::from(by) % CHARACTERS.len()];
    let mut wrong = address.as_bytes().to_vec();
    match by % 4 {
        0 if at + 1 < wrong.len() => wrong.swap(at, at + 1),
        1 => drop(wrong.remove(at)),
        2 => wrong.insert(at, new),
        _ => wrong[at] = new,
    }
    let wrong = String::from_utf8(wrong).expect("ASCII");
    if wrong == address {
        return;
    }
    match parse(network, chain, &wrong) {
        Err(_) => {}
        // EIP-55: the case is the checksum. One case alone has none, and one mistake in 4,000 makes
        // another account whose checksum happens to be right.
        Ok(key) if !is_utxo(network) && network != Network::Trc20 => {
            let account = <[u8; 20]>::try_from(key).expect("20 bytes");
            let digits = wrong.strip_prefix("0x").expect("the prefix has one case");
            let one_case = digits == digits.to_lowercase() || digits == digits.to_uppercase();
            assert!(evm(account) == wrong || one_case, "{wrong}");
        }
        Ok(_) => panic!("{address} with a mistake is read: {wrong}"),
    }
}
