//! The reader on answers captured from a live node, and on answers that no honest node gives.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::*;
use crate::chain::AddressFilter;
use crate::chain::tron::fake_node::{FakeNode, Moved, captured};
use crate::chain::tron::http::MAX_ANSWER_BYTES;

struct All;
impl AddressFilter for All {
    fn may_watch(&self, _: &[u8]) -> bool {
        true
    }
}

/// The header alone, as `getblock` answers it.
fn header(name: &str) -> Value {
    let mut block = captured(name);
    block.as_object_mut().unwrap().remove("transactions");
    block
}

/// A constant call that answers this word.
fn decimals(word: &str) -> Value {
    let mut answer = captured("30-triggerconstantcontract-balanceOf");
    answer["constant_result"] = json!([word]);
    answer
}

fn six() -> Value {
    decimals(&format!("{:0>64}", "6"))
}

/// A node at the captured block 59, whose solid block is 54.
async fn node(change: impl Fn(&str, &Value, Value) -> Value + Send + Sync + 'static) -> FakeNode {
    speaking(move |path, body, usual| (200, change(path, body, usual).to_string())).await
}

/// The same with whatever status and text.
async fn speaking(
    say: impl Fn(&str, &Value, Value) -> (u16, String) + Send + Sync + 'static,
) -> FakeNode {
    FakeNode::saying(move |path, body, _| {
        let answer = match (path, body["id_or_num"].as_str()) {
            ("wallet/getblock", None) => header("27-getblockbynum-trc20"),
            ("wallet/getblock", Some("0")) => header("02-getblockbynum-genesis"),
            ("wallet/getblock", Some("54")) => header("15-getblockbynum-trx"),
            ("wallet/getblock", Some("59")) => header("27-getblockbynum-trc20"),
            ("walletsolidity/getblock", None) => header("15-getblockbynum-trx"),
            ("wallet/getblockbynum", _) if body["num"] == 59 => captured("27-getblockbynum-trc20"),
            ("wallet/gettransactioninfobyblocknum", _) => {
                captured("28-gettransactioninfobyblocknum-trc20")
            }
            ("wallet/triggerconstantcontract", _) => six(),
            _ => json!({}),
        };
        say(path, body, answer)
    })
    .await
}

fn reader(node: &FakeNode) -> TronReader {
    TronReader::new(ChainKind::Regtest, &node.settings, Env::system()).unwrap()
}

async fn read(reader: &TronReader, height: u64) -> Result<Option<Block>, ChainError> {
    let consumed = HashSet::new();
    reader.block_at(height, Watch { addresses: &All, consumed: &consumed }).await
}

#[tokio::test]
async fn where_the_chain_stands() {
    let node = node(|_, _, answer| answer).await;
    let reader = reader(&node);
    let genesis = "000000000000000096e4543abe53c63ed5a89474575229c5412d7aa748086ccf";
    assert_eq!(reader.genesis().await.unwrap(), genesis);
    let head = reader.head().await.unwrap();
    assert_eq!((head.tip.height, head.finalized_height), (59, Some(54)));
    assert_eq!(head.tip.time, crate::domain::time::Micros(1_795_434_792_000_000));
    assert_eq!(reader.header_at(59).await.unwrap(), Some(head.tip));
    assert_eq!(reader.header_at(60).await.unwrap(), None);
    assert_eq!(reader.header_at(u64::MAX).await.unwrap(), None);
    let block = read(&reader, 59).await.unwrap().unwrap();
    assert_eq!((block.reference.height, block.transfers.len()), (59, 1));
    assert_eq!(read(&reader, 60).await.unwrap(), None);
    let consumed = HashSet::new();
    let watch = Watch { addresses: &All, consumed: &consumed };
    assert_eq!(reader.mempool(watch).await.unwrap(), None);
}

#[tokio::test]
async fn only_the_token_itself_will_do() {
    let cases: [(Value, &str); 6] = [
        (decimals(&format!("{:0>64}", "12")), "its decimals() is"),
        (decimals("06"), "its decimals() is"),
        (captured("32-triggerconstantcontract-no-contract"), "Smart contract is not exist."),
        (captured("31-triggerconstantcontract-revert"), "REVERT opcode executed"),
        (json!({ "result": { "result": true } }), "answers nothing"),
        (
            {
                let mut answer = six();
                answer["transaction"]["ret"] = json!([{ "ret": "FAILED" }]);
                answer
            },
            "fails",
        ),
    ];
    for (answer, expected) in cases {
        let node =
            node(
                move |path, _, usual| {
                    if path == "wallet/triggerconstantcontract" { answer.clone() } else { usual }
                },
            )
            .await;
        let error = reader(&node).genesis().await.unwrap_err();
        assert!(matches!(&error, ChainError::Invalid(text) if text.contains(expected)), "{error}");
        let error = reader(&node).head().await.unwrap_err();
        assert!(matches!(error, ChainError::Invalid(_)), "nothing is read before: {error}");
    }
}

