//! Known coins on main chains, told by a node that answers what a test wants; and spam that is not known.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::HashSet;

use alloy::primitives::hex;
use serde_json::{Value, json};

use super::*;
use crate::chain::ChainReader as _;
use crate::chain::bitcoin::fake_node::FakeNode;
use crate::chain::evm::EvmSettings;
use crate::chain::evm::calls::TRACE_TRIES_MAX;
use crate::chain::evm::matching::TRANSFER_TOPIC;

const PAYER: &str = "0x1111111111111111111111111111111111111111";
const OURS: &str = "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const STRANGER: &str = "0x2222222222222222222222222222222222222222";
const SPAM: &str = "0x7070707070707070707070707070707070707070";
const USDT_ERC20: &str = "0xdAC17F958D2ee523a2206206994597C13D831ec7";
const USDC_ERC20: &str = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
const ETH_BEP20: &str = "0x2170Ed0880ac9A755fd29B2688956BD959F933F8";
const USDC_BEP20: &str = "0x8AC76a51cc950d9822D68b83fE1Ad97B32Cd580d";
const USDT_BEP20: &str = "0x55d398326f99059fF775485246999027B3197955";

struct Ours;

impl AddressFilter for Ours {
    fn may_watch(&self, key: &[u8]) -> bool {
        key == [0xaa; 20]
    }
}

fn hash(byte: u8) -> String {
    format!("0x{}", hex::encode([byte; 32]))
}

fn word(account: &str) -> String {
    format!("0x{:0>64}", account.trim_start_matches("0x"))
}

/// A log by which a contract says that somebody was paid.
fn log(contract: &str, to: &str, units: u64) -> Value {
    json!({ "address": contract.to_lowercase(), "topics": [TRANSFER_TOPIC, word(PAYER), word(to)],
        "data": format!("0x{units:064x}") })
}

/// One transaction: the value it carries to us, whether it succeeds, its logs.
type Told = (u64, bool, Vec<Value>);

/// Block 5 with these transactions, read as a main chain's; `(coin, ordinal, units)` of what was found.
async fn found(network: Network, told: Vec<Told>) -> Vec<(&'static str, String, u128)> {
    let (mut transactions, mut receipts, mut logged) = (Vec::new(), Vec::new(), 0);
    for (place, (value, succeeds, mut logs)) in told.into_iter().enumerate() {
        let txid = hash(u8::try_from(place).unwrap() + 1);
        for log in &mut logs {
            log["blockHash"] = json!(hash(9));
            log["transactionHash"] = json!(txid);
            log["logIndex"] = json!(format!("{logged:#x}"));
            logged += 1;
        }
        transactions.push(json!({ "hash": txid, "from": PAYER, "to": OURS, "gas": "0x5208",
            "nonce": format!("{place:#x}"), "value": format!("{value:#x}"), "input": "0x",
            "blockHash": hash(9), "transactionIndex": format!("{place:#x}") }));
        receipts.push(json!({ "transactionHash": txid, "transactionIndex": format!("{place:#x}"),
            "blockHash": hash(9), "status": if succeeds { "0x1" } else { "0x0" }, "logs": logs }));
    }
    let block = json!({ "hash": hash(9), "parentHash": hash(8), "number": "0x5",
        "timestamp": "0x64", "transactions": transactions });
    let node = FakeNode::answering(move |method, params| match method {
        "eth_getBlockByNumber" => Ok(block.clone()),
        "eth_getBlockReceipts" => Ok(json!(receipts)),
        "eth_getTransactionReceipt" => {
            let one = receipts.iter().find(|receipt| receipt["transactionHash"] == params[0]);
            Ok(one.unwrap().clone())
        }
        _ => Err((-32_601, "the method does not exist/is not available")),
    })
    .await;
    let (chain, rpc) = (ChainKind::Mainnet, node.settings.clone());
    let settings = EvmSettings { network, chain, private_chain_id: None, contract: None, rpc };
    let reader = EvmReader::new(&settings).unwrap();
    let consumed = HashSet::new();
    let watch = Watch { addresses: &Ours, consumed: &consumed };
    let block = reader.block_at(5, watch).await.unwrap().unwrap();
    let mut all: Vec<_> =
        block.unexpected.into_iter().map(|one| (one.coin.name, one.ordinal, one.units)).collect();
    all.extend(block.transfers.into_iter().map(|one| ("a deposit", one.ordinal, one.units)));
    all
}

