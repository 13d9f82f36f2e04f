//! What the reader makes of nodes that lie, are confused, or lack methods.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::*;
use crate::chain::AddressFilter;
use crate::chain::bitcoin::fake_node::{Answer as NodeAnswer, FakeNode};
use crate::chain::bitcoin::rpc::{MAX_ANSWER_BYTES, RpcSettings};
use crate::chain::evm::calls::TRACE_TRIES_MAX;
use crate::chain::evm::matching::TRANSFER_TOPIC;
use crate::chain::evm::unexpected::RECEIPTS_TRIES_MAX;
use crate::domain::address::ChainKind;

const TOKEN: &str = "0x7070707070707070707070707070707070707070";
const PAYER: &str = "0x1111111111111111111111111111111111111111";
const OURS: &str = "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const NO_METHOD: (i64, &str) = (-32_601, "the method does not exist/is not available");

struct Ours;

impl AddressFilter for Ours {
    fn may_watch(&self, key: &[u8]) -> bool {
        key == [0xaa; 20]
    }
}

fn hash(byte: u8) -> String {
    format!("0x{}", hex::encode([byte; 32]))
}

fn reader(node: &FakeNode, network: Network) -> EvmReader {
    let contract = (network == Network::Bep20).then(|| TOKEN.to_owned());
    let chain = ChainKind::Regtest;
    // Some answers here are tens of megabytes.
    let rpc = RpcSettings { timeout: Duration::from_secs(60), ..node.settings.clone() };
    let private_chain_id = Some(1);
    EvmReader::new(&EvmSettings { network, chain, private_chain_id, contract, rpc }).unwrap()
}

async fn read_five(reader: &EvmReader) -> Result<Option<FoundBlock>, ChainError> {
    let consumed = HashSet::new();
    reader.block_at(5, Watch { addresses: &Ours, consumed: &consumed }).await
}

/// Block 5 with one transaction that pays us one coin, by its value or through a contract.
fn block(gas: &str) -> Value {
    json!({
        "hash": hash(9), "parentHash": hash(8), "number": "0x5", "timestamp": "0x64",
        "transactions": [{
            "hash": hash(1), "from": PAYER, "to": OURS, "nonce": "0x7", "value": "0x1", "gas": gas,
            "input": "0x", "blockHash": hash(9), "transactionIndex": "0x0",
        }],
    })
}

fn receipt() -> Value {
    json!({ "transactionHash": hash(1), "transactionIndex": "0x0", "blockHash": hash(9),
        "status": "0x1", "logs": [] })
}

fn honest(method: &str, params: &Value) -> NodeAnswer {
    match (method, params[0].as_str().unwrap_or_default()) {
        ("eth_chainId", _) => Ok(json!("0x1")),
        ("eth_getBlockByNumber", "0x0") => {
            Ok(json!({ "hash": hash(1), "parentHash": hash(0), "number": "0x0", "timestamp": "0x1",
                "transactions": [] }))
        }
        ("eth_getBlockByNumber", "0x5" | "latest") => Ok(block("0x5208")),
        ("eth_getBlockByNumber", _) => Ok(Value::Null),
        ("eth_getTransactionReceipt", _) => Ok(receipt()),
        ("eth_getBlockReceipts", _) => Ok(json!([receipt()])),
        ("eth_call", _) => Ok(json!(format!("0x{:064x}", 18))),
        _ => Err(NO_METHOD),
    }
}

async fn node(
    answer: impl Fn(&str, &Value) -> Option<NodeAnswer> + Send + Sync + 'static,
) -> FakeNode {
    FakeNode::answering(move |method, params| {
        answer(method, params).unwrap_or_else(|| honest(method, params))
    })
    .await
}

