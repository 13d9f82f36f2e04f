//! What is a payment and what only looks like one; what a node may say of a block and what not.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use super::*;
use alloy::primitives::keccak256;
use serde_json::{Value, json};

const OURS: Address = Address::repeat_byte(0xaa);
const PAYER: Address = Address::repeat_byte(0x11);
const TOKEN: Address = Address::repeat_byte(0x70);

struct Only(Address);

impl AddressFilter for Only {
    fn may_watch(&self, key: &[u8]) -> bool {
        key == self.0.as_slice()
    }
}

fn transaction(to: Option<Address>, value: U256, input: &str) -> Transaction<'_> {
    Transaction {
        hash: B256::repeat_byte(1),
        from: PAYER,
        to,
        nonce: 7,
        value,
        gas: 21_000,
        input,
        block_hash: Some(B256::repeat_byte(9)),
        transaction_index: Some(0),
    }
}

fn word(address: Address) -> String {
    format!("0x{}{}", "0".repeat(24), hex::encode(address))
}

fn amount(value: U256) -> String {
    hex::encode_prefixed(value.to_be_bytes::<32>())
}

/// A log of the token that pays us, as a node writes it.
fn log(value: U256) -> Value {
    json!({
        "address": hex::encode_prefixed(TOKEN),
        "topics": [TRANSFER_TOPIC, word(PAYER), word(OURS)],
        "data": amount(value),
        "blockHash": hash_text(&B256::repeat_byte(9)),
        "transactionHash": hash_text(&B256::repeat_byte(1)),
        "logIndex": "0x0",
        "removed": false,
    })
}

fn units_of(log: &Value) -> Option<u128> {
    let text = log.to_string();
    let log: Log<'_> = serde_json::from_str(&text).unwrap();
    let is_ours = paid_account(&log) == Some(OURS) && read_address(log.address) == Some(TOKEN);
    let payment = logged_payment(&log, 4).filter(|_| is_ours)?;
    let of = transaction(Some(TOKEN), U256::ZERO, "0x");
    let transfer = payment.for_us(&of, Asset::UsdtBep20, &Only(OURS))?;
    assert_eq!(transfer.ordinal, "l:4");
    assert_eq!(transfer.address_key, OURS.to_vec());
    assert_eq!(transfer.consumes, [format!("n:0x{}:7", "11".repeat(20))]);
    Some(transfer.units)
}

#[test]
fn the_topic_and_the_selector_are_those_of_erc20() {
    let topic = keccak256("Transfer(address,address,uint256)");
    assert_eq!(hash_text(&topic), TRANSFER_TOPIC);
    assert_eq!(keccak256("transfer(address,uint256)")[..4], TRANSFER_SELECTOR);
}

#[test]
fn only_the_pinned_tokens_own_event_pays() {
    assert_eq!(units_of(&log(U256::from(5))), Some(5));
    let changes: [(&str, Value, &str); 9] = [
        ("/address", json!(hex::encode_prefixed(PAYER)), "another contract"),
        ("/topics/0", json!(hash_text(&keccak256("Approval(address,address,uint256)"))), "event"),
        ("/topics", json!([TRANSFER_TOPIC]), "nothing indexed"),
        ("/topics", json!([TRANSFER_TOPIC, word(PAYER), word(OURS), word(OURS)]), "ERC-721"),
        ("/topics/2", json!(word(PAYER)), "pays somebody else"),
        ("/topics/2", json!(format!("0x01{}", &word(OURS)[4..])), "a word that is no account"),
        ("/topics/1", json!(word(OURS)), "from us to us"),
        ("/data", json!("0x"), "no amount"),
        ("/removed", json!(true), "taken back"),
    ];
    for (place, value, what) in changes {
        let mut other = log(U256::from(5));
        *other.pointer_mut(place).unwrap() = value;
        assert_eq!(units_of(&other), None, "{what}");
    }
}

#[test]
fn no_amount_is_too_large_to_be_refused() {
    assert_eq!(units_of(&log(U256::ZERO)), None);
    assert_eq!(units_of(&log(U256::from(u128::MAX))), Some(u128::MAX));
    assert_eq!(units_of(&log(U256::from(u128::MAX) + U256::ONE)), None);
    assert_eq!(units_of(&log(U256::MAX)), None);
}

#[test]
fn value_counts_once_it_goes_from_another_to_us() {
    let units = |to: Option<Address>, value: U256| {
        let of = transaction(to, value, "0x");
        let transfer = carried(&of)?.for_us(&of, Asset::Eth, &Only(OURS))?;
        assert_eq!(transfer.ordinal, "t:");
        Some(transfer.units)
    };
    assert_eq!(units(Some(OURS), U256::from(3)), Some(3));
    assert_eq!(units(Some(OURS), U256::ZERO), None);
    assert_eq!(units(Some(TOKEN), U256::from(3)), None, "a stranger");
    assert_eq!(units(None, U256::from(3)), None, "makes a contract");
    assert_eq!(units(Some(OURS), U256::MAX), None);
    let mut own = transaction(Some(OURS), U256::from(3), "0x");
    own.from = OURS;
    assert_eq!(carried(&own).unwrap().for_us(&own, Asset::Eth, &Only(OURS)), None);
}

