//! What becomes of a broadcast, by answers captured from a live node.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::chain::tron::fake_node::{FakeNode, captured};

const SIGNED: &str =
    include_str!("../../../tests/fixtures/tron/javatron-4.8.0-live/signed-trx-transfer.json");

fn signed() -> Vec<u8> {
    let live: Value = serde_json::from_str(SIGNED).unwrap();
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let raw_data = bytes(&live["signed"]["raw_data_hex"]);
    let signature = vec![bytes(&live["signed"]["signature"][0])];
    Transaction { raw_data, signature }.encode_to_vec()
}

/// Broadcasts the captured transaction to a node that answers this.
async fn broadcast(answer: Value) -> Result<Broadcast, ChainError> {
    let node = FakeNode::saying(move |path, body, _| {
        assert_eq!(path, "wallet/broadcasthex");
        assert_eq!(body["transaction"].as_str(), Some(hex::encode(signed()).as_str()));
        (200, answer.to_string())
    })
    .await;
    let writer = TronWriter::new(ChainKind::Regtest, &node.settings, Env::system()).unwrap();
    writer.broadcast(&signed()).await
}

/// A captured answer to another transaction, as if it were to this one.
fn answer(name: &str) -> Value {
    let mut answer = captured(name);
    let live: Value = serde_json::from_str(SIGNED).unwrap();
    answer["txid"] = live["signed"]["txID"].clone();
    answer
}

#[tokio::test]
async fn every_answer_has_its_meaning() {
    let accepted = broadcast(answer("06-broadcasttransaction-ok")).await;
    assert_eq!(accepted.unwrap(), Broadcast::Accepted);
    let mut stated = answer("06-broadcasttransaction-ok");
    stated["code"] = json!("SUCCESS");
    stated["message"] = json!("");
    assert_eq!(broadcast(stated).await.unwrap(), Broadcast::Accepted);
    let known = broadcast(answer("07-broadcasttransaction-dup")).await;
    assert_eq!(known.unwrap(), Broadcast::AlreadyKnown);
    for (name, expected) in [
        ("45-broadcast-bad-signature", "SIGERROR: Validate signature error"),
        ("47-broadcast-expired", "TRANSACTION_EXPIRATION_ERROR: Transaction expired"),
        ("48-broadcast-tapos", "TAPOS_ERROR: Tapos check error."),
        ("51-broadcasthex-ok", "CONTRACT_VALIDATE_ERROR: Contract validate error : No contract!"),
    ] {
        match broadcast(answer(name)).await.unwrap() {
            Broadcast::Rejected(text) => assert!(text.starts_with(expected), "{text}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_nodes_own_trouble_is_no_refusal() {
    let busy = json!({ "code": "SERVER_BUSY", "message": "536572766572206275737920" });
    assert!(matches!(broadcast(busy).await, Err(ChainError::Transient(_))));
    assert!(matches!(broadcast(json!({})).await, Err(ChainError::Transient(_))));
    assert!(matches!(broadcast(json!({ "result": false })).await, Err(ChainError::Invalid(_))));
    let other = json!({ "result": true, "txid": "00".repeat(32) });
    assert!(matches!(broadcast(other).await, Err(ChainError::Invalid(_))));
}

#[tokio::test]
async fn what_is_no_transaction_is_not_sent() {
    let node = FakeNode::saying(|_, _, _| panic!("nothing is sent")).await;
    let writer = TronWriter::new(ChainKind::Regtest, &node.settings, Env::system()).unwrap();
    for raw in [&b""[..], b"\x00", b"not protobuf"] {
        assert!(matches!(writer.broadcast(raw).await, Err(ChainError::Invalid(_))));
    }
}