#[tokio::test]
async fn a_payment_is_told_with_its_place_and_what_it_consumes() {
    let node = node(|_, _| None).await;
    let reader = reader(&node, Network::Eth);
    assert_eq!(reader.genesis().await, Ok(hash(1)));
    let block = read_five(&reader).await.unwrap().unwrap();
    assert_eq!((block.reference.height, block.reference.hash), (5, hash(9)));
    assert_eq!((block.reference.parent, block.reference.time), (hash(8), Micros(100_000_000)));
    let [transfer] = block.transfers.as_slice() else { panic!("{:?}", block.transfers) };
    assert_eq!((transfer.txid.as_str(), transfer.ordinal.as_str()), (hash(1).as_str(), "t:"));
    assert_eq!((transfer.units, transfer.address_key.as_slice()), (1, &[0xaa; 20][..]));
    assert_eq!(transfer.consumes, [format!("n:{PAYER}:7")]);
    assert_eq!(reader.header_at(6).await, Ok(None));
    let head = reader.head().await.unwrap();
    assert_eq!((head.tip.height, head.finalized_height), (5, None), "no block is called final");
}

#[tokio::test]
async fn a_failed_transaction_pays_nobody() {
    let node = node(|method, _| {
        let failed = || {
            let mut receipt = receipt();
            receipt["status"] = json!("0x0");
            receipt
        };
        (method == "eth_getTransactionReceipt").then(|| Ok(failed()))
    })
    .await;
    let block = read_five(&reader(&node, Network::Eth)).await.unwrap().unwrap();
    assert_eq!(block.transfers, []);
}

#[tokio::test]
async fn a_node_of_another_chain_or_with_another_token_is_refused() {
    let cases: [(&str, Value); 4] = [
        ("eth_chainId", json!("0x38")),
        ("eth_chainId", json!("one")),
        ("eth_call", json!(format!("0x{:064x}", 6))),
        ("eth_call", json!("0x")),
    ];
    for (lie, told) in cases {
        let what = format!("{lie} {told}");
        let node = node(move |method, _| (method == lie).then(|| Ok(told.clone()))).await;
        let refused = reader(&node, Network::Bep20).genesis().await;
        assert!(matches!(refused, Err(ChainError::Invalid(_))), "{what}: {refused:?}");
    }
    let public = node(|method, params| {
        (method == "eth_getBlockByNumber").then(|| {
            let mut genesis = honest(method, params)?;
            genesis["hash"] = json!(super::super::ETH_MAINNET);
            Ok(genesis)
        })
    })
    .await;
    let refused = reader(&public, Network::Eth).genesis().await.unwrap_err().to_string();
    assert!(refused.contains("genesis"), "a public chain is no regtest: {refused}");
}

#[tokio::test]
async fn what_belongs_to_two_blocks_is_asked_for_again() {
    for (method, network) in
        [("eth_getTransactionReceipt", Network::Eth), ("eth_getBlockReceipts", Network::Bep20)]
    {
        for gone in [true, false] {
            let node = node(move |asked, _| {
                let mut moved = receipt();
                moved["blockHash"] = json!(hash(7));
                let all = method == "eth_getBlockReceipts";
                let answer = match (gone, all) {
                    (true, _) => Value::Null,
                    (false, true) => json!([moved]),
                    (false, false) => moved,
                };
                (asked == method).then_some(Ok(answer))
            })
            .await;
            let failure = read_five(&reader(&node, network)).await;
            assert!(matches!(failure, Err(ChainError::Transient(_))), "{method}: {failure:?}");
        }
    }
}

#[tokio::test]
async fn nonsense_is_invalid_and_nothing_panics() {
    for (place, value) in [
        ("/number", json!("0x6")),
        ("/hash", json!("0x12")),
        ("/transactions/0/value", json!("-1")),
        ("/transactions/0/value", json!(format!("0x1{}", "0".repeat(64)))),
        ("/transactions/0/blockHash", json!(hash(7))),
        ("/transactions", json!("none")),
        ("/timestamp", json!(100)),
    ] {
        let what = format!("{place} {value}");
        let node = node(move |method, _| {
            let mut lie = block("0x5208");
            *lie.pointer_mut(place).unwrap() = value.clone();
            (method == "eth_getBlockByNumber").then_some(Ok(lie))
        })
        .await;
        let failure = read_five(&reader(&node, Network::Eth)).await;
        assert!(matches!(failure, Err(ChainError::Invalid(_))), "{what}: {failure:?}");
    }
}