#[test]
fn a_waiting_transfer_is_read_off_its_call() {
    let call =
        |to: Address, units: U256| format!("0xa9059cbb{}{}", &word(to)[2..], &amount(units)[2..]);
    let input = call(OURS, U256::from(5));
    let asked = |to, value, input: &str| {
        asked_transfer(&transaction(Some(to), value, input), TOKEN).map(|payment| payment.value)
    };
    assert_eq!(asked(TOKEN, U256::ZERO, &input), Some(U256::from(5)));
    assert_eq!(asked(OURS, U256::ZERO, &input), None, "another contract");
    assert_eq!(asked(TOKEN, U256::ONE, &input), None, "the token takes no coins");
    for other in
        ["0x", "0xa9059cbb", &input[..100], &format!("{input}00"), &input.replace("bb", "cc")]
    {
        assert_eq!(asked(TOKEN, U256::ZERO, other), None, "{other}");
    }
}

fn block(json: &Value) -> String {
    let transactions: Vec<Value> = (0..2_u8)
        .map(|n| {
            json!({
                "hash": hash_text(&B256::repeat_byte(n + 1)), "from": hex::encode_prefixed(PAYER),
                "to": null, "nonce": format!("0x{n}"), "value": "0x0", "gas": "0x5208",
                "input": "0x", "blockHash": hash_text(&B256::repeat_byte(9)),
                "transactionIndex": format!("0x{n}"),
            })
        })
        .collect();
    let mut block = json!({
        "hash": hash_text(&B256::repeat_byte(9)), "parentHash": hash_text(&B256::repeat_byte(8)),
        "number": "0x5", "timestamp": "0x1", "transactions": transactions,
    });
    for (place, value) in json.as_object().unwrap() {
        *block.pointer_mut(place).unwrap() = value.clone();
    }
    block.to_string()
}

#[test]
fn a_block_holds_its_own_transactions_each_in_its_place() {
    let checked = |change: Value| {
        let text = block(&change);
        check_transactions(&serde_json::from_str(&text).unwrap())
    };
    assert_eq!(checked(json!({})), Ok(()));
    let other = hash_text(&B256::repeat_byte(7));
    for change in [
        json!({ "/transactions/1/blockHash": other }),
        json!({ "/transactions/1/blockHash": null }),
        json!({ "/transactions/1/transactionIndex": "0x0" }),
        json!({ "/transactions/1/hash": hash_text(&B256::repeat_byte(1)) }),
    ] {
        let failure = checked(change.clone());
        assert!(matches!(failure, Err(ChainError::Invalid(_))), "{change}: {failure:?}");
    }
}

fn receipts() -> Value {
    let receipt = |n: u8, logs: Value| {
        json!({
            "transactionHash": hash_text(&B256::repeat_byte(n + 1)), "transactionIndex":
            format!("0x{n}"), "blockHash": hash_text(&B256::repeat_byte(9)), "status": "0x1",
            "logs": logs,
        })
    };
    let mut second = log(U256::ONE);
    second["logIndex"] = json!("0x1");
    let mut third = log(U256::ONE);
    third["logIndex"] = json!("0x2");
    third["transactionHash"] = json!(hash_text(&B256::repeat_byte(2)));
    json!([receipt(0, json!([log(U256::ONE), second])), receipt(1, json!([third]))])
}

#[test]
fn receipts_belong_to_the_block_and_no_log_is_missing_in_between() {
    let text = block(&json!({}));
    let of: Block<Transaction<'_>> = serde_json::from_str(&text).unwrap();
    let checked = |receipts: &Value| {
        let text = receipts.to_string();
        check_receipts(&of, &serde_json::from_str::<Vec<Receipt<'_>>>(&text).unwrap())
    };
    assert_eq!(checked(&receipts()), Ok(()));

    let mut fewer = receipts();
    fewer.as_array_mut().unwrap().pop();
    let mut moved = receipts();
    moved[1]["blockHash"] = json!(hash_text(&B256::repeat_byte(7)));
    for transient in [fewer, moved] {
        let failure = checked(&transient);
        assert!(matches!(failure, Err(ChainError::Transient(_))), "{failure:?}");
    }
    let mut dropped = receipts();
    dropped[0]["logs"].as_array_mut().unwrap().remove(0);
    let mut swapped = receipts();
    swapped.as_array_mut().unwrap().swap(0, 1);
    let mut foreign = receipts();
    foreign[0]["logs"][1]["transactionHash"] = json!(hash_text(&B256::repeat_byte(2)));
    let mut elsewhere = receipts();
    elsewhere[0]["logs"][1]["blockHash"] = json!(hash_text(&B256::repeat_byte(7)));
    for nonsense in [dropped, swapped, foreign, elsewhere] {
        let failure = checked(&nonsense);
        assert!(matches!(failure, Err(ChainError::Invalid(_))), "{failure:?}");
    }
}

#[test]
fn who_consumes_a_watched_nonce_is_told() {
    let transactions = [transaction(None, U256::ZERO, "0x")];
    let key = format!("n:0x{}:7", "11".repeat(20));
    let watched =
        [key.clone(), format!("n:0x{}:8", "11".repeat(20)), "u:ab:0".to_owned(), "n:x".to_owned()];
    let found = consumptions(&transactions, &watched.into());
    let txid = hash_text(&B256::repeat_byte(1));
    assert_eq!(found, [Consumption { key, txid }]);
    assert_eq!(consumptions(&transactions, &HashSet::new()), []);
}