#[tokio::test]
async fn a_public_chain_is_known_by_its_first_block_and_its_clock() {
    let node = node(|_, _, answer| answer).await;
    let settings = node.settings.clone();
    let mainnet = TronReader::new(ChainKind::Mainnet, &settings, Env::system()).unwrap();
    let error = mainnet.genesis().await.unwrap_err();
    assert!(matches!(&error, ChainError::Invalid(text) if text.contains("genesis")), "{error}");
}

#[tokio::test]
async fn an_old_newest_block_of_a_public_chain_is_a_node_that_is_behind() {
    let genesis = super::super::MAINNET[0];
    let node = node(move |path, body, mut answer| {
        if path == "wallet/getblock" && body["id_or_num"] == "0" {
            answer["blockID"] = json!(genesis);
        }
        answer
    })
    .await;
    let clock = Moved::default();
    let reader = TronReader::new(ChainKind::Mainnet, &node.settings, clock.env()).unwrap();
    clock.set(1_795_434_792 + 60);
    assert_eq!(reader.genesis().await.unwrap(), genesis);
    reader.head().await.unwrap();
    clock.set(1_795_434_792 + 61);
    let error = reader.head().await.unwrap_err();
    assert!(matches!(&error, ChainError::Transient(text) if text.contains("behind")), "{error}");
}

#[tokio::test]
async fn two_apis_that_disagree_are_believed_neither() {
    let elsewhere = node(|path, _, mut answer| {
        if path == "walletsolidity/getblock" {
            answer["blockID"] = json!(format!("{:016x}{}", 54, "ab".repeat(24)));
        }
        answer
    })
    .await;
    let ahead = node(|path, _, answer| {
        if path == "walletsolidity/getblock" { header("76-solidity-getnowblock") } else { answer }
    })
    .await;
    for (node, expected) in [(elsewhere, "does not have the solidified"), (ahead, "behind")] {
        let error = reader(&node).head().await.unwrap_err();
        assert!(matches!(&error, ChainError::Transient(t) if t.contains(expected)), "{error}");
    }
}

#[tokio::test]
async fn a_fork_between_two_answers_is_noticed() {
    let asked = std::sync::Arc::new(AtomicUsize::default());
    let node = node(move |path, body, mut answer| {
        if path == "wallet/getblock" && body["id_or_num"] == "59" {
            asked.fetch_add(1, Ordering::Relaxed);
            answer["blockID"] = json!(format!("{:016x}{}", 59, "cd".repeat(24)));
        }
        answer
    })
    .await;
    let error = read(&reader(&node), 59).await.unwrap_err();
    assert!(matches!(&error, ChainError::Transient(t) if t.contains("reorganised")), "{error}");
}

#[tokio::test]
async fn a_block_of_another_height_is_nonsense() {
    let node = node(|path, _, answer| {
        if path == "wallet/getblockbynum" { captured("15-getblockbynum-trx") } else { answer }
    })
    .await;
    assert!(matches!(read(&reader(&node), 59).await, Err(ChainError::Invalid(_))));
}

#[tokio::test]
async fn receipts_that_are_not_there_yet_are_waited_for() {
    for late in ["[]", "{}"] {
        let node = node(move |path, _, answer| {
            if path == "wallet/gettransactioninfobyblocknum" {
                serde_json::from_str(late).unwrap()
            } else {
                answer
            }
        })
        .await;
        let error = read(&reader(&node), 59).await.unwrap_err();
        assert!(matches!(error, ChainError::Transient(_)), "{late}: {error}");
    }
}