#[tokio::test]
async fn receipts_are_asked_one_by_one_where_a_node_has_them_not_by_block() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let node = node(move |method, _| {
        (method == "eth_getBlockReceipts").then(|| {
            count.fetch_add(1, Ordering::SeqCst);
            Err(NO_METHOD)
        })
    })
    .await;
    let reader = reader(&node, Network::Bep20);
    for _ in 0..2 {
        let block = read_five(&reader).await.unwrap().unwrap();
        assert_eq!(block.transfers, []);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "what a node lacks is asked for once");
}

/// Anybody can pay for logs enough; where a block is too much, its receipts are not.
#[tokio::test]
async fn receipts_are_asked_one_by_one_where_a_block_has_too_many() {
    let node = node(|method, _| match method {
        "eth_getBlockReceipts" => Some(Ok(json!(["0".repeat(MAX_ANSWER_BYTES)]))),
        "eth_getTransactionReceipt" => {
            let mut paid = receipt();
            paid["logs"] = json!([{ "address": TOKEN, "data": format!("0x{:064x}", 5),
                "topics": [TRANSFER_TOPIC, format!("0x{:0>64}", &PAYER[2..]), format!("0x{:0>64}", &OURS[2..])],
                "blockHash": hash(9), "transactionHash": hash(1), "logIndex": "0x0" }]);
            Some(Ok(paid))
        }
        _ => None,
    })
    .await;
    let block = read_five(&reader(&node, Network::Bep20)).await.unwrap().unwrap();
    assert_eq!(block.transfers.iter().map(|paid| paid.units).collect::<Vec<_>>(), [5]);
}

#[tokio::test]
async fn receipts_that_payments_need_are_never_given_up() {
    let node = node(|method, _| {
        (method == "eth_getBlockReceipts").then_some(Err((-32_000, "response size exceeded")))
    })
    .await;
    let reader = reader(&node, Network::Bep20);
    for _ in 0..=RECEIPTS_TRIES_MAX {
        let failure = read_five(&reader).await;
        assert!(matches!(failure, Err(ChainError::Transient(_))), "{failure:?}");
    }
}

#[tokio::test]
async fn a_node_too_busy_to_say_what_is_final_has_not_said_that_nothing_is() {
    for (said, found) in [
        (Ok(block("0x5208")), Ok(Some(5))),
        (Ok(Value::Null), Ok(None)),
        (Err((-32_000, "finalized block not found")), Ok(None)),
        (Err((-32_005, "limit exceeded")), Err(())),
        (Err((-32_000, "request timed out")), Err(())),
    ] {
        let what = format!("{said:?}");
        let node = node(move |method, params| {
            (method == "eth_getBlockByNumber" && params[0] == "finalized").then(|| said.clone())
        })
        .await;
        let head = reader(&node, Network::Bep20).head().await;
        match (head, found) {
            (Ok(head), Ok(finalized)) => assert_eq!(head.finalized_height, finalized, "{what}"),
            (Err(ChainError::Transient(_)), Err(())) => {}
            (head, _) => panic!("{what}: {head:?}"),
        }
    }
}

/// A node whose transaction calls a contract that pays us two coins more.
async fn calling(offers: &'static str, lies: bool) -> FakeNode {
    let answers = calls_told(offers, lies);
    node(answers).await
}

fn calls_told(
    offers: &'static str,
    lies: bool,
) -> impl Fn(&str, &Value) -> Option<NodeAnswer> + Send + Sync + 'static {
    let inner = json!({ "type": "CALL", "from": OURS, "to": OURS, "value": "0x0", "calls": [
        { "type": "CALL", "from": PAYER, "to": OURS, "value": "0x2" }] });
    let flat = |path: Value, value: &str, from: &str| {
        json!({ "action": { "from": from, "to": OURS, "value": value, "callType": "call" },
            "type": "call", "traceAddress": path, "transactionHash": hash(1),
            "blockHash": hash(if lies { 7 } else { 9 }) })
    };
    let flat = json!([flat(json!([]), "0x0", OURS), flat(json!([0]), "0x2", PAYER)]);
    move |method, _| match method {
        "eth_getBlockByNumber" => Some(Ok(block("0xffff"))),
        "debug_traceBlockByNumber" | "debug_traceBlockByHash" if offers == "nested" => {
            let txid = hash(if lies { 7 } else { 1 });
            Some(Ok(json!([{ "txHash": txid, "result": inner }])))
        }
        "debug_traceBlockByNumber" if offers == "single" => Some(Ok(json!([]))),
        "debug_traceBlockByHash" if offers == "single" => Some(Err((-32_000, "timeout"))),
        "debug_traceTransaction" if offers == "single" => Some(Ok(inner.clone())),
        "debug_traceTransaction" if offers == "failing" => Some(Err((-32_000, "timeout"))),
        "debug_traceBlockByNumber" if offers == "failing" => Some(Ok(json!([]))),
        "debug_traceBlockByHash" if offers == "failing" => {
            Some(Ok(json!([{ "txHash": hash(1), "error": "execution timeout" }])))
        }
        "trace_block" if offers == "flat" => Some(Ok(flat.clone())),
        _ => None,
    }
}

