//! What counts as a payment: the captures of a live node, and all that only looks like one.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chain::AddressFilter;
use crate::chain::tron::block::BlockAnswer;
use crate::chain::tron::fake_node::{TOKEN, captured};
use crate::chain::tron::transaction::id_of;

const TXID: &str = "91e43658fbcfaa2d7fa7ab6c81995491403530021d35677d66c28f890bf3265e";
const EXPIRATION: i64 = 1_795_434_849_000;
const PAYEE: &str = "6fb3d8cc689b2b2cb1c632636f17b48dcd28ce45";

struct All;
impl AddressFilter for All {
    fn may_watch(&self, _: &[u8]) -> bool {
        true
    }
}

struct Nobody;
impl AddressFilter for Nobody {
    fn may_watch(&self, _: &[u8]) -> bool {
        false
    }
}

fn token() -> [u8; 20] {
    let key = address_text::parse(Network::Trc20, ChainKind::Regtest, TOKEN).unwrap();
    key.try_into().unwrap()
}

/// No coin is known but the token.
fn nothing_else() -> KnownCoins {
    KnownCoins::of(&[])
}

/// Block 59 with its receipts, each changed.
fn read(change: impl Fn(&mut Value, &mut Value)) -> Result<ReadBlock, ChainError> {
    let mut block = captured("27-getblockbynum-trc20");
    let mut receipts = captured("28-gettransactioninfobyblocknum-trc20");
    change(&mut block, &mut receipts);
    let block: BlockAnswer = serde_json::from_value(block).unwrap();
    block.with_receipts(serde_json::from_value(receipts).unwrap())
}

fn find(change: impl Fn(&mut Value, &mut Value)) -> Result<Vec<Transfer>, ChainError> {
    let consumed = HashSet::new();
    let watch = Watch { addresses: &All, consumed: &consumed };
    Ok(look(&read(change)?, token(), &nothing_else(), watch)?.transfers)
}

#[test]
fn the_captured_payment_is_found() {
    let found = find(|_, _| {}).unwrap();
    let expected = Transfer {
        txid: TXID.to_owned(),
        ordinal: "l:0".to_owned(),
        address_key: hex::decode(PAYEE).unwrap(),
        asset: Network::Trc20.asset(),
        units: 12_500_000,
        consumes: vec![format!("x:{TXID}:{EXPIRATION}")],
    };
    assert_eq!(found, std::slice::from_ref(&expected));
    let visible = captured("29-gettransactioninfobyblocknum-trc20-visible");
    assert_eq!(find(|_, receipts| *receipts = visible.clone()).unwrap(), [expected]);
}

#[test]
fn what_nobody_watches_is_not_looked_at_further() {
    let consumed = HashSet::new();
    let watch = Watch { addresses: &Nobody, consumed: &consumed };
    assert_eq!(
        look(&read(|_, _| {}).unwrap(), token(), &nothing_else(), watch).unwrap(),
        Found::default()
    );
}

#[test]
fn three_logs_keep_their_places_in_their_receipt() {
    let three = captured("42-gettransactioninfobyid-three-logs-internal")["log"].clone();
    let found = find(|_, receipts| {
        receipts[0]["log"] = three.clone();
        receipts[0]["log"][1]["address"] = json!("00".repeat(20));
    })
    .unwrap();
    let ordinals: Vec<_> = found.iter().map(|t| (t.ordinal.as_str(), t.units)).collect();
    assert_eq!(ordinals, [("l:0", 5_000_000), ("l:2", 5_000_000)]);
}

#[test]
fn what_only_looks_like_a_payment_is_none() {
    let word = |hex: &str| json!(format!("{hex:0>64}"));
    type Change = (&'static str, &'static str, Value);
    let changes: [Change; 14] = [
        ("another contract", "/0/log/0/address", json!("a614f803b6fd780986a42c78ec9c7f77e6ded13c")),
        ("no address", "/0/log/0/address", json!("zz")),
        ("another event", "/0/log/0/topics/0", word("8c5be1e5")),
        ("fewer topics", "/0/log/0/topics", json!([])),
        ("an address with more than 20 bytes", "/0/log/0/topics/2", json!("01".repeat(32))),
        ("a topic of another length", "/0/log/0/topics/2", json!(PAYEE)),
        ("to itself", "/0/log/0/topics/1", word(PAYEE)),
        ("nothing", "/0/log/0/data", word("0")),
        ("above 128 bits", "/0/log/0/data", json!(format!("{:0>32}{:0>32}", "1", "1"))),
        ("all bits", "/0/log/0/data", json!("f".repeat(64))),
        ("no amount", "/0/log/0/data", json!("")),
        ("half an amount", "/0/log/0/data", json!("bebc20")),
        ("two amounts", "/0/log/0/data", json!("0".repeat(128))),
        ("no log", "/0/log", json!([])),
    ];
    for (name, pointer, value) in changes {
        let found =
            find(|_, receipts| *receipts.pointer_mut(pointer).unwrap() = value.clone()).unwrap();
        assert_eq!(found, [], "{name}");
    }
}