#[tokio::test]
async fn dollars_on_ethereum_are_told_from_ether_and_from_spam() {
    let told = vec![
        (7, true, vec![log(SPAM, OURS, 1), log(USDT_ERC20, OURS, 2), log(USDC_ERC20, OURS, 3)]),
        (8, false, vec![log(USDT_ERC20, OURS, 4)]),
        (0, true, vec![log(USDT_ERC20, STRANGER, 5), log(USDC_ERC20, OURS, 0)]),
    ];
    let expected = [
        ("USDT-ERC20", "l:1".to_owned(), 2),
        ("USDC-ERC20", "l:2".to_owned(), 3),
        ("a deposit", "t:".to_owned(), 7),
    ];
    assert_eq!(found(Network::Eth, told).await, expected);
}

#[tokio::test]
async fn on_bnb_smart_chain_only_its_usdt_is_a_deposit() {
    let told = vec![
        (
            7,
            true,
            vec![log(USDT_BEP20, OURS, 1), log(ETH_BEP20, OURS, 2), log(USDC_BEP20, OURS, 3)],
        ),
        (8, false, vec![log(USDC_BEP20, OURS, 4)]),
        // Ethereum's contracts are anybody's here.
        (0, true, vec![log(USDT_ERC20, OURS, 5), log(SPAM, OURS, 6)]),
    ];
    let expected = [
        ("BNB", "t:".to_owned(), 7),
        ("ETH-BEP20", "l:1".to_owned(), 2),
        ("USDC-BEP20", "l:2".to_owned(), 3),
        ("a deposit", "l:0".to_owned(), 1),
    ];
    assert_eq!(found(Network::Bep20, told).await, expected);
}

/// Payments in ETH need no receipts but their own; those of a whole block may be more than a node gives, and
/// so may what its transactions called.
#[tokio::test]
async fn receipts_that_are_never_given_hold_ether_up_for_some_tries_only() {
    for (gas, silent, tries) in [
        ("0x5208", "", RECEIPTS_TRIES_MAX),
        // Calls are given up first, and not asked for again and again.
        ("0xffff", "debug_traceBlockByHash", RECEIPTS_TRIES_MAX + TRACE_TRIES_MAX - 1),
    ] {
        held_up(gas, silent, tries).await;
    }
}

/// A block that is read at the last of so many tries, by a node that does not answer one method.
async fn held_up(gas: &str, silent: &'static str, tries: u32) {
    let block = json!({ "hash": hash(9), "parentHash": hash(8), "number": "0x5", "timestamp": "0x64",
        "transactions": [{ "hash": hash(1), "from": PAYER, "to": OURS, "gas": gas,
            "nonce": "0x0", "value": "0x7", "input": "0x", "blockHash": hash(9),
            "transactionIndex": "0x0" }] });
    let node = FakeNode::silent_to(
        move |method| method == silent,
        move |method, _| match method {
            "eth_getBlockByNumber" => Ok(block.clone()),
            "debug_traceBlockByNumber" => Ok(json!([])),
            "eth_getBlockReceipts" => Err((-32_000, "response size exceeded")),
            "eth_getTransactionReceipt" => Ok(json!({ "transactionHash": hash(1), "status": "0x1",
            "transactionIndex": "0x0", "blockHash": hash(9), "logs": [] })),
            _ => Err((-32_601, "the method does not exist/is not available")),
        },
    )
    .await;
    let (chain, rpc) = (ChainKind::Mainnet, node.settings.clone());
    let network = Network::Eth;
    let settings = EvmSettings { network, chain, private_chain_id: None, contract: None, rpc };
    let reader = EvmReader::new(&settings).unwrap();
    let consumed = HashSet::new();
    let watch = Watch { addresses: &Ours, consumed: &consumed };
    for _ in 1..tries {
        let failure = reader.block_at(5, watch).await;
        assert!(matches!(failure, Err(ChainError::Transient(_))), "{failure:?}");
    }
    let block = reader.block_at(5, watch).await.unwrap().unwrap();
    assert_eq!((block.transfers.len(), block.unexpected.len()), (1, 0));
}
