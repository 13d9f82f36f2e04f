//! What a broadcast makes of each answer a node gives.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use super::super::fake_node::FakeNode;
use super::*;

/// A peg-in that a real node made, MWEB part included.
const RAW: &str = include_str!("../../../tests/fixtures/ltc/tx-peg-in.hex");
const TXID: &str = "d558e08d4244fa8e801242b14d285c4252dd5bea55b721fb54ce503d305bff28";

async fn broadcast(
    answer: Result<&'static str, (i64, &'static str)>,
) -> Result<Broadcast, ChainError> {
    let node = FakeNode::answering(move |method, params| {
        assert_eq!((method, &params[0]), ("sendrawtransaction", &json!(RAW.trim())));
        answer.map(|txid| json!(txid))
    })
    .await;
    let writer = BitcoinWriter::new(Network::Ltc, ChainKind::Regtest, &node.settings).unwrap();
    writer.broadcast(&hex::decode(RAW.trim()).unwrap()).await
}

#[tokio::test]
async fn each_answer_has_its_meaning() {
    assert_eq!(broadcast(Ok(TXID)).await, Ok(Broadcast::Accepted));
    for (code, message) in [
        (-27, "Transaction already in block chain"),
        (-26, "txn-already-known"),
        (-26, "txn-already-in-mempool"),
        (-25, "txn-already-in-mempool"),
        (-26, "txn-same-nonwitness-data-in-mempool"),
    ] {
        assert_eq!(broadcast(Err((code, message))).await, Ok(Broadcast::AlreadyKnown), "{message}");
    }
    for (code, message) in [
        (-26, "txn-mempool-conflict"),
        (-26, "min relay fee not met, 10 < 100"),
        (-25, "bad-txns-inputs-missingorspent"),
    ] {
        let rejected = Ok(Broadcast::Rejected(message.to_owned()));
        assert_eq!(broadcast(Err((code, message))).await, rejected);
    }
    let starting = broadcast(Err((-28, "Loading block index..."))).await;
    assert!(matches!(starting, Err(ChainError::Transient(_))), "{starting:?}");
    let other = broadcast(Ok("00")).await;
    assert!(matches!(other, Err(ChainError::Invalid(_))), "{other:?}");
}

#[tokio::test]
async fn bytes_that_are_no_transaction_are_not_sent() {
    let node = FakeNode::answering(|_, _| panic!("nothing may be sent")).await;
    let writer = BitcoinWriter::new(Network::Btc, ChainKind::Regtest, &node.settings).unwrap();
    let mweb = hex::decode(RAW.trim()).unwrap();
    for raw in [&[][..], &[0; 10], &mweb, &[0; MAX_TRANSACTION_BYTES + 1]] {
        let refused = writer.broadcast(raw).await;
        assert!(matches!(refused, Err(ChainError::Invalid(_))), "{refused:?}");
    }
}
