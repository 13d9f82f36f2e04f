//! What a broadcast makes of each answer a node gives.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use super::*;
use crate::chain::bitcoin::fake_node::FakeNode;
use crate::domain::address::ChainKind;
use crate::domain::asset::Network;
use serde_json::Value;

/// The example of EIP-155: chain 1, nonce 9, 1 ether.
const RAW: &str = concat!(
    "0xf86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025",
    "a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703",
    "304b3800ccf555c9f3dc64214b297fb1966a3b6d83",
);
const TXID: &str = "0x33469b22e9f636356c4160a87eb19df52b7412e8eac32a4a55ffe88ea8350788";

async fn writer(node: &FakeNode) -> EvmWriter {
    let settings = EvmSettings {
        network: Network::Eth,
        chain: ChainKind::Mainnet,
        private_chain_id: None,
        contract: None,
        rpc: node.settings.clone(),
    };
    EvmWriter::new(&settings).unwrap()
}

async fn broadcast(
    answer: Result<&'static str, (i64, &'static str)>,
    is_known: bool,
) -> Result<Broadcast, ChainError> {
    let node = FakeNode::answering(move |method, params| match method {
        "eth_sendRawTransaction" => {
            assert_eq!(params[0], RAW);
            answer.map(|txid| json!(txid))
        }
        _ => {
            assert_eq!((method, &params[0]), ("eth_getTransactionByHash", &json!(TXID)));
            Ok(if is_known { json!({ "hash": TXID }) } else { Value::Null })
        }
    })
    .await;
    writer(&node).await.broadcast(&hex::decode(RAW).unwrap()).await
}

#[tokio::test]
async fn each_answer_has_its_meaning() {
    assert_eq!(broadcast(Ok(TXID), false).await, Ok(Broadcast::Accepted));
    for (code, message) in [
        (-32_000, "already known"),
        (-32_003, "transaction already imported"),
        (-32_010, "AlreadyKnown"),
        (-32_000, "Known transaction"),
    ] {
        let known = broadcast(Err((code, message)), false).await;
        assert_eq!(known, Ok(Broadcast::AlreadyKnown), "{message}");
    }
    for message in ["nonce too low", "replacement transaction underpriced", "insufficient funds"] {
        let rejected = Ok(Broadcast::Rejected(message.to_owned()));
        assert_eq!(broadcast(Err((-32_000, message)), false).await, rejected);
        let included = broadcast(Err((-32_000, message)), true).await;
        assert_eq!(included, Ok(Broadcast::AlreadyKnown), "the node has it: {message}");
    }
    let limited = broadcast(Err((-32_005, "limit exceeded")), false).await;
    assert!(matches!(limited, Err(ChainError::Transient(_))), "{limited:?}");
    let missing = broadcast(Err((-32_601, "Method not found")), false).await;
    assert!(matches!(missing, Err(ChainError::Unsupported(_))), "{missing:?}");
    let other = broadcast(Ok("0x00"), false).await;
    assert!(matches!(other, Err(ChainError::Invalid(_))), "{other:?}");
}

#[tokio::test]
async fn bytes_that_are_no_transaction_of_this_chain_are_not_sent() {
    let node = FakeNode::answering(|_, _| panic!("nothing may be sent")).await;
    let writer = writer(&node).await;
    let good = hex::decode(RAW).unwrap();
    let trailing = [&good[..], &[0]].concat();
    // Its v of 27 names no chain.
    let mut unbound = good.clone();
    let place = unbound.iter().position(|byte| *byte == 0x25).unwrap();
    unbound[place] = 27;
    for raw in
        [&[][..], &[0; 10], &[0x02; 40], &trailing, &unbound, &[0; MAX_TRANSACTION_BYTES + 1]]
    {
        let refused = writer.broadcast(raw).await;
        assert!(matches!(refused, Err(ChainError::Invalid(_))), "{refused:?}");
    }
}
