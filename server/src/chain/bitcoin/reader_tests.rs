//! The reader against nodes that err or lie. A real node is read in the integration tests.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::fake_node::{Answer, FakeNode, http};
use super::super::rpc;
use super::*;
use crate::chain::AddressFilter;
use serde_json::Value;

const HASH_431: &str = "e9c3ce0bee0f0f3bc6d555e0885431499eaadf1e9408acb40026c040a5be986f";
const RAW_431: &str = include_str!("../../../tests/fixtures/ltc/getblock0-431.hex");
const HASH_438: &str = "e64c251b7d23cf0f4d8bf33c969fa89c553ea9262bb4f1d7403375906526bf15";
const RAW_438: &str = include_str!("../../../tests/fixtures/ltc/getblock0-438.hex");
const PEG_IN: &str = include_str!("../../../tests/fixtures/ltc/tx-peg-in.hex");
const PEG_IN_TXID: &str = "d558e08d4244fa8e801242b14d285c4252dd5bea55b721fb54ce503d305bff28";
const PEG_OUT: &str = include_str!("../../../tests/fixtures/ltc/tx-peg-out.hex");
const PEG_OUT_TXID: &str = "942e054dded72719749751630e0f71145f464908acfb9a9f93ec4e44a2c40b5a";

struct Everything;

impl AddressFilter for Everything {
    fn may_watch(&self, _: &[u8]) -> bool {
        true
    }
}

async fn reader(
    chain: ChainKind,
    answers: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
) -> (BitcoinReader, FakeNode) {
    let node = FakeNode::answering(answers).await;
    (BitcoinReader::new(Network::Ltc, chain, &node.settings).unwrap(), node)
}

fn network_info(version: u64) -> Answer {
    Ok(json!({ "version": version, "subversion": "/Node/", "connections": 8 }))
}

async fn block_of(hash: &'static str, raw: &'static str) -> Result<Option<Block>, ChainError> {
    let (reader, _node) = reader(ChainKind::Regtest, move |method, params| match method {
        "getblockhash" if params[0] == 7 => Ok(json!(hash)),
        "getblockhash" => Err((code::OUT_OF_RANGE, "Block height out of range")),
        "getblock" if params == &json!([hash, 0]) => Ok(json!(raw.trim())),
        _ => Err((code::NO_METHOD, "Method not found")),
    })
    .await;
    let consumed = HashSet::new();
    let watch = Watch { addresses: &Everything, consumed: &consumed };
    assert_eq!(reader.block_at(8, watch).await, Ok(None), "above the tip");
    assert_eq!(reader.block_at(u64::MAX, watch).await, Ok(None));
    reader.block_at(7, watch).await
}

#[tokio::test]
async fn a_peg_out_is_a_payment_and_a_coinbase_is_not() {
    let block = block_of(HASH_438, RAW_438).await.unwrap().unwrap();
    assert_eq!(block.reference.hash, HASH_438);
    assert_eq!(block.reference.time, Micros::from_seconds(1_795_425_640));
    let paid: Vec<_> = block.transfers.iter().map(|t| (t.ordinal.as_str(), t.units)).collect();
    // The first output is the miner's own, of a script nobody derives.
    assert_eq!(paid, [("o:0", 1_049_986_120), ("o:1", 200_000_000)]);
    let spent = "u:73e98e1ea4a83c771825b74061e0f5c6d8c93a87e11dd6ed90951526ac2371ad:0";
    assert_eq!(block.transfers[1].consumes, [spent, "h:7"], "the block itself made it");
}

#[tokio::test]
async fn a_block_other_than_the_one_named_is_refused() {
    for (hash, raw) in [(HASH_431, RAW_438), ("not a hash", RAW_438), (HASH_438, "00"), ("", "zz")]
    {
        let refused = block_of(hash, raw).await;
        assert!(matches!(refused, Err(ChainError::Invalid(_))), "{refused:?}");
    }
    let honest = block_of(HASH_431, RAW_431).await.unwrap().unwrap();
    assert_eq!(honest.transfers, [], "only a coinbase is in it");
}