/// Contracts return what somebody pays for, and receipts repeat it.
#[tokio::test]
async fn receipts_that_are_too_much_at_once_are_asked_for_one_by_one() {
    let node = speaking(|path, body, usual| {
        let receipts = captured("28-gettransactioninfobyblocknum-trc20");
        let text = match path {
            "wallet/gettransactioninfobyblocknum" => {
                let mut large = receipts;
                large[0]["contractResult"] = json!(["0".repeat(MAX_ANSWER_BYTES)]);
                large.to_string()
            }
            "wallet/gettransactioninfobyid" if body["value"] == receipts[0]["id"] => {
                receipts[0].to_string()
            }
            _ => usual.to_string(),
        };
        (200, text)
    })
    .await;
    let settings = NodeSettings { timeout: Duration::from_secs(60), ..node.settings.clone() };
    let reader = TronReader::new(ChainKind::Regtest, &settings, Env::system()).unwrap();
    let block = read(&reader, 59).await.unwrap().unwrap();
    assert_eq!((block.transfers.len(), block.transfers[0].units), (1, 12_500_000));
}

#[tokio::test]
async fn what_a_node_says_of_itself() {
    let node = node(
        |path, _, answer| {
            if path == "wallet/getnodeinfo" { captured("65-getnodeinfo") } else { answer }
        },
    )
    .await;
    let report = reader(&node).report().await.unwrap();
    assert_eq!((report.version.as_str(), report.peers), ("4.8.0", Some(0)));
    assert_eq!(report.head.finalized_height, Some(54));
}

fn info(version: &str) -> Value {
    let mut info = captured("65-getnodeinfo");
    info["configNodeInfo"]["codeVersion"] = json!(version);
    info
}

#[tokio::test]
async fn a_node_that_is_too_old_is_not_believed() {
    for (version, accepted, believed) in [
        ("4.8.0", None, true),
        ("4.8.2.1", None, true),
        ("4.10.0", None, true),
        ("4.7.7", None, false),
        ("4.7.7", Some(40_707), true),
        ("4.7.6", Some(40_707), false),
        ("4.8.0", Some(40_801), false),
    ] {
        let node = node(
            move |path, _, usual| {
                if path == "wallet/getnodeinfo" { info(version) } else { usual }
            },
        )
        .await;
        let reader = match accepted {
            Some(oldest) => reader(&node).accepting(oldest),
            None => reader(&node),
        };
        for answer in [reader.genesis().await.map(drop), reader.head().await.map(drop)] {
            match answer {
                Ok(()) => assert!(believed, "{version}"),
                Err(ChainError::Unsupported(why)) => {
                    assert!(!believed && why.contains(&format!("version {version}")), "{why}");
                    assert!(why.contains("networks.trc20.node.oldest_version"), "{why}");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(reader.outdated().await.is_none(), believed, "{version}");
    }
}

#[tokio::test]
async fn a_service_that_does_not_tell_its_version_is_read() {
    for (status, body) in [
        (404, "<html>"),
        (405, ""),
        (403, "forbidden"),
        (500, ""),
        (200, ""),
        (200, "{}"),
        (200, r#"{"configNodeInfo":{}}"#),
        (200, r#"{"configNodeInfo":{"codeVersion":"unknown"}}"#),
        (200, r#"{"configNodeInfo":7}"#),
    ] {
        let node = speaking(move |path, _, usual| match path {
            "wallet/getnodeinfo" => (status, body.to_owned()),
            _ => (200, usual.to_string()),
        })
        .await;
        let reader = reader(&node).accepting(40_800);
        assert!(reader.genesis().await.is_ok(), "{status} {body}");
        assert!(reader.head().await.is_ok(), "{status} {body}");
    }
}

#[tokio::test]
async fn a_node_that_is_exchanged_for_an_older_one_is_found_out_and_asked_seldom() {
    let asked = std::sync::Arc::new(AtomicUsize::default());
    let count = std::sync::Arc::clone(&asked);
    let node = node(move |path, _, usual| match path {
        "wallet/getnodeinfo" if count.fetch_add(1, Ordering::Relaxed) == 0 => info("4.8.0"),
        "wallet/getnodeinfo" => info("4.7.7"),
        _ => usual,
    })
    .await;
    let reader = reader(&node);
    let mut looks = 0;
    let error = loop {
        looks += 1;
        if let Err(error) = reader.head().await {
            break error;
        }
    };
    assert!(matches!(error, ChainError::Unsupported(_)), "{error}");
    assert_eq!((looks, asked.load(Ordering::Relaxed)), (61, 2));
    assert!(reader.head().await.is_err(), "and goes on being refused");
}
