//! TRX and other known tokens: the captures of a live node, and what only looks like a payment.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::HashSet;

use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::chain::AddressFilter;
use crate::chain::tron::block::BlockAnswer;
use crate::chain::tron::fake_node::captured;
use crate::chain::tron::transaction::{Raw, TransferContract, address, id_of, read_raw};
use crate::domain::unexpected::known_coins;

struct Only(Vec<u8>);
impl AddressFilter for Only {
    fn may_watch(&self, key: &[u8]) -> bool {
        key == self.0
    }
}

fn known() -> KnownCoins {
    KnownCoins::of(known_coins(Network::Trc20, ChainKind::Mainnet))
}

/// The captured transfer of TRX: its transaction and receipt, each changed.
fn captures(change: impl Fn(&mut Value, &mut Value)) -> (TransactionAnswer, Receipt) {
    let mut block = captured("15-getblockbynum-trx");
    let mut receipts = captured("16-gettransactioninfobyblocknum-trx");
    change(&mut block["transactions"][0], &mut receipts[0]);
    let block: BlockAnswer = serde_json::from_value(block).unwrap();
    let receipts: Vec<Receipt> = serde_json::from_value(receipts).unwrap();
    block.with_receipts(receipts).unwrap().transactions.remove(0)
}

/// What the captured transaction says by its bytes.
fn said(transaction: &Value) -> (Raw, TransferContract) {
    let bytes = hex::decode(transaction["raw_data_hex"].as_str().unwrap()).unwrap();
    let raw = read_raw(&bytes).unwrap();
    let transfer = raw.contract[0].parameter.as_ref().unwrap().value.clone();
    (raw, TransferContract::decode(transfer.as_slice()).unwrap())
}

/// Makes a transaction and its receipt say another transfer, under the id that its bytes have.
fn saying(transaction: &mut Value, receipt: &mut Value, change: fn(&mut TransferContract)) {
    let (mut raw, mut transfer) = said(transaction);
    change(&mut transfer);
    raw.contract[0].parameter.as_mut().unwrap().value = transfer.encode_to_vec();
    let bytes = raw.bytes();
    transaction["raw_data_hex"] = json!(hex::encode(&bytes));
    let id = json!(hex::encode(id_of(&bytes)));
    transaction["txID"] = id.clone();
    receipt["id"] = id;
}

fn payee() -> Vec<u8> {
    let block = captured("15-getblockbynum-trx");
    let (_, transfer) = said(&block["transactions"][0]);
    transfer.to_address[1..].to_vec()
}

fn find(change: impl Fn(&mut Value, &mut Value)) -> Result<Vec<UnexpectedTransfer>, ChainError> {
    let (transaction, receipt) = captures(change);
    let consumed = HashSet::new();
    let filter = Only(payee());
    known().found(&transaction, &receipt, Watch { addresses: &filter, consumed: &consumed })
}

#[test]
fn the_captured_transfer_of_trx_is_found() {
    let [found] = find(|_, _| {}).unwrap().try_into().unwrap();
    let block = captured("15-getblockbynum-trx");
    let (_, transfer) = said(&block["transactions"][0]);
    assert_eq!((found.coin.name, found.coin.decimals), ("TRX", 6));
    assert_eq!(found.units, u128::try_from(transfer.amount).unwrap());
    assert_eq!(block["transactions"][0]["txID"], found.txid);
    assert_eq!((found.ordinal.as_str(), found.address_key), ("t:", payee()));
}

#[test]
fn what_moved_nothing_to_us_is_no_payment() {
    let failed = |transaction: &mut Value, _: &mut Value| {
        transaction["ret"] = json!([{ "contractRet": "REVERT" }]);
    };
    assert_eq!(find(failed).unwrap(), []);
    assert_eq!(find(|_, receipt| receipt["result"] = json!("FAILED")).unwrap(), []);
    type Change = (&'static str, fn(&mut TransferContract));
    let changes: [Change; 4] = [
        ("nothing", |transfer| transfer.amount = 0),
        ("less than nothing", |transfer| transfer.amount = -1),
        ("to itself", |transfer| transfer.owner_address = transfer.to_address.clone()),
        ("to somebody else", |transfer| transfer.to_address = address([9; 20])),
    ];
    for (what, change) in changes {
        let found = find(|transaction, receipt| saying(transaction, receipt, change)).unwrap();
        assert_eq!(found, [], "{what}");
    }
    let twice = |transfer: &mut TransferContract| transfer.amount *= 2;
    let found = find(|transaction, receipt| saying(transaction, receipt, twice)).unwrap();
    assert_eq!(found.len(), 1, "the changes themselves are read");
}

#[test]
fn an_amount_that_the_id_does_not_commit_to_is_refused() {
    let lie = |transaction: &mut Value, receipt: &mut Value| {
        let id = transaction["txID"].clone();
        saying(transaction, receipt, |transfer| transfer.amount *= 10);
        transaction["txID"] = id.clone();
        receipt["id"] = id;
    };
    assert!(matches!(find(lie), Err(ChainError::Invalid(_))));
}

#[test]
fn a_known_token_is_told_by_its_contract_alone() {
    let usdc = "TEkxiTehnzSmSe2XqrBj4w32RUN966rdz8";
    let of = |contract: &str| {
        let (transaction, mut receipts) = {
            let mut block = captured("27-getblockbynum-trc20");
            let receipts = captured("28-gettransactioninfobyblocknum-trc20");
            (block["transactions"][0].take(), receipts)
        };
        receipts[0]["log"][0]["address"] = json!(contract);
        let to = receipts[0]["log"][0]["topics"][2].as_str().unwrap()[24..].to_owned();
        let filter = Only(hex::decode(to).unwrap());
        let receipt: Receipt = serde_json::from_value(receipts[0].take()).unwrap();
        let transaction = serde_json::from_value(transaction).unwrap();
        let consumed = HashSet::new();
        let watch = Watch { addresses: &filter, consumed: &consumed };
        known().found(&transaction, &receipt, watch).unwrap()
    };
    let [found] = of(usdc).try_into().unwrap();
    assert_eq!((found.coin.name, found.units), ("USDC-TRC20", 12_500_000));
    assert_eq!(found.ordinal, "l:0");
    assert_eq!(of("TLJ1qn27gNgJjFHynPhXxiJLzLg6w7Emu5"), [], "spam");
}