#[tokio::test]
async fn a_transaction_that_was_not_traced_may_hide_payments() {
    let node = calling("failing", false).await;
    let block = read_five(&reader(&node, Network::Eth)).await.unwrap().unwrap();
    assert_eq!(block.transfers.len(), 1, "what the transaction itself carries");
    assert!(block.may_hide_payments);
}

/// One transaction that no tracer gets through must not stop the reading of the chain.
#[tokio::test]
async fn a_block_whose_calls_are_too_much_is_read_on_after_some_tries() {
    for silent in ["debug_traceBlockByHash", "debug_traceBlockByNumber"] {
        let told = calls_told("nested", false);
        let answers = move |method: &str, params: &Value| {
            told(method, params).unwrap_or_else(|| honest(method, params))
        };
        let node = FakeNode::silent_to(move |method| method == silent, answers).await;
        let reader = reader(&node, Network::Eth);
        for _ in 1..TRACE_TRIES_MAX {
            let failure = read_five(&reader).await;
            assert!(matches!(failure, Err(ChainError::Transient(_))), "{silent}: {failure:?}");
        }
        let block = read_five(&reader).await.unwrap().unwrap();
        assert_eq!(block.transfers.len(), 1, "what the transaction itself carries");
        assert!(block.may_hide_payments, "the rest is left to balances");
    }
}

#[tokio::test]
async fn balances_are_those_after_one_block_and_no_other() {
    let at = BlockRef { height: 5, hash: hash(9), parent: hash(8), time: Micros(0) };
    let keys = vec![vec![0xaa; 20], vec![0xbb; 20]];
    let owned = |params: &Value| match params[0].as_str().unwrap() {
        OURS => Ok(json!("0x7")),
        _ => Ok(json!("0x0")),
    };
    let by_hash = node(move |method, params| {
        (method == "eth_getBalance").then(|| {
            assert_eq!(params[1], json!({ "blockHash": hash(9), "requireCanonical": true }));
            owned(params)
        })
    })
    .await;
    assert_eq!(reader(&by_hash, Network::Eth).balances(&at, &keys).await, Ok(vec![7, 0]));

    let by_height = node(move |method, params| {
        (method == "eth_getBalance").then(|| match params[1].as_str() {
            Some("0x5") => owned(params),
            _ => Err((-32_602, "invalid argument 1: hex string without 0x prefix")),
        })
    })
    .await;
    let old = reader(&by_height, Network::Eth);
    assert_eq!(old.balances(&at, &keys).await, Ok(vec![7, 0]), "where a node knows no hash there");
    let gone = BlockRef { hash: hash(7), ..at.clone() };
    let moved = old.balances(&gone, &keys).await;
    assert!(matches!(moved, Err(ChainError::Transient(_))), "another block's: {moved:?}");

    for (said, is_final) in [
        (Err((-32_000, "hash is not currently canonical")), false),
        (Ok(json!(format!("0x1{}", "0".repeat(32)))), true),
        (Ok(json!(7)), true),
    ] {
        let what = format!("{said:?}");
        let node = node(move |method, _| (method == "eth_getBalance").then(|| said.clone())).await;
        let failure = reader(&node, Network::Eth).balances(&at, &keys).await.unwrap_err();
        assert_eq!(matches!(failure, ChainError::Invalid(_)), is_final, "{what}: {failure}");
    }
    let token = reader(&by_hash, Network::Bep20).balances(&at, &keys).await;
    assert!(matches!(token, Err(ChainError::Unsupported(_))), "logs tell all of a token");
}