#[tokio::test]
async fn a_node_of_another_chain_is_found_out() {
    let (reader, node) = reader(ChainKind::Mainnet, |_, _| Ok(json!(HASH_431))).await;
    assert!(matches!(reader.genesis().await, Err(ChainError::Invalid(_))));
    drop((reader, node));
}

#[tokio::test]
async fn a_node_that_is_too_old_is_not_believed() {
    let genesis = ChainParameters::of(Network::Ltc, ChainKind::Mainnet).unwrap().genesis[0];
    for (version, accepted, believed) in [
        (210_506, None, true),
        (220_000, None, true),
        (210_505, None, false),
        (210_201, None, false),
        (210_201, Some(210_201), true),
        (210_200, Some(210_201), false),
    ] {
        let (reader, _node) = reader(ChainKind::Mainnet, move |method, _| match method {
            "getnetworkinfo" => network_info(version),
            "getblockhash" => Ok(json!(genesis)),
            "getblockchaininfo" => Ok(json!({
                "blocks": 431, "headers": 431, "bestblockhash": HASH_431,
                "initialblockdownload": false,
            })),
            _ => Ok(json!(RAW_431[..160])),
        })
        .await;
        let reader = match accepted {
            Some(oldest) => reader.accepting(oldest),
            None => reader,
        };
        for answer in [reader.genesis().await.map(drop), reader.head().await.map(drop)] {
            match answer {
                Ok(()) => assert!(believed, "{version}"),
                Err(ChainError::Unsupported(why)) => {
                    assert!(!believed && why.contains(&format!("version {version}")), "{why}");
                    assert!(why.contains("networks.ltc.node.oldest_version"), "{why}");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_public_node_that_is_catching_up_has_no_head_yet() {
    for (chain, download, headers, usable) in [
        (ChainKind::Mainnet, false, 433, true),
        (ChainKind::Mainnet, false, 439, false),
        (ChainKind::Testnet, true, 431, false),
        (ChainKind::Regtest, true, 999, true),
    ] {
        let (reader, _node) = reader(chain, move |method, _| match method {
            "getblockchaininfo" => Ok(json!({
                "blocks": 431, "headers": headers, "bestblockhash": HASH_431,
                "initialblockdownload": download, "verificationprogress": 0.5,
            })),
            "getnetworkinfo" => network_info(210_506),
            _ => Ok(json!(RAW_431[..160])),
        })
        .await;
        let head = reader.head().await;
        match head {
            Ok(head) => assert!(usable && head.tip.hash == HASH_431 && head.tip.height == 431),
            Err(error) => assert!(!usable && matches!(error, ChainError::Transient(_))),
        }
    }
}

#[tokio::test]
async fn waiting_transactions_are_fetched_once_and_gone_ones_left_out() {
    let fetches = Arc::new(AtomicUsize::new(0));
    let counted = fetches.clone();
    let gone = "ab".repeat(32);
    let listed = json!([PEG_IN_TXID, gone, PEG_OUT_TXID]);
    let (reader, _node) = reader(ChainKind::Regtest, move |method, params| match method {
        "getmempoolinfo" => Ok(json!({ "size": 3, "loaded": true })),
        "getrawmempool" => Ok(listed.clone()),
        _ => {
            counted.fetch_add(1, Ordering::SeqCst);
            match params[0].as_str() {
                Some(PEG_IN_TXID) => Ok(json!(PEG_IN.trim())),
                Some(PEG_OUT_TXID) => Ok(json!(PEG_OUT.trim())),
                _ => Err((code::NOT_FOUND, "No such mempool or blockchain transaction")),
            }
        }
    })
    .await;
    let consumed = HashSet::new();
    let watch = Watch { addresses: &Everything, consumed: &consumed };
    for asked in [3, 4] {
        let mempool = reader.mempool(watch).await.unwrap().unwrap();
        let txids: Vec<_> = mempool.transfers.iter().map(|t| t.txid.as_str()).collect();
        assert_eq!(txids, [PEG_IN_TXID], "a peg-out pays nothing on the main chain yet");
        assert_eq!(mempool.consumptions, []);
        assert_eq!(fetches.load(Ordering::SeqCst), asked, "only the gone one is asked for again");
    }
    let consumed = reader.mempool(watch).await.unwrap().unwrap().transfers[0].consumes.clone();
    let again: HashSet<String> = consumed.iter().cloned().collect();
    let watch = Watch { addresses: &Everything, consumed: &again };
    let found = reader.mempool(watch).await.unwrap().unwrap().consumptions;
    assert_eq!((found[0].key.as_str(), found[0].txid.as_str()), (&*consumed[0], PEG_IN_TXID));
}

#[tokio::test]
async fn a_mempool_still_being_read_back_or_too_large_is_no_view() {
    let consumed = HashSet::new();
    let watch = Watch { addresses: &Everything, consumed: &consumed };
    let of = async |size: usize, loaded: bool| {
        let (reader, _node) = reader(ChainKind::Regtest, move |method, _| match method {
            "getmempoolinfo" => Ok(json!({ "size": size, "loaded": loaded })),
            _ => Ok(json!([PEG_IN_TXID])),
        })
        .await;
        reader.mempool(watch).await
    };
    assert!(matches!(of(1, false).await, Err(ChainError::Transient(_))));
    assert_eq!(of(MAX_WAITING_TRANSACTIONS + 1, true).await, Ok(None));
}

#[tokio::test]
async fn a_node_tells_since_when_it_has_what_waits_if_it_can() {
    let (reader, _node) = reader(ChainKind::Regtest, |_, params| match params[0].as_str() {
        Some(PEG_IN_TXID) => Ok(json!({ "time": 1_700_000_000, "fees": { "base": 0.0001 } })),
        _ => Err((code::NOT_FOUND, "Transaction not in mempool")),
    })
    .await;
    let asked = [PEG_OUT_TXID.to_owned(), PEG_IN_TXID.to_owned()];
    let known = Micros::from_seconds(1_700_000_000);
    assert_eq!(reader.waiting_since(&asked).await, Ok(vec![None, Some(known)]));

    let node = FakeNode::raw(|_| http(403, "Forbidden")).await;
    let reader = BitcoinReader::new(Network::Ltc, ChainKind::Regtest, &node.settings).unwrap();
    let answer = reader.waiting_since(&asked).await;
    assert_eq!(answer, Ok(vec![None, None]), "reading goes on without");
}

#[tokio::test]
async fn another_transaction_than_the_one_asked_for_is_refused() {
    let (reader, _node) = reader(ChainKind::Regtest, |method, _| match method {
        "getmempoolinfo" => Ok(json!({ "size": 1 })),
        "getrawmempool" => Ok(json!(["ab".repeat(32)])),
        _ => Ok(json!(PEG_IN.trim())),
    })
    .await;
    let consumed = HashSet::new();
    let watch = Watch { addresses: &Everything, consumed: &consumed };
    assert!(matches!(reader.mempool(watch).await, Err(ChainError::Invalid(_))));
}

#[tokio::test]
async fn waiting_transactions_too_large_for_one_answer_are_read_one_by_one() {
    let node = FakeNode::raw(|request| {
        let Value::Array(calls) = &request.body else {
            let result = match request.body["method"].as_str() {
                Some("getmempoolinfo") => json!({ "size": 2 }),
                _ => json!([PEG_IN_TXID, PEG_OUT_TXID]),
            };
            return http(200, &json!({ "id": request.body["id"], "result": result }).to_string());
        };
        if calls.len() > 1 {
            return http(200, &"x".repeat(rpc::MAX_ANSWER_BYTES + 1));
        }
        let id = &calls[0]["id"];
        let raw = if calls[0]["params"][0] == PEG_IN_TXID { PEG_IN } else { PEG_OUT };
        http(200, &json!([{ "id": id, "result": raw.trim() }]).to_string())
    })
    .await;
    let reader = BitcoinReader::new(Network::Ltc, ChainKind::Regtest, &node.settings).unwrap();
    let consumed = HashSet::new();
    let watch = Watch { addresses: &Everything, consumed: &consumed };
    let mempool = reader.mempool(watch).await.unwrap().unwrap();
    assert_eq!(mempool.transfers[0].txid, PEG_IN_TXID);
}
