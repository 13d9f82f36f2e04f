//! Which clients are believed on which chain, on nodes that state every version there is.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::super::{BSC_MAINNET as BSC_GENESIS, ETH_MAINNET as ETH_GENESIS, EvmSettings};
use super::*;
use crate::chain::ChainReader as _;
use crate::chain::bitcoin::fake_node::{Answer, FakeNode};

const GETH: &str = "Geth/v1.16.7-stable-b9f3a3d9/linux-amd64/go1.24.9";
const OLD_GETH: &str = "Geth/v1.16.6-stable-386c3de6/linux-amd64/go1.24.9";

/// A node of a main chain, or of a private one, that answers `version` to the question for it.
async fn node(
    network: Network,
    chain: ChainKind,
    version: impl Fn() -> Answer + Send + Sync + 'static,
) -> FakeNode {
    let (id, genesis) = match (network, chain) {
        (Network::Eth, ChainKind::Mainnet) => ("0x1", ETH_GENESIS.to_owned()),
        (_, ChainKind::Mainnet) => ("0x38", BSC_GENESIS.to_owned()),
        _ => ("0x1", format!("0x{}", "11".repeat(32))),
    };
    FakeNode::answering(move |method, params| match method {
        "web3_clientVersion" => version(),
        "eth_chainId" => Ok(json!(id)),
        "eth_syncing" => Ok(Value::Bool(false)),
        "eth_call" => Ok(json!(format!("0x{:064x}", 18))),
        "eth_getBlockByNumber" if params[0] == "finalized" => Ok(Value::Null),
        "eth_getBlockByNumber" => Ok(json!({ "hash": genesis, "parentHash": genesis,
            "number": "0x0", "timestamp": "0x1", "transactions": [] })),
        _ => Err((-32_601, "the method does not exist/is not available")),
    })
    .await
}

fn reader(node: &FakeNode, network: Network, chain: ChainKind) -> EvmReader {
    let private_chain_id = (chain == ChainKind::Regtest).then_some(1);
    let rpc = node.settings.clone();
    EvmReader::new(&EvmSettings { network, chain, private_chain_id, contract: None, rpc }).unwrap()
}

/// Whether such a node is believed, at the start and later.
async fn is_believed(
    network: Network,
    chain: ChainKind,
    says: &'static str,
    accepted: Option<u64>,
) -> bool {
    let node = node(network, chain, move || Ok(json!(says))).await;
    let reader = match accepted {
        Some(version) => reader(&node, network, chain).accepting(version),
        None => reader(&node, network, chain),
    };
    let answers = [reader.genesis().await.map(drop), reader.head().await.map(drop)];
    for answer in &answers {
        if let Err(error) = answer {
            let text = error.to_string();
            assert!(matches!(error, ChainError::Unsupported(_)), "{text}");
            assert!(text.contains("node version ") && text.contains("older than"), "{text}");
            assert!(text.contains(&format!("networks.{network}.node.oldest_version")), "{text}");
        }
    }
    assert_eq!(answers[0], answers[1], "{says}");
    assert_eq!(reader.outdated().await.is_none(), answers[0].is_ok(), "{says}");
    answers[0].is_ok()
}

#[test]
fn a_client_says_its_name_and_version() {
    for (text, told) in [
        (GETH, Some(("Geth", 11_607))),
        ("Geth/my/v2.node/v1.16.7-stable/linux-amd64/go1.24.9", Some(("Geth", 11_607))),
        ("reth/v1.9.1-3afe69a/x86_64-unknown-linux-gnu", Some(("reth", 10_901))),
        ("besu/v25.11.0/linux-x86_64/openjdk-java-21", Some(("besu", 251_100))),
        ("erigon/3.2.2/linux-amd64/go1.24.1", Some(("erigon", 30_202))),
        ("Nethermind/v1.35.2+faa9b9e6/linux-x64/dotnet9.0.10", Some(("Nethermind", 13_502))),
        ("anvil/v1.7.0", Some(("anvil", 10_700))),
        ("Geth", None),
        ("Geth/stable/linux-amd64/go1.24.9", None),
        ("", None),
        ("//", None),
    ] {
        assert_eq!(client(text), told, "{text}");
    }
}