#[tokio::test]
async fn payments_inside_calls_are_told_in_whatever_way_the_node_offers() {
    for offers in ["nested", "single", "flat", "nothing"] {
        let node = calling(offers, false).await;
        let reader = reader(&node, Network::Eth);
        let block = read_five(&reader).await.unwrap().unwrap();
        let told: Vec<_> = block.transfers.iter().map(|t| (t.ordinal.as_str(), t.units)).collect();
        assert_eq!(block.may_hide_payments, offers == "nothing", "{offers}");
        if offers == "nothing" {
            assert_eq!(told, [("t:", 1)], "what the transaction itself carries");
        } else {
            assert_eq!(told, [("t:", 1), ("t:0", 2)], "{offers}");
        }
    }
}

#[tokio::test]
async fn traces_of_another_block_pay_nobody() {
    let node = calling("nested", true).await;
    let block = read_five(&reader(&node, Network::Eth)).await.unwrap().unwrap();
    assert_eq!(block.transfers.len(), 1, "left out, and the chain is read on");
    assert!(block.may_hide_payments, "and it is said that there may be more");
    let node = calling("flat", true).await;
    let moved = read_five(&reader(&node, Network::Eth)).await;
    assert!(matches!(moved, Err(ChainError::Transient(_))), "{moved:?}");
}

fn waiting(txs: &Value) -> Value {
    json!({ "pending": { PAYER: txs }, "queued": {} })
}

async fn pool(reader: &EvmReader) -> Result<Option<Mempool>, ChainError> {
    let consumed = HashSet::from([format!("n:{PAYER}:7")]);
    reader.mempool(Watch { addresses: &Ours, consumed: &consumed }).await
}

#[tokio::test]
async fn a_node_that_shows_no_pool_gives_no_view() {
    let closed = node(|_, _| None).await;
    assert_eq!(pool(&reader(&closed, Network::Eth)).await, Ok(None));
    let crowded = node(|method, _| {
        (method == "txpool_status").then(|| Ok(json!({ "pending": "0x100000", "queued": "0x0" })))
    })
    .await;
    assert_eq!(pool(&reader(&crowded, Network::Eth)).await, Ok(None));
    // A few hundred transactions, each as large as nodes take.
    let bulky = node(|method, _| match method {
        "txpool_status" => Some(Ok(json!({ "pending": "0x200", "queued": "0x0" }))),
        "txpool_content" => Some(Ok(json!("0".repeat(MAX_ANSWER_BYTES)))),
        _ => None,
    })
    .await;
    assert_eq!(pool(&reader(&bulky, Network::Eth)).await, Ok(None));
}

#[tokio::test]
async fn a_waiting_token_transfer_is_seen_if_the_token_would_carry_it_out() {
    let input = format!("0xa9059cbb{:0>64}{:064x}", &OURS[2..], 5);
    for (said, seen) in [
        (Ok(json!(format!("0x{:064x}", 1))), 1),
        (Ok(json!(format!("0x{:064x}", 0))), 0),
        (Ok(json!("0x")), 0),
        (Err((3, "execution reverted")), 0),
    ] {
        let tx = json!({ "hash": hash(1), "from": PAYER, "to": TOKEN, "nonce": "0x7", "value": "0x0",
            "gas": "0xffff", "input": input, "blockHash": null, "transactionIndex": null });
        let what = format!("{said:?}");
        let node = node(move |method, _| match method {
            "txpool_status" => Some(Ok(json!({ "pending": "0x1", "queued": "0x0" }))),
            "txpool_content" => Some(Ok(waiting(&json!({ "7": tx })))),
            "eth_call" => Some(said.clone()),
            _ => None,
        })
        .await;
        let view = pool(&reader(&node, Network::Bep20)).await.unwrap().unwrap();
        assert_eq!((view.transfers.len(), view.consumptions.len()), (seen, 1), "{what}");
        if let [transfer] = view.transfers.as_slice() {
            assert_eq!((transfer.ordinal.as_str(), transfer.units), ("l:0", 5));
        }
    }
}