#[test]
fn the_largest_amount_is_read_exactly() {
    let found = find(|_, receipts| {
        receipts[0]["log"][0]["data"] = json!(format!("{:0>64}", "f".repeat(32)));
    });
    assert_eq!(found.unwrap()[0].units, u128::MAX);
}

/// E-04: `contractRet`, `receipt.result` and `result`, in every combination.
#[test]
fn success_is_told_three_times_or_not_at_all() {
    let overall = [Value::Null, json!("SUCESS"), json!("FAILED")];
    let endings = [json!("SUCCESS"), json!("REVERT"), json!("OUT_OF_ENERGY"), Value::Null];
    let mut credited = 0;
    for result in &overall {
        for receipt in &endings {
            for in_block in &endings {
                let found = find(|block, receipts| {
                    receipts[0]["result"] = result.clone();
                    receipts[0]["receipt"]["result"] = receipt.clone();
                    block["transactions"][0]["ret"][0]["contractRet"] = in_block.clone();
                });
                let is_good = *result != "FAILED" && *receipt == "SUCCESS";
                let good_in_block = *in_block == "SUCCESS" || in_block.is_null();
                let name = format!("{result} {receipt} {in_block}: {found:?}");
                let failed = *result == "FAILED" && *receipt != "SUCCESS" && !good_in_block;
                match found {
                    Ok(found) if is_good && good_in_block => {
                        assert_eq!(found.len(), 1, "{name}");
                        credited += 1;
                    }
                    Ok(found) => assert!(found.is_empty() && failed, "{name}"),
                    Err(error) => {
                        assert!(matches!(error, ChainError::Transient(_)) && !failed, "{name}");
                    }
                }
            }
        }
    }
    assert_eq!(credited, 4);
}

/// No signature covers `ret`, and nodes overwrite nothing in it but the first `contractRet`.
#[test]
fn what_a_payer_writes_into_the_outcome_is_passed_over() {
    let denied = json!([{ "contractRet": "SUCCESS", "ret": "FAILED", "fee": 7 }, { "contractRet": "REVERT" }]);
    let found = find(|block, _| block["transactions"][0]["ret"] = denied.clone());
    assert_eq!(found.unwrap().len(), 1, "a payment that its payer denies");
    let claimed =
        json!([{ "contractRet": "REVERT", "ret": "SUCESS" }, { "contractRet": "SUCCESS" }]);
    let found = find(|block, receipts| {
        receipts[0]["result"] = json!("FAILED");
        receipts[0]["receipt"]["result"] = json!("REVERT");
        block["transactions"][0]["ret"] = claimed.clone();
    });
    assert_eq!(found.unwrap(), [], "one that failed, whatever its payer says");
}

#[test]
fn captured_failures_pay_nobody() {
    for name in ["36-gettransactioninfobyid-revert", "39-gettransactioninfobyid-out-of-energy"] {
        let failed = captured(name);
        let found = find(|block, receipts| {
            receipts[0]["result"] = failed["result"].clone();
            receipts[0]["receipt"] = failed["receipt"].clone();
            block["transactions"][0]["ret"][0]["contractRet"] = failed["receipt"]["result"].clone();
        });
        assert_eq!(found.unwrap(), [], "{name}");
    }
}