#[tokio::test]
async fn a_client_that_a_fork_left_behind_is_not_believed() {
    let main = ChainKind::Mainnet;
    for (network, says, believed) in [
        (Network::Eth, GETH, true),
        (Network::Eth, OLD_GETH, false),
        (Network::Eth, "Geth/v1.17.10-stable-0a1b2c3d/linux-amd64/go1.26.1", true),
        (Network::Eth, "reth/v1.9.1-3afe69a/x86_64-unknown-linux-gnu", true),
        (Network::Eth, "reth/v1.8.4-0a1b2c3/x86_64-unknown-linux-gnu", false),
        (Network::Eth, "besu/v25.11.0/linux-x86_64/openjdk-java-21", true),
        (Network::Eth, "besu/v25.10.0/linux-x86_64/openjdk-java-21", false),
        (Network::Eth, "anvil/v0.1.0", true),
        (Network::Eth, "Nethermind/v1.0.0/linux-x64/dotnet5.0.0", true),
        (Network::Eth, "a service", true),
        (Network::Bep20, "Geth/v1.7.7-2ded28f2/linux-amd64/go1.24.2", true),
        (Network::Bep20, "Geth/v1.7.3-3cf90434/linux-amd64/go1.24.2", false),
        (Network::Bep20, "reth/v0.1.0-457f81a/x86_64-unknown-linux-gnu", true),
    ] {
        assert_eq!(is_believed(network, main, says, None).await, believed, "{network} {says}");
    }
}

#[tokio::test]
async fn the_operators_word_goes_before_ours() {
    let (eth, main) = (Network::Eth, ChainKind::Mainnet);
    assert!(is_believed(eth, main, OLD_GETH, Some(11_606)).await);
    assert!(!is_believed(eth, main, GETH, Some(11_608)).await);
    assert!(!is_believed(eth, main, "Nethermind/v1.35.2/linux-x64/x", Some(13_503)).await);
    let private = ChainKind::Regtest;
    assert!(is_believed(eth, private, OLD_GETH, None).await, "whose forks are its owner's");
    assert!(!is_believed(eth, private, OLD_GETH, Some(11_607)).await);
}

#[tokio::test]
async fn a_node_that_does_not_tell_is_read() {
    let silent: [fn() -> Answer; 4] = [
        || Err((-32_601, "the method does not exist/is not available")),
        || Err((-32_000, "no backend answers")),
        || Ok(Value::Null),
        || Ok(json!({ "version": "1.0.0" })),
    ];
    for says in silent {
        let node = node(Network::Eth, ChainKind::Mainnet, says).await;
        let reader = reader(&node, Network::Eth, ChainKind::Mainnet).accepting(11_607);
        assert_eq!(reader.genesis().await.as_deref(), Ok(ETH_GENESIS), "{:?}", says());
        assert!(reader.head().await.is_ok(), "{:?}", says());
    }
}

#[tokio::test]
async fn a_node_that_is_exchanged_for_an_older_one_is_found_out_and_asked_seldom() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let node = node(Network::Eth, ChainKind::Mainnet, move || {
        let before = count.fetch_add(1, Ordering::SeqCst);
        Ok(json!(if before == 0 { GETH } else { OLD_GETH }))
    })
    .await;
    let reader = reader(&node, Network::Eth, ChainKind::Mainnet);
    reader.genesis().await.unwrap();
    let mut looks = 0;
    let error = loop {
        looks += 1;
        if let Err(error) = reader.head().await {
            break error;
        }
    };
    assert!(matches!(error, ChainError::Unsupported(_)), "{error}");
    assert_eq!((looks, asked.load(Ordering::SeqCst)), (61, 2));
    assert!(reader.head().await.is_err(), "and goes on being refused");
}
