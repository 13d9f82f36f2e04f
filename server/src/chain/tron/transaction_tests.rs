//! Bytes, ids and addresses against what tronweb made and what java-tron took.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use bitcoin::secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use bitcoin::secp256k1::{All, Message as Digest, PublicKey, Secp256k1, SecretKey};
use proptest::prelude::*;
use serde_json::Value;
use sha3::{Digest as _, Keccak256};

use super::*;
use crate::domain::address_text;

const MADE: &str = include_str!("../../../tests/fixtures/tron/tronweb-transactions.json");
const ADDRESSES: &str = include_str!("../../../tests/fixtures/tron/tronweb-addresses.json");
const LIVE: [&str; 2] = [
    include_str!("../../../tests/fixtures/tron/javatron-4.8.0-live/signed-trx-transfer.json"),
    include_str!("../../../tests/fixtures/tron/javatron-4.8.0-live/signed-trc20-transfer.json"),
];

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn account(value: &Value) -> [u8; 20] {
    bytes(value)[1..].try_into().unwrap()
}

fn account_of(curve: &Secp256k1<All>, key: &SecretKey) -> [u8; 20] {
    let public = PublicKey::from_secret_key(curve, key).serialize_uncompressed();
    Keccak256::digest(&public[1..])[12..].try_into().unwrap()
}

fn sign(curve: &Secp256k1<All>, key: &SecretKey, id: [u8; 32]) -> Vec<u8> {
    let (recovery, compact) =
        curve.sign_ecdsa_recoverable(&Digest::from_digest(id), key).serialize_compact();
    let recovery = u8::try_from(recovery.to_i32()).unwrap();
    [compact.as_slice(), &[27 + recovery]].concat()
}

/// Encodes what a row says, by our own code.
fn encoded(row: &Value) -> Raw {
    let mut block_id = [0; 32];
    block_id[8..16].copy_from_slice(&bytes(&row["ref_block_hash"]));
    let height = bytes(&row["ref_block_bytes"]);
    let frame = Frame {
        // More than the two bytes that are written.
        block_height: 0x12_0000 + u64::from(u16::from_be_bytes(height.try_into().unwrap())),
        block_id,
        expiration: row["expiration"].as_i64().unwrap(),
        timestamp: row["timestamp"].as_i64().unwrap(),
        fee_limit: row["fee_limit"].as_i64().unwrap(),
    };
    let (from, to) = (account(&row["owner"]), account(&row["to"]));
    match row["amount_sun"].as_str() {
        Some(sun) => Raw::transfer(&frame, from, to, sun.parse().unwrap()),
        None => Raw::trigger(&frame, from, to, bytes(&row["data"])),
    }
}

#[test]
fn byte_for_byte_what_tronweb_makes() {
    let made: Value = serde_json::from_str(MADE).unwrap();
    let curve = Secp256k1::new();
    let key = SecretKey::from_slice(&bytes(&made["private_key"])).unwrap();
    for row in made["transactions"].as_array().unwrap() {
        let name = &row["name"];
        let raw_data = encoded(row).bytes();
        assert_eq!(hex::encode(&raw_data), row["raw_data_hex"].as_str().unwrap(), "{name}");
        let id = id_of(&raw_data);
        assert_eq!(hex::encode(id), row["txid"].as_str().unwrap(), "{name}");
        let signature = sign(&curve, &key, id);
        assert_eq!(signature, bytes(&row["signature"]), "{name}");
        let signed = Transaction { raw_data, signature: vec![signature] }.encode_to_vec();
        let (read, raw) = Transaction::read_signed(&signed).unwrap();
        assert_eq!((hex::encode(read.id()), raw), (hex::encode(id), encoded(row)), "{name}");
    }
}

#[test]
fn the_call_of_a_transfer_is_the_one_tronweb_made() {
    let made: Value = serde_json::from_str(MADE).unwrap();
    let rows = made["transactions"].as_array().unwrap();
    let of = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    let to = account(&of("trx 1 sun")["to"]);
    for (name, units) in
        [("trc20 one unit", 1), ("trc20 12.5 dollars", 12_500_000), ("trc20 u128 max", u128::MAX)]
    {
        assert_eq!(token_transfer(to, units), bytes(&of(name)["data"]), "{name}");
    }
}

#[test]
fn what_java_tron_took_reads_back_and_was_signed_by_its_owner() {
    let curve = Secp256k1::new();
    for live in LIVE {
        let live: Value = serde_json::from_str(live).unwrap();
        let signed = &live["signed"];
        let raw_data = bytes(&signed["raw_data_hex"]);
        let signature = bytes(&signed["signature"][0]);
        let sent = Transaction { raw_data: raw_data.clone(), signature: vec![signature.clone()] };
        assert_eq!(hex::encode(sent.id()), signed["txID"].as_str().unwrap());
        let raw = read_raw(&raw_data).unwrap();
        assert_eq!(raw.bytes(), raw_data, "nothing is lost");
        assert_eq!(raw.expiration, signed["raw_data"]["expiration"].as_i64().unwrap());

        let key = SecretKey::from_slice(&bytes(&live["private_key"])).unwrap();
        let recovery = RecoveryId::from_i32(i32::from(signature[64]) - 27).unwrap();
        let recoverable = RecoverableSignature::from_compact(&signature[..64], recovery).unwrap();
        let signer = curve.recover_ecdsa(&Digest::from_digest(sent.id()), &recoverable).unwrap();
        assert_eq!(signer, PublicKey::from_secret_key(&curve, &key));
        let owner = &signed["raw_data"]["contract"][0]["parameter"]["value"]["owner_address"];
        assert_eq!(account_of(&curve, &key), account(owner));
    }
}

#[test]
fn addresses_are_those_of_tronweb() {
    let curve = Secp256k1::new();
    let rows: Value = serde_json::from_str(ADDRESSES).unwrap();
    for row in rows.as_array().unwrap() {
        let key = SecretKey::from_slice(&bytes(&row["private_key"])).unwrap();
        let account = account_of(&curve, &key);
        assert_eq!(address(account), bytes(&row["hex"]));
        assert_eq!(address_text::tron(account), row["text"].as_str().unwrap());
    }
}

#[test]
fn what_is_no_transaction_is_refused() {
    let raw = encoded(&serde_json::from_str::<Value>(MADE).unwrap()["transactions"][0]);
    let signed = |raw: &Raw, signature: Vec<Vec<u8>>| {
        Transaction::read_signed(&Transaction { raw_data: raw.bytes(), signature }.encode_to_vec())
    };
    let signature = vec![vec![0; 65]];
    assert!(signed(&raw, signature.clone()).is_ok());
    assert_eq!(signed(&raw, Vec::new()).unwrap_err(), Malformed::Unsigned);
    let nothing = Raw { contract: Vec::new(), ..raw.clone() };
    assert_eq!(signed(&nothing, signature.clone()).unwrap_err(), Malformed::Contracts(0));
    let twice = Raw { contract: [raw.contract.clone(), raw.contract.clone()].concat(), ..raw };
    assert_eq!(signed(&twice, signature).unwrap_err(), Malformed::Contracts(2));
    assert!(matches!(Transaction::read_signed(b"\xff\xff"), Err(Malformed::Protobuf(_))));
    let long = vec![0; TRANSACTION_BYTES_MAX + 1];
    assert!(matches!(Transaction::read_signed(&long), Err(Malformed::TooLong(_))));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Transaction::read_signed(&bytes);
        let _ = read_raw(&bytes);
    }
}