#[test]
fn a_block_and_receipts_that_do_not_belong_together_are_refused() {
    type Change = (&'static str, fn(&mut Value, &mut Value));
    let changes: [Change; 5] = [
        ("no receipts", |_, receipts| *receipts = json!([])),
        ("one too many", |_, receipts| {
            let one = receipts[0].clone();
            receipts.as_array_mut().unwrap().push(one);
        }),
        ("of another transaction", |_, receipts| receipts[0]["id"] = json!("00".repeat(32))),
        ("of another height", |_, receipts| receipts[0]["blockNumber"] = json!(58)),
        ("twice the same transaction", |block, receipts| {
            let (one, same) = (receipts[0].clone(), block["transactions"][0].clone());
            receipts.as_array_mut().unwrap().push(one);
            block["transactions"].as_array_mut().unwrap().push(same);
        }),
    ];
    for (name, change) in changes {
        assert!(matches!(read(change), Err(ChainError::Transient(_))), "{name}");
    }
    type Wrong = (&'static str, fn(&mut Value, &mut Value));
    let wrongs: [Wrong; 4] = [
        ("height", |block, _| block["block_header"]["raw_data"]["number"] = json!(60)),
        ("id", |block, _| block["blockID"] = json!("00")),
        ("parent", |block, _| block["block_header"]["raw_data"]["parentHash"] = json!("XY")),
        ("time", |block, _| block["block_header"]["raw_data"]["timestamp"] = json!(i64::MAX)),
    ];
    for (name, wrong) in wrongs {
        assert!(matches!(read(wrong), Err(ChainError::Invalid(_))), "{name}");
    }
}

#[test]
fn bytes_that_are_not_those_of_the_id_are_refused() {
    let found = find(|block, _| block["transactions"][0]["raw_data_hex"] = json!("0a0200"));
    assert!(matches!(found, Err(ChainError::Invalid(_))));
}

/// Nodes keep what they do not know of the signed part: fields, wire types, numbers written too long.
#[test]
fn whatever_a_payer_adds_to_his_transaction_his_payment_is_read() {
    let block_millis = 1_795_434_792_000;
    let a_day_later = block_millis + 24 * 60 * 60 * 1_000;
    for (name, added, expiration) in [
        ("a field that nobody knows", "8a7d0161", EXPIRATION),
        ("the memo as a number", "5001", EXPIRATION),
        ("the contract as a number", "5801", EXPIRATION),
        ("another time as text", "420161", a_day_later),
        ("a tag of ten bytes", "d08080808080808080010a", a_day_later),
    ] {
        let found = find(|block, receipts| {
            let of = &mut block["transactions"][0];
            let bytes = format!("{}{added}", of["raw_data_hex"].as_str().unwrap());
            let id = hex::encode(id_of(&hex::decode(&bytes).unwrap()));
            of["raw_data_hex"] = json!(bytes);
            of["txID"] = json!(id);
            receipts[0]["id"] = json!(id);
        });
        let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((found.len(), found[0].units), (1, 12_500_000), "{name}");
        assert_eq!(found[0].consumes, [consumed_key(&found[0].txid, expiration)], "{name}");
    }
}

#[test]
fn a_waiting_transaction_ends_by_failure_or_by_time() {
    let block_time = 1_795_434_792_000;
    let other = "5".repeat(64);
    let over = |key: String, change: fn(&mut Value, &mut Value)| {
        let consumed = HashSet::from([key.clone(), "u:foreign:0".to_owned(), "x:no:1".to_owned()]);
        let watch = Watch { addresses: &Nobody, consumed: &consumed };
        let block = read(change).unwrap();
        let found = look(&block, token(), &nothing_else(), watch).unwrap().consumptions;
        let expected = Consumption { key, txid: block.reference.hash };
        assert!(found.is_empty() || found == [expected], "{found:?}");
        !found.is_empty()
    };
    assert!(!over(consumed_key(TXID, EXPIRATION), |_, _| {}), "it is in the block");
    assert!(!over(consumed_key(TXID, 1), |_, _| {}), "its own block may be later");
    assert!(over(consumed_key(&other, block_time), |_, _| {}), "no later block may have it");
    assert!(!over(consumed_key(&other, block_time + 1), |_, _| {}), "the next one may");
    let failed = |block: &mut Value, receipts: &mut Value| {
        receipts[0]["result"] = json!("FAILED");
        receipts[0]["receipt"]["result"] = json!("REVERT");
        receipts[0]["log"] = json!([]);
        block["transactions"][0]["ret"][0]["contractRet"] = json!("REVERT");
    };
    assert!(over(consumed_key(TXID, EXPIRATION), failed), "it failed");
}

proptest! {
    #[test]
    fn no_log_panics(
        address in "[0-9a-fT]{0,44}",
        topics in proptest::collection::vec("[0-9a-f]{0,70}", 0..5),
        data in "[0-9a-fxyz]{0,140}",
    ) {
        let _ = payment(&Log { address, topics, data }, token());
    }
}
